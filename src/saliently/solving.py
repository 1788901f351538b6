"""A game of the user's own: any function of who is there."""

from __future__ import annotations

from collections.abc import Sequence

from saliently.errors import RecipeError
from saliently.games.asking import Game, Solution, play
from saliently.listed import METHODS
from saliently.methods.base import Method
from saliently.methods.game import Played, Players
from saliently.names import parse


def solve(game: Game, players: int | Sequence[str], method: str | Method = "shapley") -> Solution:
    """What players are worth, alone or in pairs, in a game of the user's own.

    Args:
        game: a function from coalitions, an array (M, N) of True and False, one a row, to what each is worth, (M,)
            numbers. It is asked about many at a time, about none twice, and always about everybody and nobody.
        players: how many, N, or their names; names with punctuation make the groups of `owen`, as words do.
        method: a recipe of a game method: shapley, owen, banzhaf, lime, limsse, context-cite, shapley-interaction, ...
            Its blank has no meaning here.

    Returns:
        Numbers in units of the game: (N,), or (N, N) of interactions, whose pairs are shared by two entries.

    Raises:
        RecipeError: the method plays no games, or its budget is too small; the game gives something else than numbers.
        NumberError: the game gives NaN or infinity.
    """
    chosen = parse(method)
    if not isinstance(chosen, Played):
        games = ", ".join(row.name for row in METHODS if isinstance(parse(row.name), Played))
        raise RecipeError(f"{chosen!r} was asked to solve a game; it needs a model. Use one of {games}.")
    names = tuple(players) if not isinstance(players, int) else ("",) * players
    if not names or isinstance(players, (str, bool)):
        raise RecipeError(f"A game of {players!r} players was to be solved; give a number from 1 up, or names.")
    return play(chosen.asking(Players.named(names, chosen.seed)), game, chosen.most)
