"""Game methods on models: rows that are packed and run once, budgets, errors, odd texts, games of one's own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from math import nan
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import saliently
from saliently.listed import METHODS
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.names import parse
from tests import tiny

TEXT = "A gorgeous, witty, seductive movie."
LONG = "Never have I seen a more charming scene, and I don't think she'd like this film, but who knows?"
GAMES = [
    "shapley",
    "shapley(how='kernel', most=200)",
    "shapley(how='permutation', most=200)",
    "owen",
    "owen(tree='clauses', most=200)",
    "banzhaf(most=200)",
    "lime(samples=100)",
    "lime(samples=100, bow=False, by='token')",
    "limsse",
    "context-cite",
    "shapley-interaction(most=200)",
    "banzhaf-interaction(most=200)",
    "pairwise-occlusion",
    "archipelago",
    "archipelago(groups=3)",
]


def spelled(seen: list[str], sick: Callable[[str], bool] = lambda text: False) -> Model:
    """A model of texts that notes each that it is asked about, and gives NaN for those that are sick."""

    def score(texts: list[str]) -> list[list[float]]:
        seen.extend(texts)
        return [[nan if sick(text) else sum(map(ord, text)) % 97, 0.0] for text in texts]

    return saliently.wrap_function(score, labels=["one", "two"], mask="[gone]")


def wordless(model: Model) -> Model:
    """The model, with a reader that takes all tokens for special ones."""

    def read(fields: Any, truncate: bool) -> Any:
        tokens = model.read(fields, truncate)
        none = (None,) * len(tokens.ids)
        return dataclasses.replace(tokens, spans=none, units=none)

    return dataclasses.replace(model, read=read)


@pytest.mark.parametrize("recipe", GAMES)
def test_one_word_gets_all_and_no_word_nothing(recipe: str) -> None:
    model = tiny.bert(torch.float64)
    one = saliently.explain(model, "bad", recipe)
    pairs = one.quantity == "interaction"
    if parse(recipe).name in ("shapley", "owen", "banzhaf", "shapley-interaction", "banzhaf-interaction"):
        assert one.by_token.sum() == pytest.approx(one.values[0] - one.nothing[0])
    none = saliently.explain(wordless(model), "bad", recipe)
    assert none.scores.shape == ((3, 3) if pairs else (3,))
    assert not none.scores.any()
    assert none.values == pytest.approx(one.values)


@pytest.mark.parametrize("recipe", GAMES)
def test_several_texts_together_are_each_alone(recipe: str) -> None:
    model, texts = tiny.bert(torch.float64), [LONG, "bad", TEXT]
    for text, one in zip(texts, saliently.explain(model, texts, recipe), strict=True):
        alone = saliently.explain(model, text, recipe)
        np.testing.assert_allclose(one.scores, alone.scores, atol=1e-8)
        assert one.checks.forward_rows == alone.checks.forward_rows


@pytest.mark.parametrize("recipe", ["shapley", "owen", "lime(samples=300)", "archipelago", "shapley-interaction"])
def test_no_coalition_of_a_text_is_run_twice(recipe: str) -> None:
    seen: list[str] = []
    found = saliently.explain(spelled(seen), [TEXT, "so bad that it's good"], recipe)
    assert len(seen) == len(set(seen)) == sum(one.checks.forward_rows for one in found) > 50


def test_equal_samples_are_run_once() -> None:
    found = saliently.explain(tiny.bert(), "It's so bad", "lime(samples=5000)")
    assert found.checks.forward_rows == 2 ** len(found.words())


def test_rows_of_many_texts_share_their_batches() -> None:
    texts = [LONG, TEXT, "bad", "It's so bad that it's good"]
    asked, batches = tiny.bert(), []

    def forward(batch: Batch) -> Tensor:
        batches.append(len(batch.ids))
        return asked.forward(batch)

    model = dataclasses.replace(asked, forward=forward)
    saliently.explain(model, texts, "shapley(how='kernel', most=100)")
    together = len(batches)
    batches.clear()
    for text in texts:
        saliently.explain(model, text, "shapley(how='kernel', most=100)")
    assert together < 0.6 * len(batches)


def test_outputs_of_one_text_share_their_rows() -> None:
    from tests.test_place_heads import tagger  # a word of each place is another question about the same text

    asked, ran = tagger(), []
    found = saliently.explain_each(asked, "so very good", "shapley", options=saliently.Options(tick=ran.append))
    assert len(found) == 3
    assert sum(ran) == 8


@pytest.mark.parametrize("by", ["unit", "token"])
def test_players_are_words_or_tokens(by: str) -> None:
    found = saliently.explain(tiny.bert(torch.float64), "wittier film", f"shapley(by={by!r})")
    pieces = found.tokens.pieces_of
    players = len(pieces) if by == "unit" else sum(found.tokens.words)
    assert found.checks.forward_rows == 2**players
    longest = max(pieces.values(), key=len)
    assert len(longest) > 1
    assert (len({float(found.scores[i]) for i in longest}) == 1) == (by == "unit")


def test_segments_of_2000_words_are_a_dozen_players() -> None:
    text = " ".join("This film is not so bad. I liked it!" for _ in range(3)) + " word" * 2000
    options = saliently.Options(units="sentence")
    found = saliently.explain("bilstm", text, "shapley", options=options)
    assert len(found.words()) == 6 + 1
    assert found.checks.forward_rows == 2**7
    assert found.scores.sum() == pytest.approx(found.values[0] - found.nothing[0], abs=1e-4)
    segments = {"text": [(0, 50), (50, 120), (120, len(text))]}
    own = saliently.explain("bilstm", text, "owen", options=saliently.Options(units=segments))
    assert len(own.words()) == 3


def test_2000_words_one_by_one_end_with_an_answer_or_an_error() -> None:
    text = "good bad film " * 667
    with pytest.raises(saliently.RecipeError, match=r"2001 players .* 4036 rows at least.*larger units"):
        saliently.explain("bilstm", text, "shapley(most=500)")
    some = saliently.explain("bilstm", text, "banzhaf(most=40)")
    assert np.isfinite(some.scores).all()
    assert some.checks.forward_rows == 40
    with pytest.raises(saliently.RecipeError, match="rows are needed for 2001 players; 4096 may be spent"):
        saliently.explain("bilstm", text, "archipelago")


def test_pairs_of_too_many_players_are_refused_before_anything_is_spent() -> None:
    asked: list[int] = []

    def game(keep: np.ndarray) -> np.ndarray:
        asked.append(len(keep))
        return keep.sum(1)

    with pytest.raises(saliently.RecipeError, match=r"pairs of 400 players .* up to 150 players"):
        saliently.solve(game, 400, "shapley-interaction")
    assert sum(asked) == 2


def test_a_repeated_word_is_one_player_of_lime() -> None:
    text = "good film , good scene , bad end"
    merged = saliently.explain(tiny.bert(torch.float64), text, "lime(samples=None)")
    apart = saliently.explain(tiny.bert(torch.float64), text, "lime(samples=None, bow=False)")
    scores = {word.text: word.score for word in merged.words()}
    assert [word.score for word in merged.words() if word.text == "good"] == [scores["good"]] * 2
    first, second = (word.score for word in apart.words() if word.text == "good")
    assert first != second
    assert merged.checks.forward_rows == 2**6
    assert apart.checks.forward_rows == 2**8


def test_sampling_stops_when_the_error_is_small_enough() -> None:
    model = tiny.bert(torch.float64)
    rough, fine = (saliently.explain(model, LONG, f"shapley(tolerance={t})") for t in (0.2, 0.01))
    assert fine.checks.error <= 0.01 < rough.checks.error <= 0.2
    assert fine.checks.forward_rows > rough.checks.forward_rows
    assert not fine.checks.failed
    change = abs(fine.values[0] - fine.nothing[0])
    assert np.abs(rough.scores - fine.scores).max() < 4 * rough.checks.error * change
    assert len(fine.checks.errors) == len(fine.scores)
    assert max(fine.checks.errors) <= 0.01 * change


def test_a_budget_that_ends_first_is_flagged() -> None:
    found = saliently.explain(tiny.bert(), LONG, "shapley(tolerance=0.001, most=150)")
    assert found.checks.forward_rows <= 150
    assert any("over the tolerance of 0.1%" in said for said in found.checks.failed)
    assert found.scores.sum() == pytest.approx(found.values[0] - found.nothing[0], abs=1e-4)


def test_time_that_is_up_ends_sampling_with_what_there_is() -> None:
    options = saliently.Options(seconds=1e-9)
    found = saliently.explain(tiny.bert(), [LONG, TEXT], "shapley(tolerance=0.0001, how='kernel')", options=options)
    free = saliently.explain(tiny.bert(), LONG, "shapley(tolerance=0.0001, how='kernel', most=1000)")
    assert found[0].checks.failed
    assert found[0].checks.forward_rows < free.checks.forward_rows
    cut = saliently.explain(tiny.bert(), LONG, "lime(samples=3000)", options=options)
    assert any("of 3000 samples" in note for note in cut.checks.notes)
    with pytest.raises(saliently.RecipeError, match="seconds"):
        saliently.Options(seconds=0)


def test_the_error_is_told_while_it_shrinks() -> None:
    told: list[float] = []
    rows: list[int] = []
    options = saliently.Options(error=told.append, tick=rows.append)
    found = saliently.explain(tiny.bert(), LONG, "shapley(tolerance=0.02)", options=options)
    assert told
    assert told[-1] > found.checks.error
    assert sum(rows) == found.checks.forward_rows


@pytest.mark.parametrize("recipe", ["shapley(how='kernel')", "shapley(how='permutation')", "lime(samples=50)"])
def test_samples_depend_on_the_seed_and_the_text_alone(recipe: str) -> None:
    one, again, other = (
        saliently.explain(tiny.bert(), LONG, f"{recipe[:-1]}, seed={seed})").scores for seed in (0, 0, 1)
    )
    assert (one == again).all()
    assert (one != other).any()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("shapley(most=1)", "most is 2 rows at least"),
        ("shapley(most=0)", "most is 2 rows at least"),
        ("shapley(tolerance=-1)", "tolerance"),
        ("shapley(by='letter')", "by"),
        ("owen(tree='wood')", "halves"),
        ("lime(samples=1)", "samples"),
        ("lime(features=0)", "feature"),
        ("limsse(longest=0)", "longest"),
        ("context-cite(keep=1.0)", "keep"),
        ("archipelago(groups=-1)", "groups"),
        ("shapley-interaction(index='nii')", "index"),
        ("banzhaf(blank='sample')", "Blank"),
    ],
)
def test_recipes_that_make_no_sense_say_why(recipe: str, said: str) -> None:
    with pytest.raises(saliently.RecipeError, match=said):
        parse(recipe)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ("shapley(most=2)", r"8 players .* 2 rows to spend; it takes 4 players and 50 rows"),
        ("shapley(how='kernel', most=20)", r"20 rows to spend; it takes 4 players and 50 rows"),
        ("shapley(how='permutation', most=20)", r"it takes 30 rows"),
        ("shapley(how='exact', most=100)", "256"),
        ("shapley-interaction(exact=0, most=40)", "50 rows"),
        ("lime(samples=None, most=100)", "128 rows of 100"),
        ("archipelago(most=20)", r"74 rows are needed for 8 players; 20 may be spent"),
        ("owen(tree=((0, 1), 2))", "tree of 8 players"),
        ("owen(tree=((0, 1), (1, 2)))", "tree of 8 players"),
    ],
)
def test_budgets_and_trees_that_don_t_fit_the_text_say_what_would(recipe: str, said: str) -> None:
    with pytest.raises(saliently.RecipeError, match=said):
        saliently.explain(tiny.bert(), TEXT, recipe)


@pytest.mark.parametrize("recipe", [recipe for recipe in GAMES if recipe != "context-cite"])  # asks for log-odds
def test_a_model_that_gives_nan_costs_its_own_text_alone(recipe: str) -> None:
    model = spelled([], lambda text: "movie" in text and "[gone]" in text)
    with pytest.raises(saliently.SomeFailed) as failed:
        saliently.explain(model, [TEXT, "so bad", LONG], recipe)
    assert list(failed.value.finished) == [1, 2]
    assert isinstance(failed.value.failures[0], saliently.NumberError)


def test_a_function_of_texts_plays_too() -> None:
    def score(texts: list[str]) -> list[list[int]]:
        return [[("not" in text) != ("good" in text), 0] for text in texts]

    model = saliently.wrap_function(score, labels=["either", "none"])
    found = saliently.explain(model, "this is not good", "shapley", target="either")
    assert [round(word.score, 9) for word in found.words()] == [0, 0, 0, 0]
    pairs = saliently.explain(model, "this is not good", "shapley-interaction", target="either")
    (strongest, *_) = pairs.top_pairs()
    assert (strongest.first.text, strongest.second.text, strongest.score) == ("not", "good", pytest.approx(-2))


def test_words_keep_the_total_of_pairs_of_tokens() -> None:
    found = saliently.explain(tiny.gpt2(torch.float64), "unforgettable charm", "shapley-interaction(by='token')")
    assert found.scores.shape == (len(found.tokens.ids),) * 2
    assert (found.scores == found.scores.T).all()
    assert found.pairs().sum() == pytest.approx(found.scores.sum())
    assert found.pairs().sum() == pytest.approx(found.values[0] - found.nothing[0])
    (pair,) = found.top_pairs()
    assert pair.score == pytest.approx(2 * found.pairs()[0, 1])
    with pytest.raises(saliently.RecipeError, match="measures saliency"):
        saliently.explain(tiny.gpt2(), "unforgettable charm", "shapley").pairs()


def test_a_game_of_one_s_own() -> None:
    asked: list[int] = []

    def voting(keep: np.ndarray) -> list[bool]:
        asked.extend(keep @ [1, 2, 4])
        return list(keep @ [50, 49, 1] > 50)

    found = saliently.solve(voting, 3)
    np.testing.assert_allclose(found.values, [2 / 3, 1 / 6, 1 / 6])
    assert sorted(asked) == list(range(8))
    named = saliently.solve(voting, ["one", "two", "three"], "banzhaf")
    np.testing.assert_allclose(named.values, [3 / 4, 1 / 4, 1 / 4])


@pytest.mark.parametrize("recipe", [row.name for row in METHODS])
def test_methods_that_play_no_game_say_so(recipe: str) -> None:
    plays = recipe in {parse(each).name for each in GAMES}
    if plays:
        assert np.isfinite(saliently.solve(lambda keep: keep.sum(1) - 0.5, 4, recipe).values).all()
    else:
        with pytest.raises(saliently.RecipeError, match=r"needs a model. Use one of .*shapley"):
            saliently.solve(lambda keep: keep.sum(1), 4, recipe)


@pytest.mark.parametrize(
    ("game", "players", "error", "said"),
    [
        (lambda keep: np.full(len(keep), np.nan), 3, saliently.NumberError, "3 of 3 players"),
        (lambda keep: np.where(keep.any(1), 1.0, np.inf), 3, saliently.NumberError, "0 of 3 players"),
        (lambda keep: keep, 3, saliently.RecipeError, r"shape \(2, 3\)"),
        (lambda keep: 1.0, 3, saliently.RecipeError, "one number for each row"),
        (lambda keep: ["a"] * len(keep), 3, saliently.RecipeError, "one number for each row"),
        (lambda keep: keep.sum(1), 0, saliently.RecipeError, "number from 1 up"),
        (lambda keep: keep.sum(1), "abc", saliently.RecipeError, "number from 1 up"),
    ],
)
def test_games_that_are_none_say_why(game: Any, players: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        saliently.solve(game, players)


def test_a_game_s_own_exception_is_the_user_s() -> None:
    def broken(keep: np.ndarray) -> np.ndarray:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        saliently.solve(broken, 3)


def test_clauses_are_groups() -> None:
    from saliently.methods.clauses import grown

    names = ["Good", ",", "bad", ".", "So", "what", "?"]
    assert grown(names, ["text"] * 7, False) == (((0, 1), (2, 3)), (4, 5, 6))
    assert grown(names, ["a"] * 4 + ["b"] * 3, True) == (((0, 1), (2, 3)), (4, (5, 6)))
    assert grown(["one"], ["text"], True) == 0
    assert grown([".", "."], ["text"] * 2, False) == (0, 1)
