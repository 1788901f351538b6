"""Rows that several questions about one text have in common, so that each is run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saliently.packing import Blocks, Pack
from saliently.questions import Lines
from saliently.types import Tokens


@dataclass(frozen=True, eq=False)
class Shared:
    """Rows to run, and who asked for each.

    Attributes: blocks, the rows, under the first example that asks about a text; asked, (example, row) of these ->
    the examples and rows that it answers.
    """

    blocks: Blocks
    asked: Mapping[tuple[int, int], Sequence[tuple[int, int]]]

    @staticmethod
    def of(blocks: Blocks, inputs: Sequence[Tokens], alone: bool = False) -> Shared:
        """The rows of all examples, equal ones about one text as one; `alone` leaves each by itself."""
        groups: dict[int, list[int]] = {}
        for i in blocks:
            groups.setdefault(i if alone else id(inputs[i]), []).append(i)
        found: dict[int, Tensor] = {}
        asked: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for members in groups.values():
            first = members[0]
            if len(members) == 1:
                found[first] = blocks[first]
                asked.update({(first, row): [(first, row)] for row in range(len(blocks[first]))})
                continue
            known: dict[bytes, int] = {}
            rows: list[Tensor] = []
            for i in members:
                for row, keep in enumerate(blocks[i]):
                    number = known.setdefault(keep.numpy().tobytes(), len(known))
                    if number == len(rows):
                        rows.append(keep)
                    asked.setdefault((first, number), []).append((i, row))
            found[first] = torch.stack(rows)
        return Shared(found, asked)

    def lines(self, pack: Pack) -> Lines:
        """Which questions the rows of a pack answer."""
        every = [
            (line, *asker)
            for line, key in enumerate(zip(map(int, pack.example), map(int, pack.row), strict=True))
            for asker in self.asked[key]
        ]
        lines, examples, rows = zip(*every, strict=True)
        keys = list(zip(map(int, pack.example), map(int, pack.row), strict=True))
        whole = [bool((self.blocks[e][r] == 1).all()) for e, r in keys]
        return Lines(lines, examples, rows, [whole[line] for line in lines])
