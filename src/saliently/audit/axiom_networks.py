"""Networks to hold methods against axioms: formulas of a few numbers, one a word, whose right behaviour is plain.

x (R, T) is the vector of each word, one number; the zero vector stands for a word that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from saliently.models.base import Model
from saliently.models.plain import wrap
from saliently.toys import boolean
from saliently.toys.reading import vocabulary

Formula = Callable[[Tensor], Tensor]
"""(R, T) numbers to (R,), by torch's operations."""


class Asked(Protocol):
    """A network with the text that it is asked about; the games of the toys are some."""

    @property
    def name(self) -> str:
        """What is told apart from others by."""
        ...

    @property
    def text(self) -> str:
        """All its words."""
        ...

    @property
    def model(self) -> Model:
        """It, with one label."""
        ...


class _Module(nn.Module):
    """A formula of word vectors (R, T, 1)."""

    def __init__(self, formula: Formula, values: Sequence[float]) -> None:
        super().__init__()
        table = torch.tensor(values, dtype=torch.float64)[:, None]
        self.embed = nn.Embedding(len(values), 1, _weight=table, _freeze=True)
        self.formula = formula

    def forward(self, ids: Tensor) -> Tensor:
        return self.formula(self.embed(ids)[..., 0])[:, None]


@dataclass(frozen=True, eq=False)
class Network:
    """Attributes: name, the formula as it is computed; formula; values, the number of each word."""

    name: str
    formula: Formula
    values: tuple[float, ...]

    @property
    def text(self) -> str:
        """ "w0 w1 w2", each word's vector its number."""
        return " ".join(f"w{i}" for i in range(len(self.values)))

    @cached_property
    def model(self) -> Model:
        """As a model of `text` with one label, "score", in float64."""
        read = vocabulary({word: i for i, word in enumerate(self.text.split())})
        return wrap(_Module(self.formula, self.values).eval(), read, "embed", ["score"])


class Dummy(NamedTuple):
    """A network, and places of words that its value does not depend on."""

    network: Asked
    places: tuple[int, ...]


class Alike(NamedTuple):
    """A network, and two places of one number that can be exchanged without a change of its value."""

    network: Asked
    places: tuple[int, int]


class Same(NamedTuple):
    """One function, computed in two ways, at one text."""

    one: Network
    other: Network


SATURATED: tuple[Network, ...] = (
    Network("1 - relu(1 - x)", lambda x: 1 - torch.relu(1 - x[:, 0]), (2.0,)),
    Network("tanh(x)", lambda x: torch.tanh(x[:, 0]), (3.0,)),
)
"""One word, which raises the value above that of the zero vector; behind its bend the first is flat (Sundararajan et
al. 2017, section 2.1)."""

DUMMIES: tuple[Dummy, ...] = (
    Dummy(boolean.sets(4, ((0, 1),), (0.0, 0.0, 0.5, 0.0)), (3,)),
    Dummy(Network("relu(x0 - 1) + x2", lambda x: torch.relu(x[:, 0] - 1) + x[:, 2], (3.0, 5.0, 1.0)), (1,)),
    Dummy(
        Network(
            "x0 + x1 + relu(-x1) - relu(x1)",
            lambda x: x[:, 0] + x[:, 1] + torch.relu(-x[:, 1]) - torch.relu(x[:, 1]),
            (2.0, 3.0),
        ),
        (1,),
    ),
    Dummy(
        Network(
            "(x0 x1) x2 - x0 (x1 x2) + x3",
            lambda x: (x[:, 0] * x[:, 1]) * x[:, 2] - x[:, 0] * (x[:, 1] * x[:, 2]) + x[:, 3],
            (2.0, 3.0, 4.0, 10.0),
        ),
        (0, 1, 2),
    ),
)
"""Words that are not read, or that are read and cancel."""

SYMMETRIC: tuple[Alike, ...] = (
    Alike(boolean.conjunction(3), (0, 2)),
    Alike(boolean.majority(3), (0, 1)),
    Alike(Network("tanh(x0 + x1) + x2", lambda x: torch.tanh(x[:, 0] + x[:, 1]) + x[:, 2], (0.7, 0.7, -0.4)), (0, 1)),
    Alike(Network("x0 (x1 x2)", lambda x: x[:, 0] * (x[:, 1] * x[:, 2]), (2.0, 2.0, 3.0)), (0, 1)),
)
"""Smooth where the two words are alike: at a bend a gradient is a choice of one side, which no method can mend."""


def _products(values: tuple[float, float, float]) -> Same:
    return Same(
        Network("(x0 x1) x2", lambda x: (x[:, 0] * x[:, 1]) * x[:, 2], values),
        Network("x0 (x1 x2)", lambda x: x[:, 0] * (x[:, 1] * x[:, 2]), values),
    )


IMPLEMENTED: tuple[Same, ...] = (
    Same(
        Network(
            "relu(relu(x0) - 1 - relu(x1))",
            lambda x: torch.relu(torch.relu(x[:, 0]) - 1 - torch.relu(x[:, 1])),
            (3.0, 1.0),
        ),
        Network(
            "relu(relu(x0 - 1) - relu(x1))",
            lambda x: torch.relu(torch.relu(x[:, 0] - 1) - torch.relu(x[:, 1])),
            (3.0, 1.0),
        ),
    ),
    _products((2.0, 3.0, 4.0)),
    Same(
        Network("x0 + tanh(x0 + x1)", lambda x: x[:, 0] + torch.tanh(x[:, 0] + x[:, 1]), (0.9, -0.3)),
        Network(
            "x0 + 2 sigmoid(2 (x0 + x1)) - 1",
            lambda x: x[:, 0] + 2 * torch.sigmoid(2 * (x[:, 0] + x[:, 1])) - 1,
            (0.9, -0.3),
        ),
    ),
)
"""The first pair, on which integrated gradients are (1.5, -0.5) both times, is that of Sundararajan et al. 2017, figure
7; the second is that of arXiv 2510.18810; the third has tanh(s) and 2 sigmoid(2 s) - 1."""

_BENT = Network("relu(x0 + x1 - 1)", lambda x: torch.relu(x[:, 0] + x[:, 1] - 1), (1.5, 1.0, 2.0))
_MIXED = Network("x0 x2 + tanh(x1)", lambda x: x[:, 0] * x[:, 2] + torch.tanh(x[:, 1]), (1.5, 1.0, 2.0))


class Sum(NamedTuple):
    """a f + b g, computed from f and g, at the text of both."""

    a: float
    b: float
    f: Network
    g: Network
    both: Network


def weighted_sum(a: float, b: float) -> Sum:
    """Two formulas of different kinds, added with such weights."""
    both = Network(f"{a:.3f} f + {b:.3f} g", lambda x: a * _BENT.formula(x) + b * _MIXED.formula(x), _BENT.values)
    return Sum(a, b, _BENT, _MIXED, both)


COMPLETE: tuple[Asked, ...] = (*boolean.one_of_each(), *SATURATED, *(pair.one for pair in IMPLEMENTED), _BENT, _MIXED)
"""Whose scores should sum to the value at the text less that at nothing, if a method claims so."""
