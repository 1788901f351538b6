"""The games of many texts, asked together: each round the coalitions that they all wait for are packed into batches.

T tokens of a text, N players, M coalitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from time import monotonic
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from saliently.checks import Checks, missed
from saliently.errors import NumberError
from saliently.games.asking import Asking, Keep, Play, Solution, Values
from saliently.methods.base import Scores
from saliently.methods.rounding import rounding
from saliently.runner import Runner
from saliently.types import Quantity, Tokens


class Rules(Protocol):
    """What of a method decides over a game; see `saliently.methods.game.Played`."""

    @property
    def quantity(self) -> Quantity: ...
    @property
    def adds(self) -> bool: ...
    @property
    def complete(self) -> bool: ...
    @property
    def blanks(self) -> tuple[str, ...] | None: ...
    @property
    def most(self) -> int: ...
    @property
    def within(self) -> float | None: ...
    def who(self, tokens: Tokens) -> Tensor: ...
    def start(self, tokens: Tokens, outputs: int) -> Asking: ...


class Games:
    """The games of all inputs of a runner.

    Attributes: who, for each input (N, T) 1 at the tokens of each player; plays, the games of those that have any;
    failed, inputs for which the model left the finite numbers.
    """

    def __init__(self, rules: Rules, runner: Runner) -> None:
        self.rules, self.runner, self.failed = rules, runner, set[int]()
        self.who = [rules.who(tokens) for tokens in runner.inputs]
        spots = runner.questions.spots
        self.plays = {
            i: Play(rules.start(tokens, len(spots[i].terms)), rules.most)
            for i, tokens in enumerate(runner.inputs)
            if len(self.who[i])
        }

    def solved(self) -> list[Scores]:
        """Ask until every game is solved."""
        everything = self.runner.everything()
        lonely = {i: everything[i] for i in range(len(self.who)) if i not in self.plays}
        if lonely:
            self.runner.values(lonely)
        start, seconds = monotonic(), self.runner.budget.seconds
        while waiting := {i: one for i, one in self.plays.items() if one.request is not None and i not in self.failed}:
            self._round(waiting, seconds is not None and monotonic() - start > seconds * len(self.plays))
        return [self._scores(i) for i in range(len(self.who))]

    def _round(self, waiting: Mapping[int, Play], late: bool) -> None:
        new = {i: one.new() for i, one in waiting.items()}
        blocks = {i: _rows(self.who[i], keep) for i, keep in new.items() if len(keep)}
        found = self.runner.values(blocks, *(self.rules.blanks or ())) if blocks else {}
        for i, one in waiting.items():
            self._tell(i, one, new[i], found[i].numpy() if i in found else np.zeros(0), late)
        errors = [one.request.error for one in waiting.values() if one.request and one.request.error is not None]
        if errors:
            self.runner.report(max(errors))

    def _tell(self, i: int, one: Play, keep: Keep, values: Values, late: bool) -> None:
        try:
            one.tell(keep, values, late)
        except NumberError:
            self.failed.add(i)  # its scores will say so, and no other text loses its own

    def _scores(self, i: int) -> Scores:
        tokens, pairs = len(self.runner.inputs[i].ids), self.rules.quantity == "interaction"
        shape = (tokens, tokens) if pairs else (tokens,)
        if i in self.failed:
            return Scores(torch.full(shape, torch.nan, dtype=torch.float64))
        if i not in self.plays:
            return Scores(torch.zeros(shape, dtype=torch.float64), self.runner.questions.plain[i])
        found, who = self.plays[i].solution, self.who[i].double()
        assert found is not None
        # A player's tokens can't be told apart: they get equal parts.
        part = who / who.sum(1, keepdim=True)
        values = torch.from_numpy(found.values)
        spread = part.T @ values @ part if pairs else values @ part
        return Scores(spread, found.nothing if self.rules.adds else None, self._checks(i, found, part))

    def _checks(self, i: int, found: Solution, part: Tensor) -> Checks:
        errors: tuple[float, ...] = ()
        if found.errors is not None and found.errors.ndim == 1:
            errors = tuple((torch.from_numpy(found.errors) @ part).tolist())
        change, total = found.everything - found.nothing, float(found.values.sum())
        return Checks(
            gap=missed(total, change) if self.rules.complete else None,
            error=found.error,
            errors=errors,
            tolerance=None if found.error is None else self.rules.within,
            fit=found.fit,
            stability=found.stability,
            notes=(*found.notes, *rounding(self.runner, self.runner.questions.plain[i])),
        )


def _rows(who: Tensor, keep: Keep) -> Tensor:
    """(M, T) how much of each token is kept in each coalition; what is no player's stays."""
    return 1.0 - torch.from_numpy(~keep).float() @ who
