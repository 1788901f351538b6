"""Which of two digits is more often there? The counting task of DiffMask, and a network that learns it.

De Cao et al. 2020, "How do Decisions Emerge across Layers in Neural Models?": two different query digits,
then 1 to 10 digits, each one of the two with probability 1/4 each and else any; the label is whether the first is more
often there than the second. The right explanation, by the paper: every digit that is one of the two counts alike, and
no other counts at all. A text is such as "3 7 3 1 7 3", the query first.

The network reads each digit beside the query by an MLP (3 x 64 to 64 to 2), and what it gives by a GRU (64), as in the
paper. Departures: no term of the paper's for the entropy of a batch; Adam for some passes over 10,000 texts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from saliently.errors import ModelError
from saliently.models.base import Model
from saliently.models.plain import wrap
from saliently.toys.reading import vocabulary

SHORTEST, LONGEST = 1, 10
TEXTS, HELD_OUT = 10_000, 1_000
ENOUGH = 0.98
"""Share of held-out texts that a trained network gets right; the paper has 99.8 %."""

_SIZE, _ROWS, _EPOCHS, _RATE = 64, 100, 8, 4e-3


@dataclass(frozen=True)
class CountingText:
    """A text and its answer. Attributes: text; label, is the first query digit there more often than the second?"""

    text: str
    label: bool

    def truth(self) -> NDArray[np.float64]:
        """(T,) how much of the explanation is due to each digit behind the query, 0 for the query itself; sums to 1.
        Uniform where no digit is of the query."""
        words = self.text.split()
        found = np.array([0.0, 0.0, *(float(word in words[:2]) for word in words[2:])])
        if not found.any():
            found[2:] = 1.0
        shares: NDArray[np.float64] = found / found.sum()
        return shares


class CountingNetwork(nn.Module):
    """Logits (R, 2) of "no" and "yes"."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(10, _SIZE)
        self.mix = nn.Sequential(nn.Linear(3 * _SIZE, _SIZE), nn.Tanh(), nn.Linear(_SIZE, 2))
        self.gru = nn.GRU(2, _SIZE, batch_first=True)
        self.output = nn.Linear(_SIZE, 1)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        query = x[:, :2].flatten(1)[:, None].expand(-1, x.shape[1] - 2, -1)
        states, _ = self.gru(self.mix(torch.cat([query, x[:, 2:]], -1)))
        logit: Tensor = self.output(states[:, -1])
        return torch.cat([torch.zeros_like(logit), logit], -1)


def texts(count: int, seed: int) -> tuple[CountingText, ...]:
    """Texts by the rules above."""
    chance = np.random.default_rng(seed)
    return tuple(_text(chance) for _ in range(count))


def network(seed: int) -> Model:
    """A trained network as a model with labels "no" and "yes", in float64; some seconds on one core.

    Raises:
        ModelError: it does not get `ENOUGH` of the held-out texts right.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = CountingNetwork()
    found = texts(TEXTS, seed)
    generator = torch.Generator().manual_seed(seed)
    _fit(module, _by_length(found[HELD_OUT:]), generator)
    with torch.no_grad():
        rights = [(module(ids).argmax(1) == labels).double().sum() for ids, labels in _by_length(found[:HELD_OUT])]
    share = float(sum(rights)) / HELD_OUT
    if share < ENOUGH:
        raise ModelError(
            f"A counting network that gets {ENOUGH:.0%} of held-out texts right was asked for; training with seed "
            f"{seed} got to {share:.1%}. Give another seed."
        )
    read = vocabulary({str(digit): digit for digit in range(10)})
    return wrap(module.double().eval(), read, "embed", ["no", "yes"])


def _text(chance: np.random.Generator) -> CountingText:
    first, second = chance.choice(10, 2, replace=False).tolist()
    many = int(chance.integers(SHORTEST, LONGEST + 1))
    digits = chance.integers(0, 10, many)
    kind = chance.random(many)
    digits[kind < 0.5] = second
    digits[kind < 0.25] = first
    words = " ".join(map(str, [first, second, *digits.tolist()]))
    return CountingText(words, int((digits == first).sum()) > int((digits == second).sum()))


def _by_length(found: tuple[CountingText, ...]) -> list[tuple[Tensor, Tensor]]:
    """Ids (R, T) and labels (R,) of the texts of each length."""
    groups: dict[int, list[CountingText]] = {}
    for each in found:
        groups.setdefault(len(each.text), []).append(each)
    return [
        (torch.tensor([[int(word) for word in each.text.split()] for each in group]), _labels(group))
        for group in groups.values()
    ]


def _labels(group: list[CountingText]) -> Tensor:
    return torch.tensor([int(each.label) for each in group])


def _fit(module: CountingNetwork, groups: list[tuple[Tensor, Tensor]], generator: torch.Generator) -> None:
    optimizer = torch.optim.Adam(module.parameters(), lr=_RATE)
    for epoch in range(_EPOCHS):
        for rate in optimizer.param_groups:
            rate["lr"] = _RATE * min(1.0, 2 * (1 - epoch / _EPOCHS))
        batches = [
            (ids[rows], labels[rows])
            for ids, labels in groups
            for rows in torch.randperm(len(ids), generator=generator).split(_ROWS)  # type: ignore[no-untyped-call]
        ]
        for number in torch.randperm(len(batches), generator=generator).tolist():
            ids, labels = batches[number]
            optimizer.zero_grad()
            F.cross_entropy(module(ids), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
