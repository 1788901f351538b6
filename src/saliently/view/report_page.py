"""A report as HTML: a fragment for a notebook, or one file that needs no network and no script."""

from __future__ import annotations

from collections.abc import Sequence

from saliently.reports import Column, Figure, Lines, Report, Table
from saliently.view.markup import Html, element, join, raw, text
from saliently.view.report_curves import drawing
from saliently.view.report_scale import (
    Scale,
    column_scales,
    head,
    heading,
    interval,
    is_control,
    places,
    provenance,
    settings_facts,
    way,
)
from saliently.view.report_style import REPORT_SHEET
from saliently.view.spell import flat
from saliently.view.style import PAGE_SHEET

# Pixels of the picture in a cell; the dot stays whole at both ends.
_WIDE, _HIGH, _EDGE = 96, 14, 6
_MANY = 6  # columns; more of them are made smaller


def report_fragment(report: Report) -> str:
    """A report for a notebook: an element with its own style."""
    attributes = {"class": "saliently saliently-report", "lang": "en", "dir": "ltr"}
    return element("div", attributes, _style(REPORT_SHEET), element("h2", {}, text(flat(report.title))), *_body(report))


def report_page(report: Report) -> str:
    """A report as one HTML file."""
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", {}, text(flat(report.title))),
        _style(PAGE_SHEET + REPORT_SHEET),
    )
    title = element("h1", {"dir": "auto"}, text(flat(report.title)))
    main = element("main", {"class": "saliently page saliently-report"}, title, *_body(report))
    return "<!DOCTYPE html>\n" + element("html", {"lang": "en"}, head, element("body", {}, main)) + "\n"


def _style(sheet: str) -> Html:
    return element("style", {}, raw(sheet))


def _body(report: Report) -> tuple[Html, ...]:
    """The question and the answer, what it rests on, and what it can't tell."""
    asked = element("dl", {"class": "asked"}, *_facts(head(report)))
    verdict = element("div", {"class": "verdict"}, *(element("p", {}, _own(said)) for said in report.verdict))
    settings = settings_facts(report.settings)
    chosen = (element("h3", {}, text("Settings")), element("dl", {}, *_facts(settings))) if settings else ()
    limits = (element("h3", {}, text("What this can't tell")), *_items(report.limits)) if report.limits else ()
    made = element("p", {"class": "saliently-small"}, text(provenance(report.seed, report.versions, report.seconds)))
    return (
        asked,
        *((verdict,) if report.verdict else ()),
        *map(_table, report.tables),
        *map(_lines, report.lines),
        element("section", {}, *limits, *chosen, made),
    )


def _facts(rows: Sequence[tuple[str, str]]) -> tuple[Html, ...]:
    return tuple(join(element("dt", {}, text(name)), element("dd", {}, _own(said))) for name, said in rows)


def _items(sentences: Sequence[str]) -> tuple[Html, ...]:
    return (element("ul", {}, *(element("li", {}, _own(said)) for said in sentences)),) if sentences else ()


def _own(said: str) -> Html:
    """Characters that the user chose, kept from turning the direction of what follows."""
    return element("bdi", {}, text(said))


def _table(table: Table) -> Html:
    scales = column_scales(table)
    heads = (_head(column, scale) for column, scale in zip(table.columns, scales, strict=True))
    top = element("tr", {}, element("td", {}), *heads)
    held = [figures for name, figures in table.rows.items() if is_control(table.marks.get(name, ""))]
    controls = held[0] if held else (None,) * len(scales)
    rows = []
    for name, figures in table.rows.items():
        cells = (_cell(*each) for each in zip(figures, scales, controls, strict=True))
        mark = table.marks.get(name, "")
        kind = "control" if is_control(mark) else "best" if mark.lower() == "best" else ""
        rows.append(element("tr", {"class": kind} if kind else {}, _name(name, mark), *cells))
    size = "figures many" if len(scales) > _MANY else "figures"
    whole = element("table", {"class": size}, element("thead", {}, top, _ends(scales)), element("tbody", {}, *rows))
    return element(
        "section",
        {},
        element("h2", {}, _own(flat(table.title))),
        element("div", {"class": "saliently-scroll"}, whole),
        element("p", {"class": "saliently-legend"}, text(_key(bool(held)))),
        *_items(table.notes),
    )


def _key(held: bool) -> str:
    control = " A hollow dot is a control; the dotted line stands where it lies." if held else ""
    return f"A dot is the value, its bar and the brackets the 95 % interval. A column has one scale.{control}"


def _head(column: Column, scale: Scale) -> Html:
    """Name and unit, what it means, which way is good, blank and n."""
    arrows = {"higher": f"{way(column)} \N{RIGHTWARDS ARROW}", "lower": f"\N{LEFTWARDS ARROW} {way(column)}"}
    return element(
        "th",
        {"scope": "col"},
        text(flat(heading(column))),
        element("small", {}, _own(column.said)),
        element("small", {"class": "way"}, text(arrows.get(column.better or "", way(column)))),
        *(element("small", {"class": "fact"}, text(said)) for said in scale.facts()),
    )


def _ends(scales: Sequence[Scale]) -> Html:
    """Above each column the ends of its scale, for the eye: cells say their numbers."""
    pairs = (
        element("span", {}, *(element("i", {}, text(scale.number(end))) for end in (scale.low, scale.high)))
        for scale in scales
    )
    cells = (element("td", {}, pair) for pair in pairs)
    return element("tr", {"class": "ends", "aria-hidden": "true"}, element("td", {}), *cells)


def _name(name: str, mark: str) -> Html:
    """A row's name, cut before what a recipe sets where the line is too short, and the word beside it."""
    before, bracket, after = flat(name).partition("(")
    pieces = [element("span", {"class": "recipe"}, text(said)) for said in (before, bracket + after) if said]
    chip = (text(" "), element("span", {"class": "chip"}, text(flat(mark)))) if mark else ()
    return element("th", {"scope": "row"}, element("bdi", {}, *pieces), *chip)


def _cell(figure: Figure | None, scale: Scale, control: Figure | None) -> Html:
    if figure is None:
        return element("td", {"title": "does not apply"}, text("\N{EN DASH}"))
    facts = "; ".join((f"n = {figure.n}", f"blank: {figure.blank}" if figure.blank else "no blank"))
    between = scale.interval(figure)
    own = [said for said in (scale.own(figure), f"n = {figure.n}" if scale.fewest != scale.most else "") if said]
    return element(
        "td",
        {"title": f"{scale.number(figure.value)}{between and f', 95 % interval {between}'}; {facts}"},
        _whiskers(figure, scale, control),
        element("b", {}, text(scale.number(figure.value))),
        *((text(" "), element("small", {}, text(between))) if between else ()),
        *((element("small", {"class": "own"}, text(", ".join(own))),) if own else ()),
    )


def _whiskers(figure: Figure, scale: Scale, control: Figure | None) -> Html:
    """A dot at the value and a bar over its interval, on the scale of the column."""

    def at(value: float) -> str:
        return f"{_EDGE + scale.share(value) * (_WIDE - 2 * _EDGE):.1f}"

    middle, pair = _HIGH // 2, interval(figure)
    drawn = [element("path", {"class": "rail", "d": f"M{_EDGE} {middle}H{_WIDE - _EDGE}"})]
    if control is not None and control.value == control.value:
        drawn.append(element("path", {"class": "held", "d": f"M{at(control.value)} -6V{_HIGH + 4}"}))
    if pair is not None:
        low, high = map(at, pair)
        path = f"M{low} {middle}H{high}M{low} {middle - 4}v8M{high} {middle - 4}v8"
        drawn.append(element("path", {"class": "whisker", "d": path}))
    if figure.value == figure.value:
        drawn.append(element("circle", {"class": "dot", "cx": at(figure.value), "cy": str(middle), "r": "3.6"}))
    size = {"width": str(_WIDE), "height": str(_HIGH), "viewBox": f"0 0 {_WIDE} {_HIGH}", "aria-hidden": "true"}
    return element("svg", size, *drawn)


def _lines(lines: Lines) -> Html:
    scale = Scale.of(figure for points in lines.curves.values() for _, figure in points)
    key = f"A line joins the values, a band is the 95 % interval; {', '.join(scale.facts())}."
    return element(
        "section",
        {},
        element("h2", {}, _own(flat(lines.title))),
        drawing(lines),
        element("p", {"class": "saliently-legend"}, text(key)),
        *_items(lines.notes),
        element("details", {}, element("summary", {}, text("All figures")), _points(lines, scale)),
    )


def _points(lines: Lines, scale: Scale) -> Html:
    """The same in numbers, x down."""
    heads = (element("th", {"scope": "col", "class": "number"}, _own(flat(name))) for name in lines.curves)
    top = element("tr", {}, element("th", {"scope": "col"}, text(flat(lines.x))), *heads)
    curves = [dict(points) for points in lines.curves.values()]
    rows = (
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, text(f"{x:g}")),
            *(element("td", {"class": "number"}, text(scale.written(curve.get(x)))) for curve in curves),
        )
        for x in places(lines)
    )
    table = element("table", {}, element("thead", {}, top), element("tbody", {}, *rows))
    return element("div", {"class": "saliently-scroll"}, table)
