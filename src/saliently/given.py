"""What the commands are given: texts by the line, as pairs, as fields; places by their spelling."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from saliently.errors import InputError


def texts_of(texts: list[str] | None, file: Path | None) -> list[str]:
    """Texts of the command, a file or standard input; one a line."""
    if texts and file:
        raise InputError("Texts and --file were both given; give one of them.")
    if texts:
        return texts
    if file is None and sys.stdin.isatty():
        raise InputError("A text was asked for; none was given. Write it behind the command, or use --file.")
    try:
        raw = sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
        lines = raw.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"Texts were to be read from {file}; it can't be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"UTF-8 texts were asked for; byte {error.start} is not UTF-8. Convert the file first."
        ) from None
    lines = [line.removesuffix("\r") for line in (lines[:-1] if lines[-1] == "" else lines)]
    if not lines:
        raise InputError("A text was asked for; the input is empty. Give one text a line.")
    return lines


def place(spelled: str | None) -> int | str | slice | None:
    """A number stands for a place, two of them with a colon for a slice, anything else for a word."""
    if spelled is None or spelled.removeprefix("-").isdecimal():
        return None if spelled is None else int(spelled)
    start, colon, end = spelled.partition(":")
    numbers = [part for part in (start, end) if part]
    if colon and all(part.removeprefix("-").isdecimal() for part in numbers):
        return slice(int(start) if start else None, int(end) if end else None)
    return spelled


def objects(texts: Sequence[str]) -> list[Mapping[str, Any]]:
    """Fields by name, of texts that are JSON objects."""
    found: list[Mapping[str, Any]] = []
    for at, text in enumerate(texts, 1):
        try:
            fields = json.loads(text)
        except ValueError as error:
            raise InputError(f"Fields were asked for as JSON; text {at} is none ({error}).") from None
        if not isinstance(fields, dict):
            raise InputError(
                f'Fields were asked for as JSON; text {at} is a {type(fields).__name__}. Give {{"prompt": "..."}}, say.'
            )
        found.append(fields)
    return found


def pairs(texts: Sequence[str], typed: bool) -> list[Mapping[str, str]]:
    """Two texts as a pair, or each line cut at its tab."""
    cut = [tuple(texts)] if typed else [tuple(line.split("\t")) for line in texts]
    for at, parts in enumerate(cut):
        if len(parts) != 2:
            raise InputError(
                f"A premise and a hypothesis were asked for; {'the command' if typed else f'line {at + 1}'} holds "
                f"{len(parts)} text{'s' * (len(parts) != 1)}. Give two texts, or lines with one tab between them."
            )
    return [{"premise": premise, "hypothesis": hypothesis} for premise, hypothesis in cut]


def labelled(lines: list[str]) -> tuple[list[str], list[str] | None]:
    """Texts, and their labels where each line has one behind its last tab."""
    bare = next((at for at, line in enumerate(lines, 1) if "\t" not in line), None)
    if bare is None:
        texts, labels = zip(*(line.rsplit("\t", 1) for line in lines), strict=True)
        return list(texts), list(labels)
    if len(lines) > 1 and any("\t" in line for line in lines):
        raise InputError(
            f"A label behind a tab was found on some lines; line {bare} has none. Give all lines one, or none."
        )
    return lines, None
