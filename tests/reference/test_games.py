"""Game methods against closed forms from Moebius coefficients; sampled ones against them over many seeds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np
import pytest

import saliently
from tests.reference import moebius

FORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "shapley": moebius.shapley,
    "shapley(how='exact')": moebius.shapley,
    "banzhaf": moebius.banzhaf,
    "shapley-interaction(index='sii')": moebius.sii,
    "shapley-interaction(index='k-sii')": moebius.k_sii,
    "shapley-interaction(index='stii')": moebius.stii,
    "shapley-interaction(index='fsii')": moebius.fsii,
    "banzhaf-interaction": moebius.bii,
    "archipelago": moebius.arch_detect,
    "pairwise-occlusion": moebius.pairwise_occlusion,
}
TREES = {
    3: [((0, 1), 2), (0, 1, 2), (0, (1, 2))],
    6: [((0, 1, 2), (3, 4, 5)), (((0, 5), 2), (1, (3, 4))), (0, 1, 2, 3, 4, 5), ((0, 1), 2, (3, (4, 5)))],
    8: [tuple(range(8)), ((0, 1, 2), ((3, 4), 5), (6, 7)), (((0, 1), (2, 3)), ((4, 5), (6, 7)))],
}


def of(m: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    return lambda keep: moebius.value(m, keep)


@pytest.mark.parametrize("recipe", FORMS)
@pytest.mark.parametrize("players", [1, 2, 3, 5, 8])
def test_exact_methods_equal_their_closed_forms(recipe: str, players: int) -> None:
    m = moebius.random_game(players, seed=players)
    found = saliently.solve(of(m), players, recipe)
    np.testing.assert_allclose(found.values, FORMS[recipe](m), rtol=0, atol=1e-9)
    assert found.errors is None
    assert (found.nothing, found.everything) == pytest.approx((m[0], m.sum()), abs=1e-12)


@pytest.mark.parametrize(("players", "tree"), [(n, tree) for n, trees in TREES.items() for tree in trees])
def test_the_owen_value_shares_each_coefficient_branch_by_branch(players: int, tree: tuple[object, ...]) -> None:
    m = moebius.random_game(players, seed=3)
    found = saliently.solve(of(m), players, f"owen(tree={tree!r})")
    np.testing.assert_allclose(found.values, moebius.owen(m, tree), rtol=0, atol=1e-9)
    assert found.values.sum() == pytest.approx(m.sum() - m[0])
    flat = tree == tuple(range(players))
    assert np.allclose(found.values, moebius.shapley(m)) == flat


def test_the_owen_value_of_halves_takes_few_rows() -> None:
    asked = []

    def additive(keep: np.ndarray) -> np.ndarray:
        asked.append(len(keep))
        return keep @ np.arange(20.0)

    found = saliently.solve(additive, 20, "owen")
    np.testing.assert_allclose(found.values, np.arange(20.0), atol=1e-9)
    assert sum(asked) == found.rows < 330


COMPLETE = [
    "shapley(exact=0, tolerance=0, most=60)",
    "shapley(how='permutation', tolerance=0, most=60)",
    "owen(tree=((0, 1, 2, 3, 4, 5), 6), tolerance=0, most=60)",
    "shapley-interaction(index='k-sii', exact=0, tolerance=0, most=70)",
    "shapley-interaction(index='stii', exact=0, tolerance=0, most=70)",
    "shapley-interaction(index='fsii', exact=0, tolerance=0, most=70)",
]
SAMPLED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    COMPLETE[0]: moebius.shapley,
    COMPLETE[1]: moebius.shapley,
    COMPLETE[2]: lambda m: moebius.owen(m, ((0, 1, 2, 3, 4, 5), 6)),
    "banzhaf(exact=0, tolerance=0, most=60)": moebius.banzhaf,
    COMPLETE[3]: moebius.k_sii,
    COMPLETE[4]: moebius.stii,
    COMPLETE[5]: moebius.fsii,
    "shapley-interaction(index='sii', exact=0, tolerance=0, most=70)": moebius.sii,
    "banzhaf-interaction(exact=0, tolerance=0, most=70)": moebius.bii,
}


@pytest.mark.parametrize("recipe", SAMPLED)
def test_sampling_is_unbiased_and_knows_its_error(recipe: str) -> None:
    """Over 200 seeds: the mean within three of its standard errors of the truth, and intervals of 1.96 reported
    standard errors that hold the truth 90 to 99 times in a hundred."""
    m = moebius.random_game(7, seed=11, fade=0.8)
    game, truth = _table(m), SAMPLED[recipe](m)
    found = [saliently.solve(game, 7, f"{recipe[:-1]}, seed={seed})") for seed in range(200)]
    values, errors = (np.array([getattr(each, name) for each in found]) for name in ("values", "errors"))
    sampled = errors.min(0) > 1e-9  # STII's diagonal is always exact
    assert sampled.any()
    np.testing.assert_allclose(values[:, ~sampled], np.broadcast_to(truth, values.shape)[:, ~sampled], atol=1e-9)
    spread = values.std(0, ddof=1)[sampled] / np.sqrt(len(found))
    assert (np.abs(values.mean(0) - truth)[sampled] <= 3 * spread).all()
    held = (np.abs(values - truth) <= 1.96 * errors)[:, sampled].mean()
    assert 0.90 <= held <= 0.99
    assert all(each.rows <= 70 for each in found)


def _table(m: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The same game, looked up."""
    every = moebius.value(m, np.arange(len(m))[:, None] >> np.arange(7) & 1)
    return lambda keep: every[keep @ (1 << np.arange(7))]


@pytest.mark.parametrize("recipe", COMPLETE)
def test_sampled_numbers_sum_to_the_change_all_the_same(recipe: str) -> None:
    m = moebius.random_game(7, seed=5)
    found = saliently.solve(_table(m), 7, recipe)
    assert found.values.sum() == pytest.approx(m.sum() - m[0], abs=1e-9)
    assert found.error is not None
    assert found.error > 0.01


def test_rows_of_k_sii_sum_to_shapley_values_and_banzhaf_s_to_nothing_in_particular() -> None:
    m = moebius.random_game(6, seed=8)
    for recipe in ("shapley-interaction", "shapley-interaction(exact=0, tolerance=0, most=64)"):
        pairs = saliently.solve(of(m), 6, recipe).values
        assert (pairs == pairs.T).all()
        if "exact" not in recipe:
            np.testing.assert_allclose(pairs.sum(1), moebius.shapley(m), atol=1e-9)
    for recipe in ("banzhaf", "banzhaf-interaction", "shapley-interaction(index='sii')"):
        assert saliently.solve(of(m), 6, recipe).values.sum() != pytest.approx(m.sum() - m[0], rel=0.01)


def test_games_of_players_and_pairs_are_known_from_any_sample() -> None:
    """What the surrogate can say it says exactly, so that the error is 0."""
    m = moebius.random_game(7, seed=2)
    m[[s for s in range(128) if moebius.size(s) > 2]] = 0
    for recipe, form in SAMPLED.items():
        if "owen" not in recipe and "permutation" not in recipe and "banzhaf(" not in recipe:
            found = saliently.solve(_table(m), 7, recipe.replace("most=60", "most=100").replace("most=70", "most=100"))
            np.testing.assert_allclose(found.values, form(m), atol=1e-5)


def lime_by_hand(m: np.ndarray, features: int | None) -> np.ndarray:
    """Weighted least squares over all coalitions; a number of players, 1 to n, is taken away, and then which."""
    n = moebius.number(m)
    rows, weight = [], []
    for kept in range(n):
        for inside in combinations(range(n), kept):
            rows.append([1.0, *(float(i in inside) for i in range(n))])
            distance = 100 * (1 - (kept / n) ** 0.5)
            weight.append(1 / n / comb(n, kept) * np.exp(-(distance**2) / 25**2) ** 0.5)
    x, w = np.array(rows), np.sqrt(np.array(weight))[:, None]
    y = moebius.value(m, x[:, 1:].astype(int))[:, None]
    every = np.linalg.lstsq(x * w, y * w, rcond=None)[0][1:, 0]
    if features is None:
        return every
    chosen = np.sort(np.argsort(-np.abs(every))[:features])
    some = x[:, [0, *(chosen + 1)]]
    found = np.zeros(n)
    found[chosen] = np.linalg.lstsq(some * w, y * w, rcond=None)[0][1:, 0]
    return found


def test_lime_s_limit_is_weighted_least_squares_with_the_sampler_s_own_weights() -> None:
    m = moebius.random_game(6, seed=4)
    every = saliently.solve(of(m), 6, "lime(samples=None)").values
    np.testing.assert_allclose(every, lime_by_hand(m, None), rtol=0, atol=1e-9)
    three = saliently.solve(of(m), 6, "lime(samples=None, features=3, selection='highest-weights')").values
    np.testing.assert_allclose(three, lime_by_hand(m, 3), rtol=0, atol=1e-9)
    many = saliently.solve(of(m), 6, "lime(samples=60000)")
    np.testing.assert_allclose(many.values, every, atol=0.1 * np.abs(every).max())
    assert many.rows == 64


def test_lime_chooses_forward_the_set_that_fits_best_player_by_player() -> None:
    """In a game of single players alone the largest come first, whatever way they are chosen."""
    worth = np.array([0.1, -5.0, 0.2, 3.0, 0.0, 1.0])
    for way in ("forward", "highest-weights", "auto"):
        found = saliently.solve(lambda keep: keep @ worth, 6, f"lime(samples=None, features=2, selection={way!r})")
        assert np.flatnonzero(found.values).tolist() == [1, 3]
        assert found.fit < 1
    assert saliently.solve(lambda keep: keep @ worth, 6, "lime(samples=None)").fit == pytest.approx(1)


def test_lime_says_where_other_samples_would_name_other_players() -> None:
    worth = np.array([5.0, 4, 3, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.01, 0.01, 0.01])
    firm = saliently.solve(lambda keep: keep @ worth, 12, "lime(samples=2000)")
    noise = np.random.default_rng(0).normal(size=2**12)
    loose = saliently.solve(lambda keep: noise[keep @ (1 << np.arange(12))], 12, "lime(samples=60)")
    assert firm.stability == pytest.approx(1)
    assert loose.stability < 0.7
    others = [
        saliently.solve(lambda keep: noise[keep @ (1 << np.arange(12))], 12, f"lime(samples=60, seed={seed})").values
        for seed in range(20)
    ]
    strongest = [set(np.argsort(-np.abs(each))[:5].tolist()) for each in others]
    jaccard = np.mean([len(a & b) / len(a | b) for a, b in combinations(strongest, 2)])
    assert loose.stability == pytest.approx(jaccard, abs=0.3)


def test_limsse_is_least_squares_over_substrings() -> None:
    m = moebius.random_game(6, seed=9)
    rows, weight = [], []
    for length in (1, 2, 3):
        for start in range(7 - length):
            rows.append([1.0, *(float(start <= i < start + length) for i in range(6))])
            weight.append(1 / (7 - length))
    x, w = np.array(rows), np.sqrt(np.array(weight))
    y = moebius.value(m, x[:, 1:].astype(int))
    expected = np.linalg.lstsq(x * w[:, None], y * w, rcond=None)[0][1:]
    found = saliently.solve(of(m), 6, "limsse(longest=3)")
    np.testing.assert_allclose(found.values, expected, atol=1e-9)
    assert found.rows == len(rows) + 2


def test_context_cite_without_a_penalty_tends_to_the_banzhaf_value() -> None:
    m = moebius.random_game(6, seed=6, fade=0.7)
    found = saliently.solve(of(m), 6, "context-cite(ablations=20000, penalty=1e-9)")
    np.testing.assert_allclose(found.values, moebius.banzhaf(m), atol=0.03)
    sparse = saliently.solve(of(m), 6, "context-cite(ablations=2000, penalty=0.3)").values
    assert 0 < (sparse == 0).sum() < 6


def test_archipelago_s_groups_are_worth_what_they_are_alone() -> None:
    """x0 x1 + x1 x2 + 3 x4: the two strongest pairs share player 1, so that three players are one group."""
    found = saliently.solve(
        lambda keep: 1.0 * (keep[:, 0] & keep[:, 1]) + (keep[:, 1] & keep[:, 2]) + 3.0 * keep[:, 4],
        5,
        "archipelago(groups=2)",
    ).values
    expected = np.zeros((5, 5))
    expected[:3, :3] = 2 / 9
    expected[4, 4] = 3
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_and_and_xor_by_arch_detect() -> None:
    both = saliently.solve(lambda keep: keep[:, 0] & keep[:, 1], 2, "archipelago").values
    np.testing.assert_allclose(both, [[0, 0.5], [0.5, 0]])
    either = saliently.solve(lambda keep: keep[:, 0] ^ keep[:, 1], 2, "archipelago").values
    np.testing.assert_allclose(either, [[0, 2], [2, 0]])
