"""Heads that give an output at each place: the tag of a word, a word at a mask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForTokenClassification,
    GPT2Config,
    GPT2ForTokenClassification,
    RobertaConfig,
    RobertaForMaskedLM,
    pipeline,
)

import saliently
from saliently.models.base import Model
from saliently.types import Target
from saliently.view.record import from_dict, to_dict
from tests import tiny

TEXT = "A gorgeous, witty, seductive movie."
MASKED = "A gorgeous, [MASK], seductive movie."
METHODS = [
    *("gradient", "gradient-x-input", "ig(blank='zero')", "occlusion(blank='zero')", "occlusion(blank='mask')", "lrp"),
    *("attn-lrp", "decompx", "attention", "attention-rollout", "gradient-rollout", "value-zeroing", "alti"),
]


def bert(kind: Any, **settings: Any) -> Any:
    tokenizer = tiny.wordpiece()
    config = BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **tiny.SIZE, **settings)
    return tiny.seeded(lambda: kind(config), torch.float32, 8.0)


def tagger() -> Model:
    return saliently.wrap(bert(BertForTokenClassification, num_labels=4), tiny.wordpiece())


def decoder() -> Model:
    tokenizer = tiny.byte_level()
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=4, num_labels=4, pad_token_id=0, eos_token_id=None
    )
    return saliently.wrap(tiny.seeded(lambda: GPT2ForTokenClassification(config), torch.float32, 8.0), tokenizer)


def filler() -> Model:
    return saliently.wrap(bert(BertForMaskedLM), tiny.wordpiece())


def other_filler() -> Model:
    tokenizer = tiny.wordpiece()
    size = {**tiny.SIZE, "max_position_embeddings": 260}
    config = RobertaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **size)
    return saliently.wrap(tiny.seeded(lambda: RobertaForMaskedLM(config), torch.float32, 8.0), tokenizer)


CASES = {
    "tagger": (tagger, TEXT, Target(at="witty")),
    "decoder tagger": (decoder, TEXT, Target(at="witty")),
    "filler": (filler, MASKED, Target()),
    "other filler": (other_filler, MASKED, Target()),
}


def outputs(model: Model, text: str, ids: tuple[int, ...]) -> torch.Tensor:
    """(T, C) by the documentation of transformers: a plain forward pass."""
    with torch.no_grad():
        found: torch.Tensor = model.module(input_ids=torch.tensor([ids])).logits[0]
    return found


@pytest.mark.parametrize("case", CASES)
def test_the_value_is_a_plain_forward_s_number(case: str) -> None:
    make, text, target = CASES[case]
    model = make()
    found = saliently.explain(model, text, "gradient", target)
    at = found.tokens.ids.index(tiny.wordpiece().mask_token_id) if "filler" in case else None
    if at is None:
        unit = next(i for i, part in enumerate(found.tokens.parts) if found.tokens.text(part) == "witty")
        at = found.tokens.units.index(unit)
    plain = outputs(model, text, found.tokens.ids)[at]
    assert found.values[0] == pytest.approx(float(plain.max()), abs=1e-5)
    assert found.target.index == int(plain.argmax())
    assert found.target.at == ("the mask" if "filler" in case else "'witty'")
    assert f"at {found.target.at}" in found.question


def test_a_tagger_s_number_is_the_pipeline_s() -> None:
    model = tagger()
    theirs = pipeline("token-classification", model=model.module, tokenizer=tiny.wordpiece(), device="cpu")(TEXT)
    for each in theirs:
        if each["start"] == TEXT.index("witty"):
            found = saliently.explain(model, TEXT, "gradient", Target(each["entity"], of="probability", at="witty"))
            assert found.values[0] == pytest.approx(float(each["score"]), abs=1e-5)
            return
    raise AssertionError("the pipeline says nothing of the word")


def test_a_filler_s_number_is_the_pipeline_s() -> None:
    model = filler()
    theirs = pipeline("fill-mask", model=model.module, tokenizer=tiny.wordpiece(), device="cpu")(MASKED, top_k=3)
    for each in theirs:
        found = saliently.explain(model, MASKED, "gradient", Target(each["token"], of="probability"))
        assert found.values[0] == pytest.approx(each["score"], abs=1e-5)
    word = theirs[0]["token_str"].replace(" ", "")
    named = saliently.explain(model, MASKED, "gradient", Target(word, against="good" if word != "good" else "bad"))
    logits = outputs(model, MASKED, named.tokens.ids)[named.tokens.ids.index(tiny.wordpiece().mask_token_id)]
    assert named.values[0] == pytest.approx(
        float(logits[named.target.index] - logits[named.target.against_index]), abs=1e-5
    )


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_them_and_a_batch_is_its_rows(case: str, method: str) -> None:
    make, text, target = CASES[case]
    model = make()
    if "mask" in method and "mask" not in model.blank_ids:
        method = method.replace("mask", "pad")
    texts = [text, text.replace("A gorgeous, ", ""), text.replace(" seductive", "")]
    together = saliently.explain(model, texts, method, target)
    for one, given in zip(together, texts, strict=True):
        alone = saliently.explain(model, given, method, target)
        assert np.isfinite(one.scores).all()
        assert np.abs(one.scores).sum() > 0
        if "ig" not in method:
            near = 1e-5 * max(1, np.abs(alone.scores).max())
            np.testing.assert_allclose(one.scores, alone.scores, rtol=0, atol=near)
        else:
            assert one.scores.sum() == pytest.approx(one.checks.change, rel=0.011)
        assert one.values == pytest.approx(alone.values, abs=1e-5)
        assert from_dict(to_dict(one)).outputs == one.outputs


def test_a_decoder_s_tag_depends_on_nothing_behind_it() -> None:
    found = saliently.explain(decoder(), TEXT, "gradient", Target(at="witty"))
    behind = [unit.score for unit in found.words() if unit.start > TEXT.index("witty")]
    assert behind
    assert not any(behind)
    assert all(unit.score for unit in found.words() if unit.start <= TEXT.index("witty"))


def test_the_attention_row_is_that_of_the_place() -> None:
    model = tagger()
    found = saliently.explain(model, TEXT, "attention", Target(at="witty"))
    maps = saliently.attention(model, TEXT)
    unit = next(i for i, part in enumerate(found.tokens.parts) if found.tokens.text(part) == "witty")
    row = list(maps.layers.values())[-1].mean(0)[found.tokens.units.index(unit)]
    np.testing.assert_allclose(found.scores, row, atol=1e-6)


@pytest.mark.parametrize(
    ("case", "text", "at", "says"),
    [
        ("tagger", TEXT, None, "The tag of a word was asked for; name a word of the text with at="),
        ("tagger", TEXT, "wity", "Did you mean 'witty'?"),
        ("tagger", TEXT, ",", "2 times. Give its number instead: 2, 4"),
        ("tagger", TEXT, 99, "the text has words 0 to 7"),
        ("filler", TEXT, None, "has none. Write the mask"),
        ("filler", "[MASK] and [MASK]", None, "the text has 2. Say which, with at=0 to at=1"),
        ("filler", MASKED, 1, "A word at mask 1 was asked for"),
        ("filler", MASKED, "witty", "A word at mask 'witty' was asked for"),
    ],
)
def test_a_place_that_is_not_there_is_one_clear_error(case: str, text: str, at: Any, says: str) -> None:
    with pytest.raises(saliently.RecipeError) as caught:
        saliently.explain(CASES[case][0](), text, "gradient", Target(at=at))
    assert says in str(caught.value)


def test_a_text_without_the_word_among_others_loses_nothing() -> None:
    with pytest.raises(saliently.SomeFailed) as caught:
        saliently.explain(tagger(), [TEXT, "bad film", TEXT], "gradient", Target(at="witty"))
    assert sorted(caught.value.finished) == [0, 2]
    assert "'witty' was asked for" in str(caught.value.failures[1])


def test_other_special_tokens_and_labels_of_a_masked_language_model() -> None:
    with pytest.raises(saliently.InputError, match=r"it holds \[SEP\] too"):
        saliently.explain(filler(), "so [MASK] [SEP]", "gradient")
    with pytest.raises(saliently.RecipeError, match="and more"):
        saliently.explain(filler(), MASKED, "gradient", "no such word")
    found = saliently.explain(filler(), "[MASK] is good, [MASK] is bad", "lrp", Target(at=1))
    assert found.target.at == "mask 1"
    assert "".join(unit.text for unit in found.units()) == "[MASK] is good, [MASK] is bad"
    assert all(unit.text != "[MASK]" for unit in found.words())


def test_a_place_is_no_word_to_be_deleted() -> None:
    with pytest.raises(saliently.NumberError, match="choose another blank"):
        saliently.explain(tagger(), TEXT, "omission", Target(at="witty"))
    found = saliently.explain(filler(), MASKED, "omission")
    assert np.isfinite(found.scores).all()


def test_models_are_loaded_by_their_head(tmp_path: Path) -> None:
    for kind, folder in ((BertForTokenClassification, "tagger"), (BertForMaskedLM, "filler")):
        module = bert(kind)
        module.save_pretrained(tmp_path / folder)
        tiny.wordpiece().save_pretrained(tmp_path / folder)
        loaded = saliently.load(tmp_path / folder)
        assert type(loaded.module) is kind
        text, target = (TEXT, Target(at="witty")) if folder == "tagger" else (MASKED, Target())
        ours = saliently.explain(loaded, text, "gradient", target)
        theirs = saliently.explain(saliently.wrap(module, tiny.wordpiece()), text, "gradient", target)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-6)
