"""Why this response and not another: the difference of two explanations over the prompt that they share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from saliently.api import explain
from saliently.checks import Checks
from saliently.chunks import Options, Text
from saliently.errors import InputError, RecipeError, SomeFailed
from saliently.methods.base import Method
from saliently.models.base import Model
from saliently.models.loading import load
from saliently.names import parse
from saliently.types import Explanation, join_notes


def contrast(
    model: Model | str | Path,
    text: Mapping[str, Any],
    other: str,
    method: str | Method = "integrated-gradients",
    *,
    options: Options = Options(),
) -> Explanation:
    """How much did each word of a prompt speak for its response, rather than for another one?

    The explained number is the log-probability of the response less that of the other, in nats (contrastive, as Yin
    and Neubig 2022 ask it of single tokens). A word of the prompt, or of a source, gets the difference of what it added
    to each; a word of the response what it added to its own. What the other response's words added to theirs is in no
    score, and a note says how much that is.

    Args:
        model: a causal language model or an encoder-decoder, as for `explain`.
        text: its fields, with `response` (or `target`).
        other: the other response.
        method: a saliency method; differences of sensitivity or attention mean nothing.

    Raises:
        InputError: the fields have no response; the prompt reads as other tokens with the other response.
        RecipeError: the method measures no saliency.
        ModelError, NumberError: as `explain`.
    """
    asked, chosen = load(model) if isinstance(model, (str, Path)) else model, parse(method)
    fields = list(text) if isinstance(text, Mapping) else []
    name = next((each for each in ("response", "target") if each in fields), None)
    if name is None or not isinstance(other, str):
        raise InputError(
            f"A response and another were asked for; found the fields {', '.join(map(str, fields)) or 'none'}, and "
            f"{type(other).__name__} for the other. Give fields with a response (or target), and the other as text."
        )
    if chosen.quantity != "saliency":
        raise RecipeError(f"{chosen!r} was asked for the difference of two responses; give a saliency method.")
    try:
        texts: list[Text] = [dict(text), {**text, name: other}]
        ours, theirs = explain(asked, texts, chosen, options=options)
    except SomeFailed as error:
        raise next(iter(error.failures.values())) from None
    return _difference(ours, theirs)


def _difference(ours: Explanation, theirs: Explanation) -> Explanation:
    first = ours.tokens.response or 0
    if ours.tokens.ids[:first] != theirs.tokens.ids[:first]:
        raise InputError(
            "Two responses to one prompt were asked for; with the second the prompt reads as other tokens. Begin both "
            "responses with a space, or neither."
        )
    scores = ours.scores.copy()
    scores[:first] -= theirs.scores[:first]
    nothing = None
    if ours.nothing is not None and theirs.nothing is not None:
        nothing = (ours.nothing[0] - theirs.nothing[0],)
    value, apart = ours.values[0] - theirs.values[0], float(theirs.scores[first:].sum())
    note = f"The words of the other response added {apart:.4g} to its own number, which is in no score."
    return replace(
        ours,
        outputs=(replace(ours.target, against=theirs.target.label),),
        scores=scores,
        values=(value,),
        nothing=nothing,
        checks=_joined(ours.checks, theirs.checks, float(scores.sum()), nothing and value - nothing[0], note),
    )


def _joined(ours: Checks, theirs: Checks, total: float, change: float | None, note: str) -> Checks:
    """The checks of both: the worse gap, all rows, both lists of notes."""
    gaps = [each.gap for each in (ours, theirs) if each.gap is not None]
    return Checks(
        total=total,
        change=change,
        gap=max(gaps) if gaps else None,
        residual=None if ours.residual is None or theirs.residual is None else ours.residual - theirs.residual,
        tolerance=ours.tolerance,
        nodes=max(ours.nodes or 0, theirs.nodes or 0) or None,
        forward_rows=ours.forward_rows + theirs.forward_rows,
        gradient_rows=ours.gradient_rows + theirs.gradient_rows,
        ids=ours.ids,
        notes=join_notes((note,), ours.notes, theirs.notes),
    )
