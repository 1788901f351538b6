"""Metrics that read scores as amounts: do those of the words taken away sum to what the target loses?

They are of saliencies. Scores without a sign, or in other units, get what they get: on them only the scaled forms and
correlations mean anything.

W words, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from saliently.checks import missed
from saliently.errors import RecipeError
from saliently.metrics.base import Ends, Metric
from saliently.metrics.ranked import Ranked, generator
from saliently.reports import Better

Floats = NDArray[np.float64]

_ROUNDING = 1e-6
"""Differences of this share of the numbers that were added up are no differences: most models compute in float32."""


@dataclass(frozen=True, repr=False)
class Infidelity(Metric):
    """E[(sum of the scores of a random set of words - what the target loses with it)^2] (Yeh et al. 2019, Eq. 1).

    Sets are drawn by size, from one word to all, then uniformly. In squared units of the target. `scaled` first
    multiplies the scores by the number that fits best, E[s d] / E[s^2], and divides by E[d^2]: 0 is perfect, 1 what
    scores of 0 get. Departure: I is a whole word's step to its blank, not noise, so that no vector is needed.
    """

    samples: int = 50
    scaled: bool = False
    seed: int = 0

    name: ClassVar[str] = "infidelity"
    said: ClassVar[str] = "squared error of summed scores against the loss of random sets of words"
    better: ClassVar[Better] = "lower"
    amounts: ClassVar[bool] = True
    ranks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self.samples)

    @property
    def comparable(self) -> bool:
        """Not in squared units of the target."""
        return self.scaled

    def keeps(self, words: Ranked) -> Floats:
        """A row a set; the sets are the same for all explanations of a text."""
        many = len(words.scores)
        chance = generator(self.seed, words.explanation.tokens)
        sizes = chance.integers(1, many + 1, size=self.samples)
        ranks = np.argsort(chance.random((self.samples, many)), axis=1)
        return np.where(ranks < sizes[:, None], 0.0, 1.0)

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """Mean over the sets that can be run; NaN where none can, and scaled where no set loses anything."""
        known = ~np.isnan(values)
        if not known.any():
            return float("nan")
        summed, lost = ((1.0 - keep) @ words.scores)[known], ends.whole - values[known]
        if not self.scaled:
            return float(np.mean((summed - lost) ** 2))
        power, size = float(np.mean(summed**2)), float(np.mean(lost**2))
        beta = float(np.mean(summed * lost)) / power if power else 0.0
        return float(np.mean((beta * summed - lost) ** 2)) / size if size else float("nan")


@dataclass(frozen=True, repr=False)
class SensitivityN(Metric):
    """Correlation, over random sets of n words, of their summed scores with what the target loses (Ancona et al. 2018),
    averaged over n. 1 is perfect; a set size at which either is constant says nothing and is left out.

    `shares`: the sizes, as shares of the words, rounded up.
    """

    shares: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)
    samples: int = 25
    seed: int = 0

    name: ClassVar[str] = "sensitivity-n"
    said: ClassVar[str] = "correlation of summed scores with the loss of random sets of words"
    better: ClassVar[Better] = "higher"
    amounts: ClassVar[bool] = True
    ranks: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self.samples)
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise RecipeError(f"Shares {self.shares!r} were asked for; give some above 0 and up to 1.")

    def sizes(self, words: int) -> list[int]:
        """Numbers of words in a set."""
        return sorted({int(np.ceil(share * words - 1e-9)) for share in self.shares})

    def keeps(self, words: Ranked) -> Floats:
        """`samples` rows a size."""
        many, chance = len(words.scores), generator(self.seed, words.explanation.tokens)
        found = []
        for size in self.sizes(many):
            ranks = np.argsort(chance.random((self.samples, many)), axis=1)
            found.append(np.where(ranks < size, 0.0, 1.0))
        return np.concatenate(found)

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """NaN where no size says anything: one word, or scores or losses all alike."""
        summed, lost = (1.0 - keep) @ words.scores, ends.whole - values
        sizes = (float(np.abs(words.scores).sum()), abs(ends.whole))
        found = [
            _correlation(summed[at : at + self.samples], lost[at : at + self.samples], sizes)
            for at in range(0, len(keep), self.samples)
        ]
        known = [each for each in found if not np.isnan(each)]
        return float(np.mean(known)) if known else float("nan")


@dataclass(frozen=True, repr=False)
class CompletenessGap(Metric):
    """|sum of all scores - (f(x) - f(nothing))| / |f(x) - f(nothing)| (Sundararajan et al. 2017, Prop. 1).

    Where a method took words away itself, its own blank is meant and its own change; else the metric's blank. NaN for
    scores that are no saliencies, since they have no total. It has no control: scores on other words have the same sum.
    """

    name: ClassVar[str] = "completeness-gap"
    said: ClassVar[str] = "how far the scores are from summing to the whole change, as a share of it"
    better: ClassVar[Better] = "lower"
    amounts: ClassVar[bool] = True
    ranks: ClassVar[bool] = False
    controlled: ClassVar[bool] = False

    def keeps(self, words: Ranked) -> Floats:
        """No rows: both ends are all it needs."""
        return np.zeros((0, len(words.scores)))

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """A share of the change; where there was none, 0 if the scores sum to none, and else NaN: no share of it."""
        found = words.explanation
        if found.quantity not in ("saliency", "interaction"):
            return float("nan")
        change = found.checks.change if found.checks.change is not None else ends.whole - ends.nothing
        # Special tokens have a share too; a shuffle moves words alone.
        total = float(words.scores.sum()) + sum(score for _, score in found.special())
        gap = missed(total, change)
        return gap if np.isfinite(gap) else float("nan")


def _correlation(one: Floats, other: Floats, sizes: tuple[float, float]) -> float:
    """Pearson's; NaN where either is constant, up to rounding of numbers of these sizes."""
    known = ~(np.isnan(one) | np.isnan(other))
    one, other = one[known], other[known]
    if len(one) < 2 or _still(one, sizes[0]) or _still(other, sizes[1]):
        return float("nan")
    return float(np.corrcoef(one, other)[0, 1])


def _still(values: Floats, size: float) -> bool:
    return float(np.ptp(values)) <= _ROUNDING * max(size, float(np.abs(values).max()))


def _check(samples: int) -> None:
    if type(samples) is not int or samples < 2:
        raise RecipeError(f"{samples!r} samples were asked for; give a whole number from 2 up.")
