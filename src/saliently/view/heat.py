"""Outputs down, words across, as PNG or SVG, by matplotlib, which is imported when it is drawn."""

from __future__ import annotations

from typing import Literal

from rich.cells import cell_len

from saliently.matrices import Matrix
from saliently.view.chart import blank_figure, dress, written
from saliently.view.fonts import installed
from saliently.view.ink import UNSIGNED, Ink
from saliently.view.matrix import field_starts, largest
from saliently.view.palette import LIGHT_INK, STRONG, hexadecimal
from saliently.view.parts import MEANING
from saliently.view.spell import cut, number

_SQUARE, _LETTER, _LINE = 0.22, 0.085, 0.3  # inches: side of a cell, width of a letter, height of a line


def heat_chart(matrix: Matrix, kind: Literal["png", "svg"]) -> bytes:
    """A field of colours: a row an output, a column a word.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rows = [cut(each.target.label) for each in matrix]
    heads = [cut(unit.text) for unit in matrix[0].words()]
    left = 0.3 + _LETTER * max(map(cell_len, rows))
    above = 2 * _LINE + 0.2 + _LETTER * max(map(cell_len, heads))
    wide, high = max(6.5, left + _SQUARE * len(heads) + 0.3), above + _SQUARE * len(rows) + _LINE
    figure, fonts = blank_figure(wide, high, kind), installed()
    axes = figure.add_axes(
        (left / wide, _LINE / high, _SQUARE * len(heads) / wide, _SQUARE * len(rows) / high), facecolor="white"
    )
    axes.imshow(_colours(matrix), aspect="auto", interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for start in field_starts(matrix):
        axes.axvline(start - 0.5, color=hexadecimal(LIGHT_INK), linewidth=1)
    ink = {"fontsize": 8, "color": hexadecimal(LIGHT_INK)}
    for i, name in enumerate(rows):
        dress(axes.text(-0.7, i, fonts.drawable(name), ha="right", va="center"), fonts, ink)
    for j, name in enumerate(heads):
        dress(axes.text(j, -0.7, fonts.drawable(name), ha="center", va="bottom", rotation=90), fonts, ink)
    first = matrix[0]
    said = (
        f"Which words did each output depend on? {first.method}, of {first.model or 'the model'}",
        f"{MEANING[first.quantity]}; the strongest is {number(largest(matrix), False)}",
    )
    for line, text in enumerate(said):
        dress(figure.text(0.02, 1 - (0.1 + line * 0.75 * _LINE) / high, fonts.drawable(text), va="top"), fonts, ink)
    return written(figure, kind)


def _colours(matrix: Matrix) -> list[list[tuple[float, float, float]]]:
    """A colour a cell."""
    signed = matrix[0].quantity not in UNSIGNED
    ink = Ink(signed, largest(matrix))

    return [[shade(ink.share(unit.score or 0.0), signed) for unit in each.words()] for each in matrix]


def shade(share: float, signed: bool) -> tuple[float, float, float]:
    """White where there is nothing, the hue of the sign where a share is as large as can be."""
    full = STRONG.of(share, signed)
    red, green, blue = (1 - abs(share) * (1 - channel / 255) for channel in full)
    return red, green, blue
