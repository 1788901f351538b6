"""Solvers that know from the start which coalitions they need.

N players.
"""

from __future__ import annotations

import numpy as np

from saliently.errors import RecipeError
from saliently.games.asking import Asking, Keep, Request, Solution, Values, check_budget, ends, whole
from saliently.games.indices import Index, exact

_MOST_EXACT = 20
_ROUNDING = 1e-10
"""Share of the squared values below which a strength is taken for rounding (of float32)."""


def exactly(players: int, index: Index) -> Asking:
    """An index from all 2^N coalitions.

    Raises:
        RecipeError: there are more of them than may be asked.
    """
    answer = yield Request(ends(players))
    if players > _MOST_EXACT or 2**players - 2 > answer.left:
        raise RecipeError(
            f"The exact value of {players} players was asked for, with {answer.left + 2} rows to spend; it takes "
            f"{2**players}. Let it be sampled, allow more rows, or let larger units be the players."
        )
    told = (yield Request(whole(players))).values
    return Solution(exact(told, players, index), float(told[-1]), float(told[0]))


def without(players: int) -> Asking:
    """(N, N) what pairs do together next to all others: v(all) - v(all but i) - v(all but j) + v(all but both). On the
    diagonal v(all) - v(all but i), less half of the pairs that i is in: the second-order guess at v(all) - v(none)."""
    answer = yield Request(ends(players))
    everything, nothing = answer.values
    check_budget(2 + players * (players + 1) // 2, answer.left + 2, players)
    single, pairs = _singles_and_pairs(players)
    told = (yield Request(~np.concatenate([single, pairs]))).values
    lost = everything - told[:players]
    both = _matrix(everything - told[players:], players)
    together = lost[:, None] + lost[None, :] - both
    np.fill_diagonal(together, 0.0)
    return Solution(together / 2 + np.diag(lost - together.sum(1)), float(everything), float(nothing))


def arch_detect(players: int) -> Asking:
    """(N, N) strength of pairs: the mean of the squared mixed differences next to none and next to all others (Tsang et
    al. 2020, ArchDetect), shared by the two entries; 0 on the diagonal."""
    answer = yield Request(ends(players))
    everything, nothing = answer.values
    if players > 3:  # of fewer players some coalitions are the rest of others
        check_budget(2 + players * (players + 1), answer.left + 2, players)
    single, pairs = _singles_and_pairs(players)
    both = np.concatenate([single, pairs])
    told = (yield Request(np.concatenate([both, ~both]))).values
    alone = _mixed(told[: len(both)], float(nothing), players)
    among = _mixed(told[len(both) :], float(everything), players)
    strength = (np.square(alone) + np.square(among)) / 2
    return Solution(strength / 2, float(everything), float(nothing))


def arch_attribute(players: int, groups: int) -> Asking:
    """(N, N) what groups add by themselves: v(group) - v(none), spread over the entries of the group (Tsang et al.
    2020, ArchAttribute). The `groups` strongest pairs of ArchDetect are joined where they share a player; what is in
    none is a group of its own."""
    found = yield from arch_detect(players)
    real = _ROUNDING * max(abs(found.everything), abs(found.nothing)) ** 2
    union = np.array(_groups(np.where(found.values > real, found.values, 0.0), groups))
    told = (yield Request(union)).values - found.nothing
    values = np.zeros((players, players))
    for members, worth in zip(union, told, strict=True):
        values[np.ix_(members, members)] = worth / members.sum() ** 2
    return Solution(values, found.everything, found.nothing)


def _groups(strength: Values, many: int) -> list[Keep]:
    """Disjoint groups (N,): the strongest pairs, joined where they overlap, and single players."""
    players = len(strength)
    first, second = np.triu_indices(players, 1)
    order = np.argsort(-strength[first, second], kind="stable")[:many]
    found = [np.eye(players, dtype=bool)[i] for i in range(players)]
    for k in order:
        if strength[first[k], second[k]] > 0:
            touched = [group for group in found if group[first[k]] or group[second[k]]]
            union = np.logical_or.reduce(touched)
            found = [group for group in found if not (group & union).any()] + [union]
    return sorted(found, key=lambda group: int(group.argmax()))


def _singles_and_pairs(players: int) -> tuple[Keep, Keep]:
    """(N, N) coalitions of one, and (N (N - 1) / 2, N) of two."""
    single = np.eye(players, dtype=bool)
    first, second = np.triu_indices(players, 1)
    return single, single[first] | single[second]


def _matrix(pairs: Values, players: int) -> Values:
    """(N, N) symmetric, 0 on the diagonal, from one number a pair."""
    found = np.zeros((players, players))
    found[np.triu_indices(players, 1)] = pairs
    return found + found.T


def _mixed(told: Values, base: float, players: int) -> Values:
    """(N, N) v(ij) - v(i) - v(j) + v(base), from singles, then pairs."""
    single = told[:players]
    found = _matrix(told[players:], players) - single[:, None] - single[None, :] + base
    np.fill_diagonal(found, 0.0)
    return found
