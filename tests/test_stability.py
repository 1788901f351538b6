"""Stability: scores against small moves of word vectors, and the model's own number beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import saliently
from saliently.audit.asked import Asked, explained, explained_again
from saliently.audit.moved import moved
from saliently.audit.stability import RADII, stability
from saliently.errors import ModelError, RecipeError
from saliently.names import parse_metric
from saliently.reports import Report
from tests import tiny
from tests.test_audit import Odd, rows

METHODS = ("gradient", "gradient-x-input", "occlusion")
TEXTS = rows()[:4]


@pytest.fixture(scope="module")
def report() -> Report:
    return stability(Asked(tiny.bert(torch.float64), METHODS), TEXTS)


def test_figures_are_the_largest_changes(report: Report) -> None:
    model = tiny.bert(torch.float64)
    asked = Asked(model, METHODS)
    (table,) = report.tables
    for method in table.rows:
        before = explained(asked, method, TEXTS)
        words = [np.array([unit.score for unit in each.words()]) for each in before if each is not None]
        for column, radius in enumerate(RADII):
            most, numbers = np.zeros(len(words)), np.zeros(len(words))
            for draw in range(5):
                with moved(model, radius, draw):
                    after = explained_again(asked, method, TEXTS, before)
                for i, (one, other) in enumerate(zip(before, after, strict=True)):
                    assert one is not None
                    assert other is not None
                    now = np.array([unit.score for unit in other.words()])
                    most[i] = max(most[i], np.linalg.norm(now - words[i]) / np.linalg.norm(words[i]))
                    numbers[i] = max(numbers[i], abs(other.values[0] - one.values[0]))
            figure = table.rows[method][column]
            assert figure is not None
            assert figure.value == pytest.approx(most.mean(), rel=1e-6)
            assert figure.n == len(words)
            if radius == 0.1:
                number = table.rows[method][-1]
                assert number is not None
                assert number.value == pytest.approx(numbers.mean(), rel=1e-6)
                assert numbers.mean() > 0


def test_larger_moves_change_more_and_chance_changes_most(report: Report) -> None:
    for little, usual, much, dealt, _ in report.tables[0].rows.values():
        assert little is not None
        assert usual is not None
        assert much is not None
        assert dealt is not None
        assert 0 < little.value < usual.value < much.value < dealt.value


def test_the_verdict_names_the_ends_of_the_table(report: Report) -> None:
    names = list(report.tables[0].rows)
    values = [row[1].value for row in report.tables[0].rows.values() if row[1] is not None]
    assert values == sorted(values)
    assert f"the scores of {names[0]} move least" in report.verdict[0]
    assert f"Those of {names[-1]} move most" in report.verdict[1]
    assert report.tables[0].marks[names[0]] == "best"


def test_one_method_moves_least_and_not_most() -> None:
    (said,) = stability(Asked(tiny.bert(torch.float64), METHODS[:1]), TEXTS).verdict
    assert "the scores of gradient move least" in said


def test_a_method_without_numbers_does_not_move_most() -> None:
    report = stability(Asked(tiny.bert(torch.float64), ("gradient", "lrp", "minimal-erasure")), TEXTS)
    assert "unknown share" not in " ".join(report.verdict)


def test_a_seed_gives_the_same_figures_and_another_one_does_not(report: Report) -> None:
    def figures(seed: int) -> object:
        return stability(Asked(tiny.bert(torch.float64), METHODS[:1], seed), TEXTS).tables[0].rows["gradient"]

    assert figures(0) == report.tables[0].rows["gradient"]
    assert figures(1) != figures(0)


def test_an_embedding_that_is_no_table_is_one_clear_error() -> None:
    odd = saliently.wrap(Odd().eval(), tiny.read_words, embedding="embed", labels=tiny.LABELS)
    with pytest.raises(ModelError, match="vocabulary can't be listed"):
        stability(Asked(odd, ("gradient",)), rows()[:4])


@pytest.mark.parametrize("name", ["max-sensitivity", "word-deletion"])
def test_a_metric_of_many_explanations_says_where_it_is(name: str) -> None:
    with pytest.raises(RecipeError, match="Use `saliently experiment "):
        parse_metric(name)
