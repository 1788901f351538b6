"""Trains many LSTMs of a single cell at once, since each step of one is too small to keep a processor busy.

Every network gets the same batches and its own target, n_a + n_b or n_a - n_b; Adam on the mean squared error. Of the
weights' beginnings some never get there, as with every net so small: more are begun than are asked for, and those are
kept that come close enough, in order. Arras et al. 2019 keep converged networks too.

N networks, R rows, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saliently.errors import ModelError

ENOUGH = 3e-5
"""The mean squared error of a trained network is below that; the numbers it sums are of size 0.5 to 1."""

_STEPS, _RATE, _ROWS, _SPARE, _ROUNDS = 1200, 0.1, 64, 10, 4
_TEST_ROWS = 200
_TESTS = 14

# What weights are measured in while training. The cell's input and the output are as near to linear as the task is;
# gates must go far into saturation.
_SMALL, _STEEP = 0.05, 4.0

Batches = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Cells:
    """N cells, gates in torch's order i, f, g, o. Attributes: inputs (N, 4, 2), state (N, 4), bias (N, 4), output (N,)
    of the output layer."""

    inputs: Tensor
    state: Tensor
    bias: Tensor
    output: Tensor

    def answers(self, x: Tensor) -> Tensor:
        """(N, R) for vectors (R, T, 2)."""
        driven = torch.einsum("rti,ngi->tgnr", x, self.inputs) + self.bias.T[..., None]
        h = c = torch.zeros(len(self.output), len(x), dtype=x.dtype)
        for step in driven:
            before = step + self.state.T[..., None] * h
            i, f, o = before[[0, 1, 3]].sigmoid()
            c = f * c + i * before[2].tanh()
            h = o * c.tanh()
        return self.output[:, None] * h

    def __getitem__(self, which: slice) -> Cells:
        return Cells(self.inputs[which], self.state[which], self.bias[which], self.output[which])


def train(names: Sequence[str], signs: Sequence[float], batches: Batches, count: int, seed: int) -> list[list[Cells]]:
    """For each sign s, `count` cells that tell n_a + s n_b.

    Raises:
        ModelError: after some rounds fewer than that are within `ENOUGH`.
    """
    generator = torch.Generator().manual_seed(seed)
    good: list[list[Cells]] = [[] for _ in signs]
    for _ in range(_ROUNDS):
        begun = count + _SPARE
        turns = torch.tensor(signs, dtype=torch.float64).repeat_interleave(begun)
        cells, error = _round(turns, batches, generator)
        for number, kept in enumerate(good):
            mine = torch.arange(begun) + number * begun
            kept += [cells[which : which + 1] for which in mine.tolist() if error[which] < ENOUGH]
        if all(len(kept) >= count for kept in good):
            return [kept[:count] for kept in good]
    found = ", ".join(f"{len(kept)} for {name}" for name, kept in zip(names, good, strict=True))
    raise ModelError(
        f"{count} toy networks an operation with a mean squared error below {ENOUGH:g} were asked for; training found "
        f"{found}. Ask for fewer, or give another seed."
    )


def _round(signs: Tensor, batches: Batches, generator: torch.Generator) -> tuple[Cells, Tensor]:
    """Trained cells, one a sign, and the (N,) mean squared error of each on fresh rows."""
    raw = _begun(len(signs), generator)
    optimizer = torch.optim.Adam(raw, lr=_RATE)
    for step in range(_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, 2 * (1 - step / _STEPS))
        optimizer.zero_grad()
        _errors(_cells(raw), signs, *batches(_ROWS, generator)).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with torch.no_grad():
        cells = _cells([each.detach() for each in raw])
        tests = [_errors(cells, signs, *batches(_TEST_ROWS, generator)) for _ in range(_TESTS)]
    return cells, torch.stack(tests).mean(0)


def _errors(cells: Cells, signs: Tensor, x: Tensor, numbers: Tensor) -> Tensor:
    wanted = numbers[:, 0] + signs[:, None] * numbers[:, 1]
    errors: Tensor = (cells.answers(x) - wanted).square().mean(1)
    return errors


def _begun(many: int, generator: torch.Generator) -> list[Tensor]:
    """What is trained: uniform weights, and gates that remember more than they forget."""
    shapes = ((many, 4, 2), (many, 4), (many, 4), (many,))
    raw = [torch.rand(shape, generator=generator, dtype=torch.float64) * 2 - 1 for shape in shapes]
    for each in raw[:3]:
        each[:, [0, 1, 3]] /= _STEEP
    raw[2][:, 1] += 2 / _STEEP
    return [each.requires_grad_() for each in raw]


def _cells(raw: Sequence[Tensor]) -> Cells:
    inputs, state, bias, output = raw
    gates = torch.tensor([_STEEP, _STEEP, _SMALL, _STEEP], dtype=torch.float64)
    # h is as small as the cell's input, and so what reads h is not made smaller once more.
    return Cells(inputs * gates[:, None], state, bias * gates, output / _SMALL)
