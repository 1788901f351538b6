"""How strong a colour a score gets."""

from __future__ import annotations

from dataclasses import dataclass

from saliently.types import Explanation
from saliently.view.nodes import Mark
from saliently.view.spell import number

# What a strong word is where a sign means nothing; with the other quantities words raise or lower.
UNSIGNED = {"sensitivity": "more sensitive", "attention": "more attention", "selection": "kept"}


@dataclass(frozen=True)
class Ink:
    """How scores become shares: divided by the largest magnitude of a word, of one explanation."""

    signed: bool
    largest: float

    @staticmethod
    def of(explanation: Explanation) -> Ink:
        """The ink that fits the words of this explanation."""
        sizes = [abs(word.score or 0.0) for word in explanation.words()]
        return Ink(explanation.quantity not in UNSIGNED, max(sizes, default=0.0))

    def share(self, score: float) -> float:
        """In [-1, 1]; a special token may be larger than any word and is cut off there."""
        return max(-1.0, min(1.0, score / self.largest)) if self.largest else 0.0

    def mark(self, text: str, score: float, title: str = "") -> Mark:
        """The text in the colour of its score."""
        return Mark(text, self.share(score), self.signed, title)

    def number(self, score: float) -> str:
        """The raw score."""
        return number(score, self.signed)
