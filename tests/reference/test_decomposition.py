"""Decompositions of a forward pass against slow plain float64 formulas, on two nets written here.

T tokens, H heads, D dimensions. `parts` (T, T, D): [k, i] is the part of token k at position i.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import saliently
from saliently.errors import ModelError, RecipeError
from saliently.methods import decomposition
from saliently.models.base import Model
from tests import tiny, zoo

TEXT = "one two three four five six"
SIZE, HEADS = 16, 4


class Layer(nn.Module):
    """Post-norm with GELU, as BERT; or pre-norm, causal and gated, as Llama, but with all biases."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.query, self.key, self.value, self.out = (nn.Linear(SIZE, SIZE) for _ in range(4))
        self.norms = nn.ModuleList(nn.LayerNorm(SIZE) for _ in range(2))
        self.up, self.gate, self.down = nn.Linear(SIZE, 24), nn.Linear(SIZE, 24), nn.Linear(24, SIZE)

    def weights(self, x: Tensor) -> Tensor:
        """(R, H, T, T)."""
        query, key = (part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key))
        scores = query @ key.transpose(-1, -2) / math.sqrt(SIZE / HEADS)
        if self.first:
            scores = scores.masked_fill(torch.ones(scores.shape[-2:]).triu(1).bool(), -math.inf)
        return F.softmax(scores, -1)

    def attend(self, x: Tensor, values: Tensor) -> Tensor:
        mixed = self.weights(x) @ values.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        return self.out(mixed.transpose(1, 2).flatten(-2))

    def feed(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x) if self.first else F.gelu(self.up(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(x, self.value(self.norms[0](x) if self.first else x))

    def finish(self, x: Tensor, values: Tensor) -> Tensor:
        """The layer with these values."""
        if self.first:
            x = x + self.attend(self.norms[0](x), values)
            return x + self.feed(self.norms[1](x))
        x = self.norms[0](x + self.attend(x, values))
        return self.norms[1](x + self.feed(x))


class Net(nn.Module):
    """Reads the first token (post-norm) or the last (pre-norm)."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first
        self.embed, self.places = nn.Embedding(100, SIZE), nn.Embedding(20, SIZE)
        self.layers = nn.ModuleList(Layer(first) for _ in range(2))
        self.pooler, self.head = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, 3)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids) + self.places(torch.arange(ids.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(torch.tanh(self.pooler(x[:, -1 if self.first else 0])))


@cache
def net(first: bool) -> Model:
    module = tiny.seeded(lambda: Net(first), torch.float64)
    torch.manual_seed(5)
    for name, weight in module.named_parameters():
        noise = torch.randn_like(weight).double()
        weight.data = weight.data + (0.2 if weight.dim() == 1 and "norms" not in name else 0.3) * noise
    return saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS)


both = pytest.mark.parametrize("first", [False, True], ids=["post-norm", "pre-norm"])


def run(first: bool) -> tuple[Net, Tensor, list[Tensor]]:
    """The module, the word vectors (T, D) and the states (T, D) before each layer and after the last."""
    module = net(first).module
    assert isinstance(module, Net)
    ids = torch.tensor(net(first).read({"text": TEXT}, False).ids)
    states = [module.embed(ids) + module.places(torch.arange(len(ids)))]
    for layer in module.layers:
        states.append(layer(states[-1][None])[0])
    return module, module.embed(ids).detach(), [each.detach() for each in states]


# DecompX.


def plus(parts: Tensor, bias: Tensor, split: bool) -> Tensor:
    """AbsDot, position by position."""
    found = parts.clone()
    for i in range(parts.shape[1]):
        own = bias if bias.dim() == 1 else bias[i]
        fit = [abs(float(own @ parts[k, i])) for k in range(len(parts))]
        for k in range(len(parts)):
            share = fit[k] / sum(fit) if sum(fit) else 1 / len(parts)
            found[k, i] += share * own if split else 0
    return found


def line(parts: Tensor, linear: nn.Linear, split: bool) -> Tensor:
    return plus(parts @ linear.weight.T, linear.bias, split)


def normed(parts: Tensor, x: Tensor, norm: nn.LayerNorm, split: bool) -> Tensor:
    """x (T, D) is what the norm really saw."""
    scale = (x.var(-1, unbiased=False) + norm.eps).rsqrt()
    return plus((parts - parts.mean(-1, keepdim=True)) * scale[:, None] * norm.weight, norm.bias, split)


def attended(parts: Tensor, layer: Layer, weights: Tensor, split: bool) -> Tensor:
    values = line(parts, layer.value, split)
    mixed = torch.zeros_like(values)
    for h in range(HEADS):
        at = slice(h * SIZE // HEADS, (h + 1) * SIZE // HEADS)
        mixed[..., at] = weights[h] @ values[..., at]
    return line(mixed, layer.out, split)


def fed(parts: Tensor, x: Tensor, layer: Layer, split: bool) -> Tensor:
    up = line(parts, layer.up, split)
    through = F.silu(layer.gate(x)) if layer.first else F.gelu(layer.up(x)) / layer.up(x)
    return line(up * through, layer.down, split)


def one_layer(parts: Tensor, x: Tensor, layer: Layer, split: bool) -> Tensor:
    one, two = layer.norms
    assert isinstance(one, nn.LayerNorm)
    assert isinstance(two, nn.LayerNorm)
    if layer.first:
        seen = one(x)
        parts = parts + attended(normed(parts, x, one, split), layer, layer.weights(seen[None])[0], split)
        x = x + layer.attend(seen[None], layer.value(seen)[None])[0]
        return parts + fed(normed(parts, x, two, split), two(x), layer, split)
    joined = parts + attended(parts, layer, layer.weights(x[None])[0], split)
    between = x + layer.attend(x[None], layer.value(x)[None])[0]
    parts, x = normed(joined, between, one, split), one(between)
    return normed(parts + fed(parts, x, layer, split), x + layer.feed(x), two, split)


@torch.no_grad()
def decomposed(first: bool, label: int, split: bool) -> Tensor:
    module, words, states = run(first)
    parts = torch.zeros(len(words), len(words), SIZE, dtype=torch.float64)
    for k in range(len(words)):
        parts[k, k] = words[k]
    parts = plus(parts, module.places.weight[: len(words)], split)
    for layer, x in zip(module.layers, states[:-1], strict=True):
        assert isinstance(layer, Layer)
        parts = one_layer(parts, x, layer, split)
    at = len(words) - 1 if first else 0
    pooled = line(parts[:, at : at + 1], module.pooler, split)
    whole = module.pooler(states[-1][at])
    return line(pooled * torch.tanh(whole) / whole, module.head, split)[:, 0, label]


@both
@pytest.mark.parametrize("bias", ["absdot", "none"])
def test_decompx_is_its_formula(first: bool, bias: str) -> None:
    found = saliently.explain(net(first), TEXT, f"decompx(bias={bias!r})")
    expected = decomposed(first, found.target.index, bias == "absdot")
    np.testing.assert_allclose(found.scores, expected.numpy(), rtol=0, atol=1e-12)


EVERY = zoo.ZOO | zoo.OTHERS
TEXT_FOR_ALL = "It's so bad that it's good"
WIDE_INSIDE = {"llama", "mistral", "qwen2", "qwen3", "gemma2", "gemma3", "phi3", "mixtral", "qwen3-moe", "mamba"}
"""These compute parts of themselves in float32, whatever their weights are."""


@pytest.fixture(params=sorted(EVERY.keys() - {"funnel"}))
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """A tiny model whose biases are not zero while the test runs; transformers initialises them so."""
    name = str(request.param)
    module = EVERY[name](torch.float64).module
    vectors = [weight for weight in module.parameters() if weight.dim() == 1]
    before = [weight.detach().clone() for weight in vectors]
    noise = torch.Generator().manual_seed(3)
    for weight in vectors:
        weight.data += 0.3 * torch.randn(weight.shape, generator=noise, dtype=weight.dtype)
    yield name
    for weight, own in zip(vectors, before, strict=True):
        weight.data.copy_(own)


def near(kind: str) -> float:
    return 1e-6 if kind in WIDE_INSIDE else 1e-10


def test_decompx_sums_to_the_logit_on_every_architecture(kind: str) -> None:
    found = saliently.explain(EVERY[kind](torch.float64), TEXT_FOR_ALL, "decompx")
    assert found.scores.sum() == pytest.approx(found.values[0], abs=near(kind))
    assert dict(found.checks.kept)["the rest"] == pytest.approx(0, abs=near(kind))


def test_without_biases_decompx_is_cp_lrp(kind: str) -> None:
    """Identity 7: the same linear network, worked out forward and backward."""
    asked = EVERY[kind](torch.float64)
    found = saliently.explain(asked, TEXT_FOR_ALL, "decompx(bias='none')")
    if kind == "bloom":  # the one with an autograd function of its own, through which relevance can't be sent
        with pytest.raises(ModelError, match="GeLUFunction"):
            saliently.explain(asked, TEXT_FOR_ALL, "lrp(variant='cp')")
        return
    backward = saliently.explain(asked, TEXT_FOR_ALL, "lrp(variant='cp')")
    np.testing.assert_allclose(found.scores, backward.scores, rtol=0, atol=near(kind))


def test_a_difference_of_logits_is_the_difference_of_their_parts() -> None:
    one, other, both_ = (
        saliently.explain(net(True), TEXT, "decompx", label, against=against)
        for label, against in (("sad", None), ("glad", None), ("sad", "glad"))
    )
    np.testing.assert_allclose(both_.scores, one.scores - other.scores, rtol=0, atol=1e-12)


@pytest.mark.parametrize("recipe", ["decompx", "value-zeroing", "value-weighted-norms", "globenc", "alti"])
@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_a_batch_is_its_rows(recipe: str, name: str) -> None:
    asked, texts = EVERY[name](torch.float64), ["bad", TEXT_FOR_ALL, "A gorgeous, witty, seductive movie.", "so bad"]
    for text, found in zip(texts, saliently.explain(asked, texts, recipe), strict=True):
        np.testing.assert_allclose(found.scores, saliently.explain(asked, text, recipe).scores, rtol=0, atol=1e-10)


def test_what_can_t_be_split_is_named() -> None:
    with pytest.raises(ModelError, match="goes through avg_pool2d"):
        saliently.explain(EVERY["funnel"](), TEXT_FOR_ALL, "decompx")


class Writing(nn.Module):
    """Writes over its own results, or does the same without."""

    def __init__(self, over: bool) -> None:
        super().__init__()
        self.embed, self.first, self.last = nn.Embedding(100, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.over = over

    def forward(self, ids: Tensor) -> Tensor:
        x, some = self.embed(ids), torch.arange(8) == 2
        if not self.over:
            y = F.relu(self.first(x)) + x
            y = torch.cat([(y[:, :1] + y[:, -1:]) * 3, y[:, 1:]], 1) * 2 + 1
            y = torch.cat([y[..., :4] * 0.5, y[..., 4:]], -1).masked_fill(some, 0.7)
            return self.last(torch.cat([y[:, :1], torch.full_like(y[:, 1:2], 0.3), y[:, 2:]], 1).mean(1))
        y = F.relu(self.first(x), inplace=True)
        y += x
        y[:, 0] += y[:, -1]
        y *= 2
        z = torch.zeros_like(y)
        z[:] = y
        z[:, 0] = z[:, 0].clone() * 3
        z.add_(1)
        z[..., :4].mul_(0.5)
        z.masked_fill_(some, 0.7)
        z[:, 1] = 0.3
        return self.last(z.mean(1))


@pytest.mark.parametrize("bias", ["absdot", "none"])
def test_parts_are_written_over_as_their_whole_is(bias: str) -> None:
    over, plain = (
        saliently.wrap(
            tiny.seeded(lambda o=o: Writing(o), torch.float64), tiny.read_words, embedding="embed", labels=tiny.LABELS
        )
        for o in (True, False)
    )
    recipe = f"decompx(bias={bias!r})"
    one, other = (saliently.explain(model, TEXT, recipe) for model in (over, plain))
    assert one.values == pytest.approx(other.values, abs=1e-12)
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=1e-12)


class Hidden(nn.Module):
    """Computes a part of itself where nobody sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.last = nn.Embedding(100, 8), nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.last(_Sine.apply(self.embed(ids)).mean(1))  # type: ignore[no-untyped-call]


class _Sine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return torch.from_numpy(np.sin(x.detach().numpy()))

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return grad


def test_what_can_t_be_seen_is_refused() -> None:
    asked = saliently.wrap(tiny.seeded(Hidden, torch.float64), tiny.read_words, embedding="embed", labels=tiny.LABELS)
    with pytest.raises(ModelError, match="can't be looked into"):
        saliently.explain(asked, TEXT, "decompx")


def test_a_text_too_long_for_its_parts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decomposition, "_LONGEST", 6 * 6 * SIZE - 1)
    with pytest.raises(ModelError, match="parts of 6 tokens were asked for"):
        saliently.explain(net(True), TEXT, "decompx")


# Layer by layer. `each` gives the rows of one layer, (T, T), from the states before it.


def rolled(first: bool, each: Callable[[Layer, Tensor], Tensor], last_only: bool = False) -> Tensor:
    module, _, states = run(first)
    found = torch.eye(len(states[0]), dtype=torch.float64)
    for layer, x in zip(module.layers, states[:-1], strict=True):
        assert isinstance(layer, Layer)
        rows = each(layer, x)
        rows = rows / rows.sum(1, keepdim=True)
        found = rows if last_only else rows @ found
    return found[-1 if first else 0]


@torch.no_grad()
def zeroed(layer: Layer, x: Tensor) -> Tensor:
    found = torch.zeros(len(x), len(x), dtype=torch.float64)
    for j in range(len(x)):
        values = layer.value(layer.norms[0](x) if layer.first else x)[None].clone()
        values[0, j] = 0
        now, then = layer.finish(x[None], values)[0], layer(x[None])[0]
        for i in range(len(x)):
            found[i, j] = 1 - now[i] @ then[i] / now[i].norm() / then[i].norm()
    return found


@torch.no_grad()
def taken(layer: Layer, x: Tensor) -> Tensor:
    """[i, j] (T, T, D): what position i takes of j, behind the output projection without its bias."""
    seen = layer.norms[0](x) if layer.first else x
    values, weights = layer.value(seen), layer.weights(seen[None])[0]
    found = torch.zeros(len(x), len(x), SIZE, dtype=torch.float64)
    for i in range(len(x)):
        for j in range(len(x)):
            for h in range(HEADS):
                at = slice(h * SIZE // HEADS, (h + 1) * SIZE // HEADS)
                found[i, j] += weights[h, i, j] * layer.out.weight[:, at] @ values[j, at]
    return found


@torch.no_grad()
def block(layer: Layer, x: Tensor) -> Tensor:
    """The same with residual and, behind it, the norm of a post-norm layer."""
    found, norm = taken(layer, x), layer.norms[0]
    for i in range(len(x)):
        found[i, i] += x[i]
    if layer.first:
        return found
    return through(found, x + layer.attend(x[None], layer.value(x)[None])[0], norm)


def through(parts: Tensor, x: Tensor, norm: nn.Module) -> Tensor:
    """[i, j] through a norm that really sees x[i], without its bias."""
    assert isinstance(norm, nn.LayerNorm)
    found = parts.clone()
    for i in range(len(x)):
        scale = 1 / torch.sqrt(((x[i] - x[i].mean()) ** 2).mean() + norm.eps)
        for j in range(len(x)):
            found[i, j] = (parts[i, j] - parts[i, j].mean()) * scale * norm.weight
    return found


@torch.no_grad()
def whole(layer: Layer, x: Tensor) -> Tensor:
    found = block(layer, x)
    if layer.first:
        return found
    between = layer.norms[0](x + layer.attend(x[None], layer.value(x)[None])[0])
    return through(found, between + layer.feed(between), layer.norms[1])


@torch.no_grad()
def near_to_the_sum(layer: Layer, x: Tensor) -> Tensor:
    parts = block(layer, x)
    found = torch.zeros(len(x), len(x), dtype=torch.float64)
    for i in range(len(x)):
        total = parts[i].sum(0)
        for j in range(len(x)):
            found[i, j] = max(0, float(total.abs().sum() - (total - parts[i, j]).abs().sum()))
    return found


CASES: dict[str, tuple[Callable[[Layer, Tensor], Tensor], bool]] = {
    "value-zeroing": (zeroed, True),
    "value-zeroing(rollout=True)": (zeroed, False),
    "value-weighted-norms": (lambda layer, x: taken(layer, x).norm(dim=-1), True),
    "globenc": (lambda layer, x: whole(layer, x).norm(dim=-1), False),
    "alti": (near_to_the_sum, False),
}


@both
@pytest.mark.parametrize("recipe", CASES)
def test_layer_by_layer_is_the_formula(first: bool, recipe: str) -> None:
    found = saliently.explain(net(first), TEXT, recipe)
    each, last_only = CASES[recipe]
    np.testing.assert_allclose(found.scores, rolled(first, each, last_only).numpy(), rtol=0, atol=1e-11)
    assert found.scores.sum() == pytest.approx(1)


@pytest.mark.parametrize("recipe", ["value-zeroing", "value-weighted-norms", "globenc", "alti"])
@pytest.mark.parametrize("name", ["t5", "bart", "bilstm", "mamba", "funnel"])
def test_models_without_one_stack_of_attention_are_refused(recipe: str, name: str) -> None:
    with pytest.raises(ModelError, match=r"asked of|followed through"):
        saliently.explain(EVERY[name](), TEXT_FOR_ALL, recipe)


@pytest.mark.parametrize("recipe", ["value-zeroing(layer=2)", "value-weighted-norms(layer=-3)"])
def test_layers_that_are_not_there(recipe: str) -> None:
    with pytest.raises(RecipeError, match="the model has 2"):
        saliently.explain(net(True), TEXT, recipe)
