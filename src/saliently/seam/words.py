"""Word vectors of our own in the place of the embedding's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saliently.errors import ModelError


@contextmanager
def embeddings_replaced(embedding: nn.Module, pieces: Sequence[tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Inside the block, wherever `embedding` is asked for the vectors of ids (R, L), it gives x (R, L, D) instead.

    `pieces` are pairs of ids and x, in the order in which the model asks for them; it may ask for one several times,
    and for none if that is all. With no pieces nothing is done.

    The model still gets the ids, because many need them for more than vectors: classifiers find the last token and
    the padding by them. `inputs_embeds` is not used; several classifiers refuse it and others lose their padding.
    Encoder-decoder classifiers ask a second time, for the ids moved one place to the right behind a start token; they
    get x moved likewise, so that a word counts through both ways.

    Raises:
        ModelError: the forward pass never asked for the vectors of a piece, or asked for other ids.
    """
    if not pieces:
        yield
        return
    asked = [0] * len(pieces)

    def give(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: Tensor) -> Tensor:
        found = args[0] if args else next(iter(kwargs.values()))
        # Two pieces of the same ids are told apart by their turn.
        for k in sorted(range(len(pieces)), key=asked.__getitem__):
            if (given := _given(*pieces[k], found, output)) is not None:
                asked[k] += 1
                return given
        raise ModelError(
            f"The vectors of the batch's ids {', '.join(str(tuple(ids.shape)) for ids, _ in pieces)} were to be "
            f"replaced; the model asked its embedding for other ids {tuple(found.shape)}. saliently can't place words "
            "in this model: wrap a part that embeds the ids it is given."
        )

    handle = embedding.register_forward_hook(give, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
    if not all(asked):
        raise ModelError(
            f"The embedding {type(embedding).__name__} was to give the word vectors; the forward pass never called it. "
            "Name the embedding that the model really uses."
        )


def _given(ids: Tensor, x: Tensor, found: Tensor, output: Tensor) -> Tensor | None:
    """The vectors for `found`, whose own would be `output`, if these are the ids of a piece."""
    if found.shape == ids.shape and torch.equal(found, ids):
        return x.to(output.dtype, copy=True)  # some models go on to change it in place
    if found.shape == ids.T.shape and torch.equal(found, ids.T):
        return x.transpose(0, 1).to(output.dtype, copy=True)  # XLNet puts the tokens first
    if found.shape == ids.shape and torch.equal(found[:, 1:], ids[:, :-1]):
        return torch.cat([output[:, :1], x[:, :-1].to(output.dtype)], dim=1)
    return None
