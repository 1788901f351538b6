"""Scaled dot-product attention, which torch computes in one fused call, by its parts.

R rows, H heads, G heads of keys and values (H or fewer), Q queries, K keys, E width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from saliently.seam.mode import Call

_AT_ONCE = 2**26
"""Most weights that are held at once in a backward pass."""


@dataclass(frozen=True, eq=False)
class DotProduct:
    """One call of `scaled_dot_product_attention`: query (R, H, Q, E), key and value (R, G, K, E)."""

    query: Tensor
    key: Tensor
    value: Tensor
    mask: Tensor | None
    causal: bool
    scale: float

    @classmethod
    def of(cls, call: Call) -> DotProduct:
        """The call by its parts. Dropout is left out: models rest in evaluation mode."""
        query = call.get(0, "query")
        scale = call.kwargs.get("scale")
        return cls(
            query,
            call.get(1, "key"),
            call.get(2, "value"),
            call.get(3, "attn_mask"),
            bool(call.get(5, "is_causal", False)),
            query.shape[-1] ** -0.5 if scale is None else scale,
        )

    def weights(self) -> Tensor:
        """(R, H, Q, K) softmax of scores, in float32 or wider; a query that may attend to nothing gives zeros."""
        key = self.per_head(self.key)
        wide = torch.promote_types(self.query.dtype, torch.float32)
        scores = ((self.query * self.scale) @ key.transpose(-2, -1)).to(wide)
        if self.causal:
            scores = scores.masked_fill(_later(scores), -torch.inf)
        if self.mask is None:
            return F.softmax(scores, -1)
        if self.mask.dtype == torch.bool:
            shut = ~self.mask
            scores = scores.masked_fill(shut, -torch.inf)
        else:
            shut = self.mask == -torch.inf
            scores = scores + self.mask
        nowhere = shut.all(-1, keepdim=True)
        found = F.softmax(scores, -1)
        return found.masked_fill(nowhere, 0.0) if bool(nowhere.any()) else found

    def per_head(self, given: Tensor) -> Tensor:
        """(R, G, K, E) to (R, H, K, E): groups of heads share keys and values."""
        times = self.query.shape[-3] // given.shape[-3]
        return given if times == 1 else given.repeat_interleave(times, -3)

    def back(self, grad: Tensor) -> Tensor:
        """Gradient (R, H, Q, E') at the result to that at `value`, the weights a constant; some heads at a time, since
        all weights of a long text at once may not fit."""
        heads, groups = self.query.shape[-3], self.value.shape[-3]
        many = max(1, _AT_ONCE * heads // (self.query[..., 0].numel() * self.key.shape[-2]))
        parts = [
            self._heads(h, h + many).weights().to(grad.dtype).transpose(-2, -1) @ grad[..., h : h + many, :, :]
            for h in range(0, heads, many)
        ]
        found = torch.cat(parts, -3)
        return found if groups == heads else found.reshape(*found.shape[:-3], groups, -1, *found.shape[-2:]).sum(-3)

    def _heads(self, first: int, end: int) -> DotProduct:
        """Some of the heads."""
        mask, heads = self.mask, self.query.shape[-3]
        if mask is not None and mask.dim() >= 3 and mask.shape[-3] == heads:
            mask = mask[..., first:end, :, :]
        query, key = (x[..., first:end, :, :] for x in (self.query, self.per_head(self.key)))
        return replace(self, query=query, key=key, mask=mask)

    def run(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """torch's own fused call with other queries, keys and values."""
        shared = query.shape[-3] != key.shape[-3]
        return F.scaled_dot_product_attention(
            query, key, value, self.mask, 0.0, self.causal, scale=self.scale, enable_gqa=shared
        )


def one_head(call: Call) -> Tensor:
    """A call on (R, Q, E) as one on (R, 1, Q, E)."""
    q, k, v = (call.get(i, name).unsqueeze(1) for i, name in enumerate(("query", "key", "value")))
    mask = call.get(3, "attn_mask")
    mask = mask.unsqueeze(1) if mask is not None and mask.dim() == 3 else mask
    causal, scale = bool(call.get(5, "is_causal", False)), call.kwargs.get("scale")
    found: Tensor = F.scaled_dot_product_attention(q, k, v, mask, call.get(4, "dropout_p", 0.0), causal, scale=scale)
    return found.squeeze(1)


def _later(scores: Tensor) -> Tensor:
    """(Q, K) True where a key comes after the query, both counted from the start, as torch counts."""
    return torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
