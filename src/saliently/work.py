"""Long work in units, each saved when it is done, so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote

from saliently.errors import InputError, RecipeError

PLAN, UNITS = "plan.json", "units"
_LONGEST = 120


@dataclass(frozen=True)
class Unit:
    """One piece of work. Attributes: name, unique; rows, about how many run through the model, a backward pass counting
    as two; run, gives the result as plain JSON values, from those of earlier units alone."""

    name: str
    rows: int
    run: Callable[[], Any]


@dataclass(frozen=True)
class Folder:
    """Where a plan and the results of its units are kept."""

    path: Path

    def begin(self, plan: Callable[[], Mapping[str, Any]], same: Mapping[str, Any]) -> Mapping[str, Any]:
        """The plan in the folder, or else a new one, saved before any work.

        `same` is what a plan must agree with to be gone on with: the model, the texts and what was asked.

        Raises:
            RecipeError: the folder has the plan of something else. InputError: it can't be written or read.
        """
        if (self.path / PLAN).is_file():
            found = self._read(self.path / PLAN)
            other = sorted(key for key in same if found.get(key) != same[key])
            if other:
                raise RecipeError(
                    f"Work was to go on in {self.path}; what is there was begun with another {', '.join(other)}. Give "
                    "another folder with --out, or remove that one."
                )
            return dict(found)
        made = {**plan(), **same}
        try:
            (self.path / UNITS).mkdir(parents=True, exist_ok=True)
            self._write(self.path / PLAN, made)
        except OSError as error:
            raise InputError(f"Results were to be kept in {self.path}; that failed: {error.strerror}.") from None
        return dict(self._read(self.path / PLAN))

    def done(self, name: str) -> bool:
        """Is there a result of that unit?"""
        return self._place(name).is_file()

    def result(self, name: str) -> Any:
        """The result of a unit that is done."""
        return self._read(self._place(name))

    def keep(self, name: str, result: Any) -> None:
        """Save a result, whole or not at all."""
        self._write(self._place(name), result)

    def file(self, name: str) -> Path:
        """A place for what is no JSON (weights), beside the results."""
        return self.path / UNITS / _spelled(name)

    def _place(self, name: str) -> Path:
        return self.path / UNITS / f"{_spelled(name)}.json"

    def _write(self, path: Path, value: Any) -> None:
        written = json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace")
        partly = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
        try:
            partly.write_bytes(written)
            os.replace(partly, path)
        finally:
            partly.unlink(missing_ok=True)

    def _read(self, path: Path) -> Any:
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"Work was to go on from {path}; it can't be read ({error}). Remove that file.") from None


def _spelled(name: str) -> str:
    """A name as a file name; long ones, which systems refuse, end in a hash."""
    spelled = quote(name, safe=" ()='.,")
    return spelled if len(spelled) <= _LONGEST else f"{spelled[:_LONGEST]}~{sha256(name.encode()).hexdigest()[:12]}"


def run(folder: Folder, units: Sequence[Unit], told: Callable[[Unit, bool], None] = lambda unit, new: None) -> None:
    """Each unit that has no result yet, in order; `told` hears of each when it is done, and whether it ran now."""
    for unit in units:
        new = not folder.done(unit.name)
        if new:
            folder.keep(unit.name, unit.run())
        told(unit, new)
