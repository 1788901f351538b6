"""The explained number at rows of many texts, by forward passes alone.

P rows of a batch, R rows of a text, L tokens of the longest, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliently import erase, packing
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.models.heads import Spot
from saliently.models.prefix import Past
from saliently.packing import Pack, Shelf
from saliently.questions import Lines, Questions
from saliently.reuse import Leaving, leaving, places_after
from saliently.seam.mode import is_open
from saliently.shared import Shared

Answer = tuple[Lines, Tensor]
"""Questions of a batch, and their explained numbers (Q,) float64 on the CPU."""


@dataclass(frozen=True, eq=False)
class Values:
    """What it takes to run rows forward. Attributes: model; questions; shelf; shared, the rows; blank, what stands
    where a word was taken away; vector, of that (D,)."""

    model: Model
    questions: Questions
    shelf: Shelf
    shared: Shared
    blank: str
    vector: Callable[[str], Tensor]

    @property
    def delete(self) -> bool:
        """Do ids go, so that later ones move up? Without vectors an id stands for a word that is gone."""
        return self.blank == "delete" and self.model.vectors

    @cached_property
    def leaving(self) -> dict[int, Leaving]:
        """Texts of which many rows begin as the plain text does, in models that can go on from a beginning."""
        if self.model.prefixes is None or is_open():
            return {}  # what looks inside or changes attention counts on whole rows
        wanted: dict[int, list[int]] = {}
        for (e, _), askers in self.shared.asked.items():
            wanted.setdefault(e, []).extend(term.token for i, _ in askers for term in self.questions.spots[i].terms)
        found = {
            e: leaving(keep, wanted[e], self.delete)
            for e, keep in self.shared.blocks.items()
            if e not in self.shared.swaps  # rows with other words in them are run whole
        }
        return {e: leaves for e, leaves in found.items() if leaves is not None}

    def from_start(self) -> dict[int, NDArray[np.int64]]:
        """Lengths of the rows that are run whole; 0 for others."""
        rows = packing.lengths(self.shared.blocks, self.delete)
        return {
            e: np.where(self.leaving[e].taken.numpy(), 0, many) if e in self.leaving else many
            for e, many in rows.items()
        }

    def whole(self, pack: Pack) -> Answer:
        """Rows from their first token on."""
        return self._run(pack, self.shelf.places(pack, self.shared.blocks, self.delete), self.model.run)

    def plain(self, e: int) -> tuple[Past, Answer]:
        """The unchanged text: what its beginnings are made of, and its own answers, which are those of rows that leave
        it behind all that is read as well."""
        rows = (self.leaving[e].rest == 0) & self.leaving[e].taken
        pack = _pack(e, rows, self.shared.blocks[e].shape[1])
        lines = self.shared.lines(pack)
        wanted = self.questions.wanted(lines, len(pack))
        assert wanted is not None
        assert self.model.prefixes is not None
        every = [term.token for spot in self._spots(e) for term in spot.terms]
        tokens = torch.tensor(sorted(set(every)), device=self.model.device)
        with torch.no_grad():
            past = self.model.prefixes.past(self.shelf.ids_of(e, self.model.device), tokens)
            outputs = past.at(wanted.to(self.model.device))
            return past, (lines, self.questions.evaluate(lines, outputs).double().cpu())

    def after(self, past: Past, pack: Pack) -> Answer:
        """Rows of one text from where the first of them leaves the plain text on."""
        first = self.leaving[int(pack.example[0])].first[pack.row]
        places = places_after(pack, self.shared.blocks, int(first.min()), self.delete)
        assert self.model.prefixes is not None
        after = partial(self.model.prefixes.after, past, first)
        return self._run(pack, places, lambda batch, x: self.model.run(replace(batch, side="right"), x, after))

    def _spots(self, e: int) -> list[Spot]:
        rows = len(self.shared.blocks[e])
        return [self.questions.spots[i] for row in range(rows) for i, _ in self.shared.asked[e, row]]

    def _run(self, pack: Pack, places: Tensor, run: Callable[[Batch, Tensor | None], Tensor]) -> Answer:
        lines = self.shared.lines(pack)
        wanted = self.questions.wanted(lines, len(pack))
        batch, x = self.shelf.batch(pack, places, self.model.device, wanted, self.shared.swaps), None
        if not self.delete:
            keep = packing.keeps(pack, places, self.shared.blocks).to(self.model.device)
            if self.model.vectors and not bool((keep == 1).all()):
                x = erase.blend(self.model.embed(batch.ids), keep, self.vector(self.blank))
            elif not bool((keep == 1).all()):
                batch = replace(batch, ids=batch.ids.masked_fill(keep != 1, self._blank_id()))
        with torch.no_grad():
            return lines, self.questions.evaluate(lines, run(batch, x)).double().cpu()

    def _blank_id(self) -> int:
        """The id that stands for a word taken away, where words have no vectors."""
        found = self.model.blank_ids.get(self.blank)
        return int(self.vector(self.blank).sum()) if found is None else found


def _pack(e: int, rows: Tensor, length: int) -> Pack:
    """Some whole rows of one text."""
    numbers = rows.nonzero()[:, 0].numpy().astype(np.int64)
    return Pack(np.full(len(numbers), e, np.int64), numbers, np.full(len(numbers), length, np.int64))
