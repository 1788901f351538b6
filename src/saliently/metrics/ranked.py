"""What a metric sees of an explanation: its words with their scores, strongest first.

W words, T tokens, R rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliently.methods.seeds import seed_of
from saliently.types import Explanation, Tokens

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Ranked:
    """The words of one explanation.

    Attributes:
        explanation: where they come from.
        scores: (W,) of the words that are asked about, in order of the text, signed where the quantity is.
        tie: (W,) numbers that order words of equal scores; drawn at random, so that a method which cannot tell words
            apart gets what chance gets, and not what the order of the text is worth.
    """

    explanation: Explanation
    scores: Floats
    tie: Floats

    @staticmethod
    def of(explanation: Explanation, seed: int, seen: NDArray[np.bool_] | None = None) -> Ranked:
        """The words of an explanation, ranked as `order` says; of them those that are `seen`, or all."""
        scores = np.array([unit.score for unit in explanation.words()], np.float64)
        tie = generator(seed, explanation.tokens).random(len(scores))
        return Ranked(explanation, scores, tie) if seen is None else Ranked(explanation, scores[seen], tie[seen])

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(W,) numbers of the words, strongest first: by signed score where scores have a sign, since then a word that
        lowers the target is no reason for it."""
        return np.lexsort((self.tie, -self.scores))

    def shuffled(self, draw: int, seed: int) -> Ranked:
        """The same scores on the words in a random order: the control of metrics that read scores."""
        shuffle = generator(seed, self.explanation.tokens, 1 + draw)
        return replace(self, scores=shuffle.permutation(self.scores), tie=shuffle.random(len(self.tie)))

    def at_random(self, draw: int, seed: int) -> Ranked:
        """The words in a random order, which depends on the text alone: the control of metrics of order."""
        order = generator(seed, self.explanation.tokens, 1 + draw).permutation(len(self.scores))
        return replace(self, scores=order.astype(np.float64))

    def first(self, k: int) -> NDArray[np.bool_]:
        """(W,) is it one of the k strongest?"""
        found = np.zeros(len(self.scores), bool)
        found[self.order[:k]] = True
        return found


def generator(seed: int, tokens: Tokens, draw: int = 0) -> np.random.Generator:
    """Chance that depends on the text, and not on its place among others."""
    return np.random.default_rng(seed_of(int(seed), draw, tokens.ids))


def members(tokens: Tokens) -> Tensor:
    """(W, T) 1 where a token is a piece of a word."""
    pieces = tokens.pieces_of
    who = torch.zeros(len(pieces), len(tokens.ids))
    for word, unit in enumerate(sorted(pieces)):
        who[word, pieces[unit]] = 1.0
    return who


def rows(tokens: Tokens, keep: Floats) -> Tensor:
    """(R, T) float64, how much of each token is kept, from how much of each word is (R, W); special tokens stay."""
    return 1.0 - torch.from_numpy(1.0 - keep) @ members(tokens).double()
