"""Rows of a data set: texts with their labels, and where people or an experiment marked the evidence."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliently.chunks import checked_tokens
from saliently.errors import InputError, RecipeError, SaliencyError
from saliently.given import labelled, texts_of
from saliently.models.base import Model
from saliently.targets import find_label
from saliently.types import Span, Tokens


@dataclass(frozen=True)
class Row:
    """One text. Attributes: fields, by name; label, its index, or None; evidence, what the label rests on, as
    characters [start, end) of a field."""

    fields: Mapping[str, str]
    label: int | None = None
    evidence: tuple[Span, ...] = ()

    @property
    def text(self) -> str:
        """The fields after each other, for a reader."""
        return " / ".join(self.fields.values())


def read_rows(model: Model, file: Path) -> list[Row]:
    """Rows from a file: a text a line, with a label behind its last tab if known; or `.jsonl`, an object a line with
    the model's fields by name, and `label` and `evidence` (a list of [field, start, end], or of [start, end] where
    there is one field) if known. `-` is standard input.

    Raises:
        InputError: it can't be read, or a line is no such row. RecipeError: a label that the model does not have.
    """
    lines = texts_of(None, file)
    if file.suffix.lower() == ".jsonl":
        return [_row(model, line, at) for at, line in enumerate(lines, 1)]
    texts, labels = labelled(lines)
    numbers = [None] * len(texts) if labels is None else [find_label(label, model.labels) for label in labels]
    return [Row({"text": text}, label) for text, label in zip(texts, numbers, strict=True)]


def _row(model: Model, line: str, at: int) -> Row:
    try:
        found = json.loads(line)
        label, evidence = found.pop("label", None), found.pop("evidence", ())
        fields = {str(name): value for name, value in found.items()}
        spans = tuple(_span(each, fields) for each in evidence)
    except (ValueError, AttributeError, TypeError) as error:
        raise InputError(
            f'Rows were asked for as JSON, {{"text": "...", "label": "..."}}; line {at} is none ({error}). Mend it, or '
            "give texts with a label behind a tab."
        ) from None
    return Row(fields, None if label is None else find_label(label, model.labels), spans)


def _span(given: Any, fields: Mapping[str, Any]) -> Span:
    """Raises ValueError where it is no stretch of a field."""
    named = given if len(given) == 3 else [*fields, *given]
    if len(named) != 3 or named[0] not in fields:
        raise ValueError(f"evidence {given!r} names no field of {', '.join(fields)}")
    span = Span(*named)
    whole = type(span.start) is int and type(span.end) is int
    if not whole or not 0 <= span.start < span.end <= len(fields[span.field]):
        raise ValueError(f"evidence {given!r} is no stretch of {span.field}, of {len(fields[span.field])} characters")
    return span


def readable(model: Model, rows: Sequence[Row]) -> tuple[list[Row], dict[str, str]]:
    """The texts that the model can read, and why not the others."""
    good: list[Row] = []
    bad: dict[str, str] = {}
    for at, row in enumerate(rows, 1):
        try:
            checked_tokens(model, row.fields)
        except SaliencyError as error:
            bad[f"text {at}"] = str(error)
        else:
            good.append(row)
    return good, bad


def unlike(rows: Sequence[Row]) -> list[Row]:
    """The rows without those whose texts are all those of an earlier one, so that no text is both taught and tested."""
    found: dict[str, Row] = {}
    for row in rows:
        found.setdefault(repr(sorted(row.fields.items())), row)
    return list(found.values())


def marked(tokens: Tokens, evidence: Sequence[Span]) -> NDArray[np.bool_]:
    """(W,) of each word of an input, in order: does it share a character with the evidence?"""
    words = [tokens.parts[unit] for unit in sorted(tokens.pieces_of)]
    return np.array(
        [any(w.field == e.field and w.start < e.end and e.start < w.end for e in evidence) for w in words], bool
    )


def first(rows: Sequence[Row], what: str) -> Row:
    """The first row. Raises RecipeError where there is none."""
    if not rows:
        raise RecipeError(f"{what} needs texts; there are none. Give some.")
    return rows[0]


def labels_of(rows: Sequence[Row], what: str) -> list[int]:
    """The labels of rows that must all have one.

    Raises:
        RecipeError: one has none.
    """
    missing = sum(row.label is None for row in rows)
    if missing:
        raise RecipeError(f"{what} needs labels; {missing} of {len(rows)} texts have none. Put one behind a tab.")
    return [int(row.label) for row in rows if row.label is not None]
