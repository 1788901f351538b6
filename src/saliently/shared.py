"""Rows that several questions about one text have in common, so that each is run once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saliently.packing import NO_SWAPS, Blocks, Pack, Swaps
from saliently.questions import Lines
from saliently.types import Tokens


@dataclass(frozen=True, eq=False)
class Shared:
    """Rows to run, and who asked for each.

    Attributes: blocks, the rows, under the first example that asks about a text; swaps, the words of those that have
    others; asked, (example, row) of these -> the examples and rows that it answers; changed, of the texts in swaps,
    (R,) which rows have not the words of the text.
    """

    blocks: Blocks
    swaps: Swaps
    asked: Mapping[tuple[int, int], Sequence[tuple[int, int]]]
    changed: Mapping[int, Tensor]

    @staticmethod
    def of(blocks: Blocks, inputs: Sequence[Tokens], alone: bool = False, swaps: Swaps = NO_SWAPS) -> Shared:
        """The rows of all examples, equal ones about one text as one; `alone` leaves each by itself."""
        groups: dict[int, list[int]] = {}
        for i in blocks:
            groups.setdefault(i if alone else id(inputs[i]), []).append(i)
        found: dict[int, Tensor] = {}
        words: dict[int, Tensor] = {}
        asked: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for members in groups.values():
            first, given = members[0], {i: swaps[i] for i in members if i in swaps}
            rows = [(i, row) for i in members for row in range(len(blocks[i]))]
            numbers = _numbers(blocks, given, rows) if len(members) > 1 else range(len(rows))
            for asker, number in zip(rows, numbers, strict=True):
                asked.setdefault((first, number), []).append(asker)
            kept = [asked[first, number][0] for number in range(len(set(numbers)))]
            if len(members) == 1:
                found[first] = blocks[first]
                words.update(given)
                continue
            found[first] = torch.stack([blocks[i][row] for i, row in kept])
            if given:
                own = torch.tensor(inputs[first].ids)
                words[first] = torch.stack([given[i][row] if i in given else own for i, row in kept])
        changed = {e: ~same_words(ids, inputs[e]) for e, ids in words.items()}
        return Shared(found, words, asked, changed)

    def lines(self, pack: Pack) -> Lines:
        """Which questions the rows of a pack answer."""
        keys = list(zip(map(int, pack.example), map(int, pack.row), strict=True))
        every = [(line, *asker) for line, key in enumerate(keys) for asker in self.asked[key]]
        lines, examples, rows = zip(*every, strict=True)
        whole = [self._whole(*key) for key in keys]
        return Lines(lines, examples, rows, [whole[line] for line in lines])

    def _whole(self, example: int, row: int) -> bool:
        """Is it the unchanged text?"""
        if example in self.changed and self.changed[example][row]:
            return False
        return bool((self.blocks[example][row] == 1).all())


def same_words(ids: Tensor, tokens: Tokens) -> Tensor:
    """(R,) True where a row of ids (R, T) has the words of the text, each in its place."""
    return (ids == torch.tensor(tokens.ids)).all(1)


def _numbers(blocks: Blocks, swaps: Swaps, rows: Sequence[tuple[int, int]]) -> list[int]:
    """Rows that are equal get one number, in the order in which they come."""
    known: dict[tuple[bytes, bytes], int] = {}
    found = []
    for i, row in rows:
        words = swaps[i][row].numpy().tobytes() if i in swaps else b""
        found.append(known.setdefault((blocks[i][row].numpy().tobytes(), words), len(known)))
    return found
