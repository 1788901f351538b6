"""Times that can be compared: what is compared runs in turns, so that a slow minute slows all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from sys import stderr
from time import perf_counter


def in_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run in each round, after one round that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            start = perf_counter()
            run()
            print(f"round {turn} of {rounds}: {name}", file=stderr, flush=True)
            if turn:
                seconds[name].append(perf_counter() - start)
    return seconds


def ratio(above: list[float], below: list[float]) -> float:
    """Median over rounds of the ratio within the round."""
    return median(a / b for a, b in zip(above, below, strict=True))
