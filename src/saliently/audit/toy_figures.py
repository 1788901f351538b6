"""How far scores are from the known answers of the toys. Each function fills one table of the experiment `toy`.

T tokens of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from saliently.api import explain
from saliently.audit.asked import RANDOM, Floats
from saliently.methods.base import Method
from saliently.metrics.intervals import mean_figure
from saliently.models.base import Model
from saliently.reports import Column, Figure, Table
from saliently.toys import boolean, counter, counting, linear, sums

LOST = 1e-6
"""A letter whose score is below that share of the published score of a single letter was given nothing."""

CLOSED: Mapping[str, Callable[[str], Floats]] = {
    "gradient": counter.gradient,
    "gradient-x-input": counter.gradient_x_input,
    "integrated-gradients": counter.integrated_gradients,
    "occlusion": counter.occlusion,
}


@dataclass(frozen=True)
class Compared:
    """What is compared. Attributes: methods, by recipe, None for the control, which gives each word a number between -1
    and 1 that knows nothing of the model; seed of all chance."""

    methods: Mapping[str, Method | None]
    seed: int

    def scores(self, name: str, model: Model, texts: Sequence[str], label: str) -> list[Floats]:
        """(T,) for each text."""
        method = self.methods[name]
        if method is None:
            chance = np.random.default_rng(self.seed)
            return [chance.uniform(-1, 1, len(model.read({"text": text}, False).ids)) for text in texts]
        return [np.asarray(found.by_token, np.float64) for found in explain(model, list(texts), method, label)]

    def figure(self, name: str, values: Sequence[float]) -> Figure | None:
        """The mean of `values` with its interval."""
        method = self.methods[name]
        blank = ", ".join(method.blanks) if method is not None and method.blanks else None
        return mean_figure(np.array(values, np.float64), self.seed, blank)


def sums_table(compared: Compared, operation: sums.Operation, models: Sequence[Model], count: int) -> Table:
    """Correlations with both numbers and the share of scores that they get, over networks."""
    found = sums.examples(count, compared.seed + 1)
    numbers = np.array([each.numbers for each in found])
    texts, rows = [each.text for each in found], {}
    for name in compared.methods:
        per = []
        for model in models:
            every = compared.scores(name, model, texts, "answer")
            marked = np.array([scores[list(each.marked)] for scores, each in zip(every, found, strict=True)])
            sizes = np.array([np.abs(scores).sum() for scores in every])
            mass = np.abs(marked).sum(1)[sizes > 0] / sizes[sizes > 0]
            per.append([*(_correlation(marked[:, i], numbers[:, i]) for i in (0, 1)), float(mass.mean())])
        rows[name] = tuple(compared.figure(name, column) for column in zip(*per, strict=True))
    right = "1" if operation == "addition" else "-1"
    return Table(
        f"{operation.capitalize()} of two marked numbers",
        (
            Column("rho a", "correlation of the first number's scores with the number; right is 1", "higher"),
            Column(
                "rho b",
                f"correlation of the second number's scores with the number; right is {right}",
                "higher" if operation == "addition" else "lower",
            ),
            Column("mass", "share of all scores, without sign, on the two numbers; right is 1", "higher"),
        ),
        rows,
        marks=_marks(compared),
        notes=(f"Means over {len(models)} trained networks, each on the same {count} texts; intervals over networks.",),
    )


def counter_table(compared: Compared, count: int) -> Table:
    """Distance from closed forms, and what is lost at beginnings with as many a as b."""
    chance = np.random.default_rng(compared.seed + 2)
    texts = ["".join(chance.choice(["a", "b"], int(chance.integers(2, 11)))) for _ in range(count)]
    rows = {}
    for name, method in compared.methods.items():
        every = compared.scores(name, counter.counter(), texts, "True")
        closed = CLOSED.get(method.name) if method is not None else None
        far = [_relative(scores, closed(text)) for scores, text in zip(every, texts, strict=True)] if closed else []
        lost = [
            float((np.abs(scores[blocked]) < LOST).mean())
            for scores, blocked in ((each, counter.blocked(text)) for each, text in zip(every, texts, strict=True))
            if blocked.any()
        ]
        rows[name] = compared.figure(name, far), compared.figure(name, lost)
    return Table(
        "Counter of letters, set by hand",
        (
            Column("from closed form", "size of the difference from the closed form, as a share of its size", "lower"),
            Column("lost", "share given a score of 0 of the letters up to an equal count; right is 0", "lower"),
        ),
        rows,
        marks=_marks(compared),
        notes=(f"{count} texts of 2 to 10 letters a and b. Only some methods have closed forms.",),
    )


def counting_table(compared: Compared, model: Model, count: int) -> Table:
    """Distance of scores without sign from the uniform answer, behind the query."""
    found, rows = counting.texts(count, compared.seed + 3), {}
    for name in compared.methods:
        every = compared.scores(name, model, [each.text for each in found], "yes")
        far = [_divergence(scores, each.truth()) for scores, each in zip(every, found, strict=True)]
        rows[name] = (compared.figure(name, far),)
    return Table(
        "Which of two digits is more often there",
        (Column("from uniform", "Jensen-Shannon divergence from the right answer; right is 0", "lower", "nat"),),
        rows,
        marks=_marks(compared),
        notes=(f"{count} texts; one trained network. Scores count without sign, and not those of the query.",),
    )


def exact_table(compared: Compared) -> Table:
    """Distance from the true contributions of a linear model, and from Shapley values of games."""
    bag, games = linear.linear_bag(), boolean.one_of_each()
    text = " ".join(bag.weights)
    rows: dict[str, tuple[Figure | None, ...]] = {}
    for name, method in compared.methods.items():
        if method is not None and method.quantity != "saliency":
            rows[name] = None, None
            continue
        one = _relative(compared.scores(name, bag.model, [text], "score")[0], bag.truth(text))
        far = [_relative(compared.scores(name, each.model, [each.text], "score")[0], each.shapley) for each in games]
        rows[name] = compared.figure(name, [one]), compared.figure(name, far)
    return Table(
        "Linear bag of words, and games with known Shapley values",
        (
            Column("linear", "size of the difference from what words add, as a share of its size", "lower"),
            Column("games", "size of the difference from Shapley values, as a share of their size", "lower"),
        ),
        rows,
        marks=_marks(compared),
        notes=(
            f"Games: {', '.join(game.name for game in games)}. Occlusion and gradient x input see a word beside all "
            "others only: another question than that of Shapley values. A sensitivity is no share of anything.",
        ),
    )


def _marks(compared: Compared) -> dict[str, str]:
    return {RANDOM: "control"} if RANDOM in compared.methods else {}


def _correlation(ours: Floats, theirs: Floats) -> float:
    """NaN where one of both is the same everywhere."""
    if not (ours.std() > 0 and theirs.std() > 0):
        return float("nan")
    return float(np.corrcoef(ours, theirs)[0, 1])


def _relative(ours: Floats, theirs: Floats) -> float:
    return float(np.abs(ours - theirs).sum() / np.abs(theirs).sum())


def _divergence(scores: Floats, truth: Floats) -> float:
    """Scores that are 0 everywhere tell words apart as little as equal ones."""
    size = np.abs(scores[2:])
    ours = np.concatenate([[0.0, 0.0], size / size.sum() if size.sum() else np.full(len(size), 1 / len(size))])
    middle = (ours + truth) / 2
    return sum(_divergence_from(each, middle) for each in (ours, truth)) / 2


def _divergence_from(p: Floats, q: Floats) -> float:
    there = p > 0
    return float((p[there] * np.log(p[there] / q[there])).sum())
