"""Operations whose values are the model's own and whose gradients are rewritten.

Relevance is carried as gradient: the relevance R of an entry a is a * g, with g the rewritten gradient that arrives at
a. So an operation that keeps relevance hands on g = R / a. Where a is 0 that would lose it; entries smaller than `tiny`
count as `tiny`, here and where relevance is read off, so that R / tiny * tiny = R.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

Note = Callable[[str, Tensor], None]
"""(who, amounts): relevance that stayed with someone who is no input; amounts by position, rows of the batch first."""


def tiny(dtype: torch.dtype) -> float:
    """What counts as the smallest size of an entry; its inverse times a relevance must not overflow."""
    return {torch.float64: 1e-100, torch.float16: 2.0**-12}.get(dtype, 1e-20)


def at_least_tiny(values: Tensor) -> Tensor:
    """The values, those nearer to 0 than `tiny` moved there; 0 counts as positive."""
    least = torch.full((), tiny(values.dtype), dtype=values.dtype, device=values.device)
    return torch.where(values.abs() < least, torch.where(values < 0, -least, least), values)


class _Scaled(Function):
    """The identity; its gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float | Tensor) -> Tensor:
        ctx.factor = factor
        return x.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


def scaled(x: Tensor, factor: float | Tensor) -> Tensor:
    """x, its gradient multiplied by `factor` (a number, or a tensor that needs no gradient, of x's shape)."""
    found: Tensor = _Scaled.apply(x, factor)  # type: ignore[no-untyped-call]
    return found


class _Sloped(Function):
    """y, as if it were x * (y / x) with that ratio a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, dead: bool) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        result = y
        if not bool(x.all()) or (dead and not bool(y.all())):
            x, y = at_least_tiny(x), at_least_tiny(y)
        ctx.save_for_backward((y.to(wide) / x.to(wide)).to(x.dtype))
        return result.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        (slope,) = ctx.saved_tensors
        return grad * slope, None, None


def sloped(x: Tensor, y: Tensor, dead: bool = True) -> Tensor:
    """y, an elementwise function of x: all relevance of y goes to x (the identity rule).

    With `dead`, that of entries of y that are 0 too, which only some rules for sums ever give any.
    """
    found: Tensor = _Sloped.apply(x, y.detach(), dead)  # type: ignore[no-untyped-call]
    return found


class _Metered(Function):
    """The identity; in the backward pass somebody takes note of what passes."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, read: Callable[[Tensor], None]) -> Tensor:
        ctx.read = read
        return y.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        ctx.read(grad)
        return grad, None


def metered(y: Tensor, read: Callable[[Tensor], None]) -> Tensor:
    """y; when its gradient comes by, `read` sees it."""
    found: Tensor = _Metered.apply(y, read)  # type: ignore[no-untyped-call]
    return found


class _Entering(_Metered):
    """Where a softmax begins that a rule stands for."""


def entering(y: Tensor, read: Callable[[Tensor], None]) -> Tensor:
    """As `metered`, for what a softmax is taken of: `graph.check` knows it by that."""
    found: Tensor = _Entering.apply(y, read)  # type: ignore[no-untyped-call]
    return found


class _Normed(Function):
    """A layer norm with its standard deviation a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, scale: Tensor, weight: Tensor | None, over: int) -> Tensor:
        ctx.over = list(range(-over, 0))
        ctx.save_for_backward(scale, weight)
        return y.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        scale, weight = ctx.saved_tensors
        through = grad.clone() if weight is None else grad * weight
        if ctx.over:
            through -= through.mean(ctx.over, True)
        return through.mul_(scale), None, None, None, None


def normed(x: Tensor, y: Tensor, scale: Tensor, weight: Tensor | None, over: int = 0) -> Tensor:
    """y, as if it were weight * scale * x with `scale` a constant; x less its mean over that many last dimensions."""
    found: Tensor = _Normed.apply(x, y.detach(), scale, weight, over)  # type: ignore[no-untyped-call]
    return found


class _Mixed(Function):
    """Values that attention mixed, with its weights a constant that is computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, mixed: Tensor, back: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.back = back
        return mixed.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return ctx.back(grad), None, None


def mixed(value: Tensor, result: Tensor, back: Callable[[Tensor], Tensor]) -> Tensor:
    """`result`, a linear function of `value`; `back` turns the gradient at the one into that at the other."""
    found: Tensor = _Mixed.apply(value, result.detach(), back)  # type: ignore[no-untyped-call]
    return found


def live(given: object) -> bool:
    """Does it depend on the word vectors? They are all that needs a gradient."""
    return isinstance(given, Tensor) and given.requires_grad


def shared(parts: Iterable[Tensor]) -> list[Tensor]:
    """The factors of a product: those that depend on the input get equal parts of its relevance."""
    given = list(parts)
    many = sum(map(live, given))
    return [scaled(part, 1 / many) if live(part) and many > 1 else part for part in given]
