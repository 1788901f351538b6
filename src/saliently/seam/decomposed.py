"""The forward pass as a sum over tokens: beside each tensor that depends on the words, the part of each of them.

The network is made linear as CP-LRP does it (`relevance.py`, variant "cp"), with the same choice at each operation:
attention weights, norms' divisors and gates are constants of the real pass, an activation multiplies its input by
y / x. So the parts, with the constants' left out, are CP-LRP's relevance. They ride beside the real tensors and the
model sees its own, so that any layout will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from saliently.errors import ModelError
from saliently.seam import calls
from saliently.seam.mode import Call, Rule, Seam
from saliently.seam.recurrent import unrolled
from saliently.seam.splits import Later, Split, Splits, numbers, unknown

CUT = calls.NORMALISERS | calls.GATES | {"softmax"}
"""Calls whose results are constants of the real pass."""
FRESH = frozenset(
    "zeros_like ones_like empty_like full_like rand_like randn_like new_zeros new_ones new_empty new_full".split()
)
"""Calls whose results have the shape of their argument and nothing else of it."""
ASKING = (
    calls.CONVOLUTIONS | calls.PRODUCTS | {"linear", "addmm", "layer_norm", "rms_norm", "scaled_dot_product_attention"}
)
"""Calls that are not put off, since scores of attention never get there."""


class Decomposed(Seam):
    """Made for one batch whose rows have K tokens each; every one of them is a part.

    Entered with gradients on: what needs a gradient and has no parts came about where the pass can't be looked into.
    """

    def __init__(self, many: int, split: bool) -> None:
        self.splits = Splits(many, split)
        super().__init__()

    def start(self, x: Tensor) -> None:
        """Word vectors (R, K, D), a leaf that needs a gradient."""
        parts = torch.diag_embed(x.detach().movedim(1, -1)).permute(3, 0, 2, 1)  # (R, D, K, K) to (K, R, K, D)
        self.splits.parts.put(x, parts.contiguous())

    def rules(self) -> Mapping[str, Rule]:
        return {name: partial(self._answer, split) for name, split in self.splits.rules().items()}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given, name = kwargs or {}, func.__name__
        lively = [self._live(x) for x in numbers((args, given))]
        if not any(lively) or name in FRESH:
            return func(*args, **given)
        if name in calls.RECURRENT:
            with self:
                return unrolled(name, args)
        if name == "multi_head_attention_forward":
            return self._take_apart(Call(func, args, given))
        written = self._write(name, Call(func, args, given))
        return self._run(Call(func, args, given)) if written is None else written

    def _run(self, call: Call) -> Any:
        """The real result, with its parts beside it unless it is a constant."""
        if self._is_cut(call):
            with torch.no_grad():
                return call.run()
        rule = self._table.get(call.func.__name__)
        return self._answer(unknown, call) if rule is None else rule(call)

    def _answer(self, split: Split, call: Call) -> Any:
        result = call.run()
        given = numbers((call.args, call.kwargs))
        found = [y for y in numbers(result) if not any(y is x for x in given)]
        if not found:
            if split is unknown and isinstance(result, Tensor):
                raise ModelError(
                    f"The explained number was to be split over the tokens; {call.func.__name__} writes over what "
                    "depends on them, and nothing says how it splits. Use lrp(variant='cp'), or another method."
                )
            return result
        if split is unknown or self._can_wait(call, given):
            seen = tree_map_only(Tensor, Tensor.detach, result)  # what waits for `result` must not keep it alive
            versions = [x._version for x in given]
            for i, y in enumerate(found):
                self.splits.parts.put(y, Later(partial(_make, split, call, seen, i, versions)))
            return result
        with torch.no_grad():
            parts = split(call, result)
        for y, part in zip(found, [parts] if isinstance(parts, Tensor) else parts, strict=True):
            self.splits.parts.put(y, part)
        return result

    def _can_wait(self, call: Call, given: Sequence[Tensor]) -> bool:
        """Is it likely to end in a softmax, where nobody asks for its parts?"""
        name = call.func.__name__
        if name in ("matmul", "bmm", "einsum"):
            first = next(x for x in given if x.is_floating_point())
            return first.dim() > 2 and given[-1].dim() > 2 and self._live(first)
        return name not in ASKING and any(isinstance(self.splits.parts.get(x), Later) for x in given)

    def _live(self, given: Tensor) -> bool:
        """Does it depend on the word vectors?"""
        if self.splits.live(given):
            return True
        if given.requires_grad:
            raise ModelError(
                f"The explained number was to be split over the tokens; {given.grad_fn and given.grad_fn.name()} "
                "depends on them, and ran where the pass can't be looked into (scripted, or a function of its own). "
                "Use gradient-x-input, integrated-gradients or occlusion on this model."
            )
        return False

    def _is_cut(self, call: Call) -> bool:
        name = call.func.__name__
        if name in ("pow", "__pow__"):
            exponent = call.get(1, "exponent")
            return not isinstance(exponent, (int, float)) or exponent <= 0
        if name in calls.DIVISIONS:
            return not self.splits.live(call.args[1 if name.startswith("__r") else 0])
        return name in CUT

    # Writing over tensors: the parts of a view are a view of the parts, so they are written over too.

    def _write(self, name: str, call: Call) -> Any:
        """The result of a call that writes over its first argument; None for one that does not."""
        place = call.args[0] if call.args else None
        if name == "__setitem__":
            self._set(*call.args)
            return place
        if call.kwargs.get("inplace"):
            return self._over(place, self._run(call._replace(kwargs={**call.kwargs, "inplace": False})))
        if name == "copy_":
            return self._over(place, call.args[1])
        if name[-1] == "_" and name[0] != "_" and (name[:-1] in self._table or name[:-1] in CUT):
            return self._over(place, self._run(call._replace(func=getattr(Tensor, name[:-1]))))
        return None

    def _over(self, place: Any, value: Tensor) -> Tensor:
        _check_whole(place, self.splits.live(place))
        with torch.no_grad():
            new = self.splits.of(value).to(place.dtype)
            old = self.splits.of(place)
            for part, own in zip(old, new, strict=True):
                part.copy_(own)
        found: Tensor = place.copy_(value)
        self.splits.parts.put(found, old)
        return found

    def _set(self, place: Tensor, where: Any, value: Any) -> None:
        _check_whole(place, self.splits.live(place))
        with torch.no_grad():
            old = self.splits.of(place)
            new = self.splits.of(value if isinstance(value, Tensor) else place.new_tensor(value))
            for part, own in zip(old, new, strict=True):
                part[where] = own.to(part.dtype)
        place[where] = value
        self.splits.parts.put(place, old)


def _make(split: Split, call: Call, result: Any, which: int, versions: Sequence[int]) -> Tensor:
    if versions != [x._version for x in numbers((call.args, call.kwargs))]:
        raise ModelError(
            f"The explained number was to be split over the tokens; what {call.func.__name__} was given is written "
            "over before its result is used. Use lrp, gradient-x-input, integrated-gradients or occlusion instead."
        )
    parts = split(call, result)
    return parts if isinstance(parts, Tensor) else parts[which]


def _check_whole(place: Tensor, known: bool) -> None:
    """Raise ModelError where a piece of a larger tensor without parts is written over: those pieces can't be found."""
    if not known and place._is_view():
        raise ModelError(
            "The explained number was to be split over the tokens; the forward pass writes what depends on them into a "
            "piece of another tensor. Use lrp, gradient-x-input, integrated-gradients or occlusion on this model."
        )
