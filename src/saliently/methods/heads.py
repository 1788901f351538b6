"""What a forward pass paid attention to, for methods that make scores of it.

T tokens of one input, H heads, Q queries, K keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saliently.errors import ModelError, RecipeError
from saliently.models.base import Model
from saliently.passes import Pass, whole_gradients
from saliently.runner import Runner
from saliently.seam.places import Place
from saliently.seam.watch import Attention, Watch, watched

_COUNTS = 1e-6
"""A query counts if the explained number depends on it at least so much as on the one it depends on most."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One attention over one input. Attributes: place; weights (H, Q, K), Q and K without padding; gradient,
    of the explained number with respect to each weight, if it was asked for."""

    place: Place
    weights: Tensor
    gradient: Tensor | None = None

    def onto_tokens(self, keys: Tensor) -> tuple[Tensor, float]:
        """Scores (..., K) of its keys as scores (..., T) of the input's tokens, and what fell on no token.

        A decoder beside an encoder reads the tokens moved by one place, behind a start token.
        """
        if not self.place.decoder or self.place.cross:
            return keys, 0.0
        moved = torch.cat([keys[..., 1:], torch.zeros_like(keys[..., :1])], -1)
        return moved, float(keys[..., 0].sum())


@dataclass(frozen=True, eq=False)
class Heads:
    """Every attention over one input, in order; and queries (Q,), the share of each query of the last one in the
    explained number: equal shares to those that it depends on."""

    layers: tuple[Layer, ...]
    queries: Tensor

    def row(self, each: Tensor, head: int | None) -> Tensor:
        """(K,) of (H, Q, K) of one layer: what one head, or the mean over heads, has at the explained position."""
        one = (each.mean(0) if head is None else each[head]).double()
        return (self.queries if len(one) == len(self.queries) else one.new_ones(1)) @ one


def read(runner: Runner, gradients: bool = False) -> list[Heads]:
    """For each input what its forward pass paid attention to.

    Raises:
        ModelError: the model pays no attention, or pays it to something else than its tokens.
    """
    check_one_text(runner.model)
    check_attention(runner.model)
    found = {each.example: each.part for each in runner.through(runner.everything(), lambda one: _look(one, gradients))}
    return [found[i] for i in range(len(runner.inputs))]


def check_one_text(model: Model) -> None:
    """Raise ModelError for a model that reads several texts apart."""
    if model.vectors and model.sample().streams:
        raise ModelError(
            f"Attention was asked of {model.name}; the attention methods read one stack of layers over one text, and "
            "this model reads several texts apart. Use a saliency method."
        )


def check_attention(model: Model) -> None:
    """Raise ModelError unless the model pays attention."""
    if not model.attentions:
        raise ModelError(
            f"Attention was asked of {model.name}; a forward pass shows none (no scaled dot product, and no softmax "
            "that mixes values). Use a saliency method, which needs none."
        )


def check_choice(model: Model, name: str, layer: int, head: int | None) -> None:
    """Raise RecipeError unless the model has this layer, and the layer this head."""
    if not model.attentions:
        return  # `read` says so
    heads = model.attentions[layer].heads if -len(model.attentions) <= layer < len(model.attentions) else 0
    asked = [("layer", layer, len(model.attentions)), *([("head", head, heads)] if head is not None and heads else [])]
    for what, number, many in asked:
        if not -many <= number < many:
            raise RecipeError(f"{name}({what}={number}) was asked for; the model has {many}, counted from 0.")


def _look(one: Pass, gradients: bool) -> list[Heads]:
    """One batch's. Without gradients, only what comes after the last attention is kept for a backward pass."""
    last, seen = len(one.model.attentions) - 1, list[Tensor]()

    def look(found: Attention) -> Tensor | None:
        weights = found.weights
        if not weights.requires_grad:
            weights = weights.detach()
            if not gradients and found.index < last:
                seen.append(weights)
                return None
            weights.requires_grad_()
        seen.append(weights)
        return found.output(weights, found.value)

    one.x.requires_grad_(gradients)
    with watched(Watch(look), one.model.module, one.model.watched_names):
        values = one.values()
        if len(seen) != last + 1:
            raise ModelError(
                f"{last + 1} attentions were expected of {one.model.name}, as many as for another text; this one shows "
                f"{len(seen)}, so they can't be told apart. Use a saliency method."
            )
        slopes = _slopes(one.model.name, values, seen if gradients else seen[-1:])
    return [_heads(one, p, seen, slopes) for p in range(len(one.places))]


def _slopes(name: str, values: Tensor, weights: Sequence[Tensor]) -> list[Tensor]:
    if not values.requires_grad:
        return [torch.zeros_like(w) for w in weights]
    with whole_gradients(name):
        found = torch.autograd.grad(values.sum(), list(weights), allow_unused=True)
    return [torch.zeros_like(w) if slope is None else slope for w, slope in zip(weights, found, strict=True)]


def _heads(one: Pass, p: int, seen: Sequence[Tensor], slopes: Sequence[Tensor]) -> Heads:
    real = (one.places[p] >= 0).to(seen[0].device)
    places, padded = one.model.attentions, not bool(real.all())

    def cut(weights: Tensor, place: Place) -> Tensor:
        """(H, Q, K) of row p without padding."""
        found = weights[p].detach()
        if found.shape[-1] != len(real) or (place.whole and found.shape[-2] != len(real)):
            raise ModelError(
                f"The attention of {place.name} in {one.model.name} was to be read by tokens; it has "
                f"{found.shape[-2]} queries and {found.shape[-1]} keys for {len(real)} tokens. Use a saliency method."
            )
        if not padded:
            return found.cpu()
        return (found[:, real] if place.whole else found)[..., real].cpu()

    every = (
        [None] * len(seen) if len(slopes) < len(seen) else [cut(s, at) for s, at in zip(slopes, places, strict=True)]
    )
    layers = [Layer(at, cut(w, at), slope) for at, w, slope in zip(places, seen, every, strict=True)]
    felt = cut(slopes[-1], places[-1]).square().sum((0, 2)).sqrt()
    if not bool(felt.any()) and real.sum() > 1:
        raise ModelError(
            f"The position that is explained was looked for behind the last attention of {one.model.name}, "
            f"{places[-1].name}; the explained number does not depend on it. Use a saliency method."
        )
    counts = (felt > _COUNTS * felt.max()).double()
    return Heads(tuple(layers), counts / counts.sum().clamp(min=1))
