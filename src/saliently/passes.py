"""What goes through a model at a time, and what comes back.

P rows, L tokens, T tokens of one input, D embedding dimensions, W places that are read, C labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from saliently.errors import ModelError
from saliently.models.base import Model
from saliently.models.batch import Batch

T = TypeVar("T")

Jitter = Callable[[int, int], Tensor]
"""(example, row) -> (T, D), added to the word vectors of that row."""


@dataclass(frozen=True)
class Path:
    """Where rows lie: what stands for a word taken away, and what is added to every row."""

    blank: str = "zero"
    jitter: Jitter | None = None


_CUT = (
    "The gradient of the logits with respect to the word vectors was asked of {}; its forward pass cuts that link "
    "(no_grad, detach, or quantised weights). Use occlusion, which needs none."
)


class Slope(NamedTuple):
    """The gradient at the rows of one batch.

    Attributes: grad (P, L, D), of the explained number; x, the word vectors at which it was taken; word, those of the
    unchanged tokens; blank (D,), what stands for nothing.
    """

    grad: Tensor
    x: Tensor
    word: Tensor
    blank: Tensor


class Reading(NamedTuple, Generic[T]):
    """One row's answer.

    Attributes: example and row say whose; value, the explained number there; part, what was read there: off its
    gradient, (T,) or (T, D) float64.
    """

    example: int
    row: int
    value: float
    part: T


@dataclass(eq=False)
class Pass:
    """One batch on its way through the model, for whatever is to look inside.

    Attributes: model; batch; x (P, L, D), the word vectors that go in, a leaf that needs a gradient; word, those of the
    unchanged tokens; blank (D,), what stands for nothing; logits (P, C) or (P, W, C) and found (P,), the explained
    numbers, once `values` ran.
    """

    model: Model
    batch: Batch
    x: Tensor
    word: Tensor
    blank: Tensor
    evaluate: Callable[[Tensor], Tensor]
    logits: Tensor | None = None
    found: Tensor | None = None

    @property
    def places(self) -> Tensor:
        """(P, L) which token of its input stands at a place, -1 at padding; on the CPU."""
        return self.batch.places.cpu()

    def values(self) -> Tensor:
        """(P,) the explained numbers, by one forward pass; differentiable in x."""
        return self.take(self.model.run(self.batch, self.x))

    def take(self, logits: Tensor) -> Tensor:
        """(P,) the explained numbers, from logits that were computed in another way."""
        self.logits, self.found = logits, self.evaluate(logits)
        return self.found

    def gradient(self, values: Tensor, wrt: Sequence[Tensor], again: bool = False) -> list[Tensor]:
        """Of the summed values, with respect to each tensor; `again` keeps what another one of this pass will need.

        Raises:
            ModelError: the forward pass cut the link.
        """
        found: Sequence[Tensor | None] = [None]
        if values.requires_grad:
            with whole_gradients(self.model.name):
                found = torch.autograd.grad(values.sum(), list(wrt), allow_unused=True, retain_graph=again)
        given = [each for each in found if each is not None]
        if len(given) < len(wrt):
            raise ModelError(_CUT.format(self.model.name))
        return given

    def real(self, p: int, given: Tensor) -> Tensor:
        """(T, ...) float64, without padding, of what is (L, ...) for row p."""
        return given[self.batch.places[p].to(given.device) >= 0].to("cpu", torch.float64)


@contextmanager
def whole_gradients(name: str) -> Iterator[None]:
    """Inside the block an operation without a gradient is a ModelError; torch would leave out what went through it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", ".*an autograd kernel was not registered", UserWarning)
        try:
            yield
        except UserWarning as warning:
            raise ModelError(_CUT.format(name)) from warning
