"""Attention weights and how the explained number changes with them.

H heads, Q queries, K keys, T tokens of one input.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from saliently.checks import Checks
from saliently.methods.attention import OneAttention
from saliently.methods.base import Method, Scores
from saliently.methods.heads import Heads, Layer, read
from saliently.methods.rollout import check_followed, in_decoder
from saliently.runner import Runner
from saliently.types import Quantity


@dataclass(frozen=True, repr=False)
class AttentionXGradient(OneAttention):
    """Attention: each weight of one attention times the slope of the explained number in it, at the explained position.

    Serrano and Smith 2019, who order words by it. Units of the target, signed: to first order, what the
    number would lose if the weight were taken away and the others were not made to sum to 1 again. Sums to nothing in
    particular. `layer` and `head` are those of `attention`, None being the mean over heads; and the row is the one of
    `attention`, so that below the last layer what other positions read does not count.

    Departures: the paper has recurrent nets with one attention, over which layers, heads and rows are no question. In a
    decoder beside an encoder what falls on its start token falls on no token of the text; a note says how much.
    """

    name: ClassVar[str] = "attention-x-gradient"
    gradients: ClassVar[bool] = True

    def measure(self, layer: Layer) -> Tensor:
        return _products(layer)


@dataclass(frozen=True, repr=False)
class GradientRollout(Method):
    """Attention: the attention that pushes the explained number up, followed through all layers.

    Chefer et al. 2021, "Generic Attention-model Explainability", Section 3. A layer is E_h[(gradient * A)+], the mean
    over heads of the positive part of weights times gradients; from R = I, each adds what it reads of the layers below,
    R <- R + layer R. The row is that of the query that the explained number depends on, the mean over rows where it
    depends on several. Never negative; it sums to nothing in particular, and has no unit, as products of one, two and
    more layers are added up. It does not see what pulls the number down.

    An encoder-decoder goes by the paper's rules for two kinds of input: its decoder's attention to itself acts on both
    R_dd and R_de (Eq. 6, 7); its attention to the encoder adds Rn_dd^T layer Rn_ee to R_de (Eq. 10), where Rn is R with
    the rows of R - I divided by their sums (Eq. 8, 9), and rows that are 0 are left alone.

    Departures: scores are of R - I, since the 1 that each position begins with would make the explained token the first
    whatever the model does; the authors' code sets the score of [CLS] to 0. A decoder reads the tokens again behind a
    start token: a token's scores by way of the decoder and of the encoder are added up, and a note says what came from
    the start token. Where one learned query reads recurrent states the result is its layer alone.
    """

    name: ClassVar[str] = "gradient-rollout"
    quantity: ClassVar[Quantity] = "attention"

    def rows(self, tokens: int) -> int:
        return 1

    def __call__(self, runner: Runner) -> list[Scores]:
        return [self._score(heads) for heads in read(runner, gradients=True)]

    def _score(self, heads: Heads) -> Scores:
        check_followed(heads)
        notes, (scores, own) = list[str](), _follow(heads)
        if in_decoder(heads.layers[-1], heads):
            start, total = float(own[0]), float(scores.sum() + own.sum())
            scores = scores + torch.cat([own[1:], own.new_zeros(1)])
            notes.append(f"{start / (total or 1):.0%} of it leads to the decoder's start token, no part of the text.")
        if not bool(scores.any()):
            notes.append("No attention weight pushes the explained number up, so that there is nothing to follow.")
        return Scores(scores, checks=Checks(notes=tuple(notes)))


def _follow(heads: Heads) -> tuple[Tensor, Tensor]:
    """(T,) each: what the explained position has of the encoder's tokens, and of the decoder's inputs.

    R - I is kept in place of R, whose 1 would swallow the digits of small gradients.
    """
    encoder, decoder, across = torch.zeros(3, *[heads.layers[0].weights.shape[-1]] * 2, dtype=torch.float64)
    last = heads.layers[-1]
    for layer in heads.layers if last.place.whole else heads.layers[:-1]:
        push = _pushes(layer)
        if not in_decoder(layer, heads):
            encoder = encoder + push + push @ encoder
        elif layer.place.cross:
            across = across + _shares(decoder).T @ push @ _shares(encoder)
        else:
            across, decoder = across + push @ across, decoder + push + push @ decoder
    if last.place.whole:
        return heads.queries @ (across if in_decoder(last, heads) else encoder), heads.queries @ decoder
    row = heads.queries @ _pushes(last)
    return (row @ across if in_decoder(last, heads) else row + row @ encoder), row + row @ decoder


def _products(layer: Layer) -> Tensor:
    """(H, Q, K) weights times gradients."""
    assert layer.gradient is not None
    return layer.weights.double() * layer.gradient.double()


def _pushes(layer: Layer) -> Tensor:
    """(Q, K) Eq. 5: the mean over heads of what pushes the number up."""
    return _products(layer).clamp(min=0).mean(0)


def _shares(added: Tensor) -> Tensor:
    """Eq. 8 and 9: what was added to the identity in shares of its rows, and the identity."""
    total = added.sum(1, keepdim=True)
    return added / total.where(total > 0, torch.ones_like(total)) + torch.eye(len(added), dtype=added.dtype)
