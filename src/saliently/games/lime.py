"""Linear surrogates of a game in the neighbourhood of all players: LIME, and LIMSSE over substrings.

N players, S different coalitions that were drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.random import Generator as Random
from scipy.special import comb

from saliently.errors import RecipeError
from saliently.games.asking import Asking, Keep, Request, Solution, Values, ends, whole

_WIDTH, _FIRST_RIDGE, _LAST_RIDGE = 25.0, 0.01, 1.0
_AT_ONCE, _AGAIN, _STRONGEST = 512, 20, 5
_FEW = 6  # of so many players or fewer the best set is searched for one by one
_MOST_WHOLE = 16


@dataclass(frozen=True)
class Fit:
    """How LIME fits. Attributes: features, most players with a number other than 0; selection, how they are chosen:
    "auto" (as the original: "forward" up to 6 features, else "highest-weights"), or "none" for all; ridge, are numbers
    drawn towards 0, as the original does?"""

    features: int
    selection: str
    ridge: bool = True

    @property
    def way(self) -> str:
        if self.selection != "auto":
            return self.selection
        return "forward" if self.features <= _FEW else "highest-weights"


def lime(players: int, samples: int, fit: Fit, random: Random) -> Asking:
    """LIME for text (Ribeiro et al. 2016): from all players a random number is taken away, and a ridge regression is
    fitted to what is left, near ones weighing more."""
    answer = yield Request(ends(players))
    everything, nothing = answer.values.tolist()
    drawn, told = _drawn(players, samples, random), np.zeros(0)
    while len(told) < samples and answer.left and not (answer.late and len(told)):
        at = len(told)
        answer = yield Request(drawn[at : at + min(_AT_ONCE, answer.left)])
        told = np.concatenate([told, answer.values])
    keep, first, times = np.unique(drawn[: len(told)], axis=0, return_index=True, return_counts=True)
    sample = Sample(keep, told[first], times.astype(float))
    found = sample.local().solved(fit)
    stability = agreement([other.local().solved(fit).weights for other in sample.again(random)])
    cut = () if len(told) == samples else (f"The budget ended after {len(told)} of {samples} samples.",)
    return Solution(found.weights, everything, nothing, fit=found.r2, stability=stability, notes=cut)


def lime_limit(players: int, fit: Fit) -> Asking:
    """What LIME tends to with ever more samples: all coalitions, weighted by how often they would be drawn, where the
    ridge is as good as none.

    Raises:
        RecipeError: there are more coalitions than may be asked.
    """
    answer = yield Request(ends(players))
    if players > _MOST_WHOLE or 2**players - 2 > answer.left:
        raise RecipeError(
            f"LIME's limit for {players} players was asked for, which takes {2**players} rows of {answer.left + 2}. "
            "Give a number of samples."
        )
    keep = whole(players)
    told = (yield Request(keep)).values
    away = 1 / (players * comb(players, keep.sum(1)))
    found = Sample(keep, told, np.where(keep.all(1), 0.0, away)).local().solved(replace(fit, ridge=False))
    return Solution(found.weights, float(told[-1]), float(told[0]), fit=found.r2)


def limsse(players: int, longest: int) -> Asking:
    """LIMSSE (Poerner et al. 2018): least squares on substrings, whose length is uniform up to `longest`, and then
    their place. There are few of them, so that all are asked and weighted, instead of drawing some thousand."""
    everything, nothing = (yield Request(ends(players))).values.tolist()
    sizes = range(1, min(longest, players) + 1)
    keep = np.array([_run(players, start, size) for size in sizes for start in range(players - size + 1)])
    weight = np.concatenate([np.full(players - size + 1, 1 / (players - size + 1)) for size in sizes])
    told = (yield Request(keep)).values
    root = np.sqrt(weight)
    design = np.concatenate([np.ones((len(keep), 1)), keep], 1) * root[:, None]
    solved = np.linalg.lstsq(design, told * root, rcond=None)[0]
    left, spread = told - solved[0] - keep @ solved[1:], told - weight @ told / weight.sum()
    scale = float(weight @ spread**2)
    r2 = 1 - float(weight @ left**2) / scale if scale else 1.0
    return Solution(solved[1:], everything, nothing, fit=r2)


def kernel(keep: Keep) -> Values:
    """(S,) LIME's weight: of the cosine distance to all players, times 100, with a width of 25."""
    distance = 100 * (1 - np.sqrt(keep.mean(1)))
    found: Values = np.sqrt(np.exp(-(distance**2) / _WIDTH**2))
    return found


def _drawn(players: int, samples: int, random: Random) -> Keep:
    """(samples, N): all players first, then with 1 to N of them away, each number as likely as any other."""
    away = random.integers(1, players + 1, size=samples - 1)
    place = random.permuted(np.tile(np.arange(players), (samples - 1, 1)), axis=1)
    return np.concatenate([np.ones((1, players), dtype=bool), place >= away[:, None]])[:samples]


def _run(players: int, start: int, size: int) -> Keep:
    found = np.zeros(players, dtype=bool)
    found[start : start + size] = True
    return found


class _Solved(NamedTuple):
    weights: Values
    r2: float


class Sample(NamedTuple):
    """Attributes: keep (S, N); told (S,), their values; draws (S,), how often each was drawn."""

    keep: Keep
    told: Values
    draws: Values

    def again(self, random: Random) -> list[Sample]:
        """What other seeds might have drawn, told from this sample (the bootstrap)."""
        many = int(self.draws.sum())
        return [self._replace(draws=random.multinomial(many, self.draws / many).astype(float)) for _ in range(_AGAIN)]

    def local(self) -> _Local:
        weight = self.draws * kernel(self.keep)
        part = weight / weight.sum()
        x, y = self.keep - part @ self.keep, self.told - part @ self.told
        heavy = (x * weight[:, None]).T
        return _Local(heavy @ x, heavy @ y, float(weight @ y**2))


class _Local(NamedTuple):
    """Moments of a weighted sample. Attributes: inside (N, N), across (N,), spread: sums of weighted products of
    players and values around their means."""

    inside: Values
    across: Values
    spread: float

    def solved(self, fit: Fit) -> _Solved:
        chosen, weights = self._chosen(fit), np.zeros(len(self.across))
        weights[chosen] = self._solve(chosen, _LAST_RIDGE * fit.ridge)
        return _Solved(weights, self._fits(weights))

    def _chosen(self, fit: Fit) -> list[int]:
        players = len(self.across)
        if fit.way == "none" or fit.features >= players:
            return list(range(players))
        if fit.way == "forward":
            return self._forward(fit.features)
        weights = self._solve(list(range(players)), _FIRST_RIDGE * fit.ridge)
        return sorted(np.argsort(-np.abs(weights), kind="stable")[: fit.features].tolist())

    def _forward(self, many: int) -> list[int]:
        """One player after another, the one first with which plain least squares fit best."""
        chosen: list[int] = []
        for _ in range(many):
            others = [[*chosen, i] for i in range(len(self.across)) if i not in chosen]
            chosen = max(others, key=lambda each: float(self.across[each] @ self._solve(each, 0.0)))
        return sorted(chosen)

    def _solve(self, chosen: list[int], ridge: float) -> Values:
        inside = self.inside[np.ix_(chosen, chosen)] + ridge * np.eye(len(chosen))
        return np.asarray(np.linalg.lstsq(inside, self.across[chosen], rcond=None)[0], dtype=np.float64)

    def _fits(self, weights: Values) -> float:
        if self.spread <= 0:
            return 1.0
        return float((2 * weights @ self.across - weights @ self.inside @ weights) / self.spread)


def agreement(found: Sequence[Values]) -> float | None:
    """Mean Jaccard index of the strongest players, five or half of them if that is fewer, between the fits."""
    if len(found) < 2 or len(found[0]) < 2:
        return None
    many = min(_STRONGEST, len(found[0]) // 2)
    strongest = [set(np.argsort(-np.abs(each), kind="stable")[:many].tolist()) for each in found]
    return float(np.mean([len(a & b) / len(a | b) for a, b in combinations(strongest, 2)]))
