"""What is asked of each input: which places of the output are read, and the explained number that they add up to.

Q questions of a batch, P rows, W places read in a row, C labels, N terms: places read for all questions of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isnan

import torch
from torch import Tensor

from saliently import targets
from saliently.errors import RecipeError
from saliently.models.base import Model
from saliently.models.heads import Spot, Term
from saliently.types import Pinned, Target, Tokens

_ALL = Spot((Term(0),))
"""The one output of a model that gives one for a whole text."""


@dataclass(frozen=True, eq=False)
class Lines:
    """Which questions the rows of a batch answer; a row may answer several.

    Attributes, one entry a question: line, the row of the batch; example, whose question; row, of its own block;
    whole, is that row the unchanged input?
    """

    line: Sequence[int]
    example: Sequence[int]
    row: Sequence[int]
    whole: Sequence[bool]


@dataclass(eq=False)
class Questions:
    """The questions that are put to several inputs, one each, and what the unchanged inputs answered.

    Attributes: model; target; spots, the places read for each question; pins, the numbers read there, fixed by the
    unchanged input, and plain, the explained number: None and NaN until it has run.
    """

    model: Model
    target: Target
    spots: Sequence[Spot]
    pins: list[tuple[Pinned, ...] | None] = field(init=False)
    plain: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.pins, self.plain = [None] * len(self.spots), [float("nan")] * len(self.spots)

    @staticmethod
    def find(model: Model, inputs: Sequence[Tokens], target: Target, each: bool) -> tuple[list[Tokens], Questions]:
        """The input of each question, and the questions; with `each`, one for each place that has an output.

        Raises:
            RecipeError: a text has not the place that `target.at` names.
        """
        wanted = replace(target, of=target.of or model.scale)
        if target.at is not None and (model.find is None or each):
            raise RecipeError(
                f"The place {target.at!r} was asked for; "
                + ("each output is explained" if each else f"{model.name} gives one output for a whole text")
                + ". Leave `at` out."
            )
        if model.find is None:
            return list(inputs), Questions(model, wanted, [_ALL] * len(inputs))
        found = [(tokens, spot) for tokens in inputs for spot in model.find(model, tokens, wanted, each)]
        return [tokens for tokens, _ in found], Questions(model, wanted, [spot for _, spot in found])

    def pinned(self, i: int) -> Pinned | None:
        """Question i as it is asked, once the unchanged input ran."""
        pins, spot = self.pins[i], self.spots[i]
        if pins is None:
            return None
        known = all(pin.predicted for pin in pins) if spot.predicted is None else spot.predicted
        return replace(pins[0], label=spot.label or pins[0].label, predicted=known, at=spot.said)

    def wanted(self, lines: Lines, rows: int) -> Tensor | None:
        """(P, W) the tokens at whose places the output is read, -1 where there are fewer; None if it has no places."""
        if self.model.find is None:
            return None
        tokens: list[list[int]] = [[] for _ in range(rows)]
        for line, example in zip(lines.line, lines.example, strict=True):
            tokens[line] += [term.token for term in self.spots[example].terms]
        longest = max(map(len, tokens))
        return torch.tensor([[*each, *[-1] * (longest - len(each))] for each in tokens])

    def evaluate(self, lines: Lines, outputs: Tensor) -> Tensor:
        """(Q,) the explained numbers, from outputs (P, C), or (P, W, C) at the places wanted; differentiable.

        Pins the questions whose unchanged input this is.
        """
        line, column, question = self._terms(lines)
        read = outputs[:, None][line, column] if outputs.dim() == 2 else outputs[line, column]
        self._pin(lines, read.detach())
        pins = [pin for example in lines.example for pin in self.pins[example] or ()]
        values = targets.evaluate(pins, read, self.model.link)
        if len(question) > len(lines.line):
            whose, many = torch.tensor(question, device=values.device), len(lines.line)
            if self.target.of == "log-odds":
                values = targets.odds_of_all(values, whose, many)
            else:
                values = values.new_zeros(many).index_add(0, whose, values)
        for example, whole, value in zip(lines.example, lines.whole, values.detach().tolist(), strict=True):
            if whole and isnan(self.plain[example]):
                self.plain[example] = value
        return values

    def _terms(self, lines: Lines) -> tuple[list[int], list[int], list[int]]:
        """(N,) row and column of the output at which each term is read, and which question of the batch it is of."""
        used: dict[int, int] = {}
        found = []
        for q, (line, example) in enumerate(zip(lines.line, lines.example, strict=True)):
            for _ in self.spots[example].terms:
                found.append((line, used.get(line, 0), q))
                used[line] = used.get(line, 0) + (self.model.find is not None)
        line_, column, question = zip(*found, strict=True)
        return list(line_), list(column), list(question)

    def _pin(self, lines: Lines, read: Tensor) -> None:
        at = 0
        for example in lines.example:
            terms = self.spots[example].terms
            if self.pins[example] is None:
                self.pins[example] = tuple(
                    self._pin_one(term, row) for term, row in zip(terms, read[at : at + len(terms)], strict=True)
                )
            at += len(terms)

    def _pin_one(self, term: Term, outputs: Tensor) -> Pinned:
        asked = self.target if term.label is None else replace(self.target, label=term.label)
        return targets.pin(asked, outputs, self.model.labels, self.model.link)
