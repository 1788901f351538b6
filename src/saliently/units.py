"""Words of the user's own text, and which token is a piece of which word.

Words are found in the text itself (Unicode word boundaries, UAX 29), so that they mean the same for every tokenizer.
They are then merged wherever one token covers several of them, so that each token is a piece of exactly one word, and
they never cut a grapheme cluster (what a reader sees as one character).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import regex

from saliently.types import Span, Tokens

_CLUSTER = regex.compile(r"\X")
_WORD_EDGE = regex.compile(r"\b", flags=regex.WORD | regex.V1)


def group(fields: Mapping[str, str], ids: Sequence[int], pieces: Sequence[str], spans: Sequence[Span | None]) -> Tokens:
    """Tokens with their words: every field's text is cut into parts whose concatenation is the text.

    `ids`, `pieces` and `spans` run over tokens; a span of None marks a special token, which is a piece of no word.
    """
    parts: list[Span] = []
    units: list[int | None] = [None] * len(ids)
    for field, text in fields.items():
        mine = [i for i, span in enumerate(spans) if span is not None and span.field == field]
        covers = [_cover(text, span.start, span.end) for i in mine if (span := spans[i]) is not None]
        cuts, owners = _partition(text, covers)
        for i, owner in zip(mine, owners, strict=True):
            units[i] = len(parts) + owner
        parts += [Span(field, start, end) for start, end in pairwise(cuts)]
    return Tokens(dict(fields), tuple(ids), tuple(pieces), tuple(spans), tuple(units), tuple(parts))


def words(text: str) -> list[tuple[int, int]]:
    """Where the words and signs of a text stand, spaces left out: `"so good!"` -> `[(0, 2), (3, 7), (7, 8)]`."""
    clusters = [0, *(found.end() for found in _CLUSTER.finditer(text))]
    edges = {0, len(text), *(found.start() for found in _WORD_EDGE.finditer(text))}
    cuts = [at for at in clusters if at in edges]
    return [(start, end) for start, end in pairwise(cuts) if text[start:end].strip()]


def _cover(text: str, start: int, end: int) -> tuple[int, int]:
    """The characters a token stands for, less the spaces around them; never empty.

    `"a good", 1, 6` -> `(2, 6)`. A token of spaces only keeps them. A token of no character at all (the lone word
    marker of some tokenizers) stands for the next character that is no space, else for the last one.
    """
    inner = text[start:end]
    if inner.strip():
        return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())
    if inner:
        return start, end
    at = next((i for i in range(start, len(text)) if not text[i].isspace()), len(text) - 1)
    return at, at + 1


def _partition(text: str, covers: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Cuts that partition `text`, and for each cover the index of the one part that holds it.

    `"so good", [(0, 2), (3, 7)]` -> `([0, 2, 3, 7], [0, 2])`.
    """
    clusters = [0, *(found.end() for found in _CLUSTER.finditer(text))]
    edges = {found.start() for found in _WORD_EDGE.finditer(text)}
    inside = bytearray(len(text) + 1)  # 1: a token stands on both sides of this place, so it can't be cut here
    for start, end in covers:
        inside[start + 1 : end] = b"\x01" * max(0, end - start - 1)
    cuts = [at for at in clusters if at in (0, len(text)) or (at in edges and not inside[at])]
    where = _parts_by_character(cuts, len(text))
    # A cover that ends inside a cluster is closed by that cluster, so its first character tells the part.
    owners = [where[start] for start, _ in covers]
    scored = set(owners)
    merged = [0]
    for index, (_, end) in enumerate(pairwise(cuts)):
        if index + 1 == len(cuts) - 1 or index in scored or index + 1 in scored:
            merged.append(end)
    if not text:
        return [0], []
    where = _parts_by_character(merged, len(text))
    return merged, [where[start] for start, _ in covers]


def _parts_by_character(cuts: Sequence[int], length: int) -> list[int]:
    """`[0, 2, 3], 3` -> `[0, 0, 1]`: the part that each character lies in."""
    where = [0] * length
    for index, (start, end) in enumerate(pairwise(cuts)):
        where[start:end] = [index] * (end - start)
    return where
