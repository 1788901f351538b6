"""The explained number as a sum over tokens, followed forward through the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from saliently.checks import Checks
from saliently.errors import ModelError
from saliently.methods.base import Method, Scores
from saliently.passes import Pass
from saliently.runner import Runner
from saliently.seam.decomposed import Decomposed
from saliently.seam.watch import opened_behind_changes
from saliently.types import Quantity

_AT_ONCE, _LONGEST = 2**23, 2**27
"""Most numbers in the parts of a layer's states: of the texts that run together, and of one text, which runs at all. A
pass holds about twenty times as many at its peak: 10 GB for the longest in float32, some 400 tokens of BERT-base."""


@dataclass(frozen=True, repr=False)
class DecompX(Method):
    """Saliency: the part of each token's word vector in the explained number, followed forward to the logits.

    Modarressi et al. 2023. Signed, in units of the target; sums exactly to it (to rounding), special tokens included.
    At each operation the vectors are split into one part for each token, and what is not linear is made so by numbers
    of the real pass: attention weights, the norms' divisors and the gates of gated units are constants, an activation
    multiplies every part by y / x, a product of two equals passes on one half from each.

    What belongs to no token (biases, positions, segments, start tokens) is shared out where it is added, part k getting
    |b . z_k| / sum |b . z_k| of it (the paper's AbsDot; equal shares where all are 0, as before any token has come in).
    `bias="none"` drops it instead: then this is lrp(variant="cp"), worked out forward, and the checks say what is
    missing.

    Departures: the paper shares out the biases of an attention block together, at its end; here each goes where it is
    added, so that any architecture will do. A probability is explained through its slope at the logits; the checks say
    what that leaves out.

    Costs memory and time of as many forward passes as there are tokens, at once.

    Raises, when run, a ModelError that names any operation that no rule splits.
    """

    name: ClassVar[str] = "decompx"
    quantity: ClassVar[Quantity] = "saliency"
    bias: Literal["absdot", "none"] = "absdot"

    def rows(self, tokens: int) -> int:
        return tokens + 1

    def __call__(self, runner: Runner) -> list[Scores]:
        found = {
            each.example: (each.value, each.part)
            for each in runner.through(
                runner.everything(), lambda one: _decompose(one, self.bias == "absdot"), backward=False
            )
        }
        for i, tokens in enumerate(runner.inputs):
            runner.forward_rows[i] += len(tokens.ids)
        return [self._answer(runner, i, *found[i]) for i in range(len(runner.inputs))]

    def _answer(self, runner: Runner, i: int, value: float, scores: Tensor) -> Scores:
        words = torch.tensor(runner.inputs[i].words)
        shares = {"words": float(scores[words].sum()), "special tokens": float(scores[~words].sum())}
        shares["the rest"] = value - sum(shares.values())
        return Scores(scores, checks=Checks(kept=tuple(shares.items())))


def _decompose(one: Pass, split: bool) -> list[Tensor]:
    """(T,) for each row of a batch."""
    logits: dict[int, Tensor] = {}
    parts: dict[int, Tensor] = {}
    for rows in _groups(one):
        real = one.batch.mask[rows[0]].bool()
        found, shares = _one_length(one, rows, real, split)
        for p, row in enumerate(rows):
            logits[row], parts[row] = found[p].to(one.x.dtype), shares[:, p].to("cpu", torch.float64)
    every = torch.stack([logits[p] for p in range(len(logits))]).requires_grad_()
    (slope,) = torch.autograd.grad(one.take(every).sum(), every)
    return [_weighed(parts[p].flatten(1), slope[p].flatten().to("cpu", torch.float64)) for p in range(len(logits))]


def _weighed(parts: Tensor, slope: Tensor) -> Tensor:
    """(T,) the parts of an explained number; a logit that it does not depend on may be infinite."""
    return parts[:, slope != 0] @ slope[slope != 0]


def _groups(one: Pass) -> Iterator[list[int]]:
    """Rows of one length, so few that their parts fit into memory."""
    lengths = one.batch.mask.sum(1).tolist()
    for length in sorted(set(lengths)):
        rows = [p for p, other in enumerate(lengths) if other == length]
        each = length * length * one.x.shape[-1]
        if each > _LONGEST:
            raise ModelError(
                f"The parts of {length} tokens were asked for; with vectors of {one.x.shape[-1]} numbers that is "
                f"{each:.1e} numbers a layer, too many to hold at once. Use lrp(variant='cp'), or a shorter text."
            )
        step = max(1, _AT_ONCE // each)
        yield from (rows[at : at + step] for at in range(0, len(rows), step))


def _one_length(one: Pass, rows: Sequence[int], real: Tensor, split: bool) -> tuple[Tensor, Tensor]:
    """Logits (P, C), or (P, W, C), of those rows without their padding, and their parts (T, P, C) or (T, P, W, C)."""
    batch = one.batch
    alone = batch.cut(rows, real)
    x = one.x.detach()[list(rows)][:, real].requires_grad_()
    seam = Decomposed(x.shape[1], split)
    seam.start(x)
    with _nothing_saved(), opened_behind_changes(seam, one.model.module):
        logits = one.model.run(alone, x)
    return logits.detach(), seam.splits.of(logits)


def _nothing_saved() -> AbstractContextManager[None]:
    """Inside the block, graphs know what depends on what and keep no tensor, which would keep its parts."""
    return saved_tensors_hooks(lambda kept: None, lambda gone: gone)
