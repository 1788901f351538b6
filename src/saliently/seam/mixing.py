"""Attention written out by the model: a softmax, and then a product that mixes values by it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from saliently.seam.mode import Call

Softmaxed = Callable[[object], tuple[int, ...] | None]
"""The shape that a tensor had when it came out of a softmax, if it did."""


@dataclass(frozen=True, eq=False)
class Mixing:
    """Such a product. Attributes: weights (R, H, Q, K); value (R, H, K, E); output, the model's own product of such."""

    weights: Tensor
    value: Tensor
    output: Callable[[Tensor, Tensor], Tensor]


def mixing(call: Call, softmaxed: Softmaxed, rows: int) -> Mixing | None:
    """The call as a mixing of values, or None if it is none."""
    name = call.func.__name__
    if name == "einsum":
        return _einsum(call, softmaxed)
    weights, value = call.args[:2]
    if not (isinstance(weights, Tensor) and isinstance(value, Tensor)):
        return None
    if name in ("mul", "multiply"):
        return _additive(call, weights, value, softmaxed)
    shape = softmaxed(weights)
    if shape is None or softmaxed(value) is not None or weights.dim() < 3 or weights.dim() != value.dim():
        return None
    heads = _heads(weights, shape, rows)
    shaped = weights.reshape(heads + weights.shape[-2:]), value.reshape(heads + value.shape[-2:])
    return Mixing(*shaped, _product(call, weights, value))


def _product(call: Call, weights: Tensor, value: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """The model's own product, of weights and values in any shape."""

    def output(w: Tensor, v: Tensor) -> Tensor:
        result: Tensor = call.func(w.to(weights.dtype).reshape(weights.shape), v.reshape(value.shape))
        return result

    return output


def _heads(weights: Tensor, shape: tuple[int, ...], rows: int) -> torch.Size:
    """(R, H): what stands before queries and keys, by the shape at the softmax where both are flattened into one."""
    if weights.dim() == 4:
        return weights.shape[:2]
    if len(shape) == 4:
        return torch.Size(shape[:2])
    first = weights.shape[0]
    return torch.Size((rows, first // rows)) if rows and first % rows == 0 else torch.Size((first, 1))


def _additive(call: Call, a: Tensor, b: Tensor, softmaxed: Softmaxed) -> Mixing | None:
    """Weights (R, T, 1) times states (R, T, E), to be summed over T: the attention of recurrent nets."""
    weights, value = (a, b) if softmaxed(a) is not None else (b, a)
    shape = softmaxed(weights)
    if shape is None or weights.dim() != 3 or value.dim() != 3 or weights.shape[-1] != 1:
        return None
    if math.prod(shape) != weights.numel():  # a column of a softmax over something else: a gate of one expert
        return None
    if value.shape[:2] != weights.shape[:2] or (shape[-1] == 1 and len(shape) == 3 and shape != tuple(weights.shape)):
        return None
    return Mixing(weights[..., 0][:, None, None], value[:, None], _product(call, weights, value))


def _einsum(call: Call, softmaxed: Softmaxed) -> Mixing | None:
    """Two tensors, the first a softmax over an index that is summed; by the letters of the equation."""
    given = call.args[1] if isinstance(call.args[1], (list, tuple)) else call.args[1:]
    if len(given) != 2 or softmaxed(given[0]) is None or given[0].dim() != 4:
        return None
    sources, _, result = call.args[0].replace(" ", "").partition("->")
    first, second = sources.split(",")
    r, h, _, k = first
    if k in result or k not in second or "." in call.args[0]:
        return None
    own = "".join(letter for letter in second if letter not in (r, h, k))
    if len(own) != 1 or not {r, h} <= set(second):
        return None
    there, back = f"{second}->{r}{h}{k}{own}", f"{r}{h}{k}{own}->{second}"

    def output(w: Tensor, v: Tensor) -> Tensor:
        mixed: Any = call.func(call.args[0], w.to(given[0].dtype), torch.einsum(back, v))
        return mixed  # type: ignore[no-any-return]

    return Mixing(given[0], torch.einsum(there, given[1]), output)
