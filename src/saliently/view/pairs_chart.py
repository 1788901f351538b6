"""What pairs of words do together as PNG or SVG: arcs above, the matrix of words in the same columns below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rich.cells import cell_len

from saliently.types import Explanation
from saliently.view.arcs import arc_heights
from saliently.view.chart import Layout, asked_and_checked, blank_figure, chart, dress, written
from saliently.view.fonts import installed
from saliently.view.heat import shade
from saliently.view.interactions import APART, Together, cells_meaning
from saliently.view.nodes import Mark
from saliently.view.palette import LIGHT_INK, STRONG, hexadecimal
from saliently.view.spell import MINUS, cut, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LETTER, _ROOM, _RIGHT = 0.085, 0.3, 0.3  # inches: width of a letter, room beside names, and right of the matrix
_MANY, _SMALLEST, _LARGEST = 8.0, 0.22, 0.42  # inches: columns are as wide as all of them fit, within bounds
_ARCS = 2.4  # inches: arcs at their highest
_LEAST = 6.5  # inches: width of a picture
_LINES, _FAINT, _THREAD = hexadecimal(LIGHT_INK), "#d5d8dd", "#a9aeb6"


def pairs_chart(explanation: Explanation, kind: Literal["png", "svg"]) -> bytes:
    """Arcs over the words and the matrix of words; bars, where there is no pair to draw.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    together = Together.of(explanation)
    if len(together.words) < 2:
        return chart(explanation, kind)
    grid = _Grid.of(together)
    layout = Layout.of(explanation, _footer(explanation, together), (grid.width, grid.height))
    figure = blank_figure(grid.width, layout.height, kind)
    layout.write(figure, installed())
    side, columns = grid.side / grid.width, grid.square * len(grid.names) / grid.width
    bottom, high = layout.below / layout.height, grid.square * len(grid.names) / layout.height
    matrix = figure.add_axes((side, bottom, columns, high), facecolor="white")
    _draw_matrix(matrix, together)
    _write_names(matrix, grid)
    _draw_threads(matrix, grid, together)
    if together.pairs:
        above = bottom + high + grid.head / layout.height
        arcs = figure.add_axes((side, above, columns, grid.arcs / layout.height), facecolor="white")
        _draw_arcs(arcs, together)
    return written(figure, kind)


@dataclass(frozen=True)
class _Grid:
    """Inches: the square of a cell, the names beside and above the cells, and the arcs above those."""

    names: tuple[str, ...]
    square: float
    side: float
    head: float
    arcs: float

    @staticmethod
    def of(together: Together) -> _Grid:
        names = tuple(cut(word.text) for word in together.words)
        square = min(_LARGEST, max(_SMALLEST, _MANY / len(names)))
        longest = _LETTER * max(map(cell_len, names))
        arcs = min(_ARCS, 0.3 + 0.4 * square * len(names)) if together.pairs else 0.0
        return _Grid(names, square, longest + _ROOM, longest + 0.2, arcs)

    @property
    def width(self) -> float:
        return max(_LEAST, self.side + self.square * len(self.names) + _RIGHT)

    @property
    def height(self) -> float:
        return self.arcs + self.head + self.square * len(self.names)


def _footer(explanation: Explanation, together: Together) -> list[str]:
    how = (
        f"Pairs of words as arcs: {together.how_many}{together.left_out}; thicker is stronger."
        if together.pairs
        else APART
    )
    signs = "Blue, solid or + raises; orange, dashed or \N{MINUS SIGN} lowers the target."
    largest = number(together.cell_ink.largest, False)
    pair = f", of the largest pair {number(together.pair_ink.largest, False)}" if together.pairs else ""
    return [
        f"{how} {signs}",
        f"{cells_meaning(explanation)} The size of the largest cell is {largest}{pair}.",
        *asked_and_checked(explanation),
    ]


def _bare(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)


def _draw_matrix(axes: Axes, together: Together) -> None:
    ink, count = together.cell_ink, len(together.words)
    shares = [[ink.share(float(score)) for score in row] for row in together.cells]
    axes.imshow([[shade(share, True) for share in row] for row in shares], aspect="auto", interpolation="nearest")
    _bare(axes)
    for edge in range(count + 1):
        axes.axhline(edge - 0.5, color=_FAINT, linewidth=0.5, clip_on=False)
        axes.axvline(edge - 0.5, color=_FAINT, linewidth=0.5, clip_on=False)
    for start in together.starts:
        axes.axhline(start - 0.5, color=_LINES, linewidth=1)
        axes.axvline(start - 0.5, color=_LINES, linewidth=1)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            if Mark("", share, True).level:
                axes.text(j, i, "+" if share > 0 else MINUS, ha="center", va="center", fontsize=8, color=_LINES)


def _write_names(axes: Axes, grid: _Grid) -> None:
    fonts, look = installed(), {"fontsize": 8.5, "color": _LINES}
    for at, name in enumerate(map(fonts.drawable, grid.names)):
        dress(axes.text(-0.7, at, name, ha="right", va="center"), fonts, look)
        dress(axes.text(at, -0.7, name, ha="center", va="bottom", rotation=90), fonts, look)


def _draw_threads(axes: Axes, grid: _Grid, together: Together) -> None:
    """Lines from the feet of arcs down to their words, which end on the matrix and so are not all as near."""
    from matplotlib.lines import Line2D

    for at in {word for pair in together.pairs for word in pair[:2]}:
        top = 0.9 + _LETTER * cell_len(grid.names[at]) / grid.square
        foot = 0.4 + grid.head / grid.square
        if top < foot:
            axes.add_artist(Line2D([at, at], [-top, -foot], color=_THREAD, linewidth=0.7, clip_on=False))


def _draw_arcs(axes: Axes, together: Together) -> None:
    """The strongest is drawn last, over the others."""
    from matplotlib.patches import Arc

    spans = [float(j - i) for i, j, _ in together.pairs]
    heights = arc_heights(spans, 1.0)
    axes.set_xlim(-0.5, len(together.words) - 0.5)
    axes.set_ylim(0, 1.06)
    _bare(axes)
    for (i, j, score), high in reversed(list(zip(together.pairs, heights, strict=True))):
        share = together.pair_ink.share(score)
        arc = Arc(((i + j) / 2, 0), j - i, 2 * high, theta1=0, theta2=180)
        arc.set(
            color=hexadecimal(STRONG.of(share, True)),
            linewidth=0.8 + 4 * abs(share),
            alpha=0.4 + 0.6 * abs(share),
            linestyle="solid" if share > 0 else (0, (2.2, 1.2)),
            capstyle="butt",
        )
        axes.add_patch(arc)
