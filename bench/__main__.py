"""python -m bench [--data FOLDER] [--texts N] [--rounds N]: a table of ratios from one run.

Bare passes run the same rows, sorted by length, at the same token budget. Captum runs one text at a time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import saliently
from bench import bare, captum_calls, clock, memory
from saliently.models.base import Model


class Case(NamedTuple):
    """One row of the table: our recipe, Captum's call, and the bars of the ratios."""

    recipe: str
    rival: Callable[[nn.Module, Sequence[Sequence[int]]], object]
    most_over_bare: float | None
    least_over_captum: float


CASES = (
    Case("gradient-x-input", captum_calls.gradient_x_input, 1.15, 1.6),
    Case("integrated-gradients(blank='mask')", captum_calls.integrated_gradients, None, 1.7),
    Case("occlusion(blank='mask')", captum_calls.occlusion, 1.2, 2.7),
)


def main() -> None:
    """Measure and print."""
    options = _arguments()
    model = saliently.load(options.data.parent / "models" / "minilm-sst2")
    lines = (options.data / "sst2_tsv" / "test.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[0] for line in lines[: options.texts]]
    table = Table("method", "rows", "over bare passes", "bar", "faster than Captum", "bar", "gap")
    met = True
    for case in CASES:
        row, good = _measure(model, texts, case, options)
        table.add_row(*row)
        met = met and good
    console = Console(width=140)
    console.print(f"{len(texts)} SST-2 test sentences, {options.rounds} rounds, {torch.get_num_threads()} threads")
    console.print(table)
    peaks = Table("token budget", "peak MB over the model at rest: 512 tokens, integrated-gradients")
    for budget in (512, 1024, 2048, 4096, 8192):
        peaks.add_row(str(budget), f"{memory.added(model.name, budget):.0f}")
    console.print(peaks)
    console.print("All bars are met." if met else "A bar is missed.")
    sys.exit(not met)


def _measure(model: Model, texts: list[str], case: Case, options: argparse.Namespace) -> tuple[list[str], bool]:
    """A line of the table, and whether its bars are met."""
    settings = saliently.Options(budget=options.budget)
    found = saliently.explain(model, texts, case.recipe, options=settings)
    rows = [e.tokens.ids for e in found]
    forward = [e.tokens.ids for e in found for _ in range(e.checks.forward_rows)]
    backward = [e.tokens.ids for e in found for _ in range(e.checks.gradient_rows)]

    def passes() -> None:
        with model.resting():
            bare.run(model.module, forward, options.budget, backward=False)
            bare.run(model.module, backward, options.budget, backward=True)

    seconds = clock.in_turns(
        {
            "ours": lambda: saliently.explain(model, texts, case.recipe, options=settings),
            "bare": passes,
            "captum": lambda: case.rival(model.module, rows),
        },
        options.rounds,
    )
    gaps = [e.checks.gap for e in found if e.checks.gap is not None]
    over, faster = clock.ratio(seconds["ours"], seconds["bare"]), clock.ratio(seconds["captum"], seconds["ours"])
    row = [
        case.recipe,
        f"{(len(forward) + len(backward)) / len(texts):.1f}",
        f"{over:.2f}",
        f"<= {case.most_over_bare}" if case.most_over_bare else "",
        f"{faster:.2f}",
        f">= {case.least_over_captum}",
        f"{sum(gap <= 0.01 for gap in gaps) / len(gaps):.1%} within 1 %" if gaps else "",
    ]
    return row, over <= (case.most_over_bare or over) and faster >= case.least_over_captum


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("SALIENTLY_DATA", "../shared/data"))
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=int, default=saliently.Options().budget)
    return parser.parse_args()


if __name__ == "__main__":
    main()
