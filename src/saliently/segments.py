"""Larger units than words: sentences, paragraphs, whole fields (a message, a passage), or the user's own offsets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import get_args

import regex

from saliently.errors import InputError, RecipeError
from saliently.types import SegmentName, Segments, Span, Tokens

# Signs that end a sentence, what closes behind them, and the space after it; or the end of a line.
_SENTENCE = regex.compile(r"""(?:[.!?…]+["'”’»)\]]*\s+|[。！？]+["'”’»」』)\]]*\s*|\n+)""")  # noqa: RUF001
_PARAGRAPH = regex.compile(r"\n\s*\n\s*")


def check(segments: Segments) -> None:
    """Raise RecipeError for what names no units and gives none."""
    if isinstance(segments, str):
        fits = segments in get_args(SegmentName)
    else:
        fits = isinstance(segments, Mapping) and all(map(_are_segments, segments.values())) and bool(segments)
    if not fits:
        raise RecipeError(
            f"Units {segments!r:.60} were asked for; there are {', '.join(map(repr, get_args(SegmentName)))}, or give "
            'your own by field, in characters: {"text": [(0, 12), (12, 30)]}.'
        )


def _are_segments(given: object) -> bool:
    """Pairs of whole numbers?"""
    return isinstance(given, (list, tuple)) and all(
        isinstance(each, (list, tuple)) and len(each) == 2 and all(type(place) is int for place in each)
        for each in given
    )


def segmented(tokens: Tokens, segments: Segments) -> Tokens:
    """The same tokens, each a piece of the segment in which its first letter stands.

    What the user's own segments leave out is a unit of its own between them.

    Raises:
        InputError: segments that overlap, are empty or lie outside their field; a field that the input has not.
    """
    if segments == "word":
        return tokens
    cuts = {name: _cuts(name, text, segments) for name, text in tokens.fields.items()}
    if not isinstance(segments, str) and (other := next((name for name in segments if name not in cuts), None)):
        raise InputError(f"Segments of the field {other!r} were given; the input has {', '.join(cuts)}.")
    parts = [Span(name, start, end) for name, ends in cuts.items() for start, end in pairwise(ends)]
    units = [None if span is None else _part_of(tokens, span, parts) for span in tokens.spans]
    return replace(tokens, parts=tuple(parts), units=tuple(units))


def _cuts(name: str, text: str, segments: Segments) -> list[int]:
    """Where a field is cut, from 0 to its end."""
    if segments == "field":
        return [0, len(text)]
    if isinstance(segments, str):
        ends = [found.end() for found in (_SENTENCE if segments == "sentence" else _PARAGRAPH).finditer(text)]
        return sorted({0, *ends, len(text)})
    return sorted({0, *_checked(name, text, segments.get(name, ())), len(text)})


def _checked(name: str, text: str, given: Sequence[tuple[int, int]]) -> list[int]:
    """Both ends of each of the user's segments."""
    last = 0
    for start, end in sorted(given):
        if not last <= start < end <= len(text):
            raise InputError(
                f"Segment {start} to {end} of the field {name!r} was given; segments must hold some of its {len(text)} "
                "characters and not overlap."
            )
        last = end
    return [place for segment in given for place in segment]


def _part_of(tokens: Tokens, span: Span, parts: Sequence[Span]) -> int:
    text = tokens.text(span)
    at = span.start + (len(text) - len(text.lstrip()) if text.strip() else 0)
    at = min(at, len(tokens.fields[span.field]) - 1)  # spaces at the end may be a token of no character
    return next(i for i, part in enumerate(parts) if part.field == span.field and part.start <= at < part.end)
