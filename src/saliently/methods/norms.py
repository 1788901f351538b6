"""How much of each token's vector arrives in a layer's states, by the size of the vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from saliently.methods.base import Method, Scores
from saliently.methods.stack import Alone, Leaves, Stack, between, read
from saliently.runner import Runner
from saliently.seam.following import Followed, Following
from saliently.seam.mode import opened
from saliently.seam.watch import Watch, watched
from saliently.types import Quantity


class Norms(Method):
    """What these methods share."""

    def rows(self, tokens: int) -> int:
        return tokens + 1

    def _stacks(
        self, runner: Runner, sizes: Callable[[Tensor], Tensor], which: Callable[[Followed], Tensor | None]
    ) -> list[Stack]:
        return read(runner, self.name, partial(_look, sizes=sizes, which=which))


@dataclass(frozen=True, repr=False)
class ValueWeightedNorms(Norms):
    """Attention: the size of what attention takes from each token, for the position that is explained.

    Kobayashi et al. 2020: ||sum over heads h of alpha_ij^h (x_j W_V^h + b_V^h) W_O^h||, divided by the sum over j. So a
    token that is much looked at and whose value is next to nothing gets next to nothing. Shares of 1, special tokens
    included. `layer` counts the layers of the forward pass (-1 is the last). The row is that of the position that the
    explained number depends on after the last layer (the first token in BERT, the last in GPT-2), the mean over rows
    where it depends on several. Residual and bias of the output projection are not in it.

    Raises, when run, a ModelError for encoder-decoders, and where no output projection can be found.
    """

    name: ClassVar[str] = "value-weighted-norms"
    quantity: ClassVar[Quantity] = "attention"
    layer: int = -1

    def __call__(self, runner: Runner) -> list[Scores]:
        stacks = self._stacks(runner, _lengths, lambda found: found.projected)
        return [Scores(stack.shares(self.layer, False, self.name)) for stack in stacks]


@dataclass(frozen=True, repr=False)
class GlobEnc(Norms):
    """Attention: the size of what each token adds to a layer's result, rolled out over all layers.

    Modarressi et al. 2022. In each layer N_ij is the length of the part of token j in the result at position i: what
    attention takes from j (as in value-weighted-norms), for j = i the residual too, through both norms, whose divisors
    are those of the real pass; the feed-forward net is left out. Rows are divided by their sums and the layers'
    matrices multiplied, from the last to the first. The row is that of the position that the explained number depends
    on after the last layer, the mean over rows where it depends on several. Shares of 1, special tokens included.

    In pre-norm models (GPT-2, Llama) no norm stands behind a residual, and N_ij is the length of what attention takes,
    plus the residual; norms on what comes out of attention (Gemma) are in it. Biases behind the values are not.

    Raises, when run, a ModelError for encoder-decoders, and where the way through a layer can't be found.
    """

    name: ClassVar[str] = "globenc"
    quantity: ClassVar[Quantity] = "attention"

    def __call__(self, runner: Runner) -> list[Scores]:
        return [
            Scores(s.shares(-1, True, self.name)) for s in self._stacks(runner, _lengths, lambda found: found.result)
        ]


@dataclass(frozen=True, repr=False)
class Alti(Norms):
    """Attention: how near what each token adds comes to the whole of an attention block, rolled out over all layers.

    Ferrando et al. 2022. In each layer T_i(x_j) is the part of token j in the result at position i of attention,
    residual and the norm behind them (its divisor that of the real pass), y_i the sum of these parts; c_ij = max(0,
    ||y_i||_1 - ||y_i - T_i(x_j)||_1), rows divided by their sums, the layers' matrices multiplied from the last to the
    first. The row is that of the position that the explained number depends on after the last layer, the mean over rows
    where it depends on several. Shares of 1, special tokens included.

    In pre-norm models (GPT-2, Llama) no norm stands behind the residual, and none is in it. Departure: y_i is without
    the biases of output projection and norm, which belong to no token.

    Raises, when run, a ModelError for encoder-decoders, and where the way through a layer can't be found.
    """

    name: ClassVar[str] = "alti"
    quantity: ClassVar[Quantity] = "attention"

    def __call__(self, runner: Runner) -> list[Scores]:
        return [
            Scores(s.shares(-1, True, self.name)) for s in self._stacks(runner, _nearness, lambda found: found.attended)
        ]


def _lengths(parts: Tensor) -> Tensor:
    """(T, T) [i, j] the length of part j at position i."""
    found: Tensor = parts.double().square().sum(-1).sqrt().T.cpu()
    return found


def _nearness(parts: Tensor) -> Tensor:
    """(T, T) [i, j] how much nearer to the sum at position i its part j comes than nothing does."""
    whole = parts.double().sum(0)
    distance = torch.stack([(whole - part.double()).abs().sum(-1) for part in parts], -1)
    found: Tensor = (whole.abs().sum(-1, keepdim=True) - distance).clamp(min=0).cpu()
    return found


def _look(
    alone: Alone, sizes: Callable[[Tensor], Tensor], which: Callable[[Followed], Tensor | None]
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Logits, the last layer's states, and each layer's matrix."""
    following, leaves = Following(alone.x.shape[1], sizes), Leaves()

    def after(states: Tensor) -> Tensor:
        following.end(states)
        return leaves(states)

    with ExitStack() as stack:
        stack.enter_context(_beginning(alone.blocks, following.begin))
        stack.enter_context(between(alone.blocks, after))
        stack.enter_context(opened(following, alone.model.module))
        stack.enter_context(watched(Watch(following.attend), alone.model.module))
        logits = alone.run()
    matrices = [found for layer in following.layers if (found := which(layer)) is not None]
    return logits, leaves.last, matrices


@contextmanager
def _beginning(modules: tuple[nn.Module, ...], begin: Callable[[Tensor], None]) -> Iterator[None]:
    """Inside the block, `begin` is told the states that go into each of the modules."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        begin(next(x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.is_floating_point()))

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)
        yield
