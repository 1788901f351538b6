"""Integrated gradients: the gradient gathered along the straight line from nothing to the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import RecipeError
from saliently.methods.base import Method, Scores
from saliently.passes import Path, Slope
from saliently.runner import Runner
from saliently.types import Quantity

FIRST = 8
"""Intervals that the path is cut into at first."""

SHARE = 0.95
"""Cut further, in each round, the worst intervals that make up this share of the error."""


@dataclass(frozen=True, repr=False)
class IntegratedGradients(Method):
    """Saliency: each word's share of f(x) - f(nothing), by the gradient gathered on the way from nothing to x.

    Sundararajan et al. 2017; Bastings and Filippova 2020, Eq. 4. Units of the target, signed. The scores sum to
    f(x) - f(nothing) up to the error of the quadrature, which is reported as the gap. Only word vectors move along the
    path; special tokens, positions and segments stay, so that special tokens score 0.

    Where the paper takes a fixed number of right-hand steps, this takes the trapezoid rule, and cuts the path again
    where that is wrong: completeness holds for every piece of the path, so that each piece knows its own error, the
    change of f along it less what its gradients sum to. The worst pieces are halved, for just the texts whose gap is
    still over `tolerance`, until `most` gradients are spent; what stays over is flagged. Equal pieces to begin with,
    because the integrand of a transformer is nearly flat at both ends, where Gauss rules put their nodes. A fixed
    `steps` takes that many equal pieces, and is not held to the tolerance.

    `blank`: "mask", "zero", "pad" or "mean", or several: then scores, change and nothing are their averages and the
    spread between them is reported. The default is "mask" where the model has that token, else "zero".
    """

    name: ClassVar[str] = "integrated-gradients"
    quantity: ClassVar[Quantity] = "saliency"
    blank: str | tuple[str, ...] | None = None
    steps: int | None = None
    tolerance: float = 0.01
    most: int = 256

    def __post_init__(self) -> None:
        for blank in self.blanks or ():
            erase.check_blank(blank, erase.VECTOR_BLANKS)
        if min(self.most, FIRST if self.steps is None else self.steps) < 1 or not self.tolerance > 0:
            raise RecipeError(f"{self!r} was asked for; give at least one step and a tolerance above 0.")

    def rows(self, tokens: int) -> int:
        return max(1, len(self.blanks or ())) * (3 * FIRST if self.steps is None else self.steps + 1)

    def __call__(self, runner: Runner) -> list[Scores]:
        found = [self._along(runner, blank) for blank in self.blanks or ()]
        return [self._answer([each[i] for each in found]) for i in range(len(runner.inputs))]

    def _along(self, runner: Runner, blank: str) -> list[_Integral]:
        """One integral an input, for one blank."""
        inputs, count = runner.inputs, self.steps or FIRST
        found = [_Integral({}) for _ in inputs]
        wanted = {i: [1.0, 0.0, *(k / count for k in range(1, count))] for i in range(len(inputs))}
        while wanted:
            blocks = {i: erase.partly(inputs[i], nodes) for i, nodes in wanted.items()}
            for i, row, value, rise in runner.gradients(blocks, _toward, Path(blank)):
                found[i].at[wanted[i][row]] = value, rise * erase.words(inputs[i])
            finer = {} if self.steps else {i: found[i].finer(self.tolerance, self.most) for i in wanted}
            wanted = {i: nodes for i, nodes in finer.items() if nodes}
        return found

    def _answer(self, found: list[_Integral]) -> Scores:
        """The blanks' integrals as one: averages, the worst gap, and the spread between them."""
        every = torch.stack([each.pieces()[1].sum(0) for each in found])
        checks = Checks(
            gap=max(each.gap for each in found),
            tolerance=None if self.steps else self.tolerance,
            nodes=max(len(each.at) for each in found),
            spread=float(every.std(0).mean() / every.mean(0).abs().mean()) if len(found) > 1 and every.any() else None,
        )
        return Scores(every.mean(0), sum(each.at[0.0][0] for each in found) / len(found), checks)


class _Integral(NamedTuple):
    """A trapezoid sum: node -> f there, and how fast it rises there as each word comes in, (T,)."""

    at: dict[float, tuple[float, Tensor]]

    def pieces(self) -> tuple[Tensor, Tensor, Tensor]:
        """K + 1 nodes; (K, T) what each piece of the path adds to the scores; (K,) what that lacks of f's change."""
        nodes = torch.tensor(sorted(self.at), dtype=torch.float64)
        value = torch.tensor([self.at[float(node)][0] for node in nodes], dtype=torch.float64)
        slope = torch.stack([self.at[float(node)][1] for node in nodes])
        adds = nodes.diff()[:, None] * (slope[1:] + slope[:-1]) / 2
        return nodes, adds, value.diff() - adds.sum(1)

    @property
    def gap(self) -> float:
        """Error of the sum, as a share of the change it should have."""
        error, change = float(self.pieces()[2].sum().abs()), abs(self.at[1.0][0] - self.at[0.0][0])
        return error / change if change else float("inf") if error else 0.0

    def finer(self, tolerance: float, most: int) -> list[float]:
        """Middles of the worst pieces, up to `most` nodes in all; none if the gap is within tolerance."""
        nodes, _, lacks = self.pieces()
        worst, order = lacks.abs().sort(descending=True)
        many = min(int((worst.cumsum(0) < SHARE * worst.sum()).sum()) + 1, most - len(nodes))
        middles = {float(nodes[k] + nodes[k + 1]) / 2 for k in order[: max(0, many)]}
        # At a jump of f the pieces shrink until floating point has nothing between their ends.
        return sorted(middles - self.at.keys()) if self.gap > tolerance else []


def _toward(slope: Slope) -> Tensor:
    """(P, L) how fast the explained number rises as each word goes from blank to itself."""
    return (slope.grad * (slope.word - slope.blank)).sum(-1)
