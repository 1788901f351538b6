"""torch's multi-head attention, which is one call, written as the calls it is made of."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from saliently.errors import ModelError

_SIGNATURE = inspect.signature(F.multi_head_attention_forward)


def multi_head_attention(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Same values as `torch.nn.functional.multi_head_attention_forward` on (L, R, D).

    Raises:
        ModelError: rare options: keys or values of its own, no batch dimension.
    """
    bound = _SIGNATURE.bind(*args, **kwargs)
    bound.apply_defaults()
    given = bound.arguments
    _check_usual(given)
    weights = [given[f"{name}_proj_weight"] for name in "qkv"]
    if not given["use_separate_proj_weight"]:
        weights = given["in_proj_weight"].chunk(3)
    biases = [None] * 3 if given["in_proj_bias"] is None else given["in_proj_bias"].chunk(3)
    states = zip((given[name] for name in ("query", "key", "value")), weights, biases, strict=True)
    q, k, v = (_heads(F.linear(x, w, b), given["num_heads"]) for x, w, b in states)
    mask = _mask(given["attn_mask"], given["key_padding_mask"], q)
    rows, heads, length, size = q.shape
    dropped = given["dropout_p"] if given["training"] else 0.0
    kept = None
    if given["need_weights"]:
        scores = q @ k.transpose(-2, -1) / size**0.5
        kept = F.dropout(F.softmax(scores if mask is None else scores + mask, -1), dropped)
        out = kept @ v
    else:
        out = F.scaled_dot_product_attention(q, k, v, mask, dropped)
    joined = out.permute(2, 0, 1, 3).reshape(length, rows, heads * size)
    if kept is not None and given["average_attn_weights"]:
        kept = kept.mean(1)
    return F.linear(joined, given["out_proj_weight"], given["out_proj_bias"]), kept


def _check_usual(given: Mapping[str, Any]) -> None:
    rare = {
        "add_bias_kv": given["bias_k"] is not None,
        "add_zero_attn": given["add_zero_attn"],
        "static keys": given["static_k"] is not None or given["static_v"] is not None,
        "input without a batch dimension": given["query"].dim() != 3,
    }
    if any(rare.values()):
        raise ModelError(
            "torch's multi-head attention was to be taken apart; it is called with "
            f"{', '.join(name for name, found in rare.items() if found)}, which can't be followed. Use a method that "
            "needs only gradients or removals."
        )


def _heads(x: Tensor, heads: int) -> Tensor:
    """(L, R, D) to (R, heads, L, D / heads)."""
    return x.reshape(*x.shape[:-1], heads, -1).permute(1, 2, 0, 3)


def _mask(attn_mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
    """Both masks as one that is added to the scores; torch marks with True what must not be attended to."""
    found = None
    if attn_mask is not None:
        found = _added(attn_mask, q)
        if found.dim() == 3:
            found = found.reshape(q.shape[0], -1, *found.shape[1:])
    if padding is not None:
        ours = _added(padding, q)[:, None, None, :]
        found = ours if found is None else found + ours
    return found


def _added(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask.to(like.dtype)
    return torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf)
