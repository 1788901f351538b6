"""Metrics: recipes, errors, controls, what they cost, and how sure they are."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertForTokenClassification

import saliently
from saliently.errors import MissingExtraError, ModelError, RecipeError
from saliently.listed import METRICS, MetricRow
from saliently.metrics.agreement import agreement, agreements, kendall, rank_biased_overlap, spearman, top_k
from saliently.metrics.base import Metric
from saliently.metrics.erasure import Comprehensiveness, Deletion, Insertion, SoftSufficiency, Sufficiency
from saliently.metrics.intervals import as_good_as_best, counted_figure, mean_figure, paired_figure, share_figure
from saliently.metrics.measure import Asking, Measured, measure
from saliently.metrics.plausibility import auprc, iou_f1, token_f1
from saliently.metrics.ranked import Ranked
from saliently.metrics.sums import CompletenessGap, Infidelity, SensitivityN
from saliently.metrics.word_deletion import Deleting, word_deletion
from saliently.models.base import Model
from saliently.models.function import wrap_function
from saliently.names import parse, parse_metric
from saliently.types import Explanation, Span, Target
from tests import tiny, writers
from tests.test_place_heads import bert as placed
from tests.test_translators import bart, t5

TEXT = "A gorgeous, witty, seductive movie."
TEXTS = [TEXT, "bad", "It isn't even funny."]
PROMPT, BEHIND = "A gorgeous, witty movie", " is wonderful, and so very good, and bad, and long."
EVERY = [parse_metric(row.name) for row in METRICS]


def one(
    model: Model, explanation: Explanation, metric: Metric, blank: str = "mask", target: Target | None = None
) -> float:
    found = measure(model, {"it": [explanation]}, Asking([metric], [blank], target, controls=1))
    assert not found.failures
    return float(found.values[repr(metric), blank, "it"][0])


# ---- recipes ----


@pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
def test_each_row_says_what_its_class_says(row: MetricRow) -> None:
    module, _, kind = row.where.partition(":")
    found: type[Metric] = getattr(import_module(module), kind)
    assert (row.name, row.better, row.said) == (found.name, found.better, found.said)
    for paper in row.paper.split("; "):
        assert paper in " ".join((found.__doc__ or "").split()), f"{paper} is not in the docstring of {row.name}"
    assert repr(parse_metric(row.name)) == row.name


def test_every_metric_is_listed() -> None:
    kinds, waiting = set(), [Metric]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if not kind.__abstractmethods__ and kind.__module__.startswith("saliently."):  # type: ignore[attr-defined]
            kinds.add(f"{kind.__module__}:{kind.__name__}")
    assert kinds == {row.where for row in METRICS}


@pytest.mark.parametrize(
    ("metric", "recipe"),
    [
        (Comprehensiveness(average="paper"), "comprehensiveness(average='paper')"),
        (Sufficiency(bins=(0.5, 1)), "sufficiency(bins=(0.5, 1))"),
        (SoftSufficiency(of="logit"), "soft-sufficiency(of='logit')"),
        (Deletion(10), "deletion(steps=10)"),
        (Insertion(of="log-odds"), "insertion(of='log-odds')"),
        (Infidelity(scaled=True, samples=7), "infidelity(samples=7, scaled=True)"),
        (SensitivityN(shares=(0.2,)), "sensitivity-n(shares=(0.2,))"),
    ],
)
def test_a_recipe_is_read_back(metric: Metric, recipe: str) -> None:
    assert repr(metric) == recipe
    assert parse_metric(recipe) == metric
    assert hash(parse_metric(recipe)) == hash(metric)
    assert parse_metric(metric) is metric


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("comprehensivness", "Metric 'comprehensivness' was asked for; there are .* Did you mean 'comprehensiveness'?"),
        ("occlusion", "Metric 'occlusion' was asked for; there are comprehensiveness, "),
        ("deletion(step=3)", "Parameter 'step' was given to deletion; it takes of, steps. Did you mean 'steps'?"),
        ("completeness-gap(a=1)", "it takes none"),
        ("deletion(steps='3')", "steps='3'; a value of type int fits there"),
        ("deletion(of='odds')", "of='odds'; a value of type 'logit' or 'probability' or .* or None fits there"),
        ("deletion(steps=1)", "1 steps were asked for"),
        ("deletion(steps=-2)", "-2 steps were asked for"),
        ("deletion(3)", r"can't be read. Write name\(parameter=value, ...\) .* comprehensiveness\(average='paper'\)"),
        ("sufficiency(bins=[0.1, 2.0])", r"Shares \(0.1, 2.0\) were asked for"),
        ("sufficiency(bins=())", r"bins=\(\); a value of type"),
        ("sufficiency(average='mean')", "average='mean'; a value of type 'code' or 'paper' fits there"),
        ("infidelity(samples=1)", "1 samples were asked for"),
        ("sensitivity-n(shares=(0.0,))", r"Shares \(0.0,\) were asked for"),
    ],
)
def test_what_is_wrong_with_a_recipe_is_said(recipe: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse_metric(recipe)


def test_what_is_no_recipe_is_refused() -> None:
    with pytest.raises(RecipeError, match="A recipe or a metric was asked for; found occlusion"):
        parse_metric(parse("occlusion"))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="A recipe or a method was asked for; found deletion"):
        parse(parse_metric("deletion"))  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="Method 'deletion' was asked for"):
        parse("deletion")


def test_listing_metrics_loads_no_torch() -> None:
    code = "import sys, saliently.names, saliently.listed; assert not {'torch', 'scipy', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- what is measured ----


def test_blanks_times_methods_are_what_each_gives_alone() -> None:
    model, blanks = tiny.bert(torch.float64), ("mask", "zero")
    explained = {recipe: saliently.explain(model, TEXTS, recipe) for recipe in ("gradient", "occlusion", "ig")}
    found = measure(model, explained, Asking(EVERY, blanks))
    keys = {(repr(metric), blank, name) for metric in EVERY for blank in blanks for name in explained}
    assert set(found.values) == set(found.control) == keys
    assert not found.failures
    for metric in EVERY:
        both = [found.values[repr(metric), blank, "ig"] for blank in blanks]
        assert np.array_equal(*both) == (metric.name == "completeness-gap"), "that one's blank is the method's"
        for blank in blanks:
            for at in range(len(TEXTS)):
                alone = measure(model, {"occlusion": [explained["occlusion"][at]]}, Asking([metric], [blank]))
                for mine, theirs in ((found.values, alone.values), (found.control, alone.control)):
                    key = repr(metric), blank, "occlusion"
                    np.testing.assert_allclose(mine[key][at], theirs[key][0], rtol=1e-9, atol=1e-12)


def test_a_missing_explanation_is_nan_and_texts_keep_their_places() -> None:
    model = tiny.bert(torch.float64)
    a, _, c = saliently.explain(model, TEXTS, "gradient")
    found = measure(model, {"x": [a, None, c], "y": [None, None, c]}, Asking([Comprehensiveness()]))
    x, y = (found.values["comprehensiveness", "mask", name] for name in "xy")
    assert np.isnan([x[1], y[0], y[1]]).all()
    assert x[0] == pytest.approx(one(model, a, Comprehensiveness()))
    assert x[2] == y[2] == pytest.approx(one(model, c, Comprehensiveness()))
    assert np.isnan(found.control["comprehensiveness", "mask", "y"][:2]).all()


def orders(words: int) -> dict[str, list[Explanation]]:
    found = saliently.explain(tiny.linear_bag(torch.float64), "so good , very bad"[: 2 * words + 6], "gradient")
    many = len(found.words())
    return {str(o): [replace(found, scores=np.array(o, np.float64))] for o in permutations(range(many))}


def test_equal_rows_run_once() -> None:
    ran: list[int] = []
    explained = orders(6)
    many = len(next(iter(explained.values()))[0].words())
    metrics = [Comprehensiveness(), Sufficiency(), Deletion(), Insertion()]
    measure(tiny.linear_bag(torch.float64), explained, Asking(metrics, controls=20, tick=ran.append))
    assert many == 5
    assert sum(ran) == 2**many
    ran.clear()
    measure(tiny.linear_bag(torch.float64), explained, Asking([Infidelity(), CompletenessGap()], tick=ran.append))
    assert 2 < sum(ran) <= 2**many


class Picky(tiny.LinearBag):
    """Can't be asked about texts of one word."""

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits = super().forward(ids, mask)
        return logits[:, :2] if bool((mask.sum(1) == 1).any()) else logits


def test_the_failure_of_one_text_leaves_the_others() -> None:
    model = tiny.linear_bag(torch.float64)
    module = Picky(100).double()
    module.load_state_dict(model.module.state_dict())
    texts = ["so good", "bad", "a very good film", "so so bad a film"]
    explained = {"gxi": saliently.explain(model, texts, "gradient-x-input", "glad")}
    picky = saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS, blank_ids={"mask": 1})
    found = measure(picky, explained, Asking([Deletion(), Infidelity()], ["mask", "zero"]))
    plain = measure(model, explained, Asking([Deletion(), Infidelity()], ["mask", "zero"]))
    assert set(found.failures) == {1}
    assert isinstance(found.failures[1], ModelError)
    for key, values in found.values.items():
        assert math.isnan(values[1])
        others = [0, 2, 3]
        np.testing.assert_allclose(values[others], plain.values[key][others], rtol=1e-12)
        np.testing.assert_allclose(found.control[key][others], plain.control[key][others], rtol=1e-12)


def test_a_label_that_is_not_predicted_is_measured_as_it_was_explained() -> None:
    model = tiny.bert(torch.float64)
    for label in tiny.LABELS:
        found = saliently.explain(model, TEXT, "occlusion(blank='mask', by='unit')", Target(label, of="probability"))
        strongest = max(unit.score or 0.0 for unit in found.words())
        # One word is 7 % of 9: what it adds by itself is what is lost without it.
        assert one(model, found, Comprehensiveness(bins=(0.01,))) == pytest.approx(strongest, abs=1e-9)
        against = saliently.explain(model, TEXT, "occlusion(blank='mask', by='unit')", Target(label, "rest"))
        strongest = max(unit.score or 0.0 for unit in against.words())
        assert one(model, against, Comprehensiveness(bins=(0.01,), of="logit")) == pytest.approx(strongest, abs=1e-9)


def test_methods_that_ask_their_own_question_share_the_number_of_the_ranking_metrics() -> None:
    model = tiny.bert(torch.float64)
    plain = saliently.explain(model, TEXT, "gradient")
    margin = replace(plain, outputs=(replace(plain.target, against="next"),))
    odds = saliently.explain(model, TEXT, "ig", Target(plain.target.index, of="log-odds"))
    metrics = [Comprehensiveness(), Infidelity()]
    found = measure(model, {"a": [plain], "b": [margin], "c": [odds]}, Asking(metrics))
    comp, infidelity = ([found.values[repr(m), "mask", name][0] for name in "abc"] for m in metrics)
    assert comp[0] == comp[1] == pytest.approx(one(model, plain, Comprehensiveness()))
    assert comp[2] == pytest.approx(one(model, odds, Comprehensiveness()))
    controls = [found.control["comprehensiveness", "mask", name][0] for name in "abc"]
    assert controls[0] == controls[1] == controls[2]
    # What reads scores as amounts asks about the number that was explained.
    assert infidelity[0] != infidelity[1]
    for value, each in zip(infidelity, (plain, margin, odds), strict=True):
        assert value == pytest.approx(one(model, each, Infidelity()))
    assert infidelity[2] < 1e-2 * infidelity[0]


def test_interactions_are_measured_by_what_each_word_gets() -> None:
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, TEXT, "pairwise-occlusion(blank='mask')")
    flat = replace(found, scores=found.by_token, quantity="saliency")
    for metric in EVERY:
        assert one(model, found, metric) == pytest.approx(one(model, flat, metric))


def test_a_regression_and_a_function_are_measured_on_their_own_scale() -> None:
    function = wrap_function(
        lambda texts: [[3.0 * text.count("good") + len(text.split()), 0.0] for text in texts], ["a", "b"]
    )
    found = saliently.explain(function, "a good film", "occlusion", "a")
    assert one(function, found, Comprehensiveness(bins=(0.01,)), "delete") == 4.0
    assert one(function, found, Deletion(), "delete") == pytest.approx((6 / 2 + 2 + 1 + 0 / 2) / 3)
    assert one(function, found, CompletenessGap(), "delete") == 0.0
    with pytest.raises(RecipeError, match="The probability was asked for; the model's output is a number"):
        one(function, found, Comprehensiveness(of="probability"), "delete")
    for blank in ("delete", "mask"):
        with pytest.raises(RecipeError, match="has no word vectors"):
            one(function, found, SoftSufficiency(), blank)


def test_a_language_model_is_asked_at_the_place_that_is_named() -> None:
    model, given = writers.gpt2(), {"prompt": "A gorgeous, witty movie", "response": " is wonderful."}
    for target in (Target(at=0), Target(), Target(at=slice(0, 2))):
        found = saliently.explain(model, given, "occlusion(blank='zero', by='unit')", target)
        strongest = max(unit.score or 0.0 for unit in found.words())
        value = one(model, found, Comprehensiveness(bins=(0.01,)), "zero", target)
        assert value == pytest.approx(strongest, abs=1e-5)  # log-probabilities
        assert one(model, found, Infidelity(), "zero", target) >= 0
    with pytest.raises(RecipeError, match="gives outputs at several places; which one was explained"):
        one(model, found, Comprehensiveness(), "zero")


def test_a_tagger_is_asked_about_the_label_that_was_explained() -> None:
    model = saliently.wrap(placed(BertForTokenClassification, num_labels=4), tiny.wordpiece())
    predicted = saliently.explain(model, TEXT, "gradient", Target(at="witty")).target.index
    other = Target((predicted + 1) % 4, of="probability", at="witty")
    found = saliently.explain(model, TEXT, "occlusion(blank='mask', by='unit')", other)
    strongest = max(unit.score or 0.0 for unit in found.words())
    value = one(model, found, Comprehensiveness(bins=(0.01,)), "mask", Target(other.label, at="witty"))
    assert value == pytest.approx(strongest, abs=1e-5)
    with pytest.raises(RecipeError, match=r"was explained; the target that was asked for is .* Give the target of"):
        one(model, found, Comprehensiveness(), "mask", Target(at="witty"))


@pytest.mark.parametrize("kind", ["bert", "gpt2"])
@pytest.mark.parametrize("blank", ["zero", "delete"])
def test_texts_of_one_word_and_of_none(kind: str, blank: str) -> None:
    model = tiny.models(torch.float64)[kind]()
    found = saliently.explain(model, "bad", "gradient-x-input")
    nothing = replace(found.tokens, units=(None,) * len(found.tokens.ids), spans=(None,) * len(found.tokens.ids))
    metrics = [metric for metric in EVERY if blank != "delete" or not metric.soft]
    asked = measure(model, {"it": [found, replace(found, tokens=nothing)]}, Asking(metrics, [blank]))
    values = {metric.name: asked.values[repr(metric), blank, "it"] for metric in metrics}
    assert not asked.failures
    assert all(math.isnan(both[1]) for both in values.values())
    assert values["sufficiency"][0] == 0.0
    assert math.isnan(values["sensitivity-n"][0])
    empty = kind == "gpt2" and blank == "delete"  # no special tokens: nothing is left to run
    for name in ("comprehensiveness", "deletion", "insertion", "infidelity", "completeness-gap"):
        assert math.isnan(values[name][0]) == empty, name


def test_scores_all_alike_correlate_with_nothing() -> None:
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, TEXT, "occlusion")
    alike = replace(found, scores=0.1 * np.array(found.tokens.words), grouping="mean")  # sums are alike up to rounding
    assert math.isnan(one(model, alike, SensitivityN(shares=(0.5, 0.7))))
    assert not math.isnan(one(model, found, SensitivityN(shares=(0.5, 0.7))))


def test_gaps_without_a_change_to_explain_do_not_exist() -> None:
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, TEXT, "occlusion")
    still = replace(found, checks=replace(found.checks, change=0.0))
    assert math.isnan(one(model, still, CompletenessGap()))
    assert one(model, replace(still, scores=found.scores * 0), CompletenessGap()) == 0.0
    assert math.isnan(one(model, saliently.explain(model, TEXT, "gradient"), CompletenessGap()))


def test_what_does_not_fit_is_refused_before_anything_runs() -> None:
    model, ran = tiny.bert(torch.float64), []
    found = saliently.explain(model, TEXT, "gradient")
    other = saliently.explain(model, "bad", "gradient")

    def refused(said: str, explained: dict[str, list[Explanation]], metric: Metric, blank: str = "mask") -> None:
        with pytest.raises(RecipeError, match=said):
            measure(model, explained, Asking([metric], [blank], tick=ran.append))

    refused("Blank 'hole' was asked for", {"a": [found]}, Deletion(), "hole")
    refused("a word can't be deleted by half", {"a": [found]}, SoftSufficiency(), "delete")
    refused("differ in the text", {"a": [found], "b": [other]}, Deletion())
    label = saliently.explain(model, TEXT, "gradient", (found.target.index + 1) % 3)
    refused("differ in the label", {"a": [found], "b": [label]}, Deletion())
    refused("there are 1 by a, 2 by b. Put None", {"a": [found], "b": [found, found]}, Deletion())
    refused("Target scale 'odds' was asked for", {"a": [found]}, Deletion(of="odds"))  # type: ignore[arg-type]
    assert not ran
    with pytest.raises(RecipeError, match="has no mask token"):
        one(tiny.gpt2(), saliently.explain(tiny.gpt2(), TEXT, "gradient"), Deletion(), "mask")


# ---- controls ----


def test_the_control_lies_around_the_mean_of_many_random_orders() -> None:
    model, draws = tiny.bert(torch.float64), 400
    found = saliently.explain(model, TEXT, "gradient-x-input")
    random = np.random.default_rng(3)
    shuffled = {str(i): [replace(found, scores=random.permutation(found.scores))] for i in range(draws)}
    for metric in (Comprehensiveness(bins=(0.2,)), Sufficiency(), Deletion()):
        asked = measure(model, shuffled, Asking([metric], controls=0))
        values = np.array([asked.values[repr(metric), "mask", name][0] for name in shuffled])
        for seed in range(5):
            few = measure(model, {"it": [found]}, Asking([metric], controls=8, seed=seed))
            control = few.control[repr(metric), "mask", "it"][0]
            assert abs(control - values.mean()) < 4 * values.std() * math.sqrt(1 / 8 + 1 / draws)
            assert control != pytest.approx(few.values[repr(metric), "mask", "it"][0], abs=1e-6)


def test_the_control_of_metrics_of_amounts_is_the_same_scores_on_other_words() -> None:
    model = tiny.linear_bag(torch.float64)
    found = saliently.explain(model, "so very good , a witty film", "gradient-x-input")
    for metric in (Infidelity(), SensitivityN(), SoftSufficiency(of="logit")):
        asked = measure(model, {"it": [found]}, Asking([metric], ["zero"], controls=1, seed=4))
        key = repr(metric), "zero", "it"
        words = Ranked.of(found, 4).shuffled(0, 4)
        assert sorted(words.scores) == sorted(found.scores)
        moved = one(model, replace(found, scores=words.scores), metric, "zero")
        assert asked.control[key][0] == pytest.approx(moved, abs=1e-12)
        assert asked.control[key][0] != pytest.approx(asked.values[key][0], abs=1e-3)


def test_a_constant_score_gets_what_chance_gets_and_not_what_the_order_of_the_text_is_worth() -> None:
    model, metric = tiny.linear_bag(torch.float64), Deletion(of="logit")
    found = saliently.explain(model, "so very good , a witty film", "gradient-x-input")
    # The first words are the strongest, so that their order would be worth something.
    by_place = replace(found, scores=-np.arange(7.0))
    alike = replace(found, scores=np.zeros(7))
    chance = [one_seed(model, alike, metric, seed) for seed in range(200)]
    values, controls = (np.array(each) for each in zip(*chance, strict=True))
    assert abs(values.mean() - controls.mean()) < 4 * values.std() / math.sqrt(100)
    assert values.std() > 0
    assert abs(one(model, by_place, metric) - values.mean()) > 8 * values.std() / math.sqrt(200)


def one_seed(model: Model, explanation: Explanation, metric: Metric, seed: int) -> tuple[float, float]:
    found = measure(model, {"it": [explanation]}, Asking([metric], controls=1, seed=seed))
    key = repr(metric), "mask", "it"
    return float(found.values[key][0]), float(found.control[key][0])


def test_chance_depends_on_the_text_and_the_seed_and_not_on_the_neighbours() -> None:
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, TEXTS, "gradient")
    key = "deletion", "mask", "it"

    def control(explained: Sequence[Explanation | None], seed: int = 0) -> float:
        asked: Measured = measure(model, {"it": explained}, Asking([Deletion()], seed=seed))
        return float(asked.control[key][0])

    assert control(found) == pytest.approx(control(found[:1]), abs=1e-12)
    assert control(found) != pytest.approx(control(found, seed=1), abs=1e-9)
    assert control(found, seed=-3) == control(found, seed=-3)
    first, again = (Ranked.of(found[0], seed).order.tolist() for seed in (0, 0))
    assert first == again


# ---- how sure ----


def test_bootstrap_intervals_cover() -> None:
    random = np.random.default_rng(0)
    hits = []
    for seed in range(300):
        figure = mean_figure(random.exponential(2.0, size=80), seed)
        assert figure is not None
        hits.append(figure.low <= 2.0 <= figure.high)
    assert 0.90 <= np.mean(hits) <= 0.98


def test_a_figure_counts_the_texts_that_have_a_value() -> None:
    figure = mean_figure(np.array([1.0, np.nan, 3.0]), 0, "mask")
    assert (figure.value, figure.n, figure.blank) == (2.0, 2, "mask")
    assert (figure.low, figure.high) == (1.0, 3.0)
    alone = mean_figure(np.array([np.nan, 1.5]), 0)
    assert (alone.value, alone.low, alone.high, alone.n) == (1.5, None, None, 1)
    assert mean_figure(np.array([np.nan]), 0) is None
    paired = paired_figure(np.arange(50.0) + 0.5, np.arange(50.0), 0)
    assert (paired.value, paired.low, paired.high) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("n", [2, 30, 500])
def test_shares_that_are_all_alike_are_not_certain(n: int) -> None:
    # Wilson's interval of n of n is [n / (n + z^2), 1].
    z = 1.959963984540054
    every, none = share_figure(np.ones(n), 0, "mask"), share_figure(np.zeros(n), 0)
    assert every is not None
    assert none is not None
    assert (every.value, every.high, every.n, every.blank) == (1.0, pytest.approx(1.0), n, "mask")
    assert every.low == pytest.approx(n / (n + z**2))
    assert none.high == pytest.approx(z**2 / (n + z**2))


def test_shares_of_one_text_or_of_several_kinds_are_means() -> None:
    assert share_figure(np.array([1.0]), 0) == mean_figure(np.array([1.0]), 0)
    mixed = np.array([0.0, 0.5, 1.0, 1.0])
    assert share_figure(mixed, 3, "zero") == mean_figure(mixed, 3, "zero")
    assert share_figure(np.array([np.nan]), 0) is None


def test_counted_shares_cover_the_truth_as_often_as_they_say() -> None:
    chance, p, n = np.random.default_rng(1), 0.9, 60
    figures = [counted_figure(int(hits) / n, n) for hits in chance.binomial(n, p, size=400)]
    covered = np.mean([figure.low <= p <= figure.high for figure in figures if figure.low and figure.high])
    assert 0.92 < covered < 0.98


def test_ties_are_as_good_as_the_best() -> None:
    random = np.random.default_rng(1)
    texts = random.normal(size=200)
    rows = {
        "best": texts + 1.0,
        "same": texts + 1.0,
        "noise": texts + 1.0 + np.resize([0.5, -0.5], 200) - 0.02,
        "rounding": texts + 1.0 - 1e-15,
        "worse": texts + 0.9,  # by little, but on every text
        "none": np.full(200, np.nan),
    }
    assert set(as_good_as_best(rows, True, 0)) == {"best", "same", "noise", "rounding"}
    assert as_good_as_best({name: -values for name, values in rows.items()}, False, 0)[0] == "best"
    assert as_good_as_best(rows, False, 0) == ("worse",)
    assert as_good_as_best({"none": rows["none"]}, True, 0) == ()


# ---- agreement ----


def explained(*scores: Sequence[float]) -> list[Explanation]:
    text = " ".join("abcdefghijklmnop"[: len(scores[0])])
    found = saliently.explain(tiny.linear_bag(torch.float64), text, "gradient")
    return [replace(found, scores=np.array(each, np.float64)) for each in scores]


@pytest.mark.parametrize("by", ["kendall", "spearman", "top-k", "rank-biased-overlap"])
def test_agreement_is_a_symmetric_matrix_of_magnitudes(by: str) -> None:
    some = explained([1, 2, 3, 4], [-1, 2, -3, 4], [4, 3, 2, 1], [5, 5, 5, 5])
    found = agreements(some, by, k=2)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, found.T)
    assert np.isnan(found[3]).all()
    assert found[0, 0] == pytest.approx(1)
    assert found[0, 1] == pytest.approx(1)
    assert found[0, 2] == pytest.approx({"kendall": -1, "spearman": -1, "top-k": 0}.get(by, found[0, 2]))
    assert found[0, 2] < 1
    assert np.isnan(agreements(explained([1.0], [2.0]), by)).all()  # type: ignore[arg-type]
    if by == "kendall":
        np.testing.assert_array_equal(agreement(some), found)


def test_agreement_by_hand() -> None:
    a, b = explained([4, 3, 2, 1], [3, 4, 2, 1])
    assert top_k(a, b, 1) == 0.0
    assert top_k(a, b, 2) == 1.0
    assert math.isnan(top_k(a, b, 4))  # every word is among the first four
    assert kendall(a, b) == pytest.approx(4 / 6)
    assert spearman(a, b) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_biased_overlap(a, b, 0.5) == pytest.approx(0.5)  # all but depth 1, of weight 1/2
    assert rank_biased_overlap(a, a, 0.5) == pytest.approx(1.0)


def test_agreement_refuses_what_has_none() -> None:
    a, b = explained([4, 3, 2, 1], [3, 4, 2, 1])
    with pytest.raises(RecipeError, match="are about different ones"):
        kendall(a, explained([1, 2, 3])[0])
    with pytest.raises(RecipeError, match="The 0 largest words"):
        top_k(a, b, 0)
    with pytest.raises(RecipeError, match="with p=1; give a number between 0 and 1"):
        rank_biased_overlap(a, b, 1)
    with pytest.raises(RecipeError, match=r"Agreement by 'kendal' was asked for; .* Did you mean 'kendall'\?"):
        agreements([a, b], "kendal")  # type: ignore[arg-type]


# ---- plausibility ----


def test_plausibility_by_hand() -> None:
    (found,) = explained([9, 8, 7, 1, 2, 3, 0, 0.5])
    marked = (True, True, False, False, False, True, False, False)
    # Chosen are words 0 to 2; marked runs are 0-1 and 5.
    assert token_f1(found, marked) == pytest.approx(2 / 3)
    assert iou_f1(found, marked) == pytest.approx(2 * 1 * 0.5 / 1.5)
    assert auprc(found, marked) == pytest.approx((1 + 1 + 3 / 4) / 3)
    for metric in (token_f1, iou_f1, auprc):
        assert math.isnan(metric(found, (False,) * 8))
        assert metric(found, (True, True, True, *(False,) * 5)) == 1.0
        assert metric(found, (False,) * 6 + (True, True)) < 0.2
        with pytest.raises(RecipeError, match="A rationale of 2 words was given for an explanation of 8"):
            metric(found, (True, False))
        said = " ".join((metric.__doc__ or "").split())
        assert "plausibility, agreement with people, and NOT faithfulness" in said


def test_half_of_a_run_is_enough() -> None:
    (found,) = explained([9, 0, 0, 0, 1, 2, 3, 4])
    assert iou_f1(found, (True, True, *(False,) * 6)) == pytest.approx(2 * 0.5 * 1 / 1.5)  # 0 matches 0-1, 7 nothing
    (found,) = explained([9, 8, 0, 7, 6, 0, 0, 0])
    assert iou_f1(found, (True, True, True, True, *(False,) * 4)) == pytest.approx(2 * 0.5 * 1 / 1.5)


def test_a_run_ends_with_its_field() -> None:
    model = tiny.bert(torch.float64)
    tokens = saliently.explain(model, "good bad", "gradient").tokens
    parts = [Span("text", 0, 4), Span("text", 4, 5), Span("other", 0, 3)]
    spans = tuple(None if span is None else Span("other", 0, 3) if span.start > 4 else span for span in tokens.spans)
    apart = replace(tokens, fields={"text": "good ", "other": "bad"}, parts=tuple(parts), spans=spans)
    found = saliently.explain(model, "good bad", "gradient")
    # Both words are chosen and marked: one run, or a run a field; either way all is found.
    assert iou_f1(replace(found, tokens=apart), (True, True)) == iou_f1(found, (True, True)) == 1.0
    from saliently.metrics.plausibility import _runs

    assert _runs(np.array([True, True]), ["text", "other"]) == [(0, 1), (1, 2)]
    assert _runs(np.array([True, True]), ["text", "text"]) == [(0, 2)]


def test_average_precision_without_scikit_learn_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.metrics", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'saliently\[evaluate\]'"):
        auprc(explained([1, 2, 3])[0], (True, False, False))


# ---- word deletion ----


def test_word_deletion_on_a_linear_bag_falls_and_rises_fastest_by_true_contributions() -> None:
    model = tiny.linear_bag(torch.float64)
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(list("abcdefghijklmnopqrstuvwxyz"), 9, replace=False)) for _ in range(60)]
    labels = [int(label) for label in random.integers(3, size=60)]
    found = [
        saliently.explain(model, text, "gradient-x-input", Target(label, "mean"))
        for text, label in zip(texts, labels, strict=True)
    ]
    asked = word_deletion(model, {"gxi": found}, labels, Deleting(5))
    right, wrong = asked.lines
    assert not asked.failures
    for lines, sign in ((right, -1), (wrong, 1)):
        ours, chance = ([figure.value for _, figure in lines.curves[name]] for name in ("gxi", "random order"))
        assert ours[0] == chance[0] == float(sign < 0)
        assert all(sign * (a - b) > 0.05 for a, b in zip(ours[2:], chance[2:], strict=True))
        last = lines.curves["gxi"][3][1]
        assert last.low <= last.value <= last.high
        assert last.blank == "delete"
    assert right.curves["gxi"][0][1].n + wrong.curves["gxi"][0][1].n == 60


def test_word_deletion_leaves_out_short_texts_and_says_so() -> None:
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, TEXTS, "gradient")
    labels = [each.target.index for each in found]
    asked = word_deletion(model, {"gradient": found}, labels, Deleting(5))
    (lines,) = asked.lines
    assert lines.notes[-1] == "Left out: 2 texts of 5 words or fewer."
    assert lines.curves["gradient"][0][1].n == 1
    with pytest.raises(RecipeError, match="40 deletions were asked for; no text has more words"):
        word_deletion(model, {"gradient": found}, labels, Deleting(40))


def test_word_deletion_keeps_what_can_be_asked() -> None:
    model = tiny.linear_bag(torch.float64)
    module = Picky(100).double()
    module.load_state_dict(model.module.state_dict())
    found = saliently.explain(model, ["a b", "a b c d", "c d e f"], "gradient", "glad")
    picky = saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS)
    asked = word_deletion(picky, {"gradient": found}, [2, 2, 2], Deleting(1))
    assert list(asked.failures) == [0]
    assert sum(lines.curves["gradient"][0][1].n for lines in asked.lines) == 2


def test_word_deletion_refuses_what_has_no_right_class() -> None:
    model = tiny.bert(torch.float64)
    found = saliently.explain(model, TEXT, "gradient", "glad")
    with pytest.raises(RecipeError, match="at position 0 glad was explained, and the label is 0"):
        word_deletion(model, {"a": [found]}, [0])
    with pytest.raises(RecipeError, match="and the label is none"):
        word_deletion(model, {"a": [found]}, [])
    with pytest.raises(RecipeError, match="Blank 'hole'"):
        word_deletion(model, {"a": [found]}, [2], Deleting(blank="hole"))
    with pytest.raises(RecipeError, match="0 deletions were asked for"):
        word_deletion(model, {"a": [found]}, [2], Deleting(0))
    for link in ("sigmoid", "none"):
        with pytest.raises(RecipeError, match="does not choose one class"):
            word_deletion(replace(model, link=link), {"a": [found]}, [2])
    with pytest.raises(RecipeError, match="does not choose one class"):
        word_deletion(writers.gpt2(), {"a": [found]}, [2])


# ---- who is compared, and on what ----


def test_who_has_the_easy_texts_alone_is_not_best() -> None:
    easy, hard = np.full(3, 0.9), np.full(7, np.nan)
    rows = {"a": np.concatenate([easy, hard]), "b": np.concatenate([np.full(3, 0.95), np.full(7, 0.4)])}
    assert as_good_as_best(rows, True, 0) == ("b",)
    apart = {"a": np.array([0.9, np.nan]), "b": np.array([np.nan, 0.4])}
    assert as_good_as_best(apart, True, 0) == ("a",)


@pytest.mark.parametrize(
    ("model", "given", "target"),
    [
        (writers.gpt2, {"prompt": PROMPT, "response": BEHIND}, Target(at=0)),
        (t5, {"source": PROMPT, "target": BEHIND}, Target(at=0)),
        (bart, {"source": PROMPT, "target": BEHIND}, Target(at=1)),
    ],
    ids=("decoder", "t5", "bart"),
)
def test_words_behind_the_place_of_a_decoder_are_left_alone(
    model: Callable[[], Model], given: dict[str, str], target: Target
) -> None:
    """They can't matter; a random order that took them would look worse than it is."""
    found = saliently.explain(model(), given, "occlusion(blank='zero', by='unit')", target)
    words = found.words()
    behind = [unit.score == 0 for unit in words]
    assert sum(behind) > len(words) / 3
    assert all(isinstance(unit.field, str) and unit.field != next(iter(given)) for unit in words if unit.score == 0)
    # Were words behind it taken, the first third would cost nothing.
    last = max(unit for unit, each in zip(sorted(found.tokens.pieces_of), behind, strict=True) if not each)
    misled = replace(found, scores=np.array([float(unit is not None and unit > last) for unit in found.tokens.units]))
    asking = Asking([Comprehensiveness(bins=(1 / behind.count(False),))], ["zero"], target, controls=40)
    asked = measure(model(), {"it": [misled]}, asking)
    (value,), (control,) = (next(iter(each.values())) for each in (asked.values, asked.control))
    singles = [unit.score for unit in words if unit.score]
    assert any(value == pytest.approx(each, abs=1e-5) for each in singles)
    assert control == pytest.approx(np.mean(singles), abs=0.5 * float(np.std(singles)))


def test_a_model_that_gives_no_number_now_is_another_one() -> None:
    model = tiny.linear_bag(torch.float64)
    found = saliently.explain(model, "so good", "gradient")
    module = tiny.LinearBag(100).double()
    with torch.no_grad():
        module.weight.fill_(float("nan"))
    broken = saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS, blank_ids={"mask": 1})
    with pytest.raises(RecipeError, match="it gives nan there"):
        one(broken, found, Deletion(), "zero")
    with pytest.raises(RecipeError, match="Give the model that was explained"):
        word_deletion(broken, {"a": [found]}, [found.target.index], Deleting(1))
