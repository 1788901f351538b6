"""Methods that play a game: words are the players, and a coalition is worth what the model says of them alone.

T tokens of a text, N players.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.random import Generator as Random
from torch import Tensor

from saliently import erase
from saliently.errors import RecipeError
from saliently.games.asking import Asking
from saliently.methods import away
from saliently.methods.base import Method, Scores
from saliently.methods.playing import Games
from saliently.methods.seeds import seed_of
from saliently.runner import Runner
from saliently.types import Span, Tokens


@dataclass(frozen=True, eq=False)
class Players:
    """Who plays.

    Attributes: names (N,), the text of each, in order; fields (N,), the field that it stands in; random, where samples
    come from; outputs, numbers that the explained one is a sum of.
    """

    names: tuple[str, ...]
    fields: tuple[str, ...]
    random: Random
    outputs: int = 1

    def __len__(self) -> int:
        return len(self.names)

    @staticmethod
    def named(names: tuple[str, ...], seed: int) -> Players:
        """Players of one field, of whom no more than their names is known."""
        return Players(names, ("",) * len(names), np.random.default_rng(seed_of(seed, names)))


@dataclass(frozen=True, repr=False)
class Played(Method):
    """A method that asks the model about coalitions of words, and of nothing else.

    Attributes: blank, what stands for a word that is not in the coalition; by, who plays: "unit" (words, or what
    `Options.units` names) or "token"; most, how many rows to spend on a text at most; seed, of samples. `adds`: do its
    numbers share out the change from nothing? `complete`: do they sum to it, whatever the game is?
    """

    vectors: ClassVar[bool] = False
    adds: ClassVar[bool] = True
    complete: ClassVar[bool] = False
    blank: str | None = None
    by: Literal["unit", "token"] = "unit"
    most: int = 4096
    seed: int = 0

    def __post_init__(self) -> None:
        if self.blank is not None:
            erase.check_blank(self.blank)
        if self.by not in ("token", "unit"):
            raise RecipeError(f"{self!r} was asked for; by is 'token' or 'unit'.")
        if self.most < 2:
            raise RecipeError(f"{self!r} was asked for; most is 2 rows at least: the text, and nothing of it.")
        self.check()

    def check(self) -> None:
        """Raise RecipeError where fields of its own make no sense."""

    @abstractmethod
    def asking(self, players: Players) -> Asking:
        """The solver of a game of one player or more."""

    @property
    def within(self) -> float | None:
        """The largest standard error that is good enough, as a share of the change; None for methods that don't
        sample until it is."""
        return None

    def start(self, tokens: Tokens, outputs: int) -> Asking:
        """The solver of the game of a text, whose explained number has so many terms."""
        return self.asking(self.players(tokens, outputs))

    def who(self, tokens: Tokens) -> Tensor:
        """(N, T) 1 at the tokens of each player."""
        return away.units(tokens) if self.by == "unit" else away.each(tokens)

    def players(self, tokens: Tokens, outputs: int) -> Players:
        """Who plays the game of a text."""
        spans = self._spans(tokens, self.who(tokens))
        random = np.random.default_rng(seed_of(self.seed, tokens.ids))
        return Players(tuple(map(tokens.text, spans)), tuple(span.field for span in spans), random, outputs)

    def spelled(self, tokens: Tokens) -> list[str]:
        """The texts of units, or tokens, one by one."""
        return [tokens.text(span) for span in self._spans(tokens, Played.who(self, tokens))]

    def _spans(self, tokens: Tokens, who: Tensor) -> list[Span]:
        """(N,) where each player stands; one that is in several places, where the first is."""
        found = []
        for at in who.argmax(1).tolist():
            unit, span = tokens.units[at], tokens.spans[at]
            assert unit is not None
            assert span is not None
            found.append(tokens.parts[unit] if self.by == "unit" else span)
        return found

    def __call__(self, runner: Runner) -> list[Scores]:
        return Games(self, runner).solved()
