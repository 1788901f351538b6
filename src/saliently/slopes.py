"""Gradients of the questions of a batch, all from its one forward pass."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from saliently.passes import Pass, Reading, Slope
from saliently.questions import Lines


def slopes(one: Pass, values: Tensor, lines: Lines, reduce: Callable[[Slope], Tensor]) -> list[Reading[Tensor]]:
    """The gradient of each question's number. Rows don't know of each other, so that one backward pass serves a
    question of every row."""
    # Sums over dimensions lose digits in half precision.
    wide = torch.promote_types(one.x.dtype, torch.float32)
    x, word, blank = (each.to(wide) for each in (one.x.detach(), one.word, one.blank))
    turns: dict[int, list[int]] = {}
    seen: dict[int, int] = {}
    for q, line in enumerate(lines.line):
        turns.setdefault(seen.get(line, 0), []).append(q)
        seen[line] = seen.get(line, 0) + 1
    found = []
    for turn, questions in turns.items():
        (grad,) = one.gradient(values[questions], [one.x], again=turn + 1 < len(turns))
        parts = reduce(Slope(grad.to(wide), x, word, blank))
        for q in questions:
            value, line = float(values[q].detach()), lines.line[q]
            found.append(Reading(lines.example[q], lines.row[q], value, one.real(line, parts[line])))
    return found
