"""Sanity checks: explanations must change with the weights, and with what the labels taught.

Adebayo et al. 2018. Criticised since: that maps of a scrambled model differ says that a method looks at the weights,
not that it is right (Yona and Greenfeld 2021; Binder et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np

from saliently.audit.asked import WHOM, Asked, Floats, applicable, explained, explained_again
from saliently.audit.scrambled import PASSES, Order, alike, parts, scrambled, stages
from saliently.data import Row, first
from saliently.errors import ModelError
from saliently.metrics.intervals import mean_figure
from saliently.models.base import Model
from saliently.reports import Column, Figure, Lines, Report, Table, timed
from saliently.train import Training, Watch, accuracy, train
from saliently.types import Explanation

LIMITS = (
    "A method that passes looks at the weights; it may be wrong all the same (Yona and Greenfeld 2021).",
    "Similarity is of ranks of sizes; the words themselves and their places stay, so that some is left by chance.",
    "Scrambled weights make a model that nobody would train; how far scores change depends on where they are scrambled "
    "(Binder et al. 2023).",
)


@dataclass(frozen=True)
class Scrambling:
    """What to scramble. Attributes: texts, how many are explained again; labels, teach a copy of a classifier labels at
    random too? training, of that copy."""

    texts: int = 50
    labels: bool = True
    training: Training = Training(epochs=5)


@timed
def sanity(
    asked: Asked,
    rows: Sequence[Row],
    scrambling: Scrambling = Scrambling(),
    told: Callable[[str], None] = lambda said: None,
) -> Report:
    """How alike explanations stay while weights are scrambled from the output back, part by part, and all together; and
    in a copy that was taught random labels.

    Raises:
        RecipeError: no texts. ModelError: the model can't be copied, or asked by any of the methods.
    """
    if not parts(asked.model):
        raise ModelError(
            f"Weights of {asked.model.name} were to be scrambled; it has none that are known. Give a model, not a "
            "function of texts."
        )
    able, skipped = applicable(asked, first(rows, "Scrambling weights"))
    some = Random(asked.seed).sample(list(rows), min(len(rows), scrambling.texts))
    chooses = asked.model.find is None and asked.model.link != "none" and len(asked.model.labels) > 1
    before = {method: explained(able, method, some) for method in able.methods}
    found, apart = dict[str, dict[str, Floats]](), dict[str, dict[str, Floats]]()
    orders: tuple[tuple[Order, dict[str, dict[str, Floats]]], ...] = (("cascading", found), ("independent", apart))
    for order, kept in orders:
        for said, names in stages(asked.model, order):  # one copy at a time, for the memory
            told(f"scrambled {said}")
            kept[said] = _all(able, scrambled(asked.model, names, asked.seed), some, before)
    last = list(found.values())[-1]
    taught, notes = None, [f"{method} was left out: {why}" for method, why in skipped.items()]
    if scrambling.labels and chooses:
        told("teaching a copy random labels")
        copy, right = _mistaught(asked, rows, scrambling)
        taught = _all(able, copy, some, before)
        notes.append(f"The copy that was taught random labels gives {right:.0%} of its texts the label it was taught.")
    compared = [method for method in able.methods if mean_figure(last[method], asked.seed) is not None]
    passed = [method for method in compared if passes(last[method], asked.seed)]
    notes += [f"{m}: no text has word scores that can be ranked twice." for m in able.methods if m not in compared]
    return Report(
        title="Sanity checks",
        question=f"Do explanations of {asked.model.name} change when its weights are scrambled?",
        whom=WHOM,
        verdict=_verdict(compared, passed),
        settings={"model": asked.model.name, "methods": list(able.methods), "texts": len(some), "parts": len(found)},
        seed=asked.seed,
        tables=(_table(able, last, taught, notes),),
        lines=(
            _lines("Scrambled from the output back", "parts scrambled", found, able),
            _lines("Scrambled one part at a time", "number of the scrambled part", apart, able),
        ),
        limits=LIMITS,
    )


def passes(similarity: Floats, seed: int) -> bool:
    """Has similarity fallen: is the upper end of its interval below the bound?"""
    figure = mean_figure(similarity, seed)
    return figure is not None and (figure.value if figure.high is None else figure.high) < PASSES


_Before = Mapping[str, Sequence[Explanation | None]]


def _all(asked: Asked, copy: Model, rows: Sequence[Row], before: _Before) -> dict[str, Floats]:
    """(N,) similarity of each method's explanations."""
    other = replace(asked, model=copy)
    found = {}
    for method in asked.methods:
        after = explained_again(other, method, rows, before[method])
        found[method] = np.array([alike(a, b) for a, b in zip(before[method], after, strict=True)], np.float64)
    return found


def _mistaught(asked: Asked, rows: Sequence[Row], scrambling: Scrambling) -> tuple[Model, float]:
    """A copy with all weights scrambled, taught labels that were drawn at random; and how many it learnt."""
    chance = Random(asked.seed)
    said = [chance.randrange(len(asked.model.labels)) for _ in rows]
    names = stages(asked.model, "cascading")[-1][1]
    copy = scrambled(asked.model, names, asked.seed + 1)
    lessons = [replace(row, label=label) for row, label in zip(rows, said, strict=True)]
    train(copy, lessons, replace(scrambling.training, seed=asked.seed), None, Watch(asked.options.tick))
    return copy, float(np.mean(accuracy(copy, lessons)))


def _table(
    asked: Asked, last: Mapping[str, Floats], taught: Mapping[str, Floats] | None, notes: Sequence[str]
) -> Table:
    columns = [
        Column("all scrambled", f"rank correlation with the scores of the model; below {PASSES} passes", "lower")
    ]
    if taught is not None:
        columns.append(Column("random labels", "the same with a copy that was taught random labels", "lower"))
    rows: dict[str, tuple[Figure | None, ...]] = {
        method: tuple(
            mean_figure(each[method], asked.seed) for each in (last, *([taught] if taught is not None else []))
        )
        for method in asked.methods
    }
    ordered = dict(sorted(rows.items(), key=lambda row: row[1][0].value if row[1][0] else np.inf))
    marks = {
        method: "passes" if passes(last[method], asked.seed) else "fails"
        for method, row in ordered.items()
        if row[0] is not None
    }
    return Table("Similarity", tuple(columns), ordered, marks, tuple(notes))


def _lines(title: str, x: str, found: Mapping[str, Mapping[str, Floats]], asked: Asked) -> Lines:
    curves = {}
    for method in asked.methods:
        figures = [(float(i), mean_figure(each[method], asked.seed)) for i, each in enumerate(found.values(), 1)]
        curves[method] = tuple((x, figure) for x, figure in figures if figure is not None)
    names = "; ".join(f"{i}: {said}" for i, said in enumerate(found, 1))
    return Lines(title, x, "rank correlation", curves, (names,))


def _verdict(methods: Sequence[str], passed: Sequence[str]) -> tuple[str, ...]:
    if not methods:
        return ("No method could be compared: no text has word scores that can be ranked, as of two words or more.",)
    failed = [method for method in methods if method not in passed]
    if not failed:
        return (f"All {len(methods)} methods pass: their explanations change with the weights.",)
    return (
        f"{', '.join(failed)} {'fails' if len(failed) == 1 else 'fail'}: what they show hardly depends on the weights.",
        f"{len(passed)} of {len(methods)} methods pass.",
    )
