"""Captum, called as its documentation shows: one text at a time, the class that the model predicts."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from captum.attr import FeatureAblation, LayerGradientXActivation, LayerIntegratedGradients
from torch import Tensor, nn

MASK, SPECIAL = 103, (101, 102)


def gradient_x_input(module: nn.Module, rows: Sequence[Sequence[int]]) -> list[Tensor]:
    """Gradient times the word vector."""
    forward, layer = _forward(module), module.get_input_embeddings()
    method = LayerGradientXActivation(forward, layer)
    return [method.attribute(ids, target=_class(forward, ids)).sum(-1) for ids in map(_ids, rows)]


def integrated_gradients(module: nn.Module, rows: Sequence[Sequence[int]]) -> list[Tensor]:
    """50 steps of Captum's default rule from a text of [MASK], with the convergence delta."""
    forward, layer = _forward(module), module.get_input_embeddings()
    method = LayerIntegratedGradients(forward, layer)
    found = []
    for ids in map(_ids, rows):
        scores, _ = method.attribute(
            ids, baselines=nothing(ids), target=_class(forward, ids), n_steps=50, return_convergence_delta=True
        )
        found.append(scores.sum(-1))
    return found


def occlusion(module: nn.Module, rows: Sequence[Sequence[int]]) -> list[Tensor]:
    """Each token replaced by [MASK], special tokens in one group of their own that is replaced by itself."""
    forward = _forward(module)
    method = FeatureAblation(forward)
    return [
        method.attribute(ids, baselines=nothing(ids), target=_class(forward, ids), feature_mask=_groups(ids))
        for ids in map(_ids, rows)
    ]


def nothing(ids: Tensor) -> Tensor:
    """The text with every word replaced by [MASK]."""
    special = torch.isin(ids, torch.tensor(SPECIAL))
    return torch.where(special, ids, MASK)


def _groups(ids: Tensor) -> Tensor:
    special = torch.isin(ids, torch.tensor(SPECIAL))
    return torch.where(special, 0, (~special).cumsum(-1))


def _forward(module: nn.Module):
    return lambda ids: module(ids, attention_mask=torch.ones_like(ids)).logits


def _class(forward, ids: Tensor) -> int:
    with torch.no_grad():
        return int(forward(ids).argmax(-1))


def _ids(row: Sequence[int]) -> Tensor:
    return torch.tensor([list(row)])
