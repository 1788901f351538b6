"""AttnLRP and CP-LRP in the open: relevance sent back op by op, torch float64 without autograd, nothing of saliently.

Rules of Achtibat et al. 2024, as a table in methods.md, 3.3; for z = the sum of what its parts add:

    linear         x_j w_jk / z_k of the relevance of z_k; the bias, which is in z_k, absorbs its part
    residual add   a / (a + b)
    activation     all of it (identity)
    product        a half to each factor; CP-LRP: all to the factor that went through no activation
    A V            message A_qk V_ke / O_qe of the relevance of O_qe, a half of it to A and to V; CP-LRP: all to V
    softmax        R_i = x_i (R_i^out - s_i sum_j R_j^out), 0 where masked; CP-LRP: nothing arrives here
    q k            message q_e k_e / x of the relevance of the score x, a half of it to q and to k
    norms          identity on the division, mean subtraction and added bias by the linear rule

Every operation is an object: made in the forward pass with its inputs, `y` is its output, and `back` turns the
relevance of `y` into that of its inputs. T tokens, D dimensions, E dimensions of a head. Weights are laid out, and
named, as in transformers' Llama and BERT classifiers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

Variant = Literal["attn", "cp"]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True)
class Shape:
    """Numbers of layers, heads, and heads of keys and values; eps of the norms; theta of rotary positions, or none."""

    layers: int
    heads: int
    groups: int
    eps: float
    theta: float | None = None


@dataclass
class Relevances:
    """Attributes: value, the logit; words (T, D), what it is made of; kept, who else got how much of it."""

    value: float
    words: Tensor
    kept: Counter[str]


@dataclass
class Book:
    """The rules in force, and what no input got."""

    variant: Variant
    kept: Counter[str] = field(default_factory=Counter)

    def note(self, who: str, amounts: Tensor) -> None:
        self.kept[who] += float(amounts.sum())


class Linear:
    """x (T, in), w (out, in), b (out,)."""

    def __init__(self, book: Book, x: Tensor, w: Tensor, b: Tensor | None = None) -> None:
        self.book, self.x, self.w = book, x, w
        self.b = torch.zeros(len(w), dtype=x.dtype) if b is None else b
        self.y = torch.stack([(row * w).sum(1) + self.b for row in x])

    def back(self, r: Tensor) -> Tensor:
        found = torch.zeros_like(self.x)
        for t, row in enumerate(self.x):
            parts = row * self.w  # (out, in)
            found[t] = (parts / self.y[t][:, None] * r[t][:, None]).sum(0)
            self.book.note("biases", self.b / self.y[t] * r[t])
        return found


class Add:
    """a + b."""

    def __init__(self, a: Tensor, b: Tensor) -> None:
        self.a, self.b, self.y = a, b, a + b

    def back(self, r: Tensor) -> tuple[Tensor, Tensor]:
        return self.a / self.y * r, self.b / self.y * r


class Gated:
    """act * up, where act went through an activation."""

    def __init__(self, book: Book, act: Tensor, up: Tensor) -> None:
        self.book, self.y = book, act * up

    def back(self, r: Tensor) -> tuple[Tensor, Tensor]:
        return (r / 2, r / 2) if self.book.variant == "attn" else (torch.zeros_like(r), r)


class RmsNorm:
    """w x / rms(x): each entry keeps its relevance."""

    def __init__(self, x: Tensor, w: Tensor, eps: float) -> None:
        self.y = w * x / torch.sqrt((x * x).mean(1, keepdim=True) + eps)

    def back(self, r: Tensor) -> Tensor:
        return r


class LayerNorm:
    """w (x - mean) / std + b."""

    def __init__(self, book: Book, x: Tensor, w: Tensor, b: Tensor, eps: float) -> None:
        size = x.shape[1]
        less_mean = torch.eye(size, dtype=x.dtype) - 1 / size
        self.book, self.b = book, b
        self.centred = Linear(book, x, less_mean)
        self.scaled = w * self.centred.y / torch.sqrt((self.centred.y**2).mean(1, keepdim=True) + eps)
        self.y = self.scaled + b

    def back(self, r: Tensor) -> Tensor:
        self.book.note("biases", self.b / self.y * r)
        return self.centred.back(self.scaled / self.y * r)


class Rotary:
    """Head vectors (T, E), turned by the angle of their place: pair (e, e + E/2) by place * theta^(-2e/E)."""

    def __init__(self, book: Book, x: Tensor, theta: float | None) -> None:
        self.each = [Linear(book, row[None], self._turn(place, x, theta)) for place, row in enumerate(x)]
        self.y = torch.cat([one.y for one in self.each])

    @staticmethod
    def _turn(place: int, x: Tensor, theta: float | None) -> Tensor:
        size = x.shape[1]
        turn = torch.eye(size, dtype=x.dtype)
        for e in range(size // 2 if theta is not None else 0):
            angle, other = place * float(theta or 0) ** (-2 * e / size), e + size // 2
            turn[e, e] = turn[other, other] = math.cos(angle)
            turn[e, other], turn[other, e] = -math.sin(angle), math.sin(angle)
        return turn

    def back(self, r: Tensor) -> Tensor:
        return torch.cat([one.back(row[None]) for one, row in zip(self.each, r, strict=True)])


class Attention:
    """One head: q, k, v (T, E)."""

    def __init__(self, book: Book, given: tuple[Tensor, Tensor, Tensor], causal: bool) -> None:
        self.book, (self.q, self.k, self.v) = book, given
        places = torch.arange(len(self.q))
        self.seen = (places[:, None] >= places) | (not causal)  # (T, T), query before key
        self.scores = (self.q[:, None] * self.k).sum(2) / math.sqrt(self.q.shape[1])
        powers = torch.exp(self.scores) * self.seen
        self.weights = powers / powers.sum(1, keepdim=True)
        self.y = torch.stack([(row[:, None] * self.v).sum(0) for row in self.weights])

    def back(self, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        messages = self.weights[:, :, None] * self.v / self.y[:, None] * r[:, None]  # (query, key, E)
        if self.book.variant == "cp":
            return torch.zeros_like(self.q), torch.zeros_like(self.k), messages.sum(0)
        of_weights, of_v = messages.sum(2) / 2, messages.sum(0) / 2
        of_scores = self.scores * (of_weights - self.weights * of_weights.sum(1, keepdim=True)) * self.seen
        self.book.note("softmax", of_weights)
        self.book.note("softmax", -of_scores)
        parts = self.q[:, None] * self.k / math.sqrt(self.q.shape[1])
        messages = parts / self.scores[:, :, None] * of_scores[:, :, None]
        return messages.sum(1) / 2, messages.sum(0) / 2, of_v


class Heads:
    """All heads of a layer: q (T, heads * E), k and v (T, groups * E); neighbouring heads share a group."""

    def __init__(self, book: Book, shape: Shape, given: tuple[Tensor, Tensor, Tensor], causal: bool) -> None:
        self.shape, size = shape, given[0].shape[1] // shape.heads
        self.q, self.k = ([Rotary(book, x, shape.theta) for x in whole.split(size, 1)] for whole in given[:2])
        v, self.each = given[2].split(size, 1), []
        for head in range(shape.heads):
            group = head * shape.groups // shape.heads
            self.each.append(Attention(book, (self.q[head].y, self.k[group].y, v[group]), causal))
        self.y = torch.cat([one.y for one in self.each], 1)

    def back(self, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = r.shape[1] // self.shape.heads
        of_q, of_k, of_v = [], [0] * self.shape.groups, [0] * self.shape.groups
        for head, (one, part) in enumerate(zip(self.each, r.split(size, 1), strict=True)):
            group = head * self.shape.groups // self.shape.heads
            q, k, v = one.back(part)
            of_q.append(self.q[head].back(q))
            of_k[group], of_v[group] = of_k[group] + k, of_v[group] + v
        turned = [one.back(part) for one, part in zip(self.k, of_k, strict=True)]
        return torch.cat(of_q, 1), torch.cat(turned, 1), torch.cat(of_v, 1)


class LlamaLayer:
    """x + o(attention(norm x)), and then that + down(silu(gate) * up) of its norm. No biases."""

    def __init__(self, book: Book, shape: Shape, w: Weights, x: Tensor) -> None:
        self.norm = RmsNorm(x, w["input_layernorm.weight"], shape.eps)
        self.qkv = [Linear(book, self.norm.y, w[f"self_attn.{name}_proj.weight"]) for name in "qkv"]
        q, k, v = (one.y for one in self.qkv)
        self.heads = Heads(book, shape, (q, k, v), causal=True)
        self.out = Linear(book, self.heads.y, w["self_attn.o_proj.weight"])
        self.mixed = Add(x, self.out.y)
        self.second_norm = RmsNorm(self.mixed.y, w["post_attention_layernorm.weight"], shape.eps)
        self.gate = Linear(book, self.second_norm.y, w["mlp.gate_proj.weight"])
        self.up = Linear(book, self.second_norm.y, w["mlp.up_proj.weight"])
        self.gated = Gated(book, self.gate.y / (1 + torch.exp(-self.gate.y)), self.up.y)
        self.down = Linear(book, self.gated.y, w["mlp.down_proj.weight"])
        self.whole = Add(self.mixed.y, self.down.y)
        self.y = self.whole.y

    def back(self, r: Tensor) -> Tensor:
        of_mixed, of_down = self.whole.back(r)
        of_act, of_up = self.gated.back(self.down.back(of_down))
        of_mixed = of_mixed + self.second_norm.back(self.gate.back(of_act) + self.up.back(of_up))
        of_x, of_out = self.mixed.back(of_mixed)
        parts = self.heads.back(self.out.back(of_out))
        return of_x + self.norm.back(sum(one.back(part) for one, part in zip(self.qkv, parts, strict=True)))


class BertLayer:
    """norm(x + dense(attention x)), and then norm(that + dense(gelu(dense that))). Biases everywhere."""

    def __init__(self, book: Book, shape: Shape, w: Weights, x: Tensor) -> None:
        def dense(name: str, given: Tensor) -> Linear:
            return Linear(book, given, w[f"{name}.weight"], w[f"{name}.bias"])

        def norm(name: str, given: Tensor) -> LayerNorm:
            return LayerNorm(book, given, w[f"{name}.weight"], w[f"{name}.bias"], shape.eps)

        self.qkv = [dense(f"attention.self.{name}", x) for name in ("query", "key", "value")]
        q, k, v = (one.y for one in self.qkv)
        self.heads = Heads(book, shape, (q, k, v), causal=False)
        self.out = dense("attention.output.dense", self.heads.y)
        self.mixed = Add(x, self.out.y)
        self.norm = norm("attention.output.LayerNorm", self.mixed.y)
        self.up = dense("intermediate.dense", self.norm.y)
        act = self.up.y * (1 + torch.erf(self.up.y / math.sqrt(2))) / 2
        self.down = dense("output.dense", act)
        self.whole = Add(self.norm.y, self.down.y)
        self.second_norm = norm("output.LayerNorm", self.whole.y)
        self.y = self.second_norm.y

    def back(self, r: Tensor) -> Tensor:
        of_norm, of_down = self.whole.back(self.second_norm.back(r))
        of_norm = of_norm + self.up.back(self.down.back(of_down))
        of_x, of_out = self.mixed.back(self.norm.back(of_norm))
        parts = self.heads.back(self.out.back(of_out))
        return of_x + sum(one.back(part) for one, part in zip(self.qkv, parts, strict=True))


def within(weights: Weights, prefix: str) -> dict[str, Tensor]:
    """The weights whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}


def llama(weights: Weights, shape: Shape, ids: Tensor, target: int, variant: Variant) -> Relevances:
    """Of a classifier on Llama that reads the last of the ids (T,)."""
    book, words = Book(variant), weights["model.embed_tokens.weight"][ids]
    layers, x = [], words
    for number in range(shape.layers):
        layers.append(LlamaLayer(book, shape, within(weights, f"model.layers.{number}."), x))
        x = layers[-1].y
    norm = RmsNorm(x, weights["model.norm.weight"], shape.eps)
    head = Linear(book, norm.y[-1:], weights["score.weight"][target : target + 1])
    r = torch.zeros_like(x)
    r[-1:] = head.back(head.y)
    r = norm.back(r)
    for layer in reversed(layers):
        r = layer.back(r)
    return Relevances(float(head.y), r, book.kept)


def bert(weights: Weights, shape: Shape, ids: Tensor, target: int, variant: Variant) -> Relevances:
    """Of a classifier on BERT that pools the first of the ids (T,), all of segment 0."""
    book, at = Book(variant), within(weights, "bert.embeddings.")
    words = at["word_embeddings.weight"][ids]
    added = at["position_embeddings.weight"][: len(ids)] + at["token_type_embeddings.weight"][0]
    start = Add(words, added)
    norm = LayerNorm(book, start.y, at["LayerNorm.weight"], at["LayerNorm.bias"], shape.eps)
    layers, x = [], norm.y
    for number in range(shape.layers):
        layers.append(BertLayer(book, shape, within(weights, f"bert.encoder.layer.{number}."), x))
        x = layers[-1].y
    pooler = Linear(book, x[:1], weights["bert.pooler.dense.weight"], weights["bert.pooler.dense.bias"])
    row = slice(target, target + 1)
    head = Linear(book, torch.tanh(pooler.y), weights["classifier.weight"][row], weights["classifier.bias"][row])
    r = torch.zeros_like(x)
    r[:1] = pooler.back(head.back(head.y))
    for layer in reversed(layers):
        r = layer.back(r)
    r, of_added = start.back(norm.back(r))
    book.note("positions", of_added)
    return Relevances(float(head.y), r, book.kept)
