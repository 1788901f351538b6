"""Rows are packed, counted, and survive a lack of memory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

import saliently
from saliently import packing
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.runner import Runner
from saliently.types import Target
from tests import tiny

TEXTS = [
    "A gorgeous, witty, seductive movie.",
    "bad",
    "The acting, the music and the light are wonderful.",
    "so good",
] * 5


def spied(model: Model, seen: list[tuple[int, int]], limit: int | None = None, error: Exception | None = None) -> Model:
    """A model that notes the shape of each batch, and fails on one of more than `limit` tokens."""

    def forward(batch: Batch) -> Tensor:
        rows, length = batch.ids.shape
        if limit is not None and rows * length > limit:
            assert error is not None
            raise error
        seen.append((rows, length))
        return model.forward(batch)

    return dataclasses.replace(model, forward=forward)


@pytest.mark.parametrize("recipe", ["gradient", "ig(steps=4)", "occlusion(blank='mask')"])
def test_no_batch_is_over_the_budget_and_lengths_fall(recipe: str) -> None:
    seen: list[tuple[int, int]] = []
    saliently.explain(spied(tiny.bert(), seen), TEXTS, recipe, options=saliently.Options(budget=128))
    assert max(rows * length for rows, length in seen) <= 128
    assert len(seen) > 1


def test_a_row_over_the_budget_runs_alone() -> None:
    seen: list[tuple[int, int]] = []
    saliently.explain(spied(tiny.bert(), seen), TEXTS, "gradient", options=saliently.Options(budget=1))
    assert {rows for rows, _ in seen} == {1}


def test_padding_is_little_where_lengths_differ() -> None:
    seen: list[tuple[int, int]] = []
    found = saliently.explain(spied(tiny.bert(), seen), TEXTS, "occlusion", options=saliently.Options(budget=512))
    real = sum(len(e.tokens.ids) * e.checks.forward_rows for e in found)
    assert sum(rows * length for rows, length in seen) <= 1.15 * real


def test_rows_are_counted() -> None:
    rows = 0

    def tick(more: int) -> None:
        nonlocal rows
        rows += more

    seen: list[tuple[int, int]] = []
    model = spied(tiny.bert(), seen)
    found = saliently.explain(model, TEXTS, "ig(steps=4)", options=saliently.Options(tick=tick))
    assert all((e.checks.forward_rows, e.checks.gradient_rows) == (0, 5) for e in found)
    assert rows == sum(rows for rows, _ in seen) == 5 * len(TEXTS)
    occluded = saliently.explain(model, "bad", "occlusion(blank='mask')")
    assert occluded.checks.forward_rows == 2 + len(occluded.tokens.ids) - 2
    assert saliently.explain(model, "bad", "gradient").checks.gradient_rows == 1


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        MemoryError(),
    ],
)
@pytest.mark.parametrize("recipe", ["gradient", "ig(steps=4)", "occlusion(blank='delete')"])
def test_the_budget_halves_when_memory_runs_out(recipe: str, error: Exception) -> None:
    expected = saliently.explain(tiny.bert(), TEXTS, recipe)
    seen: list[tuple[int, int]] = []
    model = spied(tiny.bert(), seen, 100, error)
    with pytest.warns(saliently.SaliencyWarning, match="Memory ran out at"):
        found = saliently.explain(model, TEXTS, recipe, options=saliently.Options(budget=2000))
    assert max(rows * length for rows, length in seen) <= 100
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        assert ours.checks.gradient_rows == theirs.checks.gradient_rows


def test_a_single_row_that_does_not_fit_is_one_clear_error() -> None:
    with pytest.raises(saliently.ModelError, match=r"One row of \d+ tokens"):
        saliently.explain(spied(tiny.bert(), [], 3, MemoryError()), TEXTS[0], "gradient")


def test_one_text_that_does_not_fit_loses_nothing_of_the_others() -> None:
    long = " ".join(TEXTS)
    texts = [*TEXTS, long, *TEXTS]
    model = spied(tiny.bert(), [], 100, MemoryError())
    with pytest.raises(saliently.SomeFailed) as caught, pytest.warns(saliently.SaliencyWarning):
        saliently.explain(model, texts, "gradient")
    assert list(caught.value.failures) == [len(TEXTS)]
    assert "One row of" in str(caught.value.failures[len(TEXTS)])
    assert len(caught.value.finished) == 2 * len(TEXTS)


def test_the_budget_stays_halved_for_later_chunks() -> None:
    seen: list[tuple[int, int]] = []
    model = spied(tiny.bert(), seen, 100, MemoryError())
    with pytest.warns(saliently.SaliencyWarning) as told:
        saliently.explain(model, TEXTS * 40, "gradient", options=saliently.Options(budget=800))
    assert len(told) == 3  # 800, 400, 200, then never over 100 again


def test_other_errors_of_the_model_pass_through() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        saliently.explain(spied(tiny.bert(), [], 3, RuntimeError("shapes cannot be multiplied")), TEXTS[0], "gradient")


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_batch_holds_the_ids_that_were_kept(side: str) -> None:
    model = dataclasses.replace(tiny.gpt2(), sides=(side,))
    tokens = [model.read({"text": text}, False) for text in ("so good", "bad movie scene")]
    runner = Runner(model, tokens, Target(), packing.Budget(1000))
    keep = torch.ones(2, len(tokens[1].ids))
    keep[1, 1] = 0
    blocks = {0: torch.ones(1, len(tokens[0].ids)), 1: keep}
    shelf = packing.Shelf.fill(tokens, model)
    (pack,) = packing.cut(packing.lengths(blocks, delete=True), runner.budget.tokens, model)
    places = shelf.places(pack, blocks, delete=True)
    batch = shelf.batch(pack, places, model.device)
    expected = [list(tokens[e].ids) for e in (0, 1, 1)]
    del expected[2][1]
    found = {tuple(ids[mask.bool()].tolist()) for ids, mask in zip(batch.ids, batch.mask, strict=True)}
    assert found == {tuple(ids) for ids in expected}
    for mask, positions in zip(batch.mask, batch.positions, strict=True):
        assert positions[mask.bool()].tolist() == list(range(int(mask.sum())))
        assert bool(mask[0] if side == "right" else mask[-1])
