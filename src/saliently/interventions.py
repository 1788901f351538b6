"""Run a model with other attention weights than its own.

R rows, H heads, Q queries, K keys.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from saliently.attentions import AttentionMaps
from saliently.errors import ModelError, RecipeError
from saliently.methods.heads import check_attention
from saliently.models.base import Model
from saliently.seam.watch import Attention, Change, Watch, watched


class Intervention(ABC):
    """Other weights for an attention. Subclasses are frozen dataclasses, final; any function that takes an
    Attention and gives its new weights (R, H, Q, K), or None to leave them, will do as well."""

    @abstractmethod
    def __call__(self, seen: Attention) -> Tensor | None:
        """The new weights, or None to leave them as they are."""


@dataclass(frozen=True)
class Uniform(Intervention):
    """Equal weights for all keys that had any: masked keys stay at 0 (Wiegreffe and Pinter 2019).

    `layers` counts attentions in the order of the forward pass; None is all of them.
    """

    layers: tuple[int, ...] | None = None

    def __call__(self, seen: Attention) -> Tensor | None:
        if self.layers is not None and seen.index not in self.layers:
            return None
        open_ = (seen.weights > 0).to(seen.weights.dtype)
        return _renormalised(open_)


@dataclass(frozen=True)
class Permuted(Intervention):
    """Each query's weights, shuffled among the keys that had any (Jain and Wallace 2019).

    The shuffle depends on `seed`, the place of the attention and the number of keys, never on neighbours in a batch.
    """

    seed: int = 0
    layers: tuple[int, ...] | None = None

    def __call__(self, seen: Attention) -> Tensor | None:
        if self.layers is not None and seen.index not in self.layers:
            return None
        weights = seen.weights
        keys = weights.shape[-1]
        order = torch.rand(keys, generator=torch.Generator().manual_seed(self.seed * 1_000_003 + seen.index))
        # A query's open keys, in their own order and in a random one: what stands first in the one goes there.
        shut = (weights <= 0).to(weights.dtype)
        place = torch.arange(keys, device=weights.device, dtype=weights.dtype) / keys
        sources = (shut + place).argsort(-1)
        # Counted among the open ones, so that padding before them moves nothing.
        turn = (weights > 0).cumsum(-1).sub(1).clamp(min=0)
        targets = (shut + order.to(weights)[turn]).argsort(-1)
        return torch.zeros_like(weights).scatter(-1, targets, weights.gather(-1, sources))


@dataclass(frozen=True)
class Zeroed(Intervention):
    """No weight for some keys, the others renormalised (Serrano and Smith 2019).

    A query that has nothing else to look at gets zeros: its attention mixes nothing. `keys` are places in the text.
    """

    keys: tuple[int, ...]
    layers: tuple[int, ...] | None = None

    def __call__(self, seen: Attention) -> Tensor | None:
        if self.layers is not None and seen.index not in self.layers:
            return None
        size = seen.weights.shape[-1]
        if bad := [key for key in self.keys if not 0 <= key < size]:
            raise RecipeError(f"Attention to the keys {bad} was to be zeroed; {seen.name} has keys 0 to {size - 1}.")
        device = seen.weights.device
        places = torch.tensor(self.keys, device=device).expand(len(seen.weights), -1)
        if seen.starts is not None and size == seen.weights.shape[-2]:
            places = places + seen.starts[:, None]  # padding on the left moves the text
        gone = torch.zeros(len(places), size, dtype=torch.bool, device=device).scatter(
            1, places.clamp(max=size - 1), True
        )
        return _renormalised(seen.weights.masked_fill(gone[:, None, None], 0.0))


@dataclass(frozen=True, eq=False)
class Frozen(Intervention):
    """The weights of another run, from `saliently.attention`; the text must have as many tokens, one text at a time."""

    maps: AttentionMaps

    def __call__(self, seen: Attention) -> Tensor | None:
        stored = list(self.maps.layers.values())
        if seen.index >= len(stored):
            raise RecipeError(
                f"Attention was to be frozen from a run of {len(stored)} attentions; this model has more. Take "
                "the maps from the same model."
            )
        weights = torch.from_numpy(stored[seen.index]).to(seen.weights)
        if weights.shape != seen.weights.shape[1:]:
            raise RecipeError(
                f"Attention of shape {tuple(weights.shape)} was to be put into {seen.name}, which has "
                f"{tuple(seen.weights.shape[1:])} (heads, queries, keys). Freeze it from a text of as many tokens."
            )
        return weights.expand_as(seen.weights)


@dataclass(frozen=True)
class MaskedHeads(Intervention):
    """Heads that mix nothing: all of their weights are 0 (Michel et al. 2019). `heads` by place of the attention."""

    heads: Mapping[int, tuple[int, ...]]

    def __call__(self, seen: Attention) -> Tensor | None:
        if seen.index not in self.heads:
            return None
        many = seen.weights.shape[1]
        if bad := [head for head in self.heads[seen.index] if not 0 <= head < many]:
            raise RecipeError(f"Heads {bad} of {seen.name} were to be masked; it has heads 0 to {many - 1}.")
        weights = seen.weights.clone()
        weights[:, list(self.heads[seen.index])] = 0.0
        return weights


@dataclass(eq=False)
class Acted:
    """What an intervention did so far.

    Attributes: seen, attentions that ran; changed, those whose weights it changed; largest, the largest change of a
    weight; could, whether some query had two keys to choose from.
    """

    seen: int = 0
    changed: int = 0
    largest: float = 0.0
    could: bool = False


@contextmanager
def change_attention(model: Model, look: Change) -> Iterator[Acted]:
    """Inside the block every forward pass of the model, the user's own ones and those of saliently, uses other weights.

    `look` sees each attention (its name, its weights) and gives new weights: `Uniform()`, `Permuted(seed)`,
    `Zeroed(keys)`, `Frozen(maps)`, `MaskedHeads(heads)` or any function. Values, queries and keys stay the model's own,
    and so does all the rest; after the block the model is as it was.

    Raises:
        ModelError: the model pays no attention, or when the block ends, the intervention did nothing: nothing ran, no
            attention was changed, or every change was one from a weight to itself though there was another choice.
    """
    check_attention(model)
    acted = Acted()

    def change(seen: Attention) -> Tensor | None:
        acted.seen += 1
        acted.could |= bool(((seen.weights > 0).sum(-1) > 1).any())
        found = look(seen)
        if found is not None:
            _check(seen, found)
            moved = float((found.detach() - seen.weights.detach()).abs().max()) if found.numel() else 0.0
            acted.changed += moved > 0
            acted.largest = max(acted.largest, moved)
        return found

    with watched(Watch(change=change), model.module, model.watched_names):
        yield acted
    if not acted.seen:
        raise ModelError(
            f"The attention of {model.name} was to be changed; no attention ran inside the block. Run the model there, "
            "in the same thread."
        )
    if not acted.changed and acted.could and not isinstance(look, Frozen):
        raise ModelError(
            f"The attention of {model.name} was to be changed by {look}; {acted.seen} attentions ran and none of their "
            "weights is another one now. Check which layers, heads and keys it names."
        )


def _check(seen: Attention, found: object) -> None:
    if not isinstance(found, Tensor):
        spelled = type(found).__name__
    elif found.shape != seen.weights.shape:
        spelled = f"shape {tuple(found.shape)}"
    elif not bool(torch.isfinite(found).all()):
        spelled = "NaN or infinity among them"
    else:
        return
    raise RecipeError(
        f"New weights for {seen.name or 'the model itself'} were asked for, a tensor of finite numbers of shape "
        f"{tuple(seen.weights.shape)} (rows, heads, queries, keys); found {spelled}."
    )


def _renormalised(weights: Tensor) -> Tensor:
    """Each query's weights over their sum; zeros where that is 0."""
    total = weights.sum(-1, keepdim=True)
    return torch.where(total > 0, weights / total.clamp(min=torch.finfo(weights.dtype).tiny), 0.0)
