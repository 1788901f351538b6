"""A tensor as a sum of K parts: (K, *shape), one part for each token that it is due to.

What is linear is done to each part; what is not is made linear first, by numbers taken from the whole tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from saliently.seam.gradients import at_least_tiny


def each(run: Callable[..., Any], *parts: Tensor) -> Any:
    """`run` on every part; of several tensors, on their k-th parts together."""
    try:
        return torch.vmap(run)(*parts)
    except RuntimeError:  # a view that the whole allows, and its parts, laid out otherwise in memory, do not
        return torch.vmap(run)(*(part.contiguous() for part in parts))


def one_by_one(run: Callable[[Tensor], Tensor], parts: Tensor) -> Tensor:
    """The same for a call that knows no more than one part at a time."""
    return torch.stack([run(part) for part in parts])


def mixed(weights: Tensor, parts: Tensor) -> Tensor:
    """weights (..., Q, J) @ each of parts (K, ..., J, E); the weights, which may be many, are not copied K times."""
    many, size = parts.shape[0], parts.shape[-1]
    wide = parts.movedim(0, -2).flatten(-2)
    found = weights.to(parts.dtype) @ wide
    return found.reshape(*found.shape[:-1], many, size).movedim(-2, 0)


def ratio(x: Tensor, y: Tensor) -> Tensor:
    """y / x in the type of x, 1 where both are 0."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return (at_least_tiny(y).to(wide) / at_least_tiny(x).to(wide)).to(x.dtype)


def alone(constant: Tensor, many: int, split: bool) -> Tensor:
    """A constant as parts: equal ones, since none of them has anything to do with it; zeros if it is dropped."""
    part = constant / many if split else torch.zeros_like(constant)
    return part.expand(many, *constant.shape).clone()


def with_constant(parts: Tensor, constant: Tensor, split: bool, dim: int = -1) -> Tensor:
    """Parts of a vector (along `dim`) and a constant that was added to it: part k gets |constant . part k| of it,
    divided by the sum of those; equal shares where all are 0. Nothing is added if the constant is dropped."""
    if not split:
        return parts
    if parts.dim() == 1:
        return with_constant(parts[:, None], constant[None], split)[:, 0]
    wide = torch.promote_types(parts.dtype, torch.float32)
    if constant.dim() == 1 and dim == -1:
        fit = (parts.to(wide) @ constant.to(wide)).abs()[..., None]
    else:
        fit = (parts.to(wide) * constant.to(wide)).sum(dim, keepdim=True).abs()
    total = fit.sum(0, keepdim=True)
    # A sum that is not finite (of values masked by -inf) says nothing either.
    some = (total > 0) & total.isfinite()
    share = torch.where(some, fit / total.where(some, 1), 1 / len(parts))
    return torch.addcmul(parts, share.to(parts.dtype), constant.to(parts.dtype))
