"""The parts as HTML: a fragment for a notebook, or one file that needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2s

from saliently.matrices import Matrix
from saliently.types import Comparison, Explanation
from saliently.view.blocks import blocks
from saliently.view.compare import comparison_parts
from saliently.view.markup import Html, element, join, raw, text
from saliently.view.matrix import matrix_parts
from saliently.view.nodes import Document
from saliently.view.parts import explanation_parts
from saliently.view.spell import flat, number
from saliently.view.style import PAGE_SHEET, SHEET


def fragment(explanation: Explanation) -> str:
    """One explanation for a notebook: an element with its own style."""
    return _fragment(explanation_parts(explanation))


def page(explanations: Sequence[Explanation], title: str = "Explanations") -> str:
    """Explanations as one HTML file, with an index on top where there are several."""
    documents = [explanation_parts(explanation) for explanation in explanations]
    index = (_index(explanations),) if len(explanations) > 1 else ()
    sections = (
        element(
            "section",
            {"id": f"saliently-{i}"},
            *_numbered(i, len(documents)),
            blocks(document, f"saliently-{i}"),
        )
        for i, document in enumerate(documents, start=1)
    )
    return _file(title, *index, *sections)


def comparison_fragment(comparison: Comparison) -> str:
    """Several methods side by side, for a notebook."""
    return _fragment(comparison_parts(comparison))


def comparison_page(comparison: Comparison, title: str = "Comparison of methods") -> str:
    """Several methods side by side, as one HTML file."""
    return _file(title, blocks(comparison_parts(comparison), "saliently-1"))


def matrix_fragment(matrix: Matrix) -> str:
    """The outputs of one text, for a notebook."""
    return _fragment(matrix_parts(matrix))


def matrix_page(matrix: Matrix, title: str = "Explanation of each output") -> str:
    """The outputs of one text as one HTML file."""
    return _file(title, blocks(matrix_parts(matrix), "saliently-1"))


def _fragment(document: Document) -> str:
    # Two cells of one notebook must not share an anchor.
    anchor = "saliently-" + blake2s(repr(document).encode("utf-8", "backslashreplace"), digest_size=6).hexdigest()
    return element("div", {"class": "saliently", "lang": "en", "dir": "ltr"}, _style(SHEET), blocks(document, anchor))


def _file(title: str, *body: Html) -> str:
    head = element(
        "head",
        {},
        element("meta", {"charset": "utf-8"}),
        element("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", {"name": "color-scheme", "content": "light dark"}),
        element("title", {}, text(flat(title))),
        _style(PAGE_SHEET + SHEET),
    )
    heading = element("h1", {"dir": "auto"}, text(title))
    main = element("main", {"class": "saliently page"}, heading, *body)
    return "<!DOCTYPE html>\n" + element("html", {"lang": "en"}, head, element("body", {}, main)) + "\n"


def _style(sheet: str) -> Html:
    return element("style", {}, raw(sheet))


def _numbered(i: int, count: int) -> tuple[Html, ...]:
    return (element("p", {"class": "saliently-small"}, text(f"{i} of {count}")),) if count > 1 else ()


def _index(explanations: Sequence[Explanation]) -> Html:
    names = ("", "text", "target", "value", "strongest word", "checks")
    top = element("tr", {}, *(element("th", {"scope": "col"}, text(name)) for name in names))
    rows = (_index_row(i, explanation) for i, explanation in enumerate(explanations, start=1))
    table = element("table", {}, element("thead", {}, top), element("tbody", {}, *rows))
    return element("nav", {"class": "saliently-scroll", "aria-label": "index"}, table)


def _index_row(i: int, explanation: Explanation) -> Html:
    beginning = flat(" / ".join(explanation.tokens.fields.values()))
    if len(beginning) > 70:
        beginning = beginning[:69].rstrip() + "\N{HORIZONTAL ELLIPSIS}"
    strongest = explanation.top(1)
    cells = (
        element("td", {"class": "number"}, text(str(i))),
        element("td", {}, element("a", {"href": f"#saliently-{i}"}, element("bdi", {}, text(beginning)))),
        element("td", {}, element("bdi", {}, text(flat(explanation.target.label)))),
        element("td", {"class": "number"}, text(number(explanation.values[0], signed=False))),
        element("td", {}, *(element("bdi", {}, text(flat(word.text))) for word in strongest)),
        element("td", {"class": "failed"}, text("\N{WARNING SIGN} failed" if explanation.checks.failed else "")),
    )
    return element("tr", {}, join(*cells))
