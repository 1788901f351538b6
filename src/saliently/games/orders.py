"""Shapley and Owen values: what a player adds to those before it, over orders of the players.

With a tree only orders count in which each group stays together (Owen 1977; of nested groups Winter 1989): the Owen
value. A tree with one group is no restriction: the Shapley value (Shapley 1953; sampled: Castro et al. 2009). Orders
come with their reversals (Mitchell et al. 2022), and a coalition that two orders share is asked once.

N players.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.random import Generator as Random
from scipy.special import stdtrit

from saliently.errors import RecipeError
from saliently.games.asking import Asking, Keep, Request, Solution, Values, ends, share
from saliently.games.trees import Tree, contexts, members, order, orders

_FEWEST = 8
"""Orders, with their reversals, before an error is estimated."""


def owen(tree: Tree, players: int, exact: int, tolerance: float, random: Random) -> Asking:
    """The Owen value: exact if it takes at most `exact` rows, else sampled until the largest standard error is within
    `tolerance` of the change, or nothing is left to spend.

    Raises:
        RecipeError: too small a budget for two orders.
    """
    if contexts(tree) <= exact:
        return owen_exact(tree, players)
    return by_orders(tree, players, tolerance, random)


def owen_exact(tree: Tree, players: int) -> Asking:
    """The Owen value from all the coalitions that it looks at."""
    parts = list(_steps(tree, players, [(np.zeros(players, dtype=bool), 1.0)]))
    before = np.array([step[1] for step in parts]).reshape(len(parts), players)
    after = np.array([step[2] for step in parts]).reshape(len(parts), players)
    told = (yield Request(np.concatenate([ends(players), before, after]))).values
    added = told[2 + len(parts) :] - told[2 : 2 + len(parts)]
    values = np.zeros(players)
    np.add.at(values, [step[0] for step in parts], added * np.array([step[3] for step in parts]))
    return Solution(values, float(told[0]), float(told[1]))


def _steps(tree: Tree, players: int, outside: list[tuple[Keep, float]]) -> Iterator[tuple[int, Keep, Keep, float]]:
    """(player, coalition without it, with it, weight) of each player of a tree; `outside` are the coalitions beside the
    tree, with their weights."""
    if isinstance(tree, int):
        with_it = members(tree, players)
        for keep, weight in outside:
            yield tree, keep, keep | with_it, weight
        return
    groups = [members(child, players) for child in tree]
    for k, child in enumerate(tree):
        others = groups[:k] + groups[k + 1 :]
        beside = [
            (keep | joined, weight * share_) for keep, weight in outside for joined, share_ in _subsets(others, players)
        ]
        yield from _steps(child, players, beside)


def _subsets(groups: list[Keep], players: int) -> Iterator[tuple[Keep, float]]:
    """All unions of groups, each with how likely it is to stand before one more group in a random order."""
    many = len(groups)
    for number in range(2**many):
        chosen = [group for k, group in enumerate(groups) if number >> k & 1]
        union = np.logical_or.reduce(chosen) if chosen else np.zeros(players, dtype=bool)
        yield union, _weight(len(chosen), many)


def _weight(before: int, others: int) -> float:
    found = 1.0 / (others + 1)
    for k in range(before):
        found *= (k + 1) / (others - k)
    return found


def by_orders(tree: Tree, players: int, tolerance: float, random: Random) -> Asking:
    """Sample orders that keep the groups of the tree together.

    Raises:
        RecipeError: too small a budget for two orders.
    """
    answer = yield Request(ends(players))
    everything, nothing = answer.values
    per_pair = 2 * (players - 1)
    if answer.left < 2 * per_pair:
        raise RecipeError(
            f"Orders of {players} players were asked for, with {answer.left + 2} rows to spend; it takes "
            f"{2 * per_pair + 2} rows at least. Allow more rows, or let larger units be the players."
        )
    found: list[Values] = []
    error, most = None, 4 * orders(tree) if players < 20 else None
    while True:
        many = min(max(1, _FEWEST - len(found)) if error is None else max(1, len(found) // 4), answer.left // per_pair)
        drawn = [order(tree, random) for _ in range(many)]
        keep = np.concatenate([prefixes(each) for one in drawn for each in (one, one[::-1])])
        answer = yield Request(keep, error)
        for one, told in zip(drawn, answer.values.reshape(many, 2, players - 1), strict=True):
            there, back = _added(one, told[0], everything, nothing), _added(one[::-1], told[1], everything, nothing)
            found.append((there + back) / 2)
        every = np.array(found)
        errors = _errors(every)
        error = share(errors, everything - nothing)
        if error <= tolerance or answer.late or answer.left < per_pair or (most is not None and len(found) >= most):
            return Solution(every.mean(0), float(everything), float(nothing), errors)


def _errors(every: Values) -> Values:
    """(N,) standard errors of the mean; of few orders, as much larger as makes their normal intervals honest (t)."""
    many = len(every)
    if many < 2:
        return np.full(every.shape[1], np.inf)
    wider = stdtrit(many - 1, 0.975) / stdtrit(np.inf, 0.975)
    found: Values = wider * every.std(0, ddof=1) / np.sqrt(many)
    return found


def prefixes(one: list[int]) -> Keep:
    """(N - 1, N) the coalitions on the way from nothing to everything, both left out."""
    keep = np.zeros((len(one) - 1, len(one)), dtype=bool)
    for row, player in enumerate(one[:-1]):
        keep[row:, player] = True
    return keep


def _added(one: list[int], told: Values, everything: float, nothing: float) -> Values:
    """(N,) what each player adds to those before it."""
    steps = np.diff(np.concatenate([[nothing], told, [everything]]))
    found = np.empty(len(one))
    found[one] = steps
    return found
