"""Heads that give an output at every place of a text: which place is asked for, and what it is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from saliently.errors import RecipeError, did_you_mean
from saliently.types import Target, Tokens

if TYPE_CHECKING:
    from saliently.models.base import Model


class Term(NamedTuple):
    """A number of a model's output. Attributes: token, at whose place it stands; label, which it is there, where that
    is no question (the next token of a response)."""

    token: int
    label: int | None = None


class Spot(NamedTuple):
    """What is read of a model's output: terms, which are added up.

    Attributes: terms; said, what the place is called in a sentence; label, what is explained, in the place of the
    term's own label.
    """

    terms: tuple[Term, ...]
    said: str | None = None
    label: str | None = None


class Find(Protocol):
    """Which places of an input's output the user's target means."""

    def __call__(self, model: Model, tokens: Tokens, target: Target, each: bool) -> Sequence[Spot]:
        """The place that `target.at` names; with `each`, all places, one after the other.

        Raises:
            RecipeError: the input has no such place.
        """
        ...


def at_word(model: Model, tokens: Tokens, target: Target, each: bool) -> tuple[Spot, ...]:
    """The first token of a word, as taggers take it: `at` is the word, or its number from 0.

    Raises:
        RecipeError: no word was named; there is no such word; there are several of that spelling.
    """
    first = {unit: token for token, unit in reversed(list(enumerate(tokens.units))) if unit is not None}
    words = [(tokens.text(tokens.parts[unit]), first[unit]) for unit in sorted(first)]
    spelled, at = [word for word, _ in words], target.at
    if each:
        return tuple(Spot((Term(token),), repr(word)) for word, token in words)
    if isinstance(at, int) and not isinstance(at, bool):
        if not 0 <= at < len(words):
            raise RecipeError(f"The tag of word {at} was asked for; the text has words 0 to {len(words) - 1}.")
        return (Spot((Term(words[at][1]),), repr(spelled[at])),)
    same = [i for i, word in enumerate(spelled) if word == at]
    if len(same) == 1:
        return (Spot((Term(words[same[0]][1]),), repr(at)),)
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

    def find(model: Model, tokens: Tokens, target: Target, each: bool) -> tuple[Spot, ...]:
        at = target.at
        masks = [token for token, found in enumerate(tokens.ids) if found == mask]
        if not masks:
            raise RecipeError(
                f"A word at a mask was asked for; the text {next(iter(tokens.fields.values()))!r:.40} has none. Write "
                "the mask of this model's tokenizer in it."
            )
        if each:
            return tuple(Spot((Term(token),), f"mask {n}") for n, token in enumerate(masks))
        if at is None and len(masks) > 1:
            raise RecipeError(
                f"A word at a mask was asked for; the text has {len(masks)}. Say which, with at=0 to "
                f"at={len(masks) - 1}."
            )
        if at is not None and (not isinstance(at, int) or not 0 <= at < len(masks)):
            raise RecipeError(f"A word at mask {at!r} was asked for; the text has masks 0 to {len(masks) - 1}.")
        return (Spot((Term(masks[at or 0]),), "the mask" if len(masks) == 1 else f"mask {at}"),)

    return find
