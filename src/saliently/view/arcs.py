"""Arcs over words as a drawing within a page: no script, and nothing to fetch."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from rich.cells import cell_len

from saliently.view.markup import Html, element, text
from saliently.view.nodes import Arcs, Mark
from saliently.view.spell import cut, flat, right_to_left

# Pixels; a letter is a column of a terminal, which is wide enough for most fonts at this size.
_LETTER, _SIZE, _GAP, _SLOT, _FIELD = 7.8, 14, 14, 19, 16
_WIDEST = 790  # of words side by side; more of them stand upright
_LOWEST, _HIGHEST = 36, 200  # arcs
_EDGE = 8
_REACH = 11  # a thin arc is hard to point at

CUES = "An arc is a whole pair: a solid one raises, a dashed one lowers; the thicker, the more."


@dataclass(frozen=True)
class Row:
    """Where words stand: (W,) the middle of each, how wide they are all together, and whether they stand upright."""

    middles: tuple[float, ...]
    width: float
    upright: bool

    @staticmethod
    def of(words: tuple[str, ...], starts: tuple[int, ...]) -> Row:
        """Side by side where there is room for it."""
        wide = [_LETTER * cell_len(word) + _GAP for word in words]
        upright = sum(wide) + _FIELD * len(starts) > _WIDEST
        slots = [float(_SLOT)] * len(words) if upright else wide
        middles, at = [], float(_EDGE)
        for i, slot in enumerate(slots):
            at += _FIELD * (i in starts)
            middles.append(at + slot / 2)
            at += slot
        return Row(tuple(middles), at + _EDGE, upright)


def arc_heights(spans: list[float], highest: float) -> list[float]:
    """How high each arc is, the widest `highest`: by the root of its width, so that neighbours' arcs are seen too."""
    return [highest * sqrt(span / max(spans)) for span in spans]


def drawing(part: Arcs) -> Html:
    """Words in a row below, arcs above; the strongest is drawn last, over the others."""
    words = tuple(cut(word) for word in part.words)
    row = Row.of(words, part.starts)
    spans = [row.middles[j] - row.middles[i] for i, j, _ in part.arcs]
    heights = arc_heights(spans, min(_HIGHEST, max(_LOWEST, 0.4 * max(spans))))
    ground = max(heights) + _EDGE
    below = _LETTER * max(map(cell_len, words)) if row.upright else _SIZE
    arcs = [
        _arc(mark, f"M{row.middles[i]:.1f} {ground:.1f}a{span / 2:.1f} {high:.1f} 0 0 1 {span:.1f} 0")
        for (i, j, mark), span, high in zip(part.arcs, spans, heights, strict=True)
    ]
    named = [
        _word(word, shown, middle, ground + _EDGE, row.upright)
        for word, shown, middle in zip(part.words, words, row.middles, strict=True)
    ]
    size = f"{row.width:.0f}", f"{ground + below + 2 * _EDGE:.0f}"
    attributes = {"width": size[0], "height": size[1], "viewBox": f"0 0 {size[0]} {size[1]}", "role": "img"}
    return element("svg", {**attributes, "aria-label": _label(part)}, *named, *reversed(arcs))


def _arc(mark: Mark, path: str) -> Html:
    share = abs(mark.share)
    thick = 1 + 5.5 * share
    look = {"d": path, "stroke-width": f"{thick:.1f}", "stroke-opacity": f"{0.6 + 0.4 * share:.2f}"}
    if mark.share < 0:
        look["stroke-dasharray"] = f"{3 + 1.2 * thick:.1f} {2 + 0.7 * thick:.1f}"
    reach = element("path", {"d": path, "class": "reach", "stroke-width": f"{max(_REACH, thick):.1f}"})
    kind = "raises" if mark.share >= 0 else "lowers"
    return element("g", {"class": kind}, element("title", {}, text(mark.title)), element("path", look), reach)


def _word(word: str, shown: str, middle: float, top: float, upright: bool) -> Html:
    """A word below its place; upright it is read from below, as over a field of colours, and ends at the top."""
    backwards = right_to_left(word)
    at = {"direction": "rtl" if backwards else "ltr", "text-anchor": "middle"}
    if upright:
        # Where a text runs from right to left, its start is on the right.
        at["text-anchor"] = "start" if backwards else "end"
        at |= {"transform": f"translate({middle:.1f} {top:.1f}) rotate(-90)", "dominant-baseline": "central"}
    else:
        at |= {"x": f"{middle:.1f}", "y": f"{top + 0.8 * _SIZE:.1f}"}
    whole = (element("title", {}, text(flat(word))),) if shown != flat(word) else ()
    return element("text", at, *whole, text(shown))


def _label(part: Arcs) -> str:
    strongest = part.arcs[0][2].title
    return f"{part.caption}. Over {len(part.words)} words. The strongest is {strongest}. A list of the pairs follows."
