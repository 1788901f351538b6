"""A linear bag of words: what each word adds is known, and every saliency method must give just that.

logit = sum_i w . x_i      true contribution of word i: w . x_i
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliently.models.base import Model
from saliently.models.plain import wrap
from saliently.toys.reading import vocabulary

WEIGHTS = {"good": 2.0, "fine": 0.5, "film": 0.0, "dull": -0.75, "bad": -1.5}
"""What each word adds by default."""


class _Bag(nn.Module):
    """The sum of linear readings. Word vectors are (R, L, 2): what a word adds is split over two dimensions."""

    def __init__(self, adds: Tensor) -> None:
        super().__init__()
        direction = torch.tensor([0.6, -0.8], dtype=torch.float64)
        table = adds[:, None] * torch.tensor([3.0, 1.0], dtype=torch.float64)
        self.embed = nn.Embedding(len(table), 2, _weight=table, _freeze=True)
        self.register_buffer("direction", direction)

    def forward(self, ids: Tensor) -> Tensor:
        summed: Tensor = self.embed(ids).sum(1) @ self.get_buffer("direction")
        return summed[:, None]


@dataclass(frozen=True)
class LinearBag:
    """The toy. Attributes: weights, word -> what it adds to the logit."""

    weights: Mapping[str, float]

    @cached_property
    def model(self) -> Model:
        """As a model of one label, "score", in float64."""
        # 0.6 * 3 - 0.8 * 1 is 1, so that a word's reading is its weight.
        module = _Bag(torch.tensor(list(self.weights.values()), dtype=torch.float64))
        return wrap(module.eval(), vocabulary({word: i for i, word in enumerate(self.weights)}), "embed", ["score"])

    def truth(self, text: str) -> NDArray[np.float64]:
        """(T,) what each word of the text adds, in logits."""
        return np.array([self.weights[word] for word in text.split()])


def linear_bag(weights: Mapping[str, float] | None = None) -> LinearBag:
    """The toy with the weights given, or `WEIGHTS`."""
    return LinearBag(dict(weights or WEIGHTS))
