"""Layer-wise relevance propagation as gradient x input: the forward pass as it is, the gradients by LRP's rules.

What is frozen or shared, and whose rule it is, is said at each operation below. Sources: Bach et al. 2015 (epsilon),
Arras et al. 2017 (gates), Ali et al. 2022 (attention and layer norm), Achtibat et al. 2024 (AttnLRP, and CP-LRP).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from saliently.seam import calls
from saliently.seam.dot_product import DotProduct
from saliently.seam.gradients import Note, at_least_tiny, live, metered, mixed, normed, scaled, shared, sloped
from saliently.seam.lineage import SAME_PLACES, VIEWS, Tags
from saliently.seam.linear import Linear, LinearRule, propagate, split
from saliently.seam.mode import Call, Rule, Seam
from saliently.seam.recurrent import unrolled

Variant = Literal["cp", "attn", "ali"]
Gates = Literal["all", "proportional", "half"]

CONSTANTS = "positions and other constants"
"""Vectors that are added to the words', or stand before them: positions, segments, start tokens, first states."""


@dataclass(frozen=True)
class Propagation:
    """Which rules. Attributes: variant, for what a transformer is made of; gates, what the signal takes of a product
    with a gate; linear and first, for weighted sums, and for those that read the word vectors themselves."""

    variant: Variant
    gates: Gates = "all"
    linear: LinearRule = field(default_factory=LinearRule)
    first: LinearRule | None = None


class Relevance(Seam):
    """The forward pass of a model whose only inputs that need a gradient are word vectors, under LRP's rules."""

    def __init__(self, propagation: Propagation, note: Note) -> None:
        self.propagation, self.note = propagation, note
        self.firsts = 0  # weighted sums that read the word vectors themselves
        self._roots: Tags[Tensor] = Tags()  # of what is an elementwise function of one tensor: that tensor
        self._kinds: Tags[str] = Tags()  # results of activations and of gates
        self._words: Tags[bool] = Tags()  # the word vectors themselves
        self._orders: Tags[Tensor] = Tags()  # of sorted rows: which row of the batch each one is
        super().__init__()

    def start(self, x: Tensor) -> None:
        """Say which tensor holds the word vectors."""
        self._words.put(x, True)

    def rules(self) -> Mapping[str, Rule]:
        table: dict[str, Rule] = dict.fromkeys(calls.NORMALISERS, self._cut)
        table |= dict.fromkeys(VIEWS, self._view)
        table |= dict.fromkeys(calls.ADDITIONS, self._add)
        table |= dict.fromkeys(calls.CONVOLUTIONS, self._convolve)
        table |= dict.fromkeys(calls.RECURRENT, self._unroll)
        table |= dict.fromkeys(calls.DIVISIONS, self._divide)
        table |= {"linear": self._linear, "addmm": self._addmm, "cat": self._cat}
        table |= {"layer_norm": self._layer_norm, "rms_norm": self._rms_norm}
        table |= {"index_select": self._select, "_pack_padded_sequence": self._pack}
        table |= {"softmax": self._softmax, "scaled_dot_product_attention": self._attend}
        if self.propagation.variant == "ali":  # activations and products pass on by their gradient
            return table | dict.fromkeys((*calls.ACTIVATIONS, *calls.GATES, "pow", "__pow__"), self._plain)
        table |= dict.fromkeys(calls.ACTIVATIONS, self._activate)
        table |= dict.fromkeys(calls.GATES, self._gate)
        table |= dict.fromkeys(("pow", "__pow__"), self._power)
        table |= dict.fromkeys(calls.PRODUCTS, self._multiply)
        table |= {"mul": self._elementwise, "multiply": self._elementwise, "normalize": self._activate}
        table |= {"glu": self._glu, "einsum": self._einsum, "baddbmm": self._baddbmm}
        return table

    # Elementwise functions: all relevance of what comes out goes to what went in (the identity rule).

    def _activate(self, call: Call, kind: str = "activation") -> Any:
        x = call.get(0, "input")
        if not live(x):
            return call.run()
        root = self._root(x)
        with torch.no_grad():
            value = call.run()
        y = sloped(x, value)
        self._roots.put(y, root)
        self._kinds.put(y, kind)
        return y

    def _plain(self, call: Call) -> Any:
        x = call.get(0, "input")
        return (
            self._counted(call.run(self._counted(x, -1.0, "activations")), 1.0, "activations")
            if live(x)
            else call.run()
        )

    def _gate(self, call: Call) -> Any:
        """The gate takes nothing, the signal it lets through takes all (Arras et al. 2017, LRP-all)."""
        return self._cut(call) if self.propagation.gates == "all" else self._activate(call, "gate")

    def _cut(self, call: Call) -> Any:
        x = call.get(0, "input")
        if not live(x):
            return call.run()
        with torch.no_grad():
            y = call.run()
        self._roots.put(y, self._root(x))
        return y

    def _power(self, call: Call) -> Any:
        exponent = call.get(1, "exponent")
        if not isinstance(exponent, (int, float)):
            return call.run()
        return self._activate(call) if exponent > 0 else self._cut(call)

    def _glu(self, call: Call) -> Any:
        signal, gate = call.args[0].chunk(2, call.get(1, "dim", -1))
        with self:
            return signal * torch.sigmoid(gate)

    # Products: relevance is shared in equal parts (Achtibat et al. 2024), but for gates.

    def _multiply(self, call: Call) -> Any:
        x, weight = call.args[:2]
        if call.func.__name__ in ("matmul", "mm") and live(x) and not live(weight) and weight.dim() == 2:
            return self._weigh(call, torch.matmul, x, weight, None)
        return call.run(*shared((x, weight)))

    def _einsum(self, call: Call) -> Any:
        listed = len(call.args) == 2 and isinstance(call.args[1], (list, tuple))
        return call.func(call.args[0], *shared(call.args[1] if listed else call.args[1:]))

    def _baddbmm(self, call: Call) -> Any:
        return call.run(call.args[0], *shared(call.args[1:3]))

    def _elementwise(self, call: Call) -> Any:
        a, b = call.args[:2]
        if not (live(a) and live(b)):
            return self._spread(call.run(), a, b)
        root = self._root(a)
        if root is not self._root(b):
            return call.run(*self._share(a, b))
        with torch.no_grad():
            value = call.run()
        y = sloped(root, value)  # such as x * (1 + tanh(...)): an activation in pieces
        self._roots.put(y, root)
        self._kinds.put(y, "activation")
        return y

    def _share(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """The factors of a product, each with its share of the relevance."""
        first, second = self._kinds.get(a), self._kinds.get(b)
        if "gate" in (first, second):
            if self.propagation.gates == "half":
                return scaled(a, 0.5), scaled(b, 0.5)
            sizes = at_least_tiny(a.detach()).abs(), at_least_tiny(b.detach()).abs()
            return scaled(a, sizes[0] / sum(sizes)), scaled(b, sizes[1] / sum(sizes))
        if self.propagation.variant == "cp" and a.shape == b.shape and (first is None) != (second is None):
            # A gated unit: what went through the activation opens and shuts, the other carries (CP-LRP).
            return (a.detach(), b) if first else (a, b.detach())
        return scaled(a, 0.5), scaled(b, 0.5)

    def _divide(self, call: Call) -> Any:
        """What is divided by, normalises: it is a constant."""
        given = [part.detach() if live(part) else part for part in call.args[:2]]
        backwards = call.func.__name__.startswith("__r")
        kept = 1 if backwards else 0
        given[kept] = call.args[kept]
        return self._spread(call.run(*given), *given)

    # Sums: each part by what it adds.

    def _add(self, call: Call) -> Any:
        a, b = call.args[:2]
        y = self._spread(call.run(), a, b)
        signs = {"sub": (1, -1), "subtract": (1, -1), "rsub": (-1, 1), "__rsub__": (-1, 1)}
        ours, theirs = signs.get(call.func.__name__, (1, 1))
        if not live(y) or call.kwargs or not all(isinstance(part, Tensor) and part.dim() for part in (a, b)):
            return y
        rule = self.propagation.linear
        parts = [ours * a, theirs * b]
        y = split(parts, y, rule, self.note)
        if live(a) and live(b):
            return y
        constant = at_least_tiny(parts[1] if live(a) else parts[0]).detach()
        return self._kept(y, CONSTANTS, partial(_constant_share, y.detach(), constant, rule))

    def _cat(self, call: Call) -> Any:
        parts, dim = call.get(0, "tensors"), call.get(1, "dim", 0)
        y = call.run()
        if not live(y) or all(map(live, parts)):
            return y
        own = torch.cat([torch.zeros_like(part) if live(part) else at_least_tiny(part) for part in parts], dim)
        return self._kept(y, CONSTANTS, lambda grad: grad * own)

    def _linear(self, call: Call) -> Any:
        x, weight, bias = call.get(0, "input"), call.get(1, "weight"), call.get(2, "bias")
        return self._weigh(call, F.linear, x, weight, bias)

    def _addmm(self, call: Call) -> Any:
        bias, x, weight = call.args[:3]
        if live(weight) or live(bias) or call.kwargs:
            return call.run(bias, *shared((x, weight)))
        return self._weigh(call, torch.matmul, x, weight, bias)

    def _convolve(self, call: Call) -> Any:
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        rest = tuple(call.get(place, name, default) for place, (name, default) in enumerate(defaults.items(), 3))
        bias, weight = call.get(2, "bias"), call.get(1, "weight")
        if bias is not None:
            bias = bias.view(-1, *(1,) * (weight.dim() - 2))
        return self._weigh(call, lambda x, w: call.func(x, w, None, *rest), call.get(0, "input"), weight, bias)

    def _weigh(self, call: Call, op: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None) -> Any:
        """A weighted sum `op(x, weight) + bias`."""
        if not live(x) or live(weight):
            return call.run() if not live(weight) else op(*shared((x, weight))) + (0 if bias is None else bias)
        rule = self.propagation.linear
        if self.propagation.first is not None and self._words.get(x):
            rule, self.firsts = self.propagation.first, self.firsts + 1
        y = call.run()
        if not rule.plain:
            return propagate(x, y, Linear(op, weight, bias), rule, self.note)
        return y if bias is None else self._kept(y, "biases", lambda grad: _along(grad, bias))

    # Norms: the divisor is a constant (Ali et al. 2022, LN rule).

    def _layer_norm(self, call: Call) -> Any:
        x, shape = call.get(0, "input"), call.get(1, "normalized_shape")
        weight, bias, eps = call.get(2, "weight"), call.get(3, "bias"), call.get(4, "eps", 1e-5)
        if not live(x):
            return call.run()
        with torch.no_grad():
            value, _, scale = torch.native_layer_norm(x, list(shape), weight, bias, eps)
        y = normed(x, value, scale, weight, over=len(shape))
        return y if bias is None else self._kept(y, "biases", lambda grad: _along(grad, bias))

    def _rms_norm(self, call: Call) -> Any:
        x, shape, weight, eps = (
            call.get(0, "input"),
            call.get(1, "normalized_shape"),
            call.get(2, "weight"),
            call.get(3, "eps"),
        )
        if not live(x):
            return call.run()
        with torch.no_grad():
            value = call.run()
            wide = x.to(torch.promote_types(x.dtype, torch.float32))
            mean = wide.square().mean(list(range(-len(shape), 0)), True)
            scale = (mean + (torch.finfo(x.dtype).eps if eps is None else eps)).rsqrt().to(x.dtype)
        return normed(x, value, scale, weight)

    # Attention: its weights are constants (CP-LRP; Ali et al. 2022, AH rule), or share and spread (AttnLRP).

    def _softmax(self, call: Call) -> Any:
        x = call.get(0, "input")
        if not live(x):
            return call.run()
        if self.propagation.variant != "attn":
            with torch.no_grad():
                return call.run()
        weights = call.run(self._counted(x, -1.0))
        return self._counted(weights, 1.0)

    def _attend(self, call: Call) -> Any:
        parts = DotProduct.of(call)
        if not (live(parts.query) or live(parts.key) or live(parts.value)):
            return call.run()
        if self.propagation.variant == "attn":
            given = zip((parts.query, parts.key, parts.value), (0.25, 0.25, 0.5), strict=True)
            counted = [scaled(self._counted(x, -1.0), share) if live(x) else x for x, share in given]
            return self._counted(parts.run(*counted), 1.0)
        with torch.no_grad():
            if self.under is not None:  # another seam is to see, and may change, the weights
                weights = parts.weights().to(parts.value.dtype)
            else:
                value = call.run()
        if self.under is not None:
            return weights @ parts.per_head(parts.value)
        return mixed(parts.value, value, parts.back) if live(parts.value) else value

    def _counted(self, x: Tensor, sign: float, who: str = "softmax") -> Tensor:
        """x; an operation keeps what comes in at its results and does not go out at its arguments."""
        if not live(x):
            return x
        seen = x.detach()
        return self._kept(x, who, lambda grad: sign * (grad * seen))

    def _kept(self, y: Tensor, who: str, amounts: Callable[[Tensor], Tensor]) -> Tensor:
        """y; when its gradient comes by, a note is taken of what somebody keeps of the relevance."""
        note = self.note
        return metered(y, lambda grad: note(who, amounts(grad)))

    # Recurrent nets: torch's fused call as the steps it is made of, whose gates and sums then follow the rules above.

    def _unroll(self, call: Call) -> Any:
        order, note = self._orders.get(call.args[0]), self.note
        if order is not None:
            # Packed rows are sorted by length, and later steps have fewer of them.
            self.note = lambda who, amounts: note(who, _in_order(amounts, order))
        try:
            with self:
                return unrolled(call.func.__name__, call.args)
        finally:
            self.note = note

    def _select(self, call: Call) -> Any:
        y = call.run()
        if live(y):
            self._orders.put(y, call.get(2, "index"))
        return y

    def _pack(self, call: Call) -> Any:
        data, sizes = call.run()
        if live(data):
            order = self._orders.get(call.args[0])
            self._orders.put(data, torch.arange(int(sizes[0]), device=data.device) if order is None else order)
        return data, sizes

    # Where tensors come from.

    def _view(self, call: Call) -> Any:
        y = call.run()
        source = call.args[0]
        if live(y) and y is not source:
            self._kinds.follow(source, y)
            self._words.follow(source, y)
            if call.func.__name__ in SAME_PLACES:
                self._roots.follow(source, y)
        return y

    def _root(self, x: Tensor) -> Tensor:
        """The tensor that x is an elementwise function of; x itself if there is none."""
        root = self._roots.get(x)
        return x if root is None else root

    def _spread(self, y: Any, a: Any, b: Any) -> Any:
        """y, an elementwise function of the same tensor as a and b, if they are of one."""
        roots = [self._root(part) for part in (a, b) if live(part)]
        others = [part for part in (a, b) if not live(part)]
        if live(y) and roots and all(root is roots[0] for root in roots) and all(map(_number, others)):
            self._roots.put(y, roots[0])
        return y


def _in_order(amounts: Tensor, order: Tensor) -> Tensor:
    """Amounts of the first rows of a sorted batch, as rows of the batch itself."""
    found = amounts.new_zeros(len(order), *amounts.shape[1:])
    return found.index_copy(0, order[: len(amounts)], amounts)


def _constant_share(y: Tensor, constant: Tensor, rule: LinearRule, grad: Tensor) -> Tensor:
    """What a constant keeps of the relevance of a sum y, by the epsilon rule."""
    if not rule.epsilon:
        return grad * constant
    y = at_least_tiny(y)
    epsilon = torch.full_like(y, rule.epsilon).copysign(y)
    own = constant + epsilon / 2 if rule.bias == "share" else constant
    return grad * y * own / (y + epsilon)


def _along(grad: Tensor, bias: Tensor) -> Tensor:
    """What a bias keeps of the relevance, by place."""
    return grad @ bias if bias.dim() == 1 else grad * bias


def _number(given: object) -> bool:
    return isinstance(given, (int, float)) or (isinstance(given, Tensor) and given.dim() == 0)
