"""Sentence vectors: the similarity of two texts, each read by itself. Held to plain forward passes of transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import (
    BartConfig,
    BartModel,
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    FNetConfig,
    FNetModel,
)

import saliently
from saliently.models.base import Model
from saliently.types import Explanation, Target
from saliently.view.record import from_dict, to_dict
from tests import tiny
from tests.snapshot import snapshot

PAIR = {"text": "A gorgeous, witty, seductive movie.", "other": "The film is bad."}
PAIRS = [
    PAIR,
    {"text": "bad film", "other": "It's so bad that it's good -- 3.5% of viewers agree."},
    {"text": "The acting", "other": "The music and the light are wonderful."},
]
METHODS = [
    *("gradient", "gradient-x-input", "ig(blank='zero')", "ig(blank='mask')", "occlusion(blank='zero')"),
    *("occlusion(blank='mask')", "occlusion(blank='delete')", "lrp", "attn-lrp", "decompx"),
]
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda states: states.mean(0),
    "cls": lambda states: states[0],
    "last": lambda states: states[-1],
}
SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": lambda a, b: torch.cosine_similarity(a, b, dim=0),
    "dot": torch.dot,
}


def _common() -> dict[str, Any]:
    tokenizer = tiny.wordpiece()
    return {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}


def bert(dtype: torch.dtype = torch.float64) -> Any:
    config = BertConfig(**_common(), **tiny.SIZE)
    return tiny.seeded(lambda: BertModel(config), dtype, 8.0)


def distilbert(dtype: torch.dtype = torch.float64) -> Any:
    size = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 48, "max_position_embeddings": tiny.LONGEST}
    config = DistilBertConfig(**_common(), **size)
    return tiny.seeded(lambda: DistilBertModel(config), dtype, 8.0)


MODULES = {"bert": bert, "distilbert": distilbert}


def wrapped(kind: str = "bert", pooling: Any = "mean", similarity: Any = "cosine") -> Model:
    return saliently.wrap_embedder(MODULES[kind](), tiny.wordpiece(), pooling, similarity)


def vector(module: Any, text: str, pooling: str) -> Tensor:
    """(H,) by a forward pass of one text, without padding."""
    with torch.no_grad():
        states: Tensor = module(**tiny.wordpiece()(text, return_tensors="pt").to(module.device)).last_hidden_state[0]
    return POOLINGS[pooling](states)


def relative(found: Explanation, alone: Explanation) -> float:
    return float(np.abs(found.scores - alone.scores).max() / np.abs(alone.scores).max())


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_the_value_is_a_plain_forward_s_number(kind: str, pooling: str, similarity: str) -> None:
    module = MODULES[kind](torch.float32)
    model = saliently.wrap_embedder(module, tiny.wordpiece(), pooling, similarity)  # type: ignore[arg-type]
    if kind == "distilbert":
        assert not model.read(PAIR, False).kinds
    for pair, found in zip(PAIRS, saliently.explain(model, PAIRS, "gradient"), strict=True):
        one, two = (vector(module, text, pooling) for text in pair.values())
        assert found.values[0] == pytest.approx(float(SIMILARITIES[similarity](one, two)), rel=1e-5, abs=1e-5)
        assert (found.target.of, found.target.label) == ("output", "similarity")


def test_the_poolings_are_different_numbers() -> None:
    found = {pooling: saliently.explain(wrapped(pooling=pooling), PAIR, "gradient").values[0] for pooling in POOLINGS}
    assert len({round(value, 3) for value in found.values()}) == 3


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_them_and_a_batch_is_its_rows(kind: str, pooling: str, method: str) -> None:
    model = wrapped(kind, pooling)
    model.module.train()
    before = snapshot(model.module)
    together = saliently.explain(model, PAIRS, method)
    for found, pair in zip(together, PAIRS, strict=True):
        alone = saliently.explain(model, pair, method)
        assert np.isfinite(found.scores).all()
        assert np.abs(found.scores).sum() > 0
        assert relative(found, alone) <= 1e-5
        assert found.values == pytest.approx(alone.values, rel=1e-5)
        assert from_dict(to_dict(found)).outputs == found.outputs
        if method.startswith("ig"):
            assert found.checks.change is not None
            assert abs(found.scores.sum() - found.checks.change) <= 0.01 * abs(found.checks.change)
        if method == "decompx":
            assert found.scores.sum() == pytest.approx(found.values[0], rel=1e-9)
    assert snapshot(model.module) == before


@pytest.mark.parametrize("method", METHODS)
def test_both_texts_are_two_fields_with_scores_and_swapping_them_swaps_the_scores(method: str) -> None:
    model = wrapped()
    found = saliently.explain(model, PAIR, method)
    swapped = saliently.explain(model, {"text": PAIR["other"], "other": PAIR["text"]}, method)
    for name, other in (("text", "other"), ("other", "text")):
        ours, theirs = (
            [unit for unit in each.units() if unit.field == at] for each, at in ((found, name), (swapped, other))
        )
        assert "".join(unit.text for unit in ours) == PAIR[name]
        scores = [unit.score for unit in ours if unit.score is not None]
        assert any(scores)
        assert scores == pytest.approx([unit.score for unit in theirs if unit.score is not None], rel=1e-6, abs=1e-9)
    assert found.values == pytest.approx(swapped.values, rel=1e-9)


def test_occlusion_is_the_difference_of_two_plain_numbers() -> None:
    model = wrapped()
    found = saliently.explain(model, {"text": "The film is bad", "other": "good film"}, "occlusion(blank='delete')")
    other = vector(model.module, "good film", "mean")
    whole, less = (
        float(torch.cosine_similarity(vector(model.module, text, "mean"), other, dim=0))
        for text in ("The film is bad", "The film is")
    )
    (score,) = [unit.score for unit in found.words() if unit.text == "bad"]
    assert score == pytest.approx(whole - less, abs=1e-9)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_is_like_itself(pooling: str) -> None:
    found = saliently.explain(wrapped(pooling=pooling), dict.fromkeys(PAIR, PAIR["text"]), "gradient")
    assert found.values[0] == pytest.approx(1.0, abs=1e-12)
    assert np.abs(found.scores).max() == pytest.approx(0.0, abs=1e-9), "no change of a word makes it more alike"


def test_what_padding_moves_runs_row_by_row() -> None:
    config = FNetConfig(**_common(), hidden_size=32, num_hidden_layers=2, intermediate_size=48)
    module = tiny.seeded(lambda: FNetModel(config), torch.float64, 4.0)
    model = saliently.wrap_embedder(module, tiny.wordpiece())
    assert (model.max_rows, wrapped().max_rows) == (1, None)
    for pair, found in zip(PAIRS, saliently.explain(model, PAIRS, "occlusion(blank='delete')"), strict=True):
        assert relative(found, saliently.explain(model, pair, "occlusion(blank='delete')")) <= 1e-12


@pytest.mark.parametrize("method", ["attention", "attention-rollout", "value-zeroing", "alti"])
def test_attention_of_two_texts_is_refused(method: str) -> None:
    with pytest.raises(saliently.ModelError, match="Use a saliency method"):
        saliently.explain(wrapped(), PAIR, method)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("a text", "this model reads text and other"),
        ({"text": "a text"}, "Fields text were given; this model reads text and other"),
        ({**PAIR, "third": "more"}, "Fields text, other, third were given"),
        ({"text": "good", "other": ""}, r"this one \(other\) is empty"),
        ({"text": " ", "other": "good"}, "this one is empty, but for spaces"),
        ({"text": "good", "other": 3}, "found int 3"),
        ({"text": "good", "other": "good " * 300}, "The text has 302 tokens with special ones; the model takes 256"),
        ({"text": "good " * 255, "other": "good"}, "The text has 257 tokens"),
    ],
)
def test_what_can_t_be_read_is_one_clear_error(given: Any, says: str) -> None:
    with pytest.raises(saliently.InputError, match=says):
        saliently.explain(wrapped(), given, "gradient")


def test_each_text_may_be_as_long_as_the_model_takes_and_is_cut_on_wish() -> None:
    most = {"text": "good " * 254, "other": "bad " * 254}
    assert len(saliently.explain(wrapped(), most, "gradient").tokens.ids) == 512
    longer = {"text": "bad film", "other": "good " * 300}
    found = saliently.explain(wrapped(), longer, "gradient", options=saliently.Options(truncate=True))
    short = len(tiny.wordpiece()(longer["text"])["input_ids"])
    assert found.tokens.truncated == (short + 302, short + 256)
    assert any("Cut from 302 to 256" in note for note in found.checks.notes)


def test_other_models_are_refused_with_what_to_do() -> None:
    module, tokenizer = bert(), tiny.wordpiece()
    with pytest.raises(saliently.ModelError, match="'max' was asked for; there are 'mean', 'cls', 'last'"):
        saliently.wrap_embedder(module, tokenizer, "max")  # type: ignore[arg-type]
    with pytest.raises(saliently.ModelError, match="Did you mean 'cosine'"):
        saliently.wrap_embedder(module, tokenizer, "mean", "cosin")  # type: ignore[arg-type]
    with pytest.raises(saliently.ModelError, match=r"found BertForSequenceClassification. Give module\.base_model"):
        saliently.wrap_embedder(tiny.bert_module(), tokenizer)
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    both = BartModel(BartConfig(**_common(), **sizes, **heads))
    with pytest.raises(saliently.ModelError, match=r"Give module\.get_encoder"):
        saliently.wrap_embedder(both, tokenizer)
    assert saliently.explain(saliently.wrap_embedder(both.get_encoder(), tokenizer), PAIR, "lrp").values
    with pytest.raises(saliently.ModelError, match=r"model\[0\]\.auto_model"):
        saliently.wrap_embedder(torch.nn.Linear(1, 1), tokenizer)  # type: ignore[arg-type]


def test_the_number_has_no_other_scale_and_no_rest() -> None:
    for target in (Target(of="probability"), Target(against="rest"), Target("alike")):
        with pytest.raises(saliently.RecipeError, match="was asked for"):
            saliently.explain(wrapped(), PAIR, "gradient", target)
    assert saliently.wrap_embedder(bert(), tiny.wordpiece(), name="mine").name == "mine"
