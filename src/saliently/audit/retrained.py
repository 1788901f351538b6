"""Copies of a model that are trained on texts without the words that a method names.

Inputs are token ids all the way: what was taken away is never made text again, nor read.

N texts, of which the first are for training; K of them are for tests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from random import Random
from typing import Any, Literal, NamedTuple

import numpy as np

from saliently.audit.asked import RANDOM, Asked, Floats, explained
from saliently.audit.scrambled import parts, scrambled
from saliently.chunks import checked_tokens
from saliently.data import Row, unlike
from saliently.errors import ModelError, RecipeError
from saliently.metrics.erasure import counts
from saliently.metrics.ranked import Ranked, generator
from saliently.models.base import Model, Reader
from saliently.models.copying import copied
from saliently.train import Training, Watch, outputs, predicted, train_on
from saliently.types import Tokens

Start = Literal["given", "scrambled"]
_NUMBER = "number"


@dataclass(frozen=True)
class Sizes:
    """How much to train.

    Attributes:
        train, test: texts; of fewer rows a third is for tests.
        shares: of the words of each text that are taken away, rising; rounded up.
        seeds: how often each training is done; the figures are over their mean.
        training: how.
        blank: "mask" or "pad", whose id stands where a word was, or "delete"; None for the mask, or else deletion.
        start: what a copy begins with. recursive: ask the retrained models too?
    """

    train: int = 1500
    test: int = 300
    shares: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5)
    seeds: int = 1
    training: Training = field(default_factory=lambda: Training(epochs=2))
    blank: str | None = None
    start: Start = "given"
    recursive: bool = True

    def __post_init__(self) -> None:
        rising = list(self.shares) == sorted(set(self.shares))
        if not self.shares or not rising or not all(0 < share < 1 for share in self.shares):
            raise RecipeError(f"Shares {self.shares!r} were asked for; give rising ones above 0 and below 1.")
        if min(self.train, self.test, self.seeds) < 1 or self.start not in ("given", "scrambled"):
            raise RecipeError(f"{self!r} was asked for; sizes start at 1, and `start` is 'given' or 'scrambled'.")


Curve = list[Floats]
"""(K,) for each share: how often a test text was predicted right, over seeds."""


class _Step(NamedTuple):
    """Attributes: model, a copy that was trained; right, (K,) is it right about each test text?"""

    model: Model
    right: Floats


@dataclass(frozen=True, eq=False)
class Lab:
    """Where copies are trained. Attributes: asked; whole (N,) inputs as they are; labels (N,); train, how many of them
    are learnt from; sizes."""

    asked: Asked
    whole: tuple[Tokens, ...]
    labels: tuple[int, ...]
    train: int
    sizes: Sizes

    @staticmethod
    def of(asked: Asked, rows: Sequence[Row], sizes: Sizes) -> Lab:
        """Rows in a random order, as many as are wanted."""
        model = asked.model
        if model.find is not None or model.link == "none" or len(model.labels) < 2:
            raise ModelError(
                f"Retraining of {model.name} was asked for; it is for classifiers. Use `saliently evaluate` for other "
                "models."
            )
        rows = unlike(rows)
        if len(rows) < 6:
            raise RecipeError(
                f"Different texts to train on and to test with were asked for; found {len(rows)}. Give some hundreds."
            )
        if sizes.blank not in (None, "delete", *model.blank_ids):
            raise RecipeError(
                f"Blank {sizes.blank!r} was asked for; words of {model.name} can be replaced by "
                f"{', '.join(map(repr, [*model.blank_ids, 'delete']))}."
            )
        some = Random(asked.seed).sample(rows, min(len(rows), sizes.train + sizes.test))
        test = min(sizes.test, len(some) // 3)
        said = predicted(model, some) if any(row.label is None for row in some) else [0] * len(some)
        labels = tuple(one if row.label is None else row.label for row, one in zip(some, said, strict=True))
        whole = tuple(checked_tokens(model, row.fields) for row in some)
        return Lab(asked, whole, labels, len(some) - test, sizes)

    @property
    def test_labels(self) -> tuple[int, ...]:
        """(K,)"""
        return self.labels[self.train :]

    @cached_property
    def blank(self) -> str:
        """What stands where words were taken away."""
        return self.sizes.blank or ("mask" if "mask" in self.asked.model.blank_ids else "delete")

    def curves(self, method: str) -> tuple[Curve, Curve]:
        """What is left for each share: by one ranking for all, and by a new one after each step."""
        once: list[Curve] = []
        again: list[Curve] = []
        recursive = method != RANDOM and self.sizes.recursive
        for seed in range(self.sizes.seeds):
            ranking = order(self.asked, method, self.whole, seed)
            inputs = [self.less(self.whole, ranking, 0.0, share) for share in self.sizes.shares]
            # The first step is the same for both.
            chain = self._chain(method, seed, inputs[0], self.sizes.shares if recursive else self.sizes.shares[:1])
            once.append([chain[0], *(self.step(each, seed).right for each in inputs[1:])])
            again += [chain] if recursive else []
        mean = [self.mean(each) for each in zip(*once, strict=True)]
        return mean, [self.mean(each) for each in zip(*again, strict=True)] if again else mean

    def _chain(self, method: str, seed: int, inputs: tuple[Tokens, ...], shares: Sequence[float]) -> Curve:
        """What is left after each share, the words of each named by the copy of the one before."""
        step = self.step(inputs, seed)
        found = [step.right]
        for before, share in pairwise(shares):
            ranking = order(replace(self.asked, model=step.model), method, inputs, seed)
            del step  # before the next copy takes its memory
            inputs = self.less(inputs, ranking, before, share)
            step = self.step(inputs, seed)
            found.append(step.right)
        return found

    def less(
        self, inputs: Sequence[Tokens], ranking: Sequence[Sequence[int]], before: float, share: float
    ) -> tuple[Tokens, ...]:
        """Inputs of which a share `before` of the words is gone already, without the next ones of a ranking."""
        blank = self.asked.model.blank_ids.get(self.blank)
        blank = None if self.blank == "delete" else blank
        found = []
        for tokens, whole, words in zip(inputs, self.whole, ranking, strict=True):
            many = len(whole.pieces_of)
            first, last = (min(many - 1, counts(many, (each,))[0]) for each in (before, share))
            found.append(without(tokens, words[: last - first], blank))
        return tuple(found)

    def step(self, inputs: Sequence[Tokens], seed: int) -> _Step:
        """Train a copy on the first of these inputs, and ask it about the others."""
        model = self.asked.model
        if self.sizes.start == "given":
            copy = copied(model, f"{model.name} retrained")
        else:
            names = [name for name, modules in parts(model) if all(each is not model.embedding for each in modules)]
            copy = scrambled(model, names, self.asked.seed + seed)
        training = replace(self.sizes.training, seed=self.asked.seed + seed)
        watch = Watch(lambda rows: self.asked.options.tick(3 * rows))
        train_on(copy, inputs[: self.train], self.labels[: self.train], training, watch)
        said = outputs(copy, list(inputs[self.train :])).argmax(-1).cpu().numpy()
        return _Step(copy, (said == np.array(self.test_labels)).astype(np.float64))

    def mean(self, over: Sequence[Floats]) -> Floats:
        """(K,) over seeds."""
        return np.asarray(np.stack(over).mean(0), np.float64)


def without(tokens: Tokens, units: Collection[int], blank: int | None) -> Tokens:
    """The input with some of its words taken away: their tokens are the blank's id, and count as special from then on,
    so that nothing asks about them again; or, with None, are deleted."""
    gone = {token for unit in units for token in tokens.pieces_of[unit]}
    if not gone:
        return tokens
    if blank is None:
        return _cut(tokens, gone)
    return replace(
        tokens,
        ids=tuple(blank if i in gone else each for i, each in enumerate(tokens.ids)),
        spans=tuple(None if i in gone else each for i, each in enumerate(tokens.spans)),
        units=tuple(None if i in gone else each for i, each in enumerate(tokens.units)),
    )


def _cut(tokens: Tokens, gone: Collection[int]) -> Tokens:
    stay = [i for i in range(len(tokens.ids)) if i not in gone]
    places = {old: new for new, old in enumerate(stay)}
    return replace(
        tokens,
        ids=tuple(tokens.ids[i] for i in stay),
        pieces=tuple(tokens.pieces[i] for i in stay),
        spans=tuple(tokens.spans[i] for i in stay),
        units=tuple(tokens.units[i] for i in stay),
        kinds=tuple(tokens.kinds[i] for i in stay) if tokens.kinds else (),
        streams=tuple(tuple(places[i] for i in stream if i in places) for stream in tokens.streams),
    )


def order(asked: Asked, method: str, inputs: Sequence[Tokens], seed: int) -> list[list[int]]:
    """Of each input the numbers of its words in `Tokens.parts`, strongest first, for the class that the model predicts;
    in a random order for "random", and where an input can't be explained."""
    chances = [generator(asked.seed + seed, tokens, 1) for tokens in inputs]
    found = [
        [int(unit) for unit in chance.permutation(sorted(tokens.pieces_of))]
        for chance, tokens in zip(chances, inputs, strict=True)
    ]
    if method == RANDOM:
        return found
    model = replace(asked.model, read=_Ready(tuple(inputs), asked.model.read))
    numbers = [Row({_NUMBER: str(number)}) for number in range(len(inputs))]
    for i, each in enumerate(explained(replace(asked, model=model), method, numbers)):
        if each is not None and each.tokens.pieces_of:
            units = sorted(each.tokens.pieces_of)
            found[i] = [units[word] for word in Ranked.of(each, asked.seed + seed).order]
    return found


@dataclass(frozen=True, eq=False)
class _Ready:
    """Gives out inputs that were read before, by their number, since ids are never made text again."""

    inputs: tuple[Tokens, ...]
    otherwise: Reader

    def __call__(self, fields: Mapping[str, Any], truncate: bool) -> Tokens:
        return self.inputs[int(fields[_NUMBER])] if _NUMBER in fields else self.otherwise(fields, truncate)
