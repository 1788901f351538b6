"""What a player, or a pair of players, is worth: what it adds to coalitions of others, averaged.

A first-order index is sum over r of first(r, n) times the mean, over coalitions of r others, of what the player adds; a
second-order one is sum over r of second(r, n) times the mean of v(ij) - v(i) - v(j) + v(none) over coalitions of r
others. Both masses are over r; those of the pairs sum to 1. N players, M coalitions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import comb, gammaln

from saliently.games.asking import Keep, Values, whole

Mass = Callable[[Values, int], Values]


@dataclass(frozen=True)
class Index:
    """Attributes: first, the mass over sizes of a player's own number; second, that of a pair's, or None; corrected:
    does half of each pair's number come off the numbers of its players (k-SII)?"""

    first: Mass
    second: Mass | None = None
    corrected: bool = False


def _uniform(r: Values, n: int) -> Values:
    return np.full(len(r), 1 / n)


def _binomial(r: Values, n: int) -> Values:
    """Of n - 1 others, each there with probability one half."""
    found: Values = np.exp(gammaln(n) - gammaln(r + 1) - gammaln(n - r) - (n - 1) * np.log(2))
    return found


SHAPLEY = Index(_uniform)
BANZHAF = Index(_binomial)
PAIRS = {
    # Grabisch and Roubens 1999.
    "sii": Index(_uniform, lambda r, n: np.full(len(r), 1 / (n - 1))),
    # Bord et al. 2023: SII with what it counts twice taken off the single players.
    "k-sii": Index(_uniform, lambda r, n: np.full(len(r), 1 / (n - 1)), corrected=True),
    # Dhamdhere et al. 2020.
    "stii": Index(lambda r, n: (r == 0).astype(float), lambda r, n: 2 * (n - 1 - r) / (n * (n - 1))),
    # Tsai et al. 2023: the best fit by players and pairs under the Shapley kernel, exact at both ends.
    "fsii": Index(
        lambda r, n: 4 / n - 6 * (r + 1) / (n * (n + 1)),
        lambda r, n: 6 * (r + 1) * (n - 1 - r) / ((n + 1) * n * (n - 1)),
    ),
    # Grabisch and Roubens 1999.
    "bii": Index(_binomial, lambda r, n: _binomial(r, n - 1)),
}


def exact(values: Values, players: int, index: Index) -> Values:
    """(N,) or (N, N) from the values of all coalitions, as `whole` lists them."""
    sizes = whole(players).sum(1)
    first = np.array([_mean_added(values, sizes, [i], index.first, players) for i in range(players)])
    if index.second is None:
        return first
    pairs = np.zeros((players, players))
    for i in range(players):
        for j in range(i):
            pairs[i, j] = pairs[j, i] = _mean_added(values, sizes, [i, j], index.second, players)
    return joined(first, pairs, index)


def joined(first: Values, pairs: Values, index: Index) -> Values:
    """(N, N) with the players' numbers on the diagonal, and a pair's shared by its two entries. `pairs` is 0 there."""
    own = first - pairs.sum(-1) / 2 if index.corrected else first
    found: Values = pairs / 2 + own[..., None] * np.eye(own.shape[-1])
    return found


def _mean_added(values: Values, sizes: Values, inside: list[int], mass: Mass, players: int) -> float:
    """Sum over r of the mass of r times the mean difference that the players `inside` make to r others."""
    numbers = np.arange(len(values))
    others = numbers[(numbers & sum(1 << i for i in inside)) == 0]
    added = values[others]
    for subset in range(1, 2 ** len(inside)):
        there = sum(1 << i for k, i in enumerate(inside) if subset >> k & 1)
        added = added + (-1) ** bin(subset).count("1") * values[others | there]
    r = np.arange(players - len(inside) + 1)
    weight = mass(r.astype(float), players) / comb(len(r) - 1, r)
    return float((-1) ** len(inside) * (weight[sizes[others]] * added).sum())


@dataclass(frozen=True, eq=False)
class Weights:
    """An index as a weighted sum over coalitions T: weight times v(T). Here times the number of coalitions of T's size,
    so that nothing overflows; index 0 to N is that size.

    Attributes: inside, outside: of a player in T, or not. both, one, none: of a pair with so many in T, or None.
    """

    inside: Values
    outside: Values
    both: Values | None = None
    one: Values | None = None
    none: Values | None = None

    @staticmethod
    def of(index: Index, n: int) -> Weights:
        """The weights of an index of n players, two at least."""
        t = np.arange(n + 1).astype(float)
        first = _padded(index.first(np.arange(n).astype(float), n), n)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.where(t > 0, first(t - 1) * n / t, 0.0)
            outside = np.where(t < n, -first(t) * n / (n - t), 0.0)
            if index.second is None:
                return Weights(inside, outside)
            second = _padded(index.second(np.arange(n - 1).astype(float), n), n - 1)
            pairs = n * (n - 1)
            both = np.where(t > 1, second(t - 2) * pairs / (t * (t - 1)), 0.0)
            one = np.where((t > 0) & (t < n), -second(t - 1) * pairs / (t * (n - t)), 0.0)
            none = np.where(t < n - 1, second(t) * pairs / ((n - t) * (n - t - 1)), 0.0)
        return Weights(inside, outside, both, one, none)

    def first(self, keep: Keep) -> Values:
        """(M, N) the players' weights at each coalition."""
        sizes = keep.sum(1)
        found: Values = np.where(keep, self.inside[sizes, None], self.outside[sizes, None])
        return found

    def second(self, keep: Keep) -> Values:
        """(M, N, N) the pairs' weights at each coalition, 0 on the diagonal."""
        assert self.both is not None
        assert self.one is not None
        assert self.none is not None
        sizes = keep.sum(1)[:, None, None]
        count = keep[:, :, None].astype(int) + keep[:, None, :]
        few = np.where(count == 1, self.one[sizes], self.none[sizes])
        found: Values = np.where(count == 2, self.both[sizes], few)
        found[:, np.arange(keep.shape[1]), np.arange(keep.shape[1])] = 0.0
        return found

    def sizes(self) -> Values:
        """(N + 1,) how often a size is to be drawn: its share of the root of the summed squares of the weights, which
        makes the variance least where all coalitions are equally surprising. 0 at both ends, which are always asked,
        and the same for a size and its complement's."""
        n = len(self.inside) - 1
        t = np.arange(n + 1)
        square = t * self.inside**2 + (n - t) * self.outside**2
        if self.both is not None and self.one is not None and self.none is not None:
            pairs = t * (t - 1) / 2 * self.both**2 + (n - t) * (n - t - 1) / 2 * self.none**2
            square = square + pairs + t * (n - t) * self.one**2
        root = np.sqrt(square + square[::-1])
        root[[0, n]] = 0.0
        found: Values = root / root.sum()
        return found


def _padded(mass: Values, n: int) -> Callable[[Values], Values]:
    """The mass at sizes that may lie outside."""
    return lambda r: np.where((r >= 0) & (r < n), mass[np.clip(r, 0, n - 1).astype(int)], 0.0)
