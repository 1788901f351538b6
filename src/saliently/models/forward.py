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

from saliently.errors import ModelError
from saliently.models.batch import Batch, Part
from saliently.models.bearing import bears_padding


class Forward(ABC):
    """Calls a module with what it takes of a batch. Subclasses are final, one for a kind of head.

    Attributes: takes, names of what the module takes; most_rows, how many it takes at once, or None.
    """

    most_rows: int | None = None

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
        if "use_cache" in self.takes:
            given["use_cache"] = False
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
        start, end = (getattr(found, name, None) for name in ("start_logits", "end_logits"))
        if start is None or end is None:
            raise ModelError(
                f"Logits of where an answer starts and ends were expected of {type(self.module).__name__}; it searches "
                "for answers in another way. Use a model with a plain head for answers."
            )
        return batch.read(torch.stack([start, end], -1))


class Translation(Forward):
    """An encoder that reads a source, and a decoder that gives the next token of the target."""

    def __init__(self, module: nn.Module, embedding: nn.Module, pad: int) -> None:
        """Raises ModelError where it reads no text, or source and target have word vectors of their own."""
        super().__init__(module, embedding, pad)
        name = type(module).__name__
        if "input_ids" not in self.takes:
            raise ModelError(
                f"An encoder-decoder that reads a text was asked for; {name} takes {', '.join(sorted(self.takes))}. "
                "Use a model that translates or rewrites text."
            )
        tables = self._tables(module)
        if len(tables) < 2 or any(table.weight is not embedding.weight for table in tables):
            raise ModelError(
                f"One table of word vectors for source and target was asked of {name}; its encoder or its decoder has "
                "one of its own. Use a model whose tables are tied (tie_word_embeddings)."
            )
        if not bears_padding(module, lambda ids, mask: self._logits(ids, mask, ids), pad):
            self.most_rows = 1

    def _tables(self, module: Any) -> list[nn.Module]:
        """The tables of encoder and decoder, as far as they have some."""
        try:
            return [side.get_input_embeddings() for side in (module.get_encoder(), module.get_decoder())]
        except (AttributeError, NotImplementedError):
            return []

    def pieces(self, batch: Batch) -> Sequence[Part]:
        return batch.part(0, self.pad), batch.part(1, self.pad)

    def outputs(self, batch: Batch) -> Tensor:
        source, target = self.pieces(batch)
        logits = self._logits(source.ids, source.mask, target.ids)
        found = target.read(batch, logits, before=True)
        return found.masked_fill(source.empty.view(-1, *[1] * (found.dim() - 1)), torch.nan)

    def _logits(self, source: Tensor, mask: Tensor, target: Tensor) -> Tensor:
        """(R, M, C) of the next token, behind each of the target's."""
        logits: Tensor = self.module(
            input_ids=source, attention_mask=mask, decoder_input_ids=target, use_cache=False, return_dict=True
        ).logits
        return logits


class Choices(Forward):
    """A context with each of several choices; one output a choice, -inf for those that a row has not."""

    def __init__(self, module: nn.Module, embedding: nn.Module, pad: int, most: int) -> None:
        super().__init__(module, embedding, pad)
        self.most = most
        self.together = bears_padding(module, self._alone, pad)

    def pieces(self, batch: Batch) -> Sequence[Part]:
        return self._parts(batch)[0]

    def outputs(self, batch: Batch) -> Tensor:
        rows, many = len(batch.ids), len(batch.streams)
        parts, lines = self._parts(batch)
        order = torch.cat(lines)
        where = torch.zeros(rows * many, dtype=torch.long, device=order.device)
        where[order] = torch.arange(len(order), device=order.device)
        run = torch.zeros_like(where, dtype=torch.bool).index_fill(0, order, True).view(rows, many)
        there = torch.stack([(stream >= 0).any(1) for stream in batch.streams], 1)
        found = torch.cat([self._logits(part) for part in parts])[where].view(rows, many)
        found = found.masked_fill(~there, -torch.inf).masked_fill(there & ~run, torch.nan)
        found = torch.cat([found, found.new_full((rows, self.most - many), -torch.inf)], 1)
        return found if batch.wanted is None else found[:, None].expand(-1, batch.wanted.shape[1], -1)

    def _parts(self, batch: Batch) -> tuple[list[Part], list[Tensor]]:
        """What is run at a time, and which of the R K lines it is: all that have a token left, or in models whose
        logits padding moves, those of one length."""
        whole = Part.side_by_side([batch.part(k, self.pad) for k in range(len(batch.streams))], self.pad)
        lengths = whole.mask.sum(1)
        sizes = [lengths > 0] if self.together else [lengths == size for size in torch.unique(lengths) if size > 0]
        lines = [size.nonzero()[:, 0] for size in sizes]
        return [whole.lines(each) for each in lines], lines

    def _logits(self, part: Part) -> Tensor:
        """(lines,) one choice each."""
        return self._alone(part.ids, part.mask, part.kinds)

    def _alone(self, ids: Tensor, mask: Tensor, kinds: Tensor | None = None) -> Tensor:
        """(R,) logits of as many questions of one choice."""
        given = {"input_ids": ids[:, None]}
        if "attention_mask" in self.takes:
            given["attention_mask"] = mask[:, None]
        if kinds is not None:
            given["token_type_ids"] = kinds[:, None]
        logits: Tensor = self.module(**given, return_dict=True).logits
        return logits[:, 0]


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
