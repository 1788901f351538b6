"""Remove and retrain: when the words that a method names are gone from all texts, what can still be learnt from them?

Hooker et al. 2019, "A Benchmark for Interpretability Methods in Deep Neural Networks" (ROAR), and Madsen et al. 2022,
"Evaluating the Faithfulness of Importance Measures in NLP by Recursively Masking Allegedly Important Tokens and
Retraining" (recursive ROAR, which asks the retrained model anew after each step, so that words that say the same twice
are found one after the other). Since the model is trained on texts with words away, a drop of its accuracy can't come
from texts unlike those that it knows.

Departures. Whole words go, by their ids: each of their tokens is the blank's id, or is deleted; a text keeps one word
at least. Words are ranked as everywhere here: by signed score, ties by chance. The papers train from the weights that
the model began with, which a saved model does not tell. So a copy goes on from the weights that it has (start="given"):
it knows what words mean, finds what is left in the texts all the better, and random words are taken from the same
start. With start="scrambled" all weights but the word vectors begin anew, as the model's own in a random order within
each tensor; that asks for many more texts. Gains are mean differences of accuracy, where Madsen et al. report the area
between the curves as a share of the area between random words and chance.

K test texts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

import numpy as np

from saliently.audit.asked import RANDOM, WHOM, Asked, Floats, applicable
from saliently.audit.retrained import Curve, Lab, Sizes
from saliently.data import Row
from saliently.metrics.intervals import as_good_as_best, mean_figure, share_figure
from saliently.reports import Column, Figure, Lines, Report, Table, timed

LIMITS = (
    "Accuracy tells what can be learnt from the words that are left, by this model, from so many texts. Where other "
    "words say the same, taking the named ones away costs nothing, though the model did rely on them; the recursive "
    "curve asks again after each step for that reason.",
    "Which words are missing can itself give the label away: a method that takes other words from one class than from "
    "the other can leave more to learn, not less.",
    "Words that speak for a label go first, so that those that speak against it stay. An accuracy below that of the "
    "most frequent label says that a copy which began with the model's weights still reads these as before; more "
    "training, or a scrambled start, would bring it up.",
    "It speaks of retrained copies, not of the model as it is.",
    "Texts that the model was trained on before may be among the tests; methods and random words have that in common.",
)


@timed
def roar(asked: Asked, rows: Sequence[Row], sizes: Sizes = Sizes()) -> Report:
    """Accuracy of retrained copies on texts without the words that each method names, against random words.

    Rows without a label count as what the model predicts. Intervals are over test texts, each the mean over seeds.

    Raises:
        ModelError: it is no classifier, or no method can be asked of it. RecipeError: too few rows; a blank that it has
            not. InputError: a text can't be read.
    """
    lab = Lab.of(replace(asked, target=replace(asked.target, label=None)), rows, sizes)
    asked, skipped = applicable(lab.asked, rows[0])
    lab = replace(lab, asked=asked)
    whole = lab.mean([lab.step(lab.whole, seed).right for seed in range(sizes.seeds)])
    found = {name: lab.curves(name) for name in (*asked.methods, RANDOM)}
    kinds = {"ROAR": {name: each[0] for name, each in found.items()}}
    if sizes.recursive:
        kinds["recursive ROAR"] = {name: each[1] for name, each in found.items()}
    gains = {kind: _gains(curves) for kind, curves in kinds.items()}
    often = max(lab.test_labels.count(label) for label in set(lab.test_labels)) / len(lab.test_labels)
    notes = (
        f"The most frequent label of the test texts has {often:.0%} of them.",
        *(f"{method} was left out: {why}" for method, why in skipped.items()),
    )
    return Report(
        title="Remove and retrain",
        question="When the words that a method names are gone, and the model has learnt to do without, what is lost?",
        whom=WHOM,
        verdict=_said(lab, whole, kinds, gains),
        settings={
            "model": asked.model.name,
            **asdict(sizes),
            "train": lab.train,
            "test": len(lab.test_labels),
            "training": asdict(sizes.training.resolved(asked.model)),
            "blank": lab.blank,
            "most frequent label": often,
            "methods": list(asked.methods),
        },
        seed=asked.seed,
        tables=(_table(lab, gains, notes),),
        lines=tuple(_lines(lab, kind, whole, curves) for kind, curves in kinds.items()),
        limits=LIMITS,
    )


def _gains(curves: Mapping[str, Curve]) -> dict[str, Floats]:
    """(K,) by method: how much less often a text is right than without random words, the mean over shares."""
    chance = np.stack(curves[RANDOM])
    return {name: (chance - np.stack(curve)).mean(0) for name, curve in curves.items() if name != RANDOM}


def _table(lab: Lab, gains: Mapping[str, Mapping[str, Floats]], notes: tuple[str, ...]) -> Table:
    """Methods by what they take away beyond chance."""
    said = "accuracy without random words less that without the words it names, the mean over shares"
    columns = tuple(Column(kind, f"{said} ({kind})", "higher") for kind in gains)
    first = next(iter(gains.values()))
    table = {
        name: tuple(mean_figure(each[name], lab.asked.seed, lab.blank) for each in gains.values())
        for name in sorted(first, key=lambda name: -float(first[name].mean()))
    }
    best = as_good_as_best(first, True, lab.asked.seed)
    return Table("Accuracy that is lost beyond chance", columns, table, dict.fromkeys(best, "best"), notes)


def _lines(lab: Lab, kind: str, whole: Floats, curves: Mapping[str, Curve]) -> Lines:
    """Accuracy by the share that was taken away."""

    def figure(values: Floats) -> Figure:
        found = share_figure(values, lab.asked.seed, lab.blank)
        assert found is not None, "there is a test text at least"
        return found

    points = {
        name: tuple(zip((0.0, *lab.sizes.shares), map(figure, (whole, *curve)), strict=True))
        for name, curve in curves.items()
    }
    return Lines(kind, "share of words taken away", "accuracy after retraining", points)


def _said(
    lab: Lab, whole: Floats, kinds: Mapping[str, Mapping[str, Curve]], gains: Mapping[str, Mapping[str, Floats]]
) -> tuple[str, ...]:
    """The verdict: whose words cost more than random ones."""
    said, share = [], lab.sizes.shares[-1]
    for kind, curves in kinds.items():
        better = [name for name, each in gains[kind].items() if _lowest(each, lab.asked.seed) > 0]
        best = max(gains[kind], key=lambda name: float(gains[kind][name].mean()))
        left, by_chance = (float(curves[name][-1].mean()) for name in (best, RANDOM))
        said.append(
            f"By {kind}, words that cost more than random ones are named by {', '.join(better) or 'no method'}. With "
            f"whole texts the accuracy is {whole.mean():.0%}; without the {share:.0%} of the words that {best} names "
            f"it is {left:.0%}, and without as many random ones {by_chance:.0%}."
        )
    return tuple(said)


def _lowest(values: Floats, seed: int) -> float:
    """The lower end of the interval of a mean difference."""
    figure = mean_figure(values, seed)
    assert figure is not None, "there is a test text at least"
    return figure.value if figure.low is None else figure.low
