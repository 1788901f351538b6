"""Which installed fonts a chart can use, and what they can't draw."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

# Matplotlib's own font first, then common ones for other scripts. Bitmap fonts for emoji can't be drawn.
_WANTED = (
    "DejaVu Sans",
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans SC",
    "Source Han Sans SC",
    "WenQuanYi Micro Hei",
    "Microsoft YaHei",
    "PingFang SC",
    "Hiragino Sans",
    "Malgun Gothic",
    "Noto Sans Arabic",
    "Noto Sans Hebrew",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Thai",
    "Arial Unicode MS",
    "Segoe UI Symbol",
    "Noto Sans Symbols2",
    "Noto Emoji",
)
_MISSING = "\N{WHITE SQUARE}"
# These have no shape of their own: without the emoji that they join or tint they are left out.
_JOINERS = frozenset("\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}\N{VARIATION SELECTOR-15}\N{VARIATION SELECTOR-16}")


@dataclass(frozen=True)
class Fonts:
    """Font families in the order in which they are tried, with their faces."""

    names: tuple[str, ...]
    faces: tuple[Any, ...]

    def drawable(self, text: str) -> str:
        """The text with a hollow square for each character that no font here has."""
        return "".join(c if self._has(c) else _MISSING for c in text if c not in _JOINERS)

    def _has(self, character: str) -> bool:
        return any(face.get_char_index(ord(character)) for face in self.faces)


@cache
def installed() -> Fonts:
    """The wanted fonts that are on this machine; at least matplotlib's own."""
    from matplotlib import font_manager

    known = {entry.name for entry in font_manager.fontManager.ttflist}
    names = tuple(name for name in _WANTED if name in known)
    faces = tuple(font_manager.get_font(font_manager.findfont(name)) for name in names)
    return Fonts(names, faces)
