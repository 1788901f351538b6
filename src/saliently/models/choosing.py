"""A context and several choices: each choice is read with the context, whose tokens are the same for all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from saliently.errors import InputError, RecipeError
from saliently.models.heads import Spot, Term
from saliently.models.reading import TokenizerReader
from saliently.types import Target, Tokens, join_notes
from saliently.units import group

if TYPE_CHECKING:
    from saliently.models.base import Model

MOST_CHOICES = 26
"""Most choices that a question may have."""


@dataclass(frozen=True, eq=False)
class ChoiceReader:
    """Reads a context and a list of choices, each as a pair of texts as the tokenizer joins them."""

    text: TokenizerReader

    def __call__(self, fields: Mapping[str, Any], truncate: bool) -> Tokens:
        """Tokens of the fields `context` and `choices`, the context's once; a stream for each choice.

        Raises:
            InputError: other fields; fewer than two choices; no text; longer than the model takes, and not `truncate`.
        """
        if set(fields) != {"context", "choices"}:
            raise InputError(
                f"Fields {', '.join(fields) or 'none'} were given; this model reads context and choices, a list."
            )
        context, choices = fields["context"], fields["choices"]
        if not isinstance(choices, (list, tuple)) or not 2 <= len(choices) <= MOST_CHOICES:
            many = f"a list of {len(choices)}" if isinstance(choices, (list, tuple)) else f"{choices!r:.40}"
            raise InputError(f"Choices were asked for; found {many}. Give a list of 2 to {MOST_CHOICES} texts.")
        names = [f"choice {k}" for k in range(len(choices))]
        pairs = [
            replace(self.text, takes=(("context", name),))({"context": context, name: choice}, truncate)
            for name, choice in zip(names, choices, strict=True)
        ]
        shared = next(i for i, span in enumerate(pairs[0].spans) if span is not None and span.field == names[0])
        if any(pair.ids[:shared] != pairs[0].ids[:shared] or len(pair.ids) == shared for pair in pairs):
            raise InputError(
                "A context and choices were given; with one choice the context is read in other tokens than with "
                "another. Shorten the texts so that nothing has to be cut."
            )
        return _joined(shared, pairs, {"context": context, **dict(zip(names, choices, strict=True))})


def _joined(shared: int, pairs: Sequence[Tokens], fields: Mapping[str, str]) -> Tokens:
    """The first tokens, which all pairs share, once; then what is left of each."""
    first, apart = pairs[0], [len(pair.ids) - shared for pair in pairs]
    starts = [shared + sum(apart[:k]) for k in range(len(apart))]
    cut = max((pair.truncated for pair in pairs if pair.truncated), default=None)
    tokens = group(
        fields,
        [*first.ids[:shared], *chain(*(pair.ids[shared:] for pair in pairs))],
        [*first.pieces[:shared], *chain(*(pair.pieces[shared:] for pair in pairs))],
        [*first.spans[:shared], *chain(*(pair.spans[shared:] for pair in pairs))],
    )
    return replace(
        tokens,
        kinds=(*first.kinds[:shared], *chain(*(pair.kinds[shared:] for pair in pairs))),
        notes=join_notes(*(pair.notes for pair in pairs)),
        truncated=cut,
        streams=tuple((*range(shared), *range(at, at + many)) for at, many in zip(starts, apart, strict=True)),
    )


def at_choice(model: Model, tokens: Tokens, target: Target, each: bool) -> tuple[Spot, ...]:
    """The choice that the target's label names, or the predicted one; with `each`, all of a question.

    Raises:
        RecipeError: the question has not that choice; a place was named.
    """
    many = len(tokens.streams)
    asked = {name: _number(label) for name, label in (("label", target.label), ("against", target.against))}
    if target.at is not None:
        raise RecipeError(
            f"A place {target.at!r} was asked for; a question with choices has none. Name the choice as the label."
        )
    if missing := [k for k in asked.values() if k is not None and k >= many]:
        raise RecipeError(
            f"Choice {missing[0]} was asked for; this question has choices 0 to {many - 1}. Name one of them."
        )
    if not each:
        return (Spot((Term(0),)),)
    if target.label is not None:
        raise RecipeError(f"Each choice was asked for, and choice {target.label!r} as well. Leave the label out.")
    return tuple(Spot((Term(0, k),)) for k in range(many) if k != asked["against"])


def _number(label: str | int | None) -> int | None:
    """`"choice 2"`, `"2"` or 2 as 2; None where no choice is named."""
    spelled = str(label).lower().removeprefix("choice ")
    return int(spelled) if spelled.isdecimal() else None
