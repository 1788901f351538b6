"""A picture as a small tree of frozen nodes, the same for the terminal and the page: both say the same.

Nodes hold raw text. How odd characters are made visible and escaped is the business of whoever draws them.

    Document
    ├── Sentence    prose in a role: question, alert, heading, legend, plain, small
    ├── Facts       names and what they are
    ├── Passage     one field of the user's text, cut into words (Mark) and gaps (Text)
    ├── Strip       a few scored items in a row: special tokens
    ├── Bars        words with a signed bar and a number
    ├── Table       words down, methods across
    ├── Heat        outputs down, words across, as colours; or words down and across
    ├── Arcs        words in a row and arcs over pairs of them; a terminal has the Bars of the same pairs instead
    └── Items       sentences, one a line
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["question", "alert", "heading", "legend", "plain", "small"]

# From which share of the largest score on a word carries one, two or three signs.
LEVELS = (0.15, 0.4, 0.7)

BETWEEN = " \N{HORIZONTAL ELLIPSIS} "  # two words that stand for a pair


@dataclass(frozen=True)
class Text:
    """Characters without a score."""

    text: str


@dataclass(frozen=True)
class Mark:
    """Something with a score.

    Attributes:
        share: the score as a share of the largest magnitude, in [-1, 1].
        signed: does the sign mean something? If not, the share is a strength.
        title: what is said when a reader points at it.
        words: where the text is several words, these: a page keeps the direction of each to itself.
    """

    text: str
    share: float
    signed: bool
    title: str = ""
    words: tuple[str, ...] = ()

    @property
    def level(self) -> int:
        """0 (hardly anything) to 3 (among the strongest)."""
        return sum(abs(self.share) >= least for least in LEVELS)


@dataclass(frozen=True)
class Sentence:
    """Prose; a legend may hold marks as samples."""

    inlines: tuple[Text | Mark, ...]
    role: Role = "plain"


@dataclass(frozen=True)
class Facts:
    """Names and what they are, one pair a row."""

    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Passage:
    """The user's own text of one field, whole; `name` is None where there is one field only."""

    field: str
    name: str | None
    inlines: tuple[Text | Mark, ...]


@dataclass(frozen=True)
class Strip:
    """A few scored items in a row, each with its number."""

    name: str
    items: tuple[tuple[Mark, str], ...]


@dataclass(frozen=True)
class Bars:
    """Words with a bar of their share; a row is word, number, and which of several equal words it is."""

    caption: str
    rows: tuple[tuple[Mark, str, str], ...]


@dataclass(frozen=True)
class Head:
    """The head of a column: a short name, what it stands for, and what kind of number is in the column."""

    name: str
    under: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of marks under named columns; the text of a mark is its number."""

    caption: str
    corner: str
    heads: tuple[Head, ...]
    rows: tuple[tuple[str, tuple[Mark, ...]], ...]


@dataclass(frozen=True)
class Heat:
    """A field of colours. Columns are named by `heads`; a row is a name, its value, and a mark a column, whose text is
    its number. Before the columns `starts` there is a gap.

    Attributes:
        measure: what the value of a row is.
        most: blocks of columns that it may be cut into where there is little room, so that it is still read as one;
            None for as many as it takes.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Mark, ...]], ...]
    starts: tuple[int, ...] = ()
    measure: str = "value"
    most: int | None = None


@dataclass(frozen=True)
class Arcs:
    """Words in a row and what pairs of them do: an arc is the numbers of its words, the smaller first, and a mark;
    strongest first. Before the words `starts` there is a gap."""

    caption: str
    words: tuple[str, ...]
    arcs: tuple[tuple[int, int, Mark], ...]
    starts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Items:
    """Sentences, one a line."""

    sentences: tuple[str, ...]


Part = Sentence | Facts | Passage | Strip | Bars | Table | Heat | Arcs | Items


@dataclass(frozen=True)
class Document:
    """All there is to see, top to bottom."""

    parts: tuple[Part, ...]


def sentence(text: str, role: Role = "plain") -> Sentence:
    """Prose of one run of text."""
    return Sentence((Text(text),), role)
