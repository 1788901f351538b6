"""Players in groups, groups in larger ones: who is taken together by the Owen value.

A tree is a player's number, or a tuple of trees: ((0, 1), (2, 3, 4)).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from math import factorial
from typing import Any

import numpy as np
from numpy.random import Generator as Random

from saliently.errors import RecipeError

Tree = int | tuple[Any, ...]


def players_of(tree: Tree) -> list[int]:
    """The players of a tree, in order. `((0, 1), 2)` -> `[0, 1, 2]`."""
    return [tree] if isinstance(tree, int) else list(chain.from_iterable(map(players_of, tree)))


def check(tree: Tree, players: int) -> None:
    """Raise RecipeError unless each player is in the tree once, and no group is empty."""
    if not _is_tree(tree) or sorted(players_of(tree)) != list(range(players)):
        raise RecipeError(
            f"A tree of {players} players was asked for; found {tree!r:.60}. Give nested tuples in which each of 0 to "
            f"{players - 1} stands once, such as ((0, 1), (2, 3))."
        )


def _is_tree(tree: object) -> bool:
    if isinstance(tree, tuple):
        return bool(tree) and all(map(_is_tree, tree))
    return isinstance(tree, int) and not isinstance(tree, bool)


def halves(groups: Sequence[Tree]) -> Tree:
    """Groups, cut in the middle again and again. `[0, 1, 2]` -> `(0, (1, 2))`."""
    if len(groups) == 1:
        return groups[0]
    middle = len(groups) // 2
    return (halves(groups[:middle]), halves(groups[middle:]))


def nested(groups: Sequence[Tree]) -> Tree:
    """A group of groups; one alone needs no brackets."""
    return groups[0] if len(groups) == 1 else tuple(groups)


def contexts(tree: Tree) -> int:
    """How many coalitions the Owen value of a tree looks at, at most: for each group, what it is made of, next to each
    set of whole groups beside it and beside those that hold it."""

    def count(tree: Tree, outside: int) -> int:
        if isinstance(tree, int):
            return 0
        inside = 1 << (len(tree) - 1)
        return 2 * inside * outside + sum(count(child, outside * inside) for child in tree)

    return 2 + count(tree, 1)


def order(tree: Tree, random: Random) -> list[int]:
    """The players in a random order that keeps each group together; all such orders are alike likely."""
    if isinstance(tree, int):
        return [tree]
    return list(chain.from_iterable(order(tree[k], random) for k in random.permutation(len(tree))))


def orders(tree: Tree) -> int:
    """How many such orders there are."""
    if isinstance(tree, int):
        return 1
    found: int = factorial(len(tree))
    for child in tree:
        found *= orders(child)
    return found


def members(tree: Tree, players: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """(N,) True at the players of a tree."""
    found = np.zeros(players, dtype=bool)
    found[players_of(tree)] = True
    return found
