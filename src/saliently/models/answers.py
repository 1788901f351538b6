"""Answers that stand in a context: the span that is asked for, given or predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from saliently.errors import RecipeError
from saliently.models.batch import Batch
from saliently.models.heads import Spot, Term
from saliently.types import Span, Target, Tokens

if TYPE_CHECKING:
    from saliently.models.base import Model

_START, _END = 0, 1
_LONGEST = 15
"""Most tokens of a predicted answer, as in the pipelines of transformers."""


def at_answer(model: Model, tokens: Tokens, target: Target, each: bool) -> tuple[Spot, ...]:
    """The logit of an answer's first token as the start, and of its last as the end, added up: `at` is the answer as it
    stands in the context, a slice of the context's characters, or None for the one that the model predicts.

    Raises:
        RecipeError: the context has no such answer, or has it several times; a label or another scale was named.
    """
    if each or target.label is not None or target.against is not None or target.of != "logit":
        raise RecipeError(
            "An answer was asked for; its number is the logit of its start and its end, and takes no label, no "
            "`against` and no other scale. Name the answer by at=."
        )
    inside = [i for i, span in enumerate(tokens.spans) if span is not None and span.field == "context"]
    best = _predicted(model, tokens, inside)
    first, last = best if target.at is None else _named(tokens, inside, target.at)
    start, end = (tokens.spans[i] or Span("context", 0, 0) for i in (first, last))
    said = f"the answer {tokens.fields['context'][start.start : end.end]!r}"
    return (Spot((Term(first, _START), Term(last, _END)), None, said, (first, last) == best),)


def _named(tokens: Tokens, inside: list[int], at: object) -> tuple[int, int]:
    """First and last token of an answer."""
    context = tokens.fields["context"]
    start, end = _characters(context, at)
    found = [i for i in inside if (span := tokens.spans[i]) and span.start < end and span.end > start]
    if not found:
        raise RecipeError(
            f"The answer {context[start:end]!r} was asked for, characters {start} to {end} of the context; no token "
            "that the model sees stands there."
        )
    last = tokens.spans[found[-1]]
    if tokens.truncated and last is not None and context[last.end : end].strip():
        raise RecipeError(
            f"The answer {context[start:end]!r} was asked for; the context was cut at character {last.end}, inside it. "
            "Shorten the context in another place."
        )
    return found[0], found[-1]


def _characters(context: str, at: object) -> tuple[int, int]:
    """Where an answer starts and ends in its context, without the spaces around it."""
    if isinstance(at, str):
        if not at or context.count(at) != 1:
            raise RecipeError(
                f"The answer {at!r} was asked for; the context has it {context.count(at) if at else 0} times. Give an "
                "answer as it stands there, or where: at=slice(start, end) of the context's characters."
            )
        start, end = context.index(at), context.index(at) + len(at)
    elif isinstance(at, slice) and at.step is None and all(isinstance(n, int | None) for n in (at.start, at.stop)):
        start, end, _ = at.indices(len(context))
    else:
        raise RecipeError(f"The answer {at!r} was asked for; give its text, or a slice of the context's characters.")
    inner = context[start:end]
    if not inner.strip():
        return start, end
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip())


def _predicted(model: Model, tokens: Tokens, inside: list[int]) -> tuple[int, int]:
    """First and last token of the span of the context with the largest sum of logits."""
    with model.resting(), torch.no_grad():
        batch = Batch.one(tokens, model.device)
        every = Batch.of(batch.ids, batch.kinds).wanting(torch.tensor([inside], device=model.device))
        start, end = model.run(every)[0].double().unbind(-1)
    sums = start[:, None] + end[None]
    fits = torch.ones_like(sums, dtype=torch.bool).triu().tril(_LONGEST - 1)
    best = int(sums.masked_fill(~fits, -torch.inf).argmax())
    return inside[best // len(inside)], inside[best % len(inside)]
