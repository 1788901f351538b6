"""What a model is called with: rows of tokens, padded to one length.

R rows of a batch, L tokens of its longest row, M tokens of one text of several, W places wanted, C labels, D embedding
dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from saliently.types import Tokens

Side = Literal["right", "left"]


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows padded to one length.

    Attributes:
        ids: (R, L) token ids; the model's padding id where `mask` is 0.
        mask: (R, L) 1 at real tokens.
        kinds: (R, L) segment ids, or None for models that take none.
        side: on which side the padding is.
        places: (R, L) which token of its input stands at a place, -1 at padding.
        wanted: (R, W) the tokens at whose places the output is asked for, in models that give one at each; -1 where
            fewer are; None is the first one.
        streams: (R, M) each, the tokens of each text that the model reads by itself, -1 where there are fewer; empty if
            it reads one.
    """

    ids: Tensor
    mask: Tensor
    kinds: Tensor | None
    side: Side
    places: Tensor
    wanted: Tensor | None = None
    streams: tuple[Tensor, ...] = ()

    @staticmethod
    def of(ids: Tensor, kinds: Tensor | None = None, mask: Tensor | None = None, side: Side = "right") -> Batch:
        """Whole inputs (R, L), of one length unless a mask says otherwise."""
        real = torch.ones_like(ids) if mask is None else mask
        return Batch(ids, real, kinds, side, (real.cumsum(-1) - 1).masked_fill(real == 0, -1))

    @staticmethod
    def one(tokens: Tokens, device: torch.device) -> Batch:
        """One whole input."""
        ids, kinds = (torch.tensor([each], device=device) for each in (tokens.ids, tokens.kinds))
        streams = tuple(torch.tensor([each], device=device) for each in tokens.streams)
        return replace(Batch.of(ids, kinds if tokens.kinds else None), streams=streams)

    def cut(self, rows: Sequence[int] | slice, columns: Tensor | slice = slice(None)) -> Batch:
        """Some rows, and of these some columns."""
        ids, mask, places = (each[rows][:, columns] for each in (self.ids, self.mask, self.places))
        kinds = None if self.kinds is None else self.kinds[rows][:, columns]
        wanted = None if self.wanted is None else self.wanted[rows]
        return Batch(ids, mask, kinds, self.side, places, wanted, tuple(stream[rows] for stream in self.streams))

    def copies(self, rows: int) -> Batch:
        """So many copies of the one row that this has."""
        return self.cut([0] * rows)

    def wanting(self, tokens: Tensor) -> Batch:
        """The same, with the output at the places of these tokens (R, W)."""
        return replace(self, wanted=tokens)

    def found(self, before: bool) -> Tensor:
        """(R, W) the places of the tokens that are wanted; -1 where one was taken away, unless the last one left before
        it will do (`before`)."""
        return _found(self.places, self.wanted, before)

    def read(self, outputs: Tensor, before: bool = False) -> Tensor:
        """(R, W, C) what (R, L, C) holds at the places wanted, NaN where there is none; (R, C) at the first place."""
        return self.pick(outputs, self.found(before))

    def pick(self, outputs: Tensor, at: Tensor) -> Tensor:
        """(R, W, C) what (R, M, C) holds at (R, W), NaN for -1; without the axis W where no place is wanted."""
        at = at.to(outputs.device)  # the last layer of a model may be on another device than the first
        found = outputs[torch.arange(len(at), device=at.device)[:, None], at.clamp(min=0)]
        if bool((at < 0).any()):
            found = found.masked_fill((at < 0)[..., None], torch.nan)
        return found[:, 0] if self.wanted is None else found

    def part(self, k: int, pad: int) -> Part:
        """The kth text that is read by itself, what is left of it moved together."""
        tokens = self.streams[k]
        here = (self.places[:, None] == tokens[..., None]) & (tokens >= 0)[..., None]
        at = torch.where(here.any(-1), here.long().argmax(-1), -1)
        at = at.gather(1, (at < 0).long().argsort(stable=True, dim=1))[:, : max(1, int((at >= 0).sum(1).max()))]
        return Part.at(self, at, pad)

    @property
    def positions(self) -> Tensor:
        """(R, L) place of each token in its own row, so that padding on the left moves nothing."""
        return (self.mask.cumsum(-1) - 1).clamp(min=0)


@dataclass(frozen=True, eq=False)
class Part:
    """One of the texts of a batch that are read by themselves, padded on the right.

    Attributes: ids, mask (R, M); kinds (R, M) or None; rows (R, 1), whose they are; places (R, M), where in the batch;
    whole, is it the batch as it stands?
    """

    ids: Tensor
    mask: Tensor
    kinds: Tensor | None
    rows: Tensor
    places: Tensor
    whole: bool = False

    @staticmethod
    def all(batch: Batch) -> Part:
        """The whole batch as it stands."""
        places = torch.arange(batch.ids.shape[1], device=batch.ids.device).expand_as(batch.ids)
        return Part(batch.ids, batch.mask, batch.kinds, _rows(batch.ids), places, whole=True)

    @staticmethod
    def at(batch: Batch, at: Tensor, pad: int) -> Part:
        """The places `at` (R, M) of a batch; -1 is padding."""
        real, places = at >= 0, at.clamp(min=0)
        ids = batch.ids.gather(1, places).masked_fill(~real, pad)
        kinds = None if batch.kinds is None else batch.kinds.gather(1, places).masked_fill(~real, 0)
        return Part(ids, real.long(), kinds, _rows(at), at)

    @staticmethod
    def side_by_side(parts: Sequence[Part], pad: int) -> Part:
        """(R K, M) the K texts of each row as rows, those of one row together."""
        longest = max(part.ids.shape[1] for part in parts)

        def joined(each: Sequence[Tensor], fill: int) -> Tensor:
            wide = [nn.functional.pad(one, (0, longest - one.shape[1]), value=fill) for one in each]
            return torch.stack(wide, 1).flatten(0, 1)

        return Part(
            joined([part.ids for part in parts], pad),
            joined([part.mask for part in parts], 0),
            None if parts[0].kinds is None else joined([part.kinds for part in parts if part.kinds is not None], 0),
            torch.stack([part.rows for part in parts], 1).flatten(0, 1),
            joined([part.places for part in parts], -1),
        )

    def lines(self, some: Tensor) -> Part:
        """Some of its rows, without places that are padding in all of them."""
        wide = max(1, int(self.mask[some].sum(1).max()))
        ids, mask, places = (each[some, :wide] for each in (self.ids, self.mask, self.places))
        return Part(ids, mask, None if self.kinds is None else self.kinds[some, :wide], self.rows[some], places)

    @property
    def empty(self) -> Tensor:
        """(R,) has it no token left?"""
        return ~self.mask.bool().any(1)

    def vectors(self, x: Tensor) -> Tensor:
        """(R, M, D) its word vectors, of the batch's (R, L, D)."""
        return x if self.whole else x[self.rows, self.places.clamp(min=0)]

    def read(self, batch: Batch, outputs: Tensor, before: bool) -> Tensor:
        """As `Batch.read`, where outputs (R, M, C) are those of this text."""
        tokens = batch.places[self.rows, self.places.clamp(min=0)].masked_fill(self.places < 0, -1)
        return batch.pick(outputs, _found(tokens, batch.wanted, before))


def _rows(like: Tensor) -> Tensor:
    return torch.arange(len(like), device=like.device)[:, None]


def _found(tokens: Tensor, wanted: Tensor | None, before: bool) -> Tensor:
    """(R, W) where the wanted tokens (R, W) stand among those left (R, M), in order; -1 for what is gone, or with
    `before` the last one before it."""
    asked = tokens.new_zeros(len(tokens), 1) if wanted is None else wanted
    at = torch.arange(tokens.shape[1], device=tokens.device)
    here = (tokens >= 0)[:, None] & (tokens[:, None] <= asked[..., None])
    last = torch.where(here, at, -1).amax(-1)
    same = tokens.gather(1, last.clamp(min=0)) == asked
    return last if before else last.masked_fill(~same, -1)
