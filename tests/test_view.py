"""What a person sees: the same parts in a terminal, on a page and in a picture, for any text."""

# ruff: noqa: RUF001
# Minus signs are what the views write.

from __future__ import annotations

import io
import re
import sys
import unicodedata
import warnings
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from saliently.checks import Checks
from saliently.errors import MissingExtraError, RecipeError
from saliently.types import Comparison, Explanation, Pinned, Span
from saliently.units import group
from saliently.view.chart import chart
from saliently.view.files import save, write_whole
from saliently.view.fonts import Fonts
from saliently.view.page import comparison_fragment, comparison_page, fragment, page
from saliently.view.palette import (
    DARK_FILL,
    DARK_GROUND,
    DARK_INK,
    LIGHT_FILL,
    LIGHT_GROUND,
    LIGHT_INK,
    Hues,
    Rgb,
    contrast,
    mix,
)
from saliently.view.spell import number, visible
from saliently.view.text import render, render_comparison, show, show_comparison

GOOD = Checks(total=2.5, change=2.5025, gap=0.001, tolerance=0.01, nodes=15, gradient_rows=15)
BAD = Checks(total=2.5, change=3.5, gap=0.2857, tolerance=0.01, nodes=15, gradient_rows=15)
FAILURE = "a gap of 28.6%, over the tolerance of 1.0%"


def explain(
    fields: dict[str, str] | str, scores: list[float] | None = None, checks: Checks = GOOD, signed: bool = True
) -> Explanation:
    """A token for each run without spaces, between two special tokens; scores are given or 0.5, -1, 1.5, -2 ..."""
    fields = {"text": fields} if isinstance(fields, str) else fields
    spans: list[Span | None] = [None]
    for field, text in fields.items():
        spans += [Span(field, *found.span()) for found in re.finditer(r"\S+", text)]
    spans.append(None)
    pieces = ["[A]", *(fields[s.field][s.start : s.end] for s in spans if s is not None), "[Z]"]
    given_scores = scores or [0.5 * i * (-1) ** (i + 1) for i in range(1, len(spans) - 1)]
    return Explanation(
        tokens=group(fields, range(len(spans)), pieces, spans),
        method="toy(blank='zero')",
        quantity="saliency" if signed else "sensitivity",
        outputs=(Pinned(1, "GOOD", "logit"),),
        scores=np.array([0.25, *given_scores, -0.125]),
        values=(3.0,),
        nothing=(0.5,) if signed else None,
        blank="zero" if signed else None,
        checks=checks,
        model="toy",
        versions={"saliently": "0.1.0"},
    )


FILM = explain("A good film, never dull", [0.1, 2.0, -0.4, 0.9, -1.0])

GOLDEN_80 = """\
How much did each word add to the logit of GOOD, against the same text with
words taken away (blank: zero)? Measured by toy(blank='zero'), to tell
developers what toy relies on.

target  the logit of GOOD, which the model predicts
value   3.00; with every word blanked (zero) 0.500
method  toy(blank='zero')
scores  saliency: what a word added to the target, with a sign, in logits

raises⁺⁺⁺ or lowers⁻⁻⁻ the logit of GOOD. Strength is a word's share of the
largest score, +2.00; numbers are raw. One, two or three ⁺ or ⁻: from 15%, 40%,
70% of it.

  A good⁺⁺⁺ film,⁻ never⁺⁺ dull⁻⁻

special tokens  [A] +0.250  [Z] −0.125

Words by strength
good                          │███████████████████████   +2.00
dull              ▐███████████│                          −1.00
never                         │██████████▌              +0.900
film,                    ▐████│                         −0.400
A                             │█                        +0.100

Checks
· The scores sum to 2.5 of 2.502: a gap of 0.10% after 15 gradients.
· Cost: 15 inputs forward and backward.

toy · saliently 0.1.0
"""

GOLDEN_40_OF_FAILED_SENSITIVITY = """\
How fast does the logit of GOOD change
when a word changes a little? Measured
by toy(blank='zero'), to tell developers
what toy relies on.

▲ Check failed. The scores sum to 2.5,
  the change to be explained is 3.5: a
  gap of 28.6%, over the tolerance of
  1.0%. Allow more steps, or read them
  as rough.

target  the logit of GOOD, which the
        model predicts
value   3.00
method  toy(blank='zero')
scores  sensitivity: how fast the target
        changes with a word; no sign, no
        share of a total

more sensitive***. Strength is a word's
share of the largest score, 2.00;
numbers are raw. One, two or three *:
from 15%, 40%, 70% of it.

a
  so so

b
  good***

special tokens  [A] 0.250  [Z] −0.125

Words by strength
good b   ████████████████████████   2.00
so a #1  █                         0.100
so a #2  █                         0.100

Checks
· The scores sum to 2.5, the change to
  be explained is 3.5: a gap of 28.6%,
  over the tolerance of 1.0%. Allow more
  steps, or read them as rough.
· Cost: 15 inputs forward and backward.

toy · saliently 0.1.0
"""


def test_terminal_at_80_columns() -> None:
    assert render(FILM, 80) == GOLDEN_80


def test_terminal_at_40_columns_with_two_fields_no_sign_and_a_failed_check() -> None:
    failed = explain({"a": "so so", "b": "good"}, [0.1, 0.1, 2.0], BAD, signed=False)
    assert render(failed, 40) == GOLDEN_40_OF_FAILED_SENSITIVITY


def test_colour_changes_no_character() -> None:
    coloured = render(FILM, 60, color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == render(FILM, 60)


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=60), st.integers(20, 120))
def test_a_text_controls_neither_the_terminal_nor_its_width(text: str, width: int) -> None:
    plain = render(explain(text), width)
    assert all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in plain)
    assert not set("\u202a\u202b\u202d\u202e\u2066\u2067\u2068\u200e\u200f") & set(plain)
    assert all(cell_len(line) <= width for line in plain.split("\n"))


@pytest.mark.parametrize("width", [20, 33, 200])
def test_wide_and_right_to_left_words_stay_within_the_width(width: int) -> None:
    text = "这部电影非常精彩 👩‍👩‍👧👍🏽 كان الفيلم رائعا הסרט היה נפלא " + "x" * 300
    plain = render(explain(text * 3), width)
    assert max(map(cell_len, plain.split("\n"))) <= width
    assert "رائعا" in plain


def test_markup_of_rich_is_only_text() -> None:
    assert "[bold]x[/bold] :smile:" in render(explain("[bold]x[/bold] :smile:", [0.01, 0.1]), 80)


def test_an_escape_code_in_a_text_is_written_out() -> None:
    coloured = render(explain("\x1b[31mred\x1b]0;title\x07", [1.0]), 80, color=True)
    assert "\\x1b[31mred\\x1b]0;title\\x07" in re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert "\x1b[31mred" not in coloured
    assert "\x07" not in coloured


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_show_prints_in_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    show(explain("好 café good", [1.0, -2.0, 0.1]), 60)
    sys.stdout.flush()
    said = written.getvalue().decode(encoding)
    assert "\x1b" not in said
    assert max(map(len, said.split("\n"))) <= 60
    assert {"ascii": "caf\\xe9---", "latin-1": "café---", "utf-8": "café⁻⁻⁻"}[encoding] in said


def test_no_color_is_obeyed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLORTERM", "truecolor")
    show(FILM, 60)
    assert "38;2;" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    show(FILM, 60)
    assert "38;2;" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.3124, "+0.312"),
        (-1.2, "−1.20"),
        (0.99996, "+1.00"),
        (999.6, "+1000"),
        (1234.4, "+1234"),
        (0.0, "0"),
        (1.5e-7, "+1.50e−7"),
        (-2e9, "−2.00e9"),
        (float("nan"), "n/a"),
    ],
)
def test_numbers_have_three_digits_and_a_real_sign(value: float, written: str) -> None:
    assert number(value) == written


class Fields(HTMLParser):
    """What a reader can select and copy from each text on a page, and every tag that was opened."""

    def __init__(self) -> None:
        HTMLParser.__init__(self)
        self.texts: dict[str, str] = {}
        self.tags: list[str] = []
        self.tips: list[str] = []
        self._field: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.tips += [found["data-tip"] or ""] if "data-tip" in found else []
        if found.get("class") == "saliently-text":
            self._field = found["data-field"] or ""
            self.texts[self._field] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "div":
            self._field = None

    def handle_data(self, data: str) -> None:
        if self._field is not None:
            self.texts[self._field] += data


def read(html: str) -> Fields:
    parser = Fields()
    parser.feed(html)
    parser.close()
    return parser


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(), max_size=80), st.booleans())
def test_a_page_holds_exactly_the_text(text: str, whole: bool) -> None:
    explanation = explain({"text": text})
    html = page([explanation]) if whole else fragment(explanation)
    html.encode("utf-8")
    shown = read(html).texts["text"]
    expected = "".join(
        f"\\x{ord(c):02x}" if c not in "\n\t" and unicodedata.category(c) == "Cc"
        else f"\\u{ord(c):04x}" if unicodedata.category(c) == "Cs"
        else c
        for c in text
    )  # fmt: skip
    assert shown == expected == visible(text)


@pytest.mark.parametrize("text", ["\nfirst", "a\r\nb", "\x00\x0c\x85", "&amp; &lt; &#x41;", "a\n\n\tb  c "])
def test_texts_that_html_likes_to_change(text: str) -> None:
    assert read(page([explain(text)])).texts["text"] == visible(text)


def test_nothing_of_a_user_becomes_markup() -> None:
    nasty = "</div></style><script>alert(1)</script>'\"><img src=x onerror=1>"
    explanation = explain({nasty: nasty}, [1.0, 2.0, 3.0])
    named = Explanation(
        **{**vars(explanation), "model": nasty, "method": nasty, "outputs": (Pinned(0, nasty, "logit"),)}
    )
    for html in (
        page([named, named], title=nasty),
        fragment(named),
        comparison_page(Comparison((named,), np.eye(1)), nasty),
    ):
        tags = read(html).tags
        assert "script" not in tags
        assert "img" not in tags
        assert tags.count("style") == 1
        assert "<script" not in html


def test_a_page_needs_no_network() -> None:
    html = page([FILM, FILM])
    assert not re.search(r"https?:|//|@import|url\(|<link|<script", html)
    assert html.startswith("<!DOCTYPE html>\n")
    assert html.index('<meta charset="utf-8">') < 200


def test_the_number_and_the_tokens_are_at_hand() -> None:
    spans = [None, Span("text", 0, 3), Span("text", 3, 9), None]
    tokens = group({"text": "wonderful"}, range(4), ["[A]", "won", "##derful", "[Z]"], spans)
    explanation = Explanation(**{**vars(FILM), "tokens": tokens, "scores": np.array([0.0, 0.5, -2.0, 0.0])})
    parser = read(fragment(explanation))
    assert parser.tips == ["−1.50, 100% of the largest. Sum of 2 tokens: won +0.500, ##derful −2.00"]
    assert 'tabindex="0"' in fragment(explanation)


def test_many_explanations_have_an_index_that_tells_failures() -> None:
    html = page([FILM, explain("bad", checks=BAD)])
    index = html[html.index("<nav") : html.index("</nav>")]
    assert 'href="#saliently-2"' in index
    assert 'id="saliently-2"' in html
    assert index.count("failed</td>") == 1


@pytest.mark.parametrize(
    ("fill", "ink", "ground"), [(LIGHT_FILL, LIGHT_INK, LIGHT_GROUND), (DARK_FILL, DARK_INK, DARK_GROUND)]
)
def test_every_shade_is_legible(fill: Hues, ink: Rgb, ground: Rgb) -> None:
    for hue in fill:
        for share in np.linspace(0, 1, 11):
            assert contrast(mix(hue, ground, share), ink) >= 4.5


def test_a_failed_check_is_seen_everywhere_and_on_top() -> None:
    failed = explain("so good", checks=BAD)
    for html in (page([failed]), fragment(failed), comparison_page(Comparison((failed,), np.eye(1)))):
        assert "saliently-alert" in html[html.index("</style>") :]
        assert html.index(FAILURE) < html.index('class="saliently-text"')
    plain = " ".join(render(failed, 80).split())
    assert plain.index(FAILURE) < plain.index("so⁺")
    compared = " ".join(render_comparison(Comparison((failed,), np.eye(1))).split())
    assert compared.index("Check failed for A.") < compared.index("so good")
    assert "Check failed" in svg_words(failed)
    assert "Check failed" not in svg_words(FILM)


def svg_words(explanation: Explanation) -> str:
    """The lines that a picture shows: in an SVG each stands in a comment beside its outlines."""
    return " ".join(re.findall("<!-- (.*?) -->", chart(explanation, "svg").decode("utf-8")))


def test_charts_are_pictures() -> None:
    png, svg = chart(FILM, "png"), chart(FILM, "svg")
    assert png.startswith(b"\x89PNG")
    assert len(png) > 5000
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert all(word in svg_words(FILM) for word in ("How much did each word add", "film,", "+0.900", "a gap of 0.10%"))


def test_a_chart_of_any_text_gives_no_warning() -> None:
    text = "$x^2$ 好 رائعا 👩‍👩‍👧 \x1b[0m \ud800 \ufffe --> <!-- " + "long" * 30
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ElementTree.fromstring(chart(explain(text), "svg")).tag.endswith("svg")
        assert chart(explain(text), "png").startswith(b"\x89PNG")


def test_a_character_without_a_glyph_is_a_square() -> None:
    class Latin:
        def get_char_index(self, code: int) -> int:
            return code if code < 0x100 else 0

    assert Fonts(("toy",), (Latin(),)).drawable("a好\u200d\ufe0fb") == "a□b"


def test_a_chart_of_a_long_text_says_which_words_it_shows() -> None:
    assert "All words, in order of the text" in svg_words(explain(" ".join(["word"] * 40)))
    assert "The 40 strongest of 41 words, in order of the text" in svg_words(explain(" ".join(["word"] * 41)))


def test_without_matplotlib_the_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=re.escape("pip install 'saliently[plot]'")):
        save(FILM, tmp_path / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_save_by_ending(tmp_path: Path) -> None:
    for name, start in (("a.html", b"<!DOCTYPE"), ("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.json", b"{\n")):
        save(FILM, tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(start)
    with pytest.raises(RecipeError, match=r"'\.pdf' is not known"):
        save(FILM, tmp_path / "a.pdf")
    with pytest.raises(RecipeError, match="one explanation; 2 were given"):
        save([FILM, FILM], tmp_path / "b.png")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.SVG", "a.html", "a.json", "a.png"]


def test_an_interrupt_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.html"
    path.write_bytes(b"old")

    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("saliently.view.files.os.fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["a.html"]


UNSIGNED = explain("A good film, never dull", [0.2, 1.0, 0.1, 0.4, 0.7], signed=False)
OTHER = Explanation(**{**vars(UNSIGNED), "method": "other()"})
BOTH = Comparison((FILM, OTHER), np.array([[1.0, np.nan], [np.nan, 1.0]]))

GOLDEN_COMPARISON = """\
Words in order of the text
             A toy         B other
word      saliency     sensitivity
A           +0.100           0.200*
good         +2.00⁺⁺⁺         1.00***
film,       −0.400⁻          0.100
never       +0.900⁺⁺         0.400**
dull         −1.00⁻⁻         0.700***

Agreement (Kendall's tau-b of the words' magnitudes)
                   A               B
A toy          +1.00             n/a
B other          n/a           +1.00

"""


def test_comparison_has_words_down_and_methods_across() -> None:
    plain = render_comparison(BOTH, 80)
    assert GOLDEN_COMPARISON in plain
    assert "different kinds of numbers (saliency, sensitivity)" in plain


def test_comparison_fits_a_very_narrow_terminal() -> None:
    assert max(map(cell_len, render_comparison(BOTH, 20).split("\n"))) <= 20


def test_comparison_fits_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_comparison(Comparison((FILM, OTHER, FILM, OTHER), np.full((4, 4), 0.5)), 40)
    plain = capsys.readouterr().out
    assert max(map(cell_len, plain.split("\n"))) <= 40
    assert len(re.findall(r"^good", plain, flags=re.MULTILINE)) == 2


def test_comparison_page_says_the_same() -> None:
    html = comparison_page(BOTH)
    assert "n/a" in html
    assert "different kinds of numbers" in html
    assert read(html).texts == {"text": "A good film, never dull"}
    assert "different kinds" not in comparison_fragment(Comparison((FILM, FILM), np.eye(2)))


def test_comparison_of_other_words_is_refused() -> None:
    with pytest.raises(RecipeError, match="same words"):
        render_comparison(Comparison((FILM, explain("another text")), np.eye(2)))
    with pytest.raises(RecipeError, match="at least one"):
        render_comparison(Comparison((), np.eye(0)))


@pytest.mark.parametrize("text", ["", "   ", "Great"])
def test_texts_of_no_word_or_one(text: str) -> None:
    explanation = explain({"text": text})
    assert ("No word has a score" in render(explanation, 60)) == (text != "Great")
    assert read(fragment(explanation)).texts["text"] == text
    assert chart(explanation, "png").startswith(b"\x89PNG")


def test_a_cut_text_says_so() -> None:
    tokens = type(FILM.tokens)(
        **{**vars(FILM.tokens), "truncated": (700, 512), "notes": ("Cut from 700 to 512 tokens.",)}
    )
    cut = Explanation(**{**vars(FILM), "tokens": tokens})
    assert render(cut, 80).count("Cut from 700 to 512 tokens.") == 1
    assert "Cut from 700 to 512 tokens." in fragment(cut)


def test_several_outputs_are_all_named() -> None:
    two = (Pinned(1, "GOOD", "logit"), Pinned(0, "BAD", "logit", predicted=False))
    plain = render(Explanation(**{**vars(FILM), "outputs": two, "values": (3.0, -4.0), "nothing": (0.5, 0.6)}), 80)
    assert "the logit of BAD, not what the model predicts" in plain
    assert "−4.00; with every word blanked (zero) 0.600" in plain
