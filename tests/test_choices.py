"""Multiple choice: a context with each of several choices."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForMultipleChoice,
    ConvBertConfig,
    ConvBertForMultipleChoice,
    DistilBertConfig,
    DistilBertForMultipleChoice,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaForMultipleChoice,
    XLNetConfig,
    XLNetForMultipleChoice,
)

import saliently
from saliently.models.base import Model
from saliently.types import Target
from tests import tiny
from tests.test_answers import without_segments

CONTEXT = "The film is bad; it isn't even funny."
QUESTIONS: list[dict[str, Any]] = [
    {"context": CONTEXT, "choices": ["so good", "a dull story about nothing"]},
    {"context": "Who knows?", "choices": ["good", "bad", "a charming scene"]},
    {"context": CONTEXT, "choices": ("The plot was thin", "the light")},
]
METHODS = (
    *("gradient", "gradient-x-input", "ig(blank='zero')", "occlusion(blank='zero')", "occlusion(blank='delete')"),
    *("lrp", "attn-lrp", "decompx"),
)
SIZE = {**tiny.SIZE, "max_position_embeddings": 64}
TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "bert": tiny.wordpiece,
    "roberta": without_segments,
    "distilbert": without_segments,
    "convbert": without_segments,
    "xlnet": without_segments,
}
USUAL = ("bert", "roberta", "distilbert")


@cache
def chooser(kind: str, dtype: torch.dtype = torch.float32) -> Model:
    """Padding moves the logits of ConvBERT, and on the right those of XLNet."""
    tokenizer = TOKENIZERS[kind]()
    known: dict[str, Any] = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id}
    small = DistilBertConfig(**known, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64)
    makers: dict[str, Callable[[], Any]] = {
        "bert": lambda: BertForMultipleChoice(BertConfig(**known, **SIZE)),
        "roberta": lambda: RobertaForMultipleChoice(RobertaConfig(**known, **SIZE)),
        "distilbert": lambda: DistilBertForMultipleChoice(small),
        "convbert": lambda: ConvBertForMultipleChoice(ConvBertConfig(**known, **SIZE, embedding_size=32)),
        "xlnet": lambda: XLNetForMultipleChoice(XLNetConfig(**known, d_model=32, n_layer=2, n_head=4, d_inner=48)),
    }
    return saliently.wrap(tiny.seeded(makers[kind], dtype, 8.0), tokenizer)


def plain(kind: str, question: dict[str, Any], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(K,) logits: by the documentation of transformers, or where padding would move them, each choice by itself."""
    tokenizer, choices = TOKENIZERS[kind](), list(question["choices"])
    module = chooser(kind, dtype).module
    if kind in USUAL:
        given = tokenizer([question["context"]] * len(choices), choices, padding=True, return_tensors="pt")
        with torch.no_grad():
            found: torch.Tensor = module(**{name: each[None] for name, each in given.items()}).logits[0]
        return found.double()
    with torch.no_grad():
        each = [
            module(**{name: one[None] for name, one in tokenizer(question["context"], k, return_tensors="pt").items()})
            for k in choices
        ]
    return torch.cat([one.logits[0] for one in each]).double()


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_the_values_are_the_module_s_logits(kind: str) -> None:
    for k in (0, 1):
        for question, found in zip(
            QUESTIONS, saliently.explain(chooser(kind), QUESTIONS, "gradient-x-input", k), strict=True
        ):
            assert found.values[0] == pytest.approx(float(plain(kind, question)[k]), abs=1e-5)
            assert found.target.label == f"choice {k}"
    for question, found in zip(QUESTIONS, saliently.explain(chooser(kind), QUESTIONS, "gradient"), strict=True):
        assert found.target.index == int(plain(kind, question).argmax())
        assert found.target.predicted


@pytest.mark.parametrize("kind", USUAL)
@pytest.mark.parametrize("of", ["logit", "probability", "log-probability"])
def test_against_another_the_rest_and_the_mean_of_the_choices_that_there_are(kind: str, of: Any) -> None:
    logits = plain(kind, QUESTIONS[1])
    scale = {"logit": logits, "probability": logits.softmax(-1), "log-probability": logits.log_softmax(-1)}[of]
    others = scale[1:].sum() if of == "probability" else scale[1:].logsumexp(-1)
    wanted: dict[Any, torch.Tensor] = {None: torch.zeros(()), 2: scale[2], "choice 1": scale[1]}
    wanted |= {"rest": others, "mean": scale[1:].mean()}
    for against, other in wanted.items():
        # Beside a question of another number of choices, which must not matter.
        found = saliently.explain(chooser(kind), [QUESTIONS[1]] * 2, "gradient-x-input", Target(0, against, of))
        for one in found:
            assert one.values[0] == pytest.approx(float(scale[0] - other), abs=1e-5)
            assert np.isfinite(one.scores).all()
        split = saliently.explain(chooser(kind), QUESTIONS[1], "decompx", Target(0, against, of))
        assert np.isfinite(split.scores).all()


@pytest.mark.parametrize("kind", USUAL)
def test_the_mean_beside_a_question_of_fewer_choices(kind: str) -> None:
    found = saliently.explain(chooser(kind), QUESTIONS, "gradient", Target(0, against="mean"))
    for question, one in zip(QUESTIONS, found, strict=True):
        logits = plain(kind, question)
        assert one.values[0] == pytest.approx(float(logits[0] - logits[1:].mean()), abs=1e-5)


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_each_choice_is_read_as_the_tokenizer_joins_it(kind: str) -> None:
    found = saliently.explain(chooser(kind), QUESTIONS[1], "gradient")
    for k, stream in enumerate(found.tokens.streams):
        theirs = TOKENIZERS[kind]()(QUESTIONS[1]["context"], QUESTIONS[1]["choices"][k])
        assert [found.tokens.ids[i] for i in stream] == theirs["input_ids"]
        if kind == "bert":
            assert [found.tokens.kinds[i] for i in stream] == theirs["token_type_ids"]
    texts = {"context": QUESTIONS[1]["context"], **{f"choice {k}": t for k, t in enumerate(QUESTIONS[1]["choices"])}}
    for field, text in texts.items():
        assert "".join(unit.text for unit in found.units() if unit.field == field) == text


@pytest.mark.parametrize("kind", [*USUAL, "xlnet"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_serves_them_and_a_batch_is_its_rows(kind: str, method: str) -> None:
    model = chooser(kind)
    before = {name: each.clone() for name, each in model.module.state_dict().items()}
    for question, one in zip(QUESTIONS, saliently.explain(model, QUESTIONS, method, 1), strict=True):
        alone = saliently.explain(model, question, method, 1)
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
def test_a_choice_depends_on_its_own_words_and_the_context(kind: str) -> None:
    method = "gradient-x-input"
    found = saliently.explain(chooser(kind), QUESTIONS[1], method, 2)
    shares = {f: [u.score for u in found.words() if u.field == f] for f in found.tokens.fields}
    assert all(shares["context"])
    assert all(shares["choice 2"])
    assert not any(shares["choice 0"] + shares["choice 1"])
    both = saliently.explain(chooser(kind), QUESTIONS[1], method, Target(0, against=1))
    apart = [saliently.explain(chooser(kind), QUESTIONS[1], method, k).scores for k in (0, 1)]
    np.testing.assert_allclose(both.scores, apart[0] - apart[1], rtol=0, atol=1e-5)


def test_the_context_s_gradient_is_summed_over_the_choices() -> None:
    model = chooser("bert", torch.float64)
    found = saliently.explain(model, QUESTIONS[1], "gradient-x-input", Target(0, against="rest"))
    x = model.embed(torch.tensor(found.tokens.ids)).requires_grad_()
    logits = [
        model.module(
            inputs_embeds=x[list(stream)][None, None],
            token_type_ids=torch.tensor([[[found.tokens.kinds[i] for i in stream]]]),
        ).logits[0, 0]
        for stream in found.tokens.streams
    ]
    (slope,) = torch.autograd.grad(logits[0] - torch.stack(logits[1:]).logsumexp(0), x)
    np.testing.assert_allclose(found.scores, (slope * x).sum(-1).detach(), rtol=0, atol=1e-9)


def test_each_choice_is_explained_from_the_same_passes() -> None:
    found = saliently.explain_each(chooser("bert"), QUESTIONS[1], "gradient-x-input")
    assert [each.target.label for each in found] == ["choice 0", "choice 1", "choice 2"]
    for k, one in enumerate(found):
        alone = saliently.explain(chooser("bert"), QUESTIONS[1], "gradient-x-input", k)
        np.testing.assert_allclose(one.scores, alone.scores, rtol=0, atol=1e-6)
        assert one.target.predicted == (k == int(plain("bert", QUESTIONS[1]).argmax()))
    with pytest.raises(saliently.RecipeError, match="Leave the label out"):
        saliently.explain_each(chooser("bert"), QUESTIONS[1], "gradient-x-input", 1)


@pytest.mark.parametrize(
    ("target", "says"),
    [
        (Target(3), "this question has choices 0 to 2"),
        (Target("choice 7"), "this question has choices 0 to 2"),
        (Target(0, against=5), "this question has choices 0 to 2"),
        (Target(26), "Label 26 was asked for"),
        (Target("good"), "Label 'good' was asked for"),
        (Target(1, against=1), "against itself"),
        (Target(0, at=1), "Name the choice as the label"),
    ],
)
def test_a_choice_that_is_not_there_is_one_clear_error(target: Target, says: str) -> None:
    with pytest.raises(saliently.RecipeError) as caught:
        saliently.explain(chooser("bert"), QUESTIONS[1], "gradient", target)
    assert says in str(caught.value)


def test_a_question_without_the_choice_among_others_loses_nothing() -> None:
    with pytest.raises(saliently.SomeFailed) as caught:
        saliently.explain(chooser("bert"), QUESTIONS, "gradient", 2)
    assert sorted(caught.value.finished) == [1]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"context": CONTEXT, "choices": ["a"]}, "found a list of 1. Give a list of 2 to 26 texts"),
        ({"context": CONTEXT, "choices": ["a"] * 30}, "found a list of 30"),
        ({"context": CONTEXT, "choices": "ab"}, "found 'ab'"),
        ({"context": CONTEXT, "choices": ["a", 3]}, "found int 3"),
        ({"context": CONTEXT, "choices": ["a", ""]}, "(choice 1) is empty"),
        ({"context": "", "choices": ["a", "b"]}, "(context) is empty"),
        ({"context": CONTEXT, "choices": ["a", "\u200b"]}, "it gives no token"),
        ({"context": CONTEXT}, "this model reads context and choices"),
        ({"choices": ["a", "b"]}, "this model reads context and choices"),
        (CONTEXT, "this model reads context and choices"),
        ({"context": CONTEXT, "choices": ["bad " * 80, "a"]}, "the model takes 64"),
        ({"context": CONTEXT * 9, "choices": ["bad", "a"]}, "the model takes 64"),
    ],
)
def test_what_can_t_be_read_is_one_clear_error(fields: Any, says: str) -> None:
    with pytest.raises(saliently.InputError) as caught:
        saliently.explain(chooser("bert"), fields, "gradient")
    assert says in str(caught.value)


def test_a_cut_is_marked_and_one_that_cuts_the_context_in_two_ways_is_an_error() -> None:
    options = saliently.Options(truncate=True)
    long = {"context": CONTEXT * 9, "choices": ["bad", "a"]}
    found = saliently.explain(chooser("bert"), long, "gradient", 0, options=options)
    assert found.tokens.truncated is not None
    assert any("Cut from" in note for note in found.checks.notes)
    with pytest.raises(saliently.InputError, match="in other tokens than with another"):
        saliently.explain(chooser("bert"), {**long, "choices": ["bad", "a dull story"]}, "gradient", 0, options=options)


def test_most_choices_equal_ones_and_odd_letters() -> None:
    many = {"context": CONTEXT, "choices": [f"bad {'film ' * (k % 4)}" for k in range(26)]}
    found = saliently.explain(chooser("bert"), many, "gradient", 25)
    assert found.values[0] == pytest.approx(float(plain("bert", many)[25]), abs=1e-5)
    same = saliently.explain(chooser("bert"), {"context": "a", "choices": ["b", "b"]}, "gradient", Target(0, against=1))
    assert same.values[0] == pytest.approx(0.0, abs=1e-6)
    odd = {"context": "Loved 😀 é", "choices": ["👩‍👩‍👧‍👦", "ﬁ Ǆ ☃"]}
    one = saliently.explain(chooser("bert"), odd, "gradient-x-input", 1)
    assert one.values[0] == pytest.approx(float(plain("bert", odd)[1]), abs=1e-5)
    assert np.isfinite(one.scores).all()


@pytest.mark.parametrize("method", ["attention", "attention-rollout", "gradient-rollout", "value-zeroing", "alti"])
def test_attention_over_several_texts_is_refused_at_once(method: str) -> None:
    with pytest.raises(saliently.ModelError, match=r"reads several texts apart. Use a saliency method\.$"):
        saliently.explain(chooser("bert"), QUESTIONS, method)
    with pytest.raises(saliently.ModelError, match="reads several texts apart"):
        saliently.attention(chooser("bert"), QUESTIONS[0])
