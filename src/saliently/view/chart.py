"""A bar chart as PNG or SVG. Matplotlib is imported when a chart is drawn; its global state is left alone."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal

from saliently.errors import MissingExtraError
from saliently.types import Explanation
from saliently.view.fonts import Fonts, installed
from saliently.view.ink import Ink
from saliently.view.palette import LIGHT_INK, STRONG, Rgb, hexadecimal
from saliently.view.parts import target_sentence
from saliently.view.spell import cut, flat, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

MOST = 40  # bars in one picture
_WIDTH, _ROW, _LINE, _TITLE = 8.0, 0.26, 0.18, 0.22  # inches
_INK, _QUIET = hexadecimal(LIGHT_INK), "#5b616b"


def chart(explanation: Explanation, kind: Literal["png", "svg"]) -> bytes:
    """Words in text order from top to bottom with signed bars; of a long text the strongest.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    bars = _bars(explanation)
    layout = Layout.of(explanation, _footer(explanation, len(bars)), (_WIDTH, _ROW * max(1, len(bars))))
    figure = blank_figure(_WIDTH, layout.height, kind)
    layout.write(figure, installed())
    _draw(figure.add_axes((0.25, layout.below / layout.height, 0.71, layout.body / layout.height)), bars, installed())
    return written(figure, kind)


def blank_figure(width: float, height: float, kind: str) -> Figure:
    """A white figure of so many inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            f"A .{kind} picture was asked for, but matplotlib is not installed. "
            "Install it with: pip install 'saliently[plot]'"
        ) from None
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def written(figure: Figure, kind: str) -> bytes:
    """The figure as a file of that kind."""
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, dpi=150)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Bar:
    word: str
    share: float
    written: str
    colour: Rgb
    signed: bool


@dataclass(frozen=True)
class Layout:
    """Lines of text above and below a picture, and how much room each takes, in inches; `body` is the picture's."""

    title: tuple[str, ...]
    alerts: tuple[str, ...]
    footer: tuple[str, ...]
    body: float

    @staticmethod
    def of(explanation: Explanation, footer: Sequence[str], size: tuple[float, float]) -> Layout:
        """What frames a picture of an explanation that is so wide and high: its question and the checks that failed."""
        warning = "\N{BLACK UP-POINTING TRIANGLE} Check failed."
        alerts = (f"{warning} {said}" for said in explanation.checks.failed)
        width, body = size
        return Layout(
            tuple(_wrapped(explanation.question, int(10 * width))),
            tuple(line for said in alerts for line in _wrapped(said, int(11.25 * width))),
            tuple(line for said in footer for line in _wrapped(said, int(14 * width))),
            body,
        )

    @property
    def above(self) -> float:
        """The room for title and alerts."""
        return 0.32 + _TITLE * len(self.title) + (_LINE * len(self.alerts) + 0.1 if self.alerts else 0)

    @property
    def below(self) -> float:
        """The room for the footer."""
        return 0.35 + _LINE * len(self.footer)

    @property
    def height(self) -> float:
        """All of it."""
        return self.above + self.body + self.below

    def write(self, figure: Figure, fonts: Fonts) -> None:
        """Put the lines on the figure."""
        # No bold: a fallback font without it would be reported on every drawing.
        title = {"fontsize": 11, "color": _INK}
        warning = {"fontsize": 9.5, "color": "#a84f00"}
        small = {"fontsize": 8, "color": _QUIET}
        for at, line in self._placed(self.title, 0.15, _TITLE):
            dress(figure.text(0.03, at, fonts.drawable(line), va="top"), fonts, title)
        for at, line in self._placed(self.alerts, 0.25 + _TITLE * len(self.title), _LINE):
            dress(figure.text(0.03, at, fonts.drawable(line), va="top"), fonts, warning)
        for at, line in self._placed(self.footer, self.height - self.below + 0.2, _LINE):
            dress(figure.text(0.03, at, fonts.drawable(line), va="top"), fonts, small)

    def _placed(self, lines: tuple[str, ...], top: float, step: float) -> list[tuple[float, str]]:
        """Each line with its height on the figure, 1 at the top."""
        return [(1 - (top + i * step) / self.height, line) for i, line in enumerate(lines)]


def dress(written: Text, fonts: Fonts, look: dict[str, Any]) -> None:
    """Give a written line its look."""
    # A dollar sign is a dollar sign, not the start of a formula.
    written.update({**look, "fontfamily": list(fonts.names), "parse_math": False})


def _bars(explanation: Explanation) -> list[_Bar]:
    ink = Ink.of(explanation)
    words = explanation.words()
    strongest = sorted(range(len(words)), key=lambda i: -abs(words[i].score or 0.0))[:MOST]
    return [_bar(words[i].text, words[i].score or 0.0, ink) for i in sorted(strongest)]


def _bar(word: str, score: float, ink: Ink) -> _Bar:
    share = ink.share(score)
    return _Bar(cut(word), share, ink.number(score), STRONG.of(share, ink.signed), ink.signed)


def _draw(axes: Axes, bars: list[_Bar], fonts: Fonts) -> None:
    rows = range(len(bars))
    shares = [bar.share for bar in bars]
    axes.barh(rows, shares, height=0.66, color=[hexadecimal(bar.colour) for bar in bars])
    axes.axvline(0, color=_QUIET, linewidth=0.8)
    # Room for the number at the end of the longest bar, on each side that has bars.
    axes.set_xlim(min([0.0, *shares]) - (0.2 if min([0.0, *shares]) < 0 else 0.0), max([0.0, *shares]) + 0.2)
    axes.set_ylim(max(1, len(bars)) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    left = axes.get_yaxis_transform()
    for row, bar in zip(rows, bars, strict=True):
        word = axes.text(-0.02, row, fonts.drawable(bar.word), transform=left, ha="right", va="center")
        dress(word, fonts, {"fontsize": 9.5, "color": _INK})
        before, gap = (True, -0.015) if bar.share < 0 else (False, 0.015)
        axes.text(
            bar.share + gap,
            row,
            bar.written,
            ha="right" if before else "left",
            va="center",
            fontsize=8.5,
            color=_INK,
        )


def _footer(explanation: Explanation, count: int) -> list[str]:
    words = len(explanation.words())
    order = f"The {count} strongest of {words} words" if count < words else "All words"
    signed = Ink.of(explanation).signed
    meaning = "blue (right) raises, orange (left) lowers the target" if signed else "longer is stronger"
    return [f"{order}, in order of the text; {meaning}.", *asked_and_checked(explanation)]


def asked_and_checked(explanation: Explanation) -> list[str]:
    """The target with its value, and the checks that did not fail, which stand above."""
    value = number(explanation.values[0], signed=False)
    if explanation.nothing is not None:
        value += f", with every word blanked {number(explanation.nothing[0], signed=False)}"
    return [
        f"Target: {target_sentence(explanation.target)}: {value}.",
        *(said for said in explanation.checks.sentences() if said not in explanation.checks.failed),
    ]


def _wrapped(said: str, columns: int) -> list[str]:
    return textwrap.wrap(flat(said), columns)
