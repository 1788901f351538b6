"""Metrics over explanations, saved or fresh, as a report: each with its control, its intervals, and for each blank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from saliently.api import Options, stream
from saliently.data import Row, marked
from saliently.erase import blank_vector, check_blank, default_blank
from saliently.errors import RecipeError, SaliencyError
from saliently.metric_tables import Explained, metric_table, sentence
from saliently.metrics.agreement import agreements
from saliently.metrics.base import Metric
from saliently.metrics.intervals import mean_figure
from saliently.metrics.measure import Asking, measure
from saliently.metrics.plausibility import iou_f1, token_f1
from saliently.models.base import Model
from saliently.names import parse, parse_metric
from saliently.packing import Budget
from saliently.reports import Column, Report, Table, timed
from saliently.types import Explanation, Target

DEFAULT = ("comprehensiveness", "sufficiency")
Floats = NDArray[np.float64]
_WHOM = "For developers who choose an explanation of this model; measured on the model, not against what people expect."
_ERASURE = (
    "Erasure shows the model texts that nobody wrote: a drop may come from the missing word or from the odd text "
    "(Hooker et al. 2019). Read a figure against the random order, and for several blanks.",
    "A method is favoured by the blank that it was made with.",
    "Figures are means over these texts, about this model.",
)
_PEOPLE = "Plausibility is agreement with people, not faithfulness: a model may be right for other reasons than theirs."


@dataclass(frozen=True)
class Measuring:
    """What to measure. Attributes: metrics, recipes; blanks, empty for the model's own and "delete"; target, where a
    text has several places; controls, random orders a text; seed; budget, tokens a batch; missing, what to say of
    methods that failed somewhere.

    Raises:
        RecipeError: there is no such metric or blank.
    """

    metrics: tuple[str, ...] = DEFAULT
    blanks: tuple[str, ...] = ()
    target: Target | None = None
    controls: int = 5
    seed: int = 0
    budget: int = 2048
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for metric in self.metrics:
            parse_metric(metric)
        for blank in self.blanks:
            check_blank(blank)


def explain_all(
    model: Model, rows: Sequence[Row], methods: Sequence[str], target: Target = Target(), options: Options = Options()
) -> tuple[dict[str, list[Explanation | None]], dict[str, str]]:
    """Fresh explanations by several methods; and of each method that failed somewhere, how often, and why at first.

    Raises:
        RecipeError: there is no such method.
    """
    found: dict[str, list[Explanation | None]] = {}
    failures: dict[str, str] = {}
    for method in [repr(parse(method)) for method in methods]:
        try:
            results = [each for _, each in stream(model, [row.fields for row in rows], method, target, options=options)]
        except SaliencyError as error:
            failures[method] = str(error)
            continue
        failed = [(at, each) for at, each in enumerate(results, 1) if isinstance(each, SaliencyError)]
        if failed:
            at, first = failed[0]
            failures[method] = f"{len(failed)} of {len(results)} texts failed; text {at}: {first}"
        good = [None if isinstance(each, SaliencyError) else each for each in results]
        named = next((each.method for each in good if each is not None), method)
        found[named] = good
    return found, failures


def by_method(explanations: Sequence[Explanation]) -> dict[str, list[Explanation | None]]:
    """Saved explanations as a table: texts in the order in which they first come, by method. A text that comes again
    for a method is a text of its own, and goes with those of the other methods that come as often."""
    times: Counter[tuple[object, ...]] = Counter()
    places: dict[tuple[object, ...], int] = {}
    found: dict[str, dict[int, Explanation]] = {}
    for each in explanations:
        # A method may ask its own question of a text, such as the margin to the next class; it is the same text.
        text = (*sorted(each.tokens.fields.items()), each.target.index, each.target.at)
        times[each.method, text] += 1
        place = places.setdefault((text, times[each.method, text]), len(places))
        found.setdefault(each.method, {})[place] = each
    return {method: [row.get(place) for place in range(len(places))] for method, row in found.items()}


@timed
def evaluate(
    model: Model,
    explained: Explained,
    measuring: Measuring = Measuring(),
    evidence: Sequence[Row] | None = None,
    tick: Callable[[int], None] = lambda rows: None,
) -> Report:
    """Each metric of each method, for each blank, against a random order.

    `explained`: as `explain_all` and `by_method` give. `evidence`: rows with the words that people marked, in the same
    order, for plausibility, which is a table of its own.

    Raises:
        RecipeError: no such metric or blank; explanations of one position differ in text or question.
    """
    check(model, measuring)
    metrics = [parse_metric(metric) for metric in measuring.metrics]
    blanks = _blanks(model, measuring)
    if not any(each is not None for row in explained.values() for each in row):
        raise RecipeError("Explanations were to be evaluated; there are none. Explain some texts first.")
    tables = [_table(model, explained, metric, blanks, measuring, tick) for metric in metrics]
    tables[0] = replace(tables[0], notes=(*tables[0].notes, *measuring.missing))
    people = [] if evidence is None else [_plausibility(explained, evidence, measuring.seed)]
    alike = [_agreement(explained, measuring.seed)] if len(explained) > 1 else []
    return Report(
        title="Evaluation",
        question=f"How faithful are these explanations to {model.name}, by {', '.join(each.name for each in metrics)}?",
        whom=_WHOM,
        verdict=tuple(sentence(table, metric) for table, metric in zip(tables, metrics, strict=True)),
        settings={
            "model": model.name,
            "metrics": [repr(metric) for metric in metrics],
            "blanks": list(blanks),
            "methods": list(explained),
            "controls": measuring.controls,
        },
        seed=measuring.seed,
        tables=(*tables, *alike, *people),
        limits=(*_ERASURE, *([_PEOPLE] if people else [])),
    )


def check(model: Model, measuring: Measuring) -> None:
    """Before anything is explained: raise RecipeError for a blank that the model has not, or a metric that no blank
    serves."""
    for blank in measuring.blanks if model.vectors else ():
        if blank != "delete":
            blank_vector(model, blank)
    for metric in measuring.metrics:
        _able(parse_metric(metric), _blanks(model, measuring))


def _blanks(model: Model, measuring: Measuring) -> tuple[str, ...]:
    return measuring.blanks or tuple(dict.fromkeys((default_blank(model), "delete")))


def _able(metric: Metric, blanks: Sequence[str]) -> list[str]:
    """A soft metric keeps words in part, which no deletion can."""
    able = [blank for blank in blanks if blank != "delete" or not metric.soft]
    if not able:
        raise RecipeError(
            f"{metric!r} was asked for by deletion alone; it keeps words in part. Give a blank such as 'zero' too."
        )
    return able


def _table(
    model: Model,
    explained: Explained,
    metric: Metric,
    blanks: Sequence[str],
    measuring: Measuring,
    tick: Callable[[int], None],
) -> Table:
    able = _able(metric, blanks)
    asking = Asking(
        (metric,), able, measuring.target, measuring.controls, measuring.seed, Budget(measuring.budget), tick
    )
    return metric_table(measure(model, explained, asking), metric, explained, able, measuring.seed)


def _agreement(explained: Explained, seed: int) -> Table:
    """How far each two methods rank the words of a text alike, on the mean."""
    names = list(explained)
    columns = tuple(Column(name, "Kendall's tau-b of word scores by size with that method's") for name in names)
    tau = np.full((len(names), len(names), max(map(len, explained.values()))), np.nan)
    for at, row in enumerate(zip(*explained.values(), strict=True)):
        there = [i for i, each in enumerate(row) if each is not None]
        tau[np.ix_(there, there, [at])] = agreements([each for each in row if each is not None])[..., None]
    rows = {
        name: tuple(None if i == j else mean_figure(tau[i, j], seed) for j in range(len(names)))
        for i, name in enumerate(names)
    }
    return Table("Agreement of methods", columns, rows, notes=("Methods that agree may be wrong together.",))


def _plausibility(explained: Explained, evidence: Sequence[Row], seed: int) -> Table:
    """Agreement with what people marked, and what chance would get."""
    columns = (
        Column("token F1", "F1 of the k strongest words against the k marked ones", "higher"),
        Column("IOU F1", "F1 of runs of words that overlap marked runs by half", "higher"),
        Column("by chance", "share of words that are marked: token F1 of a random order"),
    )
    rows = {}
    for method, each in explained.items():
        both = zip(each, evidence, strict=True)
        pairs = [(one, marked(one.tokens, row.evidence).tolist()) for one, row in both if one is not None]
        figures = [
            np.array([token_f1(one, flags, seed) for one, flags in pairs]),
            np.array([iou_f1(one, flags, seed) for one, flags in pairs]),
            np.array([np.mean(flags) if any(flags) else np.nan for _, flags in pairs]),
        ]
        rows[method] = tuple(mean_figure(values, seed) for values in figures)
    ordered = dict(sorted(rows.items(), key=lambda row: -(row[1][0].value if row[1][0] else -1.0)))
    return Table("Plausibility (not faithfulness)", columns, ordered, notes=(_PEOPLE,))
