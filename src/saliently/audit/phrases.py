"""How figures and names are put into the sentences of a verdict."""

from __future__ import annotations

from collections.abc import Sequence

from numpy import isnan

from saliently.audit.asked import Floats
from saliently.metrics.intervals import share_figure
from saliently.reports import Figure


def listed(names: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"; "none" of none."""
    if len(names) < 2:
        return names[0] if names else "none"
    return f"{', '.join(names[:-1])} and {names[-1]}"


def share(values: Floats, seed: int) -> str:
    """The mean of shares with its interval, in words."""
    return with_interval(share_figure(values, seed))


def with_interval(figure: Figure | None, spelled: str = ".0%") -> str:
    """ "91% [90%, 92%]", without the interval where there is none; numbers are spelled by a format."""
    if figure is None or isnan(figure.value):
        return "an unknown share"
    value = format(figure.value, spelled)
    if figure.low is None or figure.high is None:
        return value
    return f"{value} [{format(figure.low, spelled)}, {format(figure.high, spelled)}]"
