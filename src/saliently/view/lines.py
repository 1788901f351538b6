"""Parts as lines of styled text. Rich measures, wraps and colours; nothing here prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text as Styled

from saliently.view.glyphs import PLAIN, UNICODE, Glyphs
from saliently.view.nodes import (
    LEVELS,
    Arcs,
    Bars,
    Document,
    Facts,
    Head,
    Heat,
    Items,
    Mark,
    Part,
    Passage,
    Sentence,
    Strip,
    Table,
    Text,
)
from saliently.view.palette import STRONG, hexadecimal
from saliently.view.spell import flat, in_terminal, percent

_RULER = Console(width=80, color_system=None, force_jupyter=False)  # wrapping asks for a console, whatever its width
_ROLES = {
    "question": "bold",
    "alert": "bold",
    "heading": "bold",
    "legend": "dim",
    "plain": "",
    "small": "dim",
}


_CELL, _TALLEST = 4, 10
"""Columns of a cell of a field of colours, three signs and a gap, and most letters of a word that stands upright."""


@dataclass(frozen=True)
class Sheet:
    """What is drawn on: so many columns, in this encoding, with these signs."""

    width: int
    encoding: str
    glyphs: Glyphs

    def lines(self, document: Document) -> Iterator[Styled]:
        """The document, line by line; an empty line between parts, headings close to what they head."""
        close = True
        for part in document.parts:
            # Arcs take more than lines of letters; the bars that go with them say the same.
            if isinstance(part, Arcs):
                continue
            if not close:
                yield Styled()
            yield from self._part(part)
            close = isinstance(part, Sentence) and part.role == "heading"

    def _part(self, part: Part) -> Iterator[Styled]:
        match part:
            case Sentence():
                yield from self._sentence(part)
            case Facts():
                yield from self._facts(part)
            case Passage():
                yield from self._passage(part)
            case Strip():
                yield from self._strip(part)
            case Bars():
                yield from self._bars(part)
            case Table():
                yield from self._table(part)
            case Heat():
                yield from self._heat(part)
            case Items():
                for said in part.sentences:
                    yield from self._hanging(f"{self.glyphs.bullet} ", Styled(self._spelled(said)))

    def _sentence(self, part: Sentence) -> Iterator[Styled]:
        prose = Styled(style=_ROLES[part.role])
        for inline in part.inlines:
            prose.append_text(self._inline(inline))
        if part.role == "alert":
            yield from self._hanging(f"{self.glyphs.alert} ", prose, f"bold {hexadecimal(STRONG.lowers)}")
            return
        if part.role == "legend":
            signs = [inline for inline in part.inlines if isinstance(inline, Mark)]
            prose.append_text(Styled(self._key(signs)))
        yield from self._wrapped(prose)

    def _key(self, samples: list[Mark]) -> str:
        if not samples:
            return ""
        ones = " or ".join(self.glyphs.sign(sample)[0] for sample in samples)
        steps = ", ".join(percent(level) for level in LEVELS)
        return f" One, two or three {ones}: from {steps} of it."

    def _facts(self, part: Facts) -> Iterator[Styled]:
        column = max(len(name) for name, _ in part.rows) + 2
        for name, what in part.rows:
            yield from self._hanging(name.ljust(column), Styled(self._spelled(what)), "dim")

    def _passage(self, part: Passage) -> Iterator[Styled]:
        if part.name is not None:
            yield from self._wrapped(Styled(self._spelled(flat(part.name)), style="dim"))
        text = Styled()
        for inline in part.inlines:
            text.append_text(self._inline(inline))
        yield from self._hanging("  ", text if part.inlines else Styled("(empty)", style="dim"))

    def _strip(self, part: Strip) -> Iterator[Styled]:
        line = Styled(part.name, style="dim")
        for mark, written in part.items:
            # A token and its number stay on one line.
            item = self._inline(mark).append(f" {self._spelled(written)}")
            if line.cell_len + 3 + item.cell_len > self.width:
                yield line
                line = Styled(" ")
            line = Styled.assemble(line, "  ", item)
        yield line

    def _bars(self, part: Bars) -> Iterator[Styled]:
        yield from self._wrapped(Styled(part.caption, style="bold"))
        numbers = [self._spelled(written) for _, written, _ in part.rows]
        right = max(cell_len(written) for written in numbers)
        words = [self._spelled(f"{flat(mark.text)} {which}".rstrip()) for mark, _, which in part.rows]
        left = min(max(cell_len(word) for word in words), 24, max(4, (self.width - right) // 2))
        signed = any(mark.signed for mark, _, _ in part.rows)
        room = min(48, self.width - left - right - 4)
        for word, written, (mark, _, _) in zip(words, numbers, part.rows, strict=True):
            row = Styled(self._cell(word, left) + "  ")
            row.append_text(self._bar(mark, room, signed))
            yield row.append("  " + written.rjust(right))

    def _bar(self, mark: Mark, room: int, signed: bool) -> Styled:
        """Half a column is the smallest step; a bar for a negative share grows to the left of the axis."""
        side = (room - 1) // 2 if signed else room
        if side < 3:
            return Styled(" " * max(0, room))
        halves = round(abs(mark.share) * side * 2)
        solid = self.glyphs.full * (halves // 2)
        left = (self.glyphs.right_half if halves % 2 else "") + solid if mark.share < 0 else ""
        right = solid + (self.glyphs.left_half if halves % 2 else "") if mark.share > 0 else ""
        colour = self._colour(mark)
        if not signed:
            return Styled.assemble(((left or right).ljust(side), colour))
        return Styled.assemble((left.rjust(side), colour), (self.glyphs.axis, "dim"), (right.ljust(side), colour))

    def _table(self, part: Table) -> Iterator[Styled]:
        yield from self._wrapped(Styled(self._spelled(part.caption), style="bold"))
        longest = max([cell_len(self._spelled(flat(row[0]))) for row in part.rows] + [cell_len(part.corner), 1])
        left = min(longest, 24, max(4, self.width // 3))
        # "sensitivity", the longest quantity, fits.
        widest = max([cell_len(mark.text) + 3 for _, marks in part.rows for mark in marks] + [14])
        widest = min(widest, self.width - left - 2)
        fit = max(1, (self.width - left) // (widest + 2))
        for first in range(0, len(part.heads), fit):
            if first:
                yield Styled()
            block = slice(first, first + fit)
            yield from self._block(part, block, left, widest)

    def _block(self, part: Table, block: slice, left: int, column: int) -> Iterator[Styled]:
        """As many methods side by side as fit; a long name takes several lines of its column."""
        heads = [self._head(head, column) for head in part.heads[block]]
        tallest = max(map(len, heads))
        for at in range(tallest):
            row = Styled(self._cell(part.corner if at == tallest - 1 else "", left), style="dim")
            for lines in heads:
                missing = tallest - len(lines)
                row.append(("" if at < missing else lines[at - missing]).rjust(column + 2))
            row.rstrip()
            yield row
        for name, marks in part.rows:
            row = Styled(self._cell(self._spelled(flat(name)), left))
            for mark in marks[block]:
                cell = self._inline(mark).append(" " * (3 - mark.level))
                row.append(" " * (column + 2 - cell.cell_len)).append_text(cell)
            row.rstrip()
            yield row

    def _head(self, head: Head, column: int) -> list[str]:
        # The last three columns are kept for signs, so a head ends where the numbers end.
        lines = [*wrap(self._spelled(flat(head.name)), column - 3), *wrap(head.under, column - 3)]
        return [line + "   " for line in lines]

    def _heat(self, part: Heat) -> Iterator[Styled]:
        """Words upright over their columns; a cell is as wide as its one to three signs."""
        yield from self._wrapped(Styled(self._spelled(part.caption), style="bold"))
        names = [self._spelled(flat(name)) for name, _, _ in part.rows]
        left = min(max(map(cell_len, names)), max(4, self.width // 3))
        right = max(len(self._spelled(value)) for _, value, _ in part.rows)
        fit = max(1, (self.width - left - right - 2 - len(part.starts)) // _CELL)
        if part.most is not None and fit * part.most < len(part.heads):
            cells = right + 2 + len(part.starts) + _CELL * -(-len(part.heads) // part.most)
            # Names are cut to a third of the columns.
            wide = min(cells + max(map(cell_len, names)), -(-3 * cells // 2))
            said = f"Not drawn: it needs {wide} columns. A page or a picture has room for it."
            yield from self._wrapped(Styled(said))
            return
        for first in range(0, len(part.heads), fit):
            if first:
                yield Styled()
            block = slice(first, first + fit)
            before = " " * (left + right + 2)
            gaps = [" " * (i in part.starts and i > first) for i in range(len(part.heads))[block]]
            for row in _upright([self._spelled(flat(head)) for head in part.heads[block]], gaps):
                line = Styled(before + row, style="dim")
                line.rstrip()
                yield line
            for name, (_, value, marks) in zip(names, part.rows, strict=True):
                line = Styled(f"{self._cell(name, left)} {self._spelled(value).rjust(right)} ")
                for gap, mark in zip(gaps, marks[block], strict=True):
                    line.append(gap).append(self.glyphs.sign(mark).ljust(_CELL), self._style(mark))
                line.rstrip()
                yield line

    def _inline(self, inline: Text | Mark) -> Styled:
        text = in_terminal(inline.text)
        if isinstance(inline, Text):
            return Styled(self._encoded(text))
        # The signs stand at the word, not after the space or line end that may belong to it.
        body = text.rstrip()
        marked = self._encoded(body) + self.glyphs.sign(inline)
        return Styled.assemble((marked, self._style(inline)), self._encoded(text[len(body) :]))

    def _style(self, mark: Mark) -> str:
        colour = self._colour(mark)
        # A sample in a legend must look like what it stands for, so it is not as dim as the prose around it.
        return "not dim " + ("", colour, f"bold {colour}", f"bold black on {colour}")[mark.level]

    def _colour(self, mark: Mark) -> str:
        return hexadecimal(STRONG.of(mark.share, mark.signed))

    def _spelled(self, text: str) -> str:
        return self._encoded(in_terminal(text))

    def _encoded(self, text: str) -> str:
        if self.glyphs is UNICODE:
            return text
        return text.translate(PLAIN).encode(self.encoding, "backslashreplace").decode(self.encoding)

    def _cell(self, text: str, width: int) -> str:
        """The text in exactly so many columns, cut where it is longer."""
        if cell_len(text) <= width:
            return text + " " * (width - cell_len(text))
        return set_cell_size(set_cell_size(text, width - 1).rstrip(" ") + self.glyphs.ellipsis, width)

    def _wrapped(self, text: Styled) -> Iterator[Styled]:
        yield from self._hanging("", text)

    def _hanging(self, label: str, text: Styled, style: str = "") -> Iterator[Styled]:
        """Wrapped text behind a label; further lines are indented to stand under the first."""
        for i, line in enumerate(text.wrap(_RULER, max(1, self.width - cell_len(label)), overflow="fold")):
            line.rstrip()
            before = label if i == 0 else " " * cell_len(label) if line else ""
            yield Styled.assemble((before, style), line)


def _upright(words: list[str], gaps: list[str]) -> Iterator[str]:
    """Words from top to bottom, side by side with gaps before them, ending on one line."""
    cut = [word[:_TALLEST] for word in words]
    tallest = max(map(len, cut), default=0)
    for at in range(tallest):
        letters = [word[at - tallest + len(word)] if at >= tallest - len(word) else "" for word in cut]
        yield "".join(gap + set_cell_size(letter, _CELL) for gap, letter in zip(gaps, letters, strict=True))
