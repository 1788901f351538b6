"""Word deletion as an experiment: how accuracy falls, or rises, while words go in a method's order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from saliently.audit.asked import WHOM, Asked, applicable, explained_for
from saliently.audit.phrases import with_interval
from saliently.data import Row, first, labels_of
from saliently.metrics.word_deletion import CONTROL, Deleting, check, word_deletion
from saliently.reports import Lines, Report, timed

LIMITS = (
    "A text without its words is a text that nobody wrote: accuracy may fall for want of a word, or because the text "
    "is odd. Read a curve against the random order.",
    "Only order counts here, not whether the scores are right.",
)


@timed
def deletion(asked: Asked, rows: Sequence[Row], deleting: Deleting = Deleting()) -> Report:
    """Accuracy after each deletion, by method, against a random order (Arras et al. 2016, 2017).

    Rows need labels; each text is explained for its label, whether it is predicted or not.

    Raises:
        RecipeError: a row has no label; no text is long enough. ModelError: no method can be asked.
    """
    check(asked.model, deleting)
    labels = labels_of(rows, "Word deletion")
    able, skipped = applicable(asked, first(rows, "Word deletion"))
    explained = {method: explained_for(able, method, rows, labels) for method in able.methods}
    found = word_deletion(asked.model, explained, labels, replace(deleting, seed=asked.seed, tick=asked.options.tick))
    notes = (
        *(f"{method} was left out: {why}" for method, why in skipped.items()),
        *(f"Text {at + 1} could not be asked about: {why}" for at, why in list(found.failures.items())[:3]),
    )
    return Report(
        title="Word deletion",
        question=f"How fast does {asked.model.name} lose what it got right, while words go in the order of a method?",
        whom=WHOM,
        verdict=tuple(_sentence(lines) for lines in found.lines),
        settings={
            "model": asked.model.name,
            "methods": list(able.methods),
            "texts": len(rows),
            "deletions": deleting.most,
            "blank": deleting.blank,
            "controls": deleting.controls,
        },
        seed=asked.seed,
        lines=tuple(replace(lines, notes=(*lines.notes, *notes)) for lines in found.lines),
        limits=LIMITS,
    )


def _sentence(lines: Lines) -> str:
    """Which method's last point is farthest on, and where chance stands."""
    falls = "right" in lines.title
    last = {name: curve[-1][1] for name, curve in lines.curves.items() if curve}
    order = sorted((name for name in last if name != CONTROL), key=lambda name: last[name].value, reverse=not falls)
    best, chance = last[order[0]], last.get(CONTROL)
    against = "" if chance is None else f", in a random order {with_interval(chance)}"
    return (
        f"Of texts that are {'right' if falls else 'wrong'} at first, {with_interval(best)} are "
        f"right after the last deletion by {order[0]}{against} ({best.n} texts)."
    )
