"""Where a well-known library is right, saliently gives its numbers: Captum, called as its documentation shows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.models.base import Model
from tests import tiny
from tests.conftest import some

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from captum.attr import FeatureAblation, LayerGradientXActivation, LayerIntegratedGradients, Saliency

STEPS = 20


@pytest.fixture(autouse=True)
def captum_s_own_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def captum(recipe: str, module: nn.Module, explanation: saliently.Explanation, mask: int) -> np.ndarray:
    """(T,) Captum's scores for the same ids, class and blank."""
    ids = torch.tensor([explanation.tokens.ids])
    special = torch.tensor([[span is None for span in explanation.tokens.spans]])
    nothing = torch.where(special, ids, mask)
    layer, label = module.get_input_embeddings(), explanation.target.index

    def forward(x: Tensor) -> Tensor:
        return module(x, attention_mask=torch.ones_like(x)).logits

    if recipe == "gradient":
        x = layer(ids).detach().requires_grad_()
        slope = Saliency(lambda x: module(inputs_embeds=x).logits).attribute(x, target=label, abs=False)
        return slope.norm(dim=-1)[0].double().numpy()
    if recipe == "gradient-x-input":
        scores = LayerGradientXActivation(forward, layer).attribute(ids, target=label).sum(-1)
    elif recipe.startswith("ig"):
        scores = LayerIntegratedGradients(forward, layer).attribute(
            ids, baselines=nothing, target=label, n_steps=STEPS + 1, method="riemann_trapezoid"
        )
        # Its trapezoid rule spaces n nodes 1/(n-1) apart but weighs them as if it were 1/n.
        scores = scores.sum(-1) * (STEPS + 1) / STEPS
    else:
        groups = torch.where(special, 0, (~special).cumsum(-1))
        scores = FeatureAblation(forward).attribute(ids, baselines=nothing, target=label, feature_mask=groups)
        scores = scores.masked_fill(special, 0)
    return scores[0].detach().double().numpy()


def distance(model: Model, text: str, recipe: str) -> float:
    """Norm of the difference over the norm."""
    ours = saliently.explain(model, text, recipe)
    theirs = captum(recipe, model.module, ours, model.blank_ids["mask"])
    return float(np.linalg.norm(ours.scores - theirs) / np.linalg.norm(theirs))


RECIPES = ["gradient", "gradient-x-input", f"ig(blank='mask', steps={STEPS})", "occlusion(blank='mask')"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_tiny_bert(recipe: str) -> None:
    # Captum keeps the nodes of the path in float32.
    assert distance(tiny.bert(torch.float64), "A gorgeous, witty, seductive movie.", recipe) < 1e-6


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize(("dtype", "most", "many"), [("float64", 1e-5, 4), ("float32", 1e-4, 10)])
def test_a_real_model_on_sentences(
    recipe: str, dtype: str, most: float, many: int, shared_model: Path, sentences: list[str]
) -> None:
    """On 50 with SALIENTLY_FULL=1."""
    model = saliently.load(shared_model, dtype=dtype)
    texts = some(sentences[:: len(sentences) // 50][:50], many)
    # Summing occlusions of a saturated model leaves small differences of large logits, where float32 has few digits.
    bound = 1e-3 if (recipe, dtype) == (RECIPES[3], "float32") else most
    assert max(distance(model, text, recipe) for text in texts) <= bound
