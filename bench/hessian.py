"""python -m bench.hessian [--data FOLDER] [--texts N] [--reference N]: what integrated Hessians costs.

First, at equal error, its nodes against the published double sum: k x k points (alpha, beta), ends included, all of one
weight, as the authors' code takes them. Error is the rms distance of the matrix from that of `reference` equal pieces,
over the change. Then what other rules come to with 33 nodes on the one path. Then the time of a node against a gradient
for each word. All rules but ours read the Hessians off a spline through the nodes of the reference.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.interpolate import CubicSpline

import saliently
from bench import bare, clock
from saliently.methods.hessian import IntegratedHessians
from saliently.methods.splines import Nodes
from saliently.models.base import Model
from saliently.packing import Budget
from saliently.runner import Runner
from saliently.types import Explanation, Target, Tokens

BLANK = "mask"
LEAST_FEWER, MOST_TIME = 10, 3
GRIDS = [*range(2, 20), *(round(20 * 1.1**i) for i in range(34))]
"""Points a side that the double sum is tried with; where the last is not enough, it counts all the same."""
FEW = 33
Floats = NDArray[np.float64]


class Truth:
    """One text by the reference. Attributes: matrix (T, T); change; bend and rise, functions of places on the path."""

    def __init__(self, nodes: Nodes) -> None:
        at = np.array(sorted(nodes.at))
        value, rise, bend = (np.array(each) for each in zip(*(nodes.at[t] for t in at), strict=True))
        found = nodes.sum()
        self.matrix, self.gap, self.change = found.matrix, found.gap, value[-1] - value[0]
        self.rise: Callable[[Floats], Floats] = CubicSpline(at, rise)
        self.bend: Callable[[Floats], Floats] = CubicSpline(at, bend)

    def error(self, matrix: Floats) -> float:
        """Rms distance of a matrix, over the change."""
        return float(np.sqrt(np.square(matrix - self.matrix).mean()) / abs(self.change))

    def rows(self, matrix: Floats) -> float:
        """How far its rows are from integrated gradients."""
        single = self.matrix.sum(1)
        return float(np.abs(matrix.sum(1) - single).sum() / np.abs(single).sum())

    def weighted(self, at: Floats, bends: Floats, rises: Floats) -> Floats:
        """The matrix by these nodes, with their weights for D H D and for D g."""
        return np.tensordot(bends, self.bend(at), 1) + np.diag(rises @ self.rise(at))


def references(model: Model, inputs: Sequence[Tokens], pieces: int) -> list[Truth]:
    """What every text comes to with many equal pieces."""
    runner = Runner(model, inputs, Target(), Budget(saliently.Options().budget))
    with model.resting():
        runner.values(runner.everything())
        found, _ = IntegratedHessians(BLANK, steps=pieces).along(runner, BLANK)
    return [Truth(nodes) for nodes in found]


def published(truth: Truth, side: int) -> Floats:
    """The double sum with so many points a side; each product of two is computed once here."""
    points = np.linspace(0, 1, side)
    at, many = np.unique(np.outer(points, points), return_counts=True)
    return truth.weighted(at, at * many / side**2, many / side**2)


def gauss(power: int, n: int) -> tuple[Floats, Floats, Floats]:
    """Gauss-Legendre in u with t = u^power: nodes, and their weights for D H D and for D g."""
    x, w = np.polynomial.legendre.leggauss(n)
    u = (x + 1) / 2
    at, wide = u**power, power * u ** (power - 1) * w / 2
    return at, wide * at * -np.log(at), wide * -np.log(at)


def straight(n: int) -> tuple[Floats, Floats, Floats]:
    """Straight lines between nodes at equal distances, each times the weights exactly, by a fine sum."""
    x, w = np.polynomial.legendre.leggauss(24)
    edges = np.linspace(0, 1, n)
    u = edges[:-1, None] ** 0.25 + np.diff(edges**0.25)[:, None] * (x + 1) / 2
    t, wide = u**4, 2 * u**3 * np.diff(edges**0.25)[:, None] * w
    hat = np.maximum(0, 1 - np.abs(t[..., None] - edges) * (n - 1))
    return edges, np.einsum("kp,kpn->n", -wide * t * np.log(t), hat), np.einsum("kp,kpn->n", -wide * np.log(t), hat)


def nodes_table(found: Sequence[Explanation], truths: Sequence[Truth]) -> tuple[Table, bool]:
    """Ours and the double sum at equal error, and whether the bar is met."""
    rows = []
    for each, truth in zip(found, truths, strict=True):
        ours = truth.error(each.scores)
        side = next((k for k in GRIDS if truth.error(published(truth, k)) <= ours), GRIDS[-1])
        rows.append((each.checks.nodes or 0, ours, side**2, side**2 / (each.checks.nodes or 1)))
    nodes, error, squared, fewer = (np.array(column, float) for column in zip(*rows, strict=True))
    table = Table("of the texts", "nodes", "error", "nodes of the double sum", "times fewer", "bar")
    for name, read in {"median": np.median, "least": np.min, "most": np.max}.items():
        bar = f">= {LEAST_FEWER}" if name == "least" else ""
        table.add_row(
            name, f"{read(nodes):.0f}", f"{read(error):.1e}", f"{read(squared):.0f}", f"{read(fewer):.0f}", bar
        )
    return table, bool(fewer.min() >= LEAST_FEWER)


def rules_table(found: Sequence[Explanation], truths: Sequence[Truth]) -> Table:
    """Other rules with a fixed number of nodes."""
    table = Table("rule", "nodes", "rows within 1 %", "median error")
    rules = {f"Gauss-Legendre, t = u^{p}": gauss(p, FEW) for p in (1, 2, 4)} | {"straight lines": straight(FEW)}
    tried = {name: [truth.weighted(*rule) for truth in truths] for name, rule in rules.items()}
    ours = f"{np.mean([each.checks.nodes for each in found]):.0f}"
    for name, matrices in {"ours, to a tolerance": [each.scores for each in found], **tried}.items():
        near = np.mean([truth.rows(m) <= 0.01 for truth, m in zip(truths, matrices, strict=True)])
        error = np.median([truth.error(m) for truth, m in zip(truths, matrices, strict=True)])
        table.add_row(name, ours if name not in rules else str(FEW), f"{near:.0%}", f"{error:.1e}")
    return table


def time_of_a_node(model: Model, texts: list[str], inputs: Sequence[Tokens], rounds: int) -> float:
    """Seconds of a node over those of a row, forward and backward, for each word."""
    method, budget = IntegratedHessians(BLANK, steps=7), saliently.Options().budget
    rows = [tokens.ids for tokens in inputs for _ in range(8 * sum(tokens.words))]

    def gradients() -> None:
        with model.resting():
            bare.run(model.module, rows, budget, backward=True)

    seconds = clock.in_turns({"ours": lambda: saliently.explain(model, texts, method), "gradients": gradients}, rounds)
    return clock.ratio(seconds["ours"], seconds["gradients"])


def main() -> None:
    """Measure and print; exit 1 if a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.hessian", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("SALIENTLY_DATA", "../shared/data"))
    parser.add_argument("--texts", type=int, default=12)
    parser.add_argument("--longest", type=int, default=14, help="tokens of the longest text")
    parser.add_argument("--reference", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    model = saliently.load(options.data.parent / "models" / "minilm-sst2")
    lines = (options.data / "sst2_tsv" / "test.tsv").read_text(encoding="utf-8").splitlines()
    every = [line.split("\t")[0] for line in lines]
    short = [text for text in every if len(model.read({"text": text}, False).ids) <= options.longest]
    texts = short[:: max(1, len(short) // options.texts)][: options.texts]
    found = saliently.explain(model, texts, IntegratedHessians(BLANK))
    inputs = [each.tokens for each in found]
    truths = references(model, inputs, options.reference)
    fewer, met = nodes_table(found, truths)
    console = Console(width=120)
    console.print(
        f"{len(texts)} SST-2 test sentences of up to {options.longest} tokens; the reference's own gap is "
        f"{max(truth.gap for truth in truths):.1e} at most."
    )
    console.print(fewer, rules_table(found, truths))
    ratio = time_of_a_node(model, texts, inputs, options.rounds)
    console.print(f"A node takes {ratio:.2f} times as long as a gradient for each word (bar: <= {MOST_TIME}).")
    met = met and ratio <= MOST_TIME
    console.print("All bars are met." if met else "A bar is missed.")
    sys.exit(not met)


if __name__ == "__main__":
    main()
