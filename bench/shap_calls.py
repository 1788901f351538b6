"""shap and lime, called as their documentation shows: one text at a time, the same game and target as ours.

N words of a text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import shap
import torch
from lime.lime_text import LimeTextExplainer
from numpy.typing import NDArray

from saliently.games.trees import Tree, players_of
from saliently.methods import away
from saliently.models.base import Model
from saliently.types import Tokens

_BATCH = 64

Worth = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""(M, N) coalitions to (M,) logits."""


def game(model: Model, tokens: Tokens, label: int) -> Worth:
    """The logit of a label where the words that are not there are [MASK]; all coalitions of a call in one batch."""
    who, ids = away.units(tokens), torch.tensor(tokens.ids)

    def worth(there: NDArray[np.float64]) -> NDArray[np.float64]:
        gone = ((1 - torch.tensor(np.asarray(there), dtype=torch.float32)) @ who).bool()
        rows = ids.expand(len(gone), -1).masked_fill(gone, model.blank_ids["mask"])
        with torch.no_grad():
            return model.module(input_ids=rows, attention_mask=torch.ones_like(rows)).logits[:, label].double().numpy()

    return worth


def permutation(worth: Worth, words: int, seed: int) -> NDArray[np.float64]:
    """(N,) from one order and its reversal."""
    explainer = shap.PermutationExplainer(worth, shap.maskers.Independent(np.zeros((1, words))), seed=seed)
    return explainer(np.ones((1, words)), max_evals=2 * words + 1, silent=True).values[0]


def partition(worth: Worth, tree: Tree, most: int) -> NDArray[np.float64]:
    """(N,) Owen values over a binary tree, as far as so many evaluations go."""
    words = len(players_of(tree))
    masker = shap.maskers.Independent(np.zeros((1, words)))
    masker.clustering = _linkage(tree, words)
    return shap.PartitionExplainer(worth, masker)(np.ones((1, words)), max_evals=most, silent=True).values[0]


def _linkage(tree: Tree, words: int) -> NDArray[np.float64]:
    """The tree as scipy writes hierarchies: a row a group, its two members, their distance, its size."""
    rows: list[list[float]] = []

    def join(tree: Tree) -> tuple[int, int]:
        if isinstance(tree, int):
            return tree, 1
        (left, some), (right, others) = map(join, tree)
        rows.append([left, right, len(rows) + 1.0, some + others])
        return words + len(rows) - 1, some + others

    join(tree)
    return np.array(rows)


def lime(model: Model, tokenizer: Callable[..., object], texts: Sequence[str], samples: int) -> None:
    """The lime package, with the model called batch-wise on what it makes of the text."""

    def predict(strings: list[str]) -> NDArray[np.float64]:
        found = []
        for at in range(0, len(strings), _BATCH):
            batch = tokenizer(strings[at : at + _BATCH], return_tensors="pt", padding=True)
            with torch.no_grad():
                found.append(model.module(**batch).logits.double().numpy())
        return np.concatenate(found)

    explainer = LimeTextExplainer(class_names=list(model.labels), random_state=0)
    for text in texts:
        label = int(predict([text])[0].argmax())
        explainer.explain_instance(text, predict, labels=(label,), num_features=10, num_samples=samples)
