"""A module that does not fit its reader gives one error; one that does comes out as it went in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import saliently
from saliently import InputError, ModelError, Options
from saliently.models.base import Model
from tests import tiny
from tests.test_bad_input import GOOD, LONG, expect


def wrap_bag(**changes: Any) -> Model:
    bag = tiny.LinearBag(100)
    given = {"reader": tiny.read_words, "embedding": "embed", "labels": tiny.LABELS} | changes
    return saliently.wrap(bag, given.pop("reader"), **given)


@pytest.mark.parametrize(
    ("changes", "facts"),
    [
        ({"embedding": "embedd"}, ["'embedd'", "LinearBag", "embed"]),
        ({"embedding": None}, ["LinearBag", "embedding=..."]),
        ({"embedding": ""}, ["''", "embed"]),
        ({"labels": []}, ["labels", "found none"]),
        ({"labels": "yes"}, ["list of labels", "'yes'"]),
        ({"labels": [0, 1, 2]}, ["list of labels", "[0, 1, 2]"]),
        ({"blank_ids": {"msk": 1}}, ["'mask'", "'msk'"]),
        ({"reader": "bert"}, ["LinearBag", "str", "function from text"]),
        ({"reader": None}, ["NoneType", "function from text"]),
    ],
    ids=str,
)
def test_a_model_that_does_not_fit_together(changes: dict[str, Any], facts: list[str]) -> None:
    with expect(ModelError, *facts):
        wrap_bag(**changes)


def test_wrapping_what_is_no_module() -> None:
    with expect(ModelError, "str", "torch module"):
        saliently.wrap("bert", tiny.read_words, embedding="embed", labels=["a", "b"])  # type: ignore[arg-type]
    with expect(ModelError, "BertModel", "ForSequenceClassification"):
        saliently.wrap(tiny.bert_module().bert, tiny.wordpiece())
    with expect(ModelError, "labels", "id2label"):
        saliently.wrap(tiny.bert_module(), tiny.wordpiece(), labels=["a", "b", "c"])


@pytest.mark.parametrize(
    ("read", "facts"),
    [
        (lambda text: None, ["None", "two lists"]),
        (lambda text: [1, 2, 3], ["[1, 2, 3]", "two lists"]),
        (lambda text: (["a"], [(0, 1)]), ["two lists", "whole numbers"]),
        (lambda text: ([1], [(0, 1, 2)]), ["two lists", "(start, end)"]),
        (lambda text: ([1, 2], [(0, 1)]), ["2 ids and 1 spans"]),
        (lambda text: ([1], [(0, 99)]), ["(0, 99)", "24 characters"]),
        (lambda text: ([1, 2], [(5, 6), (0, 1)]), ["(0, 1)", "start in order"]),
        (lambda text: ([1], [(3, 2)]), ["(3, 2)"]),
        (lambda text: ([-1], [(0, 1)]), ["-1", "from 0"]),
        (lambda text: ([100], [(0, 1)]), ["100", "100 word vectors"]),
    ],
    ids=[
        "none",
        "one list",
        "words",
        "triples",
        "too few",
        "outside",
        "out of order",
        "backwards",
        "negative",
        "unknown id",
    ],
)
def test_a_reading_function_that_misleads(read: Callable[[str], Any], facts: list[str]) -> None:
    assert len(GOOD) == 24
    with expect(ModelError, *facts):
        saliently.explain(wrap_bag(reader=read), GOOD, "gradient")


def test_a_reading_function_may_give_arrays() -> None:
    def read(text: str) -> Any:
        ids, spans = tiny.read_words(text)
        return torch.tensor(ids), torch.tensor([list(span) for span in spans if span])

    found = saliently.explain(wrap_bag(reader=read), GOOD, "gradient")
    assert [word.text for word in found.words()] == ["A", "gorgeous,", "witty", "movie."]


def test_more_labels_than_outputs() -> None:
    with expect(ModelError, "(1, 4)", "(1, 3)", "labels"):
        saliently.explain(wrap_bag(labels=["a", "b", "c", "d"]), GOOD, "gradient")


def test_a_tokenizer_with_more_words_than_the_model() -> None:
    module = tiny.bert_module()
    module.resize_token_embeddings(50)
    with expect(ModelError, "50 word vectors", "trained with"):
        saliently.explain(saliently.wrap(module, tiny.wordpiece()), GOOD, "gradient")


def test_a_padding_token_that_the_model_does_not_know() -> None:
    tokenizer = tiny.byte_level()
    module = tiny.gpt2_module()
    module.config.pad_token_id = len(tokenizer)
    model = saliently.wrap(module, tokenizer)
    found = saliently.explain(model, [GOOD, "Bad."], "gradient")
    alone = saliently.explain(tiny.gpt2(), "Bad.", "gradient")
    assert found[1].scores == pytest.approx(alone.scores, rel=1e-4)


def test_padding_is_what_the_model_takes_for_padding() -> None:
    """Some tokenizers pad with another token than the one by which the classifier finds the last word."""
    module = tiny.gpt2_module()
    module.config.pad_token_id = 7
    found = saliently.explain(saliently.wrap(module, tiny.byte_level()), [GOOD, "Bad."], "gradient")
    alone = saliently.explain(tiny.gpt2(), "Bad.", "gradient")
    assert found[1].scores == pytest.approx(alone.scores, rel=1e-4)


@pytest.mark.filterwarnings("ignore:.* in the text was read as text:saliently.errors.SaliencyWarning")
def test_the_tokenizer_and_the_model_stay_as_they_are() -> None:
    tokenizer, module = tiny.wordpiece(), tiny.bert_module()
    tokenizer.backend_tokenizer.enable_truncation(5)
    tokenizer.backend_tokenizer.enable_padding(length=9)
    module.train()
    try:
        before = tokenizer.backend_tokenizer.to_str()
        weights = {name: value.clone() for name, value in module.state_dict().items()}
        model = saliently.wrap(module, tokenizer)
        for text, options in ((GOOD, Options()), (LONG, Options(truncate=True)), ("[SEP] [MASK]", Options())):
            assert saliently.explain(model, text, "gradient", options=options).words()
        with expect(InputError, str(tiny.LONGEST)):
            saliently.explain(model, LONG, "gradient")
        assert tokenizer.backend_tokenizer.to_str() == before
        assert tokenizer.backend_tokenizer.encode_special_tokens is False
        assert module.training
        assert module.classifier.weight.requires_grad
        assert module.classifier.weight.grad is None
        assert all(not part._forward_hooks for part in module.modules())
        assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())
    finally:
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
