"""python -m bench.inside [--data FOLDER] [--texts N] [--rounds N]: what looking inside a pass costs.

Relevance against gradient x input, reading all attention weights against a pass of transformers' own eager attention
that gives them too, and attention flow for one text against a plain pass over it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from transformers import AutoModelForSequenceClassification

import saliently
from bench import bare, clock
from saliently.models.base import Model

FLOW_TOKENS = 30
"""Length of the text whose attention flow is measured."""


class Line(NamedTuple):
    """One row of the table: what is measured, against what, and the most that it may cost."""

    name: str
    ours: Callable[[], object]
    against: str
    theirs: Callable[[], object]
    most: float


def lines(model: Model, eager: nn.Module, texts: list[str]) -> list[Line]:
    """What is measured."""
    rows = [model.read({"text": text}, False).ids for text in texts]
    some = next(text for text, row in zip(texts, rows, strict=True) if len(row) == FLOW_TOKENS)
    one = [model.read({"text": some}, False).ids]

    def explain(recipe: str) -> Callable[[], object]:
        return lambda: saliently.explain(model, texts, recipe)

    def plain() -> None:
        with model.resting():
            for _ in range(20):
                bare.run(model.module, one, 2048, backward=False)

    def flow() -> None:
        for _ in range(20):
            saliently.explain(model, some, "attention-flow")

    gxi = explain("gradient-x-input")
    return [
        Line("lrp(variant='cp')", explain("lrp(variant='cp')"), "gradient-x-input", gxi, 1.6),
        Line("lrp(variant='attn')", explain("lrp(variant='attn')"), "gradient-x-input", gxi, 1.6),
        Line("lrp(variant='ali')", explain("lrp(variant='ali')"), "gradient-x-input", gxi, 1.6),
        Line(
            "saliently.attention, all layers and heads",
            lambda: saliently.attention(model, texts),
            "eager pass",
            lambda: bare.run(eager, rows, saliently.Options().budget, backward=False),
            1.3,
        ),
        Line(f"attention-flow, {FLOW_TOKENS} tokens", flow, "plain pass", plain, 3.0),
    ]


def main() -> None:
    """Measure and print; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.inside", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("SALIENTLY_DATA", "../shared/data"))
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    folder = options.data.parent / "models" / "minilm-sst2"
    model = saliently.load(folder)
    eager = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    rows = (options.data / "sst2_tsv" / "test.tsv").read_text(encoding="utf-8").splitlines()
    texts = [row.split("\t")[0] for row in rows[: options.texts]]
    table, met = Table("what", "against", "ratio", "bar"), True
    for line in lines(model, eager, texts):
        seconds = clock.in_turns({"ours": line.ours, "theirs": line.theirs}, options.rounds)
        ratio = clock.ratio(seconds["ours"], seconds["theirs"])
        table.add_row(line.name, line.against, f"{ratio:.2f}", f"<= {line.most}")
        met = met and ratio <= line.most
    console = Console(width=120)
    console.print(f"{len(texts)} SST-2 test sentences, {options.rounds} rounds, {torch.get_num_threads()} threads")
    console.print(table, "All bars are met." if met else "A bar is missed.")
    sys.exit(not met)


if __name__ == "__main__":
    main()
