"""Figures in columns of letters: what does not fit beside the names stands in a further table below, with the names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size

_GAP = 2
_HEAD = 12  # columns that a head gets over figures that need fewer
_LEAST = 8  # columns of a name, however narrow the terminal


@dataclass(frozen=True)
class Row:
    """A row: its name, a short word beside it or "", and its figures as they are written."""

    name: str
    mark: str
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Grid:
    """Rows under heads; all is text on one line."""

    corner: str
    heads: tuple[str, ...]
    rows: tuple[Row, ...]

    def lines(self, width: int) -> Iterator[str]:
        """As many columns side by side as fit, an empty line before the next ones; no figure is ever broken."""
        wide = [self._column(i) for i in range(len(self.heads))]
        marks = max((cell_len(row.mark) + _GAP for row in self.rows if row.mark), default=0)
        longest = max((cell_len(row.name) for row in self.rows), default=0)
        room = min(width // 2, width - max(wide, default=0) - _GAP) - marks
        left = max(_LEAST, min(longest, room), cell_len(self.corner))
        for at, block in enumerate(_blocks(wide, width - left - marks)):
            if at:
                yield ""
            yield from self._head(block, wide, left + marks)
            for row in self.rows:
                yield from _row(row, block, wide, (left, marks))

    def _column(self, i: int) -> int:
        figures = max((cell_len(row.cells[i]) for row in self.rows), default=0)
        return max(figures, min(cell_len(self.heads[i]), _HEAD))

    def _head(self, block: range, wide: list[int], left: int) -> Iterator[str]:
        """Names over their columns, ending on one line."""
        heads = [_folded(self.heads[i], wide[i], 0) for i in block]
        tallest = max(map(len, heads), default=0)
        for at in range(tallest):
            line = _cell(self.corner if at == tallest - 1 else "", left)
            for i, words in zip(block, heads, strict=True):
                missing = tallest - len(words)
                line += _right("" if at < missing else words[at - missing], wide[i])
            yield line.rstrip()


def _blocks(wide: list[int], room: int) -> Iterator[range]:
    """Runs of columns that fit into the room, at least one in each."""
    first, used = 0, 0
    for i, columns in enumerate(wide):
        if i > first and used + columns + _GAP > room:
            yield range(first, i)
            first, used = i, 0
        used += columns + _GAP
    yield range(first, len(wide))


def _row(row: Row, block: range, wide: list[int], before: tuple[int, int]) -> Iterator[str]:
    """A row; a long name goes on below its beginning."""
    left, marks = before
    first, *more = _folded(row.name, left, _GAP)
    line = _cell(first, left)
    if marks:
        line += " " * _GAP + _cell(row.mark, marks - _GAP)
    yield (line + "".join(_right(row.cells[i], wide[i]) for i in block)).rstrip()
    yield from more


def _folded(name: str, columns: int, hang: int) -> list[str]:
    """The name in lines of so many columns, all but the first of them indented."""
    lines, name = [], name.strip()
    while cell_len(name) > columns:
        line = set_cell_size(name, columns).rstrip()
        line = line[: _break(line, hang)].rstrip()
        lines.append(line)
        name = " " * hang + name[len(line) :].strip()
    return [*lines, name]


def _break(line: str, hang: int) -> int:
    """Where a full line is best cut: before a bracket or behind a comma, else behind a word, else where it ends."""
    for signs in (("(", ", "), (" ",), ("-",)):
        at = max(line.rfind(sign, hang + 1) + (sign != "(") for sign in signs)
        if at > hang + 1:
            return at
    return len(line)


def _cell(said: str, columns: int) -> str:
    return said + " " * (columns - cell_len(said))


def _right(said: str, columns: int) -> str:
    return " " * (_GAP + columns - cell_len(said)) + said
