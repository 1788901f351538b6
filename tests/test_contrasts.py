"""Why this response and not another."""

from __future__ import annotations

import json

import numpy as np
import pytest

import saliently
from saliently.view.record import from_dict, to_dict
from tests.test_translators import bart
from tests.writers import chances, gpt2, llama

GIVEN = {"prompt": "The film is", "response": " so bad"}
OTHER = " so very good"


@pytest.mark.parametrize("make", [gpt2, llama])
@pytest.mark.parametrize("recipe", ["gradient-x-input", "occlusion", "ig(steps=4)", "lrp"])
def test_it_is_the_difference_of_both(make: type, recipe: str) -> None:
    model = make()
    found = saliently.contrast(model, GIVEN, OTHER, recipe)
    ours = saliently.explain(model, GIVEN, recipe)
    theirs = saliently.explain(model, {**GIVEN, "response": OTHER}, recipe)
    first = ours.tokens.response or 0
    assert found.scores[:first] == pytest.approx(ours.scores[:first] - theirs.scores[:first], abs=1e-4)
    assert found.scores[first:] == pytest.approx(ours.scores[first:], abs=1e-4)
    if recipe == "occlusion":
        assert found.checks.residual == pytest.approx(
            (ours.checks.residual or 0) - (theirs.checks.residual or 0), abs=1e-3
        )
    apart = float(found.checks.notes[0].split(" added ")[1].split(" ")[0])
    assert apart == pytest.approx(float(theirs.scores[first:].sum()), rel=1e-3)  # it is written with four digits


def test_its_number_is_that_of_plain_passes() -> None:
    model = gpt2()
    found = saliently.contrast(model, GIVEN, OTHER, "gradient-x-input")
    numbers = []
    for response in (GIVEN["response"], OTHER):
        tokens = model.read({**GIVEN, "response": response}, False)
        said = chances(model, tokens.ids)
        numbers.append(sum(float(said[at - 1, tokens.ids[at]]) for at in range(tokens.response or 0, len(tokens.ids))))
    assert found.values[0] == pytest.approx(numbers[0] - numbers[1], abs=1e-5)
    assert found.target.describe() == "the log-probability of 'so bad' less that of 'so very good'"
    assert from_dict(json.loads(json.dumps(to_dict(found)))).target == found.target


def test_equal_responses_leave_the_prompt_nothing() -> None:
    found = saliently.contrast(gpt2(), GIVEN, GIVEN["response"], "gradient-x-input")
    assert np.abs(found.scores[: found.tokens.response]).max() <= 1e-6
    assert found.values[0] == pytest.approx(0.0, abs=1e-6)


def test_a_translation_against_another() -> None:
    found = saliently.contrast(bart(), {"source": "The film is bad", "target": "so good"}, "so bad", "gradient-x-input")
    assert np.isfinite(found.scores).all()


def test_what_can_not_be_asked_is_said() -> None:
    with pytest.raises(saliently.RecipeError, match="saliency method"):
        saliently.contrast(gpt2(), GIVEN, OTHER, "gradient")
    with pytest.raises(saliently.InputError, match="found the fields prompt"):
        saliently.contrast(gpt2(), {"prompt": "x"}, OTHER, "occlusion")
    for text in ("x response y", None, 5):
        with pytest.raises(saliently.InputError, match="found the fields none"):
            saliently.contrast(gpt2(), text, OTHER, "occlusion")  # type: ignore[arg-type]
    with pytest.raises(saliently.InputError, match="empty"):
        saliently.contrast(gpt2(), GIVEN, "", "occlusion")
