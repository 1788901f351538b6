"""What pairs of words do together: arcs over the text, a ranking, and a matrix of words."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from saliently.types import Explanation, Unit
from saliently.view.ink import Ink
from saliently.view.nodes import BETWEEN, Arcs, Bars, Heat, Mark, Part, sentence
from saliently.view.spell import MINUS, flat, number, percent, which

PAIRS = 20  # pairs that are drawn and ranked
WORDS = 60  # of a text with more words, those in the strongest pairs are shown
_BLOCKS = 3  # pieces of a matrix in a terminal

# A pair this small beside the largest cell is what rounding leaves of nothing.
_NOTHING = 1e-6

ALONE = "The text has one word, so there is no pair."
APART = "No two words add anything together."


@dataclass(frozen=True)
class Together:
    """The strongest pairs of an explanation and the words that a picture of them shows, S of them.

    Attributes:
        words: (S,) in order of the text.
        counts: (S,) `"#2"` for the second of several that are spelled alike in one field; empty for one that is alone.
        cells: (S, S) on the diagonal what a word adds by itself, off it half of what two words add together.
        pairs: numbers of two shown words and what they add together, strongest first; none that add nothing.
        of_words, of_pairs: how many the text has. several: does it have several fields?
    """

    words: tuple[Unit, ...]
    counts: tuple[str, ...]
    cells: NDArray[np.float64]
    pairs: tuple[tuple[int, int, float], ...]
    of_words: int
    of_pairs: int
    several: bool

    @staticmethod
    def of(explanation: Explanation) -> Together:
        """What is to be shown of an explanation of interactions."""
        words, cells = explanation.words(), explanation.pairs()
        at, least = {word: i for i, word in enumerate(words)}, _NOTHING * _size(cells)
        strongest = [pair for pair in explanation.top_pairs(PAIRS) if abs(pair.score) > least]
        shown = list(range(len(words)))
        if len(words) > WORDS:
            shown = sorted({at[word] for pair in strongest for word in (pair.first, pair.second)})
        place = {word: i for i, word in enumerate(shown)}
        names = [(word.field, word.text) for word in words]
        return Together(
            tuple(words[i] for i in shown),
            tuple(which(names, i, False) for i in shown),
            cells[np.ix_(shown, shown)],
            tuple((place[at[pair.first]], place[at[pair.second]], pair.score) for pair in strongest),
            len(words),
            len(words) * (len(words) - 1) // 2,
            len(explanation.tokens.fields) > 1,
        )

    @property
    def cell_ink(self) -> Ink:
        """Cells as shares of the largest that is shown."""
        return Ink(True, _size(self.cells))

    @property
    def pair_ink(self) -> Ink:
        """Pairs as shares of the largest."""
        return Ink(True, max((abs(score) for _, _, score in self.pairs), default=0.0))

    @property
    def starts(self) -> tuple[int, ...]:
        """Words with which a field of the input begins, but for the first."""
        return tuple(i for i in range(1, len(self.words)) if self.words[i].field != self.words[i - 1].field)

    @property
    def how_many(self) -> str:
        """`"the strongest 20 of 105"`: which of all pairs are shown."""
        if len(self.pairs) == self.of_pairs:
            return f"all {self.of_pairs}" if self.of_pairs > 1 else "the only one"
        if len(self.pairs) == PAIRS:
            return f"the strongest {PAIRS} of {self.of_pairs}"
        return f"{len(self.pairs)} of {self.of_pairs}, the others add next to nothing"

    @property
    def left_out(self) -> str:
        """Which words are shown, where it is not all of them; else empty."""
        if len(self.words) == self.of_words:
            return ""
        return f"; only the {len(self.words)} of {self.of_words} words that take part in the strongest pairs"

    def name(self, i: int, j: int) -> str:
        """`"not … good"`."""
        return BETWEEN.join(flat(self.words[k].text) for k in (i, j))

    def told_apart(self, i: int, j: int) -> str:
        """Fields of the two words, and what tells them from others spelled alike: `"premise #2 … #1"`."""
        counts = self.counts[i], self.counts[j]
        fields = dict.fromkeys(self.words[k].field for k in (i, j))
        said = [BETWEEN.join(fields)] if self.several else []
        return " ".join([*said, BETWEEN.join(count or "#1" for count in counts)] if any(counts) else said)


def interaction_parts(explanation: Explanation) -> tuple[Part, ...]:
    """What is added to the document of an explanation of interactions."""
    together = Together.of(explanation)
    if together.of_words < 2:
        return (sentence(ALONE),) * together.of_words
    heading = sentence("What pairs of words do together", "heading")
    if not together.pairs:
        return heading, sentence(APART)
    legend = sentence(f"{cells_meaning(explanation)} {_strength(explanation, together)}", "legend")
    return heading, legend, _arcs(together), _ranking(together), _matrix(together)


def cells_meaning(explanation: Explanation) -> str:
    """What a cell of the matrix stands for."""
    return (
        "A cell on the diagonal of the matrix is what a word adds by itself; a cell off it is half of what its two "
        "words add together beyond that, and the other half is in the mirrored cell."
        + (" What words add together with special tokens is in no cell." if _with_specials(explanation) else "")
    )


def _strength(explanation: Explanation, together: Together) -> str:
    cell = together.cells.flat[int(np.abs(together.cells).argmax())]
    return (
        f"A bar is a whole pair. + raises and {MINUS} lowers {explanation.target.describe()}. Strength is a "
        f"share of the largest cell, {number(float(cell))}, or of the largest pair, {number(together.pairs[0][2])}."
    )


def _with_specials(explanation: Explanation) -> bool:
    words = np.array(explanation.tokens.words, dtype=bool)
    return bool(explanation.scores[np.ix_(~words, words)].any())


def _pair(together: Together, row: tuple[int, int, float]) -> Mark:
    i, j, score = row
    ink, told = together.pair_ink, together.told_apart(i, j)
    # The number comes first: behind a word that runs from right to left it would be read as a part of it.
    title = f"{number(score)} together, {percent(abs(ink.share(score)))} of the largest pair: {together.name(i, j)}"
    words = together.words[i].text, together.words[j].text
    return replace(ink.mark(together.name(i, j), score, f"{title} ({told})" if told else title), words=words)


def _arcs(together: Together) -> Arcs:
    arcs = tuple((row[0], row[1], _pair(together, row)) for row in together.pairs)
    caption = f"Pairs of words as arcs: {together.how_many}{together.left_out}"
    return Arcs(caption, tuple(word.text for word in together.words), arcs, together.starts)


def _ranking(together: Together) -> Bars:
    rows = tuple((_pair(together, row), number(row[2]), together.told_apart(*row[:2])) for row in together.pairs)
    return Bars(f"Pairs of words by strength: {together.how_many}", rows)


def _matrix(together: Together) -> Heat:
    heads = tuple(word.text for word in together.words)
    marks = [tuple(_cell(together, i, j) for j in range(len(heads))) for i in range(len(heads))]
    rows = tuple((head, number(float(together.cells[i, i])), marks[i]) for i, head in enumerate(heads))
    caption = f"Words by themselves, on the diagonal and as numbers, and in pairs, off it{together.left_out}"
    return Heat(caption, heads, rows, together.starts, "by itself", _BLOCKS)


def _cell(together: Together, i: int, j: int) -> Mark:
    score = float(together.cells[i, j])
    written = number(score)
    if i == j:
        title = f"{written} by itself: {flat(together.words[i].text)}"
    else:
        title = f"{written}, half of {number(2 * score)} together: {together.name(min(i, j), max(i, j))}"
    return together.cell_ink.mark(written, score, title)


def _size(cells: NDArray[np.float64]) -> float:
    return float(np.abs(cells).max(initial=0.0))
