"""Copies of a model that are the same function of text: with word vectors that lie elsewhere, with wider numbers.

Kindermans et al. 2019, "The (Un)reliability of Saliency Methods": a constant is added to every input, and what reads
the input takes it away again, so that f2(x + m) = f1(x) for all x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.models.copying import copied


@dataclass(frozen=True, eq=False)
class _Plus:
    """A hook behind an embedding: what it gives, and a constant (D,)."""

    constant: Tensor

    def __call__(self, part: nn.Module, given: Any, output: Tensor) -> Tensor:
        return output + self.constant.to(output)


@dataclass(frozen=True, eq=False)
class _Unshifted:
    """A forward pass that takes the constant away behind the embedding.

    Hooks run in the order in which they came. That of the shift was there before, and one that puts word vectors in is
    there by the time that a forward pass begins, so that this one sees whichever vectors the model is to read.
    """

    forward: Callable[[Batch], Tensor]
    embedding: nn.Module
    constant: Tensor

    def __call__(self, batch: Batch) -> Tensor:
        handle = self.embedding.register_forward_hook(_Plus(-self.constant))
        try:
            return self.forward(batch)
        finally:
            handle.remove()


def offset(model: Model, seed: int) -> Tensor:
    """(D,) a constant for `shifted`: in each dimension the spread of the entries of some word vectors, with a sign
    drawn at random."""
    vectors = model.embed(model.sample().ids)
    signs = torch.randint(0, 2, vectors.shape[-1:], generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return vectors.double().std() * signs.to(vectors.device)


def shifted(model: Model, constant: Tensor) -> Model:
    """A copy with all word vectors moved by `constant` (D,), and logits as they were, up to rounding.

    Blanks move along, since they are word vectors too ("mask", "pad", "mean"); only "zero" stays where it is.

    Raises:
        ModelError: the model can't be copied.
    """
    copy = copied(model, f"{model.name} with shifted word vectors")
    copy.embedding.register_forward_hook(_Plus(constant))
    # What was computed for the beginning of a text is kept by another way into the module.
    return replace(copy, forward=_Unshifted(copy.forward, copy.embedding, constant), prefixes=None)


def recast(model: Model) -> Model:
    """A copy that computes in float64; in float32 if the model computes in float64.

    Its weights are the same numbers, as far as they fit. It has run once, so that what was written for one width alone
    is told here, by torch.

    Raises:
        ModelError: the model can't be copied. RuntimeError: it can't compute in that width.
    """
    copy = copied(model, f"{model.name} recast")
    wide = next(model.module.parameters()).dtype == torch.float64
    copy.module.to(torch.float32 if wide else torch.float64)
    with copy.resting(), torch.no_grad():
        copy.run(copy.sample())
    return copy
