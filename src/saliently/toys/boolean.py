"""Games of a few words with exact answers: AND, OR, XOR, majority, products, largest and smallest, sets that interact.

Each is a sum of products over sets S of words, with 1 where a word is there and 0 where the zero vector stands for it:

    f(x) = sum_S m(S) prod_(i in S) x_i

The m(S) are the game's Moebius coefficients (Harsanyi dividends), and give all that is known:

    Shapley value of i            sum over S with i of m(S) / |S|     also its integrated gradient from zero
    occlusion, gradient x input   sum over S with i of m(S)
    interaction of i and j (SII)  sum over S with both of m(S) / (|S| - 1)

The interaction functions are those of Janizek et al. 2020 (multiply, maximum, minimum) and sums of ANDs in the way of
Archipelago's F0 to F4 (Tsang et al. 2020). Departures: words are there or not, where those papers have continuous
inputs; which sets there are is for the caller to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import chain, combinations
from math import prod

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliently.models.base import Model
from saliently.models.plain import wrap
from saliently.toys.reading import vocabulary

Players = frozenset[int]
Floats = NDArray[np.float64]


class _Products(nn.Module):
    """A sum of products of words' presences. Word vectors are (R, T, 1), 1 each; word number i stands at place i."""

    def __init__(self, moebius: Mapping[Players, float], words: int) -> None:
        super().__init__()
        table = torch.ones(words, 1, dtype=torch.float64)
        self.embed = nn.Embedding(words, 1, _weight=table, _freeze=True)
        self.terms = [(sorted(members), worth) for members, worth in moebius.items()]

    def forward(self, ids: Tensor) -> Tensor:
        there = self.embed(ids)[..., 0]
        value = torch.zeros(len(ids), dtype=there.dtype)
        for members, worth in self.terms:
            value = value + reduce(torch.mul, [there[:, i] for i in members]) * worth
        return value[:, None]


@dataclass(frozen=True)
class Game:
    """Attributes: name; words, how many there are; moebius, set of words -> what it adds beyond its subsets."""

    name: str
    words: int
    moebius: Mapping[Players, float]

    @property
    def text(self) -> str:
        """The text in which every word is there: "w0 w1 w2"."""
        return " ".join(f"w{i}" for i in range(self.words))

    @cached_property
    def model(self) -> Model:
        """As a model of `text` with one label, "score", in float64."""
        read = vocabulary({word: i for i, word in enumerate(self.text.split())})
        return wrap(_Products(self.moebius, self.words).eval(), read, "embed", ["score"])

    @property
    def shapley(self) -> Floats:
        """(words,) Shapley values, which integrated gradients from the zero vector must give too."""
        return self._each(lambda size: 1 / size)

    @property
    def marginal(self) -> Floats:
        """(words,) what is lost by each word alone: occlusion, and gradient x input."""
        return self._each(lambda size: 1.0)

    @property
    def interactions(self) -> Floats:
        """(words, words) Shapley interaction index of each pair, whole in both entries; 0 on the diagonal."""
        found = np.zeros((self.words, self.words))
        for members, worth in self.moebius.items():
            for i, j in combinations(sorted(members), 2):
                found[[i, j], [j, i]] += worth / (len(members) - 1)
        return found

    @property
    def interacting(self) -> NDArray[np.bool_]:
        """(words, words) do two words stand in one set?"""
        found = np.zeros((self.words, self.words), bool)
        for members, worth in self.moebius.items():
            for i, j in combinations(sorted(members), 2):
                found[[i, j], [j, i]] |= worth != 0
        return found

    def _each(self, share: Callable[[int], float]) -> Floats:
        found = np.zeros(self.words)
        for members, worth in self.moebius.items():
            found[sorted(members)] += worth * share(len(members))
        return found


def from_function(name: str, words: int, value: Callable[[Players], float]) -> Game:
    """Any game of a handful of words, from what each set of them is worth; 2^words values are asked."""
    every = [frozenset(each) for each in _subsets(range(words))]
    worth = {each: value(each) - value(frozenset()) for each in every}
    # The coefficient of a set is its worth less the coefficients of all its subsets, so that small sets come first.
    moebius: dict[Players, float] = {}
    for each in every:
        moebius[each] = worth[each] - sum(moebius[frozenset(part)] for part in _subsets(each) if len(part) < len(each))
    return Game(name, words, {each: number for each, number in moebius.items() if abs(number) > 1e-12})


def conjunction(words: int) -> Game:
    """AND: 1 if all words are there. Each has 1 / words."""
    return Game("AND", words, {frozenset(range(words)): 1.0})


def disjunction(words: int) -> Game:
    """OR: 1 if any word is there. Each has 1 / words; none is missed alone."""
    return from_function("OR", words, lambda there: float(len(there) > 0))


def parity(words: int) -> Game:
    """XOR: 1 if an odd number of words is there. All share the last word's 1, or 0."""
    return from_function("XOR", words, lambda there: float(len(there) % 2))


def majority(words: int) -> Game:
    """1 if more than half of the words are there."""
    return from_function("majority", words, lambda there: float(2 * len(there) > words))


def multiply(values: Sequence[float]) -> Game:
    """The product of the words' values; one that is gone is 0."""
    return Game("multiply", len(values), {frozenset(range(len(values))): prod(values)})


def largest(values: Sequence[float]) -> Game:
    """The largest value that is there, 0 if none is."""
    return from_function("max", len(values), lambda there: max((values[i] for i in there), default=0.0))


def smallest(values: Sequence[float]) -> Game:
    """The smallest value, where words that are gone are 0."""
    return from_function(
        "min", len(values), lambda there: min(values[i] if i in there else 0.0 for i in range(len(values)))
    )


def sets(words: int, groups: Sequence[Sequence[int]], alone: Sequence[float] = ()) -> Game:
    """A sum of ANDs, one a group, and of what words add alone: which pairs interact is known."""
    terms = {frozenset(group): 1.0 for group in groups}
    for word, worth in enumerate(alone):
        terms[frozenset({word})] = terms.get(frozenset({word}), 0.0) + worth
    return Game("sets", words, terms)


def one_of_each() -> tuple[Game, ...]:
    """A game of each kind."""
    return (
        conjunction(4),
        disjunction(4),
        parity(3),
        majority(5),
        multiply((1.5, -2.0, 0.5)),
        largest((1.0, 2.0, 3.0)),
        smallest((1.0, 2.0, 3.0)),
        sets(7, ((0, 1), (2, 3, 4)), (0.0, 0.5, 0.0, 0.0, -0.5, 1.0, 0.0)),
    )


def _subsets(items: Sequence[int] | range | Players) -> list[tuple[int, ...]]:
    """All subsets, small ones first."""
    known = sorted(items)
    return list(chain.from_iterable(combinations(known, size) for size in range(len(known) + 1)))
