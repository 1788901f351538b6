"""What an explanation will cost, before anything is spent: passes, batches, memory, and texts that can't be read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from saliently import memory, packing
from saliently.api import served, wanted_of
from saliently.chunks import Options, Text, chunks
from saliently.errors import SaliencyError
from saliently.memory import Size, Trace
from saliently.methods.base import Method
from saliently.models.base import Model
from saliently.models.language import GENERATED, LanguageReader
from saliently.models.loading import load
from saliently.models.translation import TranslationReader
from saliently.names import parse
from saliently.types import Target, Tokens
from saliently.windows import Windowed


@dataclass(frozen=True, eq=False)
class Plan:
    """What `explain` would run.

    Attributes:
        model, method: their names.
        texts: how many can be read. tokens: theirs together, special ones included. longest: of the longest.
        rows: inputs that would run through the model, about; exact for gradient, gradient-x-input, lrp, occlusion and
            integrated-gradients with fixed steps and one blank, unless memory runs out on the way; language models need
            fewer for occlusion, since rows that change nothing that is read are not run.
        batches: passes that they make, under the token budget, as exact as rows.
        backward: does each pass go forward and backward, or forward only?
        generated: texts whose response the model would first generate, in up to 32 passes each, which are not counted;
            a response counts here as 32 tokens.
        weights: bytes of the model's parameters and buffers.
        peak: bytes that the largest batch would hold over the weights, about, judged by one short row; methods that
            look inside a pass (relevance, attention, parts) hold more. None if it can't be told: a function of texts.
        failures: position in the input -> why that text can't be explained.
    """

    model: str
    method: str
    texts: int
    tokens: int
    longest: int
    rows: int
    batches: int
    backward: bool
    generated: int
    weights: int
    peak: int | None
    failures: Mapping[int, SaliencyError]

    def facts(self) -> tuple[tuple[str, str], ...]:
        """(name, value) in words, a line each."""
        way = "forward and backward" if self.backward else "forward"
        said = [
            ("model", f"{self.model}, {_size(self.weights)} of weights"),
            ("method", self.method),
            ("texts", f"{self.texts}, {self.tokens} tokens; the longest {self.longest}"),
            ("rows", f"about {self.rows}"),
            ("passes", f"about {self.batches}, {way}"),
            ("memory", "can't be told" if self.peak is None else f"about {_size(self.peak)} a pass, over the weights"),
        ]
        if self.generated:
            said.append(("responses", f"{self.generated} to be generated first, of up to {GENERATED} tokens each"))
        return (*said, *((f"can't be read: {at + 1}", str(error)) for at, error in self.failures.items()))

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the attributes, failures as sentences."""
        return {**vars(self), "failures": {str(at): str(error) for at, error in self.failures.items()}}


def plan(
    model: Model | str | Path,
    texts: Text | Iterable[Text],
    method: str | Method = "integrated-gradients",
    target: str | int | Target | None = None,
    *,
    against: str | int | None = None,
    options: Options = Options(),
) -> Plan:
    """What `explain` would cost with the same arguments. Reads all texts and runs one short row, of a few words of its
    own; nothing else runs, and no response is generated.

    Raises:
        RecipeError, ModelError: what is wrong for every text, as `stream`.
    """
    asked = load(model) if isinstance(model, (str, Path)) else model
    # A default that takes passes to find out, as of lrp's variant, does not change what a row costs.
    chosen = Method.resolved(served(asked, parse(method)), asked)
    wanted = chosen.asks(asked, wanted_of(asked, target, against))
    several: Iterable[Text] = [texts] if isinstance(texts, (str, bytes, Mapping)) else texts
    counted = _Counted(asked, chosen, wanted, options)
    reading, generated = _without_generating(asked)
    for chunk in chunks(reading, several, chosen.rows, options):
        counted.add(chunk)
    return Plan(
        model=asked.name,
        method=repr(chosen),
        texts=counted.texts,
        tokens=counted.tokens,
        longest=counted.longest,
        rows=counted.rows,
        batches=counted.batches,
        backward=memory.backward(chosen),
        generated=len(generated),
        weights=_weights(asked),
        peak=counted.peak(memory.traced(asked, chosen, wanted)) if counted.texts else None,
        failures=counted.failures,
    )


class _Counted:
    """Adds up what the chunks of an explanation cost.

    Attributes: as of Plan; sizes, (rows, tokens) of the batches; places, most that are read of one text.
    """

    def __init__(self, model: Model, method: Method, target: Target, options: Options) -> None:
        self.model, self.method, self.target, self.options = model, method, target, options
        self.texts = self.tokens = self.longest = self.rows = self.batches = 0
        self.failures: dict[int, SaliencyError] = {}
        self.sizes: set[tuple[int, int]] = set()
        self.places = 1

    def add(self, chunk: Mapping[int, Tokens | SaliencyError]) -> None:
        together: list[Tokens] = []
        for at, found in chunk.items():
            try:
                if isinstance(found, Windowed) and self.method.quantity == "saliency":
                    self._windows(found)
                elif isinstance(found, SaliencyError):
                    raise found
                else:
                    self._find(found)
                    together.append(found)
                    self._text(found)
            except SaliencyError as error:
                self.failures[at] = error
        self._run([self.method.lengths(self.model, tokens) for tokens in together])

    def peak(self, trace: Trace | None) -> int | None:
        """Bytes of the batch that holds most."""
        if trace is None:
            return None
        return max(trace.peak(Size(rows, tokens, self.places)) for rows, tokens in self.sizes)

    def _windows(self, text: Windowed) -> None:
        """Its windows run for the class first, then for their scores."""
        self._text(text.whole)
        self._run([[len(window.ids)] for window in text.windows])
        self._run([self.method.lengths(self.model, window) for window in text.windows])

    def _text(self, tokens: Tokens) -> None:
        self.texts += 1
        self.tokens += len(tokens.ids)
        self.longest = max(self.longest, len(tokens.ids))

    def _find(self, tokens: Tokens) -> None:
        """Raises RecipeError where the text has not the place that the target names."""
        if self.model.find is not None:
            wanted = replace(self.target, of=self.target.of or self.model.scale)
            spots = self.model.find(self.model, tokens, wanted, False)
            self.places = max(self.places, *(len(spot.terms) for spot in spots))

    def _run(self, lengths: Sequence[Sequence[int]]) -> None:
        rows = {i: np.array(each, np.int64) for i, each in enumerate(lengths)}
        for pack in packing.cut(rows, self.options.budget, self.model):
            self.rows += len(pack)
            self.batches += 1
            self.sizes.add((len(pack), int(pack.length[0])))


def _without_generating(model: Model) -> tuple[Model, list[int]]:
    """The model with a reader that takes a response to be as long as may be; a list with an entry for each."""
    asked: list[int] = []

    def go_on(ids: Sequence[int]) -> Sequence[int]:
        asked.append(len(ids))
        return [ids[0]] * GENERATED

    if isinstance(model.read, (LanguageReader, TranslationReader)):
        return replace(model, read=replace(model.read, go_on=go_on)), asked
    return model, asked


def _weights(model: Model) -> int:
    kept = {id(each): each for each in chain(model.module.parameters(), model.module.buffers())}
    return sum(each.nbytes for each in kept.values())


def _size(size: int) -> str:
    """`3_500_000` -> `"3.5 MB"`."""
    for unit, many in (("GB", 1e9), ("MB", 1e6)):
        if size >= many:
            return f"{size / many:.3g} {unit}"
    return f"{size / 1e3:.3g} kB"
