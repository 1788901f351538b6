"""Invariance: do explanations stay the same where nothing that matters has changed?

Word vectors moved as a whole (Kindermans et al. 2019), padding, the order of texts, the width of numbers, a text read
again, and a space behind it. Each is set against the explanation of the text as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import torch

from saliently.audit.asked import WHOM, Asked, Floats, applicable, change, explained, explained_again
from saliently.audit.phrases import listed
from saliently.audit.shifted import offset, recast, shifted
from saliently.chunks import checked_tokens
from saliently.data import Row, readable
from saliently.errors import InputError, SaliencyError
from saliently.methods.base import Method
from saliently.methods.gradient import SmoothGrad
from saliently.metrics.intervals import counted_figure, mean_figure
from saliently.models.base import Model
from saliently.names import parse
from saliently.reports import Column, Figure, Report, Table, timed
from saliently.types import Explanation

ALIKE = 0.02
"""A relative change up to here is rounding in float32, or a quadrature that stopped elsewhere."""

TEXTS = 32
"""Texts that are looked at, of more that are given."""

SHIFT, SPACE = "input shift", "trailing space"

_BY_ORIGIN = ("gradient-x-input", "lrp")
"""Methods without a blank that measure from the zero vector all the same."""

Found = list[Explanation | None]
Rows = Mapping[str, tuple[Figure | None, ...]]


@dataclass(frozen=True, eq=False)
class _Scene:
    """What is asked, with its copies. Attributes: asked; rows; shifted, moved word vectors; recast, other width of
    numbers; either is None where the model can't be copied."""

    asked: Asked
    rows: Sequence[Row]
    shifted: Model | None
    recast: Model | None

    def of(self, model: Model | None, method: str, before: Found) -> Found:
        """Explanations by a copy, of the labels of before."""
        if model is None:
            return [None] * len(self.rows)
        return explained_again(replace(self.asked, model=model), method, self.rows, before)


Again = Callable[[_Scene, str, Found], tuple[Found, Found]]
"""Two lists of explanations to set against each other, a text each."""


@dataclass(frozen=True)
class Check:
    """Attributes: name; said, what is changed; again, explains again."""

    name: str
    said: str
    again: Again


def _padded(scene: _Scene, method: str, before: Found) -> tuple[Found, Found]:
    alone = [explained(scene.asked, method, [row])[0] for row in scene.rows]
    return alone, [explained(scene.asked, method, [row, _longer(row)])[0] for row in scene.rows]


def _reversed(scene: _Scene, method: str, before: Found) -> tuple[Found, Found]:
    return before, explained(scene.asked, method, scene.rows[::-1])[::-1]


def _spaced(scene: _Scene, method: str, before: Found) -> tuple[Found, Found]:
    return before, explained(scene.asked, method, [_with_space(row) for row in scene.rows])


CHECKS = (
    Check(
        SHIFT,
        "mean change where a constant is added to all word vectors and taken away behind them, so that the model is "
        "the same function of text",
        lambda scene, method, before: (before, scene.of(scene.shifted, method, before)),
    ),
    Check("padding", "largest change between a text alone and one beside a longer text", _padded),
    Check("order", "largest change where the texts come in the opposite order", _reversed),
    Check(
        "width",
        "largest change in a copy that computes in float64 (in float32, if the model does so in float64)",
        lambda scene, method, before: (before, scene.of(scene.recast, method, before)),
    ),
    Check(
        "again",
        "largest change where the texts are read and explained once more",
        lambda scene, method, before: (before, explained(scene.asked, method, scene.rows)),
    ),
    Check(SPACE, "largest change where a space is put behind a text, for texts that keep their words", _spaced),
)

LIMITS = (
    "An explanation that changes with the origin of the word vectors answers another question, about a zero vector "
    "that the model has never seen; that is a choice of blank, and not an error of computing.",
    "One constant, as large as the entries of word vectors are: other ones give other changes.",
    "An explanation that stays the same may be wrong every time.",
    "All of it is about this model on texts like these.",
)


@timed
def invariance(asked: Asked, rows: Sequence[Row], most: int = TEXTS) -> Report:
    """Explain texts again under each change; methods that the model can't be asked by are left out, and told.

    Args:
        most: texts that are looked at, drawn from `rows`.

    Raises:
        InputError: no text can be read. ModelError: no method can be asked. RecipeError: there is no such method.
    """
    some = _some(asked, rows, most)
    asked, skipped = applicable(asked, some[0])
    notes = [f"{method} was left out: {why}" for method, why in skipped.items()]
    if _half(asked.model):
        notes.append(f"In half precision rounding alone changes scores by more than {ALIKE}: read against order.")
    scene = _Scene(asked, some, *_copies(asked, notes))
    found = {method: _changes(scene, method) for method in asked.methods}
    figures = {
        method: tuple(_figure(check, each[check.name], asked.seed) for check in CHECKS)
        for method, each in found.items()
    }
    reading = _reading(scene)
    return Report(
        title=f"Invariance of explanations of {asked.model.name}",
        question="Do explanations stay the same where nothing that matters to the model has changed?",
        whom=WHOM,
        verdict=_verdict(figures, reading),
        settings={"model": asked.model.name, "texts": len(some), "methods": list(figures), "alike": ALIKE},
        seed=asked.seed,
        tables=(_changes_table(figures, notes), reading),
        limits=LIMITS,
    )


def by_origin(method: Method) -> bool:
    """Do its scores depend on where the origin of the word vectors lies? So it is where it compares the text with zero
    vectors."""
    if isinstance(method, SmoothGrad):
        return by_origin(method.inner)
    if method.blanks is not None:
        return "zero" in method.blanks
    return method.name in _BY_ORIGIN


def _changes_table(figures: Rows, notes: Sequence[str]) -> Table:
    return Table(
        "Relative change of the scores, |after - before| / |before| by the L2 norm",
        tuple(Column(check.name, check.said, "lower") for check in CHECKS),
        figures,
        {method: "changes" for method in figures if by_origin(parse(method))},
        (
            'Marked "changes" are methods that measure from the zero vector, which does not move along with word '
            "vectors: their scores must change with an input shift (Kindermans et al. 2019), and those of no others.",
            f"A change up to {ALIKE} counts as none.",
            *notes,
        ),
    )


def _changes(scene: _Scene, method: str) -> dict[str, Floats]:
    """(N,) the relative change of each text under each check."""
    before = explained(scene.asked, method, scene.rows)
    found = {}
    for check in CHECKS:
        pairs = zip(*check.again(scene, method, before), strict=True)
        found[check.name] = np.array([change(one, other) for one, other in pairs], np.float64)
    return found


def _figure(check: Check, changes: Floats, seed: int) -> Figure | None:
    """The mean where a change is to be measured, the largest where there should be none."""
    if check.name == SHIFT:
        return mean_figure(changes, seed)
    known = changes[~np.isnan(changes)]
    return Figure(float(known.max()), n=len(known)) if len(known) else None


def _some(asked: Asked, rows: Sequence[Row], most: int) -> list[Row]:
    """Texts that can be read."""
    good, _ = readable(asked.model, rows)
    if not good:
        raise InputError(f"Texts to explain again were asked for; none of {len(rows)} can be read. Give some words.")
    places = sorted(Random(asked.seed).sample(range(len(good)), min(most, len(good))))
    return [good[i] for i in places]


def _copies(asked: Asked, notes: list[str]) -> tuple[Model | None, Model | None]:
    """Moved and recast, as far as the model can be copied; what can't be done is noted."""
    found: list[Model | None] = []
    for make in (lambda model: shifted(model, offset(model, asked.seed)), recast):
        try:
            found.append(make(asked.model))
        except (SaliencyError, RuntimeError) as error:
            found.append(None)
            notes.append(f"A check was left out: {error}")
    return found[0], found[1]


def _half(model: Model) -> bool:
    weight = next(model.module.parameters(), None)
    return weight is not None and weight.dtype in (torch.bfloat16, torch.float16)


def _longer(row: Row) -> Row:
    """The text twice over, in each field."""
    return replace(row, fields={name: f"{text} {text}" for name, text in row.fields.items()}, evidence=())


def _with_space(row: Row) -> Row:
    return replace(row, fields={name: f"{text} " for name, text in row.fields.items()})


def _reading(scene: _Scene) -> Table:
    """How many texts are read as the same ids again, and with a space behind them."""
    model = scene.asked.model
    plain = [checked_tokens(model, row.fields).ids for row in scene.rows]
    rows: dict[str, tuple[Figure | None, ...]] = {}
    for name, read in (("again", scene.rows), (SPACE, [_with_space(row) for row in scene.rows])):
        same = [checked_tokens(model, row.fields).ids == ids for row, ids in zip(read, plain, strict=True)]
        rows[name] = (counted_figure(float(np.mean(same)), len(same)),)
    return Table(
        "Tokens",
        (Column("same ids", "share of texts that are read as the same token ids", "higher"),),
        rows,
        notes=("A tokenizer may make a token of a space; then the model is asked about another input.",),
    )


def _verdict(figures: Rows, reading: Table) -> tuple[str, ...]:
    """What moved with the origin, what else changed, and what came out otherwise than it should."""
    shift = {method: row[0] for method, row in figures.items() if row[0] is not None}
    moved = [f"{method} (by {each.value:.0%})" for method, each in shift.items() if each.value > ALIKE]
    still = [method for method, each in shift.items() if each.value <= ALIKE]
    odd = [
        f"{method} {'stayed' if by_origin(parse(method)) else 'changed'} with the input shift"
        for method, each in shift.items()
        if (each.value > ALIKE) != by_origin(parse(method))
    ]
    tokens = reading.rows[SPACE][0]
    spaces = tokens is not None and tokens.value == 1.0
    for method, row in figures.items():
        for check, each in zip(CHECKS[1:], row[1:], strict=True):
            if each is not None and each.value > ALIKE and (check.name != SPACE or spaces):
                odd.append(f"{method} changed by {each.value:.0%} with {check.name}")
    said = []
    if shift:
        said.append(
            f"Moving the origin of the word vectors, which changes nothing that the model says, changes "
            f"{listed(moved)}; it leaves {listed(still)} as they were."
        )
    if not spaces:
        said.append("A space behind a text makes other tokens of some texts, so that their scores may change.")
    said.append(
        f"Not as it should be: {'; '.join(odd)}." if odd else "All other changes are rounding, as they should be."
    )
    return tuple(said)
