"""What it means to take words away: one definition, for methods and metrics alike.

A row says for every token how much of it is kept, between 0 (a blank stands in its place) and 1 (as it was). The game
of removal methods has only 0 and 1; a path goes through the values between. Special tokens always stay. *Nothing* is
the input with every word blanked.

R rows, T tokens, D embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from saliently.errors import RecipeError, did_you_mean
from saliently.models.base import Model
from saliently.types import Tokens

VECTOR_BLANKS = ("mask", "zero", "pad", "mean")
"""Blanks that put a vector in the word's place; positions and segments stay."""

BLANKS = (*VECTOR_BLANKS, "delete")
"""All blanks; "delete" takes the ids away, so that later words move up."""


def check_blank(blank: str, allowed: tuple[str, ...] = BLANKS) -> None:
    """Raise RecipeError unless `blank` is one of `allowed`."""
    if blank not in allowed:
        names = ", ".join(repr(name) for name in allowed)
        raise RecipeError(f"Blank {blank!r} was asked for; there are {names}.{did_you_mean(str(blank), allowed)}")


def default_blank(model: Model) -> str:
    """`"mask"` where the model has a mask token, since it has seen that in training; else `"zero"`, or `"delete"` where
    words have no vectors."""
    return "mask" if "mask" in model.blank_ids else "zero" if model.vectors else "delete"


def blank_vector(model: Model, blank: str) -> Tensor:
    """(D,) the word vector that stands where a word was taken away.

    "zero": zeros. "mean": the mean over the vocabulary. "mask" and "pad": that token's vector.

    Raises:
        RecipeError: an unknown blank, or one whose token the model does not have.
    """
    check_blank(blank, VECTOR_BLANKS)
    if blank == "mean":
        return mean_vector(model)
    if blank == "zero":
        return torch.zeros_like(model.embed(torch.zeros(1, dtype=torch.long, device=model.device))[0])
    if blank not in model.blank_ids:
        others = [name for name in BLANKS if name not in ("mask", "pad") or name in model.blank_ids]
        raise RecipeError(
            f"Blank {blank!r} was asked for; the tokenizer of {model.name} has no {blank} token. "
            f"Choose one of {', '.join(repr(name) for name in others)}."
        )
    return model.embed(torch.tensor([model.blank_ids[blank]], device=model.device))[0]


def mean_vector(model: Model) -> Tensor:
    """(D,) mean word vector over the vocabulary."""
    size = vocabulary_size(model)
    if size is None:
        raise RecipeError(
            f"Blank 'mean' was asked for; {model.name} embeds with {type(model.embedding).__name__}, whose vocabulary "
            "can't be listed. Choose 'zero' or 'delete'."
        )
    table = _table(model, size)
    return table.double().mean(0).to(table.dtype)


def vocabulary_size(model: Model) -> int | None:
    """Rows of the embedding table, or None where the embedding is no table."""
    return model.embedding.num_embeddings if isinstance(model.embedding, torch.nn.Embedding) else None


def everything(tokens: Tokens) -> Tensor:
    """(1, T) the row of the unchanged input."""
    return torch.ones(1, len(tokens.ids))


def nothing(tokens: Tokens) -> Tensor:
    """(1, T) the row with every word blanked: special tokens 1, words 0."""
    return 1.0 - words(tokens).to(torch.float32)[None]


def partly(tokens: Tokens, shares: Sequence[float]) -> Tensor:
    """(R, T) float64 rows that keep as much of every word as each share says, and special tokens whole."""
    return torch.where(words(tokens), torch.tensor(shares, dtype=torch.float64)[:, None], 1.0)


def words(tokens: Tokens) -> Tensor:
    """(T,) True at the tokens that can be taken away."""
    return torch.tensor(tokens.words)


def blend(vectors: Tensor, keep: Tensor, blank: Tensor) -> Tensor:
    """(R, L, D) word vectors with `keep` (R, L), or (R, L, D) for single dimensions, of each one kept.

    `torch.lerp` gives exactly the word at 1 and exactly the blank at 0.
    """
    weight = keep if keep.dim() == vectors.dim() else keep[..., None]
    return torch.lerp(blank.expand_as(vectors), vectors, weight.to(vectors.dtype).expand_as(vectors))


def spread(model: Model) -> float:
    """Standard deviation of the entries of the embedding table, each around the mean of its dimension: the natural unit
    of noise on word vectors, wherever their origin lies."""
    size = vocabulary_size(model)
    if size is None:
        raise RecipeError(
            f"Noise in units of the embedding table was asked for; {model.name} embeds with "
            f"{type(model.embedding).__name__}, whose vocabulary can't be listed. Use a method without noise."
        )
    return float(_table(model, size).double().var(0).mean().sqrt())


def _table(model: Model, size: int) -> Tensor:
    """(V, D) all word vectors, through the embedding itself, since some scale what they look up."""
    if isinstance(model.embedding, torch.nn.Embedding) and model.embedding.max_norm is not None:
        return model.embedding.weight.detach()  # looking up shortens the rows of the table for good
    return model.embed(torch.arange(size, device=model.device))
