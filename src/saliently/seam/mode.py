"""The seam: a function mode around a forward pass that sees every torch call of any architecture."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from saliently.errors import ModelError
from saliently.seam.multihead import multi_head_attention


class Call(NamedTuple):
    """A torch call on its way: which function, with what."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def run(self, *args: Any) -> Any:
        """The call's own result; with `args`, as if its first arguments were these."""
        return self.func(*args, *self.args[len(args) :], **self.kwargs)

    def get(self, place: int, name: str, default: Any = None) -> Any:
        """An argument by place or by name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)


Rule = Callable[[Call], Any]

_OPEN: ContextVar[Seam | None] = ContextVar("innermost seam", default=None)


class Seam(TorchFunctionMode, ABC):
    """Sees the calls of a forward pass and answers some of them itself. Subclasses are final.

    `in_place`: do its rules answer calls that change their argument in place as well?

    Values stay as they are unless a subclass is made to change them. Enter by `opened`, which also turns off what would
    hide calls.
    """

    in_place: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self.under: Seam | None = None  # another one that was entered before
        self._table = {"multi_head_attention_forward": self._take_apart, **self.rules()}

    @abstractmethod
    def rules(self) -> Mapping[str, Rule]:
        """Which calls are answered, by the function's name; a call that changes its argument in place is known by the
        name of the one that does not."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name, given = func.__name__, kwargs or {}
        rule = self._table.get(name)
        written = rule is None and name[-1] == "_" and name[0] != "_"
        if written and self.in_place:
            rule = self._table.get(name[:-1])
        if rule is None or not self.acts():
            if written or name == "__setitem__":
                self.overwritten(args)
            return func(*args, **given)
        if given:
            args, given = _by_place(args, given)
        if not written:
            if given.get("inplace"):
                return self.written(args[0], rule(Call(func, args, {**given, "inplace": False})))
            return rule(Call(func, args, given))
        return self.written(args[0], rule(Call(getattr(Tensor, name[:-1]), args, given)))

    def acts(self) -> bool:
        """Does it answer calls just now?"""
        return True

    def overwritten(self, args: tuple[Any, ...]) -> None:
        """A call without a rule is about to write over its first argument."""

    def written(self, place: Tensor, value: Any) -> Tensor:
        """The argument of a call that writes over it, with what the rule gave in it."""
        return place.copy_(value)

    def _take_apart(self, call: Call) -> Any:
        """torch's attention in one call, as the calls that it is made of."""
        with self:
            return multi_head_attention(call.args, call.kwargs)


_LEADING = ("input", "self", "tensors", "mat1", "batch1", "other", "mat2", "batch2", "exponent")
"""Arguments that rules know by place, in the order in which torch's calls take them."""


def _by_place(args: tuple[Any, ...], given: Mapping[str, Any]) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Leading arguments that were given by name, by place."""
    named = [name for name in _LEADING if name in given]
    rest = {name: value for name, value in given.items() if name not in named}
    return (*args, *(given[name] for name in named)), rest


def is_open() -> bool:
    """Does anything look through a pass, or change it, in this thread?"""
    return _OPEN.get() is not None


class _Switches:
    """torch's switches for the whole process: thrown when the first seam opens, put back when the last closes."""

    def __init__(self) -> None:
        self._lock, self._open, self._back = Lock(), 0, ExitStack()

    @contextmanager
    def thrown(self) -> Iterator[None]:
        """Fused encoder layers and compiled bodies run plainly inside the block."""
        with self._lock:
            if not self._open:
                self._back.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
                torch.backends.mha.set_fastpath_enabled(False)
                if "torch._dynamo" in sys.modules:  # nothing is compiled without it, and loading it takes seconds
                    self._back.enter_context(torch.compiler.set_stance("force_eager"))
            self._open += 1
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                if not self._open:
                    self._back.close()


_SWITCHES = _Switches()


@contextmanager
def opened(seam: Seam, module: nn.Module, checked: bool = False) -> Iterator[None]:
    """Inside the block, what runs in this thread passes through the seam; after it, all is as it was.

    Fused encoder layers and compiled bodies would hide their parts: both run plainly inside the block. Backward passes
    stay in this thread, so that what a checkpoint computes again passes through the seam too. `checked` says that the
    module was looked through before.

    Raises:
        ModelError: a scripted part, whose body can't be seen.
    """
    for name, part in () if checked else module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise ModelError(
                f"What happens inside {type(module).__name__} was to be looked at; its part {name or 'itself'!r} is "
                "scripted, and its body can't be seen. Use the module it was scripted from, or a method that needs "
                "only gradients or removals."
            )
    with ExitStack() as stack:
        stack.enter_context(_SWITCHES.thrown())
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        seam.under = _OPEN.get()
        stack.callback(_OPEN.reset, _OPEN.set(seam))
        stack.enter_context(seam)
        yield
