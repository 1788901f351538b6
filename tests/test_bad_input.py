"""What can't be used gives one error that says what was asked, what was found and what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import saliently
from saliently import InputError, NumberError, Options, RecipeError, SaliencyError, SomeFailed
from tests import tiny

GOOD = "A gorgeous, witty movie."
LONG = "very " * 400 + "long"


def expect(error: type[SaliencyError], *facts: str) -> Any:
    """The error, with all of these facts in its message."""
    return pytest.raises(error, match="".join(f"(?=.*{re.escape(fact)})" for fact in facts) or None)


@pytest.mark.parametrize("text", ["", " ", "\n\t \u3000", "\x00", "\u200b"])
def test_text_without_a_word(text: str) -> None:
    with expect(InputError, "empty", "Give some words"):
        saliently.explain(tiny.bert(), text)


@pytest.mark.parametrize("text", [5, None, b"bytes", ["nested"], 1.5])
def test_text_that_is_no_text(text: Any) -> None:
    with pytest.raises(SomeFailed) as caught:
        saliently.explain(tiny.bert(), [GOOD, text, GOOD], "gradient")
    assert sorted(caught.value.finished) == [0, 2]
    assert list(caught.value.failures) == [1]
    assert type(text).__name__ in str(caught.value.failures[1])
    assert "1 of 3" in str(caught.value)


@pytest.mark.parametrize("text", [5, None, 1.5])
def test_one_text_that_is_no_text(text: Any) -> None:
    with expect(InputError, "text", type(text).__name__):
        saliently.explain(tiny.bert(), text, "gradient")


@pytest.mark.parametrize("fields", [{}, {"question": "a", "context": "b"}, {"text": "a", "more": "b"}, {"text": 5}])
def test_fields_that_the_model_does_not_read(fields: Any) -> None:
    with expect(InputError, *(str(name) for name in fields if name != "more")):
        saliently.explain(tiny.bert(), fields, "gradient")


def test_half_a_character() -> None:
    with expect(InputError, "lone surrogate", "place 2", "Decode"):
        saliently.explain(tiny.bert(), "ab\ud800")


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_text_that_is_too_long_names_both_lengths(kind: str) -> None:
    model = tiny.models()[kind]()
    with pytest.raises(InputError, match=rf"has (\d+) tokens .* takes {tiny.LONGEST}\..*truncate=True") as caught:
        saliently.explain(model, LONG, "gradient")
    found = int(re.findall(r"has (\d+) tokens", str(caught.value))[0])
    assert found > tiny.LONGEST


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama"])
def test_a_cut_text_says_so_and_leaves_the_rest_unscored(kind: str) -> None:
    found = saliently.explain(tiny.models()[kind](), LONG, "gradient", options=Options(truncate=True))
    assert len(found.tokens.ids) == tiny.LONGEST
    assert any(f"to {tiny.LONGEST} tokens" in note for note in found.checks.notes)
    assert found.tokens.truncated is not None
    assert found.tokens.truncated[1] == tiny.LONGEST < found.tokens.truncated[0]
    units = found.units()
    assert "".join(unit.text for unit in units) == LONG
    assert units[-1].text.endswith("long")
    assert units[-1].score is None


def test_a_good_text_among_bad_ones_is_kept() -> None:
    with pytest.raises(SomeFailed) as caught:
        saliently.explain(tiny.bert(), [GOOD, "", LONG, GOOD], "gradient")
    assert sorted(caught.value.finished) == [0, 3]
    assert {at: type(error) for at, error in caught.value.failures.items()} == {1: InputError, 2: InputError}
    alone = saliently.explain(tiny.bert(), GOOD, "gradient")
    assert caught.value.finished[3].scores == pytest.approx(alone.scores, rel=1e-4)


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        ({"target": "gald"}, ["'gald'", "sad, fine, glad", "Did you mean 'glad'"]),
        ({"target": 3}, ["3", "0 to 2"]),
        ({"target": -1}, ["-1", "0 to 2"]),
        ({"target": 1.5}, ["1.5", "sad, fine, glad"]),
        ({"against": "nobody"}, ["'nobody'", "sad, fine, glad"]),
        ({"target": "glad", "against": "glad"}, ["against itself", "always 0"]),
        ({"method": "integrated-gradient"}, ["'integrated-gradient'", "Did you mean 'integrated-gradients'"]),
        ({"method": ""}, ["''", "occlusion"]),
        ({"method": "occlusion(blnk='zero')"}, ["'blnk'", "blank", "Did you mean 'blank'"]),
        ({"method": "occlusion(blank='zeros')"}, ["'zeros'", "Did you mean 'zero'"]),
        ({"method": "ig(blank='delete')"}, ["'delete'", "'zero'"]),
        ({"method": "gradient(norm='l3')"}, ["norm", "'l3'", "'l2'"]),
        ({"method": "occlusion(window='two')"}, ["window='two'", "int"]),
        ({"method": "occlusion(window=0)"}, ["window=0", "from 1"]),
        ({"method": "ig(steps=0)"}, ["steps=0", "at least one"]),
        ({"method": "ig(steps=True)"}, ["steps=True", "int"]),
        ({"method": "ig(tolerance=-1)"}, ["tolerance=-1", "above 0"]),
        ({"method": "ig(blank=())"}, ["blank=()"]),
        ({"method": "smoothgrad(over='occlusion')"}, ["'occlusion'", "gradient-x-input"]),
        ({"method": "smoothgrad(samples=0)"}, ["samples=0"]),
        ({"method": "ig(64)"}, ["'ig(64)'", "parameter=value"]),
        ({"method": "ig(steps=64"}, ["'ig(steps=64'", "can't be read"]),
        ({"method": "ig(steps=open('x'))"}, ["can't be read"]),
        ({"method": "ig(steps=1); print(2)"}, ["can't be read"]),
        ({"method": 7}, ["7", "recipe"]),
    ],
    ids=str,
)
def test_a_question_that_does_not_fit(arguments: dict[str, Any], facts: list[str]) -> None:
    with expect(RecipeError, *facts):
        saliently.explain(tiny.bert(), GOOD, **arguments)


def test_an_unknown_scale() -> None:
    with expect(RecipeError, "'logits'", "'logit'", "'probability'"):
        saliently.Target(of="logits")  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["occlusion(blank='mask')", "ig(blank='mask')", "ig(blank=('zero', 'mask'))"])
def test_a_blank_that_the_model_has_no_token_for(method: str) -> None:
    with expect(RecipeError, "'mask'", "no mask token", "'zero'"):
        saliently.explain(tiny.gpt2(), GOOD, method)


def test_the_predicted_class_against_itself() -> None:
    label = saliently.explain(tiny.bert(), GOOD, "gradient").target.label
    with expect(RecipeError, label, "against itself", "always 0", "Name the target"):
        saliently.explain(tiny.bert(), GOOD, "gradient", against=label)


def test_deleting_the_only_token_of_a_text_without_special_tokens() -> None:
    with expect(NumberError, "occlusion(blank='delete')", "choose another blank"):
        saliently.explain(tiny.gpt2(), "A", "occlusion(blank='delete')")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers(bad: float) -> None:
    module = tiny.bert_module()
    with torch.no_grad():
        module.classifier.bias[:] = bad
    with expect(NumberError, "NaN or infinite weights", str(bad)):
        saliently.explain(saliently.wrap(module, tiny.wordpiece()), GOOD, "gradient")
