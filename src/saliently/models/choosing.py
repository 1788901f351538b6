"""A context and several choices: each choice is read with the context, whose tokens are the same for all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from saliently.errors import InputError
from saliently.models.reading import TokenizerReader
from saliently.types import Tokens, join_notes
from saliently.units import group

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
        choices = fields["choices"]
        if not isinstance(choices, (list, tuple)) or not 2 <= len(choices) <= MOST_CHOICES:
            raise InputError(f"Choices were asked for; give a list of 2 to {MOST_CHOICES} texts, one for each.")
        names = [f"choice {k}" for k in range(len(choices))]
        pairs = [
            replace(self.text, takes=(("context", name),))({"context": fields["context"], name: choice}, truncate)
            for name, choice in zip(names, choices, strict=True)
        ]
        shared = next(i for i, span in enumerate(pairs[0].spans) if span is not None and span.field == names[0])
        if any(pair.ids[:shared] != pairs[0].ids[:shared] for pair in pairs):
            raise InputError(
                "A context and choices were given; with one choice the context is read in other tokens than with "
                "another. Shorten the texts so that nothing has to be cut."
            )
        apart = [pair.ids[shared:] for pair in pairs]
        starts = [shared, *(shared + sum(map(len, apart[:k])) for k in range(1, len(apart)))]
        streams = [(*range(shared), *range(at, at + len(ids))) for at, ids in zip(starts, apart, strict=True)]
        first = pairs[0]
        ids = [*first.ids[:shared], *chain(*apart)]
        pieces = [*first.pieces[:shared], *chain(*(pair.pieces[shared:] for pair in pairs))]
        spans = [*first.spans[:shared], *chain(*(pair.spans[shared:] for pair in pairs))]
        kinds = [*first.kinds[:shared], *chain(*(pair.kinds[shared:] for pair in pairs))]
        tokens = group({"context": fields["context"], **dict(zip(names, choices, strict=True))}, ids, pieces, spans)
        notes = join_notes(*(pair.notes for pair in pairs))
        return replace(tokens, kinds=tuple(kinds), notes=notes, streams=tuple(streams))
