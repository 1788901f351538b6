"""How numbers and odd characters are written, the same in every view."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import floor, isnan, log10
from unicodedata import bidirectional

from rich.cells import cell_len, set_cell_size

MINUS = "\N{MINUS SIGN}"

# Controls that a terminal or a page would obey, change or drop; a line feed and a tab are what they are.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# Characters that reorder or break the line around them; a page isolates them, a terminal can't.
_REORDERING = re.compile("[\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def visible(text: str) -> str:
    r"""The text with control characters and lone surrogates written out: ESC becomes `\x1b`."""
    return _CONTROL.sub(_escape, text)


def flat(text: str) -> str:
    r"""The text on one line, for a cell or a picture: line feeds, tabs and reordering marks are written out.

    A text of spaces only is put in quotation marks, so that it is seen.
    """
    line = _REORDERING.sub(_escape, visible(text)).replace("\n", "\\n").replace("\t", "\\t")
    return line if line.strip() else f'"{line}"'


def cut(text: str, columns: int = 22) -> str:
    """The text on one line of at most so many columns of a terminal; a longer one ends in an ellipsis."""
    line = flat(text)
    if cell_len(line) <= columns:
        return line
    return set_cell_size(line, columns - 1).rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def right_to_left(text: str) -> bool:
    """Is the first letter that has a direction of a script that runs from right to left?"""
    directions = (bidirectional(character) for character in text)
    return next((way for way in directions if way in ("L", "R", "AL")), "L") != "L"


def in_terminal(text: str) -> str:
    r"""The text as a terminal may get it: nothing in it moves the cursor, colours or reorders the rest."""
    return _REORDERING.sub(_escape, visible(text))


def number(value: float, signed: bool = True) -> str:
    """Three significant digits with a real sign, and none for zero: `+0.312`, `+1.20`, `+1534`, `+1.20e6`."""
    if isnan(value):
        return "n/a"
    if value == 0:
        return "0"
    size = abs(value)
    sign = MINUS if value < 0 else "+" if signed else ""
    if size == float("inf"):
        return sign + "\N{INFINITY}"
    if not 1e-4 <= size < 1e6:
        digits, _, power = f"{size:.2e}".partition("e")
        return f"{sign}{digits}e{int(power)}".replace("-", MINUS)
    # Rounding first: 0.9999 is 1.00 with three digits, not 1.000.
    size = float(f"{size:.2e}") if size < 1000 else size
    return sign + f"{size:.{max(0, 2 - floor(log10(size)))}f}"


def percent(share: float) -> str:
    """`0.153` -> `15%`."""
    return f"{share:.0%}"


def which(names: Sequence[tuple[str, str]], i: int, several: bool) -> str:
    """What tells word i from others spelled alike: `"#2"`, with its field where there are several: `"premise #2"`.

    `names` are field and text of all words, in order.
    """
    count = f"#{names[: i + 1].count(names[i])}" if names.count(names[i]) > 1 else ""
    return f"{names[i][0] if several else ''} {count}".strip()


def _escape(found: re.Match[str]) -> str:
    code = ord(found.group())
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
