"""Sentences about films, each joined with a sentence of an encyclopedia that says nothing about the label.

The data set "SST + Wikipedia" of Pruthi et al. 2020, read from a folder of the user's; nothing of it is shipped. Models
that were trained on sentences alone have not learnt to pass over the other half, so a copy is trained first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np

from saliently.audit.asked import Asked
from saliently.audit.evidence import evidence
from saliently.data import Row
from saliently.errors import InputError, ModelError
from saliently.models.copying import copied
from saliently.reports import Report, timed
from saliently.train import Training, Watch, accuracy, train
from saliently.types import Span

Split = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class Sizes:
    """How much of it to use. Attributes: train, texts to learn from, None for all; test, dev texts to explain, None for
    all; training, how the copy is trained."""

    train: int | None = None
    test: int | None = None
    training: Training = field(default_factory=Training)


def sst_wiki(folder: str | Path, split: Split) -> list[Row]:
    """Rows from `<split>.txt`, a label (0 negative, 1 positive: an index) TAB a text a line, and `<split>.txt.block`,
    for each line a 0 or 1 for each stretch of text between spaces: 1 is the half about a film, which is the evidence.

    Raises:
        InputError: there are no such files, or they don't fit each other.
    """
    place = Path(folder) / f"{split}.txt"
    try:
        lines, blocks = (
            file.read_text(encoding="utf-8").splitlines() for file in (place, place.with_name(f"{split}.txt.block"))
        )
        found = [_row(line, block) for line, block in zip(lines, blocks, strict=True)]
    except (OSError, ValueError) as error:
        raise InputError(
            f"Texts with their evidence were asked for in {place} and {place.name}.block; that failed ({error}). Give "
            "the folder that holds them: a label TAB a text a line, and for each line a 0 or 1 a word."
        ) from None
    return found


def _row(line: str, block: str) -> Row:
    label, _, text = line.partition("\t")
    words = [match.span() for match in re.finditer(r"\S+", text)]
    spans: list[Span] = []
    for (start, end), mark in zip(words, block.split(), strict=True):
        if mark == "1" and spans and not text[spans[-1].end : start].strip():
            spans[-1] = spans[-1]._replace(end=end)
        elif mark == "1":
            spans.append(Span("text", start, end))
    return Row({"text": text}, ("0", "1").index(label), tuple(spans))


@timed
def sst_wiki_experiment(
    asked: Asked, folder: str | Path, sizes: Sizes = Sizes(), told: Callable[[str], None] = lambda said: None
) -> Report:
    """Train a copy of a classifier of two labels on the joined texts, and see which method finds the half that counts.

    The model itself stays as it is. Its first label is taken for negative and its second for positive. `told` hears
    what is being done.

    Raises:
        ModelError: it has not two labels. InputError: the folder does not hold the data.
    """
    model = asked.model
    if len(model.labels) != 2 or model.find is not None:
        raise ModelError(
            f"A classifier of two labels was asked for, negative and positive; {model.name} has "
            f"{len(model.labels)}. Load another one."
        )
    lessons = _some(sst_wiki(folder, "train"), sizes.train, asked.seed)
    tests = _some(sst_wiki(folder, "dev"), sizes.test, asked.seed)
    copy = copied(model, f"{model.name} on SST + Wikipedia")
    before = float(np.mean(accuracy(copy, tests)))
    told(f"teaching a copy {len(lessons)} texts")
    watch = Watch(lambda rows: asked.options.tick(3 * rows))  # a backward pass counts as two
    train(copy, lessons, replace(sizes.training, seed=asked.seed), None, watch)
    told(f"explaining {len(tests)} texts")
    report = evidence(replace(asked, model=copy), tests)
    training = sizes.training.resolved(model)
    added = {
        "trained on": len(lessons),
        "epochs": training.epochs,
        "batch": training.batch,
        "rate": training.rate,
        "accuracy before": before,
    }
    settings = {**report.settings, **added}
    return replace(report, title="SST + Wikipedia", settings=settings)


def _some(rows: list[Row], many: int | None, seed: int) -> list[Row]:
    return rows if many is None or many >= len(rows) else Random(seed).sample(rows, many)
