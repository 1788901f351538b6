"""A report in a terminal: the verdict first, figures with their intervals, and what they can't tell last."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.console import Console

from saliently.reports import Figure, Lines, Report, Table
from saliently.view.nodes import Document, Facts, Items, Part, sentence
from saliently.view.report_grid import Grid, Row
from saliently.view.report_scale import Scale, column_scales, head, heading, places, provenance, settings_facts, way
from saliently.view.spell import flat
from saliently.view.text import print_document, render_document

WIDEST = 120  # tables of figures use more columns than prose does


def show_report(report: Report, width: int | None = None) -> None:
    """Print to the terminal, in colour where it has colour."""
    wide = width or min(WIDEST, Console(file=sys.stdout, force_jupyter=False).width)
    print_document(report_parts(report, wide), wide)


def render_report(report: Report, width: int = 80, color: bool = False) -> str:
    """What `show_report` prints at this width."""
    return render_document(report_parts(report, width), width, color)


def report_parts(report: Report, width: int) -> Document:
    """Everything a reader should see, with tables cut to so many columns of a terminal."""
    asked = _facts(head(report))
    parts: list[Part] = [sentence(flat(report.title), "heading"), asked]
    parts += [sentence(flat(said), "question") for said in report.verdict]
    for table in report.tables:
        parts += _table(table, width)
    for lines in report.lines:
        parts += _lines(lines, width)
    settings = settings_facts(report.settings)
    if settings:
        parts += [sentence("Settings", "heading"), _facts(settings)]
    parts.append(sentence(provenance(report.seed, report.versions, report.seconds), "small"))
    if report.limits:
        parts += [sentence("What this can't tell", "heading"), Items(report.limits)]
    return Document(tuple(parts))


def _table(table: Table, width: int) -> Iterator[Part]:
    scales = column_scales(table)
    rows = [
        Row(flat(name), flat(table.marks[name]) if name in table.marks else "", _written(scales, figures))
        for name, figures in table.rows.items()
    ]
    yield sentence(flat(table.title), "heading")
    yield _grid("", [heading(column) for column in table.columns], rows, width)
    facts = [scale.facts() for scale in scales]
    alike = all(each == facts[0] for each in facts)
    explained = [
        (column.name, "; ".join((column.said, way(column), *(() if alike else each))))
        for column, each in zip(table.columns, facts, strict=True)
    ]
    common = facts[0] if facts and alike else ()
    yield _facts([*explained, ("figures", "; ".join(("value [95 % interval]", *common)))])
    yield from _notes(table.notes)


def _lines(lines: Lines, width: int) -> Iterator[Part]:
    """The points of all curves as a table, x down."""
    scale = Scale.of(figure for points in lines.curves.values() for _, figure in points)
    curves = [dict(points) for points in lines.curves.values()]
    rows = [Row(f"{x:g}", "", tuple(scale.written(curve.get(x)) for curve in curves)) for x in places(lines)]
    yield sentence(flat(lines.title), "heading")
    yield _grid("x", list(lines.curves), rows, width)
    yield _facts([("x", lines.x), ("figures", "; ".join((lines.y, "value [95 % interval]", *scale.facts())))])
    yield from _notes(lines.notes)


def _written(scales: Sequence[Scale], figures: Sequence[Figure | None]) -> tuple[str, ...]:
    return tuple(scale.written(figure) for scale, figure in zip(scales, figures, strict=True))


def _grid(corner: str, heads: Sequence[str], rows: Sequence[Row], width: int) -> Part:
    return sentence("\n".join(Grid(corner, tuple(map(flat, heads)), tuple(rows)).lines(width)))


def _facts(rows: Sequence[tuple[str, str]]) -> Facts:
    return Facts(tuple((flat(name), flat(said)) for name, said in rows))


def _notes(notes: Sequence[str]) -> Iterator[Part]:
    if notes:
        yield Items(tuple(notes))
