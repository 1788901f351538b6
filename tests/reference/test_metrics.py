"""Every metric again: slow and plain, one forward pass a row, in float64; and what a linear bag of words must give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import saliently
from saliently.metrics import agreement, plausibility
from saliently.metrics.base import Metric
from saliently.metrics.erasure import (
    Comprehensiveness,
    Deletion,
    Insertion,
    SoftComprehensiveness,
    SoftSufficiency,
    Sufficiency,
)
from saliently.metrics.measure import Asking, measure
from saliently.metrics.ranked import Ranked
from saliently.metrics.sums import CompletenessGap, Infidelity, SensitivityN
from saliently.metrics.word_deletion import CONTROL, Deleting, word_deletion
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.types import Explanation, Target
from tests import tiny

TEXT = "It's so bad that it's good -- 3.5% of viewers agree."
SOFT = ("mask", "zero", "mean", "pad")
PLACES = [
    *(("bert", blank) for blank in (*SOFT, "delete")),
    *(("gpt2", blank) for blank in ("zero", "pad", "delete")),
    *(("llama", blank) for blank in ("mean", "delete")),
    *(("bilstm", blank) for blank in ("pad", "delete")),
    *(("linear_bag", blank) for blank in ("mask", "delete")),
]
NOWHERE = float("nan")


class Plain:
    """A model that is asked one row at a time."""

    def __init__(self, model: Model, explanation: Explanation, blank: str) -> None:
        self.model, self.tokens, self.blank = model, explanation.tokens, blank
        self.index = explanation.target.index
        units = sorted({unit for unit in self.tokens.units if unit is not None})
        self.word_of = [None if unit is None else units.index(unit) for unit in self.tokens.units]
        pieces = [[t for t, word in enumerate(self.word_of) if word == w] for w in range(len(units))]
        self.scores = [sum(float(explanation.by_token[t]) for t in each) for each in pieces]
        self.special = sum(float(s) for s, word in zip(explanation.by_token, self.word_of, strict=True) if word is None)

    def logits(self, keep: Sequence[float]) -> list[float]:
        """With so much of each word kept; NaN without tokens."""
        left = [t for t, word in enumerate(self.word_of) if word is None or keep[word] or self.blank != "delete"]
        ids = torch.tensor([[self.tokens.ids[t] for t in left]])
        if not left:
            return [NOWHERE] * len(self.model.labels)
        kinds = torch.tensor([[self.tokens.kinds[t] for t in left]]) if self.tokens.kinds else None
        table = self.model.embedding.weight.detach()
        x = table[ids[0]].clone()
        for at, t in enumerate(left):
            word = self.word_of[t]
            if word is not None and self.blank != "delete":
                x[at] = keep[word] * x[at] + (1 - keep[word]) * self.vector(table)
        with torch.no_grad(), self.model.resting():
            return self.model.run(Batch.of(ids, kinds), x[None])[0].tolist()

    def vector(self, table: torch.Tensor) -> torch.Tensor:
        if self.blank == "zero":
            return torch.zeros(table.shape[1], dtype=table.dtype)
        return table.mean(0) if self.blank == "mean" else table[self.model.blank_ids[self.blank]]

    def logit(self, keep: Sequence[float]) -> float:
        return self.logits(keep)[self.index]

    def p(self, keep: Sequence[float]) -> float:
        powers = [math.exp(each) for each in self.logits(keep)]
        return powers[self.index] / sum(powers)

    def strongest(self, k: int) -> set[int]:
        return set(sorted(range(len(self.scores)), key=lambda w: -self.scores[w])[:k])

    def without(self, words: set[int]) -> list[float]:
        return [0.0 if w in words else 1.0 for w in range(len(self.scores))]

    def only(self, words: set[int]) -> list[float]:
        return [1.0 if w in words else 0.0 for w in range(len(self.scores))]


@cache
def made(kind: str) -> Model:
    return tiny.models(torch.float64)[kind]()


@cache
def explained(kind: str, label: str = "glad") -> Explanation:
    return saliently.explain(made(kind), TEXT, "gradient-x-input", label)


def measured(kind: str, blank: str, metric: Metric, label: str = "glad") -> float:
    found = measure(made(kind), {"one": [explained(kind, label)]}, Asking([metric], [blank], controls=0))
    assert not found.failures
    return float(found.values[repr(metric), blank, "one"][0])


def near(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-9, nan_ok=True)


def rough(value: float) -> object:
    """What is left of a number after a formula that takes small numbers from 1."""
    return pytest.approx(value, rel=1e-5, nan_ok=True)


@pytest.mark.parametrize("label", tiny.LABELS)
@pytest.mark.parametrize(("kind", "blank"), PLACES)
def test_comprehensiveness_and_sufficiency(kind: str, blank: str, label: str) -> None:
    plain = Plain(made(kind), explained(kind, label), blank)
    words = len(plain.scores)
    whole = plain.p([1.0] * words)
    comp, suff = [], []
    for share in (0.01, 0.05, 0.1, 0.2, 0.5):
        chosen = plain.strongest(math.ceil(share * words))
        comp.append(whole - plain.p(plain.without(chosen)))
        suff.append(whole - plain.p(plain.only(chosen)))
    assert measured(kind, blank, Comprehensiveness(), label) == near(sum(comp) / 5)
    assert measured(kind, blank, Sufficiency(), label) == near(sum(suff) / 5)
    assert measured(kind, blank, Comprehensiveness(average="paper"), label) == near((0 + sum(comp)) / 6)
    empty = whole - plain.p(plain.only(set()))
    assert measured(kind, blank, Sufficiency(average="paper"), label) == near((empty + sum(suff)) / 6)
    few = whole - plain.p(plain.without(plain.strongest(math.ceil(0.7 * words))))
    assert measured(kind, blank, Comprehensiveness(bins=(0.7,)), label) == near(few)


@pytest.mark.parametrize(("kind", "blank"), PLACES)
def test_deletion_and_insertion(kind: str, blank: str) -> None:
    plain = Plain(made(kind), explained(kind), blank)
    words = len(plain.scores)
    for of, f in ((None, plain.p), ("logit", plain.logit)):
        gone = [f(plain.without(plain.strongest(k))) for k in range(words + 1)]
        come = [f(plain.only(plain.strongest(k))) for k in range(words + 1)]
        for metric, curve in ((Deletion, gone), (Insertion, come)):
            area = sum((curve[k] + curve[k + 1]) / 2 / words for k in range(words))
            assert measured(kind, blank, metric(of=of)) == near(area)
            half = [0, round(words / 2), words]
            area = sum((curve[a] + curve[b]) / 2 * (b - a) / words for a, b in pairwise(half))
            assert measured(kind, blank, metric(of=of, steps=2)) == near(area)


@pytest.mark.parametrize(("kind", "blank"), [place for place in PLACES if place[1] != "delete"])
def test_soft_metrics(kind: str, blank: str) -> None:
    numbers = []
    for label in tiny.LABELS:
        plain = Plain(made(kind), explained(kind, label), blank)
        low, high = min(plain.scores), max(plain.scores)
        soft = [(score - low) / (high - low) for score in plain.scores]
        whole, nothing = plain.p([1.0] * len(soft)), plain.p([0.0] * len(soft))
        without = max(0.0, whole - plain.p([1 - s for s in soft]))
        sufficiency = 1 - max(0.0, whole - plain.p(soft))
        least = 1 - max(0.0, whole - nothing)
        numbers.append(least)
        close = near if least < 1 - 1e-3 else rough
        expected = without / (1 - least) if least < 1 else NOWHERE
        assert measured(kind, blank, SoftComprehensiveness(), label) == close(expected)
        expected = (sufficiency - least) / (1 - least) if least < 1 else NOWHERE
        assert measured(kind, blank, SoftSufficiency(), label) == close(expected)
    assert min(numbers) < 1 - 1e-3, "nothing was measured"


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize(("kind", "blank"), PLACES)
def test_infidelity(kind: str, blank: str, scaled: bool) -> None:
    metric = Infidelity(samples=20, scaled=scaled)
    plain = Plain(made(kind), explained(kind), blank)
    whole = plain.logit([1.0] * len(plain.scores))
    sets = metric.keeps(Ranked.of(explained(kind), 0)).tolist()  # which sets are drawn is chance
    pairs = []
    for keep in sets:
        value = plain.logit(keep)
        if not math.isnan(value):
            pairs.append((sum(s for s, kept in zip(plain.scores, keep, strict=True) if not kept), whole - value))
    beta = sum(s * d for s, d in pairs) / sum(s * s for s, _ in pairs) if scaled else 1.0
    error = sum((beta * s - d) ** 2 for s, d in pairs) / len(pairs)
    assert measured(kind, blank, metric) == near(
        error / (sum(d * d for _, d in pairs) / len(pairs)) if scaled else error
    )


@pytest.mark.parametrize(("kind", "blank"), PLACES)
def test_sensitivity_n(kind: str, blank: str) -> None:
    metric = SensitivityN(samples=8, shares=(0.3, 0.6))
    plain = Plain(made(kind), explained(kind), blank)
    words = len(plain.scores)
    whole = plain.logit([1.0] * words)
    by_size: dict[int, list[tuple[float, float]]] = {}
    for keep in metric.keeps(Ranked.of(explained(kind), 0)).tolist():
        summed = sum(s for s, kept in zip(plain.scores, keep, strict=True) if not kept)
        by_size.setdefault(keep.count(0.0), []).append((summed, whole - plain.logit(keep)))
    assert {size: len(pairs) for size, pairs in by_size.items()} == {
        math.ceil(0.3 * words): 8,
        math.ceil(0.6 * words): 8,
    }
    found = []
    for pairs in by_size.values():
        s, d = (sum(each) / len(pairs) for each in zip(*pairs, strict=True))
        cross = sum((a - s) * (b - d) for a, b in pairs)
        found.append(cross / math.sqrt(sum((a - s) ** 2 for a, _ in pairs) * sum((b - d) ** 2 for _, b in pairs)))
    assert measured(kind, blank, metric) == near(sum(found) / len(found))


@pytest.mark.parametrize(("kind", "blank"), PLACES)
def test_completeness_gap(kind: str, blank: str) -> None:
    plain = Plain(made(kind), explained(kind), blank)
    words = len(plain.scores)
    change = plain.logit([1.0] * words) - plain.logit([0.0] * words)
    total = sum(plain.scores) + plain.special
    assert measured(kind, blank, CompletenessGap()) == near(abs(total - change) / abs(change))


def test_sets_of_words_are_drawn_by_size_and_then_alike() -> None:
    words = Ranked.of(explained("bilstm"), 0)
    many, keep = len(words.scores), Infidelity(samples=20000).keeps(words)
    gone = (keep == 0).sum(1)
    counts = np.bincount(gone, minlength=many + 1)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:], 20000 / many, rtol=0.15)
    np.testing.assert_allclose((keep == 0).mean(0), gone.mean() / many, rtol=0.03)


# ---- a linear bag of words ----

SHORT = "so good , very bad"


def bag() -> tuple[Model, Explanation, NDArray[np.float64]]:
    """The model, an explanation by gradient x input, and what each word adds."""
    model = made("linear_bag")
    found = saliently.explain(model, SHORT, "gradient-x-input")
    vectors = model.embedding(torch.tensor(found.tokens.ids))
    return model, found, (vectors @ model.module.weight[:, found.target.index]).detach().numpy()


@pytest.mark.parametrize("blank", ["zero", "delete"])
def test_true_contributions_are_the_best_of_all_orders(blank: str) -> None:
    model, found, true = bag()
    every = bins = tuple(k / 5 for k in range(1, 5))
    metrics = [
        Comprehensiveness(bins=bins, of="logit"),
        Sufficiency(bins=every, of="logit"),
        Deletion(of="logit"),
        Insertion(of="logit"),
    ]
    orders = {str(order): [replace(found, scores=np.array(order, np.float64))] for order in permutations(range(5))}
    explained = {"true": [replace(found, scores=true)], **orders}
    asked = measure(model, explained, Asking(metrics, [blank], controls=0))
    for metric in metrics:
        values = {name: float(asked.values[repr(metric), blank, name][0]) for name in explained}
        sign = 1 if metric.better == "higher" else -1
        best = max(sign * values[name] for name in orders)
        if blank == "delete" and metric.name in ("deletion", "insertion"):
            assert all(map(math.isnan, values.values()))  # without any word this model has nothing to run
            continue
        assert sign * values["true"] == pytest.approx(best, abs=1e-12)
        assert sum(sign * values[name] > best - 1e-9 for name in orders) == 1, "only one order is that good"


@pytest.mark.parametrize("blank", ["zero", "delete"])
def test_true_contributions_sum_to_what_is_lost(blank: str) -> None:
    model, found, true = bag()
    explained = {"true": [replace(found, scores=true)], "wrong": [replace(found, scores=true + np.eye(5)[0])]}
    metrics = [Infidelity(), Infidelity(scaled=True), SensitivityN(), CompletenessGap()]
    asked = measure(model, explained, Asking(metrics, [blank], controls=0))
    values = {
        (metric.name, name): asked.values[repr(metric), blank, name][0] for metric in metrics for name in explained
    }
    if blank == "zero":
        assert values["completeness-gap", "true"] == pytest.approx(0, abs=1e-12)
        assert values["completeness-gap", "wrong"] == pytest.approx(1 / abs(true.sum()))
    else:
        assert math.isnan(values["completeness-gap", "true"])
    assert asked.values[repr(metrics[0]), blank, "true"][0] == pytest.approx(0, abs=1e-20)
    assert asked.values[repr(metrics[1]), blank, "true"][0] == pytest.approx(0, abs=1e-20)
    assert values["sensitivity-n", "true"] == pytest.approx(1, abs=1e-12)
    assert asked.values[repr(metrics[0]), blank, "wrong"][0] > 0.1
    assert values["sensitivity-n", "wrong"] < 0.999


# ---- agreement ----


def pair(kind: str = "bert") -> tuple[Explanation, Explanation]:
    """Two explanations with ties within each."""
    one = explained(kind)
    other = saliently.explain(made(kind), TEXT, "gradient", "glad")
    return replace(one, scores=(one.scores / np.abs(one.scores).max() * 3).round()), other


def sizes(explanation: Explanation) -> list[float]:
    return [abs(unit.score or 0.0) for unit in explanation.words()]


def test_kendall_counts_pairs() -> None:
    a, b = map(sizes, pair())
    pairs = [(i, j) for i in range(len(a)) for j in range(i)]
    signs = [(np.sign(a[i] - a[j]), np.sign(b[i] - b[j])) for i, j in pairs]
    assert any(s == 0 for s, _ in signs), "no ties are tested"
    agree = sum(s * t for s, t in signs)
    expected = agree / math.sqrt(sum(s != 0 for s, _ in signs) * sum(t != 0 for _, t in signs))
    assert agreement.kendall(*pair()) == pytest.approx(expected, abs=1e-12)


def test_spearman_is_the_correlation_of_ranks() -> None:
    ranks = [[sum(y < x for y in each) + sum(y == x for y in each) / 2 for x in each] for each in map(sizes, pair())]
    assert agreement.spearman(*pair()) == pytest.approx(float(np.corrcoef(*ranks)[0, 1]), abs=1e-12)


def ordered(explanation: Explanation, seed: int) -> list[int]:
    found, tie = sizes(explanation), Ranked.of(explanation, seed).tie
    return sorted(range(len(found)), key=lambda w: (-found[w], tie[w]))


@pytest.mark.parametrize("seed", [0, 1])
def test_top_k_and_rank_biased_overlap(seed: int) -> None:
    a, b = (ordered(each, seed) for each in pair())
    for k in (1, 3, 5):
        assert agreement.top_k(*pair(), k=k, seed=seed) == len({*a[:k]} & {*b[:k]}) / k
    for p in (0.5, 0.9):
        depth = [len({*a[:d]} & {*b[:d]}) / d for d in range(1, len(a) + 1)]
        expected = (1 - p) * sum(share * p**d for d, share in enumerate(depth))
        expected += (1 - p) * sum(p**d for d in range(len(a), 5000))  # both hold all words from there on
        assert agreement.rank_biased_overlap(*pair(), p=p, seed=seed) == pytest.approx(expected, abs=1e-12)


# ---- plausibility ----

MARKED = [0, 1, 1, 0, 0, 1, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]


def rationale(explanation: Explanation) -> tuple[bool, ...]:
    return tuple(bool(each) for each in MARKED[: len(explanation.words())])


@pytest.mark.parametrize("kind", ["bert", "bilstm", "gpt2"])
@pytest.mark.parametrize("label", tiny.LABELS)
def test_plausibility(kind: str, label: str) -> None:
    found = explained(kind, label)
    flags, scores = rationale(found), [float(unit.score or 0.0) for unit in found.words()]
    marked = {w for w, flag in enumerate(flags) if flag}
    chosen = set(sorted(range(len(scores)), key=lambda w: -scores[w])[: len(marked)])
    precision, recall = len(marked & chosen) / len(chosen), len(marked & chosen) / len(marked)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert plausibility.token_f1(found, flags) == pytest.approx(f1, abs=1e-12)

    def runs(words: set[int]) -> list[set[int]]:
        starts = [w for w in words if w - 1 not in words]
        return [{*range(s, next(e for e in range(s, 99) if e not in words))} for s in starts]

    ours, theirs = runs(chosen), runs(marked)
    hits = [[len(a & b) / len(a | b) >= 0.5 for b in theirs] for a in ours]
    precision = sum(map(any, hits)) / len(ours)
    recall = sum(map(any, zip(*hits, strict=True))) / len(theirs)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    assert plausibility.iou_f1(found, flags) == pytest.approx(f1, abs=1e-12)
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = {w for w, score in enumerate(scores) if score >= threshold}
        recall = len(taken & marked) / len(marked)
        area, before = area + (recall - before) * len(taken & marked) / len(taken), recall
    assert plausibility.auprc(found, flags) == pytest.approx(area, abs=1e-12)


# ---- word deletion ----


@pytest.mark.parametrize(("kind", "blank"), [("bert", "delete"), ("bilstm", "delete"), ("bert", "zero")])
def test_word_deletion(kind: str, blank: str) -> None:
    model, most = made(kind), 4
    texts = [text for text in tiny.CORPUS if len(saliently.explain(model, text, "gradient").words()) > most]
    labels = [i % 3 for i in range(len(texts))]
    found = [
        saliently.explain(model, text, "gradient-x-input", label) for text, label in zip(texts, labels, strict=True)
    ]
    right: dict[bool, list[list[bool]]] = {True: [], False: []}
    for each, label in zip(found, labels, strict=True):
        plain = Plain(model, each, blank)
        first = int(np.argmax(plain.logits([1.0] * len(plain.scores)))) == label
        order = sorted(range(len(plain.scores)), key=lambda w, at=plain.scores, sign=-1 if first else 1: sign * at[w])
        rows = [plain.logits(plain.without({*order[:k]})) for k in range(most + 1)]
        right[first].append([int(np.argmax(row)) == label for row in rows])
    asked = word_deletion(model, {"gxi": found}, labels, Deleting(most, blank))
    assert len(asked.lines) == 2
    for lines, first in zip(asked.lines, (True, False), strict=True):
        assert set(lines.curves) == {"gxi", CONTROL}
        points = lines.curves["gxi"]
        assert [x for x, _ in points] == list(range(most + 1))
        np.testing.assert_allclose([figure.value for _, figure in points], np.mean(right[first], 0), atol=1e-12)
        assert points[0][1].value == lines.curves[CONTROL][0][1].value == float(first)
        assert {figure.n for _, figure in points} == {len(right[first])}


def test_the_target_of_word_deletion_tells_what_is_predicted() -> None:
    for at, text in enumerate(tiny.CORPUS):
        model, label = made("bert"), at % 3
        margin = saliently.explain(model, text, "gradient", Target(label, "next")).values[0]
        predicted = saliently.explain(model, text, "gradient").target.index
        assert (margin > 0) == (predicted == label)
