"""The passes that a method can't do without: a forward, or forward and backward, per row, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def packs(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Rows sorted by length, cut at a budget of padded tokens."""
    order, found, at = sorted(range(len(lengths)), key=lambda i: -lengths[i]), [], 0
    while at < len(order):
        count = max(1, budget // lengths[order[at]])
        found.append(order[at : at + count])
        at += count
    return found


def run(module: nn.Module, rows: Sequence[Sequence[int]], budget: int, backward: bool) -> None:
    """Every row once; the class with the largest logit, back to the word vectors."""
    for pack in packs([len(row) for row in rows], budget):
        ids, mask = padded([rows[i] for i in pack])
        if not backward:
            with torch.no_grad():
                module(input_ids=ids, attention_mask=mask)
            continue
        x = module.get_input_embeddings()(ids).detach().requires_grad_()
        logits = module(inputs_embeds=x, attention_mask=mask).logits
        torch.autograd.grad(logits.max(-1).values.sum(), x)


def padded(rows: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Ids and mask (R, L), padded on the right with 0."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    return ids, mask
