"""Activations and products under LRP's rules, and what a rule must know of where a tensor comes from."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from saliently.seam import calls
from saliently.seam.gradients import Note, at_least_tiny, live, metered, scaled, sloped
from saliently.seam.lineage import SAME_PLACES, VIEWS, Tags
from saliently.seam.linear import LinearRule
from saliently.seam.mode import Call, Rule, Seam

Variant = Literal["cp", "attn", "ali"]
Gates = Literal["all", "proportional", "half"]


@dataclass(frozen=True)
class Propagation:
    """Which rules. Attributes: variant, for what a transformer is made of; gates, what the signal takes of a product
    with a gate; linear and first, for weighted sums, and for those that read the word vectors themselves."""

    variant: Variant
    gates: Gates = "all"
    linear: LinearRule = field(default_factory=LinearRule)
    first: LinearRule | None = None


class Elementwise(Seam, ABC):
    """Rules for what works entry by entry."""

    def __init__(self, propagation: Propagation, note: Note) -> None:
        self.propagation, self.note = propagation, note
        self.dead = not propagation.linear.plain  # may relevance come where a value is 0?
        self.firsts = 0  # weighted sums that read the word vectors themselves
        # Of what is an elementwise function of one tensor: that tensor, and how often it had been written over then.
        self._roots: Tags[tuple[Tensor, int]] = Tags()
        self._kinds: Tags[str] = Tags()  # results of activations and of gates
        self._words: Tags[bool] = Tags()  # the word vectors themselves
        self._orders: Tags[Tensor] = Tags()  # of sorted rows: which row of the batch each one is
        super().__init__()

    def rules(self) -> Mapping[str, Rule]:
        table: dict[str, Rule] = dict.fromkeys(calls.NORMALISERS, self._cut)
        table |= dict.fromkeys(VIEWS, self._view)
        table |= dict.fromkeys(calls.DIVISIONS, self._divide)
        if self.propagation.variant == "ali":  # activations and products pass on by their gradient
            return table | dict.fromkeys((*calls.ACTIVATIONS, *calls.GATES, "pow", "__pow__"), self._plain)
        table |= dict.fromkeys(calls.ACTIVATIONS, self._activate)
        table |= dict.fromkeys(calls.GATES, self._gate)
        table |= dict.fromkeys(("pow", "__pow__"), self._power)
        table |= dict.fromkeys(("mul", "multiply"), self._elementwise)
        return table | {"normalize": self._activate, "glu": self._glu}

    # Elementwise functions: all relevance of what comes out goes to what went in (the identity rule).

    def _activate(self, call: Call, kind: str = "activation") -> Any:
        x = call.get(0, "input")
        if not live(x):
            return call.run()
        root = self._root(x)
        with torch.no_grad():
            value = call.run()
        y = sloped(x, value, self.dead)
        self._put_root(y, root)
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
        if self.propagation.gates != "all":
            return self._activate(call, "gate")
        y = self._cut(call)
        self._kinds.put(y, "gate")
        return y

    def _cut(self, call: Call) -> Any:
        x = call.get(0, "input")
        if not live(x):
            return call.run()
        with torch.no_grad():
            y = call.run()
        self._put_root(y, self._root(x))
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

    def _elementwise(self, call: Call) -> Any:
        a, b = call.args[:2]
        signals, root = [part for part in (a, b) if live(part)], self._root(a)
        if not signals:
            return self._spread(call.run(), a, b)
        if root is self._root(b):
            with torch.no_grad():
                value = call.run()
            y = sloped(root, value, self.dead)  # such as x * (1 + tanh(...)), x * sigmoid(x): an activation in pieces
            self._put_root(y, root)
            self._kinds.put(y, "activation")
            return y
        if not self.propagation.linear.plain and self._is_gated(a, b):
            return self._gated(call, a, b)
        return call.run(*self._share(a, b)) if len(signals) == 2 else self._spread(call.run(), a, b)

    def _is_gated(self, a: Any, b: Any) -> bool:
        """Is it a product of a gate and a signal, entry by entry?"""
        given = isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape
        return given and "gate" in (self._kinds.get(a), self._kinds.get(b))

    def _gated(self, call: Call, a: Tensor, b: Tensor) -> Tensor:
        """The product; relevance that came where a signal is 0, as shared biases and epsilon do, is not lost."""
        with torch.no_grad():
            value = call.run()
        if not (live(a) and live(b)):
            return sloped(a if live(a) else b, value)
        first, second = (sloped(part, value) for part in self._share(a, b))
        both: Tensor = first + (second - value)
        return both

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

    # Who keeps relevance.

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

    # Where tensors come from.

    def _view(self, call: Call) -> Any:
        y = call.run()
        source = call.args[0]
        if live(y) and y is not source:
            self._kinds.follow(source, y)
            self._words.follow(source, y)
            if call.func.__name__ in SAME_PLACES:
                self._put_root(y, self._root(source))
        return y

    def overwritten(self, args: tuple[Any, ...]) -> None:
        if isinstance(args[0], Tensor):
            self._forget(args[0])

    def written(self, place: Tensor, value: Any) -> Tensor:
        root = self._roots.get(value)
        found = super().written(place, value)
        self._forget(place)
        if root is not None and root[0] is not place:
            self._roots.put(found, root)
        self._kinds.follow(value, found)
        return found

    def _forget(self, place: Tensor) -> None:
        """What is known of a tensor holds no longer, nor of what it is a view of."""
        for known in (place, place._base):
            for tags in (self._roots, self._kinds, self._words):
                if known is not None:
                    tags.drop(known)

    def _put_root(self, y: Tensor, root: Tensor) -> None:
        self._roots.put(y, (root, root._version))

    def _root(self, x: Tensor) -> Tensor:
        """The tensor that x is an elementwise function of; x itself if there is none, or it was written over since."""
        root = self._roots.get(x)
        return x if root is None or root[0]._version != root[1] else root[0]

    def _spread(self, y: Any, a: Any, b: Any) -> Any:
        """y, an elementwise function of the same tensor as a and b, if they are of one."""
        roots = [self._root(part) for part in (a, b) if live(part)]
        others = [part for part in (a, b) if not live(part)]
        if live(y) and roots and all(root is roots[0] for root in roots) and all(map(_number, others)):
            self._put_root(y, roots[0])
            if len(roots) == 1:  # times a number, say
                self._kinds.follow(a if live(a) else b, y)
        return y


def _number(given: object) -> bool:
    return isinstance(given, (int, float)) or (isinstance(given, Tensor) and given.dim() == 0)
