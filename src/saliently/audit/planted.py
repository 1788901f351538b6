"""The experiment of planted shortcuts: several cues, several copies of each, and which methods find them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from saliently.audit import shortcuts
from saliently.audit.asked import RANDOM, WHOM, Asked, Floats, applicable
from saliently.audit.cues import suited
from saliently.audit.phrases import share
from saliently.audit.shortcuts import Found, Reliance, Sizes
from saliently.audit.tables import copies_table
from saliently.data import Row, first
from saliently.metrics.intervals import as_good_as_best, mean_figure, share_figure
from saliently.reports import Column, Figure, Report, Table, timed
from saliently.train import Watch

LIMITS = (
    "A cue is one or two words that decide everything; what a model makes of ordinary sentences is more, and a method "
    "that finds cues may miss it.",
    "Intervals are over texts, of these copies; other copies may differ by more, as those that are shown do.",
    "Precision asks which words stand on top, not whether their scores are right.",
    "The copies are not the model: they share its architecture and, on other texts, its answers.",
)


_NONE = (
    "No method could be tested: no copy came to rely on all of its cue. Give more texts, or a model that can still be "
    "taught."
)


@dataclass(frozen=True)
class Planting:
    """What to plant. Attributes: cues, by name, or none for all that fit the texts; copies, how many of each; sizes."""

    cues: tuple[str, ...] = ()
    copies: int = 3
    sizes: Sizes = Sizes()


@dataclass(frozen=True, eq=False)
class _Copy:
    """One copy. Attributes: cue; number; reliance; found, by method."""

    cue: str
    number: int
    reliance: Reliance
    found: Mapping[str, Found]

    @property
    def name(self) -> str:
        return f"{self.cue}, copy {self.number + 1}"

    @property
    def precision(self) -> dict[str, Floats]:
        return {method: each.precision for method, each in self.found.items()}


@timed
def planted_shortcuts(
    asked: Asked, rows: Sequence[Row], planting: Planting = Planting(), told: Callable[[str], None] = lambda said: None
) -> Report:
    """Plant cues in the rows, teach a copy of the model each of them, and ask every method for the words.

    Rows need no labels. `told` hears what is being done.

    Raises:
        RecipeError: the texts don't fit a cue, or are too few, or none. ModelError: the model can't be copied or asked.
    """
    copies, skipped = [], dict[str, str]()
    planting = replace(planting, cues=planting.cues or suited(first(rows, "Planting cues")))
    for cue in planting.cues:
        for number in range(planting.copies):
            copy, left_out = _one(asked, rows, (cue, number), planting.sizes, told)
            copies.append(copy)
            skipped.update(left_out)
    good = [copy for copy in copies if copy.reliance.relies]
    methods = [method for method in copies[0].found if all(method in copy.found for copy in copies)]
    told_of = [f"{method} was left out: {why}" for method, why in skipped.items()]
    told_of += [f"{c.name} is not counted: it does not rely on all of its cue." for c in copies if c not in good]
    tables = [_precisions(good, methods, asked.seed, told_of), _ranks(good, methods, asked.seed)] if good else []
    tables += [_groups(good, asked.seed)] if good else []
    return Report(
        title="Planted shortcuts",
        question=f"Which methods find the words that a copy of {asked.model.name} was taught to rely on?",
        whom=WHOM,
        verdict=_verdict(good, methods, asked.seed) if good else (_NONE,),
        settings={"model": asked.model.name, "texts": len(rows), "methods": methods, **asdict(planting)},
        seed=asked.seed,
        tables=(*tables, copies_table({copy.name: copy.reliance for copy in copies})),
        limits=LIMITS,
    )


def _one(
    asked: Asked, rows: Sequence[Row], which: tuple[str, int], sizes: Sizes, told: Callable[[str], None]
) -> tuple[_Copy, dict[str, str]]:
    cue, number = which
    seed = 1000 * asked.seed + number
    made = shortcuts.split(asked.model, rows, cue, seed, sizes)
    told(f"teaching a copy: {cue}, {number + 1}")
    watch = Watch(tick=asked.options.tick)
    copy = shortcuts.teach(asked.model, made, seed, sizes, watch)
    reliance = shortcuts.reliance(asked.model, copy, made)
    told(f"with the cue {reliance.planted:.1%} right; explaining {len(made.tests)} texts")
    able, left_out = applicable(replace(asked, model=copy, target=shortcuts.target(made)), made.tests[0])
    found = {method: shortcuts.score(able, method, made) for method in (RANDOM, *able.methods)}
    return _Copy(cue, number, reliance, found), left_out


def _pooled(copies: Sequence[_Copy], cue: str, method: str, kind: str) -> Floats:
    return np.concatenate([getattr(copy.found[method], kind) for copy in copies if copy.cue == cue])


def _cues(copies: Sequence[_Copy]) -> list[str]:
    return list(dict.fromkeys(copy.cue for copy in copies))


def _precisions(copies: Sequence[_Copy], methods: Sequence[str], seed: int, notes: Sequence[str]) -> Table:
    cues = _cues(copies)
    columns = tuple(
        Column(cue, f"precision@k: share of the k strongest words that were planted ({cue})", "higher") for cue in cues
    )
    rows = {
        method: tuple(share_figure(_pooled(copies, cue, method, "precision"), seed) for cue in cues)
        for method in methods
    }
    ordered = dict(sorted(rows.items(), key=lambda row: [-_value(each) for each in row[1]]))
    best: set[str] = set()
    for cue in cues:
        best.update(as_good_as_best({m: _pooled(copies, cue, m, "precision") for m in methods}, True, seed))
    marks = {method: "best" for method in ordered if method in best and method != RANDOM}
    said = "Sorted by the first column. Best: in some column, no method is better by its paired interval."
    return Table("Finding planted words", columns, ordered, {**marks, RANDOM: "control"}, (said, *notes))


def _ranks(copies: Sequence[_Copy], methods: Sequence[str], seed: int) -> Table:
    cues = _cues(copies)
    columns = tuple(
        Column(cue, f"mean rank of the planted words among the words of the text, 1 is first ({cue})", "lower")
        for cue in cues
    )
    rows: dict[str, tuple[Figure | None, ...]] = {
        method: tuple(mean_figure(_pooled(copies, cue, method, "rank"), seed) for cue in cues) for method in methods
    }
    ordered = dict(sorted(rows.items(), key=lambda row: [np.inf if each is None else each.value for each in row[1]]))
    return Table("Rank of the planted words", columns, ordered, {RANDOM: "control"})


def _groups(copies: Sequence[_Copy], seed: int) -> Table:
    """Copy by copy: the best group against the worst method that is no control."""
    columns = (
        Column("best", "precision@k of the method of the highest mean", "higher"),
        Column("ties", "methods that can't be told from it by their paired intervals"),
        Column("worst", "precision@k of the method of the lowest mean, the random order aside", "higher"),
        Column("random", "precision@k of a random order", "higher"),
        Column("attention", "precision@k of the attention weights, where the model has some", "higher"),
    )
    rows = {}
    for copy in copies:
        group, worst = group_of(copy.precision, seed)
        attention = share_figure(copy.precision["attention"], seed) if "attention" in copy.found else None
        figures = (
            share_figure(copy.precision[group[0]], seed),
            Figure(len(group) - 1, n=len(copy.precision) - 1),
            share_figure(copy.precision[worst], seed),
            share_figure(copy.precision[RANDOM], seed),
            attention,
        )
        rows[f"{copy.name}: {group[0]} to {worst}"] = figures
    return Table("Best and worst, copy by copy", columns, rows)


def group_of(precision: Mapping[str, Floats], seed: int) -> tuple[tuple[str, ...], str]:
    """The best group, its best mean first, and the method of the lowest mean; the random order is no method."""
    rows = {method: values for method, values in precision.items() if method != RANDOM}
    worst = min(rows, key=lambda method: (float(np.nanmean(rows[method])), method))
    return as_good_as_best(rows, True, seed), worst


def _verdict(copies: Sequence[_Copy], methods: Sequence[str], seed: int) -> tuple[str, ...]:
    said = []
    for cue in _cues(copies):
        rows = {method: _pooled(copies, cue, method, "precision") for method in methods}
        group, worst = group_of(rows, seed)
        relied = min(copy.reliance.planted for copy in copies if copy.cue == cue)
        ties = f", not to be told from {', '.join(group[1:])}" if len(group) > 1 else ""
        said.append(
            f"{cue.capitalize()}: {group[0]} finds {share(rows[group[0]], seed)} of the planted words{ties}; {worst} "
            f"finds {share(rows[worst], seed)}. The copies follow the cue in {relied:.1%} of new texts or more."
        )
    return tuple(said)


def _value(figure: Figure | None) -> float:
    return -1.0 if figure is None else figure.value
