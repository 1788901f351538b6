"""Attention weights as they are."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from saliently.checks import Checks
from saliently.methods.base import Method, Scores
from saliently.methods.heads import Heads, Layer, check_choice, read
from saliently.runner import Runner
from saliently.types import Quantity


@dataclass(frozen=True, repr=False)
class OneAttention(Method):
    """A method that reads its scores off one attention, at the explained position."""

    quantity: ClassVar[Quantity] = "attention"
    gradients: ClassVar[bool] = False
    layer: int = -1
    head: int | None = None

    def rows(self, tokens: int) -> int:
        return 1

    def __call__(self, runner: Runner) -> list[Scores]:
        check_choice(runner.model, self.name, self.layer, self.head)
        return [self._score(heads) for heads in read(runner, self.gradients)]

    def _score(self, heads: Heads) -> Scores:
        layer = heads.layers[self.layer]
        scores, lost = layer.onto_tokens(heads.row(self.measure(layer), self.head))
        notes = (f"{lost:.3g} falls on the decoder's start token, no part of the text.",) if lost else ()
        return Scores(scores, checks=Checks(notes=notes))

    @abstractmethod
    def measure(self, layer: Layer) -> Tensor:
        """(H, Q, K) what is read of each weight."""


@dataclass(frozen=True, repr=False)
class AttentionWeights(OneAttention):
    """Attention: the weights with which one attention mixes the tokens, for the position that is explained.

    Bastings and Filippova 2020, Eq. 1. Shares between 0 and 1 that sum to 1, special tokens included; not an answer to
    what the prediction depended on, but what is often looked at in its place. `layer` counts the attentions in the
    order of the forward pass (-1 is the last); `head` is one of them, or None for the mean over heads. The row is that
    of the query that the explained number depends on after the last attention (the first token in BERT, the last in
    GPT-2); the mean over rows where it depends on several, as behind mean pooling. In a decoder beside an encoder what
    falls on its start token falls on no token of the text; a note says how much.
    """

    name: ClassVar[str] = "attention"

    def measure(self, layer: Layer) -> Tensor:
        return layer.weights
