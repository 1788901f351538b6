"""What a method may ask of a model: values and gradients of the explained number, at rows of many texts.

Nothing else in saliently runs a model while explaining, so passes are packed, counted, and survive a lack of memory in
this one place.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from saliently import erase, packing, targets
from saliently.errors import ModelError, SaliencyWarning
from saliently.models.base import Batch, Model
from saliently.packing import Blocks, Budget, Pack
from saliently.types import Pinned, Target, Tokens

T = TypeVar("T")

Jitter = Callable[[int, int], Tensor]
"""(example, row) -> (T, D), added to the word vectors of that row."""


class Slope(NamedTuple):
    """The gradient at the rows of one batch.

    P rows, L tokens, D embedding dimensions. Attributes: grad, of the explained number; x, the word vectors at which
    it was taken; word, those of the unchanged tokens; blank (D,), what stands for nothing.
    """

    grad: Tensor
    x: Tensor
    word: Tensor
    blank: Tensor


class Reading(NamedTuple, Generic[T]):
    """One row's answer.

    Attributes: example and row say whose; value, the explained number there; part, what was read there: off its
    gradient, (T,) or (T, D) float64.
    """

    example: int
    row: int
    value: float
    part: T


@dataclass(eq=False)
class Pass:
    """One batch on its way through the model, for whatever is to look inside.

    P rows, L tokens, D embedding dimensions. Attributes: model; batch; pack, whose rows they are; places (P, L), which
    token of its input stands at a place, -1 at padding; x, the word vectors that go in, a leaf that needs a gradient,
    or None when none is needed; word, those of the unchanged tokens; blank (D,), what stands for nothing; logits, once
    `values` ran.
    """

    model: Model
    batch: Batch
    pack: Pack
    places: Tensor
    x: Tensor
    word: Tensor
    blank: Tensor
    evaluate: Callable[[Tensor], Tensor]
    logits: Tensor | None = None
    found: Tensor | None = None

    def values(self) -> Tensor:
        """(P,) the explained numbers, by one forward pass; differentiable in x."""
        return self.take(self.model.run(self.batch, self.x))

    def take(self, logits: Tensor) -> Tensor:
        """(P,) the explained numbers, from logits that were computed in another way."""
        self.logits, self.found = logits, self.evaluate(logits)
        return self.found

    def gradient(self, values: Tensor, wrt: Sequence[Tensor]) -> list[Tensor]:
        """Of the summed values, with respect to each tensor.

        Raises:
            ModelError: the forward pass cut the link.
        """
        found: Sequence[Tensor | None] = [None]
        if values.requires_grad:
            found = torch.autograd.grad(values.sum(), list(wrt), allow_unused=True)
        given = [each for each in found if each is not None]
        if len(given) < len(wrt):
            raise ModelError(
                f"The gradient of the logits with respect to the word vectors was asked of {self.model.name}; its "
                "forward pass cuts that link (no_grad, detach, or quantised weights). Use occlusion, which needs none."
            )
        return given

    def real(self, p: int, given: Tensor) -> Tensor:
        """(T, ...) float64, without padding, of what is (L, ...) for row p."""
        return given[self.places[p].to(given.device) >= 0].to("cpu", torch.float64)


@dataclass(frozen=True)
class Path:
    """Where rows lie: what stands for a word taken away, and what is added to every row."""

    blank: str = "zero"
    jitter: Jitter | None = None


class Runner:
    """One model, several inputs, one target each. Methods call it; `saliently.explain` makes it.

    Attributes:
        model, inputs: as given. pinned, plain: by example, the explained number and its value at the input; None until
            the first pass over the unchanged input, which any request makes if it must.
        forward_rows, gradient_rows: by example, rows run forward only, and forward and backward.
        budget: most padded tokens in a batch; halved for good when memory runs out.
    """

    def __init__(
        self,
        model: Model,
        inputs: list[Tokens],
        target: Target,
        budget: Budget,
        tick: Callable[[int], None] = lambda rows: None,
    ) -> None:
        """Raises RecipeError where a text has not the place that `target.at` names."""
        self.model, self.inputs, self.target, self.budget = model, inputs, target, budget
        self.pinned: list[Pinned | None] = [None] * len(inputs)
        self.plain = [float("nan")] * len(inputs)
        self.forward_rows = [0] * len(inputs)
        self.gradient_rows = [0] * len(inputs)
        self._spots = None if model.find is None else [model.find(tokens, target.at) for tokens in inputs]
        spots = None if self._spots is None else [spot.token for spot in self._spots]
        self._shelf = packing.Shelf.fill(inputs, model, spots)
        self._blanks: dict[str, Tensor] = {}
        self._tick = tick

    def everything(self) -> dict[int, Tensor]:
        """One row an example: the unchanged input."""
        return {i: erase.everything(tokens) for i, tokens in enumerate(self.inputs)}

    def nothing(self) -> dict[int, Tensor]:
        """One row an example: every word blanked."""
        return {i: erase.nothing(tokens) for i, tokens in enumerate(self.inputs)}

    def values(self, blocks: Blocks, blank: str = "zero") -> dict[int, Tensor]:
        """Example -> (R,) float64: the explained number at each row; NaN where a row has no token left to run."""
        self._pin(blocks)
        found = {example: torch.full((len(keep),), torch.nan, dtype=torch.float64) for example, keep in blocks.items()}

        delete = blank == "delete" and self.model.vectors  # without vectors an id stands for a word that is gone

        def one(pack: Pack) -> Tensor:
            places = self._shelf.places(pack, blocks, delete)
            batch = self._shelf.batch(pack, places, self.model.device)
            x = None
            if not delete:
                keep = packing.keeps(pack, places, blocks).to(self.model.device)
                if self.model.vectors and not bool((keep == 1).all()):
                    x = erase.blend(self.model.embed(batch.ids), keep, self.blank(blank))
                elif not bool((keep == 1).all()):
                    batch = replace(batch, ids=batch.ids.masked_fill(keep != 1, self._blank_id(blank)))
            with torch.no_grad():
                return self._evaluate(pack, self.model.run(batch, x), blocks).double().cpu()

        for pack, values in self._stream(blocks, delete, one, self.forward_rows):
            for example, row, value in zip(pack.example, pack.row, values, strict=True):
                found[int(example)][int(row)] = value
        return found

    def gradients(
        self, blocks: Blocks, reduce: Callable[[Slope], Tensor], path: Path = Path()
    ) -> Iterator[Reading[Tensor]]:
        """At each row, in no promised order, the explained number and `reduce` of its gradient.

        `reduce` turns a Slope into (P, L) or (P, L, D). Parts come in float64, whatever the model computes in, so that
        sums over them lose nothing.
        """

        def use(one: Pass) -> list[Tensor]:
            (grad,) = one.gradient(one.values(), [one.x])
            # Sums over dimensions lose digits in half precision.
            wide = torch.promote_types(one.x.dtype, torch.float32)
            slope = Slope(*(each.to(wide) for each in (grad, one.x.detach(), one.word, one.blank)))
            return [one.real(p, part) for p, part in enumerate(reduce(slope))]

        return self.through(blocks, use, path)

    def through(
        self, blocks: Blocks, use: Callable[[Pass], Sequence[T]], path: Path = Path(), backward: bool = True
    ) -> Iterator[Reading[T]]:
        """At each row, in no promised order, the explained number and what `use` read there: one part a row.

        `use` calls `Pass.values` once, inside whatever it wants to look through. `backward` says whether it sends
        anything back; rows are counted by that.
        """
        self._pin(blocks, path)

        def one(pack: Pack) -> list[Reading[T]]:
            places = self._shelf.places(pack, blocks, delete=False)
            passing = self._pass(pack, places, blocks, path)
            with torch.enable_grad(), self._checkpoints_explained():
                parts = use(passing)
            assert passing.found is not None
            values = passing.found.detach()
            rows = zip(pack.example, pack.row, values, parts, strict=True)
            return [Reading(int(e), int(r), float(value), part) for e, r, value, part in rows]

        for _, readings in self._stream(blocks, False, one, self.gradient_rows if backward else self.forward_rows):
            yield from readings

    @contextmanager
    def _checkpoints_explained(self) -> Iterator[None]:
        """Turn torch's word for a checkpoint that computes something else the second time into ours."""
        try:
            yield
        except CheckpointError as error:
            raise ModelError(
                f"A backward pass through {self.model.name} was asked for; parts of it are checkpointed, and what they "
                "compute again can't pass through what looks inside or changes attention here. Turn checkpointing off "
                "for this (gradient_checkpointing_disable() in transformers)."
            ) from error

    def blank(self, kind: str) -> Tensor:
        """(D,) the vector of a blank, computed once."""
        if kind not in self._blanks:
            self._blanks[kind] = erase.blank_vector(self.model, kind)
        return self._blanks[kind]

    def _blank_id(self, kind: str) -> int:
        """The id that stands for a word taken away, where words have no vectors."""
        return self.model.blank_ids[kind] if kind in self.model.blank_ids else int(self.blank(kind).sum())

    def _pass(self, pack: Pack, places: Tensor, blocks: Blocks, path: Path) -> Pass:
        batch = self._shelf.batch(pack, places, self.model.device)
        word, blank = self.model.embed(batch.ids), self.blank(path.blank)
        x = erase.blend(word, packing.keeps(pack, places, blocks).to(self.model.device), blank)
        if path.jitter is not None:
            for line, place, example, row in zip(x, places, pack.example, pack.row, strict=True):
                line[place >= 0] += path.jitter(int(example), int(row)).to(x)
        evaluate = partial(self._evaluate, pack, blocks=blocks, path=path)
        return Pass(self.model, batch, pack, places, x.requires_grad_(), word, blank, evaluate)

    def _evaluate(self, pack: Pack, logits: Tensor, blocks: Blocks, path: Path = Path()) -> Tensor:
        """(P,) the explained numbers; pins those whose unchanged input this is."""
        for example, row_logits in zip(map(int, pack.example), logits, strict=True):
            if self.pinned[example] is None:
                pinned = targets.pin(self.target, row_logits.detach(), self.model.labels, self.model.link)
                self.pinned[example] = pinned if self._spots is None else replace(pinned, at=self._spots[example].said)
        pins = [pin for e in pack.example if (pin := self.pinned[int(e)]) is not None]
        values = targets.evaluate(pins, logits, self.model.link)
        for example, row, value in zip(
            map(int, pack.example), map(int, pack.row), values.detach().tolist(), strict=True
        ):
            if np.isnan(self.plain[example]) and path.jitter is None and bool((blocks[example][row] == 1).all()):
                self.plain[example] = value
        return values

    def _pin(self, blocks: Blocks, path: Path = Path()) -> None:
        """Make sure that the explained numbers are pinned by the unchanged input before anything else runs."""
        open_ = [i for i in blocks if self.pinned[i] is None]
        if path.jitter is None and all(bool((blocks[i][0] == 1).all()) for i in open_):
            return  # the first row of each block is the unchanged input, and no other row of that block runs before it
        self.values({i: erase.everything(self.inputs[i]) for i in open_})

    def _stream(
        self, blocks: Blocks, delete: bool, one: Callable[[Pack], T], counts: list[int]
    ) -> Iterator[tuple[Pack, T]]:
        """What `one` gives for every pack; a pack that doesn't fit into memory is halved."""
        for whole in packing.cut(packing.lengths(blocks, delete), self.budget.tokens, self.model):
            waiting = deque([whole])
            while waiting:
                pack = waiting.popleft()
                padded = len(pack) * int(pack.length.max())
                if padded > self.budget.tokens and len(pack) > 1:
                    waiting.extendleft(reversed(pack.halves()))
                    continue
                result = _fitting(one, pack)
                if result is None:
                    self._shrink(pack, padded)
                    waiting.appendleft(pack)
                    continue
                for example in pack.example:
                    counts[int(example)] += 1
                self._tick(len(pack))
                yield pack, result

    def _shrink(self, pack: Pack, padded: int) -> None:
        """Halve the budget after memory ran out.

        Raises:
            ModelError: a single row was too much.
        """
        if len(pack) == 1:
            raise ModelError(
                f"One row of {padded} tokens was to run through {self.model.name}; memory ran out. "
                "Use a shorter text, a smaller dtype or a device with more memory."
            )
        self.budget.tokens = max(1, min(self.budget.tokens, padded) // 2)
        warnings.warn(
            f"Memory ran out at {padded} tokens a batch; going on with a budget of {self.budget.tokens}.",
            SaliencyWarning,
            stacklevel=2,
        )


def _fitting(one: Callable[[Pack], T], pack: Pack) -> T | None:
    """Run, or None if memory ran out; by the time it returns, what the run had allocated is free again."""
    try:
        return one(pack)
    except (MemoryError, torch.OutOfMemoryError):
        return None
    except RuntimeError as error:
        # The CPU allocator and older backends raise a plain RuntimeError; its text is all there is to go by.
        if "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower():
            return None
        raise
