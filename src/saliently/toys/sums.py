"""Sums and differences of two marked numbers in a row of numbers, by an LSTM with a single memory cell.

Arras et al. 2019, "Evaluating Recurrent Neural Network Explanations": sequences of 4 to 10 vectors of two
dimensions, numbers in [-1, -0.5] or [0.5, 1], and n_a + n_b or n_a - n_b to tell, where n_a comes first; one memory
cell, a linear output without a bias. The right explanation is what the task needs: the score of n_a is n_a, that of n_b
is n_b or - n_b, and that of every other number is 0.

A text is such as "0.53 -0.71* 0.62 0.9*": the stars mark. The two dimensions are the number, and a mark of 1 or -1.

Departures: how numbers are marked, and that their order decides a difference, are our reading, as the paper's own
format could not be looked up. Of seven ways to mark that were tried, marks of 1 and -1 give the published correlations;
the published mass of occlusion, a quarter, comes out where other words are (0, 1) and numbers (n, 0), but there
occlusion puts in the number 0 and correlates perfectly. No way gave both. With 1 and -1 the zero vector that occlusion
puts in is neither marked nor not, and no network has ever seen it: that is what occlusion is tested on. A difference
can be told by one cell since at a mark the old cell can be forgotten and come back with its sign turned by way of h.
Numbers have three decimals. How networks are trained is ours too; see `training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliently.models.base import Model
from saliently.models.plain import wrap
from saliently.toys.reading import reads
from saliently.toys.training import Cells, train

Operation = Literal["addition", "subtraction"]

LENGTHS = (4, 10)
"""Shortest and longest text, in numbers."""

DECIMALS = 1000
"""Numbers are multiples of its inverse."""

_ROWS = 2 * DECIMALS + 1
"""Numbers from -1 to 1; the table holds them without a mark and then with one."""


@dataclass(frozen=True)
class Example:
    """A text. Attributes: text; marked, places of n_a and n_b in it; numbers, n_a and n_b."""

    text: str
    marked: tuple[int, int]
    numbers: tuple[float, float]

    def truth(self, operation: Operation) -> NDArray[np.float64]:
        """(T,) what each number adds to the answer."""
        found = np.zeros(len(self.text.split()))
        found[list(self.marked)] = self.numbers[0], _sign(operation) * self.numbers[1]
        return found


class SumNetwork(nn.Module):
    """One memory cell; gives (R, 1), the sum or difference."""

    def __init__(self) -> None:
        super().__init__()
        values = torch.arange(-DECIMALS, DECIMALS + 1, dtype=torch.float64) / DECIMALS
        marks = torch.ones_like(values)
        table = torch.cat([torch.stack([values, mark], -1) for mark in (-marks, marks)])
        self.embed = nn.Embedding(len(table), 2, _weight=table, _freeze=True)
        self.lstm = nn.LSTM(2, 1, batch_first=True, dtype=torch.float64)
        self.output = nn.Linear(1, 1, bias=False, dtype=torch.float64)

    def forward(self, ids: Tensor) -> Tensor:
        found: Tensor = self.output(self.lstm(self.embed(ids))[0][:, -1])
        return found


def examples(count: int, seed: int) -> tuple[Example, ...]:
    """Texts by the rules above, lengths and places uniform."""
    chance = np.random.default_rng(seed)
    return tuple(_example(chance) for _ in range(count))


def networks(count: int, seed: int) -> dict[Operation, tuple[Model, ...]]:
    """Trained networks for both operations, as models of one label, "answer"; some seconds on one core.

    Raises:
        ModelError: too few came close enough to the right answers; see `training.train`.
    """
    found = train(("addition", "subtraction"), (1.0, -1.0), _batch, count, seed)
    return {"addition": tuple(map(_model, found[0])), "subtraction": tuple(map(_model, found[1]))}


def _example(chance: np.random.Generator) -> Example:
    many = int(chance.integers(LENGTHS[0], LENGTHS[1] + 1))
    numbers = _numbers(torch.from_numpy(chance.random(many)), torch.from_numpy(chance.random(many))).tolist()
    first, second = sorted(chance.choice(many, 2, replace=False).tolist())
    words = [f"{number}*" if i in (first, second) else f"{number}" for i, number in enumerate(numbers)]
    return Example(" ".join(words), (first, second), (numbers[first], numbers[second]))


def _batch(rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(R, T, 2) vectors of one length, and (R, 2) the marked numbers."""
    many = int(torch.randint(LENGTHS[0], LENGTHS[1] + 1, (1,), generator=generator))
    numbers = _numbers(torch.rand(rows, many, generator=generator), torch.rand(rows, many, generator=generator))
    places = torch.rand(rows, many, generator=generator).topk(2).indices.sort().values
    marks = torch.full_like(numbers, -1.0).scatter(1, places, 1.0)
    return torch.stack([numbers, marks], -1), numbers.gather(1, places)


def _numbers(sizes: Tensor, signs: Tensor) -> Tensor:
    """Numbers in [-1, -0.5] or [0.5, 1], from two that are uniform in [0, 1]."""
    size = (sizes.double() * 0.5 + 0.5).mul(DECIMALS).round() / DECIMALS
    return torch.where(signs < 0.5, -size, size)


def _model(cells: Cells) -> Model:
    network = SumNetwork()
    weights = {
        "weight_ih_l0": cells.inputs[0],
        "weight_hh_l0": cells.state[0][:, None],
        "bias_ih_l0": cells.bias[0],
        "bias_hh_l0": torch.zeros_like(cells.bias[0]),
    }
    network.lstm.load_state_dict(weights)
    network.output.load_state_dict({"weight": cells.output[:, None]})
    return wrap(network.eval(), reads(_id, "numbers from -1 to 1, marked by a star: 0.53 -0.71*"), "embed", ["answer"])


def _id(word: str) -> int | None:
    try:
        value = round(float(word.removesuffix("*")) * DECIMALS)
    except (ValueError, OverflowError):
        return None
    return value + DECIMALS + (_ROWS if word.endswith("*") else 0) if abs(value) <= DECIMALS else None


def _sign(operation: Operation) -> float:
    return 1.0 if operation == "addition" else -1.0


def answers(texts: Sequence[Example], operation: Operation) -> NDArray[np.float64]:
    """The right answer of each text."""
    return np.array([each.numbers[0] + _sign(operation) * each.numbers[1] for each in texts])
