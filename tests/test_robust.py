"""Models and places that make trouble: jumps, norms on bare word vectors, threads, other padding, low precision."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    DebertaV2Config,
    FNetConfig,
    PhiConfig,
    XLNetConfig,
)

import saliently
from saliently.models.base import Model
from tests import tiny
from tests.snapshot import snapshot

TEXT = "A gorgeous, witty, seductive movie."
TEXTS = [TEXT, "bad", "Never have I seen a more charming scene, and I don't think she'd like this film!"]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}


def classifier(kind: type, dtype: torch.dtype = torch.float64, **settings: object) -> Model:
    """A tiny model of another family behind the WordPiece tokenizer."""
    tokenizer = tiny.wordpiece()
    config = kind(vocab_size=len(tokenizer), num_labels=3, **settings)
    assert AutoConfig.for_model(config.model_type)
    module = tiny.seeded(lambda: AutoModelForSequenceClassification.from_config(config), dtype, 3.0)
    return saliently.wrap(module, tokenizer)


class Jump(nn.Module):
    """The first logit jumps where the word comes in by more than half."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(torch.tensor([[2.0]], dtype=torch.float64))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(ids)[:, 0, 0]
        value = 0.1 * x + (x > 1.1)
        return torch.stack([value, torch.zeros_like(value)], -1)


@pytest.mark.parametrize("most", [8, 20, 100, 256, 5000])
def test_integrated_gradients_ends_at_a_jump_and_says_so(most: int) -> None:
    model = saliently.wrap(Jump(), lambda text: ([0], [(0, 1)]), embedding="embed", labels=["f", "0"])
    found = saliently.explain(model, "a", f"ig(blank='zero', most={most})", "f")
    assert found.checks.failed
    assert found.checks.gradient_rows == found.checks.nodes <= max(9, most)


def test_word_vectors_that_are_normalised_bare_make_gradient_x_input_noise_and_it_says_so() -> None:
    model = classifier(DebertaV2Config, position_biased_input=False, type_vocab_size=0, **SMALL)
    found = saliently.explain(model, TEXT, "gradient-x-input")
    assert "cancels" in found.checks.notes[0]
    assert saliently.explain(model, TEXT, "gradient").checks.notes == ()
    assert saliently.explain(tiny.bert(), TEXT, "gradient-x-input").checks.notes == ()


@pytest.mark.parametrize(
    ("kind", "settings", "sides"),
    [
        (FNetConfig, {"hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 48}, ()),
        (PhiConfig, {**SMALL, "pad_token_id": 4}, ("right", "left")),
        (XLNetConfig, {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 48, "pad_token_id": 0}, ("left",)),
    ],
)
def test_padding_is_where_it_does_no_harm(kind: type, settings: dict[str, object], sides: tuple[str, ...]) -> None:
    model = classifier(kind, **settings)
    assert model.sides == sides
    for recipe in ("gradient", "ig(blank='zero', steps=3)", "occlusion(blank='zero')"):
        together = saliently.explain(model, TEXTS, recipe)
        for text, one in zip(TEXTS, together, strict=True):
            np.testing.assert_allclose(one.scores, saliently.explain(model, text, recipe).scores, atol=1e-9)


def test_threads_take_turns() -> None:
    model = tiny.bert()
    model.module.train()
    before = snapshot(model.module)
    expected = [saliently.explain(model, text, "gradient").scores for text in TEXTS]
    wrong: list[object] = []

    def work() -> None:
        for _ in range(5):
            for text, scores in zip(TEXTS, expected, strict=True):
                try:
                    np.testing.assert_array_equal(saliently.explain(model, text, "gradient").scores, scores)
                except Exception as error:
                    wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert snapshot(model.module) == before
    model.module.eval()


@pytest.mark.parametrize("around", [torch.no_grad, torch.inference_mode])
def test_the_user_s_own_grad_mode_does_not_matter(around: type) -> None:
    for recipe in ("gradient", "ig(steps=3)", "occlusion"):
        expected = saliently.explain(tiny.bert(), TEXT, recipe).scores
        with around():
            np.testing.assert_array_equal(saliently.explain(tiny.bert(), TEXT, recipe).scores, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(dtype: torch.dtype) -> None:
    wide = saliently.explain(saliently.load("default"), TEXT, "gradient").scores
    half = saliently.explain(saliently.load("default", dtype=dtype), TEXT, "gradient").scores
    assert np.linalg.norm(half - wide) <= 0.05 * np.linalg.norm(wide)


def test_a_forward_pass_that_changes_its_word_vectors_in_place() -> None:
    class InPlace(tiny.LinearBag):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            x = self.embed(ids)
            x *= mask[..., None]
            return x.sum(1) @ self.weight + self.bias

    module = tiny.seeded(lambda: InPlace(100), torch.float64)
    model = saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS)
    for recipe in ("gradient-x-input", "ig(blank='zero')"):
        np.testing.assert_allclose(
            saliently.explain(model, "so good", recipe).scores,
            saliently.explain(tiny.linear_bag(torch.float64), "so good", recipe).scores,
        )


def test_a_forward_pass_without_gradient_is_one_clear_error() -> None:
    class Cut(tiny.LinearBag):
        @torch.no_grad()
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return super().forward(ids, mask)

    model = saliently.wrap(
        tiny.seeded(lambda: Cut(100), torch.float64), tiny.read_words, embedding="embed", labels=tiny.LABELS
    )
    with pytest.raises(saliently.ModelError, match="cuts that link"):
        saliently.explain(model, "so good", "gradient")
    assert saliently.explain(model, "so good", "occlusion(blank='zero')").scores.any()


def test_a_confident_model_s_log_probability_is_not_lost() -> None:
    class Sure(tiny.LinearBag):
        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            return 1.3 * super().forward(ids, mask)  # a margin of 20, where float32 has 1 - p = 0

    model = saliently.wrap(
        tiny.seeded(lambda: Sure(100), torch.float32), tiny.read_words, embedding="embed", labels=tiny.LABELS
    )
    found = saliently.explain(model, "so good film", "gradient-x-input", saliently.Target(of="log-probability"))
    assert -1e-8 < found.values[0] < 0


def test_a_one_word_text_can_be_compared() -> None:
    assert np.isnan(saliently.compare(tiny.bert(), "bad", ["gradient", "occlusion"]).agreement).all()


def test_labels_that_are_not_one_a_text_are_refused() -> None:
    with pytest.raises(saliently.InputError, match="1 labels for 2 texts"):
        saliently.importance(tiny.bert(), ["good", "bad"], labels=["glad"])
