"""The bars of integrated gradients, and batches, on a real model and real sentences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import saliently
from tests.conftest import some


@pytest.fixture(scope="module")
def texts(sentences: list[str]) -> list[str]:
    return some(sentences[:: len(sentences) // 50][:50], 12)


@pytest.mark.parametrize("blank", ["mask", "zero"])
def test_integrated_gradients_to_a_tolerance(blank: str, shared_model: Path, texts: list[str]) -> None:
    model = saliently.load(shared_model)
    found = saliently.explain(model, texts, f"ig(blank={blank!r})")
    assert np.mean([bool(e.checks.failed) for e in found]) <= 0.02
    assert np.mean([e.checks.gradient_rows for e in found]) <= 32
    some = found[::10]
    reference = saliently.explain(model, texts[::10], f"ig(blank={blank!r}, steps=128)")
    errors = [
        np.linalg.norm(e.scores - r.scores) / np.linalg.norm(r.scores) for e, r in zip(some, reference, strict=True)
    ]
    assert np.median(errors) <= 0.05


@pytest.mark.parametrize("recipe", ["gradient", "gradient-x-input", "ig(steps=8)", "occlusion", "omission"])
def test_a_batch_is_its_rows(recipe: str, shared_model: Path, texts: list[str]) -> None:
    model = saliently.load(shared_model)
    together = saliently.explain(model, texts[:8], recipe)
    for text, one in zip(texts[:8], together, strict=True):
        alone = saliently.explain(model, text, recipe).scores
        np.testing.assert_allclose(one.scores, alone, rtol=0, atol=1e-5 * max(1, np.abs(alone).max()))
