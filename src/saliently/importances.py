"""Which words, or which dimensions of the word vectors, matter over a whole data set.

Li, Monroe and Jurafsky 2016, "Understanding neural networks through representation erasure".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from saliently import erase, targets
from saliently.chunks import Options, Text, chunks
from saliently.errors import InputError, NumberError, RecipeError, SaliencyError
from saliently.models.base import Model
from saliently.models.loading import load
from saliently.packing import Budget
from saliently.runner import Runner
from saliently.types import Target, Tokens

_DIMENSIONS_AT_ONCE = 64


class ImportanceRow(NamedTuple):
    """One word or dimension.

    Attributes:
        item: the word, in lower case, or the number of the dimension.
        times: how often it was erased.
        relative: mean of (S - S without it) / |S|, S the log-likelihood of the label; the number of the paper.
        drop: mean of S - S without it, in nats.
        error: standard error of `drop`; NaN for once.
    """

    item: str
    times: int
    relative: float
    drop: float
    error: float


@dataclass(frozen=True, eq=False)
class Importance:
    """Words or dimensions, the most important first.

    Attributes:
        of: "word" or "dimension". blank: what stood in the word's place.
        rows: sorted by `relative`. texts: how many were used. failures: position -> why a text was not.
    """

    of: Literal["word", "dimension"]
    blank: str
    rows: tuple[ImportanceRow, ...]
    texts: int
    failures: Mapping[int, SaliencyError]


def importance(
    model: Model | str | Path,
    texts: Iterable[Text],
    of: Literal["word", "dimension"] = "word",
    *,
    labels: Sequence[str | int] | None = None,
    blank: str = "zero",
    options: Options = Options(),
) -> Importance:
    """How much worse the model does, on average over texts, without a word, or without a dimension of all word vectors.

    Erasing a word blanks all its tokens; each place where it occurs counts as one. Erasing a dimension sets it to 0
    (`blank` must be "zero") in every word of a text, special tokens excepted.

    The paper averages (S - S without it) / S, with S the log-likelihood of the correct label. S is negative, so that
    there the important come out negative; here the divisor is |S|, and positive means important. Where the model is
    all but sure, |S| is nearly 0 and a single text can rule the mean: see `drop`, in nats, beside it.

    Args:
        labels: the correct label of each text; None takes what the model predicts.

    Raises:
        RecipeError, ModelError: what is wrong for all. A text that can't be used is in `failures`, and does not count.
    """
    asked = load(model) if isinstance(model, (str, Path)) else model
    if of not in ("word", "dimension"):
        raise RecipeError(f"Importance of {of!r} was asked for; there are 'word' and 'dimension'.")
    if of == "dimension" and blank != "zero":
        raise RecipeError(f"Dimensions with blank {blank!r} were asked for; a dimension is erased by 'zero'.")
    erase.check_blank(blank)
    if labels is not None and isinstance(texts, Sized) and len(labels) != len(texts):
        raise InputError(f"A label for each text was asked for; found {len(labels)} labels for {len(texts)} texts.")
    wanted = None if labels is None else [targets.find_label(label, asked.labels) for label in labels]
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    failures: dict[int, SaliencyError] = {}
    used = 0
    for at, result in _erased(asked, texts, (of, blank), wanted, options):
        if isinstance(result, SaliencyError):
            failures[at] = result
            continue
        used += 1
        for item, share, drop in result:
            found[item].append((share, drop))
    rows = [_row(item, np.array(pairs)) for item, pairs in found.items()]
    return Importance(of, blank, tuple(sorted(rows, key=lambda row: -row.relative)), used, failures)


def _erased(
    model: Model, texts: Iterable[Text], how: tuple[str, str], wanted: Sequence[int] | None, options: Options
) -> Iterator[tuple[int, list[tuple[str, float, float]] | SaliencyError]]:
    """(position, [(item, relative drop, drop in nats)]) for each text."""
    of, blank = how
    width, budget = len(erase.blank_vector(model, "zero")), Budget(options.budget)
    for chunk in chunks(model, texts, lambda tokens: width if of == "dimension" else tokens, options):
        good = {}
        for at, tokens in chunk.items():
            if isinstance(tokens, SaliencyError):
                yield at, tokens
            elif wanted is not None and at >= len(wanted):
                yield at, InputError(f"A label for each text was asked for; there are only {len(wanted)} labels.")
            else:
                good[at] = tokens
        for label in sorted({None if wanted is None else wanted[at] for at in good}, key=str):
            mine = [at for at in good if wanted is None or wanted[at] == label]
            runner = Runner(model, [good[at] for at in mine], Target(label, of="log-probability"), budget, options.tick)
            with model.resting():
                drops = _dimensions(runner, width) if of == "dimension" else _words(runner, blank)
            for at, items in zip(mine, drops, strict=True):
                yield at, items


def _words(runner: Runner, blank: str) -> list[list[tuple[str, float, float]] | SaliencyError]:
    blocks, names = {}, []
    for i, tokens in enumerate(runner.inputs):
        units = sorted({unit for unit in tokens.units if unit is not None})
        away = torch.tensor([[unit == other for other in tokens.units] for unit in units])
        blocks[i] = torch.cat([erase.everything(tokens), 1.0 - away.float()])
        names.append([tokens.text(tokens.parts[unit]).lower() for unit in units])
    values = runner.values(blocks, blank)
    return [_drops(runner.questions.plain[i], names[i], values[i][1:]) for i in blocks]


def _dimensions(runner: Runner, width: int) -> list[list[tuple[str, float, float]] | SaliencyError]:
    found: list[list[Tensor]] = [[] for _ in runner.inputs]
    for start in range(0, width, _DIMENSIONS_AT_ONCE):
        away = torch.eye(width)[start : start + _DIMENSIONS_AT_ONCE]
        blocks = {i: _without(tokens, away) for i, tokens in enumerate(runner.inputs)}
        for i, values in runner.values(blocks, "zero").items():
            found[i].append(values)
    names = [str(d) for d in range(width)]
    return [_drops(runner.questions.plain[i], names, torch.cat(parts)) for i, parts in enumerate(found)]


def _without(tokens: Tokens, away: Tensor) -> Tensor:
    """(R, T, D) rows that keep all but one dimension of the words each."""
    return 1.0 - away[:, None, :] * erase.words(tokens)[None, :, None]


def _drops(value: float, names: Sequence[str], without: Tensor) -> list[tuple[str, float, float]] | SaliencyError:
    drops = (value - without).numpy()
    if value == 0:
        return NumberError(
            "The change of a log-likelihood was to be set against its size; the model is so certain here that it is 0. "
            "Leave this text out, or compute with dtype float64."
        )
    if not np.isfinite(drops).all():
        return NumberError(
            f"Log-likelihoods were to be compared; the model gives {value} and changes of "
            f"{drops.min()} to {drops.max()}. Look for NaN weights, or compute in a wider dtype."
        )
    return [(name, float(drop / abs(value)), float(drop)) for name, drop in zip(names, drops, strict=True)]


def _row(item: str, pairs: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> ImportanceRow:
    relative, drop = pairs.mean(0)
    error = float(pairs[:, 1].std(ddof=1) / np.sqrt(len(pairs))) if len(pairs) > 1 else float("nan")
    return ImportanceRow(item, len(pairs), float(relative), float(drop), error)
