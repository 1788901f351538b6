"""What an experiment found: figures with their intervals, in tables and lines, and what they can't tell. No torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, wraps
from importlib.metadata import version
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, ParamSpec

if TYPE_CHECKING:
    from pathlib import Path

Better = Literal["higher", "lower"] | None
"""Which way is good; None where neither is."""

P = ParamSpec("P")


@cache
def versions() -> Mapping[str, str]:
    """What numbers are computed with here."""
    return {name: version(name) for name in ("saliently", "torch", "transformers")}


@dataclass(frozen=True)
class Figure:
    """One number of a report.

    Attributes:
        value: the number, most often a mean over texts.
        low, high: its 95 % interval, by bootstrap over the texts; None where there is none to give.
        n: over how many texts (or pairs, or seeds).
        blank: what stood where words were taken away, or None if none were.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int = 0
    blank: str | None = None


@dataclass(frozen=True)
class Column:
    """One kind of figure. Attributes: name; said, what it means in one line; better; unit, "" for a bare number."""

    name: str
    said: str
    better: Better = None
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Rows by name, a figure a column; None where one does not apply.

    Attributes:
        rows: in the order in which they are shown, best first where there is an order.
        marks: a short word beside a row's name: "best", "control".
        notes: sentences below the table.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Mapping[str, tuple[Figure | None, ...]]
    marks: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lines:
    """Curves that share their axes: by name, points of x and a figure."""

    title: str
    x: str
    y: str
    curves: Mapping[str, tuple[tuple[float, Figure], ...]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """An experiment from its question to what it can't tell.

    Attributes:
        title: its name, "Planted shortcuts".
        question: what was asked.
        whom: for whom and for which goal the answer is.
        verdict: the answer in a sentence or two, with how sure it is.
        settings: everything that was chosen, as plain values: model, methods, sizes.
        seed: that all chance comes from.
        tables, lines: the figures.
        limits: what the figures can't tell.
        versions: of saliently, torch and transformers; by default those that are installed.
        seconds: what it took; the one thing that differs between two runs.
    """

    title: str
    question: str
    whom: str
    verdict: tuple[str, ...]
    settings: Mapping[str, Any]
    seed: int
    tables: tuple[Table, ...] = ()
    lines: tuple[Lines, ...] = ()
    limits: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=versions)
    seconds: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values; each figure with its n, seed, interval, blank and version."""
        from saliently.view.report_record import report_dict

        return report_dict(self)

    def show(self, width: int | None = None) -> None:
        """Print it to the terminal."""
        from saliently.view.report_text import show_report

        show_report(self, width)

    def save(self, path: str | Path) -> None:
        """Write `.html` (one file, no network) or `.json`, by the ending of the name.

        Raises:
            RecipeError: any other ending.
        """
        from saliently.view.files import save_report

        save_report(self, path)

    def _repr_html_(self) -> str:
        from saliently.view.report_page import report_fragment

        return report_fragment(self)


def timed(experiment: Callable[P, Report]) -> Callable[P, Report]:
    """The same function, whose report says how long it took."""

    @wraps(experiment)
    def run(*args: P.args, **named: P.kwargs) -> Report:
        begun = perf_counter()
        return replace(experiment(*args, **named), seconds=perf_counter() - begun)

    return run
