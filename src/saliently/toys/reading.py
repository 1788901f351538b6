"""How toys read: words between spaces, looked up by a function; unknown words are errors of one text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from saliently.errors import InputError
from saliently.models.plain import Read


def reads(number: Callable[[str], int | None], asked: str, pattern: str = r"\S+") -> Read:
    """A reading function: each match of `pattern` is a word, `number` gives its id, or None where it has none.

    Raises, when it reads:
        InputError: a word without an id; `asked` says what words there are.
    """

    def read(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
        ids: list[int] = []
        places: list[tuple[int, int] | None] = []
        for word in re.finditer(pattern, text):
            found = number(word.group())
            if found is None:
                raise InputError(f"The toy was given the word {word.group()!r:.40}; it reads {asked}.")
            ids.append(found)
            places.append(word.span())
        return ids, places

    return read


def vocabulary(words: Mapping[str, int]) -> Read:
    """Reads words of a fixed list."""
    return reads(words.get, f"the words {', '.join(words)}"[:200])
