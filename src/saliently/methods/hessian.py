"""Integrated Hessians: what pairs of words do together on the way from nothing to the input.

P rows, L tokens of the longest, T tokens of one input, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import ModelError, RecipeError
from saliently.methods.base import Method, Scores
from saliently.methods.splines import Node, Nodes
from saliently.passes import Pass, Path, whole_gradients
from saliently.runner import Runner
from saliently.seam.plain import Plain
from saliently.seam.watch import opened_behind_changes
from saliently.types import Quantity, Tokens

FIRST = 8
"""Pieces that the path is cut into at first."""

HEAVY = 4
"""A row holds about so many times what a row of one gradient does; its batches are smaller by as much."""

USUAL = 25
"""Nodes that a text takes in the end, about; for plans."""


@dataclass(frozen=True, repr=False)
class IntegratedHessians(Method):
    """Interaction: each pair's share of f(x) - f(nothing), by the second derivatives on the way from nothing to x.

    Janizek et al. 2020 ("Explaining Explanations"): integrated gradients of integrated gradients. Units of the target,
    signed. With D = x - b, for the word vectors x and what stands for nothing b, and sums over embedding dimensions,

        G_ij = int t (-ln t) D_i H_ij(b + t D) D_j dt  +  [i = j] int (-ln t) D_i g_i(b + t D) dt,   t from 0 to 1

    which is the double integral of the paper, exactly. (i, j) and (j, i) share what the pair does together; the
    diagonal is what a word does by itself, and holds a part of each pair too: of a product x1 x2 every entry is a
    quarter. Rows sum to integrated gradients, the matrix to f(x) - f(nothing). Only word vectors move; special tokens
    score 0.

    A node costs a gradient and one Hessian-vector product a word, from one forward pass. Between nodes D H D is a cubic
    spline, integrated with the weights above; the gradients, whose slopes the rows of D H D are, are cubic Hermite.
    The path begins in 8 equal pieces. Each knows its error: what the rows of the spline lack of the gradients' change,
    and the gradients' integral of that of f. The worst are halved, for just the texts whose gap is over `tolerance`,
    until there are `most` nodes. Measured on 18 SST-2 texts through a 6-layer BERT, mask and zero as blanks, that takes
    25 nodes a text; straight lines between nodes that are chosen so take 42, parabolas 31. With 33 nodes Gauss rules
    (t = u, u^2 or u^4) bring at most two thirds of the texts under 1 %, straight lines on equal pieces three quarters
    (`python -m bench.hessian`).

    The gap is the larger of |total - change| / |change| and sum_i |row_i - IG_i| / sum_i |IG_i|, where IG_i is the
    integral of the gradients at the same nodes. A fixed `steps` takes that many equal pieces and is not held to the
    tolerance.

    Functions of straight pieces (relu and its like) bend only at their kinks, so that they are replaced by what
    softplus(beta x) / beta makes of them, beta being `softplus`; the result says so, with f(x) before and after, and
    total and gap are those of the smooth function. GELU, SiLU and tanh stay. Other kinks (max pooling, a square root at
    0) stay too; what happens at them is missing from the pairs, and shows as a gap.
    """

    name: ClassVar[str] = "integrated-hessians"
    quantity: ClassVar[Quantity] = "interaction"
    blank: str | None = None
    steps: int | None = None
    tolerance: float = 0.01
    most: int = 256
    softplus: float = 10.0

    def __post_init__(self) -> None:
        if self.blank is not None:
            erase.check_blank(self.blank, erase.VECTOR_BLANKS)
        fewest = min(self.most, FIRST if self.steps is None else self.steps)
        if fewest < 1 or not self.tolerance > 0 or not self.softplus > 0:
            raise RecipeError(
                f"{self!r} was asked for; give at least one step, and a tolerance and a softplus above 0."
            )

    def rows(self, tokens: int) -> int:
        nodes = USUAL if self.steps is None else self.steps + 1
        return 2 + nodes * (1 + tokens)

    def __call__(self, runner: Runner) -> list[Scores]:
        assert self.blank is not None, "the default depends on the model"
        blank, inputs = self.blank, runner.inputs
        # The model's own numbers, before anything in it is made smooth.
        ends = {i: torch.cat([row, erase.nothing(inputs[i])]) for i, row in runner.everything().items()}
        own = runner.values(ends, blank)
        found, smoothed = self.along(runner, blank)
        return [self._answer(each, own[i].tolist(), smoothed) for i, each in enumerate(found)]

    def along(self, runner: Runner, blank: str) -> tuple[list[Nodes], set[str]]:
        """The nodes of each input, and the functions that were made smooth."""
        inputs, count = runner.inputs, self.steps or FIRST
        words = [erase.words(tokens) for tokens in inputs]
        curves, found = Curves.of(inputs, self.softplus), [Nodes() for _ in inputs]
        wanted = {i: [1.0, 0.0, *(k / count for k in range(1, count))] for i in range(len(inputs))}
        while wanted:
            for part in _portions(wanted, [len(each) for each in words], runner.budget.tokens // HEAVY):
                blocks = {i: erase.partly(inputs[i], nodes) for i, nodes in part.items()}
                for i, row, value, (rise, bend) in runner.through(blocks, curves, Path(blank)):
                    both = words[i][:, None] & words[i]
                    found[i].at[part[i][row]] = Node(value, (rise * words[i]).numpy(), (bend * both).numpy())
                    runner.gradient_rows[i] += int(words[i].sum())  # a Hessian-vector product is a pass there and back
            finer = {} if self.steps else {i: found[i].finer(self.tolerance, self.most) for i in wanted}
            wanted = {i: nodes for i, nodes in finer.items() if nodes}
        return found, curves.smoothed

    def _answer(self, found: Nodes, own: Sequence[float], smoothed: set[str]) -> Scores:
        """`own` is f of the model as it is, at the input and at nothing."""
        total = found.sum()
        tolerance = None if self.steps else self.tolerance
        notes = [_smooth(smoothed, self.softplus, own, found)] if smoothed else []
        if tolerance is not None and total.rows > max(tolerance, total.whole):
            notes.append(
                f"The gap is that of single words: rows of the matrix are {total.rows:.1%} off integrated gradients, "
                f"their sum {total.whole:.1%}."
            )
        checks = Checks(gap=total.gap, tolerance=tolerance, nodes=len(found.at), notes=tuple(notes))
        matrix = torch.from_numpy(total.matrix)
        return Scores((matrix + matrix.T) / 2, own[1], checks)


def _portions(
    wanted: Mapping[int, list[float]], lengths: Sequence[int], tokens: int
) -> Iterator[dict[int, list[float]]]:
    """The nodes of all inputs, in portions of about so many tokens and of inputs of like lengths."""
    portion: dict[int, list[float]] = {}
    held = 0
    for i in sorted(wanted, key=lambda i: -lengths[i]):
        for node in wanted[i]:
            if portion and held + lengths[i] > tokens:
                yield portion
                portion, held = {}, 0
            portion.setdefault(i, []).append(node)
            held += lengths[i]
    yield portion


def _smooth(smoothed: set[str], beta: float, own: Sequence[float], found: Nodes) -> str:
    """What was made smooth, in a sentence."""
    x, nothing = found.at[1.0].value, found.at[0.0].value
    return (
        f"The model computes {', '.join(sorted(smoothed))}, with kinks; softplus with a beta of {beta:g} stood for "
        f"each. f(x) is {own[0]:.4g} in the model and {x:.4g} in the smooth one, the change {own[0] - own[1]:.4g} and "
        f"{x - nothing:.4g}; the scores sum to the latter. A larger softplus is nearer and takes more nodes."
    )


@dataclass(frozen=True, eq=False)
class Curves:
    """First and second derivatives at the rows of a batch, contracted with D.

    Attributes: known, ids of an input -> (T,) which of its tokens move; beta, of softplus; smoothed, names of functions
    that softplus stood for, once it ran.
    """

    known: Mapping[tuple[int, ...], Tensor]
    beta: float
    smoothed: set[str] = field(default_factory=set)

    @staticmethod
    def of(inputs: Sequence[Tokens], beta: float) -> Curves:
        """For the rows of these inputs."""
        known: dict[tuple[int, ...], Tensor] = {}
        for tokens in inputs:
            known[tokens.ids] = known.get(tokens.ids, False) | erase.words(tokens)
        return Curves(known, beta)

    def __call__(self, one: Pass) -> list[tuple[Tensor, Tensor]]:
        """(T,) D_i g_i and (T, T) D_i H_ij D_j, float64, of each row."""
        wide = torch.promote_types(one.x.dtype, torch.float32)
        toward = one.word.to(wide) - one.blank.to(wide)
        seam = Plain(self.beta)
        with opened_behind_changes(seam, one.model.module), whole_gradients(one.model.name):
            rise = (_gradient(one).to(wide) * toward).sum(-1)
            bend = _bends(one, rise, toward, self._moving(one))
        self.smoothed.update(seam.smoothed)
        rise = rise.detach()
        return [(one.real(p, rise[p]), one.real(p, one.real(p, bend[p]).T).T) for p in range(len(rise))]

    def _moving(self, one: Pass) -> Tensor:
        """(P, L) True where a token moves along the path."""
        ids, real = one.batch.ids.cpu(), one.places >= 0
        found = torch.zeros_like(real)
        for line, row, here in zip(found, ids, real, strict=True):
            line[here] = self.known[tuple(row[here].tolist())]
        return found


def _gradient(one: Pass) -> Tensor:
    """(P, L, D) of the explained numbers, differentiable once more."""
    values = one.values()
    (found,) = (
        torch.autograd.grad(values.sum(), [one.x], create_graph=True, allow_unused=True)
        if values.requires_grad
        else [None]
    )
    if found is None:
        raise ModelError(
            f"Second derivatives of the logits with respect to the word vectors were asked of {one.model.name}; its "
            "forward pass cuts that link (no_grad, detach, or quantised weights). Use occlusion, which needs none."
        )
    return found


def _bends(one: Pass, rise: Tensor, toward: Tensor, moving: Tensor) -> Tensor:
    """(P, L, L) D_i H_ij D_j: one backward pass for the first token that moves in each row, one for the second, ..."""
    found = toward.new_zeros(*rise.shape, rise.shape[1])
    if not rise.requires_grad:  # f is linear
        return found
    order = moving.cumsum(1) * moving
    for k in range(1, int(order.max()) + 1):
        line, place = (each.to(rise.device) for each in (order == k).nonzero(as_tuple=True))
        try:
            (bend,) = torch.autograd.grad(rise[line, place].sum(), [one.x], retain_graph=True, allow_unused=True)
        except RuntimeError as error:
            raise _missing(one.model.name, error) or error from None
        if bend is not None:
            found[line, place] = (bend.to(toward.dtype) * toward).sum(-1)[line]
    return found


def _missing(name: str, error: RuntimeError) -> ModelError | None:
    """Ours for torch's word that an operation has no second derivative; torch has no class for that."""
    if "is not implemented" not in str(error):
        return None
    return ModelError(
        f"Second derivatives of the logits were asked of {name}; an operation in it has first ones alone ({error}). "
        "Use integrated-gradients, or an interaction method that only takes words away."
    )
