"""What every model is to the rest of saliently: texts to tokens, tokens to vectors, vectors to logits.

R rows of a batch, L tokens of its longest row, D embedding dimensions, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

from saliently.errors import ModelError
from saliently.models.heads import Find
from saliently.seam.places import Place, places
from saliently.seam.watch import Attention, Watch, watched
from saliently.seam.words import embeddings_replaced
from saliently.types import Link, Scale, Tokens

Side = Literal["right", "left"]

_SAMPLE, _LONGER = "good or bad", "good, bad and good or bad"


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows padded to one length.

    Attributes:
        ids: (R, L) token ids; the model's padding id where `mask` is 0.
        mask: (R, L) 1 at real tokens.
        kinds: (R, L) segment ids, or None for models that take none.
        side: on which side the padding is.
        places: (R, L) which token of its input stands at a place, -1 at padding.
        wanted: (R, W) the tokens at whose places the output is asked for, in models that give one at each; -1 where
            fewer are; None is the first one.
    """

    ids: Tensor
    mask: Tensor
    kinds: Tensor | None
    side: Side
    places: Tensor
    wanted: Tensor | None = None

    @staticmethod
    def of(ids: Tensor, kinds: Tensor | None = None, mask: Tensor | None = None, side: Side = "right") -> Batch:
        """Whole inputs (R, L), of one length unless a mask says otherwise."""
        real = torch.ones_like(ids) if mask is None else mask
        return Batch(ids, real, kinds, side, (real.cumsum(-1) - 1).masked_fill(real == 0, -1))

    def cut(self, rows: Sequence[int] | slice, columns: Tensor | slice = slice(None)) -> Batch:
        """Some rows, and of these some columns."""
        ids, mask, places = (each[rows][:, columns] for each in (self.ids, self.mask, self.places))
        kinds = None if self.kinds is None else self.kinds[rows][:, columns]
        return Batch(ids, mask, kinds, self.side, places, None if self.wanted is None else self.wanted[rows])

    def copies(self, rows: int) -> Batch:
        """So many copies of the one row that this has."""
        return self.cut([0] * rows)

    def found(self, before: bool) -> Tensor:
        """(R, W) the places of the tokens that are wanted; -1 where one was taken away, unless the last one left before
        it will do (`before`)."""
        wanted = self.places.new_zeros(len(self.places), 1) if self.wanted is None else self.wanted
        at = torch.arange(self.ids.shape[1], device=self.ids.device)
        here = (self.places >= 0)[:, None] & (self.places[:, None] <= wanted[..., None])
        last = torch.where(here, at, -1).amax(-1)
        same = self.places.gather(1, last.clamp(min=0)) == wanted
        return last if before else last.masked_fill(~same, -1)

    def read(self, outputs: Tensor, before: bool = False) -> Tensor:
        """(R, W, C) what (R, L, C) holds at the places wanted, NaN where there is none; (R, C) at the first place."""
        at = self.found(before)
        found = outputs[torch.arange(len(at), device=at.device)[:, None], at.clamp(min=0)]
        if bool((at < 0).any()):
            found = found.masked_fill((at < 0)[..., None], torch.nan)
        return found[:, 0] if self.wanted is None else found

    @property
    def positions(self) -> Tensor:
        """(R, L) place of each token in its own row, so that padding on the left moves nothing."""
        return (self.mask.cumsum(-1) - 1).clamp(min=0)


class Reader(Protocol):
    """Turns the user's fields into tokens; raises InputError on text it can't read."""

    def __call__(self, fields: Mapping[str, str], truncate: bool) -> Tokens:
        """Tokens of one input; text over the model's limit is an error unless `truncate`."""
        ...


@dataclass(frozen=True, eq=False)
class Model:
    """A text classifier that saliently can ask. Made by `load` and `wrap`.

    Attributes:
        name: for people and records.
        module: the user's own module; it comes out as it went in.
        embedding: the submodule that turns ids into word vectors; called with the ids as its argument.
        read: text to tokens.
        forward: batch to logits (R, C), through `module`.
        labels: (C,) names of the classes.
        link: how its numbers become probabilities.
        blank_ids: token ids of "mask" and "pad", where the model has them; without vectors, of "delete" too.
        sides: sides on which a row may be padded without changing its logits; empty if rows can't be padded, so that
            only rows of one length run together.
        find: finds the places that are asked for, in models that give an output at each place; else None.
        scale: what is explained unless the user names another.
        before: are the outputs of a place about the token after it, so that where a place was taken away the last one
            left before it has them?
        fields: names of its texts.
        vectors: does it have word vectors? A function of texts has none.
        max_rows: most rows the model takes at once, or None.
    """

    name: str
    module: nn.Module
    embedding: nn.Module
    read: Reader
    forward: Callable[[Batch], Tensor]
    labels: tuple[str, ...]
    link: Link = "softmax"
    blank_ids: Mapping[str, int] = field(default_factory=dict)
    sides: tuple[Side, ...] = ("right",)
    find: Find | None = None
    scale: Scale = "logit"
    before: bool = False
    fields: tuple[str, ...] = ("text",)
    vectors: bool = True
    max_rows: int | None = None
    lock: RLock = field(default_factory=RLock, repr=False)

    @property
    def device(self) -> torch.device:
        """Where ids and word vectors live."""
        weight = next(self.embedding.parameters(), next(self.module.parameters(), None))
        return torch.device("cpu") if weight is None else weight.device

    @cached_property
    def attentions(self) -> tuple[Place, ...]:
        """Where it pays attention, in the order of a forward pass; found by a pass over a short text.

        Raises:
            ModelError: a part of it can't be looked into.
        """
        if not self.vectors:
            return ()
        runs: list[list[Attention]] = []
        for text in (_SAMPLE, _LONGER):  # what has as many queries as keys for both lengths, has one for each token
            runs.append([])
            with self.resting(), torch.no_grad(), watched(Watch(runs[-1].append), self.module):
                self.run(self.sample(text))
        return places(*runs)

    @property
    def watched_names(self) -> frozenset[str]:
        """Names of the submodules that pay attention."""
        return frozenset(place.name.partition("#")[0] for place in self.attentions)

    @cached_property
    def causal(self) -> bool:
        """Does all of its attention look back only? False where it has no attention, or can't be tried out."""
        try:
            found = self.attentions
        except Exception:
            return False  # what is wrong with reading or running is told when a text is asked for
        return bool(found) and all(place.causal for place in found)

    def sample(self, text: str = _SAMPLE) -> Batch:
        """A short text, to try things out with; of three tokens at least, the last one again if it has fewer."""
        tokens = self.read(dict.fromkeys(self.fields, text), True)
        at = torch.arange(max(3, len(tokens.ids)), device=self.device).clamp(max=len(tokens.ids) - 1)
        ids = torch.tensor([tokens.ids], device=self.device)[:, at]
        return Batch.of(ids, torch.tensor([tokens.kinds], device=self.device)[:, at] if tokens.kinds else None)

    def embed(self, ids: Tensor) -> Tensor:
        """Word vectors (..., D) of ids (...), outside the autograd graph. Position and segment vectors are not in."""
        with torch.no_grad():
            vectors: Tensor = self.embedding(ids)
        return vectors

    def run(self, batch: Batch, x: Tensor | None = None) -> Tensor:
        """Logits (R, C), or (R, W, C) at the places that the batch wants. With `x` (R, L, D), as if the word vectors of
        the batch were x.

        Raises:
            ModelError: the forward pass did not use the embedding, or gave no such tensor.
        """
        with embeddings_replaced(self.embedding, batch.ids, x):
            logits = self.forward(batch)
        places = () if batch.wanted is None else (batch.wanted.shape[1],)
        if not isinstance(logits, Tensor) or logits.shape != (len(batch.ids), *places, len(self.labels)):
            found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ModelError(
                f"Logits of shape {(len(batch.ids), *places, len(self.labels))} were expected from {self.name}; "
                f"found {found}. Give `labels` that fit, or wrap a module that returns the logits alone."
            )
        return logits

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Inside the block the module is in evaluation mode and its weights ask for no gradient; after it, as before.

        Weight gradients are never needed here, and not keeping what they need saves memory and time. One thread at a
        time: others wait.
        """
        with ExitStack() as stack:
            stack.enter_context(self.lock)
            stack.enter_context(torch.inference_mode(False))
            parts = list(self.module.modules())  # once: this is done for each text
            training = [part for part in parts if part.training]
            asking = {
                weight
                for part in parts
                for weight in part._parameters.values()
                if weight is not None and weight.requires_grad
            }
            if any(isinstance(part, nn.RNNBase) for part in parts) and self.device.type == "cuda":
                # cuDNN refuses the backward pass of a recurrent net in evaluation mode.
                stack.enter_context(torch.backends.cudnn.flags(enabled=False))
            try:
                if training:
                    self.module.eval()
                for weight in asking:
                    weight.requires_grad_(False)
                yield
            finally:
                for weight in asking:
                    weight.requires_grad_(True)
                for part in training:
                    part.training = True
