"""Signs for terminals, and for those that can write ASCII alone."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from saliently.view.nodes import Mark


@dataclass(frozen=True)
class Glyphs:
    """The signs that are drawn around words and in bars."""

    raises: str
    lowers: str
    strength: str
    alert: str
    bullet: str
    ellipsis: str
    axis: str
    full: str
    left_half: str
    right_half: str

    def fit(self, encoding: str) -> bool:
        """Can this encoding write them all?"""
        signs = "".join(astuple(self))
        return signs.encode(encoding, "replace").decode(encoding, "replace") == signs

    def sign(self, mark: Mark) -> str:
        """One to three signs for a strong word, none for a weak one."""
        one = self.strength if not mark.signed else self.raises if mark.share > 0 else self.lowers
        return one * mark.level


UNICODE = Glyphs("⁺", "⁻", "*", "▲", "·", "…", "│", "█", "▌", "▐")
ASCII = Glyphs("+", "-", "*", "!", "-", "~", "|", "#", "", "")
PLAIN = str.maketrans({"\N{MINUS SIGN}": "-", "·": "-", "…": "~", "∞": "inf"})
