"""One function, written in ways that are legal and unusual: the same numbers, or one clear error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import saliently
from saliently.models.base import Model
from saliently.types import Explanation
from tests import tiny

TEXT = "one two three four five"
Form = Callable[["Net", Tensor], Tensor]


class Net(nn.Module):
    """Linear maps a, b, c to make a function of; the logits are a linear map of it."""

    def __init__(self, form: Form) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 8)
        self.a, self.b, self.c, self.out = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)
        self.norm = nn.BatchNorm1d(8)
        self.form = form

    def forward(self, ids: Tensor) -> Tensor:
        logits: Tensor = self.out(self.form(self, self.embed(ids)))
        return logits


def net(form: Form, read: Any = tiny.read_words) -> Model:
    return saliently.wrap(
        tiny.seeded(lambda: Net(form), torch.float64, 1.5), read, embedding="embed", labels=["no", "yes"]
    )


def explained(form: Form, method: str) -> Explanation:
    return saliently.explain(net(form), TEXT, method, "yes")


def same(one: Form, other: Form, method: str) -> None:
    ours, theirs = explained(one, method), explained(other, method)
    assert ours.values == pytest.approx(theirs.values, abs=1e-12)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-10)
    for found in (ours, theirs):
        assert dict(found.checks.kept).get("the rest", 0.0) == pytest.approx(0, abs=1e-9)


def overwritten(write: Callable[[Net, Tensor, Tensor], Tensor]) -> Form:
    def form(net: Net, x: Tensor) -> Tensor:
        h = net.a(x)
        return (write(net, x, h.clone()) * torch.sigmoid(h)).mean(1)

    return form


def set_item(net: Net, x: Tensor, z: Tensor) -> Tensor:
    z[:, 0] = net.b(x[:, 0])
    return z


OVERWRITTEN: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor]]] = {
    "setitem": (set_item, lambda net, x, z: torch.cat([net.b(x[:, :1]), z[:, 1:]], 1)),
    "copy": (lambda net, x, z: z.copy_(net.b(x)), lambda net, x, z: net.b(x)),
    "masked fill": (
        lambda net, x, z: z.masked_fill_(torch.arange(8) < 3, 0.0),
        lambda net, x, z: z * (torch.arange(8) >= 3),
    ),
}


@pytest.mark.parametrize("method", ["cp-lrp", "attn-lrp", "decompx"])
@pytest.mark.parametrize("way", OVERWRITTEN)
def test_what_was_known_of_a_tensor_is_forgotten_when_it_is_written_over(way: str, method: str) -> None:
    ours, theirs = OVERWRITTEN[way]
    same(overwritten(ours), overwritten(theirs), method)


def test_an_activation_of_what_was_written_over_since_is_none_of_what_stands_there_now() -> None:
    def late(net: Net, x: Tensor) -> Tensor:
        h = net.a(x)
        t = torch.tanh(h)
        h.add_(net.b(x))
        return (t * h).mean(1)

    same(late, lambda net, x: (torch.tanh(h := net.a(x)) * (h + net.b(x))).mean(1), "attn-lrp")


WEIGHED: dict[str, Form] = {
    "matmul": lambda net, x: (x @ net.b.weight.T).mean(1),
    "einsum": lambda net, x: torch.einsum("rld,ed->rle", x, net.b.weight).mean(1),
    "tensordot": lambda net, x: torch.tensordot(x, net.b.weight, ([2], [1])).mean(1),
    "inner": lambda net, x: torch.inner(x, net.b.weight).mean(1),
    "bmm": lambda net, x: torch.bmm(x, net.b.weight.T.expand(len(x), -1, -1)).mean(1),
    "addmm": lambda net, x: (
        torch.addmm(x.new_zeros(8), x.flatten(0, 1), net.b.weight.T).unflatten(0, x.shape[:2]).mean(1)
    ),
    "names": lambda net, x: torch.matmul(input=x, other=net.b.weight.T).mean(1),
}


@pytest.mark.parametrize(
    "method", ["lrp(rule='gamma')", "lrp(epsilon=0.01)", "lrp(rule='z-plus')", "lrp(variant='ali')"]
)
@pytest.mark.parametrize("way", WEIGHED)
def test_a_weighted_sum_follows_its_rule_however_it_is_written(way: str, method: str) -> None:
    ours, theirs = explained(WEIGHED[way], method), explained(lambda net, x: F.linear(x, net.b.weight).mean(1), method)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-10)


@pytest.mark.parametrize("method", ["cp-lrp", "lrp(rule='gamma')", "lrp(bias='share')"])
def test_a_bias_that_depends_on_the_input_is_a_part_of_the_sum(method: str) -> None:
    def sums(form: Form) -> Explanation:
        return explained(form, method)

    ours = sums(lambda net, x: F.linear(x, net.b.weight, net.a(x)[0, 0]).mean(1))
    theirs = sums(lambda net, x: (F.linear(x, net.b.weight) + net.a(x)[0, 0]).mean(1))
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-10)


@pytest.mark.parametrize("method", ["cp-lrp", "attn-lrp", "lrp(epsilon=0.01)"])
def test_arguments_by_name_are_arguments(method: str) -> None:
    same(
        lambda net, x: torch.mul(torch.add(net.a(x), other=net.b(x)), other=net.c(x)).mean(1),
        lambda net, x: ((net.a(x) + net.b(x)) * net.c(x)).mean(1),
        method,
    )


class Clamp(torch.autograd.Function):
    """A function of its own that has the name of a node of torch."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * 3 * x**2


HIDDEN: dict[str, tuple[Form, str]] = {
    "a function with a name of torch": (lambda net, x: Clamp.apply(net.a(x)).mean(1), "ClampBackward"),
    "instance norm": (lambda net, x: F.instance_norm(net.a(x).mT).mT[:, 0], "NativeBatchNorm"),
    "an operator": (lambda net, x: torch.ops.aten._softmax(net.a(x), -1, False)[:, 0], "SoftmaxBackward"),
    "lerp": (lambda net, x: torch.lerp(net.a(x), net.b(x), net.c(x)).mean(1), "LerpBackward"),
}


@pytest.mark.parametrize("way", HIDDEN)
def test_what_no_rule_stands_for_is_named(way: str) -> None:
    form, says = HIDDEN[way]
    with pytest.raises(saliently.ModelError, match=says):
        explained(form, "cp-lrp")


@pytest.mark.parametrize("bias", ["absorb", "zero"])
def test_a_batch_norm_is_a_factor_and_a_bias(bias: str) -> None:
    found = explained(lambda net, x: net.norm(net.a(x).mT).mT.mean(1), f"lrp(variant='cp', bias={bias!r})")
    assert dict(found.checks.kept)["the rest"] == pytest.approx(0, abs=1e-9)
    assert found.scores.any()


def test_writing_that_nothing_says_how_to_split_is_refused() -> None:
    with pytest.raises(saliently.ModelError, match="abs_ writes over"):
        explained(lambda net, x: net.a(x).abs_().mean(1), "decompx")


def attention(heads: int, first: bool) -> Form:
    """Attention by hand, with rows or with heads before all else."""

    def form(net: Net, x: Tensor) -> Tensor:
        order = (2, 0, 1, 3) if first else (0, 2, 1, 3)
        q, k, v = (part(x).unflatten(-1, (heads, -1)).permute(order) for part in (net.a, net.b, net.c))
        mixed = torch.softmax(q @ k.mT, -1) @ v
        return (x + mixed.permute((1, 2, 0, 3) if first else (0, 2, 1, 3)).flatten(2))[:, 0]

    return form


def test_weights_that_don_t_have_rows_first_are_refused() -> None:
    with pytest.raises(saliently.ModelError, match="can't be told apart"):
        saliently.attention(net(attention(2, True)), TEXT)
    maps = saliently.attention(net(attention(2, False)), TEXT)
    assert next(iter(maps.layers.values())).shape == (2, 5, 5)


def test_a_pass_that_failed_halfway_says_nothing_of_the_next() -> None:
    fails = [True]

    def halfway(net: Net, x: Tensor) -> Tensor:
        weights = torch.softmax(net.a(x) @ net.b(x).mT, -1)
        if fails[0]:
            raise ZeroDivisionError
        return (x + weights @ net.c(x))[:, 0]

    fails[0] = False
    model, ids = net(halfway), torch.tensor([[1, 2, 3]])
    with saliently.change_attention(model, saliently.Uniform()) as acted:
        model.module(ids)
        fails[0] = True
        with pytest.raises(ZeroDivisionError):
            model.module(ids)
    assert acted.seen == 1


def masked_by_hand(net: Net, x: Tensor) -> Tensor:
    weights = torch.softmax(net.a(x) @ net.b(x).mT, -1) * (torch.arange(x.shape[1]) != 1)
    return (x + (weights / weights.sum(-1, keepdim=True)) @ net.c(x))[:, 0]


def test_weights_that_are_masked_after_the_softmax_are_the_weights() -> None:
    weights = next(iter(saliently.attention(net(masked_by_hand), TEXT).layers.values()))
    assert weights.shape == (1, 5, 5)
    assert not weights[..., 1].any()
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)


def test_attention_that_can_t_be_followed_is_not_passed_over_in_silence() -> None:
    def beside(net: Net, x: Tensor) -> Tensor:
        seen = x + F.scaled_dot_product_attention(net.a(x), net.b(x), net.c(x))
        weights = torch.softmax(net.a(seen) @ net.b(seen).mT, -1)
        return (seen + torch.baddbmm(seen, weights, net.c(seen)))[:, 0]

    with pytest.raises(saliently.ModelError, match="can't be followed"):
        explained(beside, "attention")


@pytest.mark.parametrize(
    "method", ["cp-lrp", "attn-lrp", "attention", "attention-rollout", "gradient-rollout", "decompx"]
)
def test_fused_attention_without_heads_is_attention_with_one(method: str) -> None:
    def fused(net: Net, x: Tensor) -> Tensor:
        return (x + F.scaled_dot_product_attention(net.a(x), net.b(x), net.c(x)))[:, 0]

    def with_one(net: Net, x: Tensor) -> Tensor:
        given = (part(x)[:, None] for part in (net.a, net.b, net.c))
        return (x + F.scaled_dot_product_attention(*given)[:, 0])[:, 0]

    ours, theirs = explained(fused, method), explained(with_one, method)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-10)
    assert next(iter(saliently.attention(net(fused), TEXT).layers.values())).shape == (1, 5, 5)
    masked = saliently.MaskedHeads({0: (0,)})
    with saliently.change_attention(model := net(fused), masked) as acted:
        changed = saliently.explain(model, TEXT, "gradient-x-input", "yes").values
    assert (acted.seen, acted.changed) == (1, 1)
    assert changed == pytest.approx(explained(lambda net, x: x[:, 0], "gradient-x-input").values)
    with pytest.raises(saliently.RecipeError, match="heads 0 to 0"):
        with saliently.change_attention(model, saliently.MaskedHeads({0: (2,)})):
            saliently.explain(model, TEXT, "gradient-x-input", "yes")


def test_attention_that_the_explained_number_does_not_depend_on_is_refused() -> None:
    def unused(net: Net, x: Tensor) -> Tensor:
        F.scaled_dot_product_attention(net.a(x), net.b(x), net.c(x))
        return x.mean(1)

    for method in ("attention", "attention-rollout"):
        with pytest.raises(saliently.ModelError, match="does not depend on it"):
            explained(unused, method)


def test_a_reader_that_knows_few_words_changes_nothing() -> None:
    """What is tried out on a text of ours must not depend on whether its words are known."""

    def few(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
        ids, spans = tiny.read_words(text)
        return (ids, spans) if text == TEXT else (ids[:1], spans[:1])

    def causal(net: Net, x: Tensor) -> Tensor:
        given = (part(x)[:, None] for part in (net.a, net.b, net.c))
        return (x + F.scaled_dot_product_attention(*given, is_causal=True)[:, 0])[:, -1]

    ours, theirs = net(causal, few), net(causal)
    for method in ("attention-rollout", "lrp"):
        one, other = (saliently.explain(model, TEXT, method, "yes") for model in (ours, theirs))
        assert one.method == other.method
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-12)
    assert ours.causal


def test_switches_of_the_process_are_put_back_when_the_last_of_several_threads_is_done() -> None:
    """Two blocks in two threads that overlap, the first to open the first to close."""
    model = net(attention(2, False))
    inside, may_leave = threading.Event(), threading.Event()

    def first() -> None:
        with saliently.change_attention(model, saliently.Uniform()):
            model.module(torch.tensor([[1, 2, 3]]))
            inside.set()
            may_leave.wait(20)

    was = torch.backends.mha.get_fastpath_enabled()
    one = threading.Thread(target=first)
    one.start()
    assert inside.wait(20)
    with saliently.change_attention(model, saliently.Uniform()):
        may_leave.set()
        one.join(20)
        assert not torch.backends.mha.get_fastpath_enabled(), "still inside"
        model.module(torch.tensor([[1, 2, 3]]))
    assert torch.backends.mha.get_fastpath_enabled() == was
