"""A copy with moved word vectors is the same function, and each check tells a model or a method that breaks it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.audit.asked import Asked, change
from saliently.audit.invariance import CHECKS, by_origin, invariance
from saliently.audit.shifted import offset, recast, shifted
from saliently.data import Row
from saliently.models.base import Model
from saliently.names import parse
from saliently.reports import Report
from tests import tiny

TEXT = "The film is bad; it isn't even funny."
TEXTS = [*tiny.CORPUS[:3], TEXT]
ROWS = [Row({"text": text}) for text in TEXTS]
SOME = ("gradient", "gradient-x-input")


def figure(report: Report, method: str, check: str) -> float | None:
    found = report.tables[0].rows[method][[each.name for each in CHECKS].index(check)]
    return None if found is None else found.value


@pytest.mark.parametrize("make", tiny.models(torch.float64).values(), ids=tiny.models())
def test_moved_word_vectors_leave_the_function_as_it_is(make: Callable[[], Model]) -> None:
    model = make()
    constant = offset(model, 3)
    copy = shifted(model, constant)
    batch = model.sample(TEXT)
    with model.resting(), copy.resting():
        plain = model.run(batch)
        torch.testing.assert_close(copy.run(batch), plain, atol=1e-12, rtol=0)
        x = copy.embed(batch.ids)
        torch.testing.assert_close(x, model.embed(batch.ids) + constant.to(x))
        torch.testing.assert_close(copy.run(batch, x), plain, atol=1e-12, rtol=0)
        assert not torch.allclose(copy.run(batch, x - constant.to(x)), plain, atol=1e-3), "vectors of the model itself"
    assert not model.embedding._forward_hooks
    assert len(copy.embedding._forward_hooks) == 1


@pytest.mark.parametrize(
    ("recipe", "same"),
    [
        ("gradient", True),
        ("gradient-x-input", False),
        ("integrated-gradients(blank='zero')", False),
        ("integrated-gradients(blank='mask')", True),
        ("integrated-gradients(blank='mean')", True),
        ("lrp", False),
        ("occlusion(blank='zero')", False),
        ("occlusion(blank='mask')", True),
        ("occlusion(blank='delete')", True),
        ("attention", True),
        ("smoothgrad(over='gradient-x-input', samples=3)", False),
        ("smoothgrad(samples=3)", True),
    ],
)
def test_what_compares_with_the_zero_vector_changes_and_nothing_else(recipe: str, same: bool) -> None:
    model = tiny.bert(torch.float64)
    copy = shifted(model, offset(model, 0))
    found = change(saliently.explain(model, TEXT, recipe), saliently.explain(copy, TEXT, recipe))
    assert (found < 1e-9) == same
    assert by_origin(parse(recipe).resolved(model)) != same
    assert same or found > 0.1


def test_on_a_linear_model_gradient_x_input_moves_by_what_the_constant_weighs() -> None:
    model = tiny.linear_bag(torch.float64)
    constant = offset(model, 0)
    before, after = (
        saliently.explain(each, "so very good", "gradient-x-input", "glad")
        for each in (model, shifted(model, constant))
    )
    weight = dict(model.module.named_parameters())["weight"].detach()[:, 2]
    np.testing.assert_allclose(after.by_token - before.by_token, float(weight @ constant), atol=1e-12)


@pytest.fixture(scope="module")
def report() -> Report:
    return invariance(Asked(tiny.bert(), (*SOME, "lrp", "integrated-gradients(blank='zero')", "occlusion")), ROWS)


def test_a_sound_model_passes(report: Report) -> None:
    assert report.verdict[-1] == "All other changes are rounding, as they should be."
    assert "it leaves gradient and occlusion(blank='mask') as they were" in report.verdict[0]
    for method in report.tables[0].rows:
        for check in CHECKS[1:]:
            assert (figure(report, method, check.name) or 0.0) < 1e-3
    moved = report.tables[0].rows["gradient-x-input"][0]
    assert moved is not None
    assert moved.low is not None
    assert 0.1 < moved.low < moved.value
    assert moved.n == len(TEXTS)
    assert set(report.tables[0].marks) == {
        "gradient-x-input",
        "lrp(variant='cp')",
        "integrated-gradients(blank='zero')",
    }
    assert report.to_dict()["settings"]["texts"] == len(TEXTS)


class Careless(nn.Module):
    """Counts padding as words, or adds noise, or knows one width of numbers alone."""

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 8)
        self.output = nn.Linear(8, 3)
        self.fault = fault

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(ids)
        if self.fault == "width":
            x = x + torch.zeros(8, 8) @ x[0, 0]
        if self.fault == "noise":
            x = x * (1 + torch.rand(1))
        weight = torch.ones_like(mask) if self.fault == "padding" else mask
        mean = (x * weight[..., None]).sum(1) / weight.sum(1)[:, None]
        logits: Tensor = self.output(mean.tanh())
        return logits


def careless(fault: str) -> Model:
    module = tiny.seeded(lambda: Careless(fault), torch.float32)
    return saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS, blank_ids={"pad": 0})


def test_a_model_that_counts_padding_is_told() -> None:
    found = invariance(Asked(careless("padding"), SOME), ROWS)
    assert (figure(found, "gradient", "padding") or 0.0) > 0.1
    assert "gradient changed by" in found.verdict[-1]
    assert "with padding" in found.verdict[-1]
    assert (figure(found, "gradient", "again") or 0.0) == 0.0


def test_a_model_that_is_not_the_same_twice_is_told() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        found = invariance(Asked(careless("noise"), SOME), ROWS)
    assert (figure(found, "gradient-x-input", "again") or 0.0) > 0.02
    assert "with again" in found.verdict[-1]
    assert "gradient changed with the input shift" in found.verdict[-1]


def test_what_can_t_be_checked_is_left_out_and_said() -> None:
    found = invariance(Asked(careless("width"), SOME), ROWS)
    assert figure(found, "gradient", "width") is None
    assert figure(found, "gradient", "padding") is not None
    assert any("A check was left out: " in note for note in found.tables[0].notes)

    def count(texts: list[str]) -> np.ndarray:
        return np.array([[text.count("a"), text.count("e")] for text in texts], float)

    function = saliently.wrap_function(count, ["a", "e"])
    found = invariance(Asked(function, ("occlusion", "gradient")), ROWS)
    assert figure(found, "occlusion(blank='delete')", "input shift") is None
    assert figure(found, "occlusion(blank='delete')", "order") == 0.0
    assert any(note.startswith("gradient was left out: ") for note in found.tables[0].notes)
    assert sum("A check was left out: " in note for note in found.tables[0].notes) == 2


def test_a_space_that_becomes_a_token_is_no_fault_of_a_method() -> None:
    found = invariance(Asked(tiny.gpt2(), SOME), ROWS)
    assert (figure(found, "gradient", "trailing space") or 0.0) > 0.02
    assert found.tables[1].rows["trailing space"][0].value == 0.0  # type: ignore[union-attr]
    assert found.tables[1].rows["again"][0].value == 1.0  # type: ignore[union-attr]
    assert "A space behind a text makes other tokens" in found.verdict[1]
    assert found.verdict[-1] == "All other changes are rounding, as they should be."


def test_a_copy_of_another_width_is_one() -> None:
    for dtype, other in ((torch.float32, torch.float64), (torch.float64, torch.float32)):
        model = tiny.bilstm(dtype)
        copy = recast(model)
        assert {weight.dtype for weight in copy.module.parameters()} == {other}
        assert {weight.dtype for weight in model.module.parameters()} == {dtype}


def test_change_needs_something_to_compare() -> None:
    model = tiny.linear_bag()
    one, other = saliently.explain(model, ["so good", "so very good"], "gradient-x-input", "glad")
    assert change(one, one) == 0.0
    assert np.isnan([change(None, one), change(one, None), change(one, other)]).all()


def test_texts_are_drawn_and_what_can_t_be_read_is_passed_over() -> None:
    rows = [Row({"text": ""}), *ROWS]
    found = invariance(Asked(tiny.linear_bag(), ("gradient",)), rows, most=2)
    assert found.settings["texts"] == 2
    with pytest.raises(saliently.InputError, match="none of 1 can be read"):
        invariance(Asked(tiny.linear_bag(), ("gradient",)), rows[:1])


def test_half_precision_is_said_to_be_coarse() -> None:
    found = invariance(Asked(tiny.bert(torch.bfloat16), ("gradient",)), ROWS[:2])
    assert any("half precision" in note for note in found.tables[0].notes)
