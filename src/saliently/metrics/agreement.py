"""How far several explanations of one text rank its words alike.

All are of magnitudes, because sensitivity has no sign, and all are NaN where a ranking does not exist: all scores
alike, or fewer than two words. Methods that agree may still be wrong together.

M explanations, W words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from saliently.errors import RecipeError, did_you_mean
from saliently.metrics.ranked import Ranked
from saliently.types import Explanation

Floats = NDArray[np.float64]
By = Literal["kendall", "spearman", "top-k", "rank-biased-overlap"]


def agreement(explanations: Sequence[Explanation]) -> Floats:
    """(M, M) Kendall's tau-b between the magnitudes of the word scores of each two explanations, between -1 and 1.

    Magnitudes, because sensitivity has no sign. NaN where a ranking does not exist: all scores alike, or one word.
    Kendall 1945; used for saliency by Jain and Wallace 2019. It gives much weight to the order of the many words that
    hardly matter, so a low value may still go with agreement on the words that do.
    """
    return agreements(explanations)


def agreements(
    explanations: Sequence[Explanation], by: By = "kendall", k: int = 5, p: float = 0.9, seed: int = 0
) -> Floats:
    """(M, M) agreement of each two explanations by the measure of that name; `k` is of top-k, `p` of rank-biased
    overlap, `seed` of both.

    Raises:
        RecipeError: no such measure; explanations of different texts; k or p out of range.
    """
    measures: dict[str, Callable[[Explanation, Explanation], float]] = {
        "kendall": kendall,
        "spearman": spearman,
        "top-k": lambda one, other: top_k(one, other, k, seed),
        "rank-biased-overlap": lambda one, other: rank_biased_overlap(one, other, p, seed),
    }
    if by not in measures:
        raise RecipeError(
            f"Agreement by {by!r} was asked for; there are {', '.join(map(repr, measures))}."
            f"{did_you_mean(str(by), measures)}"
        )
    found = np.full((len(explanations), len(explanations)), np.nan)
    for i, one in enumerate(explanations):
        for j, other in enumerate(explanations[: i + 1]):
            found[i, j] = found[j, i] = measures[by](one, other)
    return found


def kendall(one: Explanation, other: Explanation) -> float:
    """Kendall's tau-b of the magnitudes of two explanations' words, between -1 and 1; ties count (Kendall 1945)."""
    from scipy.stats import kendalltau

    sizes = _sizes(one, other)
    return float("nan") if sizes is None else float(kendalltau(*sizes).statistic)


def spearman(one: Explanation, other: Explanation) -> float:
    """Spearman's rho: the correlation of the ranks of the magnitudes, between -1 and 1; ties get their mean rank
    (Spearman 1904)."""
    from scipy.stats import spearmanr

    sizes = _sizes(one, other)
    return float("nan") if sizes is None else float(spearmanr(*sizes).statistic)


def top_k(one: Explanation, other: Explanation, k: int = 5, seed: int = 0) -> float:
    """The share of the k largest words of one that are among the k largest of the other (feature agreement, Krishna et
    al. 2022), between 0 and 1; by chance k / W. NaN also where the text has no more than k words.

    Ties are broken at random, by the text: as in the metrics, and alike for both.

    Raises:
        RecipeError: k below 1; explanations of different texts.
    """
    if type(k) is not int or k < 1:
        raise RecipeError(f"The {k!r} largest words were asked for; give a whole number from 1 up.")
    sizes = _sizes(one, other)
    if sizes is None or len(sizes[0]) <= k:
        return float("nan")
    ours, theirs = (_ranked(*each, seed).first(k) for each in zip((one, other), sizes, strict=True))
    return float((ours & theirs).sum()) / k


def rank_biased_overlap(one: Explanation, other: Explanation, p: float = 0.9, seed: int = 0) -> float:
    """Rank-biased overlap of the words by magnitude, extrapolated (Webber et al. 2010, Eq. 30), between 0 and 1.

    A_d, the share of words that the first d of both rankings have in common, averaged over depths d = 1, 2, ... with
    weights (1 - p) p^(d - 1). The rankings end at d = W, where A_W = 1 since both hold all words; as the paper
    extrapolates, that stays so beyond, so short texts agree by much: p^W of it is not measured. With p = 0.9 the first
    10 words have 86 % of the weight. Ties as in `top_k`.

    Raises:
        RecipeError: p not between 0 and 1; explanations of different texts.
    """
    if not 0 < p < 1:
        raise RecipeError(f"Rank-biased overlap was asked for with p={p!r}; give a number between 0 and 1.")
    sizes = _sizes(one, other)
    if sizes is None:
        return float("nan")
    ours, theirs = (_ranked(*each, seed).order for each in zip((one, other), sizes, strict=True))
    places = np.empty((2, len(ours)), np.int64)
    places[0, ours] = places[1, theirs] = np.arange(len(ours))
    depths = np.arange(1, len(ours) + 1)
    # A word is in both beginnings from the later of its two places on.
    common = np.bincount(places.max(0), minlength=len(ours)).cumsum() / depths
    return float(common[-1] * p ** len(ours) + (1 - p) / p * (common * p**depths).sum())


def _sizes(one: Explanation, other: Explanation) -> tuple[Floats, Floats] | None:
    """(W,) magnitudes of the words of both; None where one ranks nothing."""
    if one.tokens.ids != other.tokens.ids or one.tokens.units != other.tokens.units:
        raise RecipeError(
            f"Agreement on one text was asked for; {one.method} and {other.method} are about different ones."
        )
    sizes = [np.array([abs(unit.score or 0.0) for unit in each.words()], np.float64) for each in (one, other)]
    if any(len(each) < 2 or float(np.ptp(each)) == 0.0 for each in sizes):
        return None
    return sizes[0], sizes[1]


def _ranked(explanation: Explanation, sizes: Floats, seed: int) -> Ranked:
    return replace(Ranked.of(explanation, seed), scores=sizes)
