"""Indices from sampled coalitions, by regression and correction.

A surrogate of players (and pairs) is fitted to the sample, its index is exact, and the index of what is left of the
game is a weighted mean over the sample. Each part of the sample is corrected with a surrogate fitted to the others, so
that the estimate is unbiased whatever the surrogate misses (regression-adjusted estimation: Witter et al. 2025;
the weights without a surrogate: Covert and Lee 2021, Fumagalli et al. 2023). Coalitions come with their complements
(Covert and Lee 2021), and those of a single player with all of theirs, since these weigh most.

N players, M pairs of coalitions.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator as Random

from saliently.errors import RecipeError
from saliently.games.asking import Answer, Asking, Keep, Request, Solution, Values, ends, share
from saliently.games.indices import Index, Weights, joined
from saliently.games.surrogate import Pairs, Surrogate

FOLDS = 8
FEWEST = 16
"""Pairs of coalitions, beside those of single players, before an error is estimated."""

_LEAST, _MOST_PAIRED = 4, 150


def sampled(players: int, index: Index, tolerance: float, random: Random) -> Asking:
    """Sample until the largest standard error is within `tolerance` of the change, or nothing is left to spend.

    Raises:
        RecipeError: fewer than four players, or too small a budget for a first estimate.
    """
    answer = yield Request(ends(players))
    design = Design.of(players, index)
    need = 2 * len(design.border) + 2 * FEWEST
    if players < _LEAST or answer.left < need:
        raise RecipeError(
            f"Sampled coalitions of {players} players were asked for, with {answer.left + 2} rows to spend; it takes "
            f"{_LEAST} players and {need + 2} rows at least. Allow more rows, or let larger units be the players."
        )
    if index.second is not None and players > _MOST_PAIRED:
        raise RecipeError(
            f"What pairs of {players} players do together was to be sampled; tables of all pairs are held for up to "
            f"{_MOST_PAIRED} players. Let larger units be the players, or use pairwise-occlusion or archipelago."
        )
    everything, nothing = answer.values.tolist()
    design = design.told(everything, nothing, Pairs.of(design.border, (yield from _both(design.border, None)).values))
    drawn, error = design.none, None
    while True:
        many = _more(drawn, players, error, tolerance)
        new = design.draw(min(many, answer.left // 2), random)
        answer = yield from _both(new, error)
        drawn = drawn.join(Pairs.of(new, answer.values))
        found, errors = design.estimate(drawn)
        error = share(errors, design.everything - design.nothing)
        # Of few players most coalitions are known at some time; drawing them again costs no row, and has an end too.
        if error <= tolerance or answer.late or answer.left < 2 or len(drawn.keep) > 4 * 2 ** min(players, 30):
            return Solution(found, design.everything, design.nothing, errors)


def _both(keep: Keep, error: float | None) -> Generator[Request, Answer, Answer]:
    return (yield Request(np.concatenate([keep, ~keep]), error))


def _more(drawn: Pairs, players: int, error: float | None, tolerance: float) -> int:
    """Pairs to draw next: as many as the error asks for, but never more than half of those there are."""
    many = len(drawn.keep)
    if not many or error is None:
        return max(FEWEST, players)
    wanted = (error / tolerance) ** 2 if tolerance else np.inf
    return int(np.ceil(many * (min(1.5, max(1.12, wanted)) - 1)))


@dataclass(frozen=True, eq=False)
class Design:
    """What is drawn, and what it weighs.

    Attributes: index; weights; border (B, N), coalitions that are all asked; sizes (N + 1,), how often the others are
    drawn; everything, nothing, edge: values of both ends and of the border, once they are known.
    """

    index: Index
    weights: Weights
    border: Keep
    sizes: Values
    everything: float = 0.0
    nothing: float = 0.0
    edge: Pairs | None = None

    @staticmethod
    def of(players: int, index: Index) -> Design:
        weights = Weights.of(index, players)
        sizes = weights.sizes()
        heavy = sizes[1] > 0.5 * sizes[players // 2]  # where single players are as good as never drawn, they may wait
        border = np.eye(players, dtype=bool) if heavy else np.zeros((0, players), dtype=bool)
        if heavy:
            sizes = sizes.copy()
            sizes[[1, players - 1]] = 0.0
            sizes = sizes / sizes.sum()
        return Design(index, weights, border, sizes)

    def told(self, everything: float, nothing: float, edge: Pairs) -> Design:
        """The same, with what was asked before anything is drawn."""
        return replace(self, everything=everything, nothing=nothing, edge=edge)

    @property
    def none(self) -> Pairs:
        return Pairs(np.zeros((0, self.border.shape[1]), dtype=bool), np.zeros((0, 2)))

    @property
    def order(self) -> int:
        return 1 if self.index.second is None else 2

    def draw(self, many: int, random: Random) -> Keep:
        """(M, N) coalitions."""
        players = self.border.shape[1]
        size = random.choice(players + 1, size=many, p=self.sizes)
        place = random.permuted(np.tile(np.arange(players), (many, 1)), axis=1)
        found: Keep = place < size[:, None]
        return found

    def estimate(self, drawn: Pairs) -> tuple[Values, Values]:
        """The index and its standard errors, (N,) or (N, N)."""
        assert self.edge is not None
        fold = np.arange(len(drawn.keep)) % FOLDS
        total, spread = np.zeros(()), np.zeros(())
        for k in range(FOLDS):
            ours = drawn.some(fold == k)
            fitted = self.edge.join(drawn.some(fold != k))
            surrogate = Surrogate.fit(fitted, self.everything, self.nothing, self.order)
            base = self._known(surrogate)
            mean, squares = self._corrections(ours, surrogate.left(ours))
            total = total + len(ours.keep) * (base + mean)
            spread = spread + squares
        many = len(drawn.keep)
        # The surrogates were fitted to the same few values, so that small samples look better than they are. Of players
        # they have N numbers, of pairs N (N - 1) / 2, each kind fitted by itself.
        players = self.border.shape[1]
        small = (many + min(many, players if self.order == 1 else players * (players - 1) // 2)) / many
        return total / many, np.sqrt(spread / max(1, many - FOLDS) / many * small)

    def _known(self, surrogate: Surrogate) -> Values:
        """The surrogate's index, corrected at the border."""
        assert self.edge is not None
        first, pairs = surrogate.index(self.index)
        left = surrogate.left(self.edge)
        if len(self.border):
            for keep, values in ((self.border, left[:, 0]), (~self.border, left[:, 1])):
                first = first + (self.weights.first(keep) * values[:, None]).mean(0)
                if pairs is not None:
                    pairs = pairs + (self.weights.second(keep) * values[:, None, None]).mean(0)
        return first if pairs is None else joined(first, pairs, self.index)

    def _corrections(self, drawn: Pairs, left: Values) -> tuple[Values, Values]:
        """Mean over coalitions of the weighted values that are left, and summed squares of their distances to it."""
        every = self._weighted(drawn.keep, left)
        mean: Values = every.mean(0)
        return mean, np.square(every - mean).sum(0)

    def _weighted(self, keep: Keep, left: Values) -> Values:
        """(M, N) or (M, N, N): the mean of a coalition's and its complement's."""
        inverse = 0.5 / self.sizes[keep.sum(1)]
        ours, theirs = left[:, 0] * inverse, left[:, 1] * inverse
        first: Values = self.weights.first(keep) * ours[:, None] + self.weights.first(~keep) * theirs[:, None]
        if self.order == 1:
            return first
        pairs = self.weights.second(keep) * ours[:, None, None] + self.weights.second(~keep) * theirs[:, None, None]
        return joined(first, pairs, self.index)
