"""The counter: an LSTM with weights set by hand that compares how many a and how many b a text has.

Hao 2020, "Evaluating Attribution Methods using White-Box LSTMs". All gates are saturated at sigmoid(50) = 1, so that

    c_t = c_(t-1) + tanh(u) at an 'a', - tanh(u) at a 'b'      logit of True = h_T = tanh(c_T)

With n = #a - #b, c = n tanh(u), and s = +1 for an a, -1 for a b, a letter's scores against the zero vector are

    integrated gradients   s tanh(n tanh u) / n, and s tanh(u) where n = 0
    gradient x input       s u sech^2(u) sech^2(c)
    occlusion              tanh(c) - tanh(c - s tanh(u))
    gradient (L2 norm)     sqrt(2) u sech^2(u) sech^2(c), the same for every letter

Layer-wise relevance propagation as published shares the relevance of c_t between c_(t-1) and the letter, by
(part / c_t) R. A beginning of the text with as many a as b has c_t = 0, and so no relevance to share: with a
stabiliser below the fraction it and all letters before it get 0, however much they did. In "aabbb" only the last
letter can be anything but 0, in "abab" none. Without a stabiliser, with relevance carried as a gradient, nothing is
divided and nothing is lost: each letter gets s tanh(u) tanh(c) / c, which is the integrated gradient.

Departures: letters are one-hot vectors of two dimensions, without the paper's marks for the ends of a text.
"""

from __future__ import annotations

from functools import cache
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from saliently.models.base import Model
from saliently.models.plain import wrap
from saliently.toys.reading import reads

U = 0.5
"""What a letter puts into tanh."""

SATURATED = 50.0
"""What goes into the gates' sigmoids: 1 in float64."""

Floats = NDArray[np.float64]


class Counter(nn.Module):
    """Logits (R, 2) of False, which is 0, and True, which is the last h."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(2, 2, _weight=torch.eye(2, dtype=torch.float64), _freeze=True)
        self.lstm = nn.LSTM(2, 1, batch_first=True, dtype=torch.float64)
        weights = {name: torch.zeros_like(weight) for name, weight in self.lstm.state_dict().items()}
        weights["weight_ih_l0"][2] = torch.tensor([U, -U])
        weights["bias_ih_l0"][[0, 1, 3]] = SATURATED
        self.lstm.load_state_dict(weights)

    def forward(self, ids: Tensor) -> Tensor:
        last = self.lstm(self.embed(ids))[0][:, -1, 0]
        return torch.stack([torch.zeros_like(last), last], -1)


@cache
def counter() -> Model:
    """As a model that reads letters a and b; its labels are False and True."""
    read = reads({"a": 0, "b": 1}.get, "the letters a and b", r"\S")
    return wrap(Counter().eval(), read, "embed", ["False", "True"])


def signs(text: str) -> Floats:
    """(T,) +1 at each a, -1 at each b."""
    return np.array([1.0 if letter == "a" else -1.0 for letter in text])


def integrated_gradients(text: str) -> Floats:
    """(T,) the closed form, in logits of True; also what relevance without a stabiliser gives."""
    sign = signs(text)
    n, step = sign.sum(), np.tanh(U)
    found: Floats = sign * (np.tanh(n * step) / n if n else step)
    return found


def gradient_x_input(text: str) -> Floats:
    """(T,) the closed form, in logits of True."""
    sign = signs(text)
    return sign * U * _sech2(U) * _sech2(sign.sum() * np.tanh(U))


def gradient(text: str) -> Floats:
    """(T,) the closed form of the L2 norm, in logits of True for each unit of the embedding space."""
    return sqrt(2) * np.abs(gradient_x_input(text))


def occlusion(text: str) -> Floats:
    """(T,) the closed form, in logits of True; the zero vector counts for nothing."""
    sign = signs(text)
    c, step = sign.sum() * np.tanh(U), np.tanh(U)
    found: Floats = np.tanh(c) - np.tanh(c - sign * step)
    return found


def blocked(text: str) -> NDArray[np.bool_]:
    """(T,) True at letters that published relevance propagation can't reach: they end, or stand before the end of, a
    beginning with as many a as b."""
    even = np.flatnonzero(np.cumsum(signs(text)) == 0)
    return np.arange(len(text)) <= (even[-1] if len(even) else -1)


def _sech2(x: float) -> float:
    return float(1 / np.cosh(x) ** 2)
