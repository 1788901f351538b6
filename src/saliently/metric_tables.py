"""What one metric gave of several methods: a table, best first, and a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from saliently.metrics.base import Metric
from saliently.metrics.intervals import as_good_as_best, mean_figure, paired_figure
from saliently.metrics.measure import Measured
from saliently.reports import Column, Figure, Table
from saliently.types import Explanation

CONTROL = "random order"
_ROUNDING = 1e-9
"""Gains of this size are rounding."""

Explained = Mapping[str, Sequence[Explanation | None]]
"""By method, explanations of the same texts in the same order; None where one failed."""
Row = tuple[Figure | None, ...]


def metric_table(found: Measured, metric: Metric, explained: Explained, blanks: Sequence[str], seed: int) -> Table:
    """A row a method, best first, and for each blank a column; where there is a control, one for the gain over it."""
    rows = {method: _row(found, metric, blanks, method, seed) for method in explained}
    order = sorted(rows, key=lambda method: -_worth(metric, rows[method]))
    ordered: dict[str, Row] = {method: rows[method] for method in order}
    if metric.ranks:
        controls = [mean_figure(found.control[repr(metric), blank, order[0]], seed, blank) for blank in blanks]
        ordered[CONTROL] = tuple(figure for control in controls for figure in (control, None))
    values = {method: found.values[repr(metric), blanks[0], method] for method in explained}
    alike = metric.comparable or len({kind for each in explained.values() for kind in _kinds(each)}) == 1
    best = as_good_as_best(values, metric.better == "higher", seed) if alike else ()
    notes = (*_notes(metric, blanks[0], best, alike), *_missing(values, explained), *_failures(found))
    marks = {**dict.fromkeys(best, "best"), **({CONTROL: "control"} if metric.ranks else {})}
    return Table(repr(metric), tuple(_columns(metric, blanks)), ordered, marks, notes)


def sentence(table: Table, metric: Metric) -> str:
    """Who is best, and how many do better than their control; by the first blank."""
    blank = table.columns[0].name
    best = [method for method, mark in table.marks.items() if mark == "best" and method in table.rows]
    if not best:
        return f"By {metric.name} no method is best (blank: {blank}); the notes below its table say why."
    said = f"By {metric.name}, {', '.join(best)} {'is' if len(best) == 1 else 'are'} best"
    if not metric.controlled:
        return f"{said} (blank: {blank})."
    methods = [method for method in table.rows if method != CONTROL]
    gains = [table.rows[method][1] for method in methods]
    beaten = sum(gain is not None and gain.low is not None and gain.low > _ROUNDING for gain in gains)
    control = "a random order" if metric.ranks else "their own scores on shuffled words"
    return f"{said}; {beaten} of {len(methods)} methods beat {control} (blank: {blank})."


def _columns(metric: Metric, blanks: Sequence[str]) -> list[Column]:
    columns = []
    for blank in blanks:
        how = "deleted" if blank == "delete" else f"replaced by {blank}"
        columns.append(Column(blank, f"{metric.said}; words are {how}", metric.better))
        if metric.controlled:
            columns.append(Column(f"{blank}: gain", "how much better than its control, paired over texts", "higher"))
    return columns


def _row(found: Measured, metric: Metric, blanks: Sequence[str], method: str, seed: int) -> Row:
    sign, figures = _sign(metric), list[Figure | None]()
    for blank in blanks:
        key = repr(metric), blank, method
        values, control = found.values[key], found.control[key]
        figures.append(mean_figure(values, seed, blank))
        if metric.controlled:
            figures.append(paired_figure(sign * values, sign * control, seed, blank))
    return tuple(figures)


def _worth(metric: Metric, row: Row) -> float:
    """What rows are sorted by: the mean gain over the control that all have; without one, the mean value, since the
    worst method may gain most over its own shuffled scores."""
    figures, sign = (row[1::2], 1.0) if metric.ranks else (row[:: 2 if metric.controlled else 1], _sign(metric))
    known = [sign * figure.value for figure in figures if figure is not None]
    return float(np.mean(known)) if known else -np.inf


def _sign(metric: Metric) -> float:
    return 1.0 if metric.better == "higher" else -1.0


def _kinds(explanations: Sequence[Explanation | None]) -> set[tuple[str, bool]]:
    """Kinds of number that were explained."""
    return {(each.target.of, each.target.against is not None) for each in explanations if each is not None}


def _notes(metric: Metric, blank: str, best: Sequence[str], alike: bool) -> list[str]:
    notes = [f"Best by {blank}, ties included, by paired differences."] if best else []
    if not alike:
        notes.append("The methods explain different numbers, in whose units this is; so none is said to be best.")
    if metric.controlled and not metric.ranks:
        notes.append("The control of each method is its own scores on shuffled words.")
    return notes


def _missing(values: Mapping[str, NDArray[np.float64]], explained: Explained) -> list[str]:
    """Of which texts there are explanations and no number."""
    notes = []
    for method, each in values.items():
        there = np.array([one is not None for one in explained[method]])
        missing = int((there & np.isnan(each)).sum())
        if missing:
            notes.append(f"{method}: for {missing} of {int(there.sum())} texts there is no such number.")
    return notes


def _failures(found: Measured) -> list[str]:
    some = list(found.failures.items())[:3]
    return [f"Text {at + 1} could not be asked about: {error}" for at, error in some]
