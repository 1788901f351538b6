"""Heads that give an output at every place of a text: which place is asked for, and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from saliently.errors import RecipeError, did_you_mean
from saliently.types import At, Tokens


class Spot(NamedTuple):
    """A place whose output is explained. Attributes: token, its index; said, what it is called in a sentence."""

    token: int
    said: str


Find = Callable[[Tokens, At], Spot]
"""Which token the user's `at` means, in one input."""


def at_word(tokens: Tokens, at: At) -> Spot:
    """The first token of a word, as taggers take it: `at` is the word, or its number from 0.

    Raises:
        RecipeError: no word was named; there is no such word; there are several of that spelling.
    """
    first = {unit: token for token, unit in reversed(list(enumerate(tokens.units))) if unit is not None}
    words = [(tokens.text(tokens.parts[unit]), first[unit]) for unit in sorted(first)]
    spelled = [word for word, _ in words]
    if isinstance(at, int) and not isinstance(at, bool):
        if not 0 <= at < len(words):
            raise RecipeError(f"The tag of word {at} was asked for; the text has words 0 to {len(words) - 1}.")
        return Spot(words[at][1], repr(spelled[at]))
    same = [i for i, word in enumerate(spelled) if word == at]
    if len(same) == 1:
        return Spot(words[same[0]][1], repr(at))
    if same:
        raise RecipeError(
            f"The tag of {at!r} was asked for; the text has that word {len(same)} times. Give its number instead: "
            f"{', '.join(map(str, same))}."
        )
    asked = "a word" if at is None else repr(at)
    raise RecipeError(
        f"The tag of {asked} was asked for; name a word of the text with at=, by its spelling or its number from 0: "
        f"{', '.join(map(repr, spelled[:12]))}{' ...' if len(spelled) > 12 else ''}.{did_you_mean(str(at), spelled)}"
    )


def at_mask(mask: int) -> Find:
    """Finds masks of a text by their token id: `at` is the number of one from 0, or None where there is one."""

    def find(tokens: Tokens, at: At) -> Spot:
        masks = [token for token, found in enumerate(tokens.ids) if found == mask]
        if not masks:
            raise RecipeError(
                f"A word at a mask was asked for; the text {next(iter(tokens.fields.values()))!r:.40} has none. Write "
                "the mask of this model's tokenizer in it."
            )
        if at is None and len(masks) > 1:
            raise RecipeError(
                f"A word at a mask was asked for; the text has {len(masks)}. Say which, with at=0 to "
                f"at={len(masks) - 1}."
            )
        if at is not None and (not isinstance(at, int) or not 0 <= at < len(masks)):
            raise RecipeError(f"A word at mask {at!r} was asked for; the text has masks 0 to {len(masks) - 1}.")
        return Spot(masks[at or 0], "the mask" if len(masks) == 1 else f"mask {at}")

    return find
