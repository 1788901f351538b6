"""LRP end to end against explicit rules, closed forms, published values and identities (methods.md, 3.1 to 3.3)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForSequenceClassification

import saliently
from saliently.models.base import Model
from saliently.types import Explanation
from tests import tiny
from tests.reference import attn_lrp, lrp

TEXTS = ["A gorgeous, witty movie.", "bad", "The plot was thin"]
SHAPE = attn_lrp.Shape(layers=2, heads=4, groups=4, eps=1e-12)
GROUPED = attn_lrp.Shape(layers=2, heads=4, groups=2, eps=1e-6, theta=10000.0)
Variant = Literal["attn", "cp"]


def noisy(module: nn.Module) -> nn.Module:
    """The module with noise on its biases and norms, which transformers starts at 0 and 1."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() == 1:
                weight.add_(0.3 * torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(weight.dtype))
    return module


def near(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Equal to a tolerance relative to the largest."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def kept(found: Explanation) -> dict[str, float]:
    """Who got how much."""
    return dict(found.checks.kept)


def one_batch(model: Model, texts: Sequence[str], recipe: str, target: int | None = None) -> list[Explanation]:
    """Explanations of texts of unequal length that ran as rows of one padded batch."""
    rows: list[int] = []
    handle = model.embedding.register_forward_hook(lambda module, given, output: rows.append(len(output)))
    try:
        found = saliently.explain(model, list(texts), recipe, target)
    finally:
        handle.remove()
    assert max(rows) == len(texts)
    assert len({len(one.scores) for one in found}) > 1
    return found


# Transformers.


class Layer(nn.Module):
    """As transformers' Llama layer, but in float64 all through, in torch's single calls or in pieces."""

    def __init__(self, config: LlamaConfig, pieces: bool) -> None:
        super().__init__()
        size, inner, self.pieces = config.hidden_size, config.intermediate_size, pieces
        self.heads, self.groups = config.num_attention_heads, config.num_key_value_heads
        self.width = size // self.heads
        narrow = self.groups * self.width
        self.input_layernorm, self.post_attention_layernorm = (nn.RMSNorm(size, eps=1e-6) for _ in range(2))
        sizes = {"q_proj": (size, size), "k_proj": (size, narrow), "v_proj": (size, narrow), "o_proj": (size, size)}
        self.self_attn = nn.ModuleDict({name: nn.Linear(*each, bias=False) for name, each in sizes.items()})
        sizes = {"gate_proj": (size, inner), "up_proj": (size, inner), "down_proj": (inner, size)}
        self.mlp = nn.ModuleDict({name: nn.Linear(*each, bias=False) for name, each in sizes.items()})

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.input_layernorm, x)
        q, k, v = (self.self_attn[f"{name}_proj"](h).unflatten(-1, (-1, self.width)).transpose(1, 2) for name in "qkv")
        mixed = self.attend(self.turn(q), self.turn(k), v).transpose(1, 2).flatten(2)
        if self.pieces:
            x = x + self.self_attn["o_proj"](mixed)
        else:
            x += self.self_attn["o_proj"](mixed)
        h = self.norm(self.post_attention_layernorm, x)
        gate, up = self.mlp["gate_proj"](h), self.mlp["up_proj"](h)
        act = gate * torch.sigmoid(gate) if self.pieces else F.silu(gate)
        whole: Tensor = x + self.mlp["down_proj"](act * up)
        return whole

    def norm(self, part: nn.RMSNorm, x: Tensor) -> Tensor:
        if not self.pieces:
            scaled: Tensor = part(x)
            return scaled
        return part.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    def turn(self, x: Tensor) -> Tensor:
        frequency = 10000.0 ** (-torch.arange(0, self.width, 2, dtype=x.dtype) / self.width)
        angle = torch.outer(torch.arange(x.shape[2], dtype=x.dtype), frequency).repeat(1, 2)
        left, right = x.chunk(2, dim=-1)
        return x * angle.cos() + torch.cat((-right, left), dim=-1) * angle.sin()

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not self.pieces:
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        k, v = (each.repeat_interleave(self.heads // self.groups, dim=1) for each in (k, v))
        scores = torch.einsum("bhqe,bhke->bhqk", q, k) / self.width**0.5
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        return torch.matmul(torch.softmax(scores.masked_fill(later, -torch.inf), -1), v)


class Llama(nn.Module):
    """A classifier that reads the last real token."""

    def __init__(self, config: LlamaConfig, pieces: bool) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {
                "embed_tokens": nn.Embedding(config.vocab_size, config.hidden_size),
                "layers": nn.ModuleList([Layer(config, pieces) for _ in range(config.num_hidden_layers)]),
                "norm": nn.RMSNorm(config.hidden_size, eps=1e-6),
            }
        )
        self.score = nn.Linear(config.hidden_size, 3, bias=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.model["embed_tokens"](ids)
        for layer in self.model["layers"]:
            x = layer(x)
        logits: Tensor = self.score(self.model["norm"](x)[torch.arange(len(ids)), mask.sum(1) - 1])
        return logits


@cache
def hugging_llama() -> LlamaForSequenceClassification:
    settings = {**tiny._settings(tiny.unigram()), **tiny.SIZE, "rms_norm_eps": 1e-6, "num_key_value_heads": 2}
    config = LlamaConfig(**settings)
    return noisy(tiny.seeded(lambda: LlamaForSequenceClassification(config), torch.float64, 8.0))


@cache
def llama(pieces: bool) -> Model:
    module = Llama(hugging_llama().config, pieces).double().eval()
    module.load_state_dict(hugging_llama().state_dict())

    def read(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
        found = tiny.unigram().backend_tokenizer.encode(text)
        marked = zip(found.special_tokens_mask, found.offsets, strict=True)
        return found.ids, [None if special else place for special, place in marked]

    return saliently.wrap(module, read, embedding="model.embed_tokens", labels=tiny.LABELS)


@cache
def bert(attention: str) -> Model:
    config = BertConfig(**tiny._settings(tiny.wordpiece()), **tiny.SIZE)
    module = noisy(tiny.seeded(lambda: BertForSequenceClassification(config), torch.float64, 8.0))
    module.set_attn_implementation(attention)
    return saliently.wrap(module, tiny.wordpiece())


def explicit_llama(found: Explanation, variant: Variant) -> attn_lrp.Relevances:
    ids, index = torch.tensor(found.tokens.ids), found.target.index
    return attn_lrp.llama(hugging_llama().state_dict(), GROUPED, ids, index, variant)


@pytest.mark.parametrize("variant", ["attn", "cp"])
@pytest.mark.parametrize("pieces", [False, True], ids=["single calls", "pieces"])
def test_llama_by_the_explicit_rules(pieces: bool, variant: Variant) -> None:
    """Identity 9: the modified gradient x input is the explicit rules, of AttnLRP and of CP-LRP."""
    model, recipe = llama(pieces), f"{variant}-lrp"
    together = one_batch(model, TEXTS, recipe)
    for text, in_batch in zip(TEXTS, together, strict=True):
        expected = explicit_llama(in_batch, variant)
        for found in (in_batch, saliently.explain(model, text, recipe)):
            assert found.values[0] == pytest.approx(expected.value, rel=1e-10)
            near(found.scores, expected.words.sum(1).numpy(), 1e-8)
            assert kept(found).get("softmax", 0.0) == pytest.approx(expected.kept["softmax"], abs=1e-9)
            assert kept(found)["the rest"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("variant", ["attn", "cp"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_transformers_llama_by_the_explicit_rules(attention: str, variant: Variant) -> None:
    """As far as its norms and its softmax, which it computes in float32, let it."""
    module = hugging_llama()
    module.set_attn_implementation(attention)
    for found in one_batch(saliently.wrap(module, tiny.unigram()), TEXTS, f"{variant}-lrp"):
        expected = explicit_llama(found, variant)
        near(found.scores, expected.words.sum(1).numpy(), 1e-5)
        assert kept(found).get("softmax", 0.0) == pytest.approx(expected.kept["softmax"], abs=1e-5)


@pytest.mark.parametrize("variant", ["attn", "cp"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_bert_by_the_explicit_rules(attention: str, variant: Variant) -> None:
    """Identities 7 and 9; biases absorb, positions and segments are parts of a sum."""
    model, recipe = bert(attention), f"{variant}-lrp"
    together = one_batch(model, TEXTS, recipe)
    for text, in_batch in zip(TEXTS, together, strict=True):
        ids = torch.tensor(in_batch.tokens.ids)
        expected = attn_lrp.bert(model.module.state_dict(), SHAPE, ids, in_batch.target.index, variant)
        for found in (in_batch, saliently.explain(model, text, recipe)):
            assert found.values[0] == pytest.approx(expected.value, rel=1e-10)
            near(found.scores, expected.words.sum(1).numpy(), 1e-8)
            shares = kept(found)
            assert shares["biases"] == pytest.approx(expected.kept["biases"], abs=1e-9)
            assert shares["positions and other constants"] == pytest.approx(expected.kept["positions"], abs=1e-9)
            assert shares.get("softmax", 0.0) == pytest.approx(expected.kept["softmax"], abs=1e-9)
            assert shares["the rest"] == pytest.approx(0, abs=1e-9)
    assert abs(shares["biases"]) > 1e-3
    assert abs(shares["positions and other constants"]) > 1e-3


@pytest.mark.parametrize("text", TEXTS)
def test_cp_lrp_conserves_the_logit_without_biases_and_attn_lrp_misses_what_the_softmax_keeps(text: str) -> None:
    """Identity 8."""
    cp, attn = (saliently.explain(llama(False), text, recipe) for recipe in ("cp-lrp", "attn-lrp"))
    shares = kept(cp)
    assert shares["words"] + shares["special tokens"] == pytest.approx(cp.values[0], abs=1e-6)
    assert cp.scores.sum() == pytest.approx(cp.values[0], abs=1e-6)
    missing = attn.values[0] - attn.scores.sum()
    assert abs(missing) > 0.01 * abs(attn.values[0])
    assert kept(attn)["softmax"] == pytest.approx(missing, abs=1e-9)


def test_the_default_is_by_the_direction_of_attention() -> None:
    for model, recipe in ((llama(False), "attn-lrp"), (bert("sdpa"), "cp-lrp")):
        found = saliently.explain(model, TEXTS[0], "lrp")
        assert found.method == saliently.explain(model, TEXTS[0], recipe).method
        np.testing.assert_array_equal(found.scores, saliently.explain(model, TEXTS[0], recipe).scores)


# Small nets on numbers: tokens of width 1.


def numbers(make: Callable[[Tensor], Tensor] | nn.Module, values: Sequence[float]) -> Model:
    """A model of the text "abc...", whose letters have these values, (R, D) in all, and logits (R, C) or (R,)."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding.from_pretrained(torch.tensor(values, dtype=torch.float64)[:, None])
            self.body = make if isinstance(make, nn.Module) else None

        def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
            out = make(self.embed(ids).flatten(1))
            return out if out.dim() == 2 and out.shape[1] == 2 else torch.cat([out.reshape(-1, 1)] * 2, 1)

    def read(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        return list(range(len(text))), [(i, i + 1) for i in range(len(text))]

    return saliently.wrap(Net().double().eval(), read, embedding="embed", labels=["0", "1"])


def explained(make: Any, values: Sequence[float], recipe: str, target: int = 0) -> Explanation:
    return saliently.explain(numbers(make, values), "abcdefgh"[: len(values)], recipe, target)


def dense(weight: Sequence[Sequence[float]], bias: Sequence[float] | None = None) -> nn.Linear:
    w = torch.tensor(weight, dtype=torch.float64)
    made = nn.Linear(w.shape[1], w.shape[0], bias=bias is not None).double()
    with torch.no_grad():
        made.weight.copy_(w)
        if bias is not None:
            made.bias.copy_(torch.tensor(bias, dtype=torch.float64))
    return made


class Skip(nn.Module):
    """All fives, and the input once more."""

    def __init__(self) -> None:
        super().__init__()
        self.fives = dense([[5.0] * 2] * 2)

    def forward(self, x: Tensor) -> Tensor:
        added: Tensor = self.fives(x) + x
        return added


TWOS = [[2.0] * 3] * 3


@pytest.mark.parametrize(
    ("first", "middle", "recipe", "expected"),
    [
        (TWOS, nn.ReLU(), "lrp", (18, 36, 54)),
        (TWOS, nn.ReLU(inplace=True), "lrp", (18, 36, 54)),
        (TWOS, nn.ReLU(), "lrp(epsilon=1e-9)", (18, 36, 54)),
        ([[-2.0, 2, 2], *TWOS[1:]], nn.ReLU(), "lrp(rule='gamma', gamma=1)", (28 / 3, 104 / 3, 52)),
        ([[-2.0, 2, 2], *TWOS[1:]], nn.ReLU(), "lrp(rule='z-plus')", (12, 33.6, 50.4)),
        ([[-2.0, 2, 2], *TWOS[1:]], nn.ReLU(), "lrp(rule='alpha-beta', alpha=1)", (12, 33.6, 50.4)),
    ],
    ids=str,
)
def test_captums_published_values(
    first: list[list[float]], middle: nn.Module, recipe: str, expected: tuple[float, ...]
) -> None:
    """captum, tests/attr/test_lrp.py. Its second layer is all positive, so that its gamma there makes no difference."""
    found = explained(nn.Sequential(dense(first), middle, dense([[3.0] * 3])), (1, 2, 3), recipe)
    np.testing.assert_allclose(found.scores, expected, rtol=1e-7)


def test_captums_published_values_of_a_tanh_net_and_of_a_skip_connection() -> None:
    """captum, tests/attr/test_lrp.py."""
    tanh = nn.Sequential(dense([[0.1] * 3] * 3), nn.Tanh(), dense([[0.1] * 3]))
    np.testing.assert_allclose(explained(tanh, (1, 2, 3), "lrp").scores, (0.0269, 0.0537, 0.0806), atol=5e-5)
    np.testing.assert_allclose(explained(Skip(), (2, 3), "lrp", 1).scores, (10, 18), rtol=1e-12)


@pytest.mark.parametrize("variant", ["attn", "cp"])
def test_products_share_by_halves_as_they_are_bracketed(variant: str) -> None:
    """Identity 15b: LRP is not implementation invariant."""
    recipe = f"lrp(variant={variant!r})"
    left = explained(lambda x: (x[:, 0] * x[:, 1]) * x[:, 2], (2, 3, 4), recipe).scores
    right = explained(lambda x: x[:, 0] * (x[:, 1] * x[:, 2]), (2, 3, 4), recipe).scores
    np.testing.assert_allclose(left, (6, 6, 12), rtol=1e-12)
    np.testing.assert_allclose(right, (12, 6, 6), rtol=1e-12)


VALUES = (0.7, -1.3, 2.1, -0.4, 1.6)


def relu_net(seed: int) -> nn.Sequential:
    """With biases, and layers in two shapes."""
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Unflatten(1, (1, 5)), nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten()),
        *(nn.Linear(20, 9), nn.ReLU(), nn.Linear(9, 2)),
    ).double()


@pytest.mark.parametrize("variant", ["attn", "cp", "ali"])
@pytest.mark.parametrize("seed", range(4))
def test_lrp_0_of_relu_nets_is_gradient_x_input(seed: int, variant: str) -> None:
    """Identity 4, with biases."""
    found = explained(relu_net(seed), VALUES, f"lrp(variant={variant!r})")
    expected = explained(relu_net(seed), VALUES, "gradient-x-input")
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-12)
    assert found.scores.any()
    shares = kept(found)
    assert shares["biases"] == pytest.approx(found.values[0] - found.scores.sum(), abs=1e-12)
    assert abs(shares["biases"]) > 1e-3
    assert shares["the rest"] == pytest.approx(0, abs=1e-12)


RULES = [
    lrp.Rule(rule, epsilon, bias=bias)
    for rule in ("epsilon", "gamma", "z-plus", "alpha-beta")
    for epsilon in (0.0, 0.05)
    for bias in ("absorb", "share", "zero")
]


@pytest.mark.parametrize("first", [None, "flat", "w-square"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_rules_of_a_dense_net_by_the_open_ones(rule: lrp.Rule, first: str | None) -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2)).double()
    recipe = f"lrp(rule={rule.rule!r}, epsilon={rule.epsilon}, bias={rule.bias!r}, first={first!r})"
    found = explained(net, VALUES, recipe, 1)
    x, (w, b, u, c) = np.array(VALUES), (p.detach().numpy() for p in net.parameters())
    hidden = np.tanh(w @ x + b)
    value = float((u @ hidden + c)[1])
    of_hidden = lrp.linear(hidden, u[1:], c[1:], np.array([value]), rule)
    expected = lrp.linear(x, w, b, of_hidden, rule if first is None else lrp.Rule(first))
    near(found.scores, expected, 1e-8)
    assert kept(found)["the rest"] == pytest.approx(0, abs=1e-9)


def test_ali_names_activations_with_what_their_gradient_leaves() -> None:
    """Ali et al. 2022: activations pass on x f'(x) of f(x)."""
    torch.manual_seed(4)
    net = nn.Sequential(nn.Linear(5, 6, bias=False), nn.Tanh(), nn.Linear(6, 2, bias=False)).double()
    found = explained(net, VALUES, "lrp(variant='ali')", 1)
    w, u = (p.detach().numpy() for p in net.parameters())
    before = w @ np.array(VALUES)
    expected = ((u[1] * (1 - np.tanh(before) ** 2)) @ w) * VALUES
    np.testing.assert_allclose(found.scores, expected, rtol=1e-10)
    shares = kept(found)
    assert shares["activations"] == pytest.approx(u[1] @ (np.tanh(before) - before * (1 - np.tanh(before) ** 2)))
    assert abs(shares["activations"]) > 1e-3
    assert shares["the rest"] == pytest.approx(0, abs=1e-12)


# The LSTM.

E, D = 4, 6
SENTENCES = ["so good", "very bad film indeed it is so", "x", "not a bad one"]


class Lstm(nn.Module):
    """Last state of each direction to a linear output without a bias, as Arras et al. 2017."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(100, E), nn.Linear(2 * D, 3, bias=False)
        self.lstm = nn.LSTM(E, D, batch_first=True, bidirectional=True)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(ids), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        logits: Tensor = self.head(torch.cat([*self.lstm(packed)[1][0]], -1))
        return logits


@cache
def lstm() -> Model:
    module = tiny.seeded(Lstm, torch.float64)
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for weight in module.lstm.parameters():
            weight.copy_(0.7 * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return saliently.wrap(module, tiny.read_words, embedding="embed", labels=tiny.LABELS)


def open_lstm(found: Explanation, settings: lrp.Settings) -> lrp.Relevances:
    """The relevances of tests.reference.lrp for the same input and target."""
    module = lstm().module
    weights = [weight.detach().numpy() for weight in module.lstm.parameters()]
    ways = lrp.Direction(*weights[:4]), lrp.Direction(*weights[4:])
    x, w_out = (part.weight.detach().numpy() for part in (module.embed, module.head))
    return lrp.lstm(x[list(found.tokens.ids)], ways, (w_out, found.target.index), settings)


@pytest.mark.parametrize("gates", ["all", "half", "proportional"])
@pytest.mark.parametrize(
    ("epsilon", "bias"), list(itertools.product((0.0, 0.001), ("absorb", "share"))), ids=lambda x: str(x)
)
def test_lstm_by_the_open_relevances(epsilon: float, bias: str, gates: Any) -> None:
    """Arras et al. 2017 and 2019; identity 5 for epsilon = 0, identity 6 for shared biases. Alone and packed."""
    recipe = f"lrp(epsilon={epsilon}, bias={bias!r}, gates={gates!r})"
    settings = lrp.Settings(epsilon, 1.0 if bias == "share" else 0.0, gates, "own")
    for text, in_batch in zip(SENTENCES, one_batch(lstm(), SENTENCES, recipe), strict=True):
        expected = open_lstm(in_batch, settings)
        start = sum(float(part.sum()) for part in (*expected.initial_h, *expected.initial_c))
        for found in (in_batch, saliently.explain(lstm(), text, recipe)):
            near(found.scores, expected.words.sum(1), 1e-8)
            shares, scale = kept(found), max(1.0, np.abs(expected.words).sum())
            assert sum(shares.values()) == pytest.approx(found.values[0], abs=1e-9 * scale)
            assert shares["the rest"] == pytest.approx(0, abs=1e-9 * scale)
            assert shares["positions and other constants"] == pytest.approx(start, abs=1e-9 * scale)
            assert ("epsilon" in shares) == (epsilon > 0 and bias == "absorb")
            assert ("biases" in shares) == (bias == "absorb")
            if bias == "share":
                total = shares["words"] + shares["special tokens"] + shares["positions and other constants"]
                assert total == pytest.approx(found.values[0], abs=1e-9 * scale)


# The counter LSTM, whose explanations have closed forms.

LETTERS = ("a", "b", "aab", "aabbb", "abab", "aaaa", "bbaabab", "abbbbab")


@cache
def counter() -> Model:
    return saliently.wrap(lrp.counter(), lrp.read, embedding="embed", labels=["no", "yes"], blank_ids={"pad": 0})


@pytest.mark.parametrize("text", LETTERS)
@pytest.mark.parametrize(
    ("recipe", "expected", "tolerance"),
    [
        ("gradient-x-input", lrp.counter_gradient_x_input, 1e-12),
        ("ig(blank='zero', steps=512)", lrp.counter_integrated_gradients, 1e-5),
        ("occlusion(blank='zero')", lrp.counter_occlusion, 1e-12),
        ("lrp(epsilon=1e-9)", lrp.counter_lrp, 1e-6),
    ],
)
def test_closed_forms_of_the_counter(
    text: str, recipe: str, expected: Callable[[str], np.ndarray], tolerance: float
) -> None:
    """Hao 2020. With a stabiliser LRP loses whatever came before a prefix with as many a as b."""
    found = saliently.explain(counter(), text, recipe, "yes")
    assert found.values[0] == pytest.approx(lrp.counter_value(text), abs=1e-12)
    np.testing.assert_allclose(found.scores, expected(text), rtol=0, atol=tolerance)


@pytest.mark.parametrize("text", LETTERS)
def test_without_a_stabiliser_nothing_of_the_counter_is_lost(text: str) -> None:
    """Identity 5, the modified gradient x input, divides by no sum: a sum of 0 passes the gradient on as any other.

    So that c of "aabbb" shares its relevance among five letters, where epsilon, however small, gives it to the last.
    """
    found = saliently.explain(counter(), text, "lrp", "yes")
    ahead = text.count("a") - text.count("b")
    c = ahead * np.tanh(0.5)
    each = np.tanh(0.5) * (np.tanh(c) / c if ahead else 1.0)
    np.testing.assert_allclose(found.scores, [each if letter == "a" else -each for letter in text], rtol=1e-9)
    assert found.scores.sum() == pytest.approx(found.values[0], abs=1e-12)
