"""See the attention weights of a forward pass, and put others in their place.

R rows, H heads, Q queries, K keys, E width of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_leaves

from saliently.errors import ModelError
from saliently.seam.calls import DIVISIONS
from saliently.seam.dot_product import DotProduct, one_head
from saliently.seam.lineage import VIEWS, Tags
from saliently.seam.mixing import mixing
from saliently.seam.mode import Call, Rule, Seam, opened

_OTHER_STATES = ("key_value_states", "encoder_hidden_states")
"""What transformers calls the states that cross-attention looks at."""


@dataclass(frozen=True, eq=False)
class Attention:
    """One attention in a forward pass.

    Attributes:
        name: of the submodule that it runs in, as `named_modules` spells it.
        index: how many attentions came before it in this pass.
        cross: does it look at the states of another stack?
        weights: (R, H, Q, K), in float32 or wider where torch's fused attention computes them.
        value: (R, H, K, E), what is mixed; additive attention and the like have one head.
        output: what the model goes on with, as a function of weights and value like these.
        starts: (R,) where each row's text begins, if the model was told by a mask; else all begin at 0.
    """

    name: str
    index: int
    cross: bool
    weights: Tensor
    value: Tensor
    output: Callable[[Tensor, Tensor], Tensor]
    starts: Tensor | None = None


Look = Callable[[Attention], Tensor | None]
"""Sees an attention, and gives the output that the model shall go on with, or None for its own."""


@dataclass(eq=False)
class _Softmax:
    """A softmax of a pass. Attributes: shape of its result; name of the submodule; used, were values mixed by it?"""

    shape: tuple[int, ...]
    name: str
    used: bool = False


Change = Callable[[Attention], Tensor | None]
"""Sees an attention, and gives weights (R, H, Q, K) to put in the place of its own, or None to leave them."""


class Watch(Seam):
    """Changes every attention's weights, then shows it to `look`; made for one module.

    Attributes: changes, applied in order; muted, while another one, opened inside, applies them in this one's place.
    """

    in_place = False  # what is noted on a tensor stays with it

    def __init__(self, look: Look | None = None, change: Change | None = None) -> None:
        self.look = look
        self.changes = () if change is None else (change,)
        self.muted = False
        self.rows = 0
        self.count = 0
        self.starts: Tensor | None = None
        self._thread = get_ident()
        self._inside: list[tuple[str, bool]] = [("", False)]  # submodules that are running; is it cross-attention?
        self._softmaxed: Tags[_Softmax] = Tags()
        self._waiting: list[_Softmax] = []  # what looks like attention weights
        super().__init__()

    def rules(self) -> Mapping[str, Rule]:
        follow = dict.fromkeys((*VIEWS, "masked_fill", "__getitem__"), self._follow)
        mix = dict.fromkeys(("matmul", "bmm", "einsum", "mul", "multiply"), self._mix)
        mix |= dict.fromkeys(DIVISIONS, self._scale)
        return {
            **follow,
            **mix,
            "softmax": self._softmax,
            "scaled_dot_product_attention": self._attend,
        }

    def acts(self) -> bool:
        return not self.muted and len(self._inside) > 1  # else another model runs

    def start(self, ids: Tensor | None, mask: object) -> None:
        """A forward pass begins; the one before may have failed halfway."""
        if self.here():
            self.rows, self.count = 0 if ids is None else len(ids), 0
            self.starts = mask.long().argmax(1) if isinstance(mask, Tensor) and mask.dim() == 2 else None
            del self._inside[1:]
            self._waiting.clear()

    def here(self) -> bool:
        """Is this the thread that looks? Hooks see the passes of others as well."""
        return get_ident() == self._thread

    def enter(self, name: str, cross: bool) -> None:
        """A submodule begins."""
        if self.here():
            self._inside.append((name, cross))

    def leave(self) -> None:
        """The innermost submodule ends; one whose own hooks failed before it began ends too."""
        if self.here():
            del self._inside[max(1, len(self._inside) - 1) :]

    def _attend(self, call: Call) -> Any:
        parts = DotProduct.of(call)
        if parts.query.dim() == 3:
            with self:
                return one_head(call)
        weights, value = parts.weights(), parts.per_head(parts.value)
        if weights.shape[-1] == 1 and weights.shape[-2] > 1:
            # transformers packs the heads of a text of one token as if they were queries.
            weights, value = weights.flatten(1, 2)[:, :, None], value.repeat_interleave(weights.shape[-2], 1)
            return self._show(weights, value, lambda w, v: (w.to(v.dtype) @ v).reshape(parts.query.shape), call.run)
        dropped = float(call.get(4, "dropout_p", 0.0))  # of a model in training mode
        return self._show(weights, value, lambda w, v: F.dropout(w, dropped).to(v.dtype) @ v, call.run)

    def _softmax(self, call: Call) -> Any:
        y = call.run()
        if y.dim() >= 2:
            found = _Softmax(tuple(y.shape), self._inside[-1][0])
            self._softmaxed.put(y, found)
            if y.dim() == 4 or (y.dim() == 3 and y.shape[-1] == y.shape[-2] > 1):
                self._waiting.append(found)
        return y

    def finish(self) -> None:
        """A forward pass came to its end: raise ModelError where a softmax over places mixed no values that it saw."""
        unused = next((found for found in self._waiting if not found.used), None)
        if unused is not None and self.here() and not self.muted:
            raise ModelError(
                f"The attention of {unused.name or 'the model'} was to be read; a softmax of shape {unused.shape} runs "
                "there, and what is done with it can't be followed. Use a method that needs only gradients or removals."
            )

    def _shape(self, tensor: object) -> tuple[int, ...] | None:
        found = self._softmaxed.get(tensor)
        return None if found is None else found.shape

    def _mix(self, call: Call) -> Any:
        """A product that mixes values by the results of a softmax."""
        if not self._softmaxed.some:
            return call.run()
        found = mixing(call, self._shape, self.rows)
        if found is None:
            return self._scale(call)
        for given in tree_leaves(call.args):
            if (softmax := self._softmaxed.get(given)) is not None:
                softmax.used = True
        return self._show(found.weights, found.value, found.output, call.run)

    def _show(
        self, weights: Tensor, value: Tensor, output: Callable[[Tensor, Tensor], Tensor], own: Callable[[], Tensor]
    ) -> Tensor:
        name, cross = self._inside[-1]
        if weights.dim() != 4 or (self.rows and len(weights) != self.rows):
            raise ModelError(
                f"The attention of {name or 'the model'} was to be read as (rows, heads, queries, keys); its weights "
                f"are {tuple(weights.shape)} for {self.rows} rows, so that texts and heads can't be told apart. Use a "
                "method that needs only gradients or removals."
            )
        self.count += 1
        seen = Attention(name, self.count - 1, cross, weights, value, output, self.starts)
        for change in self.changes:
            found = change(seen)
            seen = seen if found is None else replace(seen, weights=found)
        result = None if self.look is None else self.look(seen)
        if result is not None:
            return result
        return own() if seen.weights is weights else output(seen.weights, value)

    def _scale(self, call: Call) -> Any:
        """Weights times a mask, or over their sum, are weights still."""
        y, first = call.run(), call.args[0]
        if not self._softmaxed.some:
            return y
        for given in (first,) if call.func.__name__ in DIVISIONS else call.args[:2]:
            if isinstance(given, Tensor) and isinstance(y, Tensor):
                if given.shape == y.shape and y.dim() >= 3 and y is not given:
                    self._softmaxed.follow(given, y)
        return y

    def _follow(self, call: Call) -> Any:
        y, source = call.run(), call.args[0]
        if self._softmaxed.some and isinstance(y, Tensor) and y is not source:
            # Softmaxes with a sink drop its column; other pieces of a softmax (the best experts) are no attention.
            if call.func.__name__ == "__getitem__" and not (
                _only_adds_axes(call.args[1]) or (y.dim() == source.dim() and y.shape[:-1] == source.shape[:-1])
            ):
                return y
            self._softmaxed.follow(source, y)
        return y


@contextmanager
def watched(watch: Watch, module: nn.Module, names: Collection[str] | None = None) -> Iterator[None]:
    """Inside the block every forward pass of `module` in this thread shows its attentions; after it nothing stays.

    `names` are the submodules that pay attention, where they are known; that saves hooks on all others.
    """
    with ExitStack() as stack:
        stack.enter_context(opened(watch, module, checked=names is not None))
        every = module.named_modules() if names is None else ((n, module.get_submodule(n)) for n in {"", *names})
        for name, part in every:
            before = part.register_forward_pre_hook(_entering(watch, name), with_kwargs=True)
            stack.callback(before.remove)
            if not name:
                stack.callback(part.register_forward_hook(lambda *_: watch.finish()).remove)
            after = part.register_forward_hook(lambda *_: watch.leave(), always_call=True)
            stack.callback(after.remove)
        outer = watch.under
        while outer is not None:
            if isinstance(outer, Watch) and not outer.muted:
                watch.changes = (*outer.changes, *watch.changes)
                outer.muted = True
                stack.callback(setattr, outer, "muted", False)
            outer = outer.under
        yield


@contextmanager
def opened_behind_changes(seam: Seam, module: nn.Module) -> Iterator[None]:
    """As `opened`; where attention is being changed, the seam sees the calls of a model with those weights."""
    with ExitStack() as stack:
        stack.enter_context(opened(seam, module))
        if seam.under is not None:
            stack.enter_context(watched(Watch(), module))
        yield


def _only_adds_axes(index: object) -> bool:
    """`weights[:, None]`, say."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or (isinstance(part, slice) and part == slice(None)) for part in parts)


def _entering(watch: Watch, name: str) -> Callable[[nn.Module, tuple[Any, ...], Mapping[str, Any]], None]:
    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not name:
            ids = next((x for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.dim() >= 2), None)
            watch.start(ids, kwargs.get("attention_mask"))
        watch.enter(name, _is_cross(module, args, kwargs))

    return begin


def _is_cross(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    if isinstance(module, nn.MultiheadAttention):
        query, key = (kwargs.get(name, args[i] if len(args) > i else None) for i, name in enumerate(("query", "key")))
        return query is not key
    return any(kwargs.get(name) is not None for name in _OTHER_STATES)
