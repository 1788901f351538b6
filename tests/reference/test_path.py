"""Integrated gradients again: one gradient at a time, straight from the paper's integral, in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

import saliently
from tests import tiny

TEXT = "A gorgeous, witty, seductive movie."


def reference(nodes: list[float], weights: list[float], blank: str) -> np.ndarray:
    """(T, ) sum over nodes of weight * gradient * (word - blank), by transformers' own `inputs_embeds`."""
    model = tiny.bert(torch.float64)
    tokens = model.read({"text": TEXT}, False)
    ids = torch.tensor([tokens.ids])
    x = model.embed(ids)
    label = int(model.module(ids).logits.argmax())
    start = x.clone()
    for t, span in enumerate(tokens.spans):
        if span is not None:
            start[0, t] = {
                "zero": torch.zeros_like(x[0, t]),
                "mask": model.embedding.weight[model.blank_ids["mask"]],
                "pad": model.embedding.weight[model.blank_ids["pad"]],
                "mean": model.embedding.weight.mean(0),
            }[blank].detach()
    scores = np.zeros(x.shape[1])
    for node, weight in zip(nodes, weights, strict=True):
        point = (start + node * (x - start)).requires_grad_()
        model.module(inputs_embeds=point).logits[0, label].backward()
        assert point.grad is not None
        scores += weight * (point.grad * (x - start)).sum(-1)[0].numpy()
    model.module.zero_grad()
    return scores


@pytest.mark.parametrize("blank", ["zero", "mask", "pad", "mean"])
def test_a_fixed_number_of_steps_is_the_trapezoid_sum(blank: str) -> None:
    steps = 6
    weights = [0.5 / steps, *[1 / steps] * (steps - 1), 0.5 / steps]
    expected = reference([k / steps for k in range(steps + 1)], weights, blank)
    found = saliently.explain(tiny.bert(torch.float64), TEXT, f"ig(blank={blank!r}, steps={steps})")
    np.testing.assert_allclose(found.scores, expected, atol=1e-10 * np.abs(expected).max())


@pytest.mark.parametrize("blank", ["zero", "mask"])
def test_to_a_tolerance_it_is_the_integral(blank: str) -> None:
    nodes = 512
    expected = reference([(k + 0.5) / nodes for k in range(nodes)], [1 / nodes] * nodes, blank)
    found = saliently.explain(tiny.bert(torch.float64), TEXT, f"ig(blank={blank!r}, tolerance=1e-5, most=1024)")
    assert found.checks.gap <= 1e-5
    assert np.linalg.norm(found.scores - expected) / np.linalg.norm(expected) < 1e-3


def test_several_blanks_are_averaged_and_their_spread_is_told() -> None:
    model = tiny.bert(torch.float64)
    blanks = ("zero", "mask", "mean")
    one_by_one = [saliently.explain(model, TEXT, f"ig(blank={blank!r}, steps=8)") for blank in blanks]
    found = saliently.explain(model, TEXT, f"ig(blank={blanks!r}, steps=8)")
    every = np.array([each.scores for each in one_by_one])
    np.testing.assert_allclose(found.scores, every.mean(0), rtol=1e-12)
    assert found.nothing[0] == pytest.approx(np.mean([each.nothing[0] for each in one_by_one]))
    assert found.checks.gap == pytest.approx(max(each.checks.gap for each in one_by_one))
    spread = every.std(0, ddof=1).mean() / np.abs(every.mean(0)).mean()
    assert found.checks.spread == pytest.approx(spread)


class TwoNumbers(nn.Module):
    """Each word is one number, x1 and x2; the first logit is a function of them."""

    def __init__(self, function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], numbers: list[float]) -> None:
        super().__init__()
        self.function = function
        self.embed = nn.Embedding.from_pretrained(torch.tensor(numbers, dtype=torch.float64)[:, None])

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.embed(ids)[..., 0]
        value = self.function(x[:, 0], x[:, 1])
        return torch.stack([value, torch.zeros_like(value)], -1)


def numbers(function: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], x: list[float]) -> saliently.Explanation:
    read = lambda text: ([0, 1], [(0, 1), (1, 2)])  # noqa: E731
    model = saliently.wrap(TwoNumbers(function, x), read, embedding="embed", labels=["f", "0"])
    return saliently.explain(model, "ab", "ig(blank='zero', tolerance=1e-4, most=16384)", target="f")


def test_two_forms_of_one_function_get_one_answer() -> None:
    """Implementation invariance (Sundararajan et al. 2017): the gradient of these two nets differs on the way."""
    relu = torch.relu
    one = numbers(lambda a, b: relu(relu(a) - 1 - relu(b)), [3.0, 1.0])
    other = numbers(lambda a, b: relu(relu(a - 1) - relu(b)), [3.0, 1.0])
    np.testing.assert_allclose(one.scores, [1.5, -0.5], atol=1e-3)
    np.testing.assert_allclose(other.scores, [1.5, -0.5], atol=1e-3)


@pytest.mark.parametrize(("a", "b"), [(1, 1), (2, 1), (3, 2)])
def test_a_monomial_is_shared_by_its_exponents(a: int, b: int) -> None:
    """x1^a x2^b from 0: word i gets its exponent over the degree, times the value."""
    found = numbers(lambda x, y: x**a * y**b, [1.5, 2.0])
    value = 1.5**a * 2.0**b
    np.testing.assert_allclose(found.scores, [a / (a + b) * value, b / (a + b) * value], rtol=2e-4)


def test_the_trapezoid_rule_is_exact_where_the_gradient_is_linear() -> None:
    found = numbers(lambda x, y: x * y, [1.5, 2.0])
    np.testing.assert_allclose(found.scores, [1.5, 1.5], rtol=1e-14)
    assert found.checks.nodes == 9
