"""Curves with their intervals as a drawing: told apart by letters, markers and dashes, not by colour alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import ceil, floor, isfinite, log10

from saliently.reports import Figure, Lines
from saliently.view.markup import Html, element, join, text
from saliently.view.report_scale import Scale, interval
from saliently.view.report_style import COLOURS
from saliently.view.spell import MINUS, flat

# Pixels; numbers to the left of the axis, letters behind the ends of curves.
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BELOW = 600, 350, 52, 34, 26, 44
_SAME = 1e-9  # as a share: closer numbers have no marks between them that can be written
_LETTER = 14  # from one letter down to the next
_DASHES = ("", "7 3", "2 3", "9 3 2 3", "12 4")
# Around 0. Their number and those of colours and dashes have no common divisor: many curves all look different.
_MARKERS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M-3.5 -3.5h7v7h-7z",
    "M0 -4.5l4.5 8h-9z",
    "M0 -5l5 5l-5 5l-5 -5z",
    "M0 4.5l4.5 -8h-9z",
    "M-4 -4l8 8m0 -8l-8 8",
    "M0 -5v10m-5 -5h10",
)

Point = tuple[float, Figure]


@dataclass(frozen=True)
class Plane:
    """Where numbers lie in the drawing: those at its four edges are given."""

    left: float
    right: float
    bottom: float
    top: float

    @staticmethod
    def of(lines: Lines) -> Plane:
        """The plane that holds all curves and their intervals."""
        points = [point for curve in lines.curves.values() for point in curve]
        scale = Scale.of(figure for _, figure in points)
        across = [x for x, _ in points if isfinite(x)] or [0.0]
        left, right = _wider(min(across), max(across), 0.0)
        return Plane(left, right, *_wider(scale.low, scale.high, 0.03))

    def across(self, x: float) -> float:
        """Pixels from the left."""
        return _LEFT + (x - self.left) / (self.right - self.left) * (_WIDTH - _LEFT - _RIGHT)

    def down(self, y: float) -> float:
        """Pixels from the top."""
        return _HEIGHT - _BELOW - (y - self.bottom) / (self.top - self.bottom) * (_HEIGHT - _TOP - _BELOW)

    def place(self, x: float, y: float) -> str:
        """Both, for a path."""
        return f"{self.across(x):.1f} {self.down(y):.1f}"


@dataclass(frozen=True)
class Look:
    """What tells the curve of number `i` from others."""

    i: int

    @property
    def letter(self) -> str:
        """A, B, ... Z, A1, ..."""
        return chr(ord("A") + self.i % 26) + (str(self.i // 26) if self.i >= 26 else "")

    @property
    def colour(self) -> str:
        """A class of the style sheet."""
        return f"c{self.i % len(COLOURS)}"

    def stroke(self, path: str) -> Html:
        """The curve."""
        dash = _DASHES[self.i % len(_DASHES)]
        return element("path", {"class": "curve", "d": path, **({"stroke-dasharray": dash} if dash else {})})

    def marker(self, at: str) -> Html:
        """A sign at a place "x y"."""
        shape = _MARKERS[self.i % len(_MARKERS)]
        return element("path", {"class": "marker", "d": shape, "transform": f"translate({at})"})


def drawing(lines: Lines) -> Html:
    """The curves, and beside them who is who, in the order in which they end."""
    plane = Plane.of(lines)
    curves = [(Look(i), name, _known(points)) for i, (name, points) in enumerate(lines.curves.items())]
    shown = [curve for curve in curves if curve[2]]
    ends = _apart([plane.down(points[-1][1].value) for _, _, points in shown])
    drawn = [_curve(plane, *curve, end) for curve, end in zip(shown, ends, strict=True)]
    size = {"width": str(_WIDTH), "height": str(_HEIGHT), "viewBox": f"0 0 {_WIDTH} {_HEIGHT}", "role": "img"}
    label = f"{lines.title}: {lines.y} by {lines.x}; {len(curves)} curves. Their figures follow as a table."
    picture = element("svg", {**size, "aria-label": flat(label)}, _axes(plane, lines), *drawn)
    key = [entry for _, entry in sorted(zip(ends, map(_entry, shown), strict=True), key=lambda pair: pair[0])]
    return element(
        "div", {"class": "saliently-curves"}, element("div", {"class": "drawing"}, picture), element("ul", {}, *key)
    )


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers from `low` to `high`."""
    rough = (high - low) / 5
    power = 10.0 ** floor(log10(rough))
    step = next(each * power for each in (1, 2, 2.5, 5, 10) if each * power >= rough * (1 - 1e-9))
    return [i * step for i in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


def _wider(low: float, high: float, share: float) -> tuple[float, float]:
    """With room at both ends; numbers that are all the same get some on each side."""
    same = high - low <= _SAME * max(abs(low), abs(high), _SAME)
    room = (abs(low) / 2 or 0.5) if same else (high - low) * share
    return low - room, high + room


def _known(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if isfinite(point[0]) and isfinite(point[1].value)]


def _curve(plane: Plane, look: Look, name: str, points: list[Point], end: float) -> Html:
    """Its band, its line and its points, each with its number, and its letter behind the end."""
    path = "M" + "L".join(plane.place(x, figure.value) for x, figure in points)
    last, figure = points[-1]
    lead = f"M{plane.across(last) + 6:.1f} {plane.down(figure.value):.1f}L{_WIDTH - _RIGHT + 14} {end:.1f}"
    behind = {"x": str(_WIDTH - _RIGHT + 17), "y": f"{end + 4.5:.1f}"}
    return element(
        "g",
        {"class": f"line {look.colour}"},
        element("title", {}, text(f"{look.letter} {flat(name)}")),
        *_bands(plane, points),
        look.stroke(path),
        *(look.marker(f"{plane.across(x):.1f} {plane.down(figure.value):.1f}") for x, figure in points),
        element("path", {"class": "lead", "d": lead}),
        element("text", behind, text(look.letter)),
    )


def _bands(plane: Plane, points: list[Point]) -> Iterator[Html]:
    """The intervals of neighbouring points as one area; a point by itself has a bar."""
    for there, run in groupby(points, key=lambda point: interval(point[1]) is not None):
        if there:
            ends = [(x, pair) for x, figure in run if (pair := interval(figure)) is not None]
            above = [plane.place(x, high) for x, (_, high) in ends]
            below = [plane.place(x, low) for x, (low, _) in reversed(ends)]
            yield element("path", {"class": "band", "d": f"M{'L'.join((*above, *below))}z"})


def _axes(plane: Plane, lines: Lines) -> Html:
    bottom, right = _HEIGHT - _BELOW, _WIDTH - _RIGHT
    upwards, across = ticks(plane.bottom, plane.top), ticks(plane.left, plane.right)
    drawn = []
    for y, said in zip(upwards, _labels(upwards), strict=True):
        at = f"{plane.down(y):.1f}"
        drawn.append(element("path", {"class": "grid", "d": f"M{_LEFT} {at}H{right}"}))
        place = {"x": str(_LEFT - 8), "y": at, "text-anchor": "end", "dominant-baseline": "central"}
        drawn.append(element("text", {"class": "tick", **place}, text(said)))
    for x, said in zip(across, _labels(across), strict=True):
        at = f"{plane.across(x):.1f}"
        drawn.append(element("path", {"class": "axis", "d": f"M{at} {bottom}v5"}))
        place = {"x": at, "y": str(bottom + 18), "text-anchor": "middle"}
        drawn.append(element("text", {"class": "tick", **place}, text(said)))
    drawn.append(element("path", {"class": "axis", "d": f"M{_LEFT} {bottom}H{right}"}))
    middle = str((_LEFT + right) // 2)
    drawn.append(element("text", {"x": middle, "y": str(_HEIGHT - 6), "text-anchor": "middle"}, text(flat(lines.x))))
    drawn.append(element("text", {"x": "4", "y": "13"}, text(flat(lines.y))))
    return join(*drawn)


def _labels(numbers: list[float]) -> list[str]:
    """Each with the digits that the step between them needs, and no more."""
    step = numbers[1] - numbers[0]
    digits = next((n for n in range(12) if abs(round(step, n) - step) < step * 1e-6), None)
    if digits is None or max(map(abs, numbers)) >= 1e6:
        return [f"{each:.3g}".replace("-", MINUS) for each in numbers]
    return [f"{each:z.{digits}f}".replace("-", MINUS) for each in numbers]


def _apart(heights: list[float]) -> list[float]:
    """Letters at their ends, moved as little as keeps each legible and above the axis."""
    placed = list(heights)
    lowest = _HEIGHT - _BELOW + 4.0
    for i in sorted(range(len(heights)), key=lambda i: -heights[i]):
        placed[i] = min(heights[i], lowest)
        lowest = placed[i] - _LETTER
    return placed


def _entry(curve: tuple[Look, str, list[Point]]) -> Html:
    look, name, _ = curve
    sample = element(
        "svg",
        {"width": "44", "height": "14", "viewBox": "0 0 44 14", "class": look.colour, "aria-hidden": "true"},
        look.stroke("M1 7H43"),
        look.marker("22 7"),
    )
    return element("li", {}, sample, element("b", {}, text(look.letter)), element("bdi", {}, text(flat(name))))
