"""python -m bench.path [--texts N] [--reference N]: what integrated gradients costs and how near it comes.

First the method as it is: share of texts flagged, gradients a text, and distance from 512 equal steps. Then which
nodes serve best at low counts, all with the same number of gradients.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import saliently
from saliently import erase
from saliently.models.base import Model
from saliently.packing import Budget
from saliently.passes import Path as Line
from saliently.passes import Slope
from saliently.runner import Runner
from saliently.types import Explanation, Target

Rule = Callable[[int], tuple[NDArray[np.float64], NDArray[np.float64]]]


def midpoint(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """n nodes in the middles of equal pieces."""
    return (np.arange(n) + 0.5) / n, np.full(n, 1 / n)


def trapezoid(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """n nodes at the ends of equal pieces."""
    weights = np.full(n, 1 / (n - 1))
    weights[[0, -1]] /= 2
    return np.linspace(0, 1, n), weights


def gauss_legendre(n: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """n nodes that are exact for polynomials up to degree 2n - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return (nodes + 1) / 2, weights / 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.path", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("SALIENTLY_DATA", "../shared/data"))
    parser.add_argument("--texts", type=int, default=500)
    parser.add_argument("--reference", type=int, default=40)
    options = parser.parse_args()
    model = saliently.load(options.data.parent / "models" / "minilm-sst2")
    lines = (options.data / "sst2_tsv" / "test.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[0] for line in lines[:: max(1, len(lines) // options.texts)]][: options.texts]
    some = texts[:: max(1, len(texts) // options.reference)][: options.reference]
    cost = Table("blank", "texts", "flagged", "gradients a text", "median distance", "90th percentile", "of texts")
    rules = Table("blank", "gradients", "rule", "over 1 %", "median distance")
    for blank in ("mask", "zero"):
        found = {e.tokens.fields["text"]: e for e in saliently.explain(model, texts, f"ig(blank={blank!r})")}
        truth = saliently.explain(model, some, f"ig(blank={blank!r}, steps=512)")
        far = [_distance(found[e.tokens.fields["text"]].scores, e) for e in truth]
        cost.add_row(
            blank,
            str(len(found)),
            f"{np.mean([bool(e.checks.failed) for e in found.values()]):.1%}",
            f"{np.mean([e.checks.gradient_rows for e in found.values()]):.1f}",
            f"{np.median(far):.2%}",
            f"{np.percentile(far, 90):.2%}",
            str(len(far)),
        )
        for n in (9, 13, 17, 25):
            for rule in (midpoint, trapezoid, gauss_legendre):
                rules.add_row(blank, str(n), rule.__name__, *_try(model, truth, blank, rule, n))
    Console(width=120).print(cost, rules)


def _try(model: Model, truth: list[Explanation], blank: str, rule: Rule, n: int) -> list[str]:
    """Share of texts over 1 %, and the median distance from the truth, for one rule with n gradients."""
    nodes, weights = rule(n)
    runner = Runner(model, [e.tokens for e in truth], Target(), Budget(saliently.Options().budget))
    sums = [np.zeros(len(e.tokens.ids)) for e in truth]
    with model.resting():
        runner.values(runner.everything())
        blocks = {i: erase.partly(tokens, list(nodes)) for i, tokens in enumerate(runner.inputs)}
        for i, row, _, rise in runner.gradients(blocks, _toward, Line(blank)):
            sums[i] += weights[row] * (rise * erase.words(runner.inputs[i])).numpy()
    changes = [e.checks.change or np.nan for e in truth]
    over = np.mean([abs(s.sum() - c) > 0.01 * abs(c) for s, c in zip(sums, changes, strict=True)])
    return [f"{over:.0%}", f"{np.median([_distance(s, e) for s, e in zip(sums, truth, strict=True)]):.2%}"]


def _toward(slope: Slope):
    return (slope.grad * (slope.word - slope.blank)).sum(-1)


def _distance(scores: NDArray[np.float64], truth: Explanation) -> float:
    """Norm of the difference over the norm."""
    return float(np.linalg.norm(scores - truth.scores) / np.linalg.norm(truth.scores))


if __name__ == "__main__":
    main()
