"""How deep an audit goes, and how a time becomes a plan of passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from time import perf_counter
from typing import Any

import torch

from saliently import erase
from saliently.audit.asked import METHODS, MORE, rows_of
from saliently.audit.cues import lessons
from saliently.chunks import checked_tokens
from saliently.data import Row
from saliently.errors import RecipeError
from saliently.models.base import Model
from saliently.packing import Budget
from saliently.runner import Runner
from saliently.types import Target

_SHARE = 0.8
"""Of a time that was given, how much is planned for; the rest is for what was not foreseen."""
_SCALES = (8.0, 4.0, 2.0, 1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12)


@dataclass(frozen=True)
class Depth:
    """Sizes of the parts of an audit.

    Attributes:
        methods: recipes. cues: what is planted; seeds: how many copies of each; train: planted texts an epoch; epochs:
            at most; test: texts to find the cue in.
        texts: explained, and erased for each of blanks; controls: random orders of each.
        scrambled: texts explained again with other weights. moved: texts explained again with moved word vectors;
            draws: how often.
    """

    methods: tuple[str, ...] = METHODS
    cues: tuple[str, ...] = ("single token",)
    seeds: int = 1
    train: int = 400
    epochs: int = 6
    test: int = 80
    texts: int = 100
    blanks: tuple[str, ...] = ("mask", "zero", "delete")
    controls: int = 3
    scrambled: int = 30
    moved: int = 20
    draws: int = 2

    def times(self, scale: float) -> Depth:
        """The same with more or fewer texts; what decides how sure the answer is has its floor."""
        many = {"test": 20, "texts": 20, "scrambled": 10, "moved": 5}
        grown = {name: max(least, round(getattr(self, name) * scale)) for name, least in many.items()}
        return replace(self, **grown, train=max(200, round(self.train * min(1.0, scale))))


DEPTHS = {
    "tiny": Depth(train=400, epochs=12, test=30, texts=20, controls=2, scrambled=10, moved=5, draws=1),
    "quick": Depth(),
    "full": Depth(MORE, ("single token", "token in context", "ordered pair"), 3, 1500, 8, 200, 400,
                  ("mask", "zero", "delete", "mean"), controls=5, scrambled=100, moved=50, draws=5),
}  # fmt: skip


def read_depth(saved: Mapping[str, Any]) -> Depth:
    """From the plan that was saved as JSON, which has lists for tuples."""
    known: Any = {name: tuple(each) if isinstance(each, list) else each for name, each in saved.items()}
    return replace(Depth(), **known)


def fitting(depth: Depth, model: Model, rows: Sequence[Row], minutes: float) -> Depth:
    """The deepest that the time allows, by the speed of a few rows run now.

    Raises:
        RecipeError: not even the smallest fits.
    """
    speed, tokens = _speed(model, rows)
    for scale in _SCALES:
        found = depth.times(scale)
        if cost(found, tokens) * speed <= _SHARE * minutes * 60:
            return found
    least = cost(depth.times(_SCALES[-1]), tokens) * speed / _SHARE / 60
    raise RecipeError(
        f"An audit in {minutes:g} minutes was asked for; the smallest takes about {ceil(least)} here, at "
        f"{1 / speed:.0f} rows a second. Allow more time, or give fewer methods."
    )


def cost(depth: Depth, tokens: int) -> int:
    """About how many rows it runs, a backward pass counting as two."""
    explaining = sum(rows_of(method, tokens) for method in depth.methods)
    teaching = sum(depth.seeds * (depth.epochs * 3 * depth.train * lessons(cue)) for cue in depth.cues)
    teaching += len(depth.cues) * depth.seeds * depth.test * explaining
    erasing = depth.texts * len(depth.blanks) * (len(depth.methods) + depth.controls) * 8
    return round(
        depth.texts * explaining
        + teaching
        + erasing
        + depth.scrambled * explaining
        + depth.draws * depth.moved * explaining
    )


def _speed(model: Model, rows: Sequence[Row]) -> tuple[float, int]:
    """Seconds a row, and tokens of a typical one; the first run is not counted."""
    tokens = sorted((checked_tokens(model, row.fields) for row in rows[:64]), key=lambda each: len(each.ids))
    typical = tokens[len(tokens) // 2]
    blocks = {0: torch.cat([erase.everything(typical), erase.nothing(typical)] * 32)}
    taken = 0.0
    for _ in range(2):
        runner, start = Runner(model, [typical], Target(), Budget(2048)), perf_counter()
        with model.resting():
            runner.values(blocks, erase.default_blank(model))
        taken = perf_counter() - start
    return taken / 64, len(typical.ids)
