"""Heads that give an output at every place of a text: which place is asked for, and what it is called."""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import TYPE_CHECKING, NamedTuple, Protocol

from saliently.errors import RecipeError, did_you_mean
from saliently.types import Target, Tokens
from saliently.units import group

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
    term's own label; predicted, is it what the model predicts? None where each term tells by itself.
    """

    terms: tuple[Term, ...]
    said: str | None = None
    label: str | None = None
    predicted: bool | None = None


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
    plain = group(tokens.fields, tokens.ids, tokens.pieces, tokens.spans)  # words, whatever units are scored
    first = {unit: token for token, unit in reversed(list(enumerate(plain.units))) if unit is not None}
    words = [(plain.text(plain.parts[unit]), first[unit]) for unit in sorted(first)]
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


def at_response(model: Model, tokens: Tokens, target: Target, each: bool) -> tuple[Spot, ...]:
    """Tokens of a response, each read at the place before it: `at` is the number of one, a slice of numbers, a part of
    the text, or None for the whole response. One token may be asked for another label than the one that stands there.

    Raises:
        RecipeError: there are no such tokens; they are several and a label or a probability was named.
    """
    first = tokens.response or 0
    every = range(len(tokens.ids) - first)
    numbers = every if each or target.at is None else sorted(_numbers(tokens, first, target.at))
    if not numbers:
        raise RecipeError(
            f"Tokens {target.at!r} of the response were asked for; it has tokens 0 to {len(every) - 1}. Name one of "
            "them, or leave `at` out."
        )
    if len(numbers) > 1 and not each:
        _check_several(target, len(numbers))
    spots = [_next(model, tokens, n, target) for n in numbers]
    if each or len(spots) == 1:
        return tuple(spots)
    together = list(numbers) == list(every[numbers[0] : numbers[-1] + 1])
    runs = [(numbers[0], numbers[-1] + 1)] if together else [(n, n + 1) for n in numbers]
    said = ", ".join(repr(tokens.response_text(*run)) for run in runs)
    return (Spot(tuple(spot.terms[0] for spot in spots), None, said),)


def _check_several(target: Target, many: int) -> None:
    """Raise RecipeError for a question that is one of a single token."""
    named = target.against if target.label is None else target.label
    if named is not None:
        what = f"A target against {named!r}" if target.label is None else f"{named!r}"
        raise RecipeError(
            f"{what} was asked for at {many} tokens of the response; a label is of one token. Say which, with at= and "
            "its number."
        )
    if target.of == "probability":
        raise RecipeError(
            f"The probability of {many} tokens of the response was asked for; those of single tokens would have to be "
            "multiplied, which is no sum of parts. Ask for the log-probability, or for one token with at=."
        )


def _next(model: Model, tokens: Tokens, n: int, target: Target) -> Spot:
    """Token n of a response; of another label, if one was named."""
    at = (tokens.response or 0) + n
    said = f"token {n}"
    if target.label is not None:
        return Spot((Term(at - 1, None),), said)
    label = tokens.response_text(n, n + 1)
    if target.against is not None and target.against in (tokens.ids[at], model.labels[tokens.ids[at]]):
        raise RecipeError(f"{label!r} against itself was asked for at {said}; that is always 0. Name another token.")
    return Spot((Term(at - 1, tokens.ids[at]),), said, repr(label))


def _numbers(tokens: Tokens, first: int, at: object) -> Sequence[int]:
    """Numbers of the tokens of a response that `at` means."""
    every = range(len(tokens.ids) - first)
    if isinstance(at, str):
        spans = tokens.spans[first:]
        field = next((span.field for span in spans if span is not None), None)
        text = "" if field is None else tokens.fields[field]
        starts = [i for i in range(len(text)) if text.startswith(at, i)]
        if len(starts) != 1:
            raise RecipeError(
                f"{at!r} was asked for in the response {text!r:.60}, which has it {len(starts)} times. Give a part "
                "that it has once, or numbers of tokens."
            )
        end = starts[0] + len(at)
        return [n for n in every if (s := spans[n]) is not None and s.start < end and s.end > starts[0]]
    try:
        found = every[at] if isinstance(at, slice) else [every[index(at)]]  # type: ignore[arg-type]
    except (TypeError, IndexError, ValueError):  # no numbers, or none of these
        return []
    return [] if isinstance(at, bool) else found
