"""Language models: the number of a response, and which words of the prompt and the response it depends on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import saliently
from saliently.models.base import Model
from saliently.types import Explanation, Target
from saliently.view.record import from_dict, to_dict
from tests.snapshot import snapshot
from tests.writers import WRITERS, chances

GIVEN = {"prompt": "A gorgeous, witty movie", "response": " is wonderful."}
TEXTS = [
    GIVEN,
    {"prompt": "The plot", "response": " was thin and dull."},
    {"prompt": "A dull film", "response": " is bad."},
]
METHODS = [
    *("gradient", "gradient-x-input", "ig(steps=4, blank='zero')", "occlusion(blank='zero')", "omission", "lrp"),
    *("attn-lrp", "decompx", "attention", "attention-rollout", "gradient-rollout", "value-zeroing", "alti"),
]
RUN_AGAIN = ("occlusion(blank='zero')", "omission", "value-zeroing")
"""Passes are compared, which gives rounding where they are the same."""
ADDING = ("gradient-x-input", "ig(steps=4, blank='zero')", "occlusion(blank='zero')", "omission", "lrp", "attn-lrp")


def plain(model: Model, ids: tuple[int, ...], places: list[int]) -> float:
    """Log-probability of the tokens at these places, each behind all before it."""
    found = chances(model, ids)
    return float(sum(found[place - 1, ids[place]] for place in places))


def spelled(found: Explanation) -> str:
    return "".join(unit.text for unit in found.units() if unit.field == "response")


def near(scores: Any, others: Any, tolerance: float) -> None:
    np.testing.assert_allclose(scores, others, rtol=0, atol=tolerance * max(1.0, float(np.abs(others).max())))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("at", "pick"),
    [
        (None, slice(None)),
        (0, slice(0, 1)),
        (1, slice(1, 2)),
        (np.int64(1), slice(1, 2)),
        (-1, slice(-1, None)),
        (slice(1, None), slice(1, None)),
        (slice(None, None, 2), slice(None, None, 2)),
        (slice(None, None, -1), slice(None)),
        (slice(1, 99), slice(1, None)),
        (".", slice(-1, None)),
        ("is", slice(0, 1)),
        (" is", slice(0, 1)),
        ("wonderful.", slice(1, None)),
    ],
)
def test_the_value_is_a_plain_forward_s_log_probability(name: str, at: Any, pick: slice) -> None:
    model = WRITERS[name]()
    found = saliently.explain(model, GIVEN, "gradient", Target(at=at))
    ids, first = found.tokens.ids, found.tokens.response
    assert first is not None
    places = list(range(first, len(ids)))[pick]
    assert found.values[0] == pytest.approx(plain(model, ids, places), abs=1e-5)
    assert found.target.of == "log-probability"
    assert spelled(found) == GIVEN["response"]
    assert from_dict(to_dict(found)).tokens == found.tokens


@pytest.mark.parametrize("name", WRITERS)
def test_another_token_may_be_asked_for_or_set_against(name: str) -> None:
    model = WRITERS[name]()
    found = saliently.explain(model, GIVEN, "gradient", Target(7, at=0))
    first = found.tokens.response
    assert first is not None
    row = chances(model, found.tokens.ids)[first - 1]
    assert found.values[0] == pytest.approx(float(row[7]), abs=1e-5)
    assert (found.target.label, found.target.at) == (model.labels[7], "token 0")
    less = saliently.explain(model, GIVEN, "gradient", Target(at=0, against=7))
    assert less.values[0] == pytest.approx(float(row[found.tokens.ids[first]] - row[7]), abs=1e-5)
    rest = saliently.explain(model, GIVEN, "gradient", Target(at=0, against="rest", of="logit"))
    own = float(row[found.tokens.ids[first]])
    assert rest.values[0] == pytest.approx(own - np.log1p(-np.exp(own)), abs=1e-5)
    chance = saliently.explain(model, GIVEN, "gradient", Target(at=0, of="probability"))
    assert chance.values[0] == pytest.approx(np.exp(own), abs=1e-5)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_contract(name: str, method: str) -> None:
    model = WRITERS[name]()
    before = snapshot(model.module)
    for target in (Target(), Target(at=1), Target(at=slice(0, 2))):
        alone = [saliently.explain(model, given, method, target) for given in TEXTS]
        for side in ("right", "left"):
            padded = saliently.explain(replace(model, sides=(side,)), TEXTS, method, target)
            for one, other in zip(padded, alone, strict=True):
                near(one.scores, other.scores, 1e-5)
                assert one.values == pytest.approx(other.values, rel=1e-5)
        for found in alone:
            first = found.tokens.response
            assert first is not None
            assert found.scores.shape == (len(found.tokens.ids),)
            assert np.isfinite(found.scores).all()
            last = len(found.tokens.ids) - 1 if target.at is None else first + 1
            behind = np.abs(found.scores[last:]).max()
            assert behind <= (1e-6 * max(1.0, abs(found.values[0])) if method in RUN_AGAIN else 0)
            assert np.abs(found.scores[:last]).sum() > 0
    assert snapshot(model.module) == before


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("method", ADDING)
def test_the_whole_response_is_the_sum_of_its_tokens(name: str, method: str) -> None:
    model = WRITERS[name]()
    whole = saliently.explain(model, GIVEN, method)
    many = len(whole.tokens.ids) - (whole.tokens.response or 0)
    single = [saliently.explain(model, GIVEN, method, Target(at=n)) for n in range(many)]
    near(sum(one.scores for one in single), whole.scores, 1e-4)
    assert sum(one.values[0] for one in single) == pytest.approx(whole.values[0], abs=1e-4)
    some = saliently.explain(model, GIVEN, method, Target(at=slice(1, None)))
    near(sum(one.scores for one in single[1:]), some.scores, 1e-4)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("at", [None, 1])
def test_omission_is_a_forward_pass_without_the_token(name: str, at: int | None) -> None:
    model = WRITERS[name]()
    found = saliently.explain(model, GIVEN, "omission", Target(at=at))
    ids, first = found.tokens.ids, found.tokens.response
    assert first is not None
    asked = range(first, len(ids)) if at is None else [first + at]
    for token, span in enumerate(found.tokens.spans):
        if span is None:
            assert found.scores[token] == 0
            continue
        rows = chances(model, ids[:token] + ids[token + 1 :])
        # What is asked for stands behind the tokens left before it; it may be the very token that is gone.
        value = sum(float(rows[place - 1 - (token < place), ids[place]]) for place in asked)
        assert found.scores[token] == pytest.approx(found.values[0] - value, abs=1e-4), token
