"""Question answering: the logits of where an answer starts and where it ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, processors
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForQuestionAnswering,
    XLNetConfig,
    XLNetForQuestionAnswering,
)

import saliently
from saliently.models.base import Model
from saliently.types import Explanation, Target
from tests import tiny

QUESTION = "Who knows the film?"
CONTEXT = "The acting, the music and the light are wonderful; the plot was thin."
PAIR = {"question": QUESTION, "context": CONTEXT}
METHODS = (
    *("gradient", "gradient-x-input", "ig(blank='zero')", "occlusion(blank='zero')", "occlusion(blank='mask')"),
    *("lrp", "attn-lrp", "decompx", "attention", "attention-rollout", "gradient-rollout", "value-zeroing", "alti"),
)
SIZE = {**tiny.SIZE, "max_position_embeddings": 64}


@cache
def without_segments() -> PreTrainedTokenizerFast:
    """Pairs as RoBERTa joins them, with two separators and no segment ids."""
    copy = Tokenizer.from_str(tiny.wordpiece().backend_tokenizer.to_str())
    copy.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] [SEP] $B [SEP]",
        special_tokens=[(name, copy.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=copy,
        model_input_names=["input_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bert": tiny.wordpiece,
    "roberta": without_segments,
    "distilbert": without_segments,
}


@cache
def answerer(kind: str, dtype: torch.dtype = torch.float32) -> Model:
    tokenizer = TOKENIZERS[kind]()
    known: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    small = DistilBertConfig(**known, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64)
    makers: dict[str, Callable[[], Any]] = {
        "bert": lambda: BertForQuestionAnswering(BertConfig(**known, **SIZE)),
        "roberta": lambda: RobertaForQuestionAnswering(RobertaConfig(**known, **SIZE)),
        "distilbert": lambda: DistilBertForQuestionAnswering(small),
    }
    return saliently.wrap(tiny.seeded(makers[kind], dtype, 8.0), tokenizer)


def plain(kind: str, question: str, context: str) -> tuple[np.ndarray, np.ndarray, list[Any], list[Any]]:
    """(T,) logits of start and end by the documentation of transformers, offsets, and whose each token is."""
    found = TOKENIZERS[kind]()(question, context, return_tensors="pt", return_offsets_mapping=True)
    offsets, whose = found.pop("offset_mapping")[0].tolist(), found.sequence_ids(0)
    with torch.no_grad():
        outputs = answerer(kind).module(**found)
    return outputs.start_logits[0].double().numpy(), outputs.end_logits[0].double().numpy(), offsets, whose


def pipeline_answer(kind: str, question: str, context: str) -> tuple[int, int]:
    """First and last token as transformers' pipeline chose them: what is outside of the context gets a logit of -10000,
    and of the products of the two softmaxes the largest counts, with an answer of at most 15 tokens."""
    start, end, _, whose = plain(kind, question, context)
    inside = np.array([who == 1 for who in whose])
    chances = []
    for logits in (start, end):
        masked = np.where(inside, logits, -10000.0)
        chances.append(np.exp(masked - masked.max()) / np.exp(masked - masked.max()).sum())
    best = int(np.tril(np.triu(np.outer(*chances)), 14).argmax())
    return best // len(start), best % len(start)


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("context", [CONTEXT, "thin", " ".join(["good film, bad plot;"] * 5)])
def test_the_predicted_answer_is_the_pipeline_s(kind: str, context: str) -> None:
    found = saliently.explain(answerer(kind), {"question": QUESTION, "context": context}, "gradient")
    start, end, offsets, _ = plain(kind, QUESTION, context)
    first, last = pipeline_answer(kind, QUESTION, context)
    assert found.values[0] == pytest.approx(start[first] + end[last], abs=1e-5)
    assert repr(context[offsets[first][0] : offsets[last][1]]) in found.question
    assert found.target.predicted


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_ids_and_segments_are_the_tokenizer_s(kind: str) -> None:
    found = saliently.explain(answerer(kind), PAIR, "gradient")
    theirs = TOKENIZERS[kind]()(QUESTION, CONTEXT)
    assert found.tokens.ids == tuple(theirs["input_ids"])
    assert found.tokens.kinds == tuple(theirs.get("token_type_ids", ()))
    swapped = saliently.explain(answerer(kind), {"context": CONTEXT, "question": QUESTION}, "gradient")
    assert swapped.tokens.ids == found.tokens.ids
    assert swapped.values == found.values


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("at", ["the music", " the music ", slice(12, 21), "wonderful", slice(4, 10), slice(None)])
def test_the_value_is_the_logit_of_the_start_and_of_the_end(kind: str, at: str | slice) -> None:
    found = saliently.explain(answerer(kind), PAIR, "gradient", Target(at=at))
    start, end, offsets, whose = plain(kind, QUESTION, CONTEXT)
    said = CONTEXT[at] if isinstance(at, slice) else at.strip()
    low, high = CONTEXT.index(said), CONTEXT.index(said) + len(said)
    tokens = [i for i, who in enumerate(whose) if who == 1 and offsets[i][0] < high and offsets[i][1] > low]
    assert found.values[0] == pytest.approx(start[tokens[0]] + end[tokens[-1]], abs=1e-5)
    assert repr(said) in found.question
    assert found.target.predicted == ((tokens[0], tokens[-1]) == pipeline_answer(kind, QUESTION, CONTEXT))


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_them_and_a_batch_is_its_rows(kind: str, method: str) -> None:
    model = answerer(kind)
    before = {name: each.clone() for name, each in model.module.state_dict().items()}
    pairs = [PAIR, {**PAIR, "question": "So good?"}, {**PAIR, "context": "It is bad, and the plot was thin."}]
    together = saliently.explain(model, pairs, method, Target(at="plot was"))
    for pair, one in zip(pairs, together, strict=True):
        alone = saliently.explain(model, pair, method, Target(at="plot was"))
        assert one.scores.shape == (len(one.tokens.ids),)
        assert np.isfinite(one.scores).all()
        assert np.abs(one.scores).sum() > 0
        if "ig" in method:  # rounding decides which piece of the path is cut next
            assert one.scores.sum() == pytest.approx(one.checks.change, rel=0.01, abs=1e-5)
        else:
            near = 1e-5 * max(1.0, np.abs(alone.scores).max())
            np.testing.assert_allclose(one.scores, alone.scores, rtol=0, atol=near)
        assert one.values == pytest.approx(alone.values, abs=1e-5)
    after = model.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_gradient_is_that_of_both_logits(kind: str) -> None:
    model = answerer(kind, torch.float64)
    found = saliently.explain(model, PAIR, "gradient-x-input", Target(at="the music"))
    tokens = [i for i, span in enumerate(found.tokens.spans) if span and span.field == "context" and span.start >= 12]
    first, last = tokens[0], next(i for i in tokens if (span := found.tokens.spans[i]) and span.end == 21)
    x = model.embed(torch.tensor([found.tokens.ids])).requires_grad_()
    given = {} if not found.tokens.kinds else {"token_type_ids": torch.tensor([found.tokens.kinds])}
    outputs = model.module(inputs_embeds=x, **given)
    (slope,) = torch.autograd.grad(outputs.start_logits[0, first] + outputs.end_logits[0, last], x)
    wanted = (slope * x).sum(-1)[0].detach()
    np.testing.assert_allclose(found.scores, wanted, rtol=0, atol=1e-9)


def test_question_and_context_are_fields_that_complete_together() -> None:
    found: Explanation = saliently.explain(answerer("bert"), PAIR, "decompx")
    shares = [sum(u.score or 0.0 for u in found.words() if u.field == field) for field in PAIR]
    assert all(shares)
    assert sum(shares) + sum(score for _, score in found.special()) == pytest.approx(found.values[0], abs=1e-5)


def test_a_deleted_answer_can_t_be_asked_about() -> None:
    with pytest.raises(saliently.NumberError, match="choose another blank"):
        saliently.explain(answerer("bert"), PAIR, "occlusion(blank='delete')")


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target(at="no such answer"), "the context has it 0 times"),
        (Target(at="the"), "the context has it 3 times"),
        (Target(at="Who knows"), "the context has it 0 times"),
        (Target(at=""), "the context has it 0 times"),
        (Target(at=slice(500, 600)), "no token that the model sees stands there"),
        (Target(at=slice(0, 0)), "no token that the model sees stands there"),
        (Target(at=slice(9, 3)), "no token that the model sees stands there"),
        (Target(at=slice(0, 9, 2)), "give its text, or a slice"),
        (Target(at=3), "give its text, or a slice"),
        (Target("start"), "takes no label"),
        (Target(against="end"), "no `against`"),
        (Target(of="probability"), "no other scale"),
    ],
)
def test_an_answer_that_can_t_be_asked_for_is_one_clear_error(target: Target, says: str) -> None:
    with pytest.raises(saliently.RecipeError) as caught:
        saliently.explain(answerer("bert"), PAIR, "gradient", target)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"question": QUESTION}, "this model reads question and context"),
        ({"context": CONTEXT}, "this model reads question and context"),
        ({"premise": QUESTION, "hypothesis": CONTEXT}, "this model reads question and context"),
        (QUESTION, "this model reads question and context"),
        ({"question": "", "context": CONTEXT}, "(question) is empty"),
        ({"question": QUESTION, "context": " \n"}, "(context) is empty"),
        ({"question": QUESTION, "context": "\u200b"}, "it gives no token"),
        ({"question": QUESTION, "context": CONTEXT * 8}, "the model takes 64"),
    ],
)
def test_what_can_t_be_read_is_one_clear_error(fields: Any, says: str) -> None:
    with pytest.raises(saliently.InputError) as caught:
        saliently.explain(answerer("bert"), fields, "gradient")
    assert says in str(caught.value)


def test_an_answer_behind_a_cut_is_an_error_and_one_before_it_is_not() -> None:
    options = saliently.Options(truncate=True)
    long = {"question": QUESTION, "context": "the light " + "bad " * 100 + "gorgeous day"}
    found = saliently.explain(answerer("bert"), long, "gradient", Target(at="the light"), options=options)
    assert found.tokens.truncated is not None
    seen = max(span.end for span in found.tokens.spans if span is not None and span.field == "context")
    for at in ("gorgeous day", slice(seen - 3, seen + 20)):
        with pytest.raises(saliently.RecipeError, match=r"no token that the model sees|was cut at character"):
            saliently.explain(answerer("bert"), long, "gradient", Target(at=at), options=options)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_odd_unicode_and_single_tokens(kind: str) -> None:
    pair = {"question": "😀?", "context": "Loved 😀 👩‍👩‍👧‍👦 naïve ﬁne é Ǆ"}
    found = saliently.explain(answerer(kind), pair, "gradient-x-input", Target(at="naïve ﬁne"))
    assert "'naïve ﬁne'" in found.question
    for field, text in pair.items():
        assert "".join(unit.text for unit in found.units() if unit.field == field) == text
    assert np.isfinite(saliently.explain(answerer(kind), {"question": "a", "context": "b"}, "lrp").scores).all()


def test_a_text_without_the_answer_among_others_loses_nothing() -> None:
    with pytest.raises(saliently.SomeFailed) as caught:
        saliently.explain(
            answerer("bert"), [PAIR, {**PAIR, "context": "a bad film"}], "gradient", Target(at="the music")
        )
    assert sorted(caught.value.finished) == [0]


def test_a_head_that_searches_for_answers_is_refused() -> None:
    tokenizer = without_segments()
    config = XLNetConfig(vocab_size=len(tokenizer), d_model=32, n_layer=1, n_head=4, d_inner=48, pad_token_id=0)
    model = saliently.wrap(tiny.seeded(lambda: XLNetForQuestionAnswering(config), torch.float32), tokenizer)
    with pytest.raises(saliently.ModelError, match="searches for answers in another way"):
        saliently.explain(model, PAIR, "gradient")
