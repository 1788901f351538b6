"""Rows of many texts in few batches: sorted by length, cut at a token budget.

A row belongs to an example (one text) and says how much of each token is kept. Rows of all examples go into one
stream, so that short texts share a batch with others of their length and little is spent on padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliently.models.base import Model
from saliently.models.batch import Batch, Side
from saliently.types import Tokens

Blocks = Mapping[int, Tensor]
"""Example -> how much is kept, (R, T) or (R, T, D), one row each; R and T are that example's own."""

Swaps = Mapping[int, Tensor]
"""Example -> (R, T) the token ids of each row of its block; an example that is not in it keeps its own."""

NO_SWAPS: Swaps = MappingProxyType({})


@dataclass
class Budget:
    """Most padded tokens in a batch. It halves for good when memory runs out, so one is shared by all that runs.

    `checkpoint`: are layers run again for the backward pass, instead of keeping what they computed? `seconds`: after
    how many for each text sampling stops with what it has; None never.
    """

    tokens: int
    checkpoint: bool = False
    seconds: float | None = None


@dataclass(frozen=True, eq=False)
class Pack:
    """Rows that run together.

    Attributes:
        example: (P,) which example each row belongs to.
        row: (P,) which row of the example's block.
        length: (P,) tokens of the row.
    """

    example: NDArray[np.int64]
    row: NDArray[np.int64]
    length: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.example)

    def halves(self) -> tuple[Pack, Pack]:
        """The same rows as two packs."""
        cut = len(self) // 2
        return (
            Pack(self.example[:cut], self.row[:cut], self.length[:cut]),
            Pack(self.example[cut:], self.row[cut:], self.length[cut:]),
        )


def lengths(blocks: Blocks, delete: bool) -> dict[int, NDArray[np.int64]]:
    """Tokens of every row of every block; rows lose what they delete."""
    return {
        example: keep.ne(0).sum(1).numpy().astype(np.int64) if delete else np.full(len(keep), keep.shape[1], np.int64)
        for example, keep in blocks.items()
    }


def cut(rows: Mapping[int, NDArray[np.int64]], budget: int, model: Model, most: int | None = None) -> Iterator[Pack]:
    """Packs of at most `budget` padded tokens, longest rows first, so that memory runs out early if it will.

    `rows` is example -> (R,) lengths; `most`, how many go together at most. A single row over the budget runs alone; a
    row of no token is left out. A model whose rows can't be padded gets packs of one length.
    """
    if not rows:
        return
    example = np.concatenate([np.full(len(found), key, np.int64) for key, found in rows.items()])
    row = np.concatenate([np.arange(len(found), dtype=np.int64) for found in rows.values()])
    length = np.concatenate(list(rows.values()))
    order = np.argsort(-length, kind="stable")[: int((length > 0).sum())]
    example, row, length = example[order], row[order], length[order]
    at = 0
    while at < len(length):
        longest = int(length[at])
        count = max(1, min(budget // longest, model.max_rows or len(length), most or len(length)))
        if not model.sides:
            count = min(count, int((length[at:] == longest).sum()))
        part = slice(at, at + count)
        yield Pack(example[part], row[part], length[part])
        at += count


@dataclass(frozen=True, eq=False)
class Shelf:
    """The tokens of all examples of a chunk as tensors, from which batches are put together.

    N texts, T tokens of the longest. Several examples may be questions about one text.
    """

    ids: Tensor  # (N, T)
    kinds: Tensor | None  # (N, T)
    text: Tensor  # which text an example is about
    sizes: Tensor  # (N,)
    streams: tuple[Tensor, ...]  # (N, M) each
    pad: int
    side: Side

    @staticmethod
    def fill(inputs: list[Tokens], model: Model) -> Shelf:
        """All examples, on the CPU; batches go to the model's device one at a time."""
        pad = model.blank_ids.get("pad", 0)
        texts = {id(tokens): tokens for tokens in inputs}
        numbers = {key: n for n, key in enumerate(texts)}
        ids = _stack([tokens.ids for tokens in texts.values()], pad)
        kinds = _stack([tokens.kinds for tokens in texts.values()], 0) if inputs[0].kinds else None
        text = torch.tensor([numbers[id(tokens)] for tokens in inputs])
        many = max(len(tokens.streams) for tokens in inputs)
        # Where texts differ in how many streams they have, those that lack some have empty ones.
        rows = [[*tokens.streams, *[()] * (many - len(tokens.streams))] for tokens in texts.values()]
        streams = tuple(_stack(list(stream), -1) for stream in zip(*rows, strict=True))
        sizes = torch.tensor([len(tokens.ids) for tokens in texts.values()])
        return Shelf(ids, kinds, text, sizes, streams, pad, model.sides[0] if model.sides else "right")

    def ids_of(self, example: int, device: torch.device) -> Tensor:
        """(1, T) the text that an example is about."""
        row = self.ids[self.text[example]]
        return row[: self.sizes[self.text[example]]][None].to(device)

    def places(self, pack: Pack, blocks: Blocks, delete: bool) -> Tensor:
        """(P, L) for each position of the batch, the example's token that stands there; -1 at padding."""
        longest = int(pack.length.max())
        if delete:
            kept = [blocks[int(e)][int(r)].ne(0).nonzero()[:, 0] for e, r in zip(pack.example, pack.row, strict=True)]
        else:
            kept = [torch.arange(int(length)) for length in pack.length]
        places = torch.full((len(pack), longest), -1)
        for line, tokens in zip(places, kept, strict=True):
            line[slice(0, len(tokens)) if self.side == "right" else slice(longest - len(tokens), longest)] = tokens
        return places

    def batch(
        self,
        pack: Pack,
        places: Tensor,
        device: torch.device,
        wanted: Tensor | None = None,
        swaps: Swaps = NO_SWAPS,
    ) -> Batch:
        """The rows of a pack as the model takes them."""
        rows = self.text[torch.from_numpy(pack.example)][:, None]
        mask = places >= 0
        at = places.clamp(min=0)
        ids = self.ids[rows, at]
        if swaps:
            for line, (example, row) in enumerate(zip(map(int, pack.example), map(int, pack.row), strict=True)):
                if example in swaps:
                    ids[line] = swaps[example][row][at[line]]
        ids = ids.masked_fill(~mask, self.pad)
        kinds = None if self.kinds is None else self.kinds[rows, at].masked_fill(~mask, 0).to(device)
        asked = None if wanted is None else wanted.to(device)
        streams = tuple(stream[rows[:, 0]].to(device) for stream in self.streams)
        return Batch(ids.to(device), mask.long().to(device), kinds, self.side, places.to(device), asked, streams)


def keeps(pack: Pack, places: Tensor, blocks: Blocks) -> Tensor:
    """(P, L), or (P, L, D), how much of each token of a batch is kept; 1 at padding."""
    found = [
        blocks[int(example)][int(row)][place.clamp(min=0)]
        for example, row, place in zip(pack.example, pack.row, places, strict=True)
    ]
    keep = torch.stack(found)
    away = (places < 0) if keep.dim() == 2 else (places < 0)[..., None]
    return keep.masked_fill(away, 1.0)


def _stack(rows: list[tuple[int, ...]], fill: int) -> Tensor:
    """`[(1, 2), (3,)], 0` -> `[[1, 2], [3, 0]]`."""
    table = torch.full((len(rows), max(map(len, rows))), fill)
    for line, row in zip(table, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
    return table
