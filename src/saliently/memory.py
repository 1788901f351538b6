"""What a pass would hold in memory, told from one short row: which tensors live at a time, and how each would grow.

P rows, L tokens, W places at which the output is read.
"""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from saliently.errors import SaliencyError
from saliently.listed import METHODS
from saliently.methods.base import Method
from saliently.models.base import Model
from saliently.models.heads import Spot, Term
from saliently.packing import Budget
from saliently.passes import Path
from saliently.runner import Runner
from saliently.types import Target, Tokens

_REPEATS = range(3, 16)
_PLACES = (3, 5, 7, 11, 13, 17, 19, 23)
_KEPT = 1.4
"""What a process holds for each byte that lives: allocators keep gaps, kernels work in buffers of their own. Measured
between 1.3 and 2.4 on small BERTs and GPT-2s on a CPU."""


class Size(NamedTuple):
    """A batch. Attributes: rows; tokens of its longest row; places at which its output is read."""

    rows: int
    tokens: int
    places: int


class Held(NamedTuple):
    """A tensor that came (sign 1) or went (-1). Attributes: bytes, for the short row; how many of its axes run over
    tokens and over the places read; does it grow with the rows?"""

    sign: int
    bytes: int
    over_tokens: int
    over_places: int
    by_row: bool


@dataclass(frozen=True, eq=False)
class Trace:
    """All tensors of a pass over one short row, in the order in which they came and went.

    Attributes: row, that row's size; events.
    """

    row: Size
    events: Sequence[Held]

    def peak(self, batch: Size) -> int:
        """Most bytes that such a batch would hold at a time, over the weights, about."""
        longer, wider = batch.tokens / self.row.tokens, batch.places / self.row.places
        most = now = 0.0
        for event in self.events:
            size = event.bytes * longer**event.over_tokens * wider**event.over_places
            now += event.sign * size * (batch.rows if event.by_row else 1)
            most = max(most, now)
        return round(_KEPT * most)


def traced(model: Model, method: Method, target: Target) -> Trace | None:
    """One short row, run as the method's rows are: backward too, if it takes a gradient. None where the model has no
    word vectors, or can't run the row."""
    if not model.vectors:
        return None
    taken = _sizes(model)
    tokens = _short(model, taken)
    lengths = {len(tokens.ids), *map(len, tokens.streams)}
    places = next(n for n in _PLACES if n not in taken | lengths) if model.find else 1
    spot = Spot(tuple(Term(token) for token in range(len(tokens.ids) - places, len(tokens.ids))))
    probe = replace(model, find=(lambda model, tokens, target, each: (spot,)) if model.find else None)
    watch = _Living(lengths, places if model.find else -1)
    try:
        runner = Runner(probe, [tokens], Target(of=target.of), Budget(len(tokens.ids)))
        with probe.resting(), _no_collections(), watch:
            if backward(method):
                list(runner.gradients(runner.everything(), lambda slope: slope.grad, Path()))
            else:
                runner.values(runner.everything())
    except (SaliencyError, RuntimeError):
        return None
    return Trace(Size(1, len(tokens.ids), places), watch.events)


@contextmanager
def _no_collections() -> Iterator[None]:
    """Inside the block nothing is freed at a moment of the collector's choosing."""
    was = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def backward(method: Method) -> bool:
    """Does it send something back through the model, in each of its rows? Attention does, to find the place that the
    explained number is read at."""
    return method.quantity == "attention" or next(
        "backward" in row.passes for row in METHODS if row.name == method.name
    )


def _sizes(model: Model) -> set[int]:
    """All sizes of the model's own that an axis may have, so that a length can be told from them."""
    config: Any = getattr(model.module, "config", None)
    said: Mapping[str, Any] = {} if config is None else vars(config)
    weights = {size for weight in model.module.parameters() for size in weight.shape}
    return weights | {value for value in said.values() if isinstance(value, int)}


def _short(model: Model, taken: set[int]) -> Tokens:
    """A text of a few words, whose numbers of tokens are no size of the model's own."""
    for many in _REPEATS:
        tokens = model.read(model.given("good or bad " * many), True)
        if taken.isdisjoint({len(tokens.ids), *map(len, tokens.streams)}):
            break
    return tokens


@dataclass(eq=False)
class _Living(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down each new tensor, and when its memory is free again.

    Attributes: lengths, numbers of tokens; places, how many are read.
    """

    lengths: set[int]
    places: int
    events: list[Held] = field(default_factory=list)
    known: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self, function: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        for given in tree_leaves((args, kwargs)):
            if isinstance(given, Tensor) and _key(given) not in self.known:
                # What was there before may go, and its place be taken by a new tensor.
                self.known.add(_key(given))
                weakref.finalize(given.untyped_storage(), self.known.discard, _key(given))
        found = function(*args, **(kwargs or {}))
        for made in tree_leaves(found):
            if isinstance(made, Tensor) and _key(made) not in self.known:
                self._note(made)
        return found

    def _note(self, made: Tensor) -> None:
        storage = made.untyped_storage()
        key, axes = _key(made), list(made.shape)
        tokens, places = sum(axis in self.lengths for axis in axes), axes.count(self.places)
        alone = not axes or axes[0] == 1 or axes[0] in self.lengths or axes[0] == self.places
        held = Held(1, storage.nbytes(), tokens, places, bool(tokens or places or alone))
        self.events.append(held)
        self.known.add(key)
        weakref.finalize(storage, self._gone, key, held)

    def _gone(self, key: int, held: Held) -> None:
        self.known.discard(key)
        self.events.append(held._replace(sign=-1))


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
