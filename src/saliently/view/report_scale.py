"""What figures that stand together have in common: how they are written, where they lie, over what they were taken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from statistics import median
from typing import Any

from saliently.reports import Column, Figure, Lines, Report, Table
from saliently.view.spell import MINUS, number

NONE = "-"  # where a figure does not apply
_CONTROLS = ("control", "random")


@dataclass(frozen=True)
class Scale:
    """One scale for a column of figures, or for all curves of a drawing.

    Attributes:
        low, high: the ends, from the lowest to the highest number in a value or an interval.
        decimals: with which all are written; None for numbers too large or too small for that.
        blanks: each one that there is, sorted; `no blank` where no words were taken away.
        fewest, most: n.
    """

    low: float
    high: float
    decimals: int | None
    blanks: tuple[str, ...] = ()
    fewest: int = 0
    most: int = 0

    @staticmethod
    def of(figures: Iterable[Figure | None]) -> Scale:
        """The scale on which all of these can be shown."""
        there = [figure for figure in figures if figure is not None]
        pairs = [pair for pair in map(interval, there) if pair is not None]
        values = [figure.value for figure in there if isfinite(figure.value)]
        numbers = [*values, *(end for pair in pairs for end in pair)] or [0.0]
        counts = [figure.n for figure in there] or [0]
        blanks = {figure.blank or "no blank" for figure in there}
        decimals = _decimals(values, [abs(high - low) for low, high in pairs])
        return Scale(min(numbers), max(numbers), decimals, tuple(sorted(blanks)), min(counts), max(counts))

    def share(self, value: float) -> float:
        """Where a number lies, from 0 (the low end) to 1; the middle where all are the same."""
        if self.high == self.low:
            return 0.5
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def number(self, value: float) -> str:
        """A number as all of its column are written."""
        if self.decimals is None or not isfinite(value):
            return number(value, signed=False)
        return f"{value:z.{self.decimals}f}".replace("-", MINUS)

    def interval(self, figure: Figure) -> str:
        """`"[0.79, 0.87]"`; empty where there is none."""
        pair = interval(figure)
        return f"[{self.number(pair[0])}, {self.number(pair[1])}]" if pair else ""

    def written(self, figure: Figure | None) -> str:
        """`"0.83 [0.79, 0.87]"`, and the blank where it is not that of the whole column."""
        if figure is None:
            return NONE
        return " ".join(said for said in (self.number(figure.value), self.interval(figure), self.own(figure)) if said)

    def own(self, figure: Figure) -> str:
        """The blank of a figure in a column that has several."""
        return figure.blank or "no blank" if len(self.blanks) > 1 else ""

    def facts(self) -> tuple[str, ...]:
        """`("blank: mask", "n = 200")`: what holds for all of them."""
        several = len(self.blanks) > 1
        blanks = f"blank{'s' * several}: {', '.join(self.blanks)}" if self.blanks != ("no blank",) else "no blank"
        count = f"n = {self.most}" if self.fewest == self.most else f"n = {self.fewest} to {self.most}"
        return (*((blanks,) if self.blanks else ()), *((count,) if self.most else ()))


def column_scales(table: Table) -> list[Scale]:
    """One for each column."""
    return [Scale.of(figures[i] for figures in table.rows.values()) for i in range(len(table.columns))]


def interval(figure: Figure) -> tuple[float, float] | None:
    """Both ends, if they are numbers."""
    if figure.low is None or figure.high is None or not (isfinite(figure.low) and isfinite(figure.high)):
        return None
    return figure.low, figure.high


def heading(column: Column) -> str:
    """`"time (s)"`."""
    return f"{column.name} ({column.unit})" if column.unit else column.name


def way(column: Column) -> str:
    """Which way is good."""
    return f"{column.better} is better" if column.better else "neither is better"


def is_control(mark: str) -> bool:
    """Does this mark stand beside a row that others are held against?"""
    return mark.lower() in _CONTROLS


def places(lines: Lines) -> tuple[float, ...]:
    """Each x that any curve has, in order."""
    return tuple(sorted({x for points in lines.curves.values() for x, _ in points}))


def head(report: Report) -> tuple[tuple[str, str], ...]:
    """What stands first: what was asked, for whom the answer is, and the first thing that it can't tell."""
    first = tuple(("can't tell", limit) for limit in report.limits[:1])
    return (("question", report.question), ("for", report.whom), *first)


def settings_facts(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and what was chosen, for a reader."""
    return tuple((str(name), said(settings[name])) for name in sorted(settings, key=str))


def said(value: Any) -> str:
    """A plain value for a reader: `("a", "b")` -> `"a, b"`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {said(item)}" for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(said, value)) or "none"
    return "none" if value is None else str(value)


def provenance(seed: int, versions: Mapping[str, str], seconds: float | None) -> str:
    """`"seed 0 · saliently 0.1.0, torch 2.13.0 · took 12 s"`."""
    named = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    took = "" if seconds is None else f"took {seconds:.0f} s" if seconds >= 10 else f"took {seconds:.1f} s"
    return " · ".join(part for part in (f"seed {seed}", named, took) if part)


def _decimals(values: list[float], widths: list[float]) -> int | None:
    """As many as the largest value needs to be told apart, and as the intervals allow to be told."""
    most = max(map(abs, values), default=0.0)
    if most == 0 or (not widths and all(value.is_integer() for value in map(float, values))):
        return 0 if not widths else 2
    if not 1e-4 <= most < 1e6:
        return None
    digits = max(0, (2 if most >= 1 else 1) - floor(log10(most)))
    typical = median(widths) if widths else 0.0
    return min(max(digits, ceil(-log10(typical))), digits + 2) if typical else digits
