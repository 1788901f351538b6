"""ContextCite (Cohen-Wang et al. 2024): a sparse linear surrogate of what parts of a context do for a response.

N players, A ablations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator as Random

from saliently.errors import MissingExtraError
from saliently.games.asking import Asking, Keep, Request, Solution, Values, ends
from saliently.games.lime import agreement

_AGAIN = 20


class Sparse(NamedTuple):
    """Attributes: ablations, how many are drawn; keep, the probability that a player stays; penalty, of the LASSO, on
    standardised players and values by output; outputs, tokens that the explained number is a sum over."""

    ablations: int
    keep: float
    penalty: float
    outputs: int


def context_cite(players: int, sparse: Sparse, random: Random) -> Asking:
    """Draw coalitions in which each player stays with one probability, and fit a LASSO.

    Raises:
        MissingExtraError: scikit-learn is not installed.
    """
    lasso = _lasso()
    everything, nothing = (yield Request(ends(players))).values.tolist()
    keep = random.random((sparse.ablations, players)) < sparse.keep
    told = (yield Request(keep)).values
    found = _fitted(lasso, keep, told, sparse)
    left = told - told.mean() - (keep - keep.mean(0)) @ found
    spread = float(np.square(told - told.mean()).sum())
    again = [random.integers(0, len(keep), len(keep)) for _ in range(_AGAIN)]
    stability = agreement([_fitted(lasso, keep[each], told[each], sparse) for each in again])
    r2 = 1 - float(np.square(left).sum()) / spread if spread else 1.0
    return Solution(found, everything, nothing, fit=r2, stability=stability)


def _fitted(lasso: Any, keep: Keep, told: Values, sparse: Sparse) -> Values:
    """(N,) what each player adds."""
    scale = keep.std(0)
    scale[scale == 0] = 1.0  # a player that was always there, or never: nothing can be told of it
    # Without a state of its own it would draw from numpy's global one.
    fitted = lasso(alpha=sparse.penalty, random_state=0).fit((keep - keep.mean(0)) / scale, told / sparse.outputs)
    found: Values = fitted.coef_ / scale * sparse.outputs
    return found


def _lasso() -> Any:
    try:
        from sklearn.linear_model import Lasso
    except ImportError:
        raise MissingExtraError(
            "A LASSO was to be fitted, but scikit-learn is not installed. "
            "Install it with: pip install 'saliently[lasso]'"
        ) from None
    return Lasso
