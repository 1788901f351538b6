"""The tables of an audit, from the results of its units."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from saliently.audit.asked import RANDOM, Floats
from saliently.audit.invariance import by_origin
from saliently.audit.shortcuts import Reliance
from saliently.audit.units import METRICS, Work
from saliently.audit.verdict import Evidence
from saliently.metrics.intervals import counted_figure, mean_figure, mean_of, share_figure
from saliently.names import parse
from saliently.reports import Column, Figure, Table
from saliently.types import Explanation

ADDS_UP = 0.05
"""Share of the change that scores may miss and still be said to add up."""

_OWN = "the method's own"

_COMPREHENSIVENESS, _SUFFICIENCY = (metric.name for metric in METRICS)


def foreign(work: Work) -> list[str]:
    """The blanks that none of the methods was made with, since a method is favoured by its own, and gains by different
    blanks can't be compared; all, where none is left."""
    made = [parse(method) for method in work.asked.methods]
    own = {blank for method in made for blank in (method.blanks or (("zero",) if by_origin(method) else ()))}
    return [blank for blank in work.depth.blanks if blank not in own] or list(work.depth.blanks)


def over_random(work: Work, method: str, metric: str, sign: float) -> Floats:
    """(N,) how much better than a random order: the mean over the foreign blanks."""
    gains = [
        sign * (work.erased(blank, metric, method, "values") - work.erased(blank, metric, method, "control"))
        for blank in foreign(work)
    ]
    return _mean(gains)


def evidence(work: Work) -> dict[str, Evidence]:
    """What speaks for each method."""
    return {
        method: Evidence(
            np.concatenate([work.planted(cue, method, "precision") for cue in work.depth.cues]),
            over_random(work, method, _COMPREHENSIVENESS, 1.0),
            work.again("scramble", method),
        )
        for method in work.asked.methods
    }


def main_table(work: Work, order: tuple[str, ...], marks: Mapping[str, str]) -> Table:
    """Methods by what was measured of them."""
    columns = _columns(work)
    rows: dict[str, tuple[Figure | None, ...]] = {method: _row(work, method) for method in order}
    seed = work.asked.seed
    chance = [share_figure(work.planted(cue, RANDOM, "precision"), seed) for cue in work.depth.cues]
    rows[RANDOM] = (*chance, *[None] * (len(columns) - len(chance)))
    notes = (
        "Sorted by the share of planted words found, then by the gain at erasure. An interval is 95 %, by bootstrap "
        "over texts. Marked methods are as good as the best at finding cues, better than a random order at erasure, "
        "and change with the weights; those marked best can't be told apart by their gains either, by paired "
        "differences.",
    )
    return Table("Methods", columns, rows, {**marks, RANDOM: "control"}, notes)


def _columns(work: Work) -> tuple[Column, ...]:
    cues = work.depth.cues
    found = [
        Column(f"finds {cue}", f"share of the k strongest words that were planted ({cue})", "higher") for cue in cues
    ]
    gain = "comprehensiveness over a random order's, by blanks that no method here was made with, if there are some"
    keeping = "how much smaller than a random order's the drop is when its words alone are left"
    moved = "largest change of its scores when word vectors move a little, over their size"
    return (
        *found,
        Column("erasure: gain", gain, "higher", "probability"),
        Column("keeping: gain", keeping, "higher", "probability"),
        Column("scrambled", "rank correlation with its scores on the model with scrambled weights", "lower"),
        Column("adds up", f"share of texts whose scores sum to the change within {ADDS_UP:.0%}", "higher"),
        Column("max-sensitivity", moved, "lower"),
        Column("cost", "passes a text; a backward pass counts as two", "lower", "passes"),
    )


def blank_table(work: Work, metric: str, order: tuple[str, ...]) -> Table:
    """Methods, with the blank that each was made with, by the blank that the metric takes words away with."""
    better = next(each for each in METRICS if each.name == metric)
    said = {blank: "deleted" if blank == "delete" else f"replaced by {blank}" for blank in work.depth.blanks}
    columns = tuple(
        Column(f"by {blank}", f"{better.said}; words are {how}", better.better, "probability")
        for blank, how in said.items()
    )
    seed, first = work.asked.seed, work.asked.methods[0]
    rows = {
        method: tuple(
            mean_figure(work.erased(blank, metric, method, "values"), seed, blank) for blank in work.depth.blanks
        )
        for method in order
    }
    rows[RANDOM] = tuple(
        mean_figure(work.erased(blank, metric, first, "control"), seed, blank) for blank in work.depth.blanks
    )
    own = {method: f"made with {', '.join(parse(method).blanks or ())}" for method in order if parse(method).blanks}
    notes = ("A method is favoured by the blank that it was made with; compare rows within the other columns.",)
    return Table(f"{metric.capitalize()}, by blank", columns, rows, {**own, RANDOM: "control"}, notes)


def copies_table(reliances: Mapping[str, Reliance]) -> Table:
    """Whether the taught copies rely on what was planted."""
    columns = (
        Column("with cue", "texts kept out, with the cue: predicted as it says", "higher"),
        Column("without", "the same texts without it: predicted as it said; chance is 0.5 at most"),
        Column("decoys", "texts with words of the cue that decide nothing: predicted as before", "higher"),
        Column(
            "clean before", "clean texts predicted right by the model (as it does, where no label is known)", "higher"
        ),
        Column("clean after", "clean texts predicted so by the copy", "higher"),
    )
    rows = {
        name: tuple(
            None if value is None else counted_figure(value, each.n)
            for value in (each.planted, each.stripped, each.decoys, each.before, each.after)
        )
        for name, each in reliances.items()
    }
    return Table("Copies that were taught a cue", columns, rows)


def sorted_methods(found: Mapping[str, Evidence]) -> tuple[str, ...]:
    """Best first."""

    def key(method: str) -> tuple[float, float, str]:
        values = (found[method].found, found[method].over)
        return (-round(mean_of(values[0]), 9), -round(mean_of(values[1]), 9), method)

    return tuple(sorted(found, key=key))


def _row(work: Work, method: str) -> tuple[Figure | None, ...]:
    seed, explanations, blanks = work.asked.seed, work.explanations(method), ", ".join(foreign(work))
    gain = over_random(work, method, _COMPREHENSIVENESS, 1.0)
    keeping = over_random(work, method, _SUFFICIENCY, -1.0)
    return (
        *(share_figure(work.planted(cue, method, "precision"), seed) for cue in work.depth.cues),
        mean_figure(gain, seed, blanks),
        mean_figure(keeping, seed, blanks),
        mean_figure(work.again("scramble", method), seed),
        share_figure(np.array([_adds_up(each) for each in explanations]), seed, _OWN),
        mean_figure(work.again("move", method), seed),
        mean_figure(np.array([_passes(each) for each in explanations]), seed),
    )


def _adds_up(explanation: Explanation | None) -> float:
    """1 or 0; NaN where a method promises no sum, or asked for none."""
    if explanation is None or explanation.checks.total is None or explanation.checks.change is None:
        return float("nan")
    total, change = explanation.checks.total, explanation.checks.change
    return float(abs(total - change) <= ADDS_UP * abs(change))


def _passes(explanation: Explanation | None) -> float:
    if explanation is None:
        return float("nan")
    return explanation.checks.forward_rows + 3.0 * explanation.checks.gradient_rows


def _mean(values: list[Floats]) -> Floats:
    stacked = np.stack(values)
    known = ~np.isnan(stacked)
    return np.where(known.any(0), np.where(known, stacked, 0.0).sum(0) / np.maximum(known.sum(0), 1), np.nan)
