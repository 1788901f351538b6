"""Integrated Hessians again: the paper's double integral over whole Hessians of word vectors, in float64."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

import saliently
from saliently.methods.hessian import IntegratedHessians
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.models.function import wrap_function
from saliently.packing import Budget
from saliently.runner import Runner
from saliently.seam.mode import opened
from saliently.seam.plain import Plain
from saliently.types import Target
from tests import tiny, zoo
from tests.conftest import some
from tests.snapshot import snapshot
from tests.test_half import PARTS, quantised

TEXT = "A gorgeous, witty, seductive movie."
TEXTS = [TEXT, "bad", "It's so bad that it's good"]
VECTORS = [[0.4, -0.7], [0.9, 0.2], [-0.5, 0.6]]

Function = Callable[[Tensor], Tensor]
"""Word vectors (R, L, D) to numbers (R,)."""


def model_of(function: Function, vectors: list[list[float]] = VECTORS, special: str = "") -> Model:
    """A model whose first logit is `function`; each letter is a word, a = the first vector, or a special token."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding.from_pretrained(torch.tensor(vectors, dtype=torch.float64))

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            value = function(self.embed(ids))
            return torch.stack([value, torch.zeros_like(value)], -1)

    def read(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
        spans = [None if letter in special else (i, i + 1) for i, letter in enumerate(text)]
        return [ord(letter) - ord("a") for letter in text], spans

    return saliently.wrap(Net(), read, embedding="embed", labels=["f", "0"])


def explained(model: Model, text: str = "abc", **settings: Any) -> saliently.Explanation:
    return saliently.explain(model, text, IntegratedHessians(**{"blank": "zero", "steps": 256, **settings}), "f")


def twisted(x: Tensor) -> Tensor:
    """A function in which every pair of entries has something to do with each other."""
    return (x[:, 0] * x[:, 1]).sum(-1).tanh() + x.sum(1).square().sum(-1).sin() * x[:, 2, 0].exp()


def reference(function: Function, start: Tensor, end: Tensor, nodes: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """(T, T) by Eqs. 2 and 3 of the paper, entry by entry of the vectors, and (T,) integrated gradients."""
    size, many = end.numel(), len(end)
    delta = (end - start).flatten()
    x, w = np.polynomial.legendre.leggauss(nodes)
    x, w = (x + 1) / 2, w / 2

    def f(flat: Tensor) -> Tensor:
        return function(flat.reshape(1, *end.shape))[0]

    pairs, single = torch.zeros(size, size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for (alpha, a), (beta, b) in product(zip(x, w, strict=True), repeat=2):
        at = start.flatten() + alpha * beta * delta
        hessian = torch.autograd.functional.hessian(f, at)
        gradient = torch.autograd.functional.jacobian(f, at)
        pairs += a * b * (alpha * beta * delta[:, None] * hessian * delta + torch.diag(delta * gradient))
    for alpha, a in zip(x, w, strict=True):
        single += a * delta * torch.autograd.functional.jacobian(f, start.flatten() + alpha * delta)
    together = pairs.reshape(many, size // many, many, size // many).sum((1, 3))
    return together.numpy(), single.reshape(many, -1).sum(1).numpy()


@pytest.mark.parametrize("blank", ["zero", "mean"])
def test_it_is_the_double_integral_of_the_paper(blank: str) -> None:
    x = torch.tensor(VECTORS, dtype=torch.float64)
    start = torch.zeros_like(x) if blank == "zero" else x.mean(0).expand_as(x)
    expected, single = reference(twisted, start, x)
    found = explained(model_of(twisted), blank=blank)
    np.testing.assert_allclose(found.scores, expected, atol=1e-8)
    np.testing.assert_allclose(found.scores.sum(1), single, atol=1e-8)
    assert found.scores.sum() == pytest.approx(found.values[0] - found.nothing[0], abs=1e-8)
    assert (found.scores == found.scores.T).all()
    assert found.checks.nodes == 257


def test_special_tokens_stay_and_share_in_nothing() -> None:
    x = torch.tensor(VECTORS, dtype=torch.float64)
    start = x.clone()
    start[1] = 0
    start[2] = 0
    expected, _ = reference(twisted, start, x)
    found = explained(model_of(twisted, special="a"))
    assert not found.scores[0].any()
    assert not found.scores[:, 0].any()
    np.testing.assert_allclose(found.scores, expected, atol=1e-8)
    assert found.checks.gradient_rows == 257 * (1 + 2)


@pytest.mark.parametrize("powers", [(1, 0), (2, 0), (1, 1), (2, 1), (3, 2), (1, 1, 2)])
def test_a_monomial_is_shared_by_products_of_its_exponents(powers: tuple[int, ...]) -> None:
    """x1^a x2^b ... of degree d from 0: the pair (i, j) gets a_i a_j / d^2 of the value, i = j too."""
    numbers = [1.5, 2.0, -0.8][: len(powers)]

    def monomial(x: Tensor) -> Tensor:
        return torch.stack([x[:, i, 0] ** power for i, power in enumerate(powers)]).prod(0)

    found = explained(model_of(monomial, [[number] for number in numbers]), "abc"[: len(powers)])
    value = np.prod(np.power(numbers, powers))
    np.testing.assert_allclose(found.scores, np.outer(powers, powers) / sum(powers) ** 2 * value, atol=1e-8)


@pytest.mark.parametrize("blank", ["zero", "mean", "pad"])
def test_words_of_a_linear_model_do_nothing_together(blank: str) -> None:
    asked, text = tiny.linear_bag(torch.float64), "so good , so very good"
    found = saliently.explain(asked, text, IntegratedHessians(blank))
    single = saliently.explain(asked, text, f"ig(blank={blank!r})")
    np.testing.assert_allclose(found.scores, np.diag(single.scores), atol=1e-9)


@pytest.mark.parametrize(("kind", "blank"), [("bert", "zero"), ("gpt2", "mean"), ("bilstm", "zero")])
def test_rows_sum_to_integrated_gradients_and_all_to_the_change(kind: str, blank: str) -> None:
    asked = tiny.models(torch.float64)[kind]()
    found = saliently.explain(asked, TEXT, IntegratedHessians(blank, steps=511))
    assert found.scores.sum() == pytest.approx(found.values[0] - found.nothing[0], abs=1e-8)
    assert found.checks.gap < 1e-6
    single = saliently.explain(asked, TEXT, f"ig(blank={blank!r}, steps=4096)")
    off = np.abs(found.scores.sum(1) - single.scores).sum() / np.abs(single.scores).sum()
    assert off < 1e-4  # the error of the trapezoid rule


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "bilstm"])
def test_to_a_tolerance_it_is_the_integral(kind: str) -> None:
    asked = tiny.models(torch.float64)[kind]()
    found = saliently.explain(asked, TEXTS, IntegratedHessians("mean"))
    truth = saliently.explain(asked, TEXTS, IntegratedHessians("mean", steps=255))
    for one, long in zip(found, truth, strict=True):
        assert one.checks.gap <= one.checks.tolerance == 0.01
        assert not one.checks.failed
        assert one.checks.nodes < 60
        single = long.scores.sum(1)
        assert np.abs(one.scores.sum(1) - single).sum() <= 0.015 * np.abs(single).sum()
        assert np.linalg.norm(one.scores - long.scores) <= 0.03 * np.linalg.norm(long.scores)


def test_a_gap_of_rows_alone_is_flagged() -> None:
    """What two words add by turns cancels in the sum: it is right after few nodes, when rows are far off."""
    asked = model_of(lambda x: (40 * x[:, 0, 0]).sin() - (40 * x[:, 1, 0]).sin() + x[:, 2, 0], [[1.0], [1.0], [1.0]])
    rough = explained(asked, steps=None, most=9)
    assert abs(rough.scores.sum() - 1) < 1e-9
    assert rough.checks.gap > 0.1
    assert len(rough.checks.failed) == 1
    assert any("rows of the matrix are" in note for note in rough.checks.notes)
    fine = explained(asked, steps=None)
    assert not fine.checks.failed
    assert not fine.checks.notes
    np.testing.assert_allclose(fine.scores, np.diag([np.sin(40), -np.sin(40), 1]), atol=0.05)


def test_a_word_that_can_t_matter_does_nothing_with_any_other() -> None:
    found = explained(model_of(lambda x: (x[:, 0] * x[:, 2]).sum(-1).tanh()))
    assert not found.scores[1].any()
    assert not found.scores[:, 1].any()
    assert found.scores[[0, 0, 2], [0, 2, 2]].all()


@pytest.mark.parametrize("name", zoo.ZOO)
def test_values_stay_and_every_architecture_can_be_differentiated_twice(name: str) -> None:
    """A Hessian-vector product is what the gradient changes by; softplus is as good as relu if it is steep."""
    asked, text = zoo.ZOO[name](torch.float32), TEXT
    ids = torch.tensor([asked.read({"text": text}, False).ids])
    batch, x = Batch.of(ids, torch.zeros_like(ids) if name in KINDS_OF_SEGMENTS else None), asked.embed(ids)
    with asked.resting():
        plain = asked.run(batch, x)
        x.requires_grad_()
        with opened(Plain(1e7), asked.module):
            own = asked.run(batch, x)
            (slope,) = torch.autograd.grad(own[0, 0], x, create_graph=True)
            (bend,) = torch.autograd.grad(slope.sum(), x)
    np.testing.assert_allclose(own.detach(), plain, rtol=0, atol=1e-6 * float(plain.abs().max()) + 1e-6)
    assert torch.isfinite(bend).all()
    assert bend.any()


KINDS_OF_SEGMENTS = ("bert", "albert", "electra")


STRAIGHT: dict[str, Function] = {
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x * 1, inplace=True),
    "clamp": lambda x: x.clamp(min=0),
    "leaky_relu": F.leaky_relu,
    "prelu": lambda x: F.prelu(x, torch.tensor([0.3], dtype=x.dtype)),
    "rrelu": lambda x: F.rrelu(x, 0.1, 0.2),
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -0.5, 0.7),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "softshrink": F.softshrink,
    "threshold": lambda x: F.threshold(x, 0.2, 0.2),
    "selu": F.selu,
    "elu": lambda x: F.elu(x, 2.0),
}


@pytest.mark.parametrize("name", STRAIGHT)
def test_kinks_are_made_smooth_and_the_result_says_so(name: str) -> None:
    """The larger softplus, the nearer the total comes to the change of the model itself."""
    function = STRAIGHT[name]
    asked, far = model_of(lambda x: function(12 * x.sum(1) - 2).sum(-1)), []
    for softplus in (1.0, 64.0):
        found = explained(asked, softplus=softplus, steps=None, tolerance=1e-4, most=2000)
        assert found.checks.gap <= 1e-4
        assert found.values[0] == pytest.approx(float(asked.run(Batch.of(torch.tensor([[0, 1, 2]])))[0, 0]), abs=1e-12)
        (note,) = found.checks.notes
        assert f"a beta of {softplus:g}" in note
        assert f"f(x) is {found.values[0]:.4g} in the model" in note
        assert f"the change {found.checks.change:.4g} and" in note
        far.append(abs(found.scores.sum() - found.checks.change))
    assert far[0] > 5e-3 * abs(found.checks.change)
    assert far[1] < 3e-4 * abs(found.checks.change)


@pytest.mark.parametrize("function", [F.gelu, F.silu, torch.tanh, F.elu, lambda x: (x + 2).clamp(min=1e-9)])
def test_what_is_smooth_stays(function: Function) -> None:
    found = explained(model_of(lambda x: function(x).sum((1, 2)).square()))
    assert not found.checks.notes
    assert found.checks.gap < 1e-6


def test_a_recurrent_net_of_relus_is_made_smooth_inside() -> None:
    torch.manual_seed(0)
    net = nn.RNN(2, 3, nonlinearity="relu", batch_first=True).double()
    found = explained(model_of(lambda x: net(x)[0][:, -1].sum(-1)), steps=None)
    assert found.checks.gap <= 0.01
    assert any("computes relu, with kinks" in note for note in found.checks.notes)
    assert np.abs(found.scores - np.diag(np.diag(found.scores))).sum() > 1e-3


class Once(torch.autograd.Function):
    """A square with a first derivative alone."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * grad


@pytest.mark.parametrize(
    "function",
    [
        lambda x: (x.sum((1, 2)) - 0.4) * (x.sum((1, 2)) > 0.4),  # a relu written by hand
        lambda x: (x.sum(1) + torch.tensor([0.0, 0.5])).amax(-1),
        lambda x: Once.apply(x).sum((1, 2)),
        lambda x: Once.apply(Once.apply(x)).sum((1, 2)),
    ],
)
def test_what_bends_unseen_shows_as_a_gap(function: Function) -> None:
    found = explained(model_of(function), steps=None, most=40)
    assert found.checks.gap > 0.1
    assert len(found.checks.failed) == 1


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (F.hardshrink, "computes hardshrink, which jumps"),
        (lambda x: F.threshold(x, 0.1, 0.0), "computes threshold, which jumps"),
        (lambda x: torch.cdist(x, x + 1), "first ones alone"),
        (lambda x: x.detach() * x.detach(), "cuts that link"),
    ],
)
def test_what_has_no_second_derivative_says_so(function: Function, said: str) -> None:
    with pytest.raises(saliently.ModelError, match=rf"{said}.* Use "):
        explained(model_of(lambda x: function(x).sum((1, 2))))


@pytest.mark.parametrize("names", PARTS)
@pytest.mark.filterwarnings("ignore:torch.quantize")
def test_quantised_weights_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(saliently.ModelError, match=r"asked of .* quantised weights.* Use "):
        saliently.explain(quantised(*names), TEXT, IntegratedHessians())


def test_functions_of_texts_are_refused() -> None:
    lengths = wrap_function(lambda texts: np.array([[len(text), 0.0] for text in texts]), ["long", "short"])
    with pytest.raises(saliently.ModelError, match="a function of texts"):
        saliently.explain(lengths, TEXT, IntegratedHessians())


@pytest.mark.parametrize("kind", ["bert", "gpt2", "llama", "t5", "bilstm"])
def test_a_batch_is_its_rows(kind: str) -> None:
    asked = tiny.models()[kind]()
    method = IntegratedHessians("mean", steps=5)
    for side in asked.sides:
        together = saliently.explain(dataclasses.replace(asked, sides=(side,)), TEXTS, method)
        for text, one in zip(TEXTS, together, strict=True):
            alone = saliently.explain(asked, text, method)
            near = 1e-5 * max(1, np.abs(alone.scores).max())
            np.testing.assert_allclose(one.scores, alone.scores, rtol=0, atol=near)
            assert one.values == pytest.approx(alone.values, abs=1e-5)
            assert one.checks.gradient_rows == alone.checks.gradient_rows


def test_texts_of_one_word_and_of_none() -> None:
    one = explained(model_of(lambda x: x[:, 0].sum(-1).exp()), "a")
    assert one.scores.shape == (1, 1)
    assert one.scores.sum() == pytest.approx(one.values[0] - one.nothing[0], abs=1e-8)
    asked, method = model_of(twisted), IntegratedHessians("zero")
    tokens = dataclasses.replace(asked.read({"text": "abc"}, False), spans=(None,) * 3)
    with asked.resting():
        (none,) = method(Runner(asked, [tokens], Target("f"), Budget(2048)))
    assert none.values.shape == (3, 3)
    assert not none.values.any()
    assert none.checks.gap == 0


def test_numbers_that_are_none_are_an_error() -> None:
    with pytest.raises(saliently.NumberError):
        explained(model_of(lambda x: x.sum((1, 2)) * torch.nan), steps=None)
    with pytest.raises(saliently.NumberError, match="some of its scores"):  # no slope at nothing
        explained(model_of(lambda x: x.square().sum((1, 2)).sqrt()), steps=None)


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("kind", ["bert", "t5", "bilstm"])
def test_a_model_comes_out_as_it_went_in(kind: str, fails: bool) -> None:
    asked = tiny.models()[kind]()
    asked.module.train()
    before = snapshot(asked.module)

    def broken(batch: Batch) -> Tensor:
        asked.forward(batch)
        raise ZeroDivisionError

    try:
        if fails:
            calls = iter([asked.forward, broken])  # what pins the class goes well
            failing = dataclasses.replace(asked, forward=lambda batch: next(calls)(batch))
            with pytest.raises(ZeroDivisionError):
                saliently.explain(failing, TEXT, IntegratedHessians("mean", steps=2))
        else:
            saliently.explain(asked, TEXT, IntegratedHessians("mean", steps=2))
        assert snapshot(asked.module) == before
    finally:
        asked.module.eval()


@pytest.mark.parametrize("settings", [{"steps": 0}, {"most": 0}, {"tolerance": 0}, {"softplus": 0.0}, {"blank": "no"}])
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(saliently.RecipeError, match="asked for"):
        IntegratedHessians(**settings)


def test_a_plan_counts_what_is_run() -> None:
    asked, method = model_of(twisted), IntegratedHessians("zero", steps=6)
    found = saliently.explain(asked, "abc", method, "f")
    assert found.checks.forward_rows + found.checks.gradient_rows == method.rows(3)


def test_changed_attention_is_what_is_explained() -> None:
    asked = tiny.bert(torch.float64)
    with saliently.change_attention(asked, saliently.Uniform()):
        found = saliently.explain(asked, TEXT, IntegratedHessians("mean", steps=64))
        single = saliently.explain(asked, TEXT, "ig(blank='mean', steps=512)")
    np.testing.assert_allclose(found.scores.sum(1), single.scores, atol=1e-5 * np.abs(single.scores).max())
    assert found.values == single.values
    other = saliently.explain(asked, TEXT, IntegratedHessians("mean", steps=64))
    assert np.abs(found.scores - other.scores).max() > 0.01 * np.abs(other.scores).max()


def test_rows_on_a_real_model_sum_to_integrated_gradients(shared_model: Path, sentences: list[str]) -> None:
    """Of the 50 shortest sentences of the SST-2 test set, by their own integral of the gradients; and every third by
    256 steps of integrated gradients."""
    asked, texts = saliently.load(shared_model), some(sorted(sentences, key=lambda text: len(text.split()))[:50], 6)
    found = saliently.explain(asked, texts, IntegratedHessians())
    assert not any(each.checks.failed for each in found)
    assert np.mean([each.checks.nodes for each in found]) < 30
    truth = saliently.explain(asked, texts[::3], "ig(steps=256)")
    for each, single in zip(found[::3], truth, strict=True):
        off = np.abs(each.scores.sum(1) - single.scores).sum()
        assert off <= 0.01 * np.abs(single.scores).sum()
