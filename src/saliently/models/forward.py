"""How transformers' models are called with a batch, by their head.

R rows, L tokens, W places wanted, C labels, K streams: texts that a model reads apart from each other.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from saliently.models.batch import Batch, Part


class Forward(ABC):
    """Calls a module with what it takes of a batch. Subclasses are final, one for a kind of head."""

    def __init__(self, module: nn.Module, embedding: nn.Module, pad: int) -> None:
        self.module, self.embedding, self.pad = module, embedding, pad
        self.takes = takes(module)

    def __call__(self, batch: Batch) -> Tensor:
        """Logits (R, C), or (R, W, C) at the places wanted."""
        with one_table(self.module, self.embedding):
            return self.outputs(batch)

    def pieces(self, batch: Batch) -> Sequence[Part]:
        """What it asks its embedding for, in order."""
        return (Part.all(batch),)

    @abstractmethod
    def outputs(self, batch: Batch) -> Tensor:
        """Logits, with one table."""

    def given(self, batch: Batch) -> dict[str, Any]:
        """What a model that reads one text takes."""
        given: dict[str, Any] = {"input_ids": batch.ids, "return_dict": True}
        if "attention_mask" in self.takes:
            given["attention_mask"] = batch.mask
        if batch.kinds is not None:
            given["token_type_ids"] = batch.kinds
        if "position_ids" in self.takes and batch.side == "left":
            # With padding on the right the model's own positions are right, and some count them from the padding id.
            given["position_ids"] = batch.positions
        return given


class Whole(Forward):
    """One output a text, or one at each place."""

    def outputs(self, batch: Batch) -> Tensor:
        logits: Tensor = self.module(**self.given(batch)).logits
        return batch.read(logits) if logits.dim() == 3 else logits


class Next(Forward):
    """A decoder that gives the next token, at each place; asked only for the places wanted, since vocabularies are
    large."""

    def outputs(self, batch: Batch) -> Tensor:
        given = self.given(batch)
        if "use_cache" in self.takes:
            given["use_cache"] = False
        if "logits_to_keep" not in self.takes:
            every: Tensor = self.module(**given).logits
            return batch.read(every, before=True)
        at = batch.found(before=True)
        kept, where = torch.unique(at.clamp(min=0), return_inverse=True)
        logits: Tensor = self.module(**given, logits_to_keep=kept).logits
        found = logits[torch.arange(len(at), device=at.device)[:, None], where]
        if bool((at < 0).any()):
            found = found.masked_fill((at < 0)[..., None], torch.nan)
        return found[:, 0] if batch.wanted is None else found


class Span(Forward):
    """Where an answer begins and where it ends, at each place."""

    def outputs(self, batch: Batch) -> Tensor:
        found = self.module(**self.given(batch))
        return batch.read(torch.stack([found.start_logits, found.end_logits], -1))


class Translation(Forward):
    """An encoder that reads a source, and a decoder that gives the next token of the target."""

    def pieces(self, batch: Batch) -> Sequence[Part]:
        return batch.part(0, self.pad), batch.part(1, self.pad)

    def outputs(self, batch: Batch) -> Tensor:
        source, target = self.pieces(batch)
        logits: Tensor = self.module(
            input_ids=source.ids,
            attention_mask=source.mask,
            decoder_input_ids=target.ids,
            use_cache=False,
            return_dict=True,
        ).logits
        return target.read(batch, logits, before=True)


class Choices(Forward):
    """A context with each of several choices; one output a choice."""

    def __init__(self, module: nn.Module, embedding: nn.Module, pad: int, most: int) -> None:
        super().__init__(module, embedding, pad)
        self.most = most

    def pieces(self, batch: Batch) -> Sequence[Part]:
        return (Part.side_by_side([batch.part(k, self.pad) for k in range(len(batch.streams))], self.pad),)

    def outputs(self, batch: Batch) -> Tensor:
        (both,) = self.pieces(batch)
        rows, many = len(batch.ids), len(batch.streams)
        given: dict[str, Any] = {"input_ids": both.ids, "attention_mask": both.mask}
        if both.kinds is not None:
            given["token_type_ids"] = both.kinds
        shaped = {name: each.unflatten(0, (rows, many)) for name, each in given.items()}
        logits: Tensor = self.module(**shaped, return_dict=True).logits
        there = torch.stack([(stream >= 0).any(1) for stream in batch.streams], 1)
        found = logits.masked_fill(~there, -torch.inf)
        return torch.cat([found, found.new_full((rows, self.most - many), -torch.inf)], 1)


def takes(module: nn.Module) -> frozenset[str]:
    """Names of what its forward pass takes."""
    return frozenset(inspect.signature(module.forward).parameters)


@contextmanager
def one_table(module: nn.Module, embedding: nn.Module) -> Iterator[None]:
    """Inside the block, every table tied to the embedding's weight asks the embedding itself.

    Encoder-decoders hold one table for each side and a third that they never call; word vectors are put in at one.
    """
    weight = next(embedding.parameters(), None)
    tied = [
        part
        for part in module.modules()
        if isinstance(part, nn.Embedding) and part is not embedding and part.weight is weight
    ]
    handles = [part.register_forward_hook(_asks(embedding)) for part in tied]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _asks(embedding: nn.Module) -> Callable[[nn.Module, Any, Tensor], Tensor]:
    def ask(part: nn.Module, given: Any, output: Tensor) -> Tensor:
        found: Tensor = embedding(*given)
        return found

    return ask
