"""Plain JSON values to an explanation: whatever does not fit is named in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar, get_args

import numpy as np

from saliently.checks import Checks
from saliently.errors import InputError
from saliently.types import Explanation, Grouping, Pinned, Quantity, Scale, Span, Tokens

T = TypeVar("T")

_KINDS: Mapping[type, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def read_explanation(record: Any, known: int) -> Explanation:
    """The explanation in a record of the format `known`."""
    top = Entry("the record", record)
    found = top.at("format").value
    if type(found) is not int or found != known:
        raise InputError(
            f"An explanation of format {known} was expected, this one is of format {found!r}. Read it with the "
            "version of saliently that wrote it."
        )
    tokens, scores = _tokens(top)
    outputs = tuple(map(_pinned, top.at("outputs").each())) if "outputs" in top.keys() else (_pinned(top.at("target")),)
    nothing = top.at("nothing")
    explanation = Explanation(
        tokens=tokens,
        method=top.at("method").text(),
        quantity=top.at("quantity").one_of(get_args(Quantity)),
        outputs=outputs,
        scores=_interactions(top, len(scores)) if "interactions" in top.keys() else np.array(scores, dtype=np.float64),
        values=_numbers(top.at("value")),
        nothing=None if nothing.value is None else _numbers(nothing),
        grouping=top.at("grouping").one_of(get_args(Grouping)),
        blank=top.at("blank").maybe(Entry.text),
        checks=_checks(top.at("checks")),
        model=top.at("model").text(),
        versions={name: top.at("versions").at(name).text() for name in top.at("versions").keys()},
    )
    _fit(explanation)
    return explanation


@dataclass(frozen=True)
class Entry:
    """A value of the record and where it stands, so that an error can say what is wrong with which."""

    where: str
    value: Any

    def at(self, name: str) -> Entry:
        """The value under a name, which must be there."""
        if name not in self.keys():
            raise InputError(
                f"An explanation that saliently saved was expected; {self.where} has no {name!r}. "
                "Give a file that Explanation.save wrote."
            )
        return Entry(name if self.where == "the record" else f"{self.where}.{name}", self.value[name])

    def keys(self) -> tuple[str, ...]:
        """The names in an object."""
        return tuple(self._of(dict, "an object"))

    def each(self) -> list[Entry]:
        """The items of a list."""
        return [Entry(f"{self.where}[{i}]", item) for i, item in enumerate(self._of(list, "a list"))]

    def text(self) -> str:
        """A string."""
        return str(self._of(str, "text"))

    def whole(self) -> int:
        """An integer."""
        return int(self._of(int, "a whole number"))

    def truth(self) -> bool:
        """A boolean."""
        return bool(self._of(bool, "true or false"))

    def number(self) -> float:
        """A finite number."""
        value = float(self.value) if type(self.value) is int else float(self._of(float, "a number"))
        return value if isfinite(value) else self._wrong("a finite number")

    def number_or_infinity(self) -> float:
        """A number, or the word for what JSON can't write."""
        return float(self.value) if self.value in ("inf", "-inf", "nan") else self.number()

    def one_of(self, known: tuple[T, ...]) -> T:
        """One of a few words."""
        return next((word for word in known if word == self.value), None) or self._wrong(f"one of {known}")

    def maybe(self, read: Callable[[Entry], T]) -> T | None:
        """Null, or what `read` makes of it."""
        return None if self.value is None else read(self)

    def _of(self, kind: type, name: str) -> Any:
        return self.value if type(self.value) is kind else self._wrong(name)

    def _wrong(self, wanted: str) -> Any:
        found = _KINDS.get(type(self.value), "something else")
        if isinstance(self.value, str):
            found = f"the text {self.value[:40]!r}"
        raise InputError(
            f"An explanation that saliently saved was expected; {self.where} should be {wanted} and is "
            f"{found}. Give a file that Explanation.save wrote."
        )


def _tokens(top: Entry) -> tuple[Tokens, list[float]]:
    fields = {name: top.at("fields").at(name).text() for name in top.at("fields").keys()}
    rows = top.at("tokens").each()
    cut = top.at("truncated").maybe(_pair)
    tokens = Tokens(
        fields=fields,
        ids=tuple(row.at("id").whole() for row in rows),
        pieces=tuple(row.at("piece").text() for row in rows),
        spans=tuple(None if row.at("special").truth() else _span(row, fields) for row in rows),
        units=tuple(row.at("unit").maybe(Entry.whole) for row in rows),
        parts=tuple(_part(entry, fields) for entry in top.at("parts").each()),
        kinds=tuple(kind.whole() for kind in top.at("kinds").each()),
        notes=tuple(note.text() for note in top.at("notes").each()),
        truncated=cut,
        response=_response(top, len(rows)),
        streams=tuple(tuple(_number(each, len(rows)) for each in stream.each()) for stream in _listed(top, "streams")),
    )
    return tokens, [row.at("score").number() for row in rows]


def _interactions(top: Entry, tokens: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(T, T) scores of pairs."""
    rows = [[each.number() for each in row.each()] for row in top.at("interactions").each()]
    if len(rows) != tokens or any(len(row) != tokens for row in rows):
        raise InputError(f"'interactions' should be {tokens} rows of {tokens} numbers; the file was changed.")
    return np.array(rows, dtype=np.float64).reshape(tokens, tokens)


def _response(top: Entry, tokens: int) -> int | None:
    """The first token of a response; records of models that give none, and older ones, have none."""
    return top.at("response").maybe(lambda entry: _number(entry, tokens)) if "response" in top.keys() else None


def _number(entry: Entry, tokens: int) -> int:
    """The number of a token."""
    found = entry.whole()
    if not 0 <= found < tokens:
        raise InputError(f"{entry.where} is token {found} of {tokens}; the file was changed.")
    return found


def _pair(entry: Entry) -> tuple[int, int]:
    items = entry.each()
    if len(items) != 2:
        raise InputError(f"{entry.where} should be two whole numbers and holds {len(items)}; the file was changed.")
    return items[0].whole(), items[1].whole()


def _span(row: Entry, fields: Mapping[str, str]) -> Span:
    return _inside(row.where, Span(row.at("field").text(), row.at("start").whole(), row.at("end").whole()), fields)


def _part(entry: Entry, fields: Mapping[str, str]) -> Span:
    items = entry.each()
    if len(items) != 3:
        raise InputError(f"{entry.where} should be field, start and end, and holds {len(items)}; the file was changed.")
    return _inside(entry.where, Span(items[0].text(), items[1].whole(), items[2].whole()), fields)


def _inside(where: str, span: Span, fields: Mapping[str, str]) -> Span:
    if span.field not in fields or not 0 <= span.start <= span.end <= len(fields[span.field]):
        raise InputError(f"{where} points at {tuple(span)}, which is not in the text; the file was changed.")
    return span


def _pinned(entry: Entry) -> Pinned:
    return Pinned(
        index=entry.at("index").whole(),
        label=entry.at("label").text(),
        of=entry.at("of").one_of(get_args(Scale)),
        against_index=entry.at("against_index").maybe(Entry.whole),
        against=entry.at("against").maybe(Entry.text),
        predicted=entry.at("predicted").truth(),
        at=entry.at("at").maybe(Entry.text) if "at" in entry.keys() else None,
    )


def _checks(entry: Entry) -> Checks:
    def number(name: str) -> float | None:
        return entry.at(name).maybe(Entry.number_or_infinity)

    return Checks(
        total=number("total"),
        change=number("change"),
        gap=number("gap"),
        residual=number("residual"),
        tolerance=number("tolerance"),
        error=_newer(entry, "error"),
        errors=tuple(each.number() for each in _listed(entry, "errors")),
        fit=_newer(entry, "fit"),
        stability=_newer(entry, "stability"),
        nodes=entry.at("nodes").maybe(Entry.whole),
        spread=number("spread"),
        kept=tuple((each.at("who").text(), each.at("amount").number()) for each in _listed(entry, "kept")),
        forward_rows=entry.at("forward_rows").whole(),
        gradient_rows=entry.at("gradient_rows").whole(),
        ids=tuple(item.whole() for item in entry.at("ids").each()),
        notes=tuple(note.text() for note in entry.at("notes").each()),
    )


def _newer(entry: Entry, name: str) -> float | None:
    """A number under a name that older records lack."""
    return entry.at(name).maybe(Entry.number_or_infinity) if name in entry.keys() else None


def _listed(entry: Entry, name: str) -> list[Entry]:
    """The items under a name that older records lack."""
    return entry.at(name).each() if name in entry.keys() else []


def _numbers(entry: Entry) -> tuple[float, ...]:
    if type(entry.value) is list:
        return tuple(item.number() for item in entry.each())
    return (entry.number(),)


def _fit(explanation: Explanation) -> None:
    """The parts must be the text, and every number must have its place."""
    tokens = explanation.tokens
    joined = {field: "".join(tokens.text(p) for p in tokens.parts if p.field == field) for field in tokens.fields}
    loose = next((u for u in tokens.units if u is not None and not 0 <= u < len(tokens.parts)), None)
    outputs = len(explanation.outputs)
    if joined != dict(tokens.fields):
        raise InputError("'parts' do not join to the text in 'fields'; the file was changed after it was saved.")
    if loose is not None:
        raise InputError(f"A token belongs to part {loose} of {len(tokens.parts)}; the file was changed.")
    if outputs == 0 or len(explanation.values) != outputs or len(explanation.nothing or explanation.values) != outputs:
        raise InputError("'value' and 'nothing' need one number for each output; the file was changed.")
