"""What pairs of words do together, as a person sees it: arcs, a ranking and a matrix, for any text."""

# ruff: noqa: RUF001
# Minus signs are what the views write.

from __future__ import annotations

import json
import re
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from saliently.checks import Checks
from saliently.types import Explanation, Pinned, Span
from saliently.units import group
from saliently.view.arcs import Row
from saliently.view.files import save
from saliently.view.interactions import ALONE, APART, PAIRS, WORDS, Together
from saliently.view.nodes import Arcs, Bars, Heat
from saliently.view.page import fragment, page
from saliently.view.pairs_chart import pairs_chart
from saliently.view.parts import explanation_parts
from saliently.view.record import from_dict, to_dict
from saliently.view.spell import cut, right_to_left, visible
from saliently.view.text import render

FORTY = (
    "This long awaited sequel is neither as clever nor as charming as the first film but its performers especially "
    "the incomprehensibly funny grandmother keep even the weakest scenes alive and its music is not bad at all"
)


def explain(
    fields: Mapping[str, str] | str,
    alone: Mapping[int, float] | None = None,
    together: Mapping[tuple[int, int], float] | None = None,
) -> Explanation:
    """A token for each run without spaces, between two special tokens; what words add by number, alone and in pairs."""
    fields = {"text": fields} if isinstance(fields, str) else fields
    spans: list[Span | None] = [None]
    for name, text in fields.items():
        spans += [Span(name, *found.span()) for found in re.finditer(r"\S+", text)]
    spans.append(None)
    scores = np.zeros((len(spans), len(spans)))
    for i, score in (alone or {}).items():
        scores[i + 1, i + 1] = score
    for (i, j), score in (together or {}).items():
        scores[i + 1, j + 1] = scores[j + 1, i + 1] = score / 2
    pieces = ["[A]", *(fields[s.field][s.start : s.end] for s in spans if s is not None), "[Z]"]
    return Explanation(
        tokens=group(fields, range(len(spans)), pieces, spans),
        method="toy(blank='zero')",
        quantity="interaction",
        outputs=(Pinned(1, "GOOD", "logit"),),
        scores=scores,
        values=(3.0,),
        nothing=(0.5,),
        blank="zero",
        checks=Checks(forward_rows=3),
        model="toy",
        versions={"saliently": "0.1.0"},
    )


def dense(text: str, seed: int = 0) -> Explanation:
    """Every word and every pair does something."""
    count, draw = len(text.split()), np.random.default_rng(seed)
    alone = {i: float(draw.normal()) for i in range(count)}
    return explain(text, alone, {pair: float(draw.normal()) for pair in combinations(range(count), 2)})


FILM = explain("A film not good", {1: 0.5, 2: -0.3, 3: 2.0}, {(2, 3): -3.0, (1, 3): 0.6})


@dataclass
class Drawn(HTMLParser):
    """What the drawings of a page hold, and every tag."""

    words: list[str] = field(default_factory=list)
    directions: list[str] = field(default_factory=list)
    arcs: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    svg: dict[str, str] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    tips: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)
        self._into: list[str] | None = None
        self._kind = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name.lower(): value or "" for name, value in attrs}
        self.tags.append(tag)
        self.tips += [found["data-tip"]] if "data-tip" in found else []
        if tag == "svg":
            self.svg = found
        if tag == "g":
            self._kind = found["class"]
        if tag == "path" and found.get("class") != "reach":
            self.arcs.append((self._kind, found))
        if tag == "text":
            self.directions.append(found["direction"])
        if tag in ("text", "title"):
            self._into = self.words if tag == "text" else self.titles
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        # What follows a word's title is the word.
        self._into = self.words if tag == "title" and self._into is self.titles and self.words else None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data


def drawn(explanation: Explanation) -> Drawn:
    parser = Drawn()
    parser.feed(fragment(explanation))
    parser.close()
    return parser


def node(explanation: Explanation, kind: type) -> list[object]:
    return [part for part in explanation_parts(explanation).parts if isinstance(part, kind)]


def matrix(explanation: Explanation) -> Heat:
    (heat,) = node(explanation, Heat)
    assert isinstance(heat, Heat)
    return heat


def ranking(explanation: Explanation) -> Bars:
    bars = node(explanation, Bars)[0]
    assert isinstance(bars, Bars)
    return bars


GOLDEN = """\
What pairs of words do together
A cell on the diagonal of the matrix is what a word adds by itself; a cell off
it is half of what its two words add together beyond that, and the other half is
in the mirrored cell. A bar is a whole pair. + raises and − lowers the logit of
GOOD. Strength is a share of the largest cell, +2.00, or of the largest pair,
−3.00.

Pairs of words by strength: 2 of 6, the others add next to nothing
not … good   ███████████████████████│                          −3.00
film … good                         │████▌                    +0.600

Words by themselves, on the diagonal and as numbers, and in pairs, off it
                f       g
                i   n   o
                l   o   o
            A   m   t   d
A         0
film +0.500     ⁺       ⁺
not  −0.300         ⁻   ⁻⁻⁻
good  +2.00     ⁺   ⁻⁻⁻ ⁺⁺⁺

Words by strength
"""


def test_terminal_at_80_columns() -> None:
    assert GOLDEN in render(FILM, 80)


@pytest.mark.parametrize("width", [20, 40, 80])
@pytest.mark.parametrize("text", ["not good", "A film not good", FORTY, "שלום עולם 👩‍👩‍👧 日本語 " + "x" * 99])
def test_a_terminal_of_any_width(width: int, text: str) -> None:
    plain = render(dense(text), width)
    assert max(map(cell_len, plain.split("\n"))) <= width
    assert "Pairs of words by strength:" in " ".join(plain.split())


def test_a_matrix_that_a_terminal_has_no_room_for_is_not_drawn() -> None:
    assert "Not drawn" not in render(dense(FORTY), 100)
    narrow = " ".join(render(dense(FORTY), 40).split())
    room = re.search(r"Not drawn: it needs (\d+) columns", narrow)
    assert room
    assert "Not drawn" not in render(dense(FORTY), int(room[1]))
    assert "Not drawn" in render(dense(FORTY), int(room[1]) - 1)


def test_every_number_means_what_the_legend_says() -> None:
    rows = matrix(FILM).rows
    assert [row[:2] for row in rows] == [("A", "0"), ("film", "+0.500"), ("not", "−0.300"), ("good", "+2.00")]
    cells = np.array([[mark.share for mark in marks] for _, _, marks in rows])
    assert np.allclose(cells, FILM.pairs() / 2.0)
    assert rows[2][2][3].title == rows[3][2][2].title == "−1.50, half of −3.00 together: not … good"
    assert rows[3][2][3].title == "+2.00 by itself: good"
    assert [(mark.text, mark.share, written) for mark, written, _ in ranking(FILM).rows] == [
        ("not … good", -1.0, "−3.00"),
        ("film … good", pytest.approx(0.2), "+0.600"),
    ]
    assert "interaction: what words add together, with a sign, in logits" in render(FILM, 80)


def test_pairs_with_special_tokens_are_told() -> None:
    scores = FILM.scores.copy()
    scores[0, 2] = scores[2, 0] = 0.1
    told = "What words add together with special tokens is in no cell."
    assert told in fragment(replace(FILM, scores=scores))
    assert told not in fragment(FILM)


def test_words_of_several_pieces_are_one_word() -> None:
    spans = [None, Span("text", 0, 3), Span("text", 3, 9), Span("text", 10, 14), None]
    tokens = group({"text": "wonderful film"}, range(5), ["[A]", "won", "##derful", "film", "[Z]"], spans)
    scores = np.zeros((5, 5))
    scores[1, 2] = scores[2, 1] = 0.25
    scores[2, 3] = scores[3, 2] = 1.0
    found = replace(FILM, tokens=tokens, scores=scores)
    assert [row[:2] for row in matrix(found).rows] == [("wonderful", "+0.500"), ("film", "0")]
    assert [(mark.text, written) for mark, written, _ in ranking(found).rows] == [("wonderful … film", "+2.00")]


@pytest.mark.parametrize("text", ["not good", "A film not good", FORTY])
def test_a_page_has_every_word_and_the_strongest_arcs(text: str) -> None:
    explanation, count = dense(text), len(text.split())
    pairs = explanation.top_pairs(PAIRS)
    picture = drawn(explanation)
    assert picture.words == text.split()
    assert len(picture.arcs) == len(pairs) == min(PAIRS, count * (count - 1) // 2)
    # The strongest is drawn last, over the others.
    expected = ["raises" if pair.score > 0 else "lowers" for pair in reversed(pairs)]
    assert [kind for kind, _ in picture.arcs] == expected
    widths = [float(look["stroke-width"]) for _, look in picture.arcs]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1] or len(widths) == 1
    said = f"the strongest {PAIRS} of {count * (count - 1) // 2}" if count > 7 else "all 6" if count > 2 else "the only"
    assert f"Pairs of words as arcs: {said}" in fragment(explanation)
    heads = [mark for row in matrix(explanation).rows for mark in row[2]]
    assert len(heads) == count**2


def test_an_arc_that_lowers_is_told_without_colour() -> None:
    arcs = drawn(FILM).arcs
    assert [(kind, "stroke-dasharray" in look) for kind, look in arcs] == [("raises", False), ("lowers", True)]
    assert "a solid one raises, a dashed one lowers" in fragment(FILM)


def test_each_arc_says_what_it_is() -> None:
    picture = drawn(FILM)
    assert picture.titles == [
        "+0.600 together, 20% of the largest pair: film … good",
        "−3.00 together, 100% of the largest pair: not … good",
    ]
    assert picture.svg["role"] == "img"
    assert "−3.00 together" in picture.svg["aria-label"]
    assert "Over 4 words" in picture.svg["aria-label"]
    assert set(picture.titles) <= set(picture.tips)


def ends(path: str) -> tuple[float, float, float, float]:
    """Left and right end, foot and top of an arc."""
    x, foot, high, span = map(float, re.fullmatch(r"M(\S+) (\S+)a\S+ (\S+) 0 0 1 (\S+) 0", path).groups())  # type: ignore[union-attr]
    return x, x + span, foot, foot - high


@pytest.mark.parametrize("text", ["not good", "A film not good", FORTY])
def test_arcs_stand_on_their_words_and_nothing_is_cut_off(text: str) -> None:
    explanation, words = dense(text), tuple(text.split())
    picture, row = drawn(explanation), Row.of(words, ())
    at = {(pair.first.start, pair.second.start): i for i, pair in enumerate(explanation.top_pairs(PAIRS))}
    starts = [unit.start for unit in explanation.words()]
    for first, second in at:
        left, right, foot, top = ends(picture.arcs[-1 - at[first, second]][1]["d"])
        assert left == pytest.approx(row.middles[starts.index(first)], abs=0.1)
        assert right == pytest.approx(row.middles[starts.index(second)], abs=0.1)
        assert top >= 3.5
        assert foot < float(picture.svg["height"]) - 14
    assert row.middles[-1] < row.width == pytest.approx(float(picture.svg["width"]), abs=0.5)


def test_words_do_not_overlap_and_stand_upright_where_there_are_many() -> None:
    short, long = ("A", "film", "incomprehensible", "good"), tuple(FORTY.split())
    row = Row.of(short, (2,))
    for (a, x), (b, y) in pairwise(zip(short, row.middles, strict=True)):
        assert y - x > 7 * (len(a) + len(b)) / 2
    assert not row.upright
    assert row.middles[2] - Row.of(short, ()).middles[2] == 16
    many = Row.of(long, ())
    assert many.upright
    assert all(y - x >= 14 for x, y in pairwise(many.middles))
    assert many.width < 820
    assert "rotate(-90)" in fragment(dense(FORTY))
    assert "rotate(-90)" not in fragment(FILM)


@pytest.mark.parametrize("text", ["", "  "])
def test_no_word(text: str) -> None:
    explanation = explain(text)
    assert not node(explanation, Arcs) + node(explanation, Heat)
    assert ALONE not in render(explanation, 80)
    assert pairs_chart(explanation, "png").startswith(b"\x89PNG")


def test_one_word_makes_no_pair() -> None:
    explanation = explain("good", {0: 1.5})
    assert not node(explanation, Arcs) + node(explanation, Heat)
    assert ALONE in render(explanation, 80)
    assert "<svg" not in fragment(explanation)
    assert "+1.50" in svg_words(explanation)


@pytest.mark.parametrize("alone", [{}, {0: 1.0, 1: -2.0}])
@pytest.mark.parametrize("count", [2, WORDS + 1])
def test_words_that_add_nothing_together(alone: dict[int, float], count: int) -> None:
    explanation = explain("w " * count, alone)
    assert not node(explanation, Arcs) + node(explanation, Heat)
    assert APART in render(explanation, 80)
    assert APART in fragment(explanation)
    assert ("No word has a score" in render(explanation, 80)) == (not alone)
    assert (APART in svg_words(explanation)) == (count == 2)


def test_what_rounding_leaves_is_no_pair() -> None:
    rounded = explain("a b c", {0: 1.0}, {(0, 1): 1e-8, (0, 2): 1e-3})
    assert [mark.text for mark, _, _ in ranking(rounded).rows] == ["a … c"]
    assert len(drawn(rounded).arcs) == 1
    small = explain("a b c", {0: 1e-9}, {(0, 1): 1e-8})
    assert [mark.text for mark, _, _ in ranking(small).rows] == ["a … b"]


def test_a_long_text_shows_the_words_of_its_strongest_pairs() -> None:
    words = [f"w{i}" for i in range(WORDS + 1)]
    explanation = explain(" ".join(words), {0: 99.0}, {(5, 60): 2.0, (30, 5): -1.0, (7, 8): 0.5})
    picture = drawn(explanation)
    assert picture.words == ["w5", "w7", "w8", "w30", "w60"] == list(matrix(explanation).heads)
    assert len(picture.arcs) == 3
    said = "only the 5 of 61 words that take part in the strongest pairs"
    assert fragment(explanation).count(said) == 3  # over the arcs and in their label, over the matrix
    assert said in " ".join(svg_words(explanation).split())
    # Shares are of what is shown, and the legend names it.
    assert "Strength is a share of the largest cell, +1.00, or of the largest pair, +2.00." in fragment(explanation)
    assert len(matrix(dense("w " * WORDS)).heads) == WORDS
    assert len(matrix(dense("w " * (WORDS + 1))).heads) <= 2 * PAIRS


def test_equal_words_and_fields_are_told_apart() -> None:
    one = explain("so good so", {}, {(0, 1): 1.0, (1, 2): -2.0, (0, 2): 3.0})
    assert [which for _, _, which in ranking(one).rows] == ["#1 … #2", "#1 … #2", "#1 … #1"]
    two = explain({"q": "so so", "c": "so"}, {}, {(0, 1): 3.0, (0, 2): 2.0})
    assert [which for _, _, which in ranking(two).rows] == ["q #1 … #2", "q … c #1 … #1"]
    assert matrix(two).starts == (2,)
    assert Together.of(two).starts == (2,)
    assert "(q … c #1 … #1)" in drawn(two).titles[0]
    assert 'td class="begins"' in fragment(two)


def test_right_to_left_words_and_emoji_are_whole() -> None:
    text = "כן שלום, good 👩‍👩‍👧 رائعا xש"
    explanation = dense(text)
    picture = drawn(explanation)
    assert picture.words == text.split()
    assert picture.directions == ["rtl", "rtl", "ltr", "ltr", "rtl", "ltr"]
    assert (right_to_left("12 שלום"), right_to_left("12"), right_to_left("a ש")) == (True, False, False)
    # Each word of a pair keeps its direction to itself, or a Latin neighbour would be torn apart.
    bars = re.findall(r"<bdi><mark[^>]*><bdi>([^<]*)</bdi> … <bdi>([^<]*)</bdi></mark></bdi>", fragment(explanation))
    assert len(bars) == 15
    assert ("כן", "good") in bars
    upright = fragment(dense("שלום good " * 20))
    assert 'direction="rtl" text-anchor="start" transform' in upright
    assert 'direction="ltr" text-anchor="end" transform' in upright
    assert "רائعا" not in upright


def test_nothing_of_a_user_becomes_markup() -> None:
    nasty = "</text></svg><script>alert(1)</script>'\"> <img/src=x/onerror=1> </title><b>"
    explanation = replace(dense(nasty), outputs=(Pinned(0, nasty, "logit"),))
    picture = drawn(explanation)
    assert not {"script", "img", "b"} & set(picture.tags)
    assert picture.tags.count("svg") == 1
    assert [visible(word) for word in map(cut, nasty.split())] == picture.words
    assert "</title><b>" in picture.titles[0] + picture.titles[1] + picture.titles[2]


def test_a_word_that_is_cut_is_whole_in_its_title() -> None:
    long = "x" * 40
    picture = drawn(explain(f"{long} good", {}, {(0, 1): 1.0}))
    assert long in picture.titles
    assert cut(long) == "x" * 21 + "…"


def test_a_page_needs_no_network() -> None:
    assert not re.search(r"https?:|//|@import|url\(|<link|<script|xmlns", page([dense(FORTY)]))


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(), max_size=40), st.integers(20, 100))
def test_any_text(text: str, width: int) -> None:
    explanation = dense(text)
    count = len(explanation.words())
    picture = drawn(explanation)
    assert len(picture.words) == (count if count > 1 else 0)
    assert len(picture.arcs) == min(PAIRS, count * (count - 1) // 2)
    fragment(explanation).encode("utf-8")
    plain = render(explanation, width)
    assert all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in plain)
    assert all(cell_len(line) <= width for line in plain.split("\n"))


def svg_words(explanation: Explanation) -> str:
    """The lines that a picture shows: in an SVG each stands in a comment beside its outlines."""
    return " ".join(re.findall("<!-- (.*?) -->", pairs_chart(explanation, "svg").decode("utf-8")))


def test_a_picture_has_words_arcs_and_cells() -> None:
    svg = pairs_chart(FILM, "svg").decode("utf-8")
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    said = svg_words(FILM)
    assert "How much do pairs of words add together" in said
    assert "Pairs of words as arcs: 2 of 6" in said
    for word in FILM.words():
        assert len(re.findall(rf"<!-- {word.text} -->", svg)) == 2  # beside and above the matrix
    # The signs of cells from 15% of the largest: two pairs are in two cells each.
    assert len(re.findall("<!-- \\+ -->", svg)) == 4
    assert len(re.findall("<!-- − -->", svg)) == 3
    assert len(re.findall("stroke-dasharray: [0-9]", svg)) == 1


def test_a_failed_check_is_in_the_picture() -> None:
    failed = replace(FILM, checks=Checks(total=2.5, change=3.5, gap=0.2857, tolerance=0.01))
    assert "Check failed" in svg_words(failed)
    assert "Check failed" not in svg_words(FILM)


def test_pictures_of_any_text_give_no_warning() -> None:
    text = "$x^2$ 好 رائعا 👩‍👩‍👧 \x1b[0m \ud800 \ufffe --> <!-- " + "long" * 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ElementTree.fromstring(pairs_chart(dense(text), "svg")).tag.endswith("svg")
        assert pairs_chart(dense(text), "png").startswith(b"\x89PNG")


def test_files(tmp_path: Path) -> None:
    explanation = dense(FORTY)
    for name, start in (("a.html", b"<!DOCTYPE"), ("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.json", b"{\n")):
        save(explanation, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    assert b"Pairs of words as arcs" in (tmp_path / "a.svg").read_bytes()
    plain = replace(explanation, quantity="saliency", scores=explanation.by_token)
    save(plain, tmp_path / "b.svg")
    assert b"Pairs of words" not in (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("text", ["", "good", "not good \ud800 👍🏽", FORTY])
def test_json_round_trip(text: str) -> None:
    explanation = dense(text, seed=3)
    again = from_dict(json.loads(json.dumps(to_dict(explanation))))
    assert np.array_equal(again.scores, explanation.scores)
    assert again.scores.shape == explanation.scores.shape
    assert again.words() == explanation.words()
    assert again.top_pairs(9) == explanation.top_pairs(9)
    assert fragment(again) == fragment(explanation)
