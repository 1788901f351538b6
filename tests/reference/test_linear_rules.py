"""Rules for weighted sums and sums, against captum's published values, explicit loops and what must hold of any."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from saliently.seam.gradients import at_least_tiny, sloped
from saliently.seam.linear import Linear, LinearRule, propagate, split
from tests.reference import lrp

RULES = [
    LinearRule("epsilon"),
    LinearRule("epsilon", epsilon=0.01),
    LinearRule("gamma", gamma=0.4),
    LinearRule("gamma", epsilon=0.01, gamma=1.0),
    LinearRule("z-plus"),
    LinearRule("z-plus", epsilon=0.01),
    LinearRule("alpha-beta"),
    LinearRule("alpha-beta", alpha=1.0),
    LinearRule("alpha-beta", alpha=1.5, epsilon=0.01),
    LinearRule("w-square"),
    LinearRule("flat"),
]
POLICIES = ["absorb", "share", "zero"]
ALL = [replace(rule, bias=policy) for rule in RULES for policy in POLICIES]  # type: ignore[arg-type]


@dataclass
class Kept:
    """What stayed with others."""

    amounts: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def note(self, who: str, amounts: Tensor) -> None:
        self.amounts[who] += float(amounts.sum())

    @property
    def total(self) -> float:
        return sum(self.amounts.values())


def silent(who: str, amounts: Tensor) -> None:
    pass


def plain_rule(rule: LinearRule) -> lrp.Rule:
    return lrp.Rule(rule.rule, rule.epsilon, rule.gamma, rule.alpha, rule.bias)


def linear(a: Tensor, layer: tuple[Tensor, Tensor | None], rule: LinearRule, kept: Kept | None = None) -> Tensor:
    w, b = layer
    return propagate(a, F.linear(a, w, b), Linear(F.linear, w, b), rule, kept.note if kept else silent)


def relevance(y: Tensor, x: Tensor, start: Tensor | None = None) -> Tensor:
    """What arrives at x when y's own value, or `start`, is sent back."""
    grad = torch.ones_like(y) if start is None else start / at_least_tiny(y.detach())
    (found,) = torch.autograd.grad(y, x, grad)
    return found * at_least_tiny(x.detach())


def live(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def full(rows: int, columns: int, value: float) -> Tensor:
    return torch.full((rows, columns), value, dtype=torch.float64)


# captum's published values, in its tests/attr/test_lrp.py.

X = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)


def two_layers(first: LinearRule, second: LinearRule, corner: float) -> Tensor:
    x, w = X.clone().requires_grad_(), full(3, 3, 2.0)
    w[0, 0] = corner
    h = linear(x, (w, None), first)
    return relevance(linear(sloped(h, h.relu()), (full(1, 3, 3.0), None), second), x)


@pytest.mark.parametrize(
    ("first", "second", "corner", "expected"),
    [
        (LinearRule(), LinearRule(), 2.0, [18, 36, 54]),
        (LinearRule(epsilon=1e-9), LinearRule(epsilon=1e-9), 2.0, [18, 36, 54]),
        (LinearRule("gamma", gamma=1.0), LinearRule("gamma", gamma=0.25), -2.0, [28 / 3, 104 / 3, 52]),
        (LinearRule("alpha-beta", alpha=1.0), LinearRule("alpha-beta", alpha=1.0), -2.0, [12, 33.6, 50.4]),
        (LinearRule("z-plus"), LinearRule("z-plus"), -2.0, [12, 33.6, 50.4]),
    ],
)
def test_captums_values(first: LinearRule, second: LinearRule, corner: float, expected: list[float]) -> None:
    np.testing.assert_allclose(two_layers(first, second, corner), expected, rtol=1e-8)


def test_captums_identity_rule() -> None:
    """Its identity rule for a square linear layer passes each output on to the input of its place."""
    x, w = X.clone().requires_grad_(), full(3, 3, 2.0)
    w[0, 0] = -2.0
    h = sloped(x, F.linear(x, w))
    y = linear(sloped(h, h.relu()), (full(1, 3, 3.0), None), LinearRule(epsilon=1e-9))
    np.testing.assert_allclose(relevance(y, x), [24, 36, 36], rtol=1e-8)


def test_captums_tanh_net() -> None:
    x = X.clone().requires_grad_()
    h = linear(x, (full(3, 3, 0.1), None), LinearRule(epsilon=1e-9))
    y = linear(sloped(h, h.tanh()), (full(1, 3, 0.1), None), LinearRule(epsilon=1e-9))
    np.testing.assert_allclose(relevance(y, x), [0.0269, 0.0537, 0.0806], atol=5e-5)


@pytest.mark.parametrize("epsilon", [0.0, 1e-9])
def test_captums_skip_connection(epsilon: float) -> None:
    rule = LinearRule(epsilon=epsilon)
    x = torch.tensor([2.0, 3.0], dtype=torch.float64, requires_grad=True)
    h = linear(x, (full(2, 2, 5.0), None), rule)
    y = split([h, x], h + x, rule, silent)
    np.testing.assert_allclose(relevance(y[1], x), [10, 18], rtol=1e-8)


# Explicit loops.


@pytest.mark.parametrize("rule", ALL, ids=str)
@pytest.mark.parametrize("seed", range(3))
def test_a_layer_is_what_loops_say(rule: LinearRule, seed: int) -> None:
    x, w, b, start = (live(*shape, seed=seed).detach() for shape in ((2, 5), (4, 5), (4,), (2, 4)))
    x[0, 1] = 0.0  # a dead input
    x.requires_grad_()
    found = relevance(linear(x, (w, b), rule), x, start)
    for row in range(2):
        expected = lrp.linear(x[row].detach().numpy(), w.numpy(), b.numpy(), start[row].numpy(), plain_rule(rule))
        np.testing.assert_allclose(found[row], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rule", ALL, ids=str)
def test_a_net_is_what_loops_say(rule: LinearRule) -> None:
    """With biases, and with hidden units that a ReLU sets to 0, which under `share` get relevance all the same."""
    x = live(6, seed=5)
    layers = [(live(7, 6, seed=6).detach(), live(7, seed=7).detach()), (live(2, 7, seed=8).detach(), live(2).detach())]
    h = linear(x, layers[0], rule)
    assert (h < 0).any()
    y = linear(sloped(h, h.relu()), layers[1], rule)
    found = relevance(y, x)
    (w1, b1), (w2, b2) = [(w.numpy(), b.numpy()) for w, b in layers]
    at_hidden = lrp.linear(h.relu().detach().numpy(), w2, b2, y.detach().numpy(), plain_rule(rule))
    expected = lrp.linear(x.detach().numpy(), w1, b1, at_hidden, plain_rule(rule))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rule", ALL, ids=str)
@pytest.mark.parametrize(
    "strides", [lrp.Strides(), lrp.Strides(2, 1, 1), lrp.Strides(1, 2, 2)], ids=["plain", "strided", "dilated"]
)
def test_a_convolution_is_what_loops_say(rule: LinearRule, strides: lrp.Strides) -> None:
    x, w, b = live(1, 3, 7), live(4, 3, 3, seed=1).detach(), live(4, seed=2).detach()

    def op(a: Tensor, w: Tensor) -> Tensor:
        return F.conv1d(a, w, None, strides.stride, strides.padding, strides.dilation)

    y = F.conv1d(x, w, b, strides.stride, strides.padding, strides.dilation)
    start = live(*y.shape, seed=3).detach()
    found = relevance(propagate(x, y, Linear(op, w, b[:, None]), rule, silent), x, start)
    layer = (x[0].detach().numpy(), w.numpy(), b.numpy())
    expected = lrp.conv1d(layer, start[0].numpy(), plain_rule(rule), strides)
    np.testing.assert_allclose(found[0], expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("rule", ALL, ids=str)
def test_a_matrix_product_is_a_linear_layer(rule: LinearRule) -> None:
    """As Conv1D of GPT-2 has it, `addmm`, and with more dimensions."""
    x, w, b = live(2, 3, 5), live(4, 5, seed=1).detach(), live(4, seed=2).detach()
    y = x @ w.T + b
    found = relevance(propagate(x, y, Linear(torch.matmul, w.T, b), rule, silent), x)
    torch.testing.assert_close(found, relevance(linear(x, (w, b), rule), x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("factor", [0, 1])
def test_a_sum_is_what_loops_say(factor: int) -> None:
    rule = LinearRule(epsilon=0.05, bias="share" if factor else "absorb")
    parts = [live(6, seed=seed) for seed in range(3)]
    total = parts[0] + parts[1] + parts[2]
    grads = torch.autograd.grad(split(parts, total, rule, silent).sum(), parts)
    settings = lrp.Settings(epsilon=0.05, bias_factor=factor)
    found = torch.stack([grad * part.detach() for grad, part in zip(grads, parts, strict=True)], 1)
    terms = torch.stack(parts, 1).detach().numpy()
    for k in range(6):
        np.testing.assert_allclose(found[k], lrp.split_sum(terms[k], 0.0, terms[k].sum(), settings), rtol=1e-10)


# What must hold of any.


@pytest.mark.parametrize("rule", ALL, ids=str)
def test_all_relevance_is_accounted_for(rule: LinearRule) -> None:
    """What arrives and what others kept is what was sent; none keeps any where the bias is shared or left out."""
    x, kept = live(3, 5), Kept()
    layers = [(live(7, 5, seed=1).detach(), live(7, seed=2).detach()), (live(2, 7, seed=3).detach(), live(2).detach())]
    h = linear(x, layers[0], rule, kept)
    y = linear(sloped(h, h.tanh()), layers[1], rule, kept)
    found = float(relevance(y, x).sum())
    assert found + kept.total == pytest.approx(float(y.detach().sum()), rel=1e-9, abs=1e-9)
    if rule.bias == "share" or (rule.bias == "zero" and rule.epsilon == 0) or rule.rule in ("w-square", "flat"):
        one_sided = rule.rule in ("z-plus", "alpha-beta")  # nothing may be of the sign that is asked for
        assert set(kept.amounts) <= ({"zero sums"} if one_sided else set())
    else:
        assert abs(kept.total) > 1e-6


@pytest.mark.parametrize("bias", POLICIES)
def test_a_sum_accounts_for_all(bias: str) -> None:
    rule, kept = LinearRule(epsilon=0.05, bias=bias), Kept()  # type: ignore[arg-type]
    parts = [live(2, 6), live(6, seed=1), torch.zeros(2, 1, dtype=torch.float64, requires_grad=True)]
    y = split(parts, parts[0] + parts[1] + parts[2], rule, kept.note)
    grads = torch.autograd.grad(y.sum(), parts)
    found = sum(float((grad * at_least_tiny(part.detach())).sum()) for grad, part in zip(grads, parts, strict=True))
    assert found + kept.total == pytest.approx(float(y.detach().sum()), rel=1e-9)
    assert (kept.total == 0) == (bias == "share")


def test_a_sum_that_almost_cancels_keeps_its_relevance() -> None:
    """In float32, where taking the bias off the output again would leave nothing of it."""
    x = torch.ones(1, 1, requires_grad=True)
    w, b = torch.full((1, 1), -1.0), torch.tensor([1.0 + 2.0**-22])
    found = relevance(linear(x, (w, b), LinearRule(bias="share")), x)
    torch.testing.assert_close(found, torch.full((1, 1), 2.0**-22), rtol=0.5, atol=0)


def test_epsilon_0_with_its_biases_is_the_plain_gradient() -> None:
    x, w, b = live(3, 5), live(4, 5, seed=1).detach(), live(4, seed=2).detach()
    y = F.linear(x, w, b)
    (expected,) = torch.autograd.grad(y.tanh().sum(), x)
    (found,) = torch.autograd.grad(linear(x, (w, b), LinearRule()).tanh().sum(), x)
    assert LinearRule().plain
    assert torch.equal(found, expected)
    torch.testing.assert_close(linear(x, (w, b), LinearRule("flat")), y, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rule", ALL, ids=str)
def test_dead_inputs_and_empty_sums_give_no_nan(rule: LinearRule, dtype: torch.dtype) -> None:
    w, b = live(4, 5).detach().to(dtype), torch.tensor([0.0, 0.0, 1.0, -1.0], dtype=dtype)
    x = torch.zeros(2, 5, dtype=dtype, requires_grad=True)
    y = linear(x, (w, b), rule)
    found = relevance(y, x, torch.ones_like(y))
    assert found.isfinite().all()
    if rule.rule in ("w-square", "flat") or (rule.bias == "share" and rule.epsilon):
        torch.testing.assert_close(found.sum(-1), torch.full((2,), 4.0, dtype=dtype), rtol=0.05, atol=0)


def test_rules_do_not_run_into_an_open_function_mode() -> None:
    """A backward pass inside the mode that called the rule must not call the rule again."""
    seen: list[str] = []

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, func: Callable[..., object], types: object, args: tuple[object, ...] = (), kwargs: object = None
        ) -> object:
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))  # type: ignore[arg-type]

    x, w = live(2, 5), live(4, 5).detach()
    y = linear(x, (w, None), LinearRule("gamma", bias="share"))
    with Mode():
        torch.autograd.grad(y, x, torch.ones_like(y))
    assert "linear" not in seen
