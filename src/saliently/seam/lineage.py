"""Where tensors come from, as far as a rule must know it."""

from __future__ import annotations

from typing import Generic, TypeVar

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

T = TypeVar("T")

VIEWS = frozenset(
    "clone contiguous dropout expand expand_as flatten float half bfloat16 double permute repeat reshape squeeze "
    "swapaxes to transpose type type_as unflatten unsqueeze view view_as alias detach".split()
)
"""Calls whose result has the same entries as their first argument, in another shape or type."""

SAME_PLACES = frozenset("clone contiguous dropout float half bfloat16 double to type type_as alias".split())
"""Those of them that leave each entry where it is."""


class Tags(Generic[T]):
    """One note on each of some tensors, kept as long as the tensor is."""

    def __init__(self) -> None:
        self._of: WeakIdKeyDictionary = WeakIdKeyDictionary()
        self.some = False  # was anything ever noted? Looking up is slow

    def get(self, tensor: object) -> T | None:
        """The note on a tensor, if it has one."""
        if not self.some or not isinstance(tensor, Tensor):
            return None
        found: T | None = self._of.get(tensor)  # type: ignore[no-untyped-call]
        return found

    def put(self, tensor: Tensor, tag: T) -> None:
        """Note something on a tensor."""
        self._of[tensor], self.some = tag, True

    def drop(self, tensor: Tensor) -> None:
        """Forget what is noted on a tensor."""
        if tensor in self._of:
            del self._of[tensor]

    def follow(self, source: object, result: object) -> None:
        """The result of a view has the note of its source."""
        tag = self.get(source)
        if tag is not None and isinstance(result, Tensor):
            self.put(result, tag)
