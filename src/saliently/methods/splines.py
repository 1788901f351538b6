"""Integrals along the path from nothing to the input, by splines through the nodes where derivatives are known.

T tokens of one input, N nodes on the path. Along it, with D what the words' vectors move by, f rises by D_i g_i as word
i comes in, and that changes by the sum over j of D_i H_ij D_j.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

SHARE = 0.65
"""Cut further, in each round, the worst pieces that make up this share of the error."""

_POINTS = 24
"""Points at which each piece of an interpolant is read, to integrate it."""

Floats = NDArray[np.float64]


class Node(NamedTuple):
    """A place on the path. Attributes: value, f there; rise (T,), D_i g_i, how fast it rises as each word comes in;
    bend (T, T), D_i H_ij D_j."""

    value: float
    rise: Floats
    bend: Floats


class Sum(NamedTuple):
    """A quadrature. Attributes: matrix (T, T), not yet symmetric; whole and rows, how far its sum is from f's change
    and its rows from integrated gradients, as shares; lacks (N - 1,), the error of each piece of the path."""

    matrix: Floats
    whole: float
    rows: float
    lacks: Floats

    @property
    def gap(self) -> float:
        return float("nan") if np.isnan(self.whole + self.rows) else max(self.whole, self.rows)


@dataclass(frozen=True, eq=False)
class Nodes:
    """What is known of the path of one input: node -> f and its derivatives there."""

    at: dict[float, Node] = field(default_factory=dict)

    def sum(self) -> Sum:
        """The integrals, by splines through the nodes."""
        nodes = np.array(sorted(self.at))
        value, rise, bend = (np.array(each) for each in zip(*(self.at[node] for node in nodes), strict=True))
        slope, points, weights = bend.sum(2), *_points(nodes)
        cardinal = CubicSpline(nodes, np.eye(len(nodes)))(points)
        rises = _hermite(nodes, points, rise, slope)
        shares = np.einsum("kp,kpt->kt", weights, rises)
        logs = weights * -np.log(points)
        matrix = np.tensordot(np.einsum("kp,kpn->n", logs * points, cardinal), bend, 1)
        matrix = matrix + np.diag(np.einsum("kp,kpt->t", logs, rises))
        bends = np.einsum("kp,kpn->kn", weights, cardinal) @ slope
        middle = (nodes[1:] + nodes[:-1]) / 2
        lacks = -np.log(middle) * middle * np.abs(np.diff(rise, axis=0) - bends).sum(1)
        lacks += (1 - np.log(middle)) * np.abs(np.diff(value) - shares.sum(1))
        change, each = float(value[-1] - value[0]), shares.sum(0)
        whole = _share(abs(float(matrix.sum()) - change), abs(change))
        return Sum(matrix, whole, _share(np.abs(matrix.sum(1) - each).sum(), np.abs(each).sum()), lacks)

    def finer(self, tolerance: float, most: int) -> list[float]:
        """Middles of the worst pieces, up to `most` nodes in all; none if the gap is within tolerance, or no number."""
        found, nodes = self.sum(), np.array(sorted(self.at))
        if not found.gap > tolerance:
            return []
        order = np.argsort(-found.lacks, kind="stable")
        worst = found.lacks[order].cumsum()
        many = min(int((worst < SHARE * worst[-1]).sum()) + 1, most - len(nodes))
        middles = {float(nodes[k] + nodes[k + 1]) / 2 for k in order[: max(0, many)]}
        # At a jump the pieces shrink until floating point has nothing between their ends.
        return sorted(middles - self.at.keys())


def _points(nodes: Floats) -> tuple[Floats, Floats]:
    """(N - 1, points) in each piece, and their weights: Gauss-Legendre in u with t = u^4, for the logarithm at 0."""
    x, w = np.polynomial.legendre.leggauss(_POINTS)
    start, wide = nodes[:-1, None] ** 0.25, np.diff(nodes**0.25)[:, None]
    u = start + wide * (x + 1) / 2
    return u**4, 4 * u**3 * wide * w / 2


def _hermite(nodes: Floats, points: Floats, value: Floats, slope: Floats) -> Floats:
    """(N - 1, points, T) the cubics through values and slopes (N, T); scipy's takes no NaN, which is told elsewhere."""
    wide = np.diff(nodes)[:, None]
    x = (points - nodes[:-1, None]) / wide
    left, right = (1 + 2 * x) * (1 - x) ** 2, (3 - 2 * x) * x**2
    out, back = wide * x * (1 - x) ** 2, wide * (x - 1) * x**2
    parts = ((left, value[:-1]), (right, value[1:]), (out, slope[:-1]), (back, slope[1:]))
    return np.asarray(sum(weights[..., None] * each[:, None] for weights, each in parts))


def _share(error: float, whole: float) -> float:
    return float(error / whole) if whole else float("inf") if error else 0.0
