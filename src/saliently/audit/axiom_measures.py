"""How far a method's scores are from each axiom, on the networks made for it. 0 is kept.

T words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from saliently.audit.asked import Floats
from saliently.audit.axiom_networks import COMPLETE, DUMMIES, IMPLEMENTED, SATURATED, SYMMETRIC, Asked, weighted_sum
from saliently.models.batch import Batch

_NOTHING = 1e-9
"""Below that share of the change it explains, a score is 0."""

_WEIGHTS = 3
"""Weighted sums that are drawn for linearity."""

Scores = Callable[[Asked], Floats]
"""(T,) one method's scores of a network's text."""


@dataclass(frozen=True)
class Axiom:
    """Attributes: name; said, what is measured; violations, one a case, from the scores of a method and a seed;
    amounts, is it asked of saliencies alone, which claim to be amounts of the explained number?"""

    name: str
    said: str
    violations: Callable[[Scores, int], list[float]]
    amounts: bool = False


def _sensitivity(scores: Scores, seed: int) -> list[float]:
    return [float(abs(scores(each)[0]) <= _NOTHING * abs(_value(each, 1.0) - _value(each, 0.0))) for each in SATURATED]


def _dummy(scores: Scores, seed: int) -> list[float]:
    return [_share(scores(network)[list(places)], scores(network)) for network, places in DUMMIES]


def _linearity(scores: Scores, seed: int) -> list[float]:
    chance = np.random.default_rng(seed)
    found = []
    for _ in range(_WEIGHTS):
        a, b, f, g, both = weighted_sum(chance.uniform(0.5, 2.0), -chance.uniform(0.5, 2.0))
        ours = a * scores(f) + b * scores(g)
        found.append(_share(scores(both) - ours, np.abs(a * scores(f)) + np.abs(b * scores(g))))
    return found


def _symmetry(scores: Scores, seed: int) -> list[float]:
    return [_share(np.diff(scores(network)[list(places)]), scores(network)) for network, places in SYMMETRIC]


def _implementation(scores: Scores, seed: int) -> list[float]:
    pairs = [(scores(one), scores(other)) for one, other in IMPLEMENTED]
    return [_share(one - other, np.concatenate([one, other])) for one, other in pairs]


def _completeness(scores: Scores, seed: int) -> list[float]:
    found = []
    for each in COMPLETE:
        change = _value(each, 1.0) - _value(each, 0.0)
        found.append(abs(float(scores(each).sum()) - change) / max(abs(change), 1.0))
    return found


AXIOMS = (
    Axiom(
        "sensitivity(a)", "1 if a word that alone differs from nothing, and changes the value, scores 0", _sensitivity
    ),
    Axiom("dummy", "score of a word that the value does not depend on, as a share of the largest score", _dummy),
    Axiom(
        "linearity", "difference between the scores of a f + b g and a scores(f) + b scores(g), as a share", _linearity
    ),
    Axiom("symmetry", "difference between words that can be exchanged, as a share of the largest score", _symmetry),
    Axiom(
        "invariance",
        "implementation invariance: difference between the scores of one function computed in two ways, as a share of "
        "the largest",
        _implementation,
    ),
    Axiom(
        "completeness",
        "difference between the sum of the scores and what all words together change, as a share of that change, or of "
        "1 where it is smaller",
        _completeness,
        amounts=True,
    ),
)


def _value(asked: Asked, keep: float) -> float:
    """The network at its text, each vector so many times as long: 1 for the text, 0 for nothing."""
    model = asked.model
    batch = Batch.one(model.read({"text": asked.text}, False), model.device)
    return float(model.run(batch, keep * model.embed(batch.ids))[0, 0])


def _share(part: Floats, whole: Floats) -> float:
    """The largest of a part, as a share of the largest of a whole; without sign. 0 where there is no whole."""
    largest = float(np.abs(whole).max())
    return float(np.abs(part).max()) / largest if largest else 0.0
