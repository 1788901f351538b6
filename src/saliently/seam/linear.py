"""Rules that pass relevance back through a linear map, and through a sum.

For z_k = sum_j a_j w_jk + b_k, each rule says which part of the relevance R_k of z_k comes from input j:

    epsilon      a_j w_jk / (z_k + eps sgn z_k)                           Bach et al. 2015, eq. 58; eps = 0 is LRP-0
    gamma        c + gamma c^s over its sum, c = a_j w_jk, s = sgn z_k    Montavon et al. 2019; both signs as in zennit
    z-plus       (a_j w_jk)^+ over its sum                                Montavon et al. 2017
    alpha-beta   alpha (a_j w_jk)^+ over its sum - beta (a_j w_jk)^- over its sum,        Bach et al., eq. 60
                 beta = alpha - 1
    w-square     w_jk^2 over its sum                                      Montavon et al. 2017
    flat         1 / N                                                    Lapuschkin 2019

The sums run over the N inputs that reach output k, and include the bias in the same form (b, b + gamma b^s, b^+, b^-)
by the policy for biases. Three policies:

    absorb   the bias is in the sum, so part of the relevance stays with it; so does what epsilon takes
    share    the bias is in the sum; its part and epsilon's are shared out among the inputs, 1/N to each (Arras et al.
             2017, bias_factor = 1), so that nothing stays
    zero     the bias is not in the sum; what epsilon takes stays

sgn 0 = +1. Where a sum is 0 nothing flows; only where a rule is the plain gradient, that flows as always.

Departures: parts of products a_j w_jk are by their own sign, so that inputs may be negative (the papers' gamma and
z-plus want a >= 0); epsilon, if given, stabilises the sums of gamma, z-plus and alpha-beta too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import Function

from saliently.seam.gradients import Note, at_least_tiny


@dataclass(frozen=True)
class LinearRule:
    """Which rule, and its numbers; the formulas are at the top of the file."""

    rule: Literal["epsilon", "gamma", "z-plus", "alpha-beta", "w-square", "flat"] = "epsilon"
    epsilon: float = 0.0
    gamma: float = 0.25
    alpha: float = 2.0
    bias: Literal["absorb", "share", "zero"] = "absorb"

    @property
    def plain(self) -> bool:
        """Whether the plain gradient is this rule."""
        return self.rule == "epsilon" and self.epsilon == 0 and self.bias == "absorb"


@dataclass(frozen=True)
class Linear:
    """y = op(a, w) + b; `op` is linear in a and in w (F.linear, conv1d, matmul), and b broadcasts onto y."""

    op: Callable[[Tensor, Tensor], Tensor]
    w: Tensor
    b: Tensor | None = None


def propagate(a: Tensor, y: Tensor, linear: Linear, rule: LinearRule, note: Note) -> Tensor:
    """y, with the gradient at `a` rewritten to carry relevance by the rule.

    Args:
        a: the input; relevance goes to it alone, the weight and the bias count as constants.
        y: the output as the model computed it from `a`, with its own gradient.
        linear: how it was computed.
        rule: the rule.
        note: is told in the backward pass what stayed with "biases" and with "epsilon", and what was lost where
            "zero sums" had nothing to divide by; each in the shape of y.
    """
    if linear.b is None and rule.rule == "epsilon" and rule.epsilon == 0:
        return y  # whatever the policy for biases
    b = None if linear.b is None else linear.b.detach()
    call = _Call(Linear(linear.op, linear.w.detach(), b), rule, note)
    if rule.rule == "epsilon":
        return _rewritten(y, call.back_by_epsilon, a)
    return _rewritten(y.detach(), call.back_by_sums, a)


def split(parts: Sequence[Tensor], total: Tensor, rule: LinearRule, note: Note) -> Tensor:
    """A sum of tensors (residual streams; c = f c' + i g), by the epsilon rule on the identity matrix.

    Part p gets p / (z + eps sgn z) of the relevance of an entry z of the sum. What epsilon takes stays with it, or
    goes in equal shares to the N parts if biases are shared. Only rule.epsilon and rule.bias are read.

    Departure: Arras et al. share epsilon's part of one entry among all entries of all parts, since their matrix has
    zeros off the diagonal for weights; here it stays with that entry. The sum is the same.

    Args:
        parts: what was added; they broadcast.
        total: the sum as the model computed it, with its own gradient.
        rule: the rule.
        note: is told in the backward pass what stayed with "epsilon", in the shape of the sum.
    """
    if rule.epsilon == 0:
        return total

    def back(grad: Tensor, z: Tensor, parts: Sequence[Tensor]) -> _Grads:
        s, even = _settled(z, torch.zeros_like(z), grad * at_least_tiny(z), rule, note)
        if even is None:
            return s, [None] * len(parts)
        return s, [(even / len(parts) / at_least_tiny(part)).sum_to_size(part.shape) for part in parts]

    return _rewritten(total, back, *parts)


_Grads = tuple[Tensor | None, Sequence[Tensor | None]]
_Back = Callable[[Tensor, Tensor, Sequence[Tensor]], _Grads]
"""(gradient that arrives at y, y, inputs): what goes on through y's own graph, and what goes straight to each input."""


class _Propagated(Function):
    """y; its gradient is rewritten, for y's own graph and for inputs besides."""

    @staticmethod
    def forward(ctx: Any, y: Tensor, back: _Back, *inputs: Tensor) -> Tensor:
        ctx.back = back
        # Copies, since models write over their tensors: residual streams, activations in place.
        ctx.save_for_backward(*(x.detach().clone() for x in (y, *inputs)))
        return y.detach()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        y, *inputs = ctx.saved_tensors
        with torch._C.DisableTorchFunction():  # rules are for the forward pass; a function mode may still be open
            through, straight = ctx.back(grad, y, inputs)
        return through, None, *straight


def _rewritten(y: Tensor, back: _Back, *inputs: Tensor) -> Tensor:
    found: Tensor = _Propagated.apply(y, back, *inputs)  # type: ignore[no-untyped-call]
    return found


def _settled(whole: Tensor, b: Tensor, relevance: Tensor, rule: LinearRule, note: Note) -> tuple[Tensor, Tensor | None]:
    """(relevance per unit of a sum, relevance for all inputs alike if there is such); tells what stays.

    The bias is in the sum, `whole`, or is not, by the policy; epsilon comes in here.
    """
    epsilon = rule.epsilon * torch.where(whole < 0, -1.0, 1.0).to(whole.dtype)
    whole = whole + epsilon
    empty = whole == 0
    s = torch.where(empty, 0.0, relevance / at_least_tiny(whole))
    if empty.any():
        note("zero sums", torch.where(empty, relevance, 0.0))
    if rule.bias == "share":
        return s, s * (b + epsilon)
    if rule.bias == "absorb":
        note("biases", s * b)
    if rule.epsilon:
        note("epsilon", s * epsilon)
    return s, None


@dataclass(frozen=True)
class _Share:
    """Some of the relevance of every output, to be divided in proportion to what z + b is the sum of."""

    z: Tensor
    b: Tensor
    relevance: Tensor


@dataclass(frozen=True)
class _Call:
    """A linear map in a forward pass, and what its backward pass does."""

    linear: Linear
    rule: LinearRule
    note: Note

    def back_by_epsilon(self, grad: Tensor, y: Tensor, inputs: Sequence[Tensor]) -> _Grads:
        """The plain gradient does it, once what arrives at y is relevance per unit of the rule's sum."""
        b = self._bias(y)
        if self.rule.plain:
            self.note("biases", grad * b)
            return grad, [None]
        whole = y - b if self.rule.bias == "zero" else y
        s, even = _settled(whole, b, grad * at_least_tiny(y), self.rule, self.note)
        return s, [None if even is None else self._evenly(inputs[0], even)]

    def back_by_sums(self, grad: Tensor, y: Tensor, inputs: Sequence[Tensor]) -> _Grads:
        """The sums of the rule are computed anew, and their gradients."""
        a = inputs[0]
        by_weight = self.rule.rule in ("w-square", "flat")
        rule = replace(self.rule, epsilon=0.0, bias="zero") if by_weight else self.rule
        found = torch.zeros_like(a)
        with torch.enable_grad():
            leaf = (torch.ones_like(a) if by_weight else a.detach()).requires_grad_()
            shares = self._shares(leaf, grad * at_least_tiny(y))
        for share in shares:
            whole = share.z.detach() if rule.bias == "zero" else share.z.detach() + share.b
            s, even = _settled(whole, share.b, share.relevance, rule, self.note)
            (flow,) = torch.autograd.grad(share.z, leaf, s, retain_graph=True)
            found = found + (flow / at_least_tiny(a) if by_weight else flow)
            found = found if even is None else found + self._evenly(a, even)
        return None, [found]

    def _shares(self, leaf: Tensor, relevance: Tensor) -> list[_Share]:
        """What the rule divides, with the graph from `leaf` to each sum."""
        op, w, b, kind = self.linear.op, self.linear.w, self._bias(relevance), self.rule.rule
        if kind in ("w-square", "flat"):
            return [_Share(op(leaf, w * w if kind == "w-square" else torch.ones_like(w)), b * 0, relevance)]
        up, down = w.clamp(min=0), w.clamp(max=0)
        above, below = leaf.clamp(min=0), leaf.clamp(max=0)
        more, less = op(above, up) + op(below, down), op(above, down) + op(below, up)
        if kind == "gamma":
            z = op(leaf, w)
            rising = (z if self.rule.bias == "zero" else z + b) >= 0
            bias = b + self.rule.gamma * torch.where(rising, b.clamp(min=0), b.clamp(max=0))
            return [_Share(z + self.rule.gamma * torch.where(rising, more, less), bias, relevance)]
        alpha = 1.0 if kind == "z-plus" else self.rule.alpha
        found = [_Share(more, b.clamp(min=0), alpha * relevance)]
        return found if alpha == 1 else [*found, _Share(less, b.clamp(max=0), (1 - alpha) * relevance)]

    def _bias(self, y: Tensor) -> Tensor:
        """The bias in the shape of y."""
        return torch.zeros_like(y) if self.linear.b is None else self.linear.b.expand_as(y)

    def _evenly(self, a: Tensor, relevance: Tensor) -> Tensor:
        """The gradient at `a` that carries the relevance of each output in equal shares to the inputs that reach it."""
        with torch.enable_grad():
            ones = torch.ones_like(a).requires_grad_()
            number = self.linear.op(ones, torch.ones_like(self.linear.w))  # of taps; at a convolution's edge fewer
        (found,) = torch.autograd.grad(number, ones, relevance / number.detach().clamp(min=1))
        return found / at_least_tiny(a)
