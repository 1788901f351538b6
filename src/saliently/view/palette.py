"""Blue (raises) and orange (lowers), which colour-blind readers tell apart; violet where there is no sign."""

from __future__ import annotations

from typing import NamedTuple

Rgb = tuple[int, int, int]


class Hues(NamedTuple):
    """One colour for each kind of score."""

    raises: Rgb
    lowers: Rgb
    strength: Rgb

    def of(self, share: float, signed: bool) -> Rgb:
        """The hue of a share in [-1, 1]."""
        if not signed:
            return self.strength
        return self.raises if share >= 0 else self.lowers


# Full colour behind a word. With the ink of its theme each has a contrast of at least 4.5 to 1. The colour
# of a weaker word lies between this and the ground of the page, so it has that too.
LIGHT_FILL = Hues((103, 173, 246), (247, 165, 70), (180, 155, 240))
DARK_FILL = Hues((24, 93, 170), (154, 80, 6), (104, 70, 178))
# Lines and bars: seen on both grounds.
STRONG = Hues((31, 119, 209), (205, 104, 6), (128, 90, 213))

LIGHT_INK: Rgb = (27, 31, 36)
LIGHT_GROUND: Rgb = (255, 255, 255)
DARK_INK: Rgb = (236, 239, 244)
DARK_GROUND: Rgb = (22, 25, 31)


def hexadecimal(colour: Rgb) -> str:
    """`(31, 119, 209)` -> `"#1f77d1"`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def contrast(one: Rgb, other: Rgb) -> float:
    """The contrast ratio of the web accessibility guidelines, 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def mix(over: Rgb, ground: Rgb, share: float) -> Rgb:
    """`over` laid on `ground` with an opacity."""
    red, green, blue = (round(share * a + (1 - share) * b) for a, b in zip(over, ground, strict=True))
    return red, green, blue


def _luminance(colour: Rgb) -> float:
    parts = [c / 255 for c in colour]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
