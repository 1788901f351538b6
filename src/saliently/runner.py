"""What a method may ask of a model: values and gradients of the explained number, at rows of many texts.

Nothing else in saliently runs a model while explaining, so passes are packed, counted, and survive a lack of memory in
this one place.
"""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.checkpoint import CheckpointError

from saliently import erase, packing
from saliently.errors import ModelError, SaliencyWarning
from saliently.models.base import Model
from saliently.models.checkpoints import checkpointed
from saliently.packing import NO_SWAPS, Blocks, Budget, Pack, Swaps
from saliently.passes import Pass, Path, Reading, Slope
from saliently.questions import Lines, Questions
from saliently.shared import Shared, same_words
from saliently.slopes import slopes
from saliently.types import Target, Tokens
from saliently.values import Answer, Values

P = TypeVar("P")
T = TypeVar("T")

_KEPT = 4
"""Budgets of tokens whose keys and values may be held for rows that go on from a beginning."""


class Runner:
    """One model, several inputs, one question each. Methods call it; `saliently.explain` makes it.

    A text that is asked several questions (`each`: one for each place that has an output) is several inputs that are
    the same Tokens; rows that they have in common are run once.

    Attributes:
        model, inputs: as given. questions: what is asked of each input, and its plain answer, which any request gets
            if it must.
        forward_rows, gradient_rows: by example, rows run forward only, and forward and backward; those that were run
            for others as well are counted for each.
        budget: most padded tokens in a batch; halved for good when memory runs out.
        report: to be told, by methods that sample, how large the largest standard error still is.
    """

    def __init__(
        self,
        model: Model,
        inputs: Sequence[Tokens],
        target: Target,
        budget: Budget,
        tick: Callable[[int], None] = lambda rows: None,
        each: bool = False,
        report: Callable[[float], None] = lambda error: None,
    ) -> None:
        """Raises RecipeError where a text has not the place that `target.at` names."""
        self.model, self.budget = model, budget
        self.inputs, self.questions = Questions.find(model, inputs, target, each)
        self.forward_rows = [0] * len(self.inputs)
        self.gradient_rows = [0] * len(self.inputs)
        self._shelf = packing.Shelf.fill(self.inputs, model)
        self._blanks: dict[str, Tensor] = {}
        self._tick = tick
        self.report = report

    def everything(self) -> dict[int, Tensor]:
        """One row an example: the unchanged input."""
        return {i: erase.everything(tokens) for i, tokens in enumerate(self.inputs)}

    def nothing(self) -> dict[int, Tensor]:
        """One row an example: every word blanked."""
        return {i: erase.nothing(tokens) for i, tokens in enumerate(self.inputs)}

    def values(self, blocks: Blocks, blank: str = "zero", *, swaps: Swaps = NO_SWAPS) -> dict[int, Tensor]:
        """Example -> (R,) float64: the explained number at each row; NaN where a row has no token left to run.

        `swaps` puts other words into rows, by their token ids; what a row keeps less than whole is blanked all the
        same.
        """
        self._pin(blocks, swaps=swaps)
        found = {example: torch.full((len(keep),), torch.nan, dtype=torch.float64) for example, keep in blocks.items()}
        for (lines, values), ran in self._values(Shared.of(blocks, self.inputs, swaps=swaps), blank):
            for example, row, whole, value in zip(lines.example, lines.row, lines.whole, values, strict=True):
                found[example][row] = value
                self.forward_rows[example] += ran or whole
        return found

    def _values(self, shared: Shared, blank: str) -> Iterator[tuple[Answer, bool]]:
        """Answers, and whether their rows were run: some are those of the unchanged text."""
        asked = Values(self.model, self.questions, self._shelf, shared, blank, self.blank)
        pasts = {}
        for e in list(asked.leaving):
            found = _fitting(asked.plain, e)
            if found is None:
                del asked.leaving[e]  # no room to keep a beginning: its rows are run whole
                continue
            pasts[e], answer = found
            self._tick(1)
            yield answer, False
        for answer in self._stream(asked.from_start(), asked.whole):
            yield answer, True
        for e, past in pasts.items():
            # Each row holds keys and values of the beginning as well, which a budget of tokens to run doesn't count.
            most = max(1, _KEPT * self.budget.tokens // len(self.inputs[e].ids))
            for answer in self._stream({e: asked.leaving[e].rest.numpy()}, partial(asked.after, past), most):
                yield answer, True

    def gradients(
        self, blocks: Blocks, reduce: Callable[[Slope], Tensor], path: Path = Path()
    ) -> Iterator[Reading[Tensor]]:
        """At each row, in no promised order, the explained number and `reduce` of its gradient.

        `reduce` turns a Slope into (P, L) or (P, L, D). Parts come in float64, whatever the model computes in, so that
        sums over them lose nothing.
        """
        self._pin(blocks, path)
        shared = Shared.of(blocks, self.inputs, alone=path.jitter is not None)

        def one(pack: Pack) -> list[Reading[Tensor]]:
            lines = shared.lines(pack)
            passing = self._pass(pack, lines, shared.blocks, path)
            with torch.enable_grad(), self._checkpoints_explained(), self._layers():
                return slopes(passing, passing.values(), lines, reduce)

        for readings in self._stream(packing.lengths(shared.blocks, False), one):
            for reading in readings:
                self.gradient_rows[reading.example] += 1
            yield from readings

    def through(
        self, blocks: Blocks, use: Callable[[Pass], Sequence[T]], path: Path = Path(), backward: bool = True
    ) -> Iterator[Reading[T]]:
        """At each row, in no promised order, the explained number and what `use` read there: one part a row.

        `use` calls `Pass.values` once, inside whatever it wants to look through. `backward` says whether it sends
        anything back; rows are counted by that.
        """
        self._pin(blocks, path)
        shared = Shared.of(blocks, self.inputs, alone=True)
        counts = self.gradient_rows if backward else self.forward_rows

        def one(pack: Pack) -> list[Reading[T]]:
            lines = shared.lines(pack)
            passing = self._pass(pack, lines, blocks, path)
            with torch.enable_grad(), self._checkpoints_explained():
                parts = use(passing)
            assert passing.found is not None
            values = passing.found.detach().tolist()
            return [Reading(*each) for each in zip(lines.example, lines.row, values, parts, strict=True)]

        for readings in self._stream(packing.lengths(blocks, False), one):
            for reading in readings:
                counts[reading.example] += 1
            yield from readings

    def _layers(self) -> AbstractContextManager[None]:
        """How layers run where only a gradient is wanted: as they are, or with checkpoints."""
        return checkpointed(self.model.module, self.model.name) if self.budget.checkpoint else nullcontext()

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

    def _pass(self, pack: Pack, lines: Lines, blocks: Blocks, path: Path) -> Pass:
        places = self._shelf.places(pack, blocks, delete=False)
        wanted = self.questions.wanted(lines, len(pack))
        batch = self._shelf.batch(pack, places, self.model.device, wanted)
        word, blank = self.model.embed(batch.ids), self.blank(path.blank)
        x = erase.blend(word, packing.keeps(pack, places, blocks).to(self.model.device), blank)
        if path.jitter is not None:
            lines = replace(lines, whole=[False] * len(lines.whole))
            for line, place, example, row in zip(x, places, pack.example, pack.row, strict=True):
                line[place >= 0] += path.jitter(int(example), int(row)).to(x)
        evaluate = partial(self.questions.evaluate, lines)
        return Pass(self.model, batch, x.requires_grad_(), word, blank, evaluate)

    def _pin(self, blocks: Blocks, path: Path = Path(), swaps: Swaps = NO_SWAPS) -> None:
        """Make sure that the explained numbers are pinned by the unchanged input before anything else runs."""
        open_ = [i for i in blocks if self.questions.pins[i] is None]
        own = {i for i in open_ if i not in swaps or same_words(swaps[i][:1], self.inputs[i])[0]}
        if path.jitter is None and all(bool((blocks[i][0] == 1).all()) and i in own for i in open_):
            return  # the first row of each block is the unchanged input, and no other row of that block runs before it
        self.values({i: erase.everything(self.inputs[i]) for i in open_})

    def _stream(
        self, rows: Mapping[int, NDArray[np.int64]], one: Callable[[Pack], T], most: int | None = None
    ) -> Iterator[T]:
        """What `one` gives for every pack of rows of these lengths, at most so many together; a pack that doesn't fit
        into memory is halved."""
        for whole in packing.cut(rows, self.budget.tokens, self.model, most):
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
                self._tick(len(pack))
                yield result

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


def _fitting(one: Callable[[P], T], given: P) -> T | None:
    """Run, or None if memory ran out; by the time it returns, what the run had allocated is free again."""
    try:
        return one(given)
    except (MemoryError, torch.OutOfMemoryError):
        return None
    except RuntimeError as error:
        # The CPU allocator and older backends raise a plain RuntimeError; its text is all there is to go by.
        if "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower():
            return None
        raise
