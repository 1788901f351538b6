"""A conversation as a model's own template writes it, and where each message stands in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from saliently.errors import InputError
from saliently.models.reading import checked
from saliently.types import Span

Template = Callable[[Sequence[Mapping[str, str]]], str]
"""Writes a conversation, up to where the model's turn begins."""

_MARK = "\ue000{}\ue001"
"""Stands for a message while the template's own text is looked for: letters for private use, which it does not hold."""


@dataclass(frozen=True)
class Conversation:
    """Attributes: whole, what the template wrote; texts, the messages by field name; starts, where each begins."""

    whole: str
    texts: Mapping[str, str]
    starts: Mapping[str, int]

    def part(self, start: int, end: int) -> Span | None:
        """The part of a message in characters [start, end) of the whole; None where that is the template's own text."""
        for name, text in self.texts.items():
            low, high = max(start - self.starts[name], 0), min(end - self.starts[name], len(text))
            if low < high:
                return Span(name, low, high)
        return None


def conversation(messages: Any, template: Template, taken: Sequence[str]) -> Conversation:
    """The messages as the template writes them, less the spaces around them where it strips those. A field is called
    by its role, and "user 2" is the second of a user; names that are `taken` get a number too.

    Raises:
        InputError: these are no messages; the template refuses them, leaves one out or changes it.
    """
    turns = _checked(messages)
    whole = _written(template, turns)
    # By its own text the template says where messages stand, whatever they hold: "user", or the same text twice.
    bare = _written(template, [{**turn, "content": _MARK.format(i)} for i, turn in enumerate(turns)])
    own, numbers = re.split(_MARK.format(r"\d+"), bare), [int(n) for n in re.findall(_MARK.format(r"(\d+)"), bare)]
    lost = next((i for i in range(len(turns)) if numbers.count(i) != 1), None)
    if lost is not None:
        raise _changed(turns[lost]["content"])
    at, found = 0, dict[int, tuple[str, int]]()
    for number, (before, after) in zip(numbers, pairwise(own), strict=True):
        at += len(before)
        written = _stripped(turns[number]["content"], whole, at, after)
        found[number], at = (written, at), at + len(written)
    if whole[at:] != own[-1]:
        raise _changed(turns[numbers[-1]]["content"])
    names = _names([turn["role"] for turn in turns], taken)
    return Conversation(
        whole,
        {name: found[i][0] for i, name in enumerate(names)},
        {name: found[i][1] for i, name in enumerate(names)},
    )


def _written(template: Template, turns: Sequence[Mapping[str, str]]) -> str:
    try:
        return template(turns)
    except Exception as error:  # templates are programs, which raise what they like
        raise InputError(
            f"Messages were given; the chat template of this model refuses them "
            f"({' '.join(str(error).split())[:200].rstrip('.')}). Give others, or a prompt."
        ) from error


def _stripped(content: str, whole: str, at: int, after: str) -> str:
    """A message as it stands at a place, with the template's text `after` it."""
    for text in (content, content.strip(), content.rstrip(), content.lstrip()):
        if whole.startswith(text + after, at):
            return text
    raise _changed(content)


def _changed(content: str) -> InputError:
    return InputError(
        f"The message {content!r:.40} was looked for in the conversation that the chat template of this model wrote; "
        "it is not there once and as it stands. Give others, or a prompt."
    )


def _names(roles: Sequence[str], taken: Sequence[str]) -> list[str]:
    """`["user", "assistant", "user"]` -> `["user", "assistant", "user 2"]`."""
    names: list[str] = []
    for role in roles:
        name, times = role, 1
        while name in names or name in taken:
            times += 1
            name = f"{role} {times}"
        names.append(name)
    return names


def _checked(messages: Any) -> list[dict[str, str]]:
    """Raises InputError unless these are messages with a role and a content."""
    turns = list(messages) if isinstance(messages, (list, tuple)) else []
    if not turns or not all(isinstance(turn, Mapping) and set(turn) == {"role", "content"} for turn in turns):
        raise InputError(
            f"Messages were asked for; found {type(messages).__name__} {messages!r:.60}. Give a list of "
            '{"role": "user", "content": "..."}, in the order of the conversation.'
        )
    for turn in turns:
        checked({"role": turn["role"]}, (("role",),))
        checked({turn["role"]: turn["content"]}, ((turn["role"],),))
    return [dict(turn) for turn in turns]
