"""A game of players and pairs that is close to another one: what it is worth is known exactly, and what is left of the
other game is small.

N players, M coalitions. With u = 1/2 for a player that is there and -1/2 for one that is not, it is
middle + sum of single[i] u_i + sum over pairs of double[i, j] (u_i u_j - 1/4), which is exact at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from saliently.games.asking import Keep, Values
from saliently.games.indices import Index

_RIDGE = 1e-9


class Pairs(NamedTuple):
    """Coalitions and their complements. Attributes: keep (M, N); values (M, 2), of the coalition and of its
    complement."""

    keep: Keep
    values: Values

    @staticmethod
    def of(keep: Keep, told: Values) -> Pairs:
        """`told` is of the coalitions, then of their complements."""
        return Pairs(keep, told.reshape(2, len(keep)).T)

    def join(self, other: Pairs) -> Pairs:
        return Pairs(np.concatenate([self.keep, other.keep]), np.concatenate([self.values, other.values]))

    def some(self, chosen: Values | slice) -> Pairs:
        return Pairs(self.keep[chosen], self.values[chosen])


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Attributes: middle, mean of both ends; single (N,), the Shapley values; double (N, N) symmetric, or None."""

    middle: float
    single: Values
    double: Values | None

    @staticmethod
    def fit(pairs: Pairs, everything: float, nothing: float, order: int) -> Surrogate:
        """Least squares. Players are fitted to half the differences between coalitions and complements, pairs of
        players to half the sums: neither takes notice of the other."""
        signs = np.where(pairs.keep, 0.5, -0.5)
        odd, even = (pairs.values[:, 0] - pairs.values[:, 1]) / 2, pairs.values.mean(1)
        middle, change, players = (everything + nothing) / 2, everything - nothing, signs.shape[1]
        equal = change / players
        # The players' numbers sum to the change: what is left to fit lies in the space where they sum to 0.
        space = _sum_to_zero(players)
        single = equal + space @ _solved(signs @ space, odd - equal * signs.sum(1))
        if order == 1:
            return Surrogate(middle, single, None)
        first, second = np.triu_indices(players, 1)
        apart = -0.5 * (pairs.keep[:, first] != pairs.keep[:, second])
        double = np.zeros((players, players))
        double[first, second] = _solved(apart, even - middle)
        return Surrogate(middle, single, double + double.T)

    def left(self, pairs: Pairs) -> Values:
        """(M, 2) what it does not know of the values of coalitions and their complements."""
        signs = np.where(pairs.keep, 0.5, -0.5)
        odd = signs @ self.single
        even = np.full(len(signs), self.middle)
        if self.double is not None:
            even += ((signs @ self.double) * signs).sum(1) / 2 - self.double.sum() / 8
        return pairs.values - np.stack([even + odd, even - odd], 1)

    def index(self, index: Index) -> tuple[Values, Values | None]:
        """(N,) and (N, N) its own indices."""
        if self.double is None:
            return self.single, None
        players = len(self.single)
        mass = index.first(np.arange(players).astype(float), players)
        # How much of a pair's number its players get, over the half that `single` holds.
        part = float((mass * np.arange(players)).sum()) / (players - 1) - 0.5
        return self.single + part * self.double.sum(1), self.double


def _sum_to_zero(players: int) -> Values:
    """(N, N - 1) an orthonormal basis of the vectors that sum to 0."""
    full = np.concatenate([np.ones((players, 1)), np.eye(players)[:, : players - 1]], 1)
    found: Values = np.linalg.qr(full)[0][:, 1:]
    return found


def _solved(x: Values, y: Values) -> Values:
    """Least squares with hardly any ridge, in the smaller of both spaces."""
    rows, columns = x.shape
    if rows < columns:
        found: Values = x.T @ _inverse(x @ x.T, y)
        return found
    return _inverse(x.T @ x, x.T @ y)


def _inverse(inside: Values, y: Values) -> Values:
    size = max(float(np.trace(inside)) / max(1, len(inside)), 1e-12)
    return np.asarray(np.linalg.solve(inside + _RIDGE * size * np.eye(len(inside)), y), dtype=np.float64)
