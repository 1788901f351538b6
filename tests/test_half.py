"""Models in half precision, with quantised weights, and on several devices."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification

import saliently
from saliently.models import loading
from saliently.models.base import Model
from saliently.types import Explanation
from tests import tiny
from tests.conftest import some

TEXT = "A gorgeous, witty, seductive movie."
HALVES = ("bfloat16", "float16")
BARS = {
    "gradient": (2e-2, 5e-2),
    "gradient-x-input": (np.inf, 8e-2),
    "lrp(variant='cp')": (2e-2, 5e-2),
    "lrp(variant='attn')": (2e-2, 5e-2),
}
"""Most that half precision may be off in the middle of texts, and in the 90th percentile: norm over norm."""


FEW = {"bfloat16": 25, "float16": 6}
"""Texts that tell whether a bar holds: a bfloat16 is coarse, and its error varies more from text to text."""


def off(rough: Explanation, truth: Explanation) -> float:
    return float(np.linalg.norm(rough.scores - truth.scores) / np.linalg.norm(truth.scores))


# Half precision


@cache
def in_float32(model: Path, texts: tuple[str, ...], recipe: str) -> list[Explanation]:
    return saliently.explain(saliently.load(model), list(texts), recipe)


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("recipe", BARS)
def test_half_precision_is_near_float32(recipe: str, dtype: str, shared_model: Path, sentences: list[str]) -> None:
    texts = some(sentences[:100], FEW[dtype])
    narrow, truth = saliently.load(shared_model, dtype=dtype), in_float32(shared_model, tuple(texts), recipe)
    far = []
    for label in narrow.labels:  # each text by the class that it has in float32
        same = [each for each in truth if each.target.label == label]
        rough = saliently.explain(narrow, [each.tokens.fields["text"] for each in same], recipe, label)
        far += [off(one, each) for one, each in zip(rough, same, strict=True)]
    middle, most = BARS[recipe]
    assert len(far) == len(texts)
    assert np.median(far) <= middle
    assert np.percentile(far, 90) <= most
    assert max(far) > 0


@pytest.mark.parametrize("dtype", HALVES)
def test_integrated_gradients_says_its_gap_in_half_precision(
    dtype: str, shared_model: Path, sentences: list[str]
) -> None:
    model = saliently.load(shared_model, dtype=dtype)
    for each in saliently.explain(model, some(sentences[:10], 1), "ig(blank='zero')"):
        assert each.checks.gap is not None
        assert each.checks.gap == pytest.approx(abs(each.scores.sum() - each.checks.change) / abs(each.checks.change))
        assert bool(each.checks.failed) == (each.checks.gap > 0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("recipe", ["gradient", "gradient-x-input", "ig(steps=4, blank='zero')", "lrp", "occlusion"])
def test_sums_are_taken_in_a_wider_type(recipe: str, dtype: torch.dtype) -> None:
    found = saliently.explain(tiny.bert(dtype), TEXT, recipe)
    assert found.scores.dtype == np.float64
    if recipe != "occlusion":  # its scores are differences of logits, which are numbers of that type
        narrow = torch.from_numpy(found.scores).to(dtype).double().numpy()
        assert not np.array_equal(narrow, found.scores), "a sum in half precision is a number of that type"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_removal_says_how_coarse_the_logit_is(dtype: torch.dtype) -> None:
    found = saliently.explain(tiny.bert(dtype), TEXT, "occlusion")
    (note,) = (note for note in found.checks.notes if "steps" in note)
    eps = torch.finfo(dtype).eps
    assert f"{eps:.2g} of a number's size, {eps * abs(found.values[0]):.2g} of the explained" in note
    step = eps * 2 ** np.floor(np.log2(abs(found.values[0]))) / 8  # smaller numbers have finer steps
    words = found.scores[np.abs(found.scores) < abs(found.values[0]) / 2]
    assert len(words) > 3
    np.testing.assert_allclose(words / step, np.round(words / step), atol=1e-9)
    other = saliently.explain(tiny.bert(dtype), TEXT, "occlusion", saliently.Target(of="probability"))
    (note,) = (note for note in other.checks.notes if "steps" in note)
    assert "of the explained" not in note


def test_removal_says_nothing_of_it_in_float32() -> None:
    assert not any("steps" in note for note in saliently.explain(tiny.bert(), TEXT, "occlusion").checks.notes)


# Quantised weights


def quantised(*names: str) -> Model:
    """A BERT with 8-bit weights: of all its linear layers, or of some."""
    from torch.ao.quantization import default_dynamic_qconfig, quantize_dynamic

    spec: Any = dict.fromkeys(names, default_dynamic_qconfig) if names else {torch.nn.Linear}
    with warnings.catch_warnings(action="ignore"):  # torch means to move this to another package
        return saliently.wrap(quantize_dynamic(tiny.bert_module(), spec, dtype=torch.qint8), tiny.wordpiece())


# Where one layer alone is quantised, the residual stream still has a gradient, and a wrong one.
PARTS = [(), ("bert.encoder.layer.0.intermediate.dense",)]


@pytest.mark.parametrize("names", PARTS)
@pytest.mark.parametrize(
    "recipe", ["gradient", "gradient-x-input", "ig", "smoothgrad", "lrp", "attn-lrp", "attention-x-gradient", "decompx"]
)
@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_quantised_weights_have_no_gradient_and_say_so(recipe: str, names: tuple[str, ...]) -> None:
    with pytest.raises(saliently.ModelError, match=r"asked of|looked for|sent back|split over"):
        saliently.explain(quantised(*names), TEXT, recipe)


@pytest.mark.parametrize("names", PARTS)
@pytest.mark.parametrize("blank", ["zero", "mask", "delete"])
def test_removal_serves_quantised_weights(blank: str, names: tuple[str, ...]) -> None:
    model = quantised(*names)
    # Activations are quantised by the largest in the batch, so that rows of other batches get other numbers.
    found = saliently.explain(model, TEXT, f"occlusion(blank={blank!r})", options=saliently.Options(budget=1))
    ids = torch.tensor([found.tokens.ids])
    with torch.no_grad():
        plain = model.module(ids).logits[0, found.target.index]
        away = {"mask": tiny.wordpiece().mask_token_id}.get(blank)
        if away is not None:
            without = ids.clone()
            without[0, 2] = away
            assert found.scores[2] == pytest.approx(float(plain - model.module(without).logits[0, found.target.index]))
    assert found.values[0] == pytest.approx(float(plain))
    assert np.abs(found.scores).sum() > 0


# Several devices

RECIPES = ("gradient", "ig(blank='mean', steps=3)", "lrp", "decompx", "attention", "value-zeroing", "occlusion")


def scores(model: Model, recipe: str) -> list[NDArray[np.float64]]:
    return [each.scores for each in saliently.explain(model, [TEXT, "bad film"], recipe)]


@pytest.mark.parametrize(
    "where",
    [
        {"": "cpu"},
        {"bert.embeddings": "cpu", "bert.encoder": "disk", "bert.pooler": "disk", "classifier": "cpu"},
        {"bert": "disk", "classifier": "cpu"},
    ],
    ids=["cpu", "layers on disk", "word vectors too"],
)
def test_weights_on_disk_give_the_same_scores(where: dict[str, str], model: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    module = AutoModelForSequenceClassification.from_pretrained(model, device_map=where, offload_folder=tmp_path)
    away = [weight for weight in module.parameters() if weight.device.type == "meta"]
    assert bool(away) == ("disk" in where.values())
    spread, plain = saliently.wrap(module, tiny.wordpiece()), saliently.load(model)
    assert spread.device.type == "cpu"
    for recipe in RECIPES:
        for ours, theirs in zip(scores(spread, recipe), scores(plain, recipe), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_the_device_auto_lets_accelerate_place_the_model(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate")
    given: list[Any] = []
    real = AutoModelForSequenceClassification.from_pretrained

    def watched(*args: Any, **kwargs: Any) -> Any:
        given.append(kwargs["device_map"])
        return real(*args, **kwargs)

    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", watched)
    spread = saliently.load(model, device="auto")
    for ours, theirs in zip(scores(spread, "gradient"), scores(saliently.load(model), "gradient"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)
    assert given == ["auto", None]
    assert saliently.load("bilstm", device="auto").device.type == "cpu"


def test_the_device_auto_without_accelerate_is_one_clear_error(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda name: None)
    with pytest.raises(saliently.MissingExtraError, match=r"pip install 'saliently\[big\]'"):
        saliently.load(model, device="auto")
