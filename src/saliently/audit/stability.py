"""Stability: do scores jump where word vectors hardly move?

Max-sensitivity of Yeh et al. 2019 (Eq. 5) for several sizes of the move, beside how far the model itself moved: scores
that follow a model which jumps are not to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import NamedTuple

import numpy as np

from saliently.audit.asked import WHOM, Asked, Floats, applicable, explained
from saliently.audit.moved import Moved, Moves, max_sensitivity
from saliently.audit.phrases import listed, with_interval
from saliently.data import Row, first
from saliently.metrics.intervals import as_good_as_best, mean_figure, mean_of
from saliently.metrics.ranked import Ranked
from saliently.reports import Column, Figure, Report, Table, timed
from saliently.types import Explanation

TEXTS = 50
"""Texts that are looked at, of more that are given."""
RADII = (0.03, 0.1, 0.3)
"""How far word vectors move, in standard deviations of the entries of their table."""
_USUAL = RADII[1]
"""The radius that methods are compared by."""
_DRAWS = 5

LIMITS = (
    "Scores that never move may be wrong every time. Where the model itself jumps, faithful scores jump with it.",
    "Word vectors are moved to places where no word is; the model has never seen them.",
    "All of it is about this model on texts like these.",
)


class _Found(NamedTuple):
    """Of one method. Attributes: moves, by radius; dealt, (N,) the change of scores that are dealt out anew."""

    moves: Mapping[float, Moved]
    dealt: Floats


@timed
def stability(
    asked: Asked, rows: Sequence[Row], most: int = TEXTS, told: Callable[[str], None] = lambda said: None
) -> Report:
    """How far each method's scores move when word vectors move a little.

    Args:
        most: texts that are looked at, drawn from `rows`.

    Raises:
        RecipeError: no texts, or no such method. ModelError: no method can be asked, or the vocabulary of the embedding
            can't be listed.
    """
    able, skipped = applicable(asked, first(rows, "Moving word vectors"))
    some = Random(asked.seed).sample(list(rows), min(len(rows), most))
    found: dict[str, _Found] = {}
    for method in able.methods:
        told(f"{method}: {len(some)} texts, as they are and moved {_DRAWS} times by {len(RADII)} radii")
        before = explained(able, method, some)
        moves = {radius: max_sensitivity(able, method, some, Moves(_DRAWS, radius), before) for radius in RADII}
        found[method] = _Found(moves, np.array([_dealt_out(each, asked.seed) for each in before], np.float64))
    scores = {method: each.moves[_USUAL].scores for method, each in found.items()}
    best = as_good_as_best(scores, False, asked.seed)
    table = _table(found, best, asked.seed)
    notes = [f"{method} was left out: {why}" for method, why in skipped.items()]
    return Report(
        title=f"Stability of explanations of {asked.model.name}",
        question="How far do scores move when word vectors move a little?",
        whom=WHOM,
        verdict=_verdict(scores, best, asked.seed),
        settings={"model": asked.model.name, "texts": len(some), "radii": RADII, "draws": _DRAWS},
        seed=asked.seed,
        tables=(replace(table, notes=(*table.notes, *notes)),),
        limits=LIMITS,
    )


def _dealt_out(explanation: Explanation | None, seed: int) -> float:
    """The change of scores that are dealt out to the words anew: what a method gets that takes no notice of them."""
    if explanation is None:
        return float("nan")
    words = Ranked.of(explanation, seed)
    size = float(np.linalg.norm(words.scores))
    return float(np.linalg.norm(words.shuffled(0, seed).scores - words.scores)) / size if size else float("nan")


def _table(found: Mapping[str, _Found], best: Sequence[str], seed: int) -> Table:
    columns = [
        Column(
            f"moved by {radius}",
            f"largest change of the scores, over their size, of {_DRAWS} moves by {radius}",
            "lower",
        )
        for radius in RADII
    ]
    columns += [
        Column("dealt out", "the same for scores that are dealt out to the words anew: as if they were chance"),
        Column("the number", f"largest change of the number that is explained, in its units, moved by {_USUAL}"),
    ]
    rows: dict[str, tuple[Figure | None, ...]] = {
        method: tuple(
            mean_figure(values, seed)
            for values in (*(each.scores for each in one.moves.values()), one.dealt, one.moves[_USUAL].number)
        )
        for method, one in found.items()
    }
    order = sorted(rows, key=lambda method: mean_of(-found[method].moves[_USUAL].scores), reverse=True)
    said = (
        "Max-sensitivity of Yeh et al. 2019. Moves are in standard deviations of the entries of the embedding table; "
        "each entry of a word vector moves by no more.",
        f"Sorted, and best, by the scores moved by {_USUAL}; ties included, by paired differences.",
    )
    return Table("Change of the scores", tuple(columns), {m: rows[m] for m in order}, dict.fromkeys(best, "best"), said)


def _verdict(scores: Mapping[str, Floats], best: Sequence[str], seed: int) -> tuple[str, ...]:
    if not best:
        return ("No text could be explained, or none has scores other than 0.",)
    least, others = best[0], best[1:]
    known = [method for method, values in scores.items() if not np.isnan(values).all()]
    most = min(known, key=lambda method: mean_of(-scores[method]))
    tied = f"; not to be told from it: {listed(others)}" if others else ""
    said = (
        f"Where word vectors move by {_USUAL}, the scores of {least} move least, by "
        f"{with_interval(mean_figure(scores[least], seed))} of their size{tied}."
    )
    if most in best:
        return (said,)
    return (said, f"Those of {most} move most, by {with_interval(mean_figure(scores[most], seed))}.")
