"""How a solver asks a game: it hands out coalitions and is told their values, so that many games can be asked together.

N players, M coalitions.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saliently.errors import NumberError, RecipeError

Keep = NDArray[np.bool_]
"""(M, N) coalitions: which players are there."""

Values = NDArray[np.float64]

Game = Callable[[Keep], Any]
"""Coalitions (M, N) in, what each is worth (M,) out: an array, or what can be made one."""


class Request(NamedTuple):
    """Attributes: keep (M, N), coalitions whose values are wanted; error, the largest standard error so far as a share
    of the change, or None."""

    keep: Keep
    error: float | None = None


class Answer(NamedTuple):
    """Attributes: values (M,); left, how many new coalitions may still be asked; late, is the time up? Then a solver
    that samples stops, once it has a first estimate."""

    values: Values
    left: int
    late: bool = False


@dataclass(frozen=True, eq=False)
class Solution:
    """What a solver found.

    Attributes:
        values: (N,) a number a player; of interactions (N, N), symmetric: the diagonal is a player's own number, and a
            pair's number is shared by its two entries.
        everything, nothing: value of all players, and of none.
        errors: standard errors of `values` by sampling, in its shape; None if nothing was sampled.
        rows: different coalitions that were asked.
        fit: weighted R^2 of a surrogate. stability: mean Jaccard index of its strongest players between samples.
        notes: sentences for a reader.
    """

    values: Values
    everything: float
    nothing: float
    errors: Values | None = None
    rows: int = 0
    fit: float | None = None
    stability: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def error(self) -> float | None:
        """The largest standard error of what was sampled (of a pair: of both entries together), as a share of the
        change; None if nothing was sampled."""
        return None if self.errors is None else share(self.errors, self.everything - self.nothing)


Asking = Generator[Request, Answer, Solution]
"""A solver under way."""


def share(errors: Values, change: float) -> float:
    """The largest error, of a pair that of its two entries together, as a share of the change."""
    largest = float(np.abs(errors).max(initial=0.0))
    if errors.ndim == 2:
        largest = max(float(np.diagonal(errors).max(initial=0.0)), 2 * float(np.triu(errors, 1).max(initial=0.0)))
    return largest / abs(change) if change else float("inf") if largest else 0.0


def ends(players: int) -> Keep:
    """(2, N): everything, nothing."""
    return np.array([[True], [False]]).repeat(players, 1)


def whole(players: int) -> Keep:
    """(2^N, N) all coalitions; player i is in coalition c if bit i of c is 1."""
    found: Keep = (np.arange(2**players)[:, None] >> np.arange(players) & 1).astype(bool)
    return found


def check_budget(rows: int, most: int, players: int) -> None:
    """Raise RecipeError where more rows are needed than may be spent."""
    if rows > most:
        raise RecipeError(
            f"{rows} rows are needed for {players} players; {most} may be spent. Allow more rows (most), or let larger "
            "units be the players."
        )


@dataclass(eq=False)
class Play:
    """One game under way: keeps what was asked, so that nothing is asked twice, and minds the budget.

    Attributes: asking, the solver; most, how many different coalitions may be asked; request, what it waits for;
    solution, once it is done.
    """

    asking: Asking
    most: int
    request: Request | None = None
    solution: Solution | None = None
    _known: dict[bytes, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.request = next(self.asking)

    @property
    def rows(self) -> int:
        """Different coalitions asked so far."""
        return len(self._known)

    def new(self) -> Keep:
        """(M, N) coalitions that it waits for and that nobody knows yet, each once.

        Raises:
            RecipeError: more of them than may be asked.
        """
        if self.request is None:
            return np.zeros((0, 0), dtype=bool)
        wanted = dict(zip(_keys(self.request.keep), self.request.keep, strict=True))
        found = [row for key, row in wanted.items() if key not in self._known]
        check_budget(self.rows + len(found), self.most, self.request.keep.shape[1])
        return np.array(found, dtype=bool).reshape(len(found), self.request.keep.shape[1])

    def tell(self, keep: Keep, values: Values, late: bool = False) -> None:
        """Go on with these values of what `new` gave.

        Raises:
            NumberError: a value is NaN or infinite.
        """
        assert self.request is not None
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise NumberError(
                f"The value of {int(keep[bad[0]].sum())} of {keep.shape[1]} players was asked of a game; it gave "
                f"{values[bad[0]]}. A game needs a finite number for every coalition, none and all included."
            )
        self._known.update(zip(_keys(keep), values.tolist(), strict=True))
        told = np.array([self._known[key] for key in _keys(self.request.keep)])
        try:
            self.request = self.asking.send(Answer(told, self.most - self.rows, late))
        except StopIteration as end:
            self.request, self.solution = None, replace(end.value, rows=self.rows)


def play(asking: Asking, game: Game, most: int) -> Solution:
    """One game from start to end.

    Raises:
        NumberError: the game gave NaN or infinity.
        RecipeError: it gave something else than one number a coalition; the budget is too small for the solver.
    """
    one = Play(asking, most)
    while one.request is not None:
        keep = one.new()
        one.tell(keep, _numbers(game(keep), len(keep)) if len(keep) else np.zeros(0))
    assert one.solution is not None
    return one.solution


def _numbers(given: object, many: int) -> Values:
    try:
        found = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.shape != (many,):
        raise RecipeError(
            f"A game was asked for the values of {many} coalitions; it gave {type(given).__name__} of shape "
            f"{found.shape}. Return one number for each row."
        )
    return found


def _keys(keep: Keep) -> list[bytes]:
    return [row.tobytes() for row in np.packbits(keep, axis=1)]
