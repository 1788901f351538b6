"""Heads that classify sequences: one label, several labels, a number; a text or a pair. Held to transformers' own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2ForSequenceClassification, pipeline

import saliently
from saliently.models.base import Model
from saliently.types import Explanation, Target
from tests import tiny

TEXT = "A gorgeous, witty, seductive movie."
PAIR = {"premise": "The film is bad; it isn't even funny.", "hypothesis": "The movie is wonderful."}
METHODS = ["gradient", "gradient-x-input", "ig(blank='zero')", "occlusion(blank='zero')", "lrp", "attention", "decompx"]


def bert(**settings: Any) -> tuple[BertForSequenceClassification, Any]:
    tokenizer = tiny.wordpiece()
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **tiny.SIZE, **settings)
    return tiny.seeded(lambda: BertForSequenceClassification(config), torch.float32, 8.0), tokenizer


def gpt2(**settings: Any) -> tuple[GPT2ForSequenceClassification, Any]:
    tokenizer = tiny.byte_level()
    size = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
    specials = {"pad_token_id": tokenizer.pad_token_id, "bos_token_id": None, "eos_token_id": None}
    config = GPT2Config(vocab_size=len(tokenizer), **size, **specials, **settings)
    return tiny.seeded(lambda: GPT2ForSequenceClassification(config), torch.float32, 8.0), tokenizer


HEADS: dict[str, dict[str, Any]] = {
    "one label": {"num_labels": 3, "problem_type": "single_label_classification"},
    "several labels": {"num_labels": 3, "problem_type": "multi_label_classification"},
    "one label alone": {"num_labels": 1},
    "a number": {"num_labels": 1, "problem_type": "regression"},
    "two numbers": {"num_labels": 2, "problem_type": "regression"},
}


@pytest.fixture(params=[bert, gpt2], ids=["bert", "gpt2"])
def make(request: pytest.FixtureRequest) -> Callable[..., Any]:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("head", HEADS)
def test_the_value_is_the_pipeline_s_own_number(make: Callable[..., Any], head: str) -> None:
    module, tokenizer = make(**HEADS[head])
    theirs = pipeline("text-classification", model=module, tokenizer=tokenizer, device="cpu")(TEXT, top_k=None)
    model = saliently.wrap(module, tokenizer)
    for each in theirs:
        scale = "output" if "number" in head else "probability"
        found = saliently.explain(model, TEXT, "gradient", Target(each["label"], of=scale))
        assert found.values[0] == pytest.approx(each["score"], abs=1e-5)
        assert found.target.of == scale


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("given", [TEXT, PAIR], ids=["text", "pair"])
def test_every_method_serves_every_head(make: Callable[..., Any], head: str, method: str, given: Any) -> None:
    model = saliently.wrap(*make(**HEADS[head]))
    if given == PAIR and make is gpt2:
        assert model.read(PAIR, False).fields == PAIR
    found = saliently.explain(model, given, method)
    assert np.isfinite(found.scores).all()
    assert np.abs(found.scores).sum() > 0
    fields = {"text": TEXT} if given == TEXT else PAIR
    for name, text in fields.items():
        assert "".join(unit.text for unit in found.units() if unit.field == name) == text
    together = saliently.explain(model, [given, "bad", given], method)
    near = 1e-5 * max(1, np.abs(found.scores).max())
    if "ig" not in method:
        np.testing.assert_allclose(together[2].scores, found.scores, rtol=0, atol=near)
    if method.startswith("ig"):
        assert found.scores.sum() == pytest.approx(found.checks.change, rel=0.011)


def plain(model: Model, given: Explanation) -> torch.Tensor:
    ids = torch.tensor([given.tokens.ids])
    kinds = {"token_type_ids": torch.tensor([given.tokens.kinds])} if given.tokens.kinds else {}
    with torch.no_grad():
        logits: torch.Tensor = model.module(input_ids=ids, **kinds).logits[0].double()
    return logits


def test_scales_of_labels_that_don_t_exclude_one_another() -> None:
    model = saliently.wrap(*bert(**HEADS["several labels"]))
    found = saliently.explain(model, TEXT, "gradient", Target("LABEL_1", of="probability"))
    logits = plain(model, found)
    assert found.values[0] == pytest.approx(float(logits[1].sigmoid()))
    chance = saliently.explain(model, TEXT, "gradient", Target("LABEL_1", of="log-probability"))
    assert chance.values[0] == pytest.approx(float(logits[1].sigmoid().log()))
    less = saliently.explain(model, TEXT, "gradient", Target("LABEL_1", "LABEL_0", "probability"))
    assert less.values[0] == pytest.approx(float(logits[1].sigmoid() - logits[0].sigmoid()))
    with pytest.raises(saliently.RecipeError, match="judges each label by itself"):
        saliently.explain(model, TEXT, "gradient", Target("LABEL_1", "rest"))


def test_a_number_has_no_probability_and_a_class_is_no_output() -> None:
    number, classes = (saliently.wrap(*bert(**HEADS[head])) for head in ("a number", "one label"))
    found = saliently.explain(number, TEXT, "lrp")
    assert found.target.describe() == "the output of LABEL_0"
    assert found.target.unit == "output"
    with pytest.raises(saliently.RecipeError, match="a number, not a class"):
        saliently.explain(number, TEXT, "lrp", Target(of="probability"))
    with pytest.raises(saliently.RecipeError, match="the model has classes"):
        saliently.explain(classes, TEXT, "lrp", Target(of="output"))


@pytest.mark.parametrize("pair", [PAIR, {"premise": "so [SEP] good", "hypothesis": "[CLS] bad [MASK]"}])
def test_a_pair_is_read_as_its_tokenizer_reads_it(pair: dict[str, str]) -> None:
    tokenizer = tiny.wordpiece()
    typed = "[SEP]" in pair["premise"]
    theirs = tokenizer(pair["premise"], pair["hypothesis"], split_special_tokens=True)
    backwards = dict(reversed(pair.items()))
    for given in (pair, backwards):
        if typed:
            with pytest.warns(saliently.SaliencyWarning, match="read as text"):
                found = saliently.explain(tiny.bert(), given, "gradient")
            assert any("read as text" in note for note in found.checks.notes)
        else:
            found = saliently.explain(tiny.bert(), given, "gradient")
        assert list(found.tokens.ids) == theirs["input_ids"]
        assert list(found.tokens.kinds) == theirs["token_type_ids"]
        assert found.checks.ids == found.tokens.ids
        with torch.no_grad():
            logits = tiny.bert().module(**{key: torch.tensor([value]) for key, value in theirs.items()}).logits[0]
        assert found.values[0] == pytest.approx(float(logits.max()), abs=1e-5)


def test_cutting_a_pair_keeps_what_the_tokenizer_keeps() -> None:
    long = {"premise": "a film so bad " * 60, "hypothesis": "so good " * 60}
    with pytest.raises(saliently.InputError, match="the model takes 256"):
        saliently.explain(tiny.bert(), long, "gradient")
    found = saliently.explain(tiny.bert(), long, "gradient", options=saliently.Options(truncate=True))
    theirs = tiny.wordpiece()(*long.values(), truncation=True, max_length=256)
    assert list(found.tokens.ids) == theirs["input_ids"]
    assert found.tokens.truncated == (len(tiny.wordpiece()(*long.values())["input_ids"]), 256)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"premise": "a"}, "Fields premise were given; this model reads text, or premise and hypothesis"),
        ({"premise": "a", "hypotesis": "b"}, "reads text, or premise and hypothesis"),
        ({"premise": "a", "hypothesis": " "}, r"this one \(hypothesis\) is empty, but for spaces"),
        ({"premise": "", "hypothesis": "a"}, r"this one \(premise\) is empty"),
        ({"premise": "a", "hypothesis": 3}, "found int 3"),
        ({"premise": "a", "hypothesis": "\ud800"}, "lone surrogate"),
        ({"text": "a", "hypothesis": "b"}, "reads text, or premise and hypothesis"),
    ],
)
def test_wrong_fields_are_one_clear_error(given: Any, says: str) -> None:
    with pytest.raises(saliently.InputError, match=says):
        saliently.explain(tiny.bert(), given, "gradient")


def test_a_module_of_one_s_own_reads_one_text() -> None:
    with pytest.raises(saliently.InputError, match="this model reads text"):
        saliently.explain(tiny.linear_bag(), PAIR, "gradient")
