"""A report says the same as JSON, on a page and in a terminal, and each figure carries what it takes to quote it."""

# ruff: noqa: RUF001
# Minus signs are what the views write.

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from html.parser import HTMLParser
from math import inf, isnan, nan
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

import saliently
from saliently.errors import InputError, RecipeError
from saliently.reports import Column, Figure, Lines, Report, Table
from saliently.view.palette import DARK_GROUND, LIGHT_GROUND, Rgb, contrast
from saliently.view.report_curves import Look, ticks
from saliently.view.report_page import report_fragment, report_page
from saliently.view.report_record import dumps_report, report_dict, report_from_dict
from saliently.view.report_scale import Scale
from saliently.view.report_style import COLOURS
from saliently.view.report_text import render_report

NASTY = "</style><script>alert(1)</script>'\"&amp; \x1b[31m"
FIND = Column("find", "Share of planted words among the first", "higher")
COST = Column("cost", "Passes a text", "lower", "rows")
TABLE = Table(
    "Methods",
    (FIND, COST),
    {
        "integrated-gradients(blank='zero')": (Figure(0.83, 0.79, 0.87, 200, "mask"), Figure(45.0, n=200)),
        "attention": (Figure(-0.5, -0.6, -0.4, 120, "mask"), None),
        "random": (Figure(0.25, 0.2, 0.3, 200, "mask"), Figure(0.0, n=200)),
    },
    {"integrated-gradients(blank='zero')": "best", "random": "control"},
    ("Attention is a weight.",),
)
CURVES = {
    "steep": ((0.0, Figure(1.0, 0.9, 1.1, 9, "zero")), (0.5, Figure(-0.2, -0.3, -0.1, 9, "zero"))),
    "flat": ((0.0, Figure(1.0, None, None, 9, "zero")), (1.0, Figure(0.8, 0.7, 0.9, 9, "zero"))),
}
REPORT = Report(
    title="Planted words",
    question="Which method finds them?",
    whom="Developers",
    verdict=("Integrated gradients do.", "Attention does not."),
    settings={"texts": 200, "model": "toy", "methods": ("random", "attention"), "sizes": {"b": 1, "a": None}},
    seed=7,
    tables=(TABLE,),
    lines=(Lines("Curves", "share taken away", "logit", CURVES, ("They fall.",)),),
    limits=("One model.",),
    versions={"torch": "2", "saliently": "0.0.9"},
    seconds=12.5,
)


def figures(value: Any) -> Iterator[dict[str, Any]]:
    """Every object with a value and an interval, at any depth."""
    if isinstance(value, dict):
        if "low" in value:
            yield value
        for inner in value.values():
            yield from figures(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from figures(inner)


def test_round_trip_is_exact(tmp_path: Path) -> None:
    assert report_from_dict(report_dict(REPORT)) == REPORT
    REPORT.save(tmp_path / "a.json")
    found = saliently.load_report(tmp_path / "a.json")
    assert found == REPORT
    assert list(found.tables[0].rows) == list(TABLE.rows)
    assert dumps_report(found) == dumps_report(REPORT)
    assert found != replace(REPORT, seed=8)
    assert {each.name for each in fields(Report)} < set(report_dict(REPORT))


def rows_of(size: float | None) -> st.SearchStrategy[dict[str, Figure | None]]:
    """Rows with any name and numbers up to a size."""
    numbers = st.floats(allow_nan=False, allow_infinity=False) if size is None else st.floats(-size, size)
    ends, words = st.none() | numbers, st.text(st.characters(), max_size=12)
    figure = st.builds(Figure, numbers, ends, ends, st.integers(0, 9), st.none() | words)
    return st.dictionaries(words, figure | st.none(), max_size=4)


def report_of(rows: dict[str, Figure | None], said: str) -> Report:
    table = Table(said, (Column(said, said, unit=said),), {name: (each,) for name, each in rows.items()}, {said: said})
    curves = {name: ((float(i), each),) for i, (name, each) in enumerate(rows.items()) if each is not None}
    return replace(REPORT, verdict=(said,), tables=(table,), lines=(Lines(said, said, said, curves),))


@settings(max_examples=60, deadline=None)
@given(rows_of(None), st.text(st.characters(), max_size=12))
def test_any_names_and_numbers_round_trip(rows: dict[str, Figure | None], said: str) -> None:
    report = report_of(rows, said)
    assert report_from_dict(json.loads(dumps_report(report))) == report


@settings(max_examples=60, deadline=None)
@given(rows_of(1e200), st.text(st.characters(), max_size=12), st.integers(40, 120))
def test_any_names_and_numbers_can_be_shown(rows: dict[str, Figure | None], said: str, width: int) -> None:
    report = report_of(rows, said)
    report_page(report).encode("utf-8")
    plain = render_report(report, width)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", plain)
    assert all(cell_len(line) <= width for line in plain.split("\n"))


def test_each_figure_carries_all_it_takes_to_quote_it() -> None:
    found = list(figures(report_dict(REPORT)))
    assert len(found) == 5 + 4
    assert all(set(each) == {"value", "low", "high", "n", "blank", "seed", "version"} for each in found)
    assert {(each["seed"], each["version"]) for each in found} == {(7, "0.0.9")}
    assert report_dict(REPORT)["tables"][0]["rows"][1]["figures"][0] == {
        "value": -0.5, "low": -0.6, "high": -0.4, "n": 120, "blank": "mask", "seed": 7, "version": "0.0.9",
    }  # fmt: skip
    unnamed = next(figures(report_dict(replace(REPORT, versions={}))))
    assert unnamed["version"] == saliently.__version__


def test_what_is_no_number_is_null() -> None:
    table = Table("t", (FIND,), {"a": (Figure(nan, -inf, inf, 3),)})
    report = replace(REPORT, tables=(table,), settings={"rate": nan, "where": Path("x")})
    record = json.loads(dumps_report(report))
    assert [next(figures(record))[name] for name in ("value", "low", "high")] == [None, None, None]
    assert record["settings"] == {"rate": None, "where": "x"}
    value = report_from_dict(record).tables[0].rows["a"][0]
    assert value is not None
    assert isnan(value.value)
    assert "n/a" in render_report(report)
    assert "n/a" in report_page(report)


def test_order_without_a_meaning_changes_nothing_and_that_of_rows_does() -> None:
    turned = dict(reversed(REPORT.settings.items()))
    assert dumps_report(replace(REPORT, settings=turned)) == dumps_report(REPORT)
    assert report_page(replace(REPORT, settings=turned)) == report_page(REPORT)
    rows = dict(reversed(TABLE.rows.items()))
    assert dumps_report(replace(REPORT, tables=(replace(TABLE, rows=rows),))) != dumps_report(REPORT)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"format": 1', '"format": 2', "A report of format 1 was expected, this one is of format 2"),
        ('"seed": 7,\n "tables"', '"seed": "7",\n "tables"', "seed should be a whole number and is the text '7'"),
        ('"value": 0.83', '"value": "0.83"', r"A report .* should be a number .* Give a file that Report\.save wrote"),
        ('"better": "higher"', '"better": "more"', "should be one of .* is the text 'more'"),
        ('"whom"', '"who"', "the record has no 'whom'"),
        ("null\n    ]", "null, null\n    ]", r"tables\[0\]\.rows\[1\] has 3 figures for 2 columns"),
        ("{", "[", "not JSON"),
    ],
)
def test_a_changed_file_is_named(old: str, new: str, said: str, tmp_path: Path) -> None:
    written = dumps_report(REPORT)
    changed = re.sub(r"\s*".join(map(re.escape, old.split())), new, written, count=1)
    assert changed != written
    (tmp_path / "a.json").write_text(changed, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        saliently.load_report(tmp_path / "a.json")


def test_save_by_ending(tmp_path: Path) -> None:
    REPORT.save(tmp_path / "a.HTML")
    assert (tmp_path / "a.HTML").read_bytes().startswith(b"<!DOCTYPE")
    with pytest.raises(RecipeError, match=r"A report .* '\.png' is not known\. Use one of \.html, \.json"):
        REPORT.save(tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.HTML"]


class Page(HTMLParser):
    """What stands on a page: tags, the text of each cell, titles, and all the text in order."""

    def __init__(self, html: str) -> None:
        HTMLParser.__init__(self)
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.titles += [said or "" for name, said in attrs if name == "title"]

    def handle_data(self, data: str) -> None:
        self.words += data


def nasty(report: Report) -> Report:
    """The same with markup in every place that holds text."""
    figure = Figure(1.0, 0.5, 1.5, 3, NASTY)
    table = Table(
        NASTY, (Column(NASTY, NASTY, None, NASTY),), {NASTY: (figure,), "b": (Figure(1.0),)}, {NASTY: NASTY}, (NASTY,)
    )
    lines = Lines(NASTY, NASTY, NASTY, {NASTY: ((0.0, figure), (1.0, figure))}, (NASTY,))
    words = {NASTY: NASTY}
    return Report(NASTY, NASTY, NASTY, (NASTY,), words, 1, (table,), (lines,), (NASTY,), words)


def test_nothing_of_a_user_becomes_markup() -> None:
    for html in (report_page(nasty(REPORT)), report_fragment(nasty(REPORT))):
        page = Page(html)
        assert "script" not in page.tags
        assert page.tags.count("style") == 1
        assert "<script" not in html
        assert page.words.count("<script>alert(1)</script>'\"&amp; \\x1b[31m") >= 18
        assert "\x1b" not in html


def test_a_page_needs_no_network_and_no_script() -> None:
    for html in (report_page(REPORT), report_fragment(REPORT)):
        assert not re.search(r"https?:|//|@import|url\(|<link|<script|\son\w+=", html)
    assert report_page(REPORT).startswith("<!DOCTYPE html>\n")
    assert REPORT._repr_html_() == report_fragment(REPORT)


def test_a_page_begins_with_the_answer_and_ends_with_its_limits() -> None:
    words = Page(report_page(REPORT)).words
    order = ["Which method finds them?", "Developers", "One model.", "Integrated gradients do.", "Share of planted"]
    order += ["share taken", "What this can't tell", "toy", "seed 7", "saliently 0.0.9, torch 2"]
    places = [words.index(said) for said in order]
    assert places == sorted(places)
    assert words.count("One model.") == 2  # the first limit stands at the top, and all of them at the end


def test_a_page_says_all_of_each_figure() -> None:
    page = Page(report_page(REPORT))
    assert "0.83, 95 % interval [0.79, 0.87]; n = 200; blank: mask" in page.titles
    assert "−0.50, 95 % interval [−0.60, −0.40]; n = 120; blank: mask" in page.titles
    for said in (
        "cost (rows)",
        "Passes a text",
        "← lower is better",
        "higher is better →",
        "blank: mask",
        "n = 120 to",
    ):
        assert said in page.words
    assert page.titles.count("does not apply") == 1
    for row in re.findall("<tr.*?</tr>", report_page(REPORT)):
        assert ('class="best"' in row) == (">best<" in row)
        assert ('class="control"' in row) == (">control<" in row)


def svgs(html: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall("<svg.*?</svg>", html, re.S)]


def test_pictures_in_a_column_share_a_scale() -> None:
    html = report_page(replace(REPORT, lines=()))
    drawn = svgs(html)
    assert len(drawn) == 5
    dots = [float(found.get("cx", "")) for svg in drawn for found in svg.iter("circle")]
    best, cost, attention, control, free = dots
    assert attention < control < best
    # -0.6 and 0.87 are the ends, with 84 pixels between them.
    assert best - control == pytest.approx((0.83 - 0.25) / (0.87 + 0.6) * 84, abs=0.11)
    assert (cost, free) == (90, 6)
    held = [svg.find("path[@class='held']") for svg in drawn]
    assert [found is not None for found in held] == [True] * 5
    assert f"M{control} " in (held[0].get("d", "") if held[0] is not None else "")


def test_curves_are_told_apart_without_colour() -> None:
    picture, *keys = svgs(report_page(replace(REPORT, tables=())))
    groups = picture.findall("g")
    looks = [
        (group.find("path[@class='curve']").get("stroke-dasharray"), group.find("path[@class='marker']").get("d"))  # type: ignore[union-attr]
        for group in groups
    ]
    assert len(set(looks)) == len(keys) == 2
    assert [len(group.findall("path[@class='band']")) for group in groups] == [1, 1]
    assert [group.findtext("text") for group in groups] == ["A", "B"]
    many = {Look(i).stroke("M0 0") + Look(i).marker("0 0") + Look(i).colour for i in range(200)}
    assert len(many) == 200


def test_colours_of_curves_are_seen_on_both_grounds() -> None:
    for colour in COLOURS:
        red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
        rgb: Rgb = (red, green, blue)
        assert min(contrast(rgb, LIGHT_GROUND), contrast(rgb, DARK_GROUND)) >= 3


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.2, 3.1), (1e-7, 3e-7), (-5e8, 9e8), (0.83, 0.84)])
def test_marks_on_an_axis_are_few_and_within_it(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 7
    assert low - 1e-9 * (high - low) <= found[0] < found[-1] <= high + 1e-9 * (high - low)


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([Figure(0.83, 0.79, 0.87), Figure(0.2, 0.1, 0.3)], "0.83 [0.79, 0.87]"),
        ([Figure(0.83123, 0.83, 0.832)], "0.831 [0.830, 0.832]"),
        ([Figure(12.04, 11.0, 13.0)], "12.0 [11.0, 13.0]"),
        ([Figure(45.0), Figure(1200.0)], "45"),
        ([Figure(-0.001, -0.2, 0.2), Figure(1.0)], "0.00 [−0.20, 0.20]"),
        ([Figure(2.5e7, 2e7, 3e7)], "2.50e7 [2.00e7, 3.00e7]"),
        ([Figure(0.5, nan, inf)], "0.50"),
        ([Figure(0.5, n=2, blank="zero"), Figure(0.25, n=2)], "0.50 zero"),
    ],
)
def test_a_column_is_written_with_the_same_digits(values: list[Figure], written: str) -> None:
    assert Scale.of(values).written(values[0]) == written


GOLDEN = """\
Planted words
question    Which method finds them?
for         Developers
can't tell  One model.

Integrated gradients do.

Attention does not.

Methods
                                                             find  cost (rows)
integrated-gradients(blank='zero')  best        0.83 [0.79, 0.87]           45
attention                                    −0.50 [−0.60, −0.40]            -
random                              control     0.25 [0.20, 0.30]            0

find     Share of planted words among the first; higher is better; blank: mask; n = 120 to
         200
cost     Passes a text; lower is better; no blank; n = 200
figures  value [95 % interval]

· Attention is a weight.

Curves
x                        steep               flat
0            1.00 [0.90, 1.10]               1.00
0.5       −0.20 [−0.30, −0.10]                  -
1                            -  0.80 [0.70, 0.90]

x        share taken away
figures  logit; value [95 % interval]; blank: zero; n = 9

· They fall.

Settings
methods  random, attention
model    toy
sizes    b: 1, a: none
texts    200

seed 7 · saliently 0.0.9, torch 2 · took 12 s

What this can't tell
· One model.
"""


def test_terminal_at_90_columns() -> None:
    plain = render_report(REPORT, 90)
    assert plain == GOLDEN
    coloured = render_report(REPORT, 90, color=True)
    assert "\x1b[1mIntegrated gradients do." in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_wide_table_is_cut_between_columns_and_never_in_a_figure(width: int) -> None:
    columns = tuple(replace(FIND, name=f"measure {i}") for i in range(8))
    rows = {name: (figures[0],) * 8 for name, figures in TABLE.rows.items()}
    plain = render_report(replace(REPORT, tables=(replace(TABLE, columns=columns, rows=rows),), lines=()), width)
    assert max(map(cell_len, plain.split("\n"))) <= width
    assert plain.count("0.83 [0.79, 0.87]") == plain.count("−0.50 [−0.60, −0.40]") == 8
    blocks = len(re.findall("^random ", plain, re.M))
    assert blocks == len(re.findall("^attention ", plain, re.M)) == {40: 8, 60: 8, 80: 8, 120: 3}[width]
    assert plain.count("zero')") == blocks


def test_show_prints(capsys: pytest.CaptureFixture[str]) -> None:
    REPORT.show(80)
    assert capsys.readouterr().out == render_report(REPORT, 80)
