"""How sure a mean is: bootstrap intervals over texts, and which rows of a table are as good as the best.

N texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from saliently.reports import Figure

DRAWS = 2000
_LEVEL = 0.95
_ROUNDING = 1e-9
"""Means this near to each other are alike."""

Floats = NDArray[np.float64]


def mean_figure(values: Floats, seed: int, blank: str | None = None) -> Figure | None:
    """The mean over texts with its 95 % percentile bootstrap interval (Efron 1979); texts of value NaN are left out,
    and n says how many were not. None where none is left."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return None
    low, high = _interval(known, seed) if len(known) > 1 else (None, None)
    return Figure(float(known.mean()), low, high, len(known), blank)


def mean_of(values: Floats) -> float:
    """The mean without NaN, to sort by; below all others where there is nothing else."""
    return float(np.nanmean(values)) if not np.isnan(values).all() else -np.inf


def share_figure(values: Floats, seed: int, blank: str | None = None) -> Figure | None:
    """The mean of shares, such as 1 where a text is right and 0 where not, with its interval.

    Where all texts give 1, or all 0, a bootstrap has no width, though other texts may differ: then it is Wilson's.
    """
    found = mean_figure(values, seed, blank)
    if found is None or found.low is None or found.low != found.high or found.value not in (0.0, 1.0):
        return found
    return replace(counted_figure(found.value, found.n), blank=blank)


def counted_figure(share: float, n: int) -> Figure:
    """A share of n things that were counted, with Wilson's 95 % interval (Wilson 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(round(share * n), n).proportion_ci(_LEVEL, "wilson")
    return Figure(share, float(interval.low), float(interval.high), n)


def paired_figure(ours: Floats, theirs: Floats, seed: int, blank: str | None = None) -> Figure | None:
    """The mean difference over the same texts, with its interval: what the texts have in common cancels."""
    return mean_figure(np.asarray(ours, np.float64) - np.asarray(theirs, np.float64), seed, blank)


def as_good_as_best(rows: Mapping[str, Floats], higher: bool, seed: int) -> tuple[str, ...]:
    """The row of the best mean, and those whose paired difference from it has 0 in its interval: ties are ties.

    Rows hold a value a text, of the same texts in the same order. Means are over the texts of which all rows that have
    any value have one, so that no row is best by having the easy texts alone.
    """
    sign = 1.0 if higher else -1.0
    rows = {name: values for name, values in rows.items() if not np.isnan(values).all()}
    if not rows:
        return ()
    common = ~np.isnan(np.stack(list(rows.values()))).any(0)
    if common.any():
        rows = {name: values[common] for name, values in rows.items()}
    means = {name: sign * mean_of(values) for name, values in rows.items()}
    best = max(means, key=lambda name: means[name])
    found = [best]
    for name in means:
        behind = None if name == best else paired_figure(sign * rows[best], sign * rows[name], seed)
        if behind is not None and (behind.low is None or behind.low <= _ROUNDING):
            found.append(name)
    return tuple(found)


def _interval(values: Floats, seed: int) -> tuple[float, float]:
    generator = np.random.default_rng(seed)
    many = len(values)
    means = np.concatenate(
        [values[generator.integers(many, size=(DRAWS // 10, many))].mean(1) for _ in range(10)]
    )  # a tenth at a time, for the memory
    low, high = np.quantile(means, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
