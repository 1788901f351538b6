"""Rows that begin as the plain text does go on from what a decoder has computed for that beginning.

R rows, L tokens of what is left of them, W places wanted, V tokens of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from saliently.models.batch import Batch

if TYPE_CHECKING:
    from saliently.models.base import Model

_NEAR = 1e-4


class Past(NamedTuple):
    """What a decoder computed for a plain text. Attributes: layers, keys and values (1, H, T, E) of each; tokens (N,),
    in order, whose outputs were asked for; logits (N, V), these."""

    layers: Sequence[tuple[Tensor, Tensor]]
    tokens: Tensor
    logits: Tensor

    def at(self, wanted: Tensor) -> Tensor:
        """(..., V) the outputs at the places of those tokens."""
        found = torch.searchsorted(self.tokens, wanted.clamp(min=int(self.tokens[0])))
        return self.logits[found]


@dataclass(frozen=True, eq=False)
class Prefixes:
    """A decoder of transformers that keeps keys and values. Attributes: module; takes, names of what it takes."""

    module: nn.Module
    takes: frozenset[str]

    def past(self, ids: Tensor, tokens: Tensor) -> Past:
        """Run a plain text (1, T); `tokens` (N,) are those whose outputs are wanted, in order."""
        from transformers import DynamicCache

        out: Any = self.module(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=DynamicCache(),
            use_cache=True,
            logits_to_keep=tokens,
            return_dict=True,
        )
        layers = [(layer.keys, layer.values) for layer in out.past_key_values.layers]
        return Past(layers, tokens, out.logits[0])

    def after(self, past: Past, first: Tensor, batch: Batch) -> Tensor:
        """(R, W, V) outputs at the places wanted of rows that begin as the plain text does.

        `first` (R,) is the token with which each leaves it; the batch holds what comes from the least of these on. What
        is wanted before it is the plain text's own.
        """
        from transformers import DynamicCache

        rows, start = len(batch.ids), int(first.min())
        before = [
            (k[:, :, :start].expand(rows, -1, -1, -1), v[:, :, :start].expand(rows, -1, -1, -1)) for k, v in past.layers
        ]
        at = batch.found(before=True)
        kept, where = torch.unique(at.clamp(min=0), return_inverse=True)
        given: dict[str, Any] = {
            "input_ids": batch.ids,
            "attention_mask": torch.cat([batch.mask.new_ones(rows, start), batch.mask], 1),
            "past_key_values": DynamicCache(before),
        }
        if "position_ids" in self.takes:
            given["position_ids"] = batch.positions + start
        logits: Tensor = self.module(**given, use_cache=True, logits_to_keep=kept, return_dict=True).logits
        found = logits[torch.arange(rows, device=at.device)[:, None], where]
        assert batch.wanted is not None
        # Where all from there to the place wanted was deleted, the last token before it has the output.
        last = torch.minimum(batch.wanted, first.to(at.device)[:, None] - 1)
        plain = ((at < 0) | (batch.wanted == last)) & (batch.wanted >= 0)
        if bool(plain.any()):
            found[plain] = past.at(last[plain])
        return found


def prefixes_of(model: Model, takes: frozenset[str]) -> Prefixes | None:
    """How a model goes on from a beginning; None where it can't, or gives something else when tried out.

    Sliding windows keep no whole beginning, and some positions are spaced by how long the text is: both are left out.
    """
    config: Any = model.module.config
    text = config.get_text_config()
    positions = str(getattr(text, "rope_parameters", None))
    spaced = "longrope" in positions or "dynamic" in positions
    sliding = getattr(text, "sliding_window", None) is not None
    if not {"past_key_values", "logits_to_keep"} <= takes or sliding or spaced:
        return None
    found = Prefixes(model.module, takes)
    try:
        return found if _same(model, found) else None
    except Exception:
        return None  # every row is run from its beginning, which is always right


def _same(model: Model, prefixes: Prefixes) -> bool:
    """Does a short text give the same when its second half goes on from its first?"""
    whole = model.sample()
    many = whole.ids.shape[1]
    tokens, start = torch.arange(many, device=model.device), many // 2
    with model.resting(), torch.no_grad():
        wanted = whole.wanting(tokens[None])
        plain = model.run(wanted)
        past = prefixes.past(whole.ids, tokens)
        rest = wanted.cut([0, 0], tokens >= start)
        forward: Callable[[Batch], Tensor] = partial(prefixes.after, past, torch.tensor([start, start]))
        again = model.run(rest, model.embed(rest.ids), forward)
    near = max(_NEAR, torch.finfo(plain.dtype).eps ** 0.5) * max(1.0, float(plain.abs().max()))
    return bool(((again - plain).abs() <= near).all())
