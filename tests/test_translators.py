"""Encoder-decoders: a source, and the log-probability of a target, whole or in part."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
    MBartConfig,
    MBartForConditionalGeneration,
    PreTrainedTokenizerFast,
    ProphetNetConfig,
    ProphetNetForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

import saliently
from saliently.models.base import Model
from saliently.types import Explanation, Target
from tests import tiny

SOURCE, TARGET = "The film is bad; it isn't even funny.", "A gorgeous, witty movie."
PAIR = {"source": SOURCE, "target": TARGET}
METHODS = (
    *("gradient", "gradient-x-input", "ig(blank='zero')", "occlusion(blank='zero')", "occlusion(blank='delete')"),
    *("lrp", "attn-lrp", "decompx"),
)
SIZE: dict[str, Any] = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 64,
}
ENDS: dict[str, Any] = {"bos_token_id": 2, "eos_token_id": 3, "decoder_start_token_id": 3}


@cache
def t5(dtype: torch.dtype = torch.float32) -> Model:
    """Ties three tables. Its weights grow by 2: its norm has a kink at the zero vector, which is hard on paths."""
    tokenizer = tiny.unigram()
    config = T5Config(
        vocab_size=len(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return saliently.wrap(tiny.seeded(lambda: T5ForConditionalGeneration(config), dtype, 2.0), tokenizer)


def like_bart(config: Any, kind: Any, dtype: torch.dtype = torch.float32, **settings: Any) -> Model:
    tokenizer = tiny.wordpiece()
    made = config(vocab_size=len(tokenizer), pad_token_id=0, **{**SIZE, **ENDS, **settings})
    return saliently.wrap(tiny.seeded(lambda: kind(made), dtype, 8.0), tokenizer)


@cache
def bart(dtype: torch.dtype = torch.float32) -> Model:
    """Scales its word vectors."""
    return like_bart(BartConfig, BartForConditionalGeneration, dtype, scale_embedding=True)


MODELS: dict[str, Callable[..., Model]] = {"t5": t5, "bart": bart}
TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {"t5": tiny.unigram, "bart": tiny.wordpiece}


def plain(model: Model, tokenizer: PreTrainedTokenizerFast, source: str, target: str) -> torch.Tensor:
    """(N,) log-probability of each label, by the documentation of transformers."""
    labels = tokenizer(text_target=target, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model.module(**ids_of(tokenizer, source), labels=labels).logits
    found: torch.Tensor = logits[0].double().log_softmax(-1).gather(1, labels[0][:, None])[:, 0]
    return found


def ids_of(tokenizer: PreTrainedTokenizerFast, source: str) -> dict[str, torch.Tensor]:
    found = tokenizer(source, return_tensors="pt")
    return {name: found[name] for name in ("input_ids", "attention_mask")}


def by_field(found: Explanation, field: str) -> list[float]:
    """Scores of the tokens of a field."""
    spans = zip(found.tokens.spans, found.scores, strict=True)
    return [float(score) for span, score in spans if span is not None and span.field == field]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("texts", [(SOURCE, TARGET), ("bad", "bad"), ("a", "Not a single moment"), (SOURCE, SOURCE)])
def test_the_value_is_the_log_probability_of_the_labels(kind: str, texts: tuple[str, str]) -> None:
    model, tokenizer = MODELS[kind](), TOKENIZERS[kind]()
    each = plain(model, tokenizer, *texts)
    found = saliently.explain(model, {"source": texts[0], "target": texts[1]}, "gradient")
    assert found.values[0] == pytest.approx(float(each.sum()), abs=1e-5)
    assert found.tokens.ids[found.tokens.response :] == tuple(tokenizer(text_target=texts[1])["input_ids"])
    assert found.tokens.ids[: len(found.tokens.streams[0])] == tuple(tokenizer(texts[0])["input_ids"])


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("at", [0, 2, -1, slice(1, 3), slice(None), "witty"])
def test_the_value_of_a_part_is_the_sum_over_its_tokens(kind: str, at: Any) -> None:
    model, tokenizer = MODELS[kind](), TOKENIZERS[kind]()
    each = plain(model, tokenizer, SOURCE, TARGET)
    found = saliently.explain(model, PAIR, "gradient", Target(at=at))
    if isinstance(at, str):
        start, end = TARGET.index(at), TARGET.index(at) + len(at)
        offsets = tokenizer(text_target=TARGET, return_offsets_mapping=True)["offset_mapping"]
        wanted = each[[i for i, (low, high) in enumerate(offsets) if low < end and high > start and high > low]].sum()
    else:
        wanted = each[at].sum()
    assert found.values[0] == pytest.approx(float(wanted), abs=1e-5)


@pytest.mark.parametrize("kind", MODELS)
def test_another_word_and_a_word_against_another_are_read_at_the_place(kind: str) -> None:
    model, tokenizer = MODELS[kind](), TOKENIZERS[kind]()
    labels = tokenizer(text_target=TARGET, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        row = model.module(**ids_of(tokenizer, SOURCE), labels=labels).logits[0, 2].double()
    for of, scale in (("logit", row), ("probability", row.softmax(-1)), ("log-probability", row.log_softmax(-1))):
        found = saliently.explain(model, PAIR, "gradient", Target(9, against=11, of=of, at=2))  # type: ignore[arg-type]
        assert found.values[0] == pytest.approx(float(scale[9] - scale[11]), abs=1e-5)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_them_and_a_batch_is_its_rows(kind: str, method: str) -> None:
    model = MODELS[kind]()
    before = {name: each.clone() for name, each in model.module.state_dict().items()}
    pairs = [PAIR, {"source": "bad", "target": TARGET}, {"source": SOURCE, "target": "So bad, so good"}]
    together = saliently.explain(model, pairs, method, Target(at=2))
    for pair, one in zip(pairs, together, strict=True):
        alone = saliently.explain(model, pair, method, Target(at=2))
        assert one.scores.shape == (len(one.tokens.ids),)
        assert np.isfinite(one.scores).all()
        assert np.abs(one.scores).sum() > 0
        scale = np.abs(alone.scores).max()
        if "ig" in method:  # rounding decides which piece of the path is cut next
            assert np.linalg.norm(one.scores - alone.scores) <= 0.01 * np.linalg.norm(alone.scores)
        else:
            np.testing.assert_allclose(one.scores, alone.scores, rtol=0, atol=1e-5 * scale)
        assert one.values == pytest.approx(alone.values, abs=1e-5)
        at = one.tokens.response or 0
        # Rows of a removal may run in batches of other shapes, which round in another way.
        assert np.abs(one.scores[at + 2 :]).max() <= (1e-5 * scale if "occlusion" in method else 0)
        assert by_field(one, "source")[0] != 0
    after = model.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not model.module.training
    assert all(weight.requires_grad for weight in model.module.parameters())


@pytest.mark.parametrize("kind", MODELS)
def test_what_stands_behind_a_token_moves_nothing_and_the_source_does(kind: str) -> None:
    model = MODELS[kind]()
    one = saliently.explain(model, {"source": SOURCE, "target": "A witty movie"}, "gradient-x-input", Target(at=1))
    other = saliently.explain(model, {"source": SOURCE, "target": "A witty film!"}, "gradient-x-input", Target(at=1))
    many = (one.tokens.response or 0) + 1
    np.testing.assert_allclose(one.scores[:many], other.scores[:many], rtol=0, atol=1e-6)
    assert one.values == pytest.approx(other.values, abs=1e-6)
    moved = saliently.explain(model, {"source": "good", "target": "A witty movie"}, "gradient", Target(at=1))
    assert abs(moved.values[0] - one.values[0]) > 1e-3


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("at", [None, 4])
def test_source_and_prefix_are_fields_that_complete_together(kind: str, at: int | None) -> None:
    found = saliently.explain(MODELS[kind](), PAIR, "ig(blank='zero', most=1024)", Target(at=at))
    assert {unit.field for unit in found.words()} == {"source", "target"}
    total = sum(by_field(found, "source")) + sum(by_field(found, "target")) + sum(x for _, x in found.special())
    assert total == pytest.approx(found.checks.change, rel=0.01)
    assert np.abs(by_field(found, "source")).sum() > 0
    assert np.abs(by_field(found, "target")).sum() > 0
    for field, text in PAIR.items():
        assert "".join(unit.text for unit in found.units() if unit.field == field) == text


@pytest.mark.parametrize("kind", MODELS)
def test_the_gradient_is_that_of_word_vectors_on_each_side(kind: str) -> None:
    """Against finite differences in one table, with the vectors of each side put in by hand."""
    model = MODELS[kind](torch.float64)
    found = saliently.explain(model, {"source": "bad", "target": "bad film"}, "gradient-x-input", Target(at=-1))
    ids, (left, right) = torch.tensor([found.tokens.ids]), found.tokens.streams
    vectors = model.embed(ids)[0]
    label = found.tokens.ids[-1]

    def value(scale: torch.Tensor) -> float:
        x = vectors * scale[:, None]
        logits = model.module(
            inputs_embeds=x[None, list(left)], decoder_inputs_embeds=x[None, list(right)], use_cache=False
        ).logits
        return float(logits[0, -1].log_softmax(-1)[label])

    with torch.no_grad():
        for token in (*left, *right):
            step = torch.zeros(len(vectors), dtype=torch.float64)
            step[token] = 1e-5
            slope = (value(1 + step) - value(1 - step)) / 2e-5
            # T5 computes its norm in float32.
            assert found.scores[token] == pytest.approx(slope, abs=2e-2 if kind == "t5" else 1e-6)


def test_two_sides_of_the_same_ids_are_told_apart() -> None:
    """A decoder that begins with a word, so that both sides read the very same ids."""
    tokenizer = tiny.byte_level()
    (first, *_), second = tokenizer(SOURCE)["input_ids"], tokenizer(SOURCE)["input_ids"][1:]
    config = BartConfig(
        vocab_size=len(tokenizer), pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=first, **SIZE
    )
    module = tiny.seeded(lambda: BartForConditionalGeneration(config), torch.float64, 8.0)
    model = saliently.wrap(module, tokenizer)
    target = tokenizer.decode(second) + "x"
    found = saliently.explain(model, {"source": SOURCE, "target": target}, "gradient-x-input", Target(at=-1))
    left, right = found.tokens.streams
    assert [found.tokens.ids[i] for i in left] == [found.tokens.ids[i] for i in right]
    x = model.embed(torch.tensor([found.tokens.ids]))[0]
    sides = [x[None, list(left)].requires_grad_(), x[None, list(right)].requires_grad_()]
    logits = module(inputs_embeds=sides[0], decoder_inputs_embeds=sides[1], use_cache=False).logits
    slopes = torch.autograd.grad(logits[0, -1].log_softmax(-1)[found.tokens.ids[-1]], sides)
    wanted = torch.cat([(slope * side).sum(-1)[0].detach() for slope, side in zip(slopes, sides, strict=True)])
    np.testing.assert_allclose(found.scores[:-1], wanted, rtol=0, atol=1e-9)
    assert np.abs(found.scores[: len(left)] - found.scores[len(left) : -1]).max() > 1e-3


@pytest.mark.parametrize("kind", MODELS)
def test_a_generated_target_is_the_model_s_own(kind: str) -> None:
    model, tokenizer = MODELS[kind](), TOKENIZERS[kind]()
    found = saliently.explain(model, {"source": SOURCE}, "gradient")
    with torch.no_grad():
        ids = model.module.generate(  # type: ignore[operator]
            **ids_of(tokenizer, SOURCE), max_new_tokens=32, do_sample=False, num_beams=1
        )[0, 1:]
        logits = model.module(**ids_of(tokenizer, SOURCE), labels=ids[None]).logits[0].double().log_softmax(-1)
    assert found.tokens.ids[found.tokens.response :] == tuple(ids.tolist())
    assert found.values[0] == pytest.approx(float(logits.gather(1, ids[:, None]).sum()), abs=1e-5)
    assert found.tokens.fields["target"] == tokenizer.decode(ids, skip_special_tokens=True)
    assert any("generated" in note for note in found.checks.notes)
    alone = saliently.explain(model, SOURCE, "gradient")
    np.testing.assert_allclose(alone.scores, found.scores)


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("target", ["  so \n bad  film  ", "Loved 😀 👩‍👩‍👧‍👦 naïve ﬁne Ǆ é", "☃☃ unknown ☃", "Ü"])
def test_odd_targets_are_read_as_the_tokenizer_reads_them(kind: str, target: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    found = saliently.explain(MODELS[kind](), {"source": "  " + target, "target": target}, "gradient")
    assert found.tokens.ids[found.tokens.response :] == tuple(tokenizer(text_target=target)["input_ids"])
    assert "".join(unit.text for unit in found.units() if unit.field == "target") == target
    words = [unit for unit in found.units() if unit.field == "target" and unit.text.strip()]
    assert all(unit.score is not None for unit in words)


@pytest.mark.parametrize("kind", MODELS)
def test_typed_special_tokens_are_text_on_both_sides(kind: str) -> None:
    end = TOKENIZERS[kind]().decode([MODELS[kind]().module.config.eos_token_id])
    with pytest.warns(saliently.SaliencyWarning, match="read as text"):
        found = saliently.explain(MODELS[kind](), {"source": SOURCE, "target": f"bad {end} film"}, "gradient")
    ids = found.tokens.ids[found.tokens.response :]
    assert ids.count(MODELS[kind]().module.config.eos_token_id) == 1
    assert any(unit.text == "film" for unit in found.words())
    assert any("in the target was read as text" in note for note in found.checks.notes)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"source": "", "target": "a"}, "(source) is empty"),
        ({"source": "a", "target": "  "}, "(target) is empty, but for spaces"),
        ({"target": "a"}, "this model reads source and target"),
        ({"source": "a", "response": "b"}, "this model reads source and target"),
        ({"source": "a", "target": 3}, "found int 3"),
        ({"source": "a", "target": "\u200b"}, "it gives no token"),
        ({"source": "bad " * 100, "target": "a"}, "102 tokens with special ones; the model takes 64"),
        ({"source": "a", "target": "bad " * 100}, "102 tokens with special ones; the model takes 64"),
    ],
)
def test_what_can_t_be_read_is_one_clear_error(fields: Any, says: str) -> None:
    with pytest.raises(saliently.InputError) as caught:
        saliently.explain(bart(), fields, "gradient")
    assert says in str(caught.value)


@pytest.mark.parametrize("at", [99, -99, slice(50, 60), "", "no such", "a", True])
def test_a_part_that_is_not_there_is_one_clear_error(at: Any) -> None:
    with pytest.raises(saliently.RecipeError, match="asked for"):
        saliently.explain(bart(), {"source": SOURCE, "target": "a film a"}, "gradient", Target(at=at))


@pytest.mark.parametrize("long", ["source", "target"])
def test_a_cut_keeps_the_end_and_is_marked(long: str) -> None:
    fields = {**PAIR, long: "bad " * 100}
    found = saliently.explain(bart(), fields, "gradient", options=saliently.Options(truncate=True))
    tokenizer = tiny.wordpiece()
    sides = {
        "source": list(tokenizer(fields["source"], truncation=True, max_length=64)["input_ids"]),
        "target": list(tokenizer(text_target=fields["target"], truncation=True, max_length=64)["input_ids"]),
    }
    assert list(found.tokens.ids) == [*sides["source"], 3, *sides["target"]]
    many = len(found.tokens.ids)
    assert found.tokens.truncated == (many + 38, many)
    assert any("ut from 102 to 64 tokens" in note for note in found.checks.notes)
    with torch.no_grad():
        logits = (
            bart()
            .module(input_ids=torch.tensor([sides["source"]]), labels=(labels := torch.tensor([sides["target"]])))
            .logits
        )
    each = logits[0].double().log_softmax(-1).gather(1, labels[0][:, None])
    assert found.values[0] == pytest.approx(float(each.sum()), abs=1e-5)


def test_a_source_that_is_deleted_whole_leaves_nothing_to_ask() -> None:
    tokenizer = tiny.byte_level()
    config = BartConfig(vocab_size=len(tokenizer), pad_token_id=0, **{**SIZE, **ENDS})
    model = saliently.wrap(tiny.seeded(lambda: BartForConditionalGeneration(config), torch.float32, 8.0), tokenizer)
    with pytest.raises(saliently.NumberError, match="choose another blank"):
        saliently.explain(model, {"source": "a", "target": "bad film"}, "occlusion(blank='delete')")
    found = saliently.explain(model, {"source": "a", "target": "b"}, "occlusion(blank='zero')")
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("method", ["attention", "attention-rollout", "gradient-rollout", "value-zeroing", "alti"])
def test_attention_over_several_texts_is_refused_at_once(method: str) -> None:
    with pytest.raises(saliently.ModelError, match=r"reads several texts apart. Use a saliency method\.$"):
        saliently.explain(bart(), [PAIR, PAIR], method)
    with pytest.raises(saliently.ModelError, match="reads several texts apart"):
        saliently.attention(bart(), PAIR)


def test_each_token_of_a_target_is_explained_from_the_same_passes() -> None:
    found = saliently.explain_each(bart(), PAIR, "gradient-x-input")
    assert len(found) == len(tiny.wordpiece()(text_target=TARGET)["input_ids"])
    for n in (0, 3):
        alone = saliently.explain(bart(), PAIR, "gradient-x-input", Target(at=n))
        np.testing.assert_allclose(found[n].scores, alone.scores, rtol=0, atol=1e-6)


def test_a_marian_and_an_mbart_are_encoder_decoders_too() -> None:
    for config, kind in ((MarianConfig, MarianMTModel), (MBartConfig, MBartForConditionalGeneration)):
        start = {"decoder_start_token_id": None} if kind is MBartForConditionalGeneration else {}
        model = like_bart(config, kind, **start)
        each = plain(model, tiny.wordpiece(), SOURCE, TARGET)
        found = saliently.explain(model, PAIR, "gradient")
        assert found.values[0] == pytest.approx(float(each.sum()), abs=1e-5)
    with pytest.raises(saliently.InputError, match="Give a target"):
        saliently.explain(model, SOURCE, "gradient")


def test_rows_that_padding_would_move_run_alone() -> None:
    config = ProphetNetConfig(
        vocab_size=len(tiny.wordpiece()),
        hidden_size=32,
        encoder_ffn_dim=48,
        num_encoder_layers=2,
        num_encoder_attention_heads=4,
        decoder_ffn_dim=48,
        num_decoder_layers=2,
        num_decoder_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
        **ENDS,
    )
    module = tiny.seeded(lambda: ProphetNetForConditionalGeneration(config), torch.float32, 4.0)
    model = saliently.wrap(module, tiny.wordpiece())
    pairs = [PAIR, {"source": "bad", "target": "a film"}]
    for one, pair in zip(saliently.explain(model, pairs, "gradient-x-input"), pairs, strict=True):
        np.testing.assert_allclose(one.scores, saliently.explain(model, pair, "gradient-x-input").scores, atol=1e-6)


def test_sides_with_tables_of_their_own_are_refused() -> None:
    with pytest.raises(saliently.ModelError, match="One table of word vectors"):
        like_bart(BartConfig, BartForConditionalGeneration, tie_word_embeddings=False)


def test_training_mode_comes_back() -> None:
    module: nn.Module = bart().module
    module.train()
    try:
        saliently.explain(bart(), {"source": SOURCE}, "gradient")
        assert module.training
    finally:
        module.eval()
