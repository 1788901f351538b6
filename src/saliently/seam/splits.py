"""How each operation passes on parts (`parts.py`): one rule for each kind of call, linear in the parts.

The choices are those of CP-LRP (`relevance.py`, variant "cp"): what is not linear is made so by numbers of the
real pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from saliently.errors import ModelError
from saliently.seam import calls
from saliently.seam.dot_product import DotProduct
from saliently.seam.lineage import SAME_PLACES, VIEWS, Tags
from saliently.seam.mode import Call
from saliently.seam.parts import alone, each, mixed, one_by_one, ratio, with_constant

LINEAR = VIEWS | frozenset(
    "__getitem__ sum mean cumsum cat concat concatenate stack hstack vstack chunk split tensor_split unbind narrow "
    "select index_select gather take_along_dim masked_select index_add index_copy scatter scatter_add roll flip "
    "movedim swapdims moveaxis unfold neg negative positive where masked_fill t tril triu pad constant_pad_nd diagonal "
    "repeat_interleave nan_to_num __get__ avg_pool1d adaptive_avg_pool1d".split()
)
"""Calls that are linear in all their tensors together, but for masks and numbers to fill with."""

ONE_AT_A_TIME = frozenset("_pack_padded_sequence _pad_packed_sequence _grouped_mm grouped_mm".split())

Parts = Tensor | Sequence[Tensor]
Split = Callable[[Call, Any], Parts]
"""(call, its real result) to the parts of each tensor in that result that holds floating-point numbers."""


def numbers(given: Any) -> list[Tensor]:
    """The tensors of floating-point numbers in arguments or results."""
    return [each for each in tree_leaves(given) if isinstance(each, Tensor) and each.is_floating_point()]


def unknown(call: Call, y: Any) -> Parts:
    """The rule for what has none."""
    raise ModelError(
        f"The explained number was to be split over the tokens; the forward pass goes through {call.func.__name__}, "
        "and no rule splits that operation. Use lrp, gradient-x-input, integrated-gradients or occlusion on this model."
    )


@dataclass(frozen=True, eq=False)
class Later:
    """Parts that are worked out if anybody asks: nobody does for attention scores, which are many."""

    make: Callable[[], Tensor]


class Splits:
    """The parts of the tensors of one forward pass, and the rules that pass them on.

    Attributes: many, K; split, are constants shared out among the parts, or dropped?
    """

    def __init__(self, many: int, split: bool) -> None:
        self.many, self.split = many, split
        self.parts: Tags[Tensor | Later] = Tags()
        self._roots: Tags[Tensor] = Tags()  # of what is an elementwise function of one tensor: that tensor
        self._kinds: Tags[bool] = Tags()  # results of activations

    def rules(self) -> Mapping[str, Split]:
        """By the name of the call."""
        table: dict[str, Split] = dict.fromkeys(LINEAR, self._together)
        table |= dict.fromkeys(calls.ACTIVATIONS, self._activate)
        table |= dict.fromkeys(calls.ADDITIONS, self._add)
        table |= dict.fromkeys(calls.CONVOLUTIONS, self._convolve)
        table |= dict.fromkeys(calls.DIVISIONS, self._divide)
        table |= dict.fromkeys(calls.PRODUCTS, self._multiply)
        table |= dict.fromkeys(("mul", "multiply"), self._elementwise)
        table |= dict.fromkeys(("pow", "__pow__", "normalize"), self._activate)
        table |= dict.fromkeys(("amax", "max"), self._largest)
        table |= dict.fromkeys(ONE_AT_A_TIME, self._one_by_one)
        table |= {"linear": self._linear, "addmm": self._addmm, "glu": self._glu, "einsum": self._einsum}
        table |= {"layer_norm": self._layer_norm, "rms_norm": self._rms_norm}
        table |= {"scaled_dot_product_attention": self._attend}
        return table

    def live(self, given: object) -> bool:
        """Does it have parts?"""
        return self.parts.get(given) is not None

    def of(self, whole: Tensor) -> Tensor:
        """(K, *shape) parts of a tensor; equal ones of a constant."""
        parts = self.parts.get(whole)
        if isinstance(parts, Later):
            with torch.no_grad():
                parts = parts.make()
            self.parts.put(whole, parts)
        return alone(whole.detach(), self.many, self.split) if parts is None else parts

    # Linear in all tensors together.

    def _together(self, call: Call, y: Any) -> Parts:
        if isinstance(y, Tensor):
            self._kinds.follow(call.args[0], y)
            if call.func.__name__ in SAME_PLACES:
                self._roots.follow(call.args[0], y)
        flat, shape = tree_flatten((self._filled(call), dict(call.kwargs)))
        at = [i for i, given in enumerate(flat) if isinstance(given, Tensor) and given.is_floating_point()]

        def run(*parts: Tensor) -> Any:
            full = list(flat)
            for i, part in zip(at, parts, strict=True):
                full[i] = part
            args, kwargs = tree_unflatten(full, shape)
            return call.func(*args, **kwargs)

        return numbers(each(run, *(self.of(flat[i]) for i in at)))

    def _filled(self, call: Call) -> list[Any]:
        """The arguments, of a number to fill with the share of one part."""
        args, name = list(call.args), call.func.__name__
        for place in {"masked_fill": (2,), "where": (1, 2)}.get(name, ()):
            if len(args) > place and isinstance(args[place], (int, float)):
                args[place] = args[place] / self.many if self.split else 0.0
        return args

    def _one_by_one(self, call: Call, y: Any) -> Parts:
        first = call.args[0]
        return one_by_one(lambda part: numbers(call.run(part))[0], self.of(first))

    def _add(self, call: Call, y: Tensor) -> Tensor:
        a, b = call.args[:2]
        self._spread(y, a, b)
        if self.live(a) and self.live(b):
            return self._together(call, y)[0]
        signs = {"sub": (1, -1), "subtract": (1, -1), "rsub": (-1, 1), "__rsub__": (-1, 1)}
        ours, theirs = signs.get(call.func.__name__, (1, 1))
        theirs = theirs * call.kwargs.get("alpha", 1)
        (given, sign), (constant, other) = ((a, ours), (b, theirs)) if self.live(a) else ((b, theirs), (a, ours))
        constant = other * torch.as_tensor(constant, dtype=y.dtype, device=y.device)
        parts = each(lambda part: (sign * part).to(y.dtype).expand(y.shape), self.of(given))
        return with_constant(parts, constant.expand(y.shape), self.split)

    def _linear(self, call: Call, y: Tensor) -> Tensor:
        x, weight, bias = call.get(0, "input"), call.get(1, "weight"), call.get(2, "bias")
        if self.live(weight):
            return self._plus(self._product(F.linear, x, weight), bias)
        return self._plus(F.linear(self.of(x), weight), bias)

    def _addmm(self, call: Call, y: Tensor) -> Tensor:
        bias, x, weight = call.args[:3]
        parts = self._product(torch.matmul, x, weight) * call.kwargs.get("alpha", 1)
        return self._plus(parts, call.kwargs["beta"] * bias if "beta" in call.kwargs else bias)

    def _plus(self, parts: Tensor, bias: Tensor | None) -> Tensor:
        if bias is None:
            return parts
        return parts + self.of(bias) if self.live(bias) else with_constant(parts, bias, self.split)

    def _convolve(self, call: Call, y: Tensor) -> Tensor:
        x, weight, bias = call.get(0, "input"), call.get(1, "weight"), call.get(2, "bias")
        rest = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        given = [call.get(place, name, default) for place, (name, default) in enumerate(rest.items(), 3)]
        spatial = weight.dim() - 2
        parts: Tensor = each(lambda part: call.func(part, weight, None, *given), self.of(x))
        return parts if bias is None else with_constant(parts, bias.view(-1, *(1,) * spatial), self.split, -1 - spatial)

    # Norms: the divisor is a constant.

    def _layer_norm(self, call: Call, y: Tensor) -> Tensor:
        x, shape = call.get(0, "input"), call.get(1, "normalized_shape")
        weight, bias, eps = call.get(2, "weight"), call.get(3, "bias"), call.get(4, "eps", 1e-5)
        over, parts = list(range(-len(shape), 0)), self.of(x)
        scale = torch.native_layer_norm(x, list(shape), None, None, eps)[2]
        parts = (parts - parts.mean(over, True)) * scale.to(parts.dtype)
        return self._plus(parts if weight is None else parts * weight, bias)

    def _rms_norm(self, call: Call, y: Tensor) -> Tensor:
        x, shape, weight, eps = (call.get(i, n) for i, n in enumerate(("input", "normalized_shape", "weight", "eps")))
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean = wide.square().mean(list(range(-len(shape), 0)), True)
        scale: Tensor = (mean + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt().to(x.dtype)
        parts = self.of(x) * scale
        return parts if weight is None else parts * weight

    # Elementwise functions: y / x is a constant.

    def _activate(self, call: Call, y: Tensor) -> Tensor:
        x = call.get(0, "input")
        root = self._root(x)
        self._roots.put(y, root)
        self._kinds.put(y, True)
        return self.of(x) * ratio(x.detach(), y.detach())

    def _glu(self, call: Call, y: Tensor) -> Tensor:
        x, dim = call.args[0], call.get(1, "dim", -1)
        signal: Tensor = each(lambda part: part.chunk(2, dim)[0], self.of(x))
        found: Tensor = signal * torch.sigmoid(x.detach().chunk(2, dim)[1])
        return found

    def _largest(self, call: Call, y: Any) -> Parts:
        """The parts of the largest entry."""
        x, dim, keep = call.args[0], call.get(1, "dim"), call.get(2, "keepdim", False)
        dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
        if not isinstance(dim, int):
            if not isinstance(y, Tensor) or y.dim():
                return unknown(call, y)
            return one_by_one(lambda part: part.flatten()[x.argmax()], self.of(x))
        at = x.argmax(dim, keepdim=True)
        found: Tensor = each(
            lambda part: part.gather(dim, at) if keep else part.gather(dim, at).squeeze(dim), self.of(x)
        )
        return found

    # Products: gates are constants; of two equals each passes on one half.

    def _product(self, run: Callable[[Any, Any], Tensor], a: Any, b: Any) -> Tensor:
        if not self.live(b):
            return each(lambda part: run(part, b), self.of(a))  # type: ignore[no-any-return]
        if not self.live(a):
            return each(lambda part: run(a, part), self.of(b))  # type: ignore[no-any-return]
        ours = each(lambda part: run(part, b.detach()), self.of(a))
        theirs = each(lambda part: run(a.detach(), part), self.of(b))
        return 0.5 * (ours + theirs)  # type: ignore[no-any-return]

    def _multiply(self, call: Call, y: Tensor) -> Tensor:
        a, b = call.get(0, "input"), call.get(1, "other")
        attends = call.func.__name__ in ("matmul", "bmm") and not self.live(a) and a.dim() == b.dim() > 2
        return mixed(a, self.of(b)) if attends else self._product(call.func, a, b)

    def _einsum(self, call: Call, y: Tensor) -> Tensor:
        listed = len(call.args) == 2 and isinstance(call.args[1], (list, tuple))
        given = list(call.args[1] if listed else call.args[1:])
        lively = [i for i, factor in enumerate(given) if self.live(factor)]
        found = torch.zeros(())
        for i in lively:
            rest = [factor.detach() for factor in given]

            def run(part: Tensor, i: int = i, rest: list[Tensor] = rest) -> Any:
                return call.func(call.args[0], *rest[:i], part, *rest[i + 1 :])

            found = found.to(y) + each(run, self.of(given[i])) / len(lively)
        return found

    def _elementwise(self, call: Call, y: Tensor) -> Tensor:
        a, b = call.args[:2]
        if not (self.live(a) and self.live(b)):
            self._spread(y, a, b)
            return self._product(call.func, a, b)
        root = self._root(a)
        if root is self._root(b):  # such as x * (1 + tanh(...)): an activation in pieces
            self._roots.put(y, root)
            self._kinds.put(y, True)
            return self.of(root) * ratio(root.detach(), y.detach())
        first, second = self._kinds.get(a) is not None, self._kinds.get(b) is not None
        if a.shape == b.shape and first != second:
            signal, gate = (b, a) if first else (a, b)
            found: Tensor = self.of(signal) * gate.detach()
            return found
        return self._product(call.func, a, b)

    def _divide(self, call: Call, y: Tensor) -> Tensor:
        """By a constant, whatever it is."""
        a, b = reversed(call.args[:2]) if call.func.__name__.startswith("__r") else call.args[:2]
        by = b.detach() if isinstance(b, Tensor) else b
        self._spread(y, a, by)
        return each(lambda part: torch.div(part, by), self.of(a))  # type: ignore[no-any-return]

    # Attention: its weights are constants.

    def _attend(self, call: Call, y: Tensor) -> Tensor:
        given = DotProduct.of(call)
        return mixed(given.weights(), given.per_head(self.of(given.value)))

    # Where tensors come from.

    def _root(self, x: Tensor) -> Tensor:
        root = self._roots.get(x)
        return x if root is None else root

    def _spread(self, y: Tensor, a: Any, b: Any) -> None:
        """Note y as an elementwise function of the same tensor as a and b, if they are of one."""
        roots = [self._root(part) for part in (a, b) if self.live(part)]
        plain = all(isinstance(c, (int, float)) or c.dim() == 0 for c in (a, b) if not self.live(c))
        if plain and roots and all(root is roots[0] for root in roots):
            self._roots.put(y, roots[0])
