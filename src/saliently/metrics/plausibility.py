"""How far the words that an explanation names are those that people marked as evidence.

Plausibility is agreement with people, and NOT faithfulness: a model may be right for other reasons than people are, and
an explanation that says so is the better one (Jacovi and Goldberg 2020). Use it to compare a model's reasons with
people's, never to choose an explanation method.

W words; a rationale is (W,) flags, one a word of the explanation in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from saliently.errors import MissingExtraError, RecipeError
from saliently.metrics.ranked import Ranked
from saliently.types import Explanation

_OVERLAP = 0.5

Run = tuple[int, int]
"""Words [start, end)."""


def token_f1(explanation: Explanation, rationale: Sequence[bool], seed: int = 0) -> float:
    """F1 of the k strongest words against the k words of the rationale, between 0 and 1 (DeYoung et al. 2020).

    This is plausibility, agreement with people, and NOT faithfulness. As many words are chosen as people marked, so
    precision, recall and F1 are one number; by chance it is k / W. NaN where nothing is marked. Departures: words in
    the place of tokens; the authors choose as many as the data set marks on average. Ties at random, as in `Ranked`.

    Raises:
        RecipeError: not one flag a word.
    """
    marked, chosen = _both(explanation, rationale, seed)
    return float((marked & chosen).sum() / marked.sum()) if marked.any() else float("nan")


def iou_f1(explanation: Explanation, rationale: Sequence[bool], seed: int = 0) -> float:
    """F1 of the runs of chosen words against the runs of marked words, which match where their intersection is at least
    half of their union; between 0 and 1 (DeYoung et al. 2020).

    This is plausibility, agreement with people, and NOT faithfulness. Chosen are the k strongest words, k the size of
    the rationale; a run ends with its field. NaN where nothing is marked. Departures: words in the place of tokens; F1
    of each text, where the authors take F1 of the mean precision and the mean recall.

    Raises:
        RecipeError: not one flag a word.
    """
    marked, chosen = _both(explanation, rationale, seed)
    if not marked.any():
        return float("nan")
    fields = [unit.field for unit in explanation.words()]
    truths, found = _runs(marked, fields), _runs(chosen, fields)
    match = np.array([[_overlap(one, other) >= _OVERLAP for other in truths] for one in found])
    precision, recall = float(match.any(1).mean()), float(match.any(0).mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def auprc(explanation: Explanation, rationale: Sequence[bool]) -> float:
    """Area under the curve of precision over recall while words come by score, as average precision; between 0 and 1.

    This is plausibility, agreement with people, and NOT faithfulness. By chance it is about the share of marked words.
    NaN where nothing is marked. Departure: DeYoung et al. 2020 join the points by straight lines, which is too
    optimistic between them (Davis and Goadrich 2006). Words of one score come together. Needs scikit-learn (the extra
    `evaluate`).

    Raises:
        RecipeError: not one flag a word. MissingExtraError: without scikit-learn.
    """
    marked = _flags(explanation, rationale)
    scores = [unit.score for unit in explanation.words()]
    return float(_average_precision()(marked, scores)) if marked.any() else float("nan")


def _average_precision() -> Any:
    try:
        from sklearn.metrics import average_precision_score
    except ImportError:
        raise MissingExtraError(
            "Average precision was asked for, but scikit-learn is not installed. "
            "Install it with: pip install 'saliently[evaluate]'"
        ) from None
    return average_precision_score


def _flags(explanation: Explanation, rationale: Sequence[bool]) -> NDArray[np.bool_]:
    words = len(explanation.tokens.pieces_of)
    if len(rationale) != words:
        raise RecipeError(
            f"A rationale of {len(rationale)} words was given for an explanation of {words}. Give a flag a word, in "
            "the order of the text."
        )
    return np.array(rationale, bool)


def _both(
    explanation: Explanation, rationale: Sequence[bool], seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(W,) marked words, and as many of the strongest."""
    marked = _flags(explanation, rationale)
    return marked, Ranked.of(explanation, seed).first(int(marked.sum()))


def _runs(flags: NDArray[np.bool_], fields: Sequence[str]) -> list[Run]:
    """Flagged words that stand together, in one field."""
    found: list[Run] = []
    for at in np.flatnonzero(flags).tolist():
        if found and found[-1][1] == at and fields[at - 1] == fields[at]:
            found[-1] = (found[-1][0], at + 1)
        else:
            found.append((at, at + 1))
    return found


def _overlap(one: Run, other: Run) -> float:
    """Intersection over union, in words."""
    common = max(0, min(one[1], other[1]) - max(one[0], other[0]))
    return common / (one[1] - one[0] + other[1] - other[0] - common)
