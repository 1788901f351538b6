"""Which rows of a text share its beginning, and where each leaves it.

R rows, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from saliently.packing import Blocks, Pack

_LEAST = 4
"""Fewest rows that are worth keeping a beginning for."""


class Leaving(NamedTuple):
    """Rows of a text that go on from its beginning. Attributes: first (R,), the token at which each leaves the plain
    text, T where it never does; taken (R,), is it one of them? rest (R,), how many tokens of it are still to be run: 0
    where it leaves the text behind all that is read."""

    first: Tensor
    taken: Tensor
    rest: Tensor


def leaving(keep: Tensor, wanted: Iterable[int], delete: bool) -> Leaving | None:
    """How the rows (R, T) of a text leave it; None if that saves too little.

    `wanted` are the tokens at whose places outputs are read. A row that changes the first token has no beginning. One
    that deletes all tokens between where it leaves and a place wanted is read where it leaves, and is run whole unless
    that is a place wanted too.
    """
    if keep.dim() != 2:
        return None
    many = keep.shape[1]
    away = keep != 1
    first = torch.where(away.any(1), away.long().argmax(1), many)
    taken, asked = first > 0, torch.tensor(sorted(set(wanted)))
    if delete:
        places = torch.arange(many)
        left = torch.where((keep != 0) & (places >= first[:, None]), places, many).amin(1)
        later = torch.where(asked >= first[:, None], asked, many).amin(1)
        taken &= (left <= later) | torch.isin(first - 1, asked)
    rest = torch.where(taken & (first <= asked.max()), many - first, 0)
    return Leaving(first, taken, rest) if bool((first == many).any()) and int((rest > 0).sum()) >= _LEAST else None


def places_after(pack: Pack, blocks: Blocks, start: int, delete: bool) -> Tensor:
    """(P, L) the tokens of each row from `start` on, padded on the right with -1."""
    found = []
    for example, row in zip(map(int, pack.example), map(int, pack.row), strict=True):
        keep = blocks[example][row][start:]
        found.append(start + (keep.ne(0).nonzero()[:, 0] if delete else torch.arange(len(keep))))
    places = torch.nn.utils.rnn.pad_sequence(found, batch_first=True, padding_value=-1)
    return places if places.shape[1] else places.new_full((len(found), 1), -1)  # nothing left is padding alone
