"""A report as plain JSON values, and back; each figure carries all that it takes to quote it alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from math import isfinite, nan
from pathlib import Path
from typing import Any

from saliently.errors import InputError
from saliently.reports import Better, Column, Figure, Lines, Report, Table
from saliently.view.reading import Entry

FORMAT = 1
_BETTER: tuple[Better, ...] = ("higher", "lower")


def report_dict(report: Report) -> dict[str, Any]:
    """Everything as plain JSON values; NaN and infinity become null. The same report gives the same, in one order."""
    return {
        "format": FORMAT,
        "title": report.title,
        "question": report.question,
        "whom": report.whom,
        "verdict": list(report.verdict),
        "settings": _plain(report.settings),
        "seed": report.seed,
        "tables": [_table(table, report) for table in report.tables],
        "lines": [_lines(lines, report) for lines in report.lines],
        "limits": list(report.limits),
        "versions": _plain(report.versions),
        "seconds": _number(report.seconds),
    }


def dumps_report(report: Report) -> str:
    """A report as JSON text."""
    return json.dumps(report_dict(report), ensure_ascii=False, allow_nan=False, indent=1)


def report_from_dict(record: Mapping[str, Any]) -> Report:
    """The report that `report_dict` wrote; lists within its settings come back as tuples, a null value as NaN.

    Raises:
        InputError: this is no such record, or it was changed so that it does not fit together.
    """
    try:
        return _read_report(Entry("the record", record))
    except InputError as error:
        # What reads records speaks of explanations.
        said = str(error).replace("An explanation", "A report").replace("Explanation.save", "Report.save")
        raise InputError(said) from None


def load_report(path: str | Path) -> Report:
    """Read the `.json` that `Report.save` wrote.

    Raises:
        InputError: the file can't be read, or holds something else.
    """
    try:
        record = json.loads(Path(path).read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise InputError(f"A report was to be read from {str(path)!r}; that failed: {error.strerror}.") from None
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"A report was to be read from {str(path)!r}, which is not JSON ({error}). "
            "Give a .json file that Report.save wrote."
        ) from None
    try:
        return report_from_dict(record)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _plain(value: Any) -> Any:
    """Mappings by name, sequences as lists; what JSON has no word for, such as a path, as text."""
    if isinstance(value, Mapping):
        return {str(name): _plain(value[name]) for name in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [_plain(item) for item in sorted(value, key=str)]
    if isinstance(value, float):
        return _number(value)
    return value if value is None or isinstance(value, (str, int)) else str(value)


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and isfinite(value) else None


def _table(table: Table, report: Report) -> dict[str, Any]:
    columns = [
        {"name": column.name, "said": column.said, "better": column.better, "unit": column.unit}
        for column in table.columns
    ]
    rows = [
        {"name": name, "figures": [figure and _figure(figure, report) for figure in figures]}
        for name, figures in table.rows.items()
    ]
    return {
        "title": table.title,
        "columns": columns,
        "rows": rows,
        "marks": _plain(table.marks),
        "notes": list(table.notes),
    }


def _lines(lines: Lines, report: Report) -> dict[str, Any]:
    curves = [
        {"name": name, "points": [{"x": _number(x), "figure": _figure(figure, report)} for x, figure in points]}
        for name, points in lines.curves.items()
    ]
    return {"title": lines.title, "x": lines.x, "y": lines.y, "curves": curves, "notes": list(lines.notes)}


def _figure(figure: Figure, report: Report) -> dict[str, Any]:
    return {
        "value": _number(figure.value),
        "low": _number(figure.low),
        "high": _number(figure.high),
        "n": int(figure.n),
        "blank": figure.blank,
        "seed": report.seed,
        "version": report.versions.get("saliently") or version("saliently"),
    }


def _read_report(top: Entry) -> Report:
    found = top.at("format").value
    if type(found) is not int or found != FORMAT:
        raise InputError(
            f"A report of format {FORMAT} was expected, this one is of format {found!r}. Read it with the version "
            "of saliently that wrote it."
        )
    return Report(
        title=top.at("title").text(),
        question=top.at("question").text(),
        whom=top.at("whom").text(),
        verdict=_texts(top.at("verdict")),
        settings={name: _settled(top.at("settings").at(name).value) for name in top.at("settings").keys()},
        seed=top.at("seed").whole(),
        tables=tuple(map(_read_table, top.at("tables").each())),
        lines=tuple(map(_read_lines, top.at("lines").each())),
        limits=_texts(top.at("limits")),
        versions=_words(top.at("versions")),
        seconds=top.at("seconds").maybe(Entry.number),
    )


def _read_table(entry: Entry) -> Table:
    columns = tuple(map(_read_column, entry.at("columns").each()))
    rows: dict[str, tuple[Figure | None, ...]] = {}
    for row in entry.at("rows").each():
        figures = tuple(each.maybe(_read_figure) for each in row.at("figures").each())
        if len(figures) != len(columns):
            raise InputError(
                f"{row.where} has {len(figures)} figures for {len(columns)} columns; the file was changed."
            )
        rows[row.at("name").text()] = figures
    return Table(entry.at("title").text(), columns, rows, _words(entry.at("marks")), _texts(entry.at("notes")))


def _read_column(entry: Entry) -> Column:
    better = entry.at("better").maybe(lambda found: found.one_of(_BETTER))
    return Column(entry.at("name").text(), entry.at("said").text(), better, entry.at("unit").text())


def _read_lines(entry: Entry) -> Lines:
    curves = {
        curve.at("name").text(): tuple(
            (_read_number(point.at("x")), _read_figure(point.at("figure"))) for point in curve.at("points").each()
        )
        for curve in entry.at("curves").each()
    }
    x, y = entry.at("x").text(), entry.at("y").text()
    return Lines(entry.at("title").text(), x, y, curves, _texts(entry.at("notes")))


def _read_figure(entry: Entry) -> Figure:
    low, high = (entry.at(name).maybe(Entry.number) for name in ("low", "high"))
    return Figure(
        _read_number(entry.at("value")), low, high, entry.at("n").whole(), entry.at("blank").maybe(Entry.text)
    )


def _read_number(entry: Entry) -> float:
    return nan if entry.value is None else entry.number()


def _texts(entry: Entry) -> tuple[str, ...]:
    return tuple(each.text() for each in entry.each())


def _words(entry: Entry) -> dict[str, str]:
    return {name: entry.at(name).text() for name in entry.keys()}


def _settled(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(map(_settled, value))
    return {name: _settled(item) for name, item in value.items()} if isinstance(value, dict) else value
