"""Word vectors of our own in the place of the embedding's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saliently.errors import ModelError


@contextmanager
def embeddings_replaced(embedding: nn.Module, ids: Tensor, x: Tensor | None) -> Iterator[None]:
    """Inside the block, wherever `embedding` is asked for the vectors of `ids` (R, L), it gives `x` (R, L, D).

    The model still gets the ids, because many need them for more than vectors: classifiers find the last token and
    the padding by them. `inputs_embeds` is not used; several classifiers refuse it and others lose their padding.
    Encoder-decoder classifiers ask a second time, for the ids moved one place to the right behind a start token; they
    get x moved likewise, so that a word counts through both ways. With x None nothing is done.

    Raises:
        ModelError: the forward pass never asked for the vectors, or asked for other ids.
    """
    if x is None:
        yield
        return
    asked = 0

    def give(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> Tensor:
        nonlocal asked
        found = args[0] if args else next(iter(kwargs.values()))
        asked += 1
        if found.shape == ids.shape and torch.equal(found, ids):
            return x.to(output.dtype, copy=True)  # some models go on to change it in place
        if found.shape == ids.T.shape and torch.equal(found, ids.T):
            return x.transpose(0, 1).to(output.dtype, copy=True)  # XLNet puts the tokens first
        if found.shape == ids.shape and torch.equal(found[:, 1:], ids[:, :-1]):
            return torch.cat([output[:, :1], x[:, :-1].to(output.dtype)], dim=1)
        raise ModelError(
            f"The vectors of the batch's ids {tuple(ids.shape)} were to be replaced; the model asked its embedding "
            f"for other ids {tuple(found.shape)}. saliently can't place words in this model: wrap a part that "
            "embeds the ids it is given."
        )

    handle = embedding.register_forward_hook(give, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
    if not asked:
        raise ModelError(
            f"The embedding {type(embedding).__name__} was to give the word vectors; the forward pass never called it. "
            "Name the embedding that the model really uses."
        )
