"""What every experiment asks about: a model, methods that it can be asked by, and explanations as results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
import torch
from numpy.typing import NDArray

from saliently.api import Options, stream
from saliently.data import Row
from saliently.errors import ModelError, SaliencyError
from saliently.memory import backward
from saliently.models.base import Model
from saliently.names import parse
from saliently.types import Explanation, Target

Floats = NDArray[np.float64]

Before = Sequence[Explanation | None] | None
"""Explanations that are at hand; None as a whole if there are none."""

RANDOM = "random"
"""The control: words in a random order."""

METHODS = (
    "gradient",
    "gradient-x-input",
    "integrated-gradients",
    "integrated-gradients(blank='zero')",
    "lrp",
    "occlusion",
    "attention",
    "attention-rollout",
)
"""What a quick audit compares: one of each family, and attention among them."""

MORE = (
    *METHODS,
    "gradient(norm='l1')",
    "smoothgrad",
    "integrated-gradients(steps=1, blank='mask')",
    "occlusion(blank='delete')",
    "decompx",
    "lime(samples=200)",
    "shapley(exact=7, tolerance=0.1, most=400)",
    "attention-x-gradient",
    "gradient-rollout",
    "alti",
    "globenc",
)
"""What a full audit compares."""

WHOM = (
    "For developers who want to know what this model relies on; measured on its own predictions, not against what "
    "people find plausible (Bastings and Filippova 2020)."
)


@dataclass(frozen=True, eq=False)
class Asked:
    """Who is asked and how. Attributes: model; methods, recipes; seed; target, what is explained; options."""

    model: Model
    methods: tuple[str, ...] = METHODS
    seed: int = 0
    target: Target = Target()
    options: Options = field(default_factory=lambda: Options(truncate=True))


def explained(asked: Asked, method: str, rows: Sequence[Row]) -> list[Explanation | None]:
    """An explanation a row; None where that text can't be explained."""
    found = stream(asked.model, [row.fields for row in rows], method, asked.target, options=asked.options)
    return [None if isinstance(each, SaliencyError) else each for _, each in found]


def explained_again(
    asked: Asked, method: str, rows: Sequence[Row], before: Sequence[Explanation | None]
) -> list[Explanation | None]:
    """Explanations of the same labels as before, of a model that may predict others now."""
    return explained_for(asked, method, rows, [None if each is None else each.target.index for each in before])


def explained_for(
    asked: Asked, method: str, rows: Sequence[Row], labels: Sequence[int | None]
) -> list[Explanation | None]:
    """An explanation a row, of its own label; None where it has none, or where that text can't be explained."""
    found: list[Explanation | None] = [None] * len(rows)
    for label in sorted({each for each in labels if each is not None}):
        places = [i for i, each in enumerate(labels) if each == label]
        again = replace(asked, target=replace(asked.target, label=label))
        for i, each in zip(places, explained(again, method, [rows[i] for i in places]), strict=True):
            found[i] = each
    return found


def change(one: Explanation | None, other: Explanation | None) -> float:
    """|other - one| / |one| by the L2 norm of the scores of one's words; NaN where there is nothing to compare."""
    if one is None or other is None:
        return float("nan")
    theirs = {unit[:-1]: unit.score for unit in other.words()}
    pairs = [(unit.score, theirs.get(unit[:-1], np.nan)) for unit in one.words()]
    before, after = np.array(pairs, np.float64).T
    size = float(np.linalg.norm(before))
    return float(np.linalg.norm(after - before)) / size if size else float("nan")


def applicable(asked: Asked, row: Row) -> tuple[Asked, dict[str, str]]:
    """The same with the methods that this model can be asked by, tried out on one text, and why not the others.

    Recipes come with the defaults that depend on the model written out.

    Raises:
        ModelError: none can. RecipeError: there is no such method.
    """
    good: dict[str, None] = {}
    bad: dict[str, str] = {}
    for method in dict.fromkeys(asked.methods):
        recipe = parse(method)  # what can't be read is an error of the caller, not of the model
        try:
            (_, found), *_ = stream(asked.model, [row.fields], recipe, asked.target, options=asked.options)
        except SaliencyError as error:
            found = error
        if isinstance(found, SaliencyError):
            bad[method] = str(found)
        else:
            good[found.method] = None
    if not good:
        raise ModelError(
            f"Methods for {asked.model.name} were looked for; none can be asked: {'; '.join(bad.values())}"
        )
    return replace(asked, methods=tuple(good)), bad


def rows_of(method: str, tokens: int) -> int:
    """About how many rows an explanation of so many tokens costs, a backward pass counting as two."""
    asked = parse(method)
    return asked.rows(tokens) * (3 if backward(asked) else 1)


def fingerprint(model: Model) -> str:
    """A hash of all weights: the same for the same model, whatever folder it lies in."""
    found = sha256()
    for name, weight in sorted(model.module.state_dict().items()):
        found.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode())
        found.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()[:16]
