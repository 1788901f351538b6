"""Checkpoints change what is kept, not what comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

import saliently
from saliently.models.base import Model
from tests import tiny
from tests.test_translators import bart
from tests.writers import gpt2, llama

PROMPT = {"prompt": "The film is long and the acting", "response": " so bad that it's good"}
CASES: dict[str, tuple[Callable[[], Model], object]] = {
    "bert": (lambda: tiny.bert(torch.float32), "A witty, lovely film"),
    "gpt2": (gpt2, PROMPT),
    "llama": (llama, PROMPT),
    "t5": (lambda: tiny.t5(torch.float32), "A witty, lovely film"),
    "bart": (bart, {"source": "The film is bad", "target": "so good"}),
}
LESS = saliently.Options(checkpoint=True)


@pytest.mark.parametrize("recipe", ["gradient", "gradient-x-input", "ig(steps=4)", "smoothgrad(samples=3)"])
@pytest.mark.parametrize("case", CASES)
def test_scores_stay_as_they_are(case: str, recipe: str) -> None:
    make, text = CASES[case]
    model = make()
    forwards = {name: part.__dict__.get("forward") for name, part in model.module.named_modules()}
    plain = saliently.explain(model, text, recipe)  # type: ignore[call-overload]
    less = saliently.explain(model, text, recipe, options=LESS)  # type: ignore[call-overload]
    assert np.abs(plain.scores - less.scores).max() <= 1e-5 * max(1.0, np.abs(plain.scores).max())
    assert forwards == {name: part.__dict__.get("forward") for name, part in model.module.named_modules()}


def test_each_output_too() -> None:
    plain, less = (
        saliently.explain_each(gpt2(), PROMPT, "gradient-x-input", options=o) for o in (saliently.Options(), LESS)
    )
    assert np.abs(plain.scores - less.scores).max() <= 1e-5 * max(1.0, np.abs(plain.scores).max())


def kept(options: saliently.Options) -> int:
    """Numbers that a forward pass keeps for the backward pass."""
    held = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor.numel())
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        saliently.explain(llama(), PROMPT, "gradient-x-input", options=options)
    return sum(held)


def test_less_is_kept() -> None:
    """Outside of the layers, and the layers' own inputs."""
    assert kept(LESS) < kept(saliently.Options())


def test_nothing_stays_behind_after_an_error() -> None:
    model = gpt2()
    broken = model.module.transformer.h[1]  # type: ignore[union-attr, index]
    handle = broken.register_forward_pre_hook(lambda *_: 1 / 0)  # type: ignore[union-attr]
    with pytest.raises(ZeroDivisionError):
        saliently.explain(model, PROMPT, "gradient", options=LESS)
    handle.remove()
    assert not any("forward" in part.__dict__ for part in model.module.modules())


def test_a_forward_of_the_layer_s_own_comes_back() -> None:
    model = gpt2()
    layer = model.module.transformer.h[0]  # type: ignore[union-attr, index]
    own = layer.forward  # type: ignore[union-attr]
    layer.__dict__["forward"] = own  # type: ignore[union-attr]
    saliently.explain(model, PROMPT, "gradient", options=LESS)
    assert layer.__dict__.pop("forward") is own  # type: ignore[union-attr]


def test_a_model_without_layers_says_so() -> None:
    with pytest.raises(saliently.ModelError, match="no list of layers"):
        saliently.explain("bilstm", "So good", "gradient", options=LESS)
