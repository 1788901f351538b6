"""Stability: an explanation of an input should not jump where the input hardly moves.

Max-sensitivity of Yeh et al. 2019 (Eq. 5), with word vectors as the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saliently import erase
from saliently.audit.asked import Asked, Before, Floats, change, explained, explained_again
from saliently.data import Row
from saliently.errors import ModelError
from saliently.models.base import Model
from saliently.types import Explanation


@contextmanager
def moved(model: Model, radius: float, seed: int) -> Iterator[None]:
    """Inside the block each word of the vocabulary has its vector moved a little, the same way wherever it stands;
    blanks and padding stay.

    Raises:
        ModelError: its embedding is no table.
    """
    size = erase.vocabulary_size(model)
    if size is None:
        raise ModelError(
            f"Word vectors of {model.name} were to be moved; it embeds with {type(model.embedding).__name__}, whose "
            "vocabulary can't be listed."
        )
    still = torch.tensor(sorted(model.blank_ids.values()), dtype=torch.long)
    table = model.embed(torch.zeros(1, dtype=torch.long, device=model.device))
    noise = torch.rand(size, table.shape[-1], generator=torch.Generator().manual_seed(seed)) * 2 - 1
    noise[still] = 0.0
    noise = (noise * radius * erase.spread(model)).to(table)

    def move(part: torch.nn.Module, given: Any, output: Tensor) -> Tensor:
        return output + noise[given[0]]

    with model.lock:
        handle = model.embedding.register_forward_hook(move)
        try:
            yield
        finally:
            handle.remove()


@dataclass(frozen=True)
class Moves:
    """How vectors move. Attributes: draws, how often; radius, how far each entry at most, in standard deviations of the
    entries of the embedding table."""

    draws: int = 3
    radius: float = 0.1


class Moved(NamedTuple):
    """Largest changes over random moves, (N,) each, NaN where there is nothing to compare. Attributes: scores, of the
    word scores, as a share of their size; number, of the number that was explained, in its units."""

    scores: Floats
    number: Floats


def max_sensitivity(
    asked: Asked, method: str, rows: Sequence[Row], moves: Moves = Moves(), before: Before = None
) -> Moved:
    """The largest change of the word scores over random small moves of word vectors, as a share of their size:
    max |phi(x + d) - phi(x)| / |phi(x)|, by the L2 norm; and of f itself.

    The label is the one that the model predicts for the text as it is. `before`: explanations of the texts as they are,
    if at hand.
    """
    before = explained(asked, method, rows) if before is None else before
    scores, number = np.full(len(rows), np.nan), np.full(len(rows), np.nan)
    for draw in range(moves.draws):
        with moved(asked.model, moves.radius, 1000 * asked.seed + draw):
            after = explained_again(asked, method, rows, before)
        pairs = list(zip(before, after, strict=True))
        scores = np.fmax(scores, [change(one, other) for one, other in pairs])
        number = np.fmax(number, [_apart(one, other) for one, other in pairs])
    return Moved(scores, number)


def _apart(one: Explanation | None, other: Explanation | None) -> float:
    return float("nan") if one is None or other is None else abs(float(other.values[0]) - float(one.values[0]))
