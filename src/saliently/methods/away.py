"""Which tokens are taken away together."""

from __future__ import annotations

import torch
from torch import Tensor

from saliently.types import Tokens


def windows(words: Tensor, size: int) -> Tensor:
    """(W, T) 1 at the tokens that each window takes away; a text shorter than the window is one window."""
    places = words.nonzero()[:, 0]
    starts = range(max(1, len(places) - size + 1))
    table = torch.zeros(len(starts), len(words))
    for line, start in zip(table, starts, strict=True):
        line[places[start : start + size]] = 1.0
    return table


def units(tokens: Tokens) -> Tensor:
    """(U, T) 1 at the tokens of each unit that has some."""
    own = torch.tensor([-1 if unit is None else unit for unit in tokens.units])
    units = sorted({unit for unit in tokens.units if unit is not None})
    return torch.stack([own == unit for unit in units]).float() if units else torch.zeros(0, len(own))


def each(tokens: Tokens) -> Tensor:
    """(W, T) 1 at each token that can be taken away, one a row."""
    return torch.eye(len(tokens.ids))[list(tokens.words)]
