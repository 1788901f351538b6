"""How far several explanations of one text rank its words alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from saliently.types import Explanation


def agreement(explanations: Sequence[Explanation]) -> NDArray[np.float64]:
    """(M, M) Kendall's tau-b between the magnitudes of the word scores of each two explanations, between -1 and 1.

    Magnitudes, because sensitivity has no sign. NaN where a ranking does not exist: all scores alike, or one word.
    Kendall 1945; used for saliency by Jain and Wallace 2019. It gives much weight to the order of the many words that
    hardly matter, so a low value may still go with agreement on the words that do.
    """
    from scipy.stats import kendalltau

    sizes = [np.array([abs(unit.score or 0.0) for unit in each.words()]) for each in explanations]
    if len(sizes[0]) < 2:
        return np.full((len(sizes), len(sizes)), np.nan)
    return np.array([[kendalltau(ours, theirs).statistic for theirs in sizes] for ours in sizes], dtype=np.float64)
