"""The fewest words without which a model decides otherwise."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.methods.minimal import MinimalErasure
from saliently.models.base import Model
from saliently.types import Explanation
from tests.writers import chances, gpt2

TEXT = "A gorgeous, witty, seductive movie."
GIVEN = {"prompt": "A gorgeous, witty movie", "response": " is wonderful."}


class There(nn.Module):
    """The first logit is a function of which words are there, (R, N) of 0 and 1; the second is always one number."""

    def __init__(self, function: Callable[[Tensor], Tensor], many: int, other: float) -> None:
        super().__init__()
        self.function, self.other = function, other
        self.embed = nn.Embedding.from_pretrained(torch.ones(many, 1, dtype=torch.float64))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        value = self.function(self.embed(ids)[..., 0])
        return torch.stack([value, torch.full_like(value, self.other)], -1)


def decides(function: Callable[[Tensor], Tensor], many: int, other: float = 0.0) -> Model:
    """Every second sign is a word."""

    def read(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return list(range(many)), [(2 * i, 2 * i + 1) for i in range(many)]

    return saliently.wrap(There(function, many, other), read, embedding="embed", labels=["f", "0"])


def boolean(function: Callable[[Tensor], Tensor], many: int) -> Model:
    """True above a half."""
    return decides(lambda x: function(x) - 0.5, many)


def find(model: Model, many: int, method: MinimalErasure, label: str | None = "f") -> Explanation:
    return saliently.explain(model, "a " * many, method, label)


@pytest.mark.parametrize("exact", [12, 0])
def test_words_that_are_all_needed_any_of_which_will_do_and_a_majority(exact: int) -> None:
    method = MinimalErasure("zero", exact)
    assert find(boolean(lambda x: x.prod(1), 6), 6, method).scores.tolist() == [1, 0, 0, 0, 0, 0]
    assert find(boolean(lambda x: x.amax(1), 6), 6, method).scores.tolist() == [1] * 6
    vote = find(boolean(lambda x: (x.mean(1) > 0.5).double(), 7), 7, method)
    assert int(vote.scores.sum()) == 4
    assert vote.values[0] == pytest.approx(0.5)
    assert vote.quantity == "selection"
    assert vote.grouping == "max"
    said = {
        12: "No smaller set of words does that; all were tried.",
        0: "another, smaller set of more than 1 may exist.",
    }
    assert vote.checks.notes[0].endswith(said[exact])


@pytest.mark.parametrize("seed", range(12))
def test_on_any_function_of_words_it_is_brute_force_or_can_t_be_made_smaller(seed: int) -> None:
    many = 5
    table = torch.rand(2**many, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1
    table += 0.7 * (seed % 3)  # so that some smallest sets have more than one word, or there is none
    table[-1] = 1.0
    bits = 2 ** torch.arange(many)

    def worth(x: Tensor) -> Tensor:
        return table[(x.round().long() * bits).sum(1)] + 0.5

    def left(gone: tuple[int, ...]) -> float:
        return float(table[2**many - 1 - sum(2**i for i in gone)])

    model = boolean(worth, many)
    sets = [gone for size in range(1, many + 1) for gone in combinations(range(many), size)]
    flips = [gone for gone in sets if left(gone) < 0]
    size = min(map(len, flips), default=0)
    best = min((gone for gone in flips if len(gone) == size), key=left, default=())
    found = find(model, many, MinimalErasure("zero"))
    assert np.flatnonzero(found.scores).tolist() == list(best)
    greedy = find(model, many, MinimalErasure("zero", exact=0))
    gone = tuple(np.flatnonzero(greedy.scores).tolist())
    if gone:
        assert left(gone) < 0
        assert not any(left(tuple(set(gone) - {i})) < 0 for i in gone if len(gone) > 1)
        assert f"{1.0:.4g} becomes {left(gone):.4g}" in greedy.checks.notes[0]
        said = "No smaller set" in greedy.checks.notes[0]
        assert not said or len(gone) == size
    else:
        assert "other sets may flip it" in greedy.checks.notes[0]


def test_where_nothing_flips_the_decision_no_word_is_marked() -> None:
    for exact, said in ((12, "all sets were tried"), (0, "Word by word all were taken away")):
        found = find(boolean(lambda x: 1 + x.sum(1), 4), 4, MinimalErasure("zero", exact))
        assert not found.scores.any()
        assert said in found.checks.notes[0]
        assert "No word is marked." in found.checks.notes[0]
    even = find(decides(lambda x: x.sum(1) * 0, 3), 3, MinimalErasure("zero"))
    assert not even.scores.any()
    assert "of two minds" in even.checks.notes[0]


def test_without_which_words_a_class_would_be_chosen() -> None:
    """A class that is not predicted: its margin is below 0, and is to rise above it."""
    model = boolean(lambda x: 1.0 - x[:, 1] * x[:, 2], 4)
    found = find(model, 4, MinimalErasure("zero"), "f")
    assert found.values[0] == pytest.approx(-0.5)
    assert found.scores.tolist() == [0, 1, 0, 0]
    assert "-0.5 becomes 0.5" in found.checks.notes[0]


def test_long_texts_are_searched_within_their_rows() -> None:
    """Of 2,000 words 30 must go; ranking them all again after each would take 60,000 rows."""
    many, chosen = 2000, set(range(100, 1600, 50))

    weight = torch.tensor([0.1 if i in chosen else 0.0 for i in range(many)], dtype=torch.float64)
    model = decides(lambda x: x @ weight - 0.05, many)
    found = find(model, many, MinimalErasure("zero"))
    assert set(np.flatnonzero(found.scores).tolist()) == chosen
    assert found.checks.forward_rows <= 4097
    assert "None of them can be put back" in found.checks.notes[0]
    short = find(model, many, MinimalErasure("zero", most=2023))
    assert set(np.flatnonzero(short.scores).tolist()) >= chosen
    assert "The rows were spent" in short.checks.notes[0]
    assert short.checks.forward_rows <= 2024
    with pytest.raises(saliently.RecipeError, match="A search among 2000 words within 2022 rows was asked for"):
        find(model, many, MinimalErasure("zero", most=2022))


def test_all_sets_of_some_sizes_may_be_too_many() -> None:
    """Of 14 words half must stay; the rows do for sets of up to 3."""
    vote = boolean(lambda x: (x.mean(1) >= 0.5).double(), 14)
    for most, tried in ((600, 3), (480, 2)):
        found = find(vote, 14, MinimalErasure("zero", exact=14, most=most))
        assert int(found.scores.sum()) == 8
        assert f"another, smaller set of more than {tried} may exist" in found.checks.notes[0]
        assert found.checks.forward_rows <= most + 1


def test_many_words_that_are_not_needed_are_put_back_at_little_cost() -> None:
    """The first 200 of 800 words count for more by themselves; only all of the next 5 together flip the decision."""

    def worth(x: Tensor) -> Tensor:
        away = 1 - x
        small = 0.002 * away[:, :200].sum(1) + 0.001 * away[:, 200:205].sum(1)
        return 1.0 - small - 2.0 * away[:, 200:205].prod(1)

    found = find(decides(worth, 800), 800, MinimalErasure("zero", most=2000))
    assert np.flatnonzero(found.scores).tolist() == [200, 201, 202, 203, 204]
    assert found.checks.forward_rows <= 1 + 800 + 20 + 205 + 200 + 5


def test_the_shortest_beginning_is_found_before_words_are_put_back() -> None:
    many, least = 1000, 600
    weight = torch.tensor([1.0] * least + [0.0] * (many - least), dtype=torch.float64)
    found = find(decides(lambda x: x @ weight - 0.5, many), many, MinimalErasure("zero", most=2600))
    assert np.flatnonzero(found.scores).tolist() == list(range(least))
    assert found.checks.forward_rows <= 1 + many + 20 + least


def test_what_is_added_too_early_is_put_back() -> None:
    """Greed takes a, which leaves least of all single words; c and d do without it."""

    def worth(x: Tensor) -> Tensor:
        a, c, d = 1 - x[:, 0], 1 - x[:, 2], 1 - x[:, 3]
        return 1.0 - 0.5 * a - 0.4 * c - 0.4 * d - 0.7 * c * d

    found = find(decides(worth, 5), 5, MinimalErasure("zero", exact=0))
    assert np.flatnonzero(found.scores).tolist() == [2, 3]
    assert "1 becomes -0.5. No smaller set" in found.checks.notes[0]


def test_a_model_that_judges_each_label_by_itself_decides_by_the_sign_of_its_logit() -> None:
    """Whatever it says of another label, which is far larger here."""
    model = decides(lambda x: 2 * x[:, 1] * x[:, 3] - 0.5, 4, other=9.0)
    found = find(dataclasses.replace(model, link="sigmoid"), 4, MinimalErasure("zero"))
    assert found.target.against is None
    assert found.values[0] == pytest.approx(1.5)
    assert found.scores.tolist() == [0, 1, 0, 0]
    never = find(model, 4, MinimalErasure("zero"))
    assert never.values[0] == pytest.approx(-7.5)
    assert not never.scores.any()


def test_a_function_of_texts_decides_by_its_largest_score() -> None:
    def count(texts: list[str]) -> list[list[float]]:
        return [[float(text.split().count("good")), 0.5, 0.0] for text in texts]

    model = saliently.wrap_function(count, ["good", "neither", "bad"])
    found = saliently.explain(model, "good film and good fun", MinimalErasure())
    assert found.target.describe() == "the output of good less that of the next best class"
    assert [unit.text for unit in found.words() if unit.score] == ["good", "good"]
    with pytest.raises(saliently.RecipeError, match="whose output is a number and no class"):
        saliently.explain(saliently.wrap_function(lambda texts: [[1.0]] * len(texts), ["a"]), TEXT, MinimalErasure())


def test_a_response_is_one_decision_a_token() -> None:
    model = gpt2()
    with pytest.raises(saliently.RecipeError, match=r"tokens of the response.*Say which, with at="):
        saliently.explain(model, GIVEN, MinimalErasure())
    every = saliently.explain_each(model, GIVEN, MinimalErasure("zero"))
    for n, each in enumerate(every):
        first = each.tokens.response
        assert first is not None
        said = chances(model, each.tokens.ids)[first + n - 1]
        own = each.tokens.ids[first + n]
        rival = max(float(p) for i, p in enumerate(said) if i != own)
        assert each.values[0] == pytest.approx(float(said[own]) - rival, abs=1e-4)
        assert not each.scores[first + n :].any()
        words_before = len({unit for unit in each.tokens.units[: first + n] if unit is not None})
        assert each.checks.forward_rows <= 2**words_before
