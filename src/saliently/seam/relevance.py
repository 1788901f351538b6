"""Layer-wise relevance propagation as gradient x input: the forward pass as it is, the gradients by LRP's rules.

What is frozen or shared, and whose rule it is, is said at each operation below. Sources: Bach et al. 2015 (epsilon),
Arras et al. 2017 (gates), Ali et al. 2022 (attention and layer norm), Achtibat et al. 2024 (AttnLRP, and CP-LRP).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from saliently.seam import calls
from saliently.seam.dot_product import DotProduct, one_head
from saliently.seam.elementwise import Elementwise
from saliently.seam.gradients import at_least_tiny, entering, live, mixed, normed, scaled, shared
from saliently.seam.linear import Linear, LinearRule, propagate, split
from saliently.seam.mode import Call, Rule
from saliently.seam.recurrent import unrolled

CONSTANTS = "positions and other constants"
"""Vectors that are added to the words', or stand before them: positions, segments, start tokens, first states."""

_BATCH_NORM = ("input", "running_mean", "running_var", "weight", "bias")


class Relevance(Elementwise):
    """The forward pass of a model whose only inputs that need a gradient are word vectors, under LRP's rules."""

    def start(self, x: Tensor) -> None:
        """Say which tensor holds the word vectors."""
        self._words.put(x, True)

    def rules(self) -> Mapping[str, Rule]:
        table: dict[str, Rule] = dict.fromkeys(calls.ADDITIONS, self._add)
        table |= dict.fromkeys(calls.CONVOLUTIONS, self._convolve)
        table |= dict.fromkeys(calls.RECURRENT, self._unroll)
        table |= {"linear": self._linear, "addmm": self._addmm, "cat": self._cat}
        table |= {"layer_norm": self._layer_norm, "rms_norm": self._rms_norm}
        table |= {"index_select": self._select, "_pack_padded_sequence": self._pack}
        table |= {"grad": self._send_back, "softmax": self._softmax, "scaled_dot_product_attention": self._attend}
        table |= dict.fromkeys(calls.MATRIX_PRODUCTS, self._multiply)
        table |= {"einsum": self._einsum, "baddbmm": self._baddbmm, "batch_norm": self._batch_norm}
        return {**super().rules(), **table}

    # Products of matrices: relevance is shared in equal parts (Achtibat et al. 2024).

    def _multiply(self, call: Call) -> Any:
        x, weight = call.args[:2]
        if live(x) and not live(weight):
            return self._weigh(call, lambda a, w: call.run(a, w), (x, weight, None))
        return call.run(*self._halves((x, weight)))

    def _einsum(self, call: Call) -> Any:
        listed = len(call.args) == 2 and isinstance(call.args[1], (list, tuple))
        given = call.args[1] if listed else call.args[1:]
        if len(given) == 2 and live(given[0]) and not live(given[1]):
            return self._weigh(call, lambda a, w: call.func(call.args[0], a, w), (*given, None))
        return call.func(call.args[0], *self._halves(given))

    def _baddbmm(self, call: Call) -> Any:
        return call.run(call.args[0], *self._halves(call.args[1:3]))

    def _halves(self, factors: Iterable[Tensor]) -> list[Tensor]:
        return list(factors) if self.propagation.variant == "ali" else shared(factors)

    # Sums: each part by what it adds.

    def _add(self, call: Call) -> Any:
        a, b = call.args[:2]
        y = self._spread(call.run(), a, b)
        signs = {"sub": (1, -1), "subtract": (1, -1), "rsub": (-1, 1), "__rsub__": (-1, 1)}
        ours, theirs = signs.get(call.func.__name__, (1, 1))
        if not live(y) or call.kwargs or not all(isinstance(part, Tensor) and part.dim() for part in (a, b)):
            return y
        rule, both = self.propagation.linear, live(a) and live(b)
        if rule.epsilon:
            y = split([ours * a, theirs * b], y, rule, self.note)
        if both:
            return y
        constant = theirs * b if live(a) else ours * a
        constant = at_least_tiny(constant) if self.dead else constant
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
        if live(bias):
            with self:
                return F.linear(x, weight) + bias
        return self._weigh(call, F.linear, (x, weight, bias))

    def _addmm(self, call: Call) -> Any:
        bias, x, weight = call.args[:3]
        if call.kwargs or live(weight) or live(bias):
            with self:
                product = (x @ weight) * call.kwargs.get("alpha", 1)
                return product + bias * call.kwargs.get("beta", 1)
        return self._weigh(call, torch.matmul, (x, weight, bias))

    def _convolve(self, call: Call) -> Any:
        defaults = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
        rest = tuple(call.get(place, name, default) for place, (name, default) in enumerate(defaults.items(), 3))
        bias, weight = call.get(2, "bias"), call.get(1, "weight")
        if bias is not None:
            bias = bias.view(-1, *(1,) * (weight.dim() - 2))
        return self._weigh(call, lambda x, w: call.func(x, w, None, *rest), (call.get(0, "input"), weight, bias))

    def _weigh(self, call: Call, op: Callable[..., Tensor], given: tuple[Tensor, Tensor, Tensor | None]) -> Any:
        """A weighted sum `op(x, weight) + bias`."""
        x, weight, bias = given
        if live(weight):
            return op(*self._halves((x, weight))) + (0 if bias is None else bias)
        if not live(x):
            return call.run()
        rule = self.propagation.linear
        if self.propagation.first is not None and self._words.get(x):
            rule, self.firsts = self.propagation.first, self.firsts + 1
        y = call.run()
        if not rule.plain:
            constants = (None if each is None else each.to(x.dtype) for each in (weight, bias))  # under autocast
            return propagate(x, y, Linear(op, *constants), rule, self.note)  # type: ignore[arg-type]
        return y if bias is None else self._kept(y, "biases", lambda grad: _along(grad, bias))

    # Norms: the divisor is a constant (Ali et al. 2022, LN rule).

    def _batch_norm(self, call: Call) -> Any:
        """With the statistics of training it is a factor and a bias for each channel."""
        x, mean, variance, weight, bias = (call.get(i, name) for i, name in enumerate(_BATCH_NORM))
        if not live(x) or mean is None or call.get(5, "training", False):
            return call.run()
        scale = (variance + call.get(7, "eps", 1e-5)).rsqrt() * (1 if weight is None else weight)
        shift = (0 if bias is None else bias) - mean * scale
        shape = (-1, *(1,) * (x.dim() - 2))
        scale, shift = scale.reshape(shape).to(x.dtype), shift.reshape(shape).to(x.dtype)
        return self._kept(x * scale + shift, "biases", lambda grad: grad * shift)

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
        seen, note = x.detach(), self.note
        weights = call.run(entering(x, lambda grad: note("softmax", -grad * seen)))
        return self._counted(weights, 1.0)

    def _attend(self, call: Call) -> Any:
        parts = DotProduct.of(call)
        if parts.query.dim() == 3:
            with self:
                return one_head(call)
        if not (live(parts.query) or live(parts.key) or live(parts.value)):
            return call.run()
        if self.propagation.variant == "attn":
            given = zip((parts.query, parts.key, parts.value), (0.25, 0.25, 0.5), strict=True)
            counted = [scaled(self._counted(x, -1.0), share) if live(x) else x for x, share in given]
            return self._counted(parts.run(*counted), 1.0)
        with torch.no_grad():
            value = call.run()
        return mixed(parts.value, value, parts.back) if live(parts.value) else value

    # Recurrent nets: torch's fused call as the steps it is made of, whose gates and sums then follow the rules above.

    def _unroll(self, call: Call) -> Any:
        order, note = self._orders.get(call.args[0]), self.note
        if order is not None:
            # Packed rows are sorted by length, and later steps have fewer of them.
            self.note = lambda who, amounts: note(who, _in_order(amounts, order))
        try:
            with self:
                return unrolled(call.func.__name__, self._with_states(call))
        finally:
            self.note = note

    def _with_states(self, call: Call) -> list[Any]:
        """The arguments; first states that are constants count as inputs, and a note is taken of what they get."""
        args, note = list(call.args), self.note
        cell, x = call.func.__name__.endswith("_cell"), args[0]
        place = 1 if cell or isinstance(args[3], bool) else 2  # packed rows come with their sizes

        def counted(state: Tensor) -> Tensor:
            def back(grad: Tensor) -> Tensor:
                amounts = grad * at_least_tiny(state)
                note(CONSTANTS, amounts if cell else amounts.transpose(0, 1))
                return torch.zeros_like(x)

            return state if live(state) else mixed(x, state, back)

        if live(x):
            given = args[place]
            args[place] = counted(given) if isinstance(given, Tensor) else [counted(state) for state in given]
        return args

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

    def _send_back(self, call: Call) -> Any:
        """A backward pass, with the rules in force for what a checkpoint computes again in it.

        torch leaves a mode for a call that is given tensors; their edges of the graph say the same.
        """
        if self.under is not None:
            return call.run()  # the other seam would count what is computed again as more calls
        outputs, inputs = ([torch.autograd.graph.get_gradient_edge(each) for each in part] for part in call.args[:2])
        ones = [torch.ones_like(each) for each in call.args[0]]
        with self:
            return torch.autograd.grad(outputs, inputs, ones, allow_unused=True)


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
    bias = bias.to(grad.dtype)  # under autocast
    return grad @ bias if bias.dim() == 1 else grad * bias
