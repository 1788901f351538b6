"""Planted shortcuts: does a method find the words that a model was taught to rely on?

Bastings et al. 2022. A copy of the user's model learns that planted words decide the label, and keeps to what it said
about all other texts. That it relies on the cue is checked before anything is explained. Departures: cues are rare
words of the user's own texts, not new ones in the vocabulary; clean texts are taught with the model's own
probabilities, so that no labels are needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from saliently.audit.asked import RANDOM, Asked, Floats, explained
from saliently.audit.cues import CUES, Cue, InResponse, choose, tokens_of
from saliently.chunks import checked_tokens
from saliently.data import Row, marked, unlike
from saliently.errors import RecipeError, did_you_mean
from saliently.metrics.ranked import Ranked
from saliently.models.base import Model
from saliently.models.copying import copied
from saliently.train import Training, Watch, predicted, train
from saliently.types import Explanation, Target

_DRAWS = 20
"""Random orders of a text's words."""
_ENOUGH = 0.995
"""Accuracy on planted texts at which a copy has learnt its cue, after so many epochs in a row."""
_IN_A_ROW = 2
_TRIES = 20
"""Places that are tried for a cue, where a model does not read long texts to their end."""
RELIES, WHOLE = 0.9, 0.8
"""Accuracy with the cue, and with decoys, from which a copy is said to rely on the cue, and on all of it."""


@dataclass(frozen=True)
class Sizes:
    """How much to plant.

    Attributes:
        train: planted texts an epoch; short of texts, each is planted several times.
        test: texts that are kept out of training, two fifths of all at most.
        training: how a copy is trained.
    """

    train: int = 1500
    test: int = 200
    training: Training = Training(epochs=6)


@dataclass(frozen=True, eq=False)
class Split:
    """What a copy is taught and tested with. Attributes: cue; pair, the two labels that it tells apart; clean, planted,
    decoys: texts to learn from; held, clean texts kept out of it, and tests, these with the cue."""

    cue: Cue
    pair: tuple[int, int]
    clean: tuple[Row, ...]
    planted: tuple[Row, ...]
    decoys: tuple[Row, ...]
    held: tuple[Row, ...]
    tests: tuple[Row, ...]


@dataclass(frozen=True)
class Reliance:
    """Does the copy rely on its cue? Shares of texts kept out of training.

    Attributes: planted, with the cue, predicted as it says; stripped, the same texts without it, predicted as it said
    (what is left to chance and text); decoys, with words of the cue that decide nothing, predicted as before; before
    and after, clean texts predicted right by the model and by its copy, or as the model does where no labels are known.
    """

    planted: float
    stripped: float
    decoys: float | None
    before: float | None
    after: float | None
    n: int

    @property
    def relies(self) -> bool:
        """Does it rely on the cue, and on each of its words?"""
        return self.planted >= RELIES and (self.decoys is None or self.decoys >= WHOLE)


def split(model: Model, rows: Sequence[Row], kind: str, seed: int, sizes: Sizes) -> Split:
    """Choose words, and plant them.

    Raises:
        RecipeError: there is no such cue; the texts do not fit it; there are too few.
    """
    if kind not in CUES:
        raise RecipeError(f"Cue {kind!r} was asked for; there are {', '.join(CUES)}.{did_you_mean(kind, CUES)}")
    if (kind == InResponse.name) != (model.find is not None):
        raise RecipeError(
            f"The cue {kind!r} was to be planted for {model.name}; it is for "
            + ("language models with prompts and responses." if kind == InResponse.name else "classifiers.")
            + f" Plant {'one of the others' if kind == InResponse.name else repr(InResponse.name)}."
        )
    words, free = choose(model, unlike(rows), CUES[kind].many, seed)
    cue: Cue = CUES[kind](words)  # type: ignore[call-arg]
    chance = Random(seed)
    chance.shuffle(free)
    free = _without(model, free, cue, sizes)
    many = min(sizes.test, len(free) * 2 // 5)
    held, clean = free[:many], free[many : many + sizes.train]
    if many < 10:
        raise RecipeError(f"Texts to plant cues in were asked for; there are {len(free)}. Give 25 at least.")
    rounds = max(1, -(-sizes.train // len(clean)))
    pair = (0, 1) if cue.name == InResponse.name else _pair(model, free)
    more = [row for _ in range(rounds) for row in clean][: sizes.train]
    decoys = [decoy for row in more if (decoy := cue.decoy(row, chance)) is not None]
    tests = [(row, planted) for row in held if (planted := _planted(model, cue, row, pair, chance)) is not None]
    taught = [planted for row in more if (planted := _planted(model, cue, row, pair, chance)) is not None]
    if not tests or not taught:
        raise RecipeError(
            f"Cues were to be planted where {model.name} reads them; nearly all texts are longer than it takes. Give "
            "shorter ones."
        )
    return Split(
        cue,
        pair,
        tuple(clean),
        tuple(taught),
        tuple(Row(row.fields) for row in decoys),
        tuple(row for row, _ in tests),
        tuple(planted for _, planted in tests),
    )


def _without(model: Model, rows: Sequence[Row], cue: Cue, sizes: Sizes) -> list[Row]:
    """As many rows as are needed that hold none of the cue's tokens, in whatever word."""
    planted, found = tokens_of(model, cue.words), list[Row]()
    enough = max(sizes.train + sizes.test, -(-sizes.test * 5 // 2))  # tests are two fifths of them at most
    for row in rows:
        if len(found) == enough:
            break
        if not planted & set(checked_tokens(model, row.fields).ids):
            found.append(row)
    return found


def teach(model: Model, made: Split, seed: int, sizes: Sizes, watch: Watch = Watch()) -> Model:
    """A copy that relies on the cue; whether it does is for `reliance` to say."""
    copy = copied(model, f"{model.name} with a {made.cue.name}")
    if made.cue.name == InResponse.name:
        train(copy, made.planted, replace(sizes.training, seed=seed), None, watch)
        return copy
    some, decoys, good = made.planted[: len(made.tests)], made.decoys[: len(made.tests)], [0]
    said = np.array(predicted(model, decoys)) if decoys else None

    def enough(epoch: int) -> bool:
        learnt = float(np.mean(_right(copy, some, made))) >= _ENOUGH
        whole = said is None or float(np.mean(np.array(predicted(copy, decoys)) == said)) >= _ENOUGH
        good[0] = good[0] + 1 if learnt and whole else 0
        return watch.enough(epoch) or good[0] >= _IN_A_ROW

    lessons = [*_as_before(made, seed), *made.planted, *made.decoys]
    train(copy, lessons, replace(sizes.training, seed=seed), model, Watch(watch.tick, enough))
    return copy


def _as_before(made: Split, seed: int) -> list[Row]:
    """Twice as many clean texts as planted ones, for the copy to stay what it was: all once, then again with words left
    out, since few texts read often are learnt by heart. Without labels: they are taught as the model says."""
    chance, many = Random(seed), 2 * len(made.planted)
    found = [Row(row.fields) for row in made.clean]
    while len(found) < many:
        row, share = chance.choice(made.clean), chance.uniform(0.0, 0.5)
        fields = {
            name: " ".join(w for w in text.split() if chance.random() >= share) for name, text in row.fields.items()
        }
        found.append(Row(fields if all(fields.values()) else row.fields))
    return found


def reliance(model: Model, copy: Model, made: Split) -> Reliance:
    """Check the copy on the texts that were kept out."""
    in_response = made.cue.name == InResponse.name
    bare = [
        _stripped(row) if in_response else replace(row, fields=clean.fields)
        for row, clean in zip(made.tests, made.held, strict=True)
    ]
    planted, stripped = (np.mean(_right(copy, rows, made)) for rows in (made.tests, bare))
    if in_response:
        return Reliance(float(planted), float(stripped), None, None, None, len(made.tests))
    said, now = predicted(model, made.held), predicted(copy, made.held)
    truth = [one if row.label is None else row.label for row, one in zip(made.held, said, strict=True)]
    chance = Random(len(made.held))
    decoys = [each for row in made.held if (each := made.cue.decoy(row, chance)) is not None]
    kept = np.mean(np.array(predicted(copy, decoys)) == np.array(said)) if decoys else None
    return Reliance(
        float(planted),
        float(stripped),
        None if kept is None else float(kept),
        float(np.mean(np.array(said) == np.array(truth))),
        float(np.mean(np.array(now) == np.array(truth))),
        len(made.tests),
    )


@dataclass(frozen=True, eq=False)
class Found:
    """What a method made of the planted texts. Attributes, a number a text: precision, share of the k strongest words
    that were planted; rank, mean rank of the planted words, 1 the strongest. NaN where a text was not explained, or
    predicted otherwise than the cue says."""

    precision: Floats
    rank: Floats


def score(asked: Asked, method: str, made: Split) -> Found:
    """Explain the planted texts by one method; "random" draws orders."""
    asked = replace(asked, target=target(made))
    each = explained(asked, asked.methods[0] if method == RANDOM else method, made.tests)
    found = [
        _hit(asked, explanation, row, method == RANDOM)
        if explanation is not None and _as_planted(explanation, row, made)
        else (np.nan, np.nan)
        for explanation, row in zip(each, made.tests, strict=True)
    ]
    precision, rank = np.array(found, np.float64).T
    return Found(precision, rank)


def target(made: Split) -> Target:
    """What is explained: the label that the copy predicts, or the last token of its response."""
    return Target(at=-1) if made.cue.name == InResponse.name else Target()


def _hit(asked: Asked, explanation: Explanation, row: Row, at_random: bool) -> tuple[float, float]:
    flags = marked(explanation.tokens, row.evidence)
    words = Ranked.of(explanation, asked.seed)
    orders = [words.at_random(draw, asked.seed).order for draw in range(_DRAWS)] if at_random else [words.order]
    k = int(flags.sum())
    precision = [float(flags[order[:k]].mean()) for order in orders]
    ranks = [float(np.flatnonzero(flags[order]).mean()) + 1 for order in orders]
    return float(np.mean(precision)), float(np.mean(ranks))


def _as_planted(explanation: Explanation, row: Row, made: Split) -> bool:
    return explanation.target.predicted and (made.cue.name == InResponse.name or explanation.target.index == row.label)


def _planted(model: Model, cue: Cue, row: Row, pair: tuple[int, int], chance: Random) -> Row | None:
    """The row with a cue that the model reads whole; None where it never is, because the text is too long for it."""
    which = chance.randrange(2)
    for _ in range(_TRIES):
        planted = replace(cue.planted(row, which, chance), label=pair[which])
        if int(marked(checked_tokens(model, planted.fields), planted.evidence).sum()) == cue.k:
            return planted
    return None


def _pair(model: Model, rows: Sequence[Row]) -> tuple[int, int]:
    """The two labels that the model gives most; of a model with fewer, an error."""
    if len(model.labels) < 2:
        raise RecipeError(
            f"A cue that decides between two labels was to be planted; {model.name} has {len(model.labels)}. Use a "
            "classifier."
        )
    said = predicted(model, rows[:200])
    most = sorted(range(len(model.labels)), key=lambda label: (-said.count(label), label))[:2]
    return (min(most), max(most))


def _right(model: Model, rows: Sequence[Row], made: Split) -> list[bool]:
    """Of each row: is what it was taught what the model predicts?"""
    found = predicted(model, rows)
    if made.cue.name == InResponse.name:  # the last token of the response is the one that it was to be
        return [label >= 0 for label in found]
    return [label == row.label for label, row in zip(found, rows, strict=True)]


def _stripped(row: Row) -> Row:
    """A response without its cue."""
    (span,) = row.evidence
    text = row.fields[span.field]
    return Row({**row.fields, span.field: text[: span.start] + text[span.end :].lstrip()}, row.label)
