"""An explanation as plain JSON values, and back without loss."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite, isnan
from pathlib import Path
from typing import Any

from saliently.errors import InputError, NumberError
from saliently.matrices import Matrix
from saliently.types import Comparison, Explanation, Pinned, Span, Tokens
from saliently.view.reading import read_explanation

FORMAT = 1


def to_dict(explanation: Explanation) -> dict[str, Any]:
    """Everything as plain JSON values; words and question could be worked out, and are there for readers.

    Raises:
        NumberError: a score or value is NaN or infinite.
    """
    _finite(explanation)
    outputs = [_pinned(output) for output in explanation.outputs]
    several = {"outputs": outputs} if len(outputs) > 1 else {}
    return {
        "format": FORMAT,
        "question": explanation.question,
        "model": explanation.model,
        "method": explanation.method,
        "quantity": explanation.quantity,
        "target": outputs[0],
        **several,
        "value": _numbers(explanation.values),
        "nothing": None if explanation.nothing is None else _numbers(explanation.nothing),
        "blank": explanation.blank,
        "grouping": explanation.grouping,
        "fields": dict(explanation.tokens.fields),
        "words": [unit._asdict() for unit in explanation.words()],
        "tokens": _tokens(explanation),
        **({"interactions": explanation.scores.tolist()} if explanation.scores.ndim == 2 else {}),
        "parts": [list(part) for part in explanation.tokens.parts],
        "kinds": list(explanation.tokens.kinds),
        "notes": list(explanation.tokens.notes),
        "truncated": explanation.tokens.truncated and list(explanation.tokens.truncated),
        "response": explanation.tokens.response,
        "streams": [list(stream) for stream in explanation.tokens.streams],
        "checks": _checks(explanation),
        "versions": dict(explanation.versions),
    }


def from_dict(record: Mapping[str, Any]) -> Explanation:
    """The explanation that `to_dict` wrote.

    Raises:
        InputError: this is no such record, or it was changed so that it does not fit together.
    """
    return read_explanation(record, FORMAT)


def dumps(explanation: Explanation, indent: int | None = None) -> str:
    """One explanation as JSON text."""
    return json.dumps(to_dict(explanation), ensure_ascii=False, allow_nan=False, indent=indent)


def dumps_comparison(comparison: Comparison) -> str:
    """Several methods on one text as JSON text; where the agreement is not defined it is null."""
    agreement = [[None if isnan(value) else value for value in row] for row in comparison.agreement.tolist()]
    record = {
        "format": FORMAT,
        "agreement": agreement,
        "explanations": [to_dict(explanation) for explanation in comparison.explanations],
    }
    return json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1)


def matrix_to_dict(matrix: Matrix) -> dict[str, Any]:
    """The explanations of the outputs of one text, in order."""
    return {"format": FORMAT, "explanations": [to_dict(explanation) for explanation in matrix]}


def dumps_matrix(matrix: Matrix) -> str:
    """The outputs of one text as JSON text; `load_explanations` reads them."""
    return json.dumps(matrix_to_dict(matrix), ensure_ascii=False, allow_nan=False, indent=1)


def load_explanation(path: str | Path) -> Explanation:
    """Read the `.json` that `Explanation.save` wrote.

    Raises:
        InputError: the file holds something else.
    """
    found = _parse(_content(path), path)
    if isinstance(found, list):
        raise InputError(
            f"One explanation was to be read from {str(path)!r}, which holds a list of {len(found)}. "
            "Use load_explanations for a list."
        )
    return _read(found, path)


def load_explanations(path: str | Path) -> tuple[Explanation, ...]:
    """Read explanations from a `.json` with a list, a comparison or one of them, or from a `.jsonl` (one a line).

    Raises:
        InputError: the file can't be read, or holds something else.
    """
    content = _content(path)
    if Path(path).suffix.lower() == ".jsonl":
        # JSON may hold other line ends than this one within its strings.
        lines = [line for line in content.split("\n") if line.strip()]
        return tuple(_read(_parse(line, f"{path}, line {i}"), f"{path}, line {i}") for i, line in enumerate(lines, 1))
    found = _parse(content, path)
    if isinstance(found, dict) and "explanations" in found:
        found = found["explanations"]
    records = found if isinstance(found, list) else [found]
    return tuple(_read(record, path) for record in records)


def _content(path: str | Path) -> str:
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"Explanations were to be read from {str(path)!r}; that failed: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"An explanation was to be read from {str(path)!r}, which is not UTF-8 text ({error})."
        ) from None


def _parse(content: str, where: str | Path) -> Any:
    try:
        return json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"An explanation was to be read from {str(where)!r}, which is not JSON ({error}). "
            "Give a file that Explanation.save wrote."
        ) from None


def _no_number(constant: str) -> float:
    raise ValueError(f"it holds {constant}, which is no number")


def _read(record: Any, where: str | Path) -> Explanation:
    try:
        return from_dict(record)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _tokens(explanation: Explanation) -> list[dict[str, Any]]:
    tokens = explanation.tokens
    return [_token(tokens, i, float(score)) for i, score in enumerate(explanation.by_token)]


def _token(tokens: Tokens, i: int, score: float) -> dict[str, Any]:
    span: Span | None = tokens.spans[i]
    return {
        "text": tokens.pieces[i] if span is None else tokens.text(span),
        "field": span and span.field,
        "start": None if span is None else span.start,
        "end": None if span is None else span.end,
        "special": span is None,
        "score": score,
        "id": int(tokens.ids[i]),
        "piece": tokens.pieces[i],
        "unit": tokens.units[i],
    }


def _pinned(pinned: Pinned) -> dict[str, Any]:
    order = ("label", "index", "of", "against", "against_index", "predicted", "at")
    values = asdict(pinned)
    return {name: values[name] for name in order}


def _checks(explanation: Explanation) -> dict[str, Any]:
    """A gap is infinite where there was no change; JSON has no such number, so the word `inf` is written."""
    kept = [{"who": who, "amount": amount} for who, amount in explanation.checks.kept]
    values = asdict(explanation.checks) | {"kept": kept}
    said = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    plain = {name: str(float(v)) if isinstance(v, float) and not isfinite(v) else v for name, v in said.items()}
    return {**plain, "failed": list(explanation.checks.failed)}


def _numbers(values: tuple[float, ...]) -> float | list[float]:
    return float(values[0]) if len(values) == 1 else [float(value) for value in values]


def _finite(explanation: Explanation) -> None:
    numbers = [*explanation.scores.ravel().tolist(), *explanation.values, *(explanation.nothing or ())]
    bad = next((value for value in numbers if not isfinite(value)), None)
    if bad is not None:
        raise NumberError(
            f"This explanation was to be written as JSON, but a score or value in it is {bad}. Only finite "
            "numbers can be kept; look at what the model and the method gave."
        )
