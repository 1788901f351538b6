"""Laws of LRP on every architecture, and attacks: models written in ways that a rule could miss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import saliently
from saliently.errors import ModelError
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.seam.elementwise import Propagation
from saliently.seam.ledger import Ledger
from saliently.seam.mode import opened
from saliently.seam.relevance import Relevance
from saliently.types import Explanation
from tests import tiny, zoo

TEXTS = ["A gorgeous, witty, seductive movie.", "bad", "The plot was thin"]
NAMES = [*zoo.ZOO, "stablelm", "funnel"]
VARIANTS = ["cp", "attn"]


@cache
def noisy(name: str) -> Model:
    """A model of the zoo of its own, with noise on biases and norms, which transformers starts at 0 and 1."""
    make: Any = zoo.ZOO | zoo.OTHERS
    model: Model = make[name].__wrapped__(torch.float32)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in model.module.parameters():
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator))
    return replace(model, sides=()) if name == "funnel" else model  # pooling by twos, it bears padding by even numbers


def accounts(found: Explanation) -> None:
    """Nothing is left unexplained."""
    shares = dict(found.checks.kept)
    size = max(1.0, sum(abs(amount) for amount in shares.values()))
    assert abs(shares["the rest"]) <= 1e-5 * size, shares
    assert found.scores.sum() == pytest.approx(shares["words"] + shares["special tokens"], abs=1e-9)
    assert sum(shares.values()) == pytest.approx(found.values[0], abs=1e-6 * size)
    assert found.scores.any()
    assert np.isfinite(found.scores).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", NAMES)
def test_all_relevance_is_accounted_for(name: str, variant: str) -> None:
    """Whatever a model is made of: words, special tokens, biases, positions and softmaxes have the whole logit."""
    recipe = f"lrp(variant={variant!r})"
    for together, text in zip(saliently.explain(noisy(name), TEXTS, recipe), TEXTS, strict=True):
        alone = saliently.explain(noisy(name), text, recipe)
        accounts(alone)
        accounts(together)
        np.testing.assert_allclose(together.scores, alone.scores, rtol=0, atol=1e-4 * np.abs(alone.scores).max())
        for (who, amount), (whose, ours) in zip(alone.checks.kept, together.checks.kept, strict=True):
            assert (who, ours) == (whose, pytest.approx(amount, abs=1e-4 * max(1, abs(alone.values[0]))))


@pytest.mark.parametrize("variant", [*VARIANTS, "ali"])
@pytest.mark.parametrize("name", NAMES)
def test_the_forward_pass_stays_as_it_was(name: str, variant: Any) -> None:
    model = noisy(name)
    with model.resting(), torch.no_grad():
        batch = model.sample()
        plain, x = model.run(batch), model.embed(batch.ids)
        seam = Relevance(Propagation(variant), lambda *_: None)
        x = x.detach().requires_grad_()
        seam.start(x)
        with torch.enable_grad(), opened(seam, model.module):
            found = model.run(batch, x)
    assert found.requires_grad
    torch.testing.assert_close(found.detach(), plain, rtol=0, atol=1e-5 * max(1.0, float(plain.abs().max())))


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_packed_rows_in_any_order_keep_what_is_theirs(name: str) -> None:
    """torch sorts packed rows by length, and later steps have fewer of them."""
    model, texts = zoo.ZOO[name](torch.float64), ["so good", "a very bad film indeed", "x", "not bad at all"]
    read = [model.read({"text": text}, False).ids for text in texts]
    ids = torch.tensor([[*row, *[0] * (5 - len(row))] for row in read])
    batch = Batch.of(ids, mask=(ids != 0).long())
    ledger = Ledger(*ids.shape)
    seam = Relevance(Propagation("cp"), ledger.note)
    with model.resting():
        x = model.embed(ids).requires_grad_()
        seam.start(x)
        with opened(seam, model.module):
            torch.autograd.grad(model.run(batch, x)[:, 1].sum(), [x])
    for row, text in enumerate(texts):
        alone = dict(saliently.explain(model, text, "cp-lrp", 1).checks.kept)
        assert abs(alone["biases"]) > 1e-3
        assert float(ledger.kept["biases"][row]) == pytest.approx(alone["biases"], abs=1e-9)


# A net of our own, parts of which are written in several ways.


class Net(nn.Module):
    """Embeds, applies a body to (R, L, 8), and sums over real tokens; `body` may use the layers `one` and `two`."""

    def __init__(self, body: Callable[[Net, Tensor], Tensor], extra: nn.Module | None) -> None:
        super().__init__()
        self.embed, self.extra = nn.Embedding(zoo.WORDS, 8), extra
        self.one, self.two, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, len(tiny.LABELS))
        self.body = body

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        logits: Tensor = self.head((self.body(self, self.embed(ids)) * mask[..., None]).sum(1))
        return logits


SAID = ["so good , so very good", "bad", "not that bad"]
Body = Callable[[Net, Tensor], Tensor]


def net(body: Body, extra: nn.Module | None = None) -> Model:
    module = tiny.seeded(lambda: Net(body, extra), torch.float64, 1.5)
    return saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS)


def scored(body: Body, recipe: str, extra: nn.Module | None = None) -> np.ndarray:
    """Scores of all texts, one after the other; all relevance is accounted for."""
    found = saliently.explain(net(body, extra), SAID, recipe, 1)
    for one in found:
        assert dict(one.checks.kept)["the rest"] == pytest.approx(0, abs=1e-9)
    return np.concatenate([one.scores for one in found])


def agree(bodies: Sequence[Body], recipe: str) -> None:
    first, *others = (scored(body, recipe) for body in bodies)
    assert np.abs(first).max() > 1e-3
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-9, atol=1e-12)


GELU = (
    lambda x: F.gelu(x, approximate="tanh"),
    lambda x: x * 0.5 * (1 + torch.tanh(0.7978845608028654 * (x + 0.044715 * x**3))),
    lambda x: 0.5 * x * (1.0 + torch.tanh(0.7978845608028654 * (x + 0.044715 * torch.pow(x, 3.0)))),
)
SILU = (
    F.silu,
    lambda x: x * torch.sigmoid(x),
    lambda x: x.sigmoid() * x,
    lambda x: x.clone().mul_(torch.sigmoid(x)),
    lambda x: F.silu(x + 0, inplace=True),
    lambda x: x * (0.5 * (1 + torch.tanh(0.5 * x))),
)
QUICK = (lambda x: F.silu(1.702 * x) / 1.702, lambda x: x * torch.sigmoid(1.702 * x))
SQUARED = (
    lambda x: F.relu(x).square(),
    lambda x: F.relu(x) ** 2,
    lambda x: torch.relu_(x + 0).pow(2),
)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("ways", [GELU, SILU, QUICK, SQUARED], ids=["gelu", "silu", "quick gelu", "squared relu"])
def test_activations_in_pieces_are_activations(ways: Sequence[Callable[[Tensor], Tensor]], variant: str) -> None:
    """Alone, and as the gate of a gated unit, where CP-LRP must know which factor went through it."""
    recipe = f"lrp(variant={variant!r})"
    agree([lambda own, x, act=act: act(own.one(x)) for act in ways], recipe)  # type: ignore[misc]
    agree([lambda own, x, act=act: act(own.one(x)) * own.two(x) for act in ways], recipe)  # type: ignore[misc]


def test_cp_lrp_sends_all_to_the_factor_that_went_through_no_activation() -> None:
    """Of act(one(x)) * two(x), what `two` adds counts alone, its weights times the gate."""
    model = net(lambda own, x: F.silu(own.one(x)) * own.two(x))
    module, text = model.module, SAID[0]
    found = saliently.explain(model, text, "cp-lrp", 1)
    x = model.embed(torch.tensor(found.tokens.ids))
    with torch.no_grad():
        gate = F.silu(module.one(x))
        expected = ((gate * module.head.weight[1]) @ module.two.weight * x).sum(1)
    np.testing.assert_allclose(found.scores, expected.numpy(), rtol=1e-9)


def residual(own: Net, x: Tensor) -> Tensor:
    return x + own.two(F.gelu(own.one(x)))


def added_in_place(own: Net, x: Tensor) -> Tensor:
    h = own.two(F.gelu(own.one(x)))
    h += x
    return h


def added_in_place_to_a_slice(own: Net, x: Tensor) -> Tensor:
    h = own.two(F.gelu(own.one(x)))
    h[..., :4] += x[..., :4]
    h[..., 4:].add_(x[..., 4:])
    return h


def added_with_a_factor(own: Net, x: Tensor) -> Tensor:
    return torch.add(own.two(F.gelu(own.one(x))), x, alpha=1)


def added_by_taking_away(own: Net, x: Tensor) -> Tensor:
    return x - -own.two(F.gelu(own.one(x)))


@pytest.mark.parametrize("recipe", ["cp-lrp", "attn-lrp", "lrp(variant='attn', bias='zero')"])
def test_residuals_added_in_place(recipe: str) -> None:
    ways = [residual, added_in_place, added_in_place_to_a_slice, added_with_a_factor, added_by_taking_away]
    agree(ways, recipe)


@pytest.mark.parametrize("recipe", ["lrp(epsilon=0.01)", "lrp(epsilon=0.01, bias='share')"])
def test_a_stabiliser_comes_into_sums_however_they_are_written(recipe: str) -> None:
    agree([residual, added_in_place, added_by_taking_away], recipe)


def attention(mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Body:
    return lambda own, x: own.two(mix(own.one(x), own.two(x), x))


ATTENTIONS = (
    lambda q, k, v: F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0],
    lambda q, k, v: torch.softmax(q @ k.transpose(1, 2) / 8**0.5, -1) @ v,
    lambda q, k, v: torch.bmm(F.softmax(torch.bmm(q * 8**-0.5, k.mT), dim=-1), v),
    lambda q, k, v: torch.einsum("bqk,bke->bqe", torch.einsum("bqe,bke->bqk", q, k).div(8**0.5).softmax(-1), v),
    lambda q, k, v: torch.matmul(((q[:, :, None] * k[:, None]).sum(-1) * 8**-0.5).softmax(-1), v),
    lambda q, k, v: torch.softmax(torch.baddbmm(q.new_zeros(()), q, k.mT, beta=0, alpha=8**-0.5), -1) @ v,
    lambda q, k, v: (torch.softmax(q @ k.mT / 8**0.5, -1)[..., None] * v[:, None]).sum(2),
)


@pytest.mark.parametrize("variant", VARIANTS)
def test_attention_written_in_many_ways(variant: str) -> None:
    """A query, a key and a value of a quarter, a quarter and a half (AttnLRP), or the value of all (CP-LRP)."""
    recipe = f"lrp(variant={variant!r})"
    one_length = ["so good", "bad", "not"]  # no padding, which these nets do not mask
    found = [
        [one.scores for one in (saliently.explain(net(attention(mix)), text, recipe, 1) for text in one_length)]
        for mix in ATTENTIONS
    ]
    first = np.concatenate(found[0])
    for other in found[1:]:
        np.testing.assert_allclose(np.concatenate(other), first, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("recipe", ["cp-lrp", "attn-lrp", "lrp(epsilon=0.01, bias='share')"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointed_parts(reentrant: bool, recipe: str) -> None:
    """What is computed again in the backward pass passes through the rules too."""

    def checked(own: Net, x: Tensor) -> Tensor:
        found: Tensor = checkpoint(lambda h: gated(own, h), x, use_reentrant=reentrant)
        return found

    def gated(own: Net, x: Tensor) -> Tensor:
        return x + F.silu(own.one(x)) * own.two(x)

    if reentrant:  # it runs a backward pass within the backward pass, which torch.autograd.grad does not let it
        with pytest.raises(ModelError, match="CheckpointFunctionBackward"):
            saliently.explain(net(checked), SAID[0], recipe)
        return
    agree([gated, checked], recipe)


class Hidden(torch.autograd.Function):
    """A tanh with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (1 - x.tanh() ** 2)


@pytest.mark.parametrize("recipe", ["cp-lrp", "attn-lrp", "lrp(variant='ali')"])
def test_an_operation_that_no_rule_has_seen_is_named(recipe: str) -> None:
    with pytest.raises(ModelError, match="HiddenBackward"):
        saliently.explain(net(lambda own, x: Hidden.apply(own.one(x))), SAID[0], recipe)
    with pytest.raises(ModelError, match="GeLUFunctionBackward"):
        saliently.explain(zoo.OTHERS["bloom"](torch.float32), TEXTS[0], recipe)
    with pytest.raises(ModelError, match="Cumprod"):
        saliently.explain(net(lambda own, x: x.cumprod(-1)), SAID[0], recipe)


class Squash(nn.Module):
    """To be scripted."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x) * x


@pytest.mark.filterwarnings("ignore:`torch.jit")
@pytest.mark.parametrize("recipe", ["cp-lrp", "attn-lrp"])
def test_scripted_parts_are_refused(recipe: str) -> None:
    scripted = torch.jit.script(Squash())
    with pytest.raises(ModelError, match=r"part 'extra' is\s+scripted"):
        saliently.explain(net(lambda own, x: own.extra(own.one(x)), scripted), SAID[0], recipe)

    @torch.jit.script
    def product(x: Tensor, y: Tensor) -> Tensor:
        return x * y

    @torch.jit.script
    def activation(x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    with pytest.raises(ModelError, match="a product of two parts"):
        saliently.explain(net(lambda own, x: product(own.one(x), own.two(x))), SAID[0], recipe)
    with pytest.raises(ModelError, match="SigmoidBackward"):
        saliently.explain(net(lambda own, x: activation(own.one(x))), SAID[0], recipe)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_parts_run_plainly() -> None:
    def gated(own: Net, x: Tensor) -> Tensor:
        return x + F.silu(own.one(x)) * own.two(x)

    agree([gated, torch.compile(gated)], "cp-lrp")


@pytest.mark.parametrize("recipe", ["lrp(first='flat')", "lrp(first='w-square')", "lrp(first='flat', bias='zero')"])
def test_the_first_sum_may_have_a_rule_of_its_own(recipe: str) -> None:
    """`flat` gives every entry of a word vector the same, whatever is in it; all relevance is accounted for."""

    def body(own: Net, x: Tensor) -> Tensor:
        return own.two(torch.tanh(own.one(x)))

    plain = scored(body, "lrp")
    found = scored(body, recipe)
    assert not np.allclose(found, plain, rtol=1e-3)


def test_flat_shares_evenly() -> None:
    """A net of one linear layer on the word vectors: every word gets 1 / L of what arrives, its own vector aside."""
    model = net(lambda own, x: own.one(x))
    found = saliently.explain(model, SAID[0], "lrp(first='flat', bias='zero')", 1)
    x = model.embed(torch.tensor(found.tokens.ids))
    with torch.no_grad():
        expected = (model.module.one(x) * model.module.head.weight[1]).sum(1)
        total = expected.sum()
        expected *= (total + model.module.head.bias[1]) / total
    np.testing.assert_allclose(found.scores, expected.numpy(), rtol=1e-9)


@pytest.mark.parametrize("recipe", ["cp-lrp", "attn-lrp"])
@pytest.mark.parametrize("scale", ["logit", "probability", "log-probability"])
def test_other_scales_say_what_the_scale_keeps(scale: Any, recipe: str) -> None:
    found = saliently.explain(noisy("bert"), TEXTS[0], recipe, saliently.Target(1, None, scale))
    accounts(found)
    assert (abs(dict(found.checks.kept)["the target's scale"]) > 1e-4) == (scale != "logit")


def test_a_weight_outside_the_module_is_not_taken_for_a_part_of_the_input() -> None:
    outside = torch.randn(4, 4, requires_grad=True)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(100, 4), nn.Linear(4, 2)

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            logits: Tensor = self.out(((self.embed(ids) * mask[..., None]) @ outside).sum(1))
            return logits

    model = saliently.wrap(Net(), tiny.read_words, embedding="embed", labels=["no", "yes"])
    with pytest.raises(saliently.ModelError, match=r"\(4, 4\) as well that asks for a gradient"):
        saliently.explain(model, "one two", "lrp")
    outside.requires_grad_(False)
    assert saliently.explain(model, "one two", "lrp").scores.all()
