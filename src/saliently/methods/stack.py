"""A transformer layer by layer, for methods that say how each position of a layer mixes those of the layer below.

T tokens. One text at a time, so that what is in a layer's states can be told from its shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saliently.errors import ModelError, RecipeError
from saliently.methods.heads import check_attention, check_one_text
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.passes import Pass, whole_gradients
from saliently.runner import Runner

_COUNTS = 1e-6
"""A position counts if the explained number depends on it at least so much as on the one it depends on most."""


@dataclass(frozen=True, eq=False)
class Stack:
    """One input. Attributes: layers, (T, T) float64 in the order of the forward pass, what row i takes of each position
    of the layer below; positions (T,), the share of each in the explained number: equal shares to the positions of
    the last layer that it depends on."""

    layers: tuple[Tensor, ...]
    positions: Tensor

    def shares(self, layer: int, rollout: bool, spelled: str) -> Tensor:
        """(T,) what the explained positions take: rows sum to 1, of one layer, or of all from the last to the first."""
        many = len(self.layers)
        if not -many <= layer < many:
            raise RecipeError(f"{spelled} was asked for with layer={layer}; the model has {many}, counted from 0.")
        found = self.positions
        for each in reversed(self.layers) if rollout else [self.layers[layer]]:
            found = found @ (each / each.sum(-1, keepdim=True).clamp(min=torch.finfo(each.dtype).tiny))
        return found


@dataclass(frozen=True, eq=False)
class Alone:
    """One text by itself, with what it takes to run it. Attributes: model; blocks, its layers; batch, of one row; x (1,
    T, D), the word vectors."""

    model: Model
    blocks: tuple[nn.Module, ...]
    batch: Batch
    x: Tensor

    def run(self, rows: int = 1) -> Tensor:
        """Logits (R, C) of so many copies."""
        return self.model.run(self.batch.copies(rows), self.x.expand(rows, -1, -1))

    def tokens_first(self, states: Tensor, rows: int, name: str) -> Tensor:
        """(R, T, D) of a layer's states, which XLNet holds as (T, R, D).

        Raises:
            ModelError: they are neither.
        """
        many = self.x.shape[1]
        if states.dim() == 3 and states.shape[:2] == (rows, many):
            return states
        if states.dim() == 3 and states.shape[:2] == (many, rows):
            return states.transpose(0, 1)
        raise ModelError(
            f"{name} was asked of {self.model.name}; a layer's states have the shape {tuple(states.shape)} for {rows} "
            f"rows of {many} tokens, so they are not one for each token. Use a saliency method."
        )


def read(runner: Runner, name: str, look: Callable[[Alone], tuple[Tensor, Tensor, Sequence[Tensor]]]) -> list[Stack]:
    """For each input the stack that `look` reads.

    `look` gives logits (1, C), the states of the last layer that they depend on (a leaf), and the layers' matrices.

    Raises:
        ModelError: the model has no layers of self-attention.
    """
    layers = blocks(runner.model, name)

    def use(one: Pass) -> list[Stack]:
        found = [look(_alone(one, layers, p)) for p in range(len(one.places))]
        values = one.take(torch.cat([logits for logits, _, _ in found]))
        ends = [last for _, last, _ in found]
        with whole_gradients(one.model.name):
            felt = torch.autograd.grad(values.sum(), ends, allow_unused=True) if values.requires_grad else [None]
        slopes = [slope for slope in felt if slope is not None and bool(slope.any())]
        if len(slopes) < len(ends):
            raise ModelError(
                f"{name} was asked of {runner.model.name}; the explained number does not depend on what comes out of "
                "its last layer. Use a saliency method."
            )
        return [
            Stack(tuple(matrices), _explained(slope, matrices[0].shape[0]))
            for slope, (_, _, matrices) in zip(slopes, found, strict=True)
        ]

    stacks = {each.example: each.part for each in runner.through(runner.everything(), use)}
    return [stacks[i] for i in range(len(runner.inputs))]


def _alone(one: Pass, layers: tuple[nn.Module, ...], p: int) -> Alone:
    real = one.batch.mask[p].bool()
    return Alone(one.model, layers, one.batch.cut([p], real), one.x.detach()[p : p + 1, real])


def _explained(slope: Tensor, tokens: int) -> Tensor:
    """(T,) equal shares to the positions that a gradient reaches."""
    felt = slope.double().reshape(tokens, -1).square().sum(-1).sqrt().cpu()
    counts = (felt > _COUNTS * felt.max()).double()
    return counts / counts.sum().clamp(min=1)


def blocks(model: Model, name: str) -> tuple[nn.Module, ...]:
    """The layers that pay attention: the outermost elements of lists of modules that hold it.

    Raises:
        ModelError: none, or layers that look at another stack.
    """
    check_one_text(model)
    check_attention(model)
    if any(place.cross for place in model.attentions):
        raise ModelError(
            f"{name} was asked of {model.name}, an encoder-decoder; it follows one stack of layers from the words to "
            "the answer. Use decompx, lrp or another saliency method."
        )
    parts, found = dict(model.module.named_modules()), dict[str, nn.Module]()
    for place in model.attentions:
        steps = place.name.split("#")[0].split(".")
        paths = (".".join(steps[: i + 1]) for i, step in enumerate(steps) if step.isdecimal())
        path = next((path for path in paths if not isinstance(parts[path], nn.ModuleList)), None)
        if path is None:
            raise ModelError(
                f"{name} was asked of {model.name}; its attention {place.name!r} stands in no list of layers, so that "
                "no layer's result can be found. Use a saliency method."
            )
        found[path] = parts[path]
    return tuple(found.values())


@contextmanager
def between(modules: Sequence[nn.Module], after: Callable[[Tensor], Tensor | None]) -> Iterator[None]:
    """Inside the block, `after` sees the states that come out of each of the modules, and may put others there."""

    def hook(module: nn.Module, given: Any, output: Any) -> Any:
        whole = isinstance(output, Tensor)
        result = after(output if whole else output[0])
        if result is None:
            return None
        return result if whole else (result, *output[1:])

    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_hook(hook).remove)
        yield


class Leaves:
    """Cuts the graph after every layer; `last` is the states that the logits were made from."""

    def __init__(self) -> None:
        self.last = torch.zeros(0)

    def __call__(self, states: Tensor) -> Tensor:
        self.last = states.detach().requires_grad_()
        return self.last
