"""HTML as a type of its own: nothing gets into a page unescaped, and escaping stands in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NewType

from saliently.view.spell import visible

Html = NewType("Html", str)

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;"})
_VOID = frozenset({"meta"})


def text(characters: str) -> Html:
    """Characters as they are to be read: the one place where anything is escaped."""
    return Html(visible(characters).translate(_ENTITIES))


def element(tag: str, attributes: Mapping[str, str], *children: Html) -> Html:
    """`<tag name="value">children</tag>`; a name ends in no value if the value is empty."""
    opening = "".join(f' {name}="{text(value)}"' if value else f" {name}" for name, value in attributes.items())
    if tag in _VOID:
        return Html(f"<{tag}{opening}>")
    return Html(f"<{tag}{opening}>{''.join(children)}</{tag}>")


def raw(trusted: str) -> Html:
    """Our own style sheet, which must not be escaped; never for anything that a user wrote."""
    return Html(trusted)


def join(*children: Html) -> Html:
    """Several pieces as one."""
    return Html("".join(children))
