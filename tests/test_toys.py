"""On networks whose right explanation is known, methods give it, or fail as published."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import saliently
from saliently.audit.toy import toy
from saliently.reports import Report, Table
from saliently.toys import boolean, counter, counting, linear, sums, training

TEXTS = ["a", "b", "ab", "aab", "abab", "aabbb", "bbbab", "aaabbbab"]
EXACT = "ig(blank='zero', steps=8192)"


@pytest.fixture(scope="module")
def report() -> Report:
    return toy(networks=3, texts=60)


def value(table: Table, row: str, column: str) -> float:
    """A figure by the names of its row and column."""
    figure = table.rows[row][[each.name for each in table.columns].index(column)]
    assert figure is not None
    return figure.value


@pytest.mark.parametrize(
    "recipe", ["gradient-x-input", EXACT, "occlusion(blank='zero')", "lrp", "shapley(blank='zero')"]
)
def test_on_a_linear_bag_all_give_what_words_add(recipe: str) -> None:
    bag = linear.linear_bag()
    text = "dull bad film good good"
    np.testing.assert_allclose(saliently.explain(bag.model, text, recipe).by_token, bag.truth(text), atol=1e-12)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize(
    ("recipe", "closed", "within"),
    [
        ("gradient", counter.gradient, 1e-12),
        ("gradient-x-input", counter.gradient_x_input, 1e-12),
        ("occlusion(blank='zero')", counter.occlusion, 1e-12),
        ("lrp", counter.integrated_gradients, 1e-12),
        (EXACT, counter.integrated_gradients, 1e-8),
    ],
)
def test_the_counter_s_closed_forms(text: str, recipe: str, closed: object, within: float) -> None:
    found = saliently.explain(counter.counter(), text, recipe, "True")
    np.testing.assert_allclose(found.by_token, closed(text), rtol=0, atol=within)  # type: ignore[operator]


def test_the_counter_tells_which_letter_is_more_frequent() -> None:
    for letters in product("ab", repeat=5):
        found = saliently.explain(counter.counter(), "".join(letters), "gradient", "True")
        assert found.values[0] == pytest.approx(
            np.tanh(counter.signs("".join(letters)).sum() * np.tanh(0.5)), abs=1e-14
        )


@pytest.mark.parametrize("epsilon", [1e-3, 1e-6])
def test_published_relevance_is_lost_where_counts_are_equal_and_integrated_gradients_is_not(epsilon: float) -> None:
    for text in TEXTS:
        gone = counter.blocked(text)
        found = saliently.explain(counter.counter(), text, f"lrp(epsilon={epsilon})", "True").by_token
        np.testing.assert_allclose(found[gone], 0, atol=1e-9)
        assert (np.abs(found[~gone]) > 0.1).all()
        assert (np.abs(saliently.explain(counter.counter(), text, "ig(blank='zero')", "True").by_token) > 0.1).all()
    assert counter.blocked("aabbb").tolist() == [True, True, True, True, False]
    assert counter.blocked("abab").all()


@pytest.mark.parametrize("game", boolean.one_of_each(), ids=lambda game: game.name)
def test_games_have_the_values_that_are_known(game: boolean.Game) -> None:
    def scores(recipe: str) -> np.ndarray:
        return saliently.explain(game.model, game.text, recipe).by_token

    np.testing.assert_allclose(scores("shapley(blank='zero')"), game.shapley, atol=1e-12)
    np.testing.assert_allclose(scores(EXACT), game.shapley, atol=1e-7)
    for recipe in ("occlusion(blank='zero')", "gradient-x-input"):
        np.testing.assert_allclose(scores(recipe), game.marginal, atol=1e-12)
    pairs = saliently.explain(game.model, game.text, "shapley-interaction(blank='zero', index='sii')").pairs()
    apart = ~np.eye(game.words, dtype=bool)
    np.testing.assert_allclose(2 * pairs[apart], game.interactions[apart], atol=1e-12)


def test_closed_forms_of_games() -> None:
    for n in (2, 3, 5):
        for game in (boolean.conjunction(n), boolean.disjunction(n)):
            np.testing.assert_allclose(game.shapley, 1 / n)
        np.testing.assert_allclose(boolean.parity(n).shapley, (n % 2) / n, atol=1e-12)
    np.testing.assert_allclose(boolean.majority(5).shapley, 0.2)
    np.testing.assert_allclose(boolean.disjunction(3).marginal, 0, atol=1e-12)
    np.testing.assert_allclose(boolean.largest((1.0, 2.0, 3.0)).shapley, [1 / 3, 5 / 6, 11 / 6])
    np.testing.assert_allclose(boolean.multiply((2.0, 3.0)).interactions, [[0, 6], [6, 0]])


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        (12, ((0, 1, 2), (5, 9), (6, 7, 8, 10))),
        # As many features as Tsang et al. 2020 have, in sets of ten and of twenty, apart and overlapping.
        (40, (tuple(range(10)), tuple(range(10, 20)))),
        (40, (tuple(range(20)), tuple(range(10, 30)))),
    ],
)
def test_archipelago_finds_the_sets_that_interact(words: int, groups: tuple[tuple[int, ...], ...]) -> None:
    game = boolean.sets(words, groups, (0.5,) * words)
    strength = saliently.explain(game.model, game.text, "archipelago(blank='zero')").pairs()
    np.testing.assert_array_equal(strength > 1e-9, game.interacting)


def test_sums_are_told_by_one_cell() -> None:
    found = sums.networks(2, 3)
    texts = sums.examples(50, 5)
    for operation, models in found.items():
        for model in models:
            assert sum(p.numel() for p in model.module.lstm.parameters()) == 4 * (2 + 1 + 2)
            told = [each.values[0] for each in saliently.explain(model, [each.text for each in texts], "gradient")]
            assert np.square(told - sums.answers(texts, operation)).mean() < 2 * training.ENOUGH
        assert sums.answers(texts, operation) == pytest.approx([each.truth(operation).sum() for each in texts])


def test_texts_of_sums_keep_to_the_rules() -> None:
    for each in sums.examples(200, 1):
        words = each.text.split()
        assert 4 <= len(words) <= 10
        assert [i for i, word in enumerate(words) if word.endswith("*")] == list(each.marked)
        assert all(0.5 <= abs(float(word.removesuffix("*"))) <= 1 for word in words)


def test_training_that_does_not_get_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "_STEPS", 2)
    with pytest.raises(saliently.ModelError, match=r"5 toy networks .* 0 for addition, 0 for subtraction"):
        sums.networks(5, 0)
    monkeypatch.setattr(counting, "_EPOCHS", 0)
    with pytest.raises(saliently.ModelError, match="98% of held-out texts"):
        counting.network(0)


@pytest.mark.parametrize(
    ("model", "text", "match"),
    [
        (counter.counter(), "abc", "'c'; it reads the letters a and b"),
        (linear.linear_bag().model, "good movie", "'movie'; it reads the words good, fine"),
    ],
)
def test_a_word_that_a_toy_does_not_know_is_an_error_of_the_text(model: object, text: str, match: str) -> None:
    with pytest.raises(saliently.InputError, match=match):
        saliently.explain(model, text, "gradient")  # type: ignore[arg-type]


def test_counting_texts_have_the_right_label_and_truth() -> None:
    found = counting.texts(500, 2)
    for each in found:
        first, second, *digits = each.text.split()
        assert first != second
        assert each.label == (digits.count(first) > digits.count(second))
        assert each.truth().sum() == pytest.approx(1)
        assert len(digits) in range(1, 11)
    assert counting.CountingText("3 7 3 1 7 3", True).truth() == pytest.approx([0, 0, 1 / 3, 0, 1 / 3, 1 / 3])


def test_addition_comes_out_as_published(report: Report) -> None:
    for row in (
        "gradient-x-input",
        "integrated-gradients(blank='zero', tolerance=0.001)",
        "lrp",
        "occlusion(blank='zero')",
    ):
        assert value(report.tables[0], row, "rho a") > 0.99
        assert value(report.tables[0], row, "rho b") > 0.99
    assert abs(value(report.tables[0], "random", "rho a")) < 0.5


def test_on_subtraction_occlusion_fails_and_relevance_does_not(report: Report) -> None:
    table = report.tables[1]
    assert value(table, "lrp", "rho a") > 0.999
    assert value(table, "lrp", "rho b") < -0.999
    assert value(table, "lrp", "mass") > 0.99
    assert value(table, "gradient-x-input", "rho a") > 0.95
    assert value(table, "gradient-x-input", "rho b") < -0.9
    assert value(table, "occlusion(blank='zero')", "rho a") > 0.98
    assert value(table, "occlusion(blank='zero')", "rho b") > -0.8
    assert value(table, "occlusion(blank='zero')", "mass") < 0.8


def test_the_other_tables(report: Report) -> None:
    _, _, count, digits, exact = report.tables
    assert value(count, "lrp(epsilon=0.001)", "lost") == 1
    assert value(count, "lrp", "lost") == 0
    assert value(count, "integrated-gradients(blank='zero', tolerance=0.001)", "lost") == 0
    assert value(count, "occlusion(blank='zero')", "from closed form") < 1e-12
    assert value(digits, "occlusion(blank='zero')", "from uniform") < value(digits, "random", "from uniform")
    assert value(exact, "integrated-gradients(blank='zero', tolerance=0.001)", "games") < 1e-3
    assert value(exact, "lrp", "linear") < 1e-12


def test_the_verdict_says_what_the_tables_say(report: Report) -> None:
    found = {sentence.split(",")[0]: sentence for sentence in report.verdict}
    assert "below 0.8, by none" in found["On addition"]
    assert "below 0.8, by occlusion(blank='zero')" in found["On subtraction"]
    assert "a score of 0 by lrp(epsilon=0.001) (100%), and never by" in found["On the counter"]
    assert report.whom
    assert report.limits
    assert report.to_dict()["title"] == "Toys with known answers"


def test_what_can_t_be_asked_is_an_error() -> None:
    for wrong in ({"methods": ()}, {"networks": 0}, {"texts": 1}):
        with pytest.raises(saliently.RecipeError, match="toy was asked for with"):
            toy(**wrong)  # type: ignore[arg-type]
