"""Explanations and reports to a file; the ending of its name says how."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from saliently.errors import RecipeError
from saliently.matrices import Matrix
from saliently.reports import Report
from saliently.types import Comparison, Explanation
from saliently.view.chart import chart
from saliently.view.heat import heat_chart
from saliently.view.page import comparison_page, matrix_page, page
from saliently.view.pairs_chart import pairs_chart
from saliently.view.record import dumps, dumps_comparison, dumps_matrix
from saliently.view.report_page import report_page
from saliently.view.report_record import dumps_report

ENDINGS = (".html", ".json", ".jsonl", ".png", ".svg")


def save(explanations: Explanation | Sequence[Explanation], path: str | Path) -> None:
    """Write one explanation or several as `.html`, `.json` or `.jsonl`; one alone also as `.png` or `.svg`.

    A file that was there before stays whole until the new one is complete.

    Raises:
        RecipeError: any other ending, or several explanations for one picture.
        MissingExtraError: `.png` or `.svg` without matplotlib.
    """
    write_whole(Path(path), _content(explanations, check_ending(path)))


def save_comparison(comparison: Comparison, path: str | Path) -> None:
    """Write several methods side by side as `.html` or `.json`.

    Raises:
        RecipeError: any other ending.
    """
    ending = check_ending(path, (".html", ".json"))
    written = comparison_page(comparison) if ending == ".html" else dumps_comparison(comparison) + "\n"
    write_whole(Path(path), written.encode("utf-8", "backslashreplace"))


def save_matrix(matrix: Matrix, path: str | Path) -> None:
    """Write the outputs of one text as `.html`, `.json`, `.png` or `.svg`.

    Raises:
        RecipeError: any other ending.
        MissingExtraError: `.png` or `.svg` without matplotlib.
    """
    ending = check_ending(path, (".html", ".json", ".png", ".svg"))
    if ending in (".png", ".svg"):
        write_whole(Path(path), heat_chart(matrix, "png" if ending == ".png" else "svg"))
        return
    written = matrix_page(matrix) if ending == ".html" else dumps_matrix(matrix) + "\n"
    write_whole(Path(path), written.encode("utf-8", "backslashreplace"))


def save_report(report: Report, path: str | Path) -> None:
    """Write what an experiment found as `.html` or `.json`.

    Raises:
        RecipeError: any other ending.
    """
    ending = check_ending(path, (".html", ".json"), "A report")
    written = report_page(report) if ending == ".html" else dumps_report(report) + "\n"
    write_whole(Path(path), written.encode("utf-8", "backslashreplace"))


def check_ending(path: str | Path, known: Sequence[str] = ENDINGS, what: str = "An explanation") -> str:
    """The ending of a file's name in small letters, before any work is done for it.

    Raises:
        RecipeError: it is not one of the known endings.
    """
    ending = Path(path).suffix.lower()
    if ending not in known:
        raise RecipeError(
            f"{what} was to be saved as {str(path)!r}; the ending {ending!r} is not known. "
            f"Use one of {', '.join(known)}."
        )
    return ending


def _content(explanations: Explanation | Sequence[Explanation], ending: str) -> bytes:
    several = () if isinstance(explanations, Explanation) else tuple(explanations)
    each = (explanations,) if isinstance(explanations, Explanation) else several
    if ending in (".png", ".svg"):
        if len(each) != 1:
            raise RecipeError(
                f"A picture shows one explanation; {len(each)} were given. Save them one by one, or as .html."
            )
        draw = pairs_chart if each[0].quantity == "interaction" else chart
        return draw(each[0], "png" if ending == ".png" else "svg")
    if ending == ".html":
        written = page(each, "Explanation" if len(each) == 1 else f"{len(each)} explanations")
    elif ending == ".jsonl":
        written = "".join(f"{dumps(explanation)}\n" for explanation in each)
    elif isinstance(explanations, Explanation):
        written = dumps(explanations, indent=1) + "\n"
    else:
        written = "[\n" + ",\n".join(dumps(explanation, indent=1) for explanation in each) + "\n]\n"
    # A lone surrogate can't be UTF-8. Within JSON its escape means the same; a page has none left.
    return written.encode("utf-8", "backslashreplace")


def write_whole(path: Path, content: bytes) -> None:
    """All of it or nothing: written beside the file, then moved to its place."""
    real = Path(os.path.realpath(path))
    beside = real.with_name(f".{real.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(real)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
