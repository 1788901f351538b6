"""Games by their Moebius coefficients, and what players and pairs are worth in them: the closed forms.

A game is v(T) = sum of m(S) over all S within T. Coalitions are numbers whose bits say who is there.
"""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np


def random_game(players: int, seed: int, fade: float = 1.0) -> np.ndarray:
    """(2^N,) coefficients; those of larger sets are smaller by `fade` a player."""
    drawn = np.random.default_rng(seed).normal(size=2**players)
    return drawn * fade ** np.array([size(s) for s in range(2**players)])


def size(s: int) -> int:
    return bin(s).count("1")


def value(m: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """(M,) of coalitions (M, N)."""
    codes = np.asarray(keep) @ (1 << np.arange(keep.shape[1]))
    return np.array([sum(m[s] for s in range(len(m)) if s & code == s) for code in codes])


def within(m: np.ndarray, *players: int) -> list[tuple[float, int]]:
    """Coefficients of the sets that hold these players, with their sizes."""
    need = sum(1 << i for i in players)
    return [(m[s], size(s)) for s in range(len(m)) if s & need == need]


def number(m: np.ndarray) -> int:
    return len(m).bit_length() - 1


def shapley(m: np.ndarray) -> np.ndarray:
    return np.array([sum(c / t for c, t in within(m, i)) for i in range(number(m))])


def banzhaf(m: np.ndarray) -> np.ndarray:
    return np.array([sum(c / 2 ** (t - 1) for c, t in within(m, i)) for i in range(number(m))])


def owen(m: np.ndarray, tree: object) -> np.ndarray:
    """Each coefficient is shared equally by the branches that its set touches, level by level."""
    found = np.zeros(number(m))

    def members(tree: object) -> int:
        return 1 << tree if isinstance(tree, int) else sum(members(child) for child in tree)  # type: ignore[attr-defined]

    def share(tree: object, s: int, worth: float) -> None:
        if isinstance(tree, int):
            found[tree] += worth
            return
        touched = [child for child in tree if members(child) & s]  # type: ignore[attr-defined]
        for child in touched:
            share(child, s, worth / len(touched))

    for s in range(1, len(m)):
        share(tree, s, m[s])
    return found


def _pairs(m: np.ndarray, worth: object) -> np.ndarray:
    """(N, N) symmetric, a pair's number in both entries."""
    n = number(m)
    found = np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        found[i, j] = found[j, i] = sum(worth(c, t) for c, t in within(m, i, j))  # type: ignore[operator]
    return found


def _shared(first: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    return np.diag(first) + pairs / 2


def sii(m: np.ndarray) -> np.ndarray:
    return _shared(shapley(m), _pairs(m, lambda c, t: c / (t - 1)))


def k_sii(m: np.ndarray) -> np.ndarray:
    """Order 2, with the Bernoulli number B1 = -1/2."""
    pairs = _pairs(m, lambda c, t: c / (t - 1))
    return _shared(shapley(m) - pairs.sum(1) / 2, pairs)


def stii(m: np.ndarray) -> np.ndarray:
    return _shared(np.array([m[1 << i] for i in range(number(m))]), _pairs(m, lambda c, t: c / comb(t, 2)))


def fsii(m: np.ndarray) -> np.ndarray:
    def worth(s: int) -> object:
        factor = (-1) ** (2 - s) * s / (2 + s) * comb(2, s)
        return lambda c, t: c if t == s else (factor * comb(t - 1, 2) / comb(t + 1, 2 + s) * c if t > 2 else 0.0)

    first = np.array([sum(worth(1)(c, t) for c, t in within(m, i)) for i in range(number(m))])  # type: ignore[operator]
    return _shared(first, _pairs(m, worth(2)))


def bii(m: np.ndarray) -> np.ndarray:
    return _shared(banzhaf(m), _pairs(m, lambda c, t: c / 2 ** (t - 2)))


def arch_detect(m: np.ndarray) -> np.ndarray:
    """The mixed difference next to nothing is m(ij); next to all others the sum of all coefficients that hold both."""
    n = number(m)
    alone = np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        alone[i, j] = alone[j, i] = m[1 << i | 1 << j]
    among = _pairs(m, lambda c, t: c)
    return (alone**2 + among**2) / 2 / 2


def pairwise_occlusion(m: np.ndarray) -> np.ndarray:
    lost = np.array([sum(c for c, _ in within(m, i)) for i in range(number(m))])
    pairs = _pairs(m, lambda c, t: c)
    return _shared(lost - pairs.sum(1), pairs)
