"""What a layer's states lose when it can't see a token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from saliently.methods.base import Method, Scores
from saliently.methods.stack import Alone, Leaves, between, read
from saliently.runner import Runner
from saliently.seam.watch import Attention, Watch, watched
from saliently.types import Quantity

_AT_ONCE = 2**14
"""Most tokens that run together."""


@dataclass(frozen=True, repr=False)
class ValueZeroing(Method):
    """Attention: how much the state of the explained position turns in a layer that can't see a token.

    Mohebbi et al. 2023. In one layer the value vectors of token j are set to zero, in all heads, the attention weights
    staying as they are; C_ij = 1 - cos(state i then, state i before) of the layer's result, each row divided by its
    sum. Shares of 1, special tokens included. `layer` counts the layers of the forward pass (-1 is the last).
    `rollout=True` multiplies the matrices of all layers, from the last to the first, without adding residuals (they are
    in the layer's result already).

    The row is that of the position that the explained number depends on after the last layer (the first token in BERT,
    the last in GPT-2); the mean over rows where it depends on several. A layer is an element of the model's list of
    layers, with all attention inside it.

    Raises, when run, a ModelError for encoder-decoders, and for models without a list of layers that pay attention.
    """

    name: ClassVar[str] = "value-zeroing"
    quantity: ClassVar[Quantity] = "attention"
    layer: int = -1
    rollout: bool = False

    def rows(self, tokens: int) -> int:
        return tokens + 1

    def __call__(self, runner: Runner) -> list[Scores]:
        stacks = read(runner, "Value zeroing", _look)
        for i, tokens in enumerate(runner.inputs):
            runner.forward_rows[i] += len(tokens.ids)
        return [Scores(stack.shares(self.layer, self.rollout, self.name)) for stack in stacks]


def _look(alone: Alone) -> tuple[Tensor, Tensor, list[Tensor]]:
    """All layers at once: whatever a layer makes of it, the next is given the real states."""
    real, leaves = list[Tensor](), Leaves()

    def keep(states: Tensor) -> Tensor:
        alone.tokens_first(states, 1, "Value zeroing")
        real.append(states.detach())
        return leaves(states)

    with between(alone.blocks, keep):
        logits = alone.run()
    many = alone.x.shape[1]
    step = max(1, min(_AT_ONCE // many, alone.model.max_rows or many))
    parts = [_turned(alone, real, torch.arange(at, min(at + step, many))) for at in range(0, many, step)]
    return logits, leaves.last, [torch.cat(layer, 1) for layer in zip(*parts, strict=True)]


def _turned(alone: Alone, real: list[Tensor], away: Tensor) -> list[Tensor]:
    """For each layer (T, A): how far each state turns when the values of each of A tokens are zero."""
    found, rows = list[Tensor](), torch.arange(len(away))

    def look(seen: Attention) -> Tensor:
        value = seen.value.clone()
        value[rows, :, away] = 0
        return seen.output(seen.weights, value)

    def compare(states: Tensor) -> Tensor:
        before = real[len(found)]
        now, then = (alone.tokens_first(s, n, "Value zeroing").double() for s, n in ((states, len(away)), (before, 1)))
        found.append((1 - F.cosine_similarity(now, then, dim=-1)).clamp(min=0).T.cpu())
        return before.expand_as(states)

    with torch.no_grad(), between(alone.blocks, compare), watched(Watch(look), alone.model.module):
        alone.run(len(away))
    return found
