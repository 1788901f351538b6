"""Layer-wise relevance propagation in the open: explicit loops over messages, numpy float64, nothing of saliently.

Three parts: rules for weighted sums, one output unit at a time; an LSTM in two directions with a linear output, by
Arras et al. 2017 and 2019 (LRP-all and the other ways to share a product with a gate); the counter LSTM of Hao 2020,
whose explanations have closed forms.

Weights are laid out as torch does: a Linear's (out, in), an LSTM's gates in the order i, f, g, o.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[np.float64]


# Rules for weighted sums.


@dataclass(frozen=True)
class Rule:
    """Names and numbers as in methods: see `unit` for the formulas."""

    rule: str = "epsilon"
    epsilon: float = 0.0
    gamma: float = 0.25
    alpha: float = 2.0
    bias: str = "absorb"


def sign(value: float) -> float:
    """The sign of a number, +1 for 0."""
    return -1.0 if value < 0 else 1.0


def unit(terms: Array, weights: Array, bias: float, relevance: float, rule: Rule) -> Array:
    """What one output unit sends to each of its N inputs, (N,), for terms a_j w_j (N,) and weights w_j (N,)."""
    if rule.rule == "flat":
        return divided(np.ones(len(terms)), 0.0, relevance, Rule())
    if rule.rule == "w-square":
        return divided(weights**2, 0.0, relevance, Rule())
    if rule.rule == "epsilon":
        return divided(terms, bias, relevance, rule)
    if rule.rule == "gamma":
        way = sign(sum(terms) + (0.0 if rule.bias == "zero" else bias))
        bent = np.array([term + rule.gamma * term * (sign(term) == way) for term in terms])
        return divided(bent, bias + rule.gamma * bias * (sign(bias) == way), relevance, rule)
    rising, falling = np.maximum(terms, 0.0), np.minimum(terms, 0.0)
    if rule.rule == "z-plus":
        return divided(rising, max(bias, 0.0), relevance, rule)
    for_it = divided(rising, max(bias, 0.0), rule.alpha * relevance, rule)
    against = divided(falling, min(bias, 0.0), (rule.alpha - 1) * relevance, rule)
    return for_it - against


def divided(parts: Array, bias: float, relevance: float, rule: Rule) -> Array:
    """Relevance in proportion to the parts of a sum, the bias and epsilon treated by the policy."""
    whole = sum(parts) + (0.0 if rule.bias == "zero" else bias)
    epsilon = rule.epsilon * sign(whole)
    if whole + epsilon == 0:
        return np.zeros(len(parts))
    extra = (bias + epsilon) / len(parts) if rule.bias == "share" else 0.0
    return np.array([(part + extra) / (whole + epsilon) * relevance for part in parts])


def linear(a: Array, w: Array, b: Array, relevance: Array, rule: Rule) -> Array:
    """Through a Linear: a (in,), w (out, in), b (out,), relevance (out,) to (in,)."""
    found = np.zeros(len(a))
    for k in range(len(w)):
        found += unit(a * w[k], w[k], float(b[k]), float(relevance[k]), rule)
    return found


@dataclass(frozen=True)
class Strides:
    """How a one-dimensional convolution moves."""

    stride: int = 1
    padding: int = 0
    dilation: int = 1


def conv1d(layer: tuple[Array, Array, Array], relevance: Array, rule: Rule, strides: Strides) -> Array:
    """Through a Conv1d: layer = a (in, T), w (out, in, K), b (out,); relevance (out, S) to (in, T).

    Taps that fall on padding are no inputs.
    """
    a, w, b = layer
    found = np.zeros(a.shape)
    for k in range(w.shape[0]):
        for place in range(relevance.shape[1]):
            first = place * strides.stride - strides.padding
            taps = [
                (channel, first + tap * strides.dilation, tap)
                for channel in range(w.shape[1])
                for tap in range(w.shape[2])
                if 0 <= first + tap * strides.dilation < a.shape[1]
            ]
            weights = np.array([w[k, channel, tap] for channel, _, tap in taps])
            terms = np.array([a[channel, time] for channel, time, _ in taps]) * weights
            sent = unit(terms, weights, float(b[k]), float(relevance[k, place]), rule)
            for (channel, time, _), amount in zip(taps, sent, strict=True):
                found[channel, time] += amount
    return found


# The LSTM.


@dataclass(frozen=True)
class Direction:
    """One direction: w_ih (4d, e), w_hh (4d, d), b_ih (4d,), b_hh (4d,), as torch lays them out."""

    w_ih: Array
    w_hh: Array
    b_ih: Array
    b_hh: Array

    @property
    def joined(self) -> tuple[Array, Array]:
        """Weight (4d, e + d) of [x; h], and bias (4d,)."""
        return np.concatenate([self.w_ih, self.w_hh], axis=1), self.b_ih + self.b_hh


@dataclass(frozen=True)
class Settings:
    """epsilon and bias_factor of Arras et al., and which share a product with a gate gives to the gate.

    Attributes:
        product: "all" none; "half" a half; "proportional" |gate| / (|gate| + |signal|), of the values multiplied.
        cells: in the split of c = f c' + i g, who shares epsilon's part of an entry: "all" 2d numbers, as in the
            authors' code, or the "own" two products. The two are the same for bias_factor = 0 or epsilon = 0.
    """

    epsilon: float = 0.001
    bias_factor: float = 0.0
    product: Literal["all", "half", "proportional"] = "all"
    cells: Literal["all", "own"] = "all"


@dataclass(frozen=True)
class Relevances:
    """What an LSTM's score is made of: words (T, e), and what is left at the initial h and c, (d,) by direction."""

    score: float
    words: Array
    initial_h: tuple[Array, Array]
    initial_c: tuple[Array, Array]

    @property
    def total(self) -> float:
        """All relevance that arrived somewhere."""
        return float(self.words.sum() + sum(part.sum() for part in (*self.initial_h, *self.initial_c)))


@dataclass(frozen=True)
class Trace:
    """All values of one direction. Row t + 1 of h and c is after word t, row 0 is the start; the others have T rows."""

    x: Array  # (T, e)
    h: Array  # (T + 1, d)
    c: Array  # (T + 1, d)
    gates: Array  # (T, 4, d), after sigmoid and tanh, in the order i, f, g, o


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp -x), without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def run(x: Array, weights: Direction) -> Trace:
    """The forward pass over x (T, e), from a zero state."""
    size = weights.w_hh.shape[1]
    w, b = weights.joined
    h, c, gates = [np.zeros(size)], [np.zeros(size)], []
    for word in x:
        before = (w @ np.concatenate([word, h[-1]]) + b).reshape(4, size)
        i, f, g, o = sigmoid(before[0]), sigmoid(before[1]), np.tanh(before[2]), sigmoid(before[3])
        c.append(f * c[-1] + i * g)
        h.append(o * np.tanh(c[-1]))
        gates.append(np.stack([i, f, g, o]))
    return Trace(x, np.array(h), np.array(c), np.array(gates))


def lstm(x: Array, directions: tuple[Direction, Direction], out: tuple[Array, int], settings: Settings) -> Relevances:
    """Relevance of the words for score[target], score = w_out [h_left; h_right] of the last states, without a bias.

    Args:
        x: word vectors (T, e).
        directions: the one that reads from the left, and the one that reads from the right.
        out: (w_out (C, 2d), target).
        settings: the rules.
    """
    w_out, target = out
    left, right = run(x, directions[0]), run(x[::-1], directions[1])
    last = np.concatenate([left.h[-1], right.h[-1]])
    score = float(w_out[target] @ last)
    at_last = split_sum(w_out[target] * last, 0.0, score, settings)
    size = len(last) // 2
    from_left = _back(left, directions[0], at_last[:size], settings)
    from_right = _back(right, directions[1], at_last[size:], settings)
    words = from_left[0] + from_right[0][::-1]
    return Relevances(score, words, (from_left[1], from_right[1]), (from_left[2], from_right[2]))


def split_sum(parts: Array, bias: float, relevance: float, settings: Settings) -> Array:
    """Arras et al.'s rule for one sum z: (part + bias_factor * (b + eps sgn z) / N) / (z + eps sgn z) * R."""
    z = sum(parts) + bias
    epsilon = settings.epsilon * sign(z)
    if z + epsilon == 0:
        return np.zeros(len(parts))
    extra = settings.bias_factor * (bias + epsilon) / len(parts)
    return np.array([(part + extra) / (z + epsilon) * relevance for part in parts])


def _back(trace: Trace, weights: Direction, at_last: Array, settings: Settings) -> tuple[Array, Array, Array]:
    """(R of x (T, e), R of the initial h (d,), R of the initial c (d,)) for R of the last h."""
    w, b = weights.joined
    size, width = len(at_last), trace.x.shape[1]
    words, r_h, r_c = np.zeros(trace.x.shape), at_last, np.zeros(size)
    for t in reversed(range(len(trace.x))):
        i, f, g, o = trace.gates[t]
        to_o, to_c = _split_product(o, np.tanh(trace.c[t + 1]), r_h, settings)
        before, new = _split_cell(f * trace.c[t], i * g, r_c + to_c, settings)
        to_f, r_c = _split_product(f, trace.c[t], before, settings)
        to_i, to_g = _split_product(i, g, new, settings)
        inputs, r_h = np.concatenate([trace.x[t], trace.h[t]]), np.zeros(size)
        for k, relevance in enumerate(np.concatenate([to_i, to_f, to_g, to_o])):
            sent = split_sum(w[k] * inputs, float(b[k]), float(relevance), settings)
            words[t] += sent[:width]
            r_h += sent[width:]
    return words, r_h, r_c


def _split_product(gate: Array, signal: Array, relevance: Array, settings: Settings) -> tuple[Array, Array]:
    """(R of the gate, R of the signal) of a product of the two."""
    if settings.product == "all":
        return np.zeros(len(gate)), relevance
    if settings.product == "half":
        return relevance / 2, relevance / 2
    share = np.abs(gate) / (np.abs(gate) + np.abs(signal))  # a sigmoid is never 0
    return share * relevance, (1 - share) * relevance


def _split_cell(old: Array, new: Array, relevance: Array, settings: Settings) -> tuple[Array, Array]:
    """(R of f c', R of i g), each (d,), for R of their sum c."""
    size = len(old)
    to_old, to_new = np.zeros(size), np.zeros(size)
    for k in range(size):
        if settings.cells == "own":
            to_old[k], to_new[k] = split_sum(np.array([old[k], new[k]]), 0.0, float(relevance[k]), settings)
        else:  # a row of the identity matrix: zeros for all entries but the own, and they share in epsilon too
            row = np.zeros(2 * size)
            row[k], row[size + k] = old[k], new[k]
            sent = split_sum(row, 0.0, float(relevance[k]), settings)
            to_old += sent[:size]
            to_new += sent[size:]
    return to_old, to_new


# The counter LSTM.

LETTERS = {"a": 1, "b": 2}  # ids; 0 is padding


class Counter(nn.Module):
    """Counts: c = (number of a - number of b) tanh u, logits (0, tanh c). Source: Hao 2020, the counter network.

    One cell. Its gates are saturated at m, so that they are 1 to rounding and depend on nothing; the candidate is
    tanh(u) for an a and -tanh(u) for a b. Departure: the order of gates is torch's.
    """

    def __init__(self, u: float = 0.5, m: float = 50.0) -> None:
        super().__init__()
        self.embed = nn.Embedding(3, 2)
        self.lstm = nn.LSTM(2, 1, batch_first=True)
        self.double().eval()
        with torch.no_grad():
            self.embed.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
            w_ih, w_hh, b_ih, b_hh = self.lstm.parameters()
            w_ih.copy_(torch.tensor([[0.0, 0.0], [0.0, 0.0], [u, -u], [0.0, 0.0]]))
            b_ih.copy_(torch.tensor([m, m, 0.0, m]))
            w_hh.zero_()
            b_hh.zero_()

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask (R, L) to logits (R, 2). Padding adds tanh 0 = 0, so the last state is the text's."""
        h = self.lstm(self.embed(ids) * mask[..., None])[0][:, -1]
        return torch.cat([torch.zeros_like(h), h], dim=1)


def counter(u: float = 0.5, m: float = 50.0) -> Counter:
    """The counter LSTM with its hand-set weights, in float64 and evaluation mode."""
    return Counter(u, m)


def read(text: str) -> tuple[list[int], list[tuple[int, int]]]:
    """A reader for it: ids and places of the letters of a text such as "a a b"."""
    found = [(LETTERS[letter], (place, place + 1)) for place, letter in enumerate(text) if letter != " "]
    return [number for number, _ in found], [place for _, place in found]


def _steps(text: str) -> Iterator[int]:
    """+1 for each a, -1 for each b."""
    return (1 if letter == "a" else -1 for letter in text if letter != " ")


def _each(text: str, of_an_a: Callable[[int], float]) -> Array:
    """The score of each letter, given what it is for a step of +1 or -1."""
    return np.array([of_an_a(step) for step in _steps(text)])


def counter_value(text: str, u: float = 0.5) -> float:
    """The logit: tanh((n_a - n_b) tanh u)."""
    return math.tanh(sum(_steps(text)) * math.tanh(u))


def counter_integrated_gradients(text: str, u: float = 0.5) -> Array:
    """From zero vectors: +-tanh((n_a - n_b) tanh u) / (n_a - n_b), and +-tanh u where the numbers are equal."""
    ahead = sum(_steps(text))
    one = math.tanh(ahead * math.tanh(u)) / ahead if ahead else math.tanh(u)
    return _each(text, lambda step: step * one)


def counter_gradient_x_input(text: str, u: float = 0.5) -> Array:
    """+-u sech^2 u sech^2 c."""
    one = u / math.cosh(u) ** 2 / math.cosh(sum(_steps(text)) * math.tanh(u)) ** 2
    return _each(text, lambda step: step * one)


def counter_occlusion(text: str, u: float = 0.5) -> Array:
    """With zero vectors, or by deletion: tanh c - tanh(c -+ tanh u)."""
    c, one = sum(_steps(text)) * math.tanh(u), math.tanh(u)
    return _each(text, lambda step: math.tanh(c) - math.tanh(c - step * one))


def counter_lrp(text: str, u: float = 0.5) -> Array:
    """LRP-all as epsilon goes to 0: +-tanh u tanh(c) / c, but 0 for all letters up to the last place where c is 0.

    A prefix with as many a as b leaves c = 0, which has no relevance to send on: "aabbb" gives only its last letter a
    score, "abab" none. Letters after that place get the whole logit.
    """
    counts = np.cumsum(list(_steps(text)))
    c = counts[-1] * math.tanh(u)
    one = math.tanh(u) * math.tanh(c) / c if c else 0.0
    zeros = np.flatnonzero(counts == 0)
    heard = np.arange(len(counts)) > (zeros[-1] if len(zeros) else -1)
    return _each(text, lambda step: step * one) * heard
