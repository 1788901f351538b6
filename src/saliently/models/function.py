"""Any function from texts to scores: an API, a scikit-learn pipeline, a model behind a wall. Removal methods only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from saliently.errors import ModelError
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.models.reading import checked
from saliently.types import Span, Tokens
from saliently.units import group, words

MASK, GONE = 0, 1
"""The ids of a word that was taken away: the mask stands in its place, or nothing."""


class NoVectors(nn.Module):
    """Stands where a model has its embedding."""

    def forward(self, ids: Tensor) -> Tensor:
        """Never.

        Raises:
            ModelError: always.
        """
        raise ModelError(
            "Word vectors were asked for; this model is a function of texts, which has none. Use occlusion with "
            "blank='delete', or with blank='mask' if the function was wrapped with a mask."
        )


@dataclass(frozen=True, eq=False)
class Words:
    """Reads a text by its words; ids are given out as words come. A word keeps the space before it.

    Attributes: known, the word of each id; ids, of each word; whole, the texts that were read, by their ids.
    """

    known: list[str] = field(default_factory=lambda: ["", ""])
    ids: dict[str, int] = field(default_factory=dict)
    whole: dict[tuple[int, ...], str] = field(default_factory=dict)

    def __call__(self, fields: Mapping[str, str], truncate: bool) -> Tokens:
        """Tokens of the field `text`: its words with what stands before each; what follows the last goes with it.

        Raises:
            InputError: other fields, no text, not Unicode.
        """
        given = checked(fields, (("text",),))
        text = given["text"]
        found = words(text)
        ends = [*(end for _, end in found[:-1]), len(text)]
        pieces = [text[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        spans: list[Span | None] = [Span("text", *place) for place in found]
        tokens = group(given, [self._id(piece) for piece in pieces], [piece.strip() for piece in pieces], spans)
        self.whole[tokens.ids] = text
        return tokens

    def text(self, ids: Sequence[int], mask: str) -> str:
        """The text of a row; a masked word leaves `mask`."""
        joined = "".join(f" {mask}" if i == MASK else self.known[i] for i in ids)
        return self.whole.get(tuple(ids), joined.strip())

    def _id(self, piece: str) -> int:
        if piece not in self.ids:
            self.ids[piece] = len(self.known)
            self.known.append(piece)
        return self.ids[piece]


def wrap_function(
    function: Callable[[list[str]], Any], labels: Sequence[str], mask: str | None = None, name: str | None = None
) -> Model:
    """A function from a list of N texts to scores (N, C), one for each label: an array, tensor or list of lists.

    Words are taken away in the text itself, and the function sees the rest; with `mask`, what stands in their place may
    be that. Its numbers are explained as they are, whatever they are.

    Raises:
        ModelError: no labels; when it runs, scores of another shape.
    """
    if not callable(function) or not labels or isinstance(labels, str):
        raise ModelError(
            f"A function of texts and its labels were asked for; found {type(function).__name__} and {labels!r:.40}. "
            "Give a function that takes a list of texts, and a name for each of the scores that it gives."
        )
    reader, names = Words(), tuple(map(str, labels))
    called = str(name or getattr(function, "__name__", type(function).__name__))

    def forward(batch: Batch) -> Tensor:
        rows = zip(batch.ids.tolist(), batch.mask.sum(1).tolist(), strict=True)
        texts = [reader.text(ids[:many], mask or "") for ids, many in rows]
        return _scores(function(texts), (len(texts), len(names)), called)

    return Model(
        name=called,
        module=NoVectors(),
        embedding=NoVectors(),
        read=reader,
        forward=forward,
        labels=names,
        link="none",
        blank_ids={"delete": GONE} if mask is None else {"delete": GONE, "mask": MASK},
        vectors=False,
    )


def _scores(found: Any, shape: tuple[int, int], name: str) -> Tensor:
    """What a function gave, as a tensor of that shape."""
    try:
        scores = np.asarray(found.detach().cpu() if isinstance(found, Tensor) else found, dtype=np.float64)
    except (TypeError, ValueError):
        scores = np.empty(0)
    if scores.shape != shape:
        raise ModelError(
            f"Scores of shape {shape} were asked of {name}, a row a text and a column a label; it gave "
            f"{type(found).__name__} of shape {scores.shape}. Return one list of scores for each text."
        )
    return torch.from_numpy(scores)
