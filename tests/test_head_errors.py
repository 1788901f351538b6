"""The same mistakes on every head: each is one clear error of ours, and takes nothing from the texts beside it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

import saliently
from saliently.errors import SaliencyError
from saliently.models.base import Model
from saliently.types import Target
from tests import tiny
from tests.test_answers import PAIR, answerer
from tests.test_choices import chooser
from tests.test_embedder import wrapped
from tests.test_place_heads import MASKED, TEXT, filler, tagger
from tests.test_translators import bart
from tests.writers import gpt2, gpt2_module


@dataclass(frozen=True)
class Head:
    """A kind of model. Attributes: make; good, an input; again, the same over a module with other weights; at, the
    place that its target names."""

    make: Callable[[], Model]
    good: Any
    again: Callable[[Any], Model]
    target: Target = field(default_factory=Target)


def over(kit: Callable[[], Any]) -> Callable[[Any], Model]:
    return lambda module: saliently.wrap(module, kit())


CHOICES = {"context": "The film is bad", "choices": ["so good", "so bad"]}
HEADS: dict[str, Head] = {
    "classifier": Head(lambda: tiny.bert(torch.float32), TEXT, over(tiny.wordpiece)),
    "tagger": Head(tagger, TEXT, over(tiny.wordpiece), Target(at=1)),
    "filler": Head(filler, MASKED, over(tiny.wordpiece)),
    "answerer": Head(lambda: answerer("bert"), PAIR, over(tiny.wordpiece)),
    "chooser": Head(lambda: chooser("bert"), CHOICES, over(tiny.wordpiece)),
    "writer": Head(gpt2, {"prompt": "The film is", "response": " so bad"}, over(tiny.byte_level)),
    "translator": Head(bart, {"source": "The film is bad", "target": "so good"}, over(tiny.wordpiece)),
    "embedder": Head(
        wrapped,
        {"text": "The film is bad", "other": "so good"},
        lambda module: saliently.wrap_embedder(module, tiny.wordpiece()),
    ),
}
every_head = pytest.mark.parametrize("name", HEADS)


def fields(good: Any) -> dict[str, Any]:
    return dict(good) if isinstance(good, Mapping) else {"text": good}


def spoiled(head: Head, bad: Any) -> list[dict[str, Any]]:
    """The good input with each of its texts in turn made `bad`."""
    found = []
    for name, value in fields(head.good).items():
        found.append({**fields(head.good), name: [bad, *value[1:]] if isinstance(value, list) else bad})
    return found


def ask(head: Head, text: Any, model: Model | None = None) -> saliently.Explanation:
    found: saliently.Explanation = saliently.explain(model or head.make(), text, "gradient-x-input", head.target)
    return found


@every_head
@pytest.mark.parametrize("bad", ["", "  \n ", "\udc80", 5, None, b"so"])
def test_what_is_no_text(name: str, bad: Any) -> None:
    for text in spoiled(HEADS[name], bad):
        with pytest.raises(SaliencyError, match=r"(was|were) asked for"):
            ask(HEADS[name], text)


@every_head
def test_missing_and_unknown_fields(name: str) -> None:
    good = fields(HEADS[name].good)
    for wrong in ({}, {"txt": "so"}, {**good, "more": "so"}):
        with pytest.raises(SaliencyError) as caught:
            ask(HEADS[name], wrong)
        assert len(str(caught.value)) > 30


@every_head
def test_weights_that_are_no_numbers(name: str) -> None:
    head = HEADS[name]
    module: Any = copy.deepcopy(head.make().module)
    with torch.no_grad():
        for weight in module.parameters():
            weight.fill_(torch.nan)
    with pytest.raises(saliently.NumberError, match="NaN"):
        ask(head, head.good, head.again(module))


@every_head
def test_an_unknown_label_method_and_scale(name: str) -> None:
    head = HEADS[name]
    with pytest.raises(saliently.RecipeError):
        saliently.explain(head.make(), head.good, "gradient", Target("no such label", at=head.target.at))
    with pytest.raises(saliently.RecipeError, match="there"):
        saliently.explain(head.make(), head.good, "gradiant")
    with pytest.raises(saliently.RecipeError, match="scale"):
        Target(of="percent")  # type: ignore[arg-type]


@every_head
def test_a_text_too_long(name: str) -> None:
    head = HEADS[name]
    with pytest.raises(saliently.InputError, match="token"):
        ask(head, spoiled(head, "so good " * 400)[0])


@every_head
def test_a_good_text_among_bad_ones_is_kept(name: str) -> None:
    head = HEADS[name]
    bad = spoiled(head, "")[0]
    with pytest.raises(saliently.SomeFailed) as caught:
        saliently.explain(head.make(), [bad, head.good, {"txt": "so"}], "gradient-x-input", head.target)
    assert list(caught.value.finished) == [1]
    assert list(caught.value.failures) == [0, 2]


@every_head
def test_a_module_that_fails_says_so(name: str) -> None:
    """An error that torch raises in the middle is not swallowed."""
    head = HEADS[name]
    module: Any = copy.deepcopy(head.make().module)
    model = head.again(module)
    handle = module.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ask(head, head.good, model)
    handle.remove()
    assert ask(head, head.good, model).values


def test_a_response_without_a_token_and_a_mask_that_is_not_there() -> None:
    with pytest.raises(SaliencyError, match="response"):
        ask(HEADS["writer"], {"prompt": "The film is", "response": ""})
    with pytest.raises(saliently.RecipeError, match="has none"):
        ask(HEADS["filler"], TEXT)
    with pytest.raises(saliently.RecipeError, match="times"):
        saliently.explain(answerer("bert"), PAIR, "gradient", Target(at="no such answer"))
    swapped = {"question": PAIR["context"], "context": PAIR["question"]}
    with pytest.raises(saliently.RecipeError, match="times"):
        saliently.explain(answerer("bert"), swapped, "gradient", Target(at="the music"))
    with pytest.raises(saliently.RecipeError, match="no such tag"):
        saliently.explain(tagger(), TEXT, "gradient", Target("no such tag", at=1))


def test_a_model_of_another_vocabulary() -> None:
    small = gpt2_module(tiny.byte_level())
    small.resize_token_embeddings(100)
    with pytest.raises(saliently.ModelError, match="fits"):
        saliently.explain(
            saliently.wrap(small, tiny.byte_level()), {"prompt": "The film", "response": " so"}, "gradient"
        )
