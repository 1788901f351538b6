"""The parts in a terminal, or in a plain pipe: sign and strength are readable without colour."""

from __future__ import annotations

import sys
from io import StringIO

from rich.console import Console

from saliently.matrices import Matrix
from saliently.types import Comparison, Explanation
from saliently.view.compare import comparison_parts
from saliently.view.glyphs import ASCII, UNICODE
from saliently.view.lines import Sheet
from saliently.view.matrix import matrix_parts
from saliently.view.nodes import Document
from saliently.view.parts import explanation_parts

WIDEST = 100  # wider prose is hard to read, so a wider terminal is not filled unless that is asked for


def show(explanation: Explanation, width: int | None = None) -> None:
    """Print to the terminal, in colour where it has colour."""
    print_document(explanation_parts(explanation), width)


def render(explanation: Explanation, width: int = 80, color: bool = False) -> str:
    """What `show` prints at this width."""
    return render_document(explanation_parts(explanation), width, color)


def show_comparison(comparison: Comparison, width: int | None = None) -> None:
    """Print several methods side by side."""
    print_document(comparison_parts(comparison), width)


def render_comparison(comparison: Comparison, width: int = 80, color: bool = False) -> str:
    """What `show_comparison` prints at this width."""
    return render_document(comparison_parts(comparison), width, color)


def show_matrix(matrix: Matrix, width: int | None = None) -> None:
    """Print outputs down, words across."""
    print_document(matrix_parts(matrix), width)


def render_document(document: Document, width: int = 80, color: bool = False) -> str:
    """A document as text; without colour there are no terminal codes in it."""
    buffer = StringIO()
    system = "truecolor" if color else None
    _draw(document, Console(file=buffer, width=width, force_terminal=color, color_system=system), "utf-8")  # type: ignore[arg-type]
    return buffer.getvalue()


def print_document(document: Document, width: int | None = None) -> None:
    """Print a document to stdout; characters that stdout can't encode are written as escapes."""
    # Rich is asked what the terminal can do, but draws into a buffer: by itself it takes over in a notebook.
    asked = Console(file=sys.stdout, width=width, force_jupyter=False)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    buffer = StringIO()
    sheet = Console(
        file=buffer,
        width=width or min(asked.width, WIDEST),
        force_terminal=asked.is_terminal,
        color_system=asked.color_system,  # type: ignore[arg-type]
        no_color=asked.no_color,
        force_jupyter=False,
    )
    _draw(document, sheet, encoding)
    sys.stdout.write(buffer.getvalue())
    sys.stdout.flush()


def _draw(document: Document, console: Console, encoding: str) -> None:
    sheet = Sheet(max(12, console.width), encoding, UNICODE if UNICODE.fit(encoding) else ASCII)
    for line in sheet.lines(document):
        console.print(line, soft_wrap=True, highlight=False, markup=False, emoji=False)
