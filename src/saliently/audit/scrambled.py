"""Weight randomisation: an explanation of this model must change when its weights do.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps". Departure: weights are not drawn anew from their initial
distribution, which a saved model does not tell, but each tensor's entries are shuffled, so that their sizes stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn

from saliently.audit.asked import Asked, Before, Floats, explained, explained_again
from saliently.data import Row
from saliently.models.base import Model
from saliently.models.copying import copied
from saliently.types import Explanation

Order = Literal["cascading", "independent"]

PASSES = 0.5
"""Rank correlation that the upper end of the interval must stay below."""


def parts(model: Model) -> list[tuple[str, tuple[nn.Module, ...]]]:
    """What is scrambled together, from the output back to the input: the modules with weights of their own, grouped by
    the first number in their names (a layer), or else by themselves; word vectors last."""
    groups: dict[str, list[nn.Module]] = {}
    seen: set[int] = set()
    for name, part in model.module.named_modules():
        own = [weight for weight in part.parameters(recurse=False) if id(weight) not in seen]
        if not own:
            continue
        seen.update(id(weight) for weight in own)
        words = name.split(".")
        number = next((i for i, word in enumerate(words) if word.isdigit()), None)
        groups.setdefault(".".join(words if number is None else words[: number + 1]), []).append(part)
    found = [(name, tuple(modules)) for name, modules in groups.items()]
    inputs = [each for each in found if any(part is model.embedding for part in each[1])]
    return [*reversed([each for each in found if each not in inputs]), *inputs]


def scrambled(model: Model, names: Sequence[str], seed: int) -> Model:
    """A copy in which the entries of every weight tensor of these parts are shuffled, each tensor by itself."""
    copy = copied(model, f"{model.name} scrambled")
    generator = torch.Generator().manual_seed(seed)
    done: set[int] = set()
    with torch.no_grad():
        for _, modules in (each for each in parts(copy) if each[0] in names):
            for weight in (weight for part in modules for weight in part.parameters(recurse=False)):
                if id(weight) not in done:
                    done.add(id(weight))
                    order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                    weight.copy_(weight.flatten()[order].view_as(weight))
    return copy


def similarity(asked: Asked, copy: Model, method: str, rows: Sequence[Row], before: Before = None) -> Floats:
    """(N,) Spearman's correlation between the sizes of word scores in the model and in its copy, for the label that the
    model predicts; NaN for texts that can't be explained or ranked. `before`: explanations of the model, if at hand."""
    before = explained(asked, method, rows) if before is None else before
    after = explained_again(replace(asked, model=copy), method, rows, before)
    return np.array([alike(one, other) for one, other in zip(before, after, strict=True)], np.float64)


def alike(one: Explanation | None, other: Explanation | None) -> float:
    """Spearman's correlation of the sizes of word scores; NaN where there is no ranking."""
    if one is None or other is None:
        return float("nan")
    sizes = [np.array([abs(unit.score or 0.0) for unit in each.words()]) for each in (one, other)]
    if len(sizes[0]) < 2 or any(float(np.ptp(each)) == 0.0 for each in sizes):
        return float("nan")
    return float(spearmanr(*sizes).statistic)


def stages(model: Model, order: Order) -> list[tuple[str, tuple[str, ...]]]:
    """What is scrambled at each stage, and what that is called: ever more from the output back, or one part a time."""
    names = [name for name, _ in parts(model)]
    if order == "independent":
        return [(name, (name,)) for name in names]
    return [(f"down to {name}", tuple(names[: i + 1])) for i, name in enumerate(names)]
