"""The attention weights of a model, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from saliently.chunks import Options, Text, chunks
from saliently.errors import SaliencyError
from saliently.methods.heads import check_attention, check_one_text
from saliently.models.base import Model
from saliently.models.heads import Spot, Term
from saliently.models.loading import load
from saliently.packing import Budget
from saliently.passes import Pass
from saliently.runner import Runner
from saliently.seam.watch import Attention, Watch, watched
from saliently.types import Target, Tokens

Weights = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """What a model paid attention to in one text: weights, not importance.

    Attributes:
        tokens: the input.
        layers: name of the submodule -> (heads, queries, keys), in the order of the forward pass. Each query's
            weights sum to 1 over the keys. Queries and keys are the tokens; but for decoders with an encoder beside
            them, whose places are the tokens moved by one behind a start token, and for attention that
            has one query for the whole text.
    """

    tokens: Tokens
    layers: Mapping[str, Weights]


@overload
def attention(model: Model | str | Path, text: Text, *, options: Options = ...) -> AttentionMaps: ...
@overload
def attention(
    model: Model | str | Path, text: list[Text] | list[str] | tuple[Text, ...], *, options: Options = ...
) -> list[AttentionMaps]: ...
def attention(
    model: Model | str | Path,
    text: Text | list[Text] | list[str] | tuple[Text, ...],
    *,
    options: Options = Options(),
) -> AttentionMaps | list[AttentionMaps]:
    """The weights of every attention in one forward pass, whatever implementation the model runs.

    Args:
        model: what `load` or `wrap` gave, or a name for `load`.
        text: one text, or several, which give a list in the same order.
        options: truncation, memory, progress.

    Raises:
        InputError: a text can't be read. ModelError: the model pays no attention, or a part can't be looked into.
    """
    asked = load(model) if isinstance(model, (str, Path)) else model
    check_one_text(asked)
    check_attention(asked)
    single = isinstance(text, (str, Mapping))
    texts: Sequence[Text] = [text] if single else text  # type: ignore[list-item, assignment]
    found: list[AttentionMaps] = []
    budget = Budget(options.budget)
    for chunk in chunks(asked, texts, lambda tokens: 1, options):
        found += _maps(asked, [_readable(tokens) for tokens in chunk.values()], budget, options)
    return found[0] if single else found


def _readable(tokens: Tokens | SaliencyError) -> Tokens:
    if isinstance(tokens, SaliencyError):
        raise tokens
    return tokens


def _maps(model: Model, inputs: list[Tokens], budget: Budget, options: Options) -> list[AttentionMaps]:
    names = [place.name for place in model.attentions]
    if model.find is not None:  # any place will do
        model = replace(model, find=lambda *asked: (Spot((Term(0),)),))
    try:
        read = _read(model, inputs, budget, options)
    except _PooledError:
        read = _read(replace(model, sides=()), inputs, budget, options)
    return [AttentionMaps(tokens, dict(zip(names, read[i], strict=True))) for i, tokens in enumerate(inputs)]


class _PooledError(Exception):
    """Which of the pooled places stand for padding can't be told."""


def _read(model: Model, inputs: list[Tokens], budget: Budget, options: Options) -> dict[int, list[Weights]]:
    """Position -> its weights."""
    runner = Runner(model, inputs, Target(), budget, options.tick)
    with model.resting():
        return {each.example: each.part for each in runner.through(runner.everything(), _look, backward=False)}


def _look(one: Pass) -> list[list[Weights]]:
    """For each row of a batch, its weights without padding."""
    seen: list[Tensor] = []

    def look(found: Attention) -> None:
        seen.append(found.weights.detach())

    one.x.requires_grad_(False)
    with torch.no_grad(), watched(Watch(look), one.model.module, one.model.watched_names):
        one.values()
    arrays = [weights.to("cpu", torch.promote_types(weights.dtype, torch.float32)).numpy() for weights in seen]
    return [[_real(weights[p], place >= 0) for weights in arrays] for p, place in enumerate(one.places)]


def _real(weights: Weights, real: Tensor) -> Weights:
    """(H, Q, K) without padding, where queries and keys are places of the text."""
    first, many = int(real.long().argmax()), int(real.sum())
    for axis in (-1, -2):
        if weights.shape[axis] == len(real):
            weights = weights.swapaxes(axis, -1)[..., first : first + many].swapaxes(axis, -1)
        elif weights.shape[axis] > 1 and many < len(real):
            raise _PooledError
    return weights
