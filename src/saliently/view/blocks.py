"""Parts as HTML elements."""

from __future__ import annotations

from saliently.view import arcs
from saliently.view.markup import Html, element, join, text
from saliently.view.nodes import (
    BETWEEN,
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
from saliently.view.spell import flat

_CUES = "A solid line under a word says that it raises, a dashed line that it lowers."
_MANY = 30  # columns of a field of colours; with more of them they are made smaller


def blocks(document: Document, anchor: str) -> Html:
    """The document from top to bottom; `anchor` tells its links from those of its neighbours on a page."""
    return join(*(_block(part, f"{anchor}-{i}") for i, part in enumerate(document.parts)))


def _block(part: Part, anchor: str) -> Html:
    match part:
        case Sentence():
            shown = _sentence(part)
        case Facts():
            shown = _facts(part)
        case Passage():
            shown = _passage(part, anchor)
        case Strip():
            shown = _strip(part)
        case Bars():
            shown = _bars(part)
        case Table():
            shown = _table(part)
        case Heat():
            shown = _heat(part)
        case Arcs():
            shown = _arcs(part)
        case Items():
            shown = element("ul", {}, *(element("li", {}, text(said)) for said in part.sentences))
    return shown


def _sentence(part: Sentence) -> Html:
    tag = {"question": "h2", "heading": "h3"}.get(part.role, "p")
    said = [_inline(inline) for inline in part.inlines]
    if part.role == "legend" and any(isinstance(inline, Mark) and inline.signed for inline in part.inlines):
        said.append(text(f" {_CUES}"))
    attributes = {"class": f"saliently-{part.role}", "dir": "auto"}
    return element(tag, {**attributes, "role": "note"} if part.role == "alert" else attributes, *said)


def _facts(part: Facts) -> Html:
    rows = (join(element("dt", {}, text(name)), element("dd", {}, _own(what))) for name, what in part.rows)
    return element("dl", {}, *rows)


def _strip(part: Strip) -> Html:
    items = (element("span", {}, _cell(mark), text(f" {written}")) for mark, written in part.items)
    return element("p", {"class": "saliently-strip"}, text(part.name), *items)


def _passage(part: Passage, anchor: str) -> Html:
    name = element("p", {"class": "saliently-name"}, _own(part.name)) if part.name is not None else text("")
    skip = element("a", {"class": "saliently-skip", "href": f"#{anchor}"}, text("Skip this text"))
    shown = (_inline(inline) for inline in part.inlines)
    # The language is not known, and it need not be that of the page.
    attributes = {"class": "saliently-text", "data-field": part.field, "dir": "auto", "lang": ""}
    return join(name, skip, element("div", attributes, *shown), element("span", {"id": anchor}))


def _bars(part: Bars) -> Html:
    rows = (
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, _cell(mark), _which(which)),
            element("td", {}, _bar(mark)),
            element("td", {"class": "number"}, text(written)),
        )
        for mark, written, which in part.rows
    )
    caption = element("h3", {}, text(part.caption))
    return join(caption, element("table", {"class": "bars"}, element("tbody", {}, *rows)))


def _which(which: str) -> Html:
    return element("span", {"class": "which"}, text(which)) if which else text("")


def _bar(mark: Mark) -> Html:
    """A bar from the middle to its side, or from the left edge where there is no sign."""
    if mark.signed:
        side = "left" if mark.share >= 0 else "right"
        kind, style = "saliently-bar signed", f"{side}:50%;width:{50 * abs(mark.share):.1f}%"
    else:
        kind, style = "saliently-bar", f"left:0;width:{100 * abs(mark.share):.1f}%"
    return element("span", {"class": kind}, element("i", {"class": _kind(mark), "style": style}))


def _table(part: Table) -> Html:
    heads = (element("th", {"class": "number", "scope": "col"}, *_head(head)) for head in part.heads)
    top = element("tr", {}, element("th", {"scope": "col"}, text(part.corner)), *heads)
    rows = (
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, _own(flat(name))),
            *(element("td", {"class": "number"}, _inline(mark)) for mark in marks),
        )
        for name, marks in part.rows
    )
    table = element("table", {}, element("thead", {}, top), element("tbody", {}, *rows))
    return join(element("h3", {}, text(part.caption)), element("div", {"class": "saliently-scroll"}, table))


def _heat(part: Heat) -> Html:
    gaps = [" begins" if i in part.starts else "" for i in range(len(part.heads))]
    names = (
        element("th", {"class": f"upright{gap}", "scope": "col"}, _own(flat(name)))
        for name, gap in zip(part.heads, gaps, strict=True)
    )
    top = element(
        "tr", {}, element("th", {}), element("th", {"class": "number", "scope": "col"}, text(part.measure)), *names
    )
    rows = (
        element(
            "tr",
            {},
            element("th", {"scope": "row"}, _own(flat(name))),
            element("td", {"class": "number"}, text(value)),
            *(
                element("td", {"class": gap.strip()} if gap else {}, _square(mark))
                for mark, gap in zip(marks, gaps, strict=True)
            ),
        )
        for name, value, marks in part.rows
    )
    kind = "heat many" if len(part.heads) > _MANY else "heat"
    table = element("table", {"class": kind}, element("thead", {}, top), element("tbody", {}, *rows))
    return join(element("h3", {}, text(part.caption)), element("div", {"class": "saliently-scroll"}, table))


def _arcs(part: Arcs) -> Html:
    picture = element("div", {"class": "saliently-scroll saliently-arcs"}, arcs.drawing(part))
    cues = element("p", {"class": "saliently-legend"}, text(arcs.CUES))
    return join(element("h3", {}, text(part.caption)), picture, cues)


def _square(mark: Mark) -> Html:
    """A square in the colour of a number, which stands in its title; its sign is a character, for those who see no
    colour."""
    sign = "" if not mark.level else "*" if not mark.signed else "+" if mark.share > 0 else "\N{MINUS SIGN}"
    attributes = {"class": _kind(mark), "style": f"--share:{abs(mark.share):.3f}"}
    tip = {"tabindex": "0", "data-tip": flat(mark.title)} if mark.level else {"data-tip": flat(mark.title)}
    return element("mark", {**attributes, **tip}, text(sign or "\N{NO-BREAK SPACE}"))


def _head(head: Head) -> tuple[Html, ...]:
    return _own(head.name), element("small", {}, text(head.under))


def _cell(mark: Mark) -> Html:
    """A word in a row of a table, where it must stay on its line and keep its direction to itself."""
    if not mark.words:
        return element("bdi", {}, _marked(mark, text(flat(mark.text))))
    between = Html(text(BETWEEN).join(_own(flat(word)) for word in mark.words))
    return element("bdi", {}, _marked(mark, between))


def _own(said: str) -> Html:
    """Characters that the user chose, kept from turning the direction of what follows."""
    return element("bdi", {}, text(said))


def _inline(inline: Text | Mark) -> Html:
    if isinstance(inline, Text):
        return text(inline.text)
    return _marked(inline, text(inline.text))


def _marked(mark: Mark, inner: Html) -> Html:
    """What is marked in the colour of its score, with its title."""
    attributes = {"class": _kind(mark) + (" cue" if mark.level else ""), "style": f"--share:{abs(mark.share):.3f}"}
    if mark.title:
        attributes |= {"tabindex": "0", "data-tip": mark.title}
    return element("mark", attributes, inner)


def _kind(mark: Mark) -> str:
    if not mark.signed:
        return "strength"
    return "raises" if mark.share >= 0 else "lowers"
