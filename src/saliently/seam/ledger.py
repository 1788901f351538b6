"""Who kept relevance: what a backward pass left with biases, added vectors and softmaxes instead of inputs."""

from __future__ import annotations

import torch
from torch import Tensor


class Ledger:
    """Amounts of relevance by keeper, for each row of one batch.

    Attributes: rows, R; length, L; kept, (R,) amounts by keeper.
    """

    def __init__(self, rows: int, length: int) -> None:
        self.rows, self.length = rows, length
        self.kept: dict[str, Tensor] = {}

    def note(self, who: str, amounts: Tensor) -> None:
        """Add amounts (R, ...), (R * L, ...) or (L, R, ...). Amounts of any other shape can't be told apart by row,
        and stay in what is left unexplained."""
        found = self._by_row(amounts.detach())
        if found is not None:
            wide = found.to("cpu", torch.float64)
            self.kept[who] = self.kept[who] + wide if who in self.kept else wide

    def _by_row(self, amounts: Tensor) -> Tensor | None:
        wide = torch.promote_types(amounts.dtype, torch.float32)
        shape = amounts.shape
        if self.rows == 1:
            amounts = amounts.reshape(1, -1)
        elif shape[:2] == (self.length, self.rows) and self.length != self.rows:
            amounts = amounts.transpose(0, 1)
        elif shape[:1] == (self.rows * self.length,):
            amounts = amounts.reshape(self.rows, -1)
        elif shape[:1] != (self.rows,):
            return None
        sums = amounts.reshape(self.rows, -1).sum(-1, dtype=wide)
        if bool(sums.isfinite().all()):
            return sums
        # A mask of minus infinity keeps 0 times infinity, which is nothing.
        return torch.nan_to_num(amounts).reshape(self.rows, -1).sum(-1, dtype=wide)
