"""Which words of a text are marked as evidence, and what a model says of these alone and of the others alone.

N texts, W words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from saliently import erase
from saliently.audit.asked import Asked, Floats
from saliently.metrics.ranked import rows
from saliently.packing import Budget
from saliently.runner import Runner
from saliently.types import Target, Tokens

Flags = NDArray[np.bool_]
"""(W,) of each word of a text, in order: is it evidence?"""


def both(on: Flags) -> bool:
    """Are there words of the evidence, and others?"""
    return bool(on.any()) and not bool(on.all())


@dataclass(frozen=True, eq=False)
class Parts:
    """What the model says of parts of N texts.

    Attributes:
        whole, alone, rest: the probability of the predicted class of the text, of its evidence alone, and of its other
            words alone.
        share: of what the explained number loses without one part and without the other, what it loses without the
            evidence; a loss below 0 is none.
    """

    whole: Floats
    alone: Floats
    rest: Floats
    share: Floats


def parts(asked: Asked, tokens: Sequence[Tokens], flags: Sequence[Flags]) -> Parts:
    """Ask the model about each text, its evidence alone, and its other words alone; what is away is blanked."""
    here = [i for i, on in enumerate(flags) if both(on)]
    keep = {
        n: rows(tokens[i], np.array([np.ones(len(flags[i])), flags[i], ~flags[i]], np.float64))
        for n, i in enumerate(here)
    }
    whole, alone, rest = _answers(asked, tokens, keep, here, Target(of="probability")).T
    number = _answers(asked, tokens, keep, here, asked.target)
    without_rest, without_evidence = (np.maximum(number[:, 0] - number[:, kept], 0.0) for kept in (1, 2))
    lost = without_rest + without_evidence
    share = np.divide(without_evidence, lost, out=np.full(len(tokens), np.nan), where=lost > 0)
    return Parts(whole, alone, rest, share)


def _answers(
    asked: Asked, tokens: Sequence[Tokens], keep: Mapping[int, Tensor], here: Sequence[int], target: Target
) -> Floats:
    """(N, 3) the target of the texts that are here, at their three rows; NaN elsewhere."""
    table = np.full((len(tokens), 3), np.nan)
    if here:
        runner = Runner(asked.model, [tokens[i] for i in here], target, Budget(asked.options.budget))
        with asked.model.resting():
            found = runner.values(keep, erase.default_blank(asked.model))
        for n, i in enumerate(here):
            table[i] = found[n].numpy()
    return table
