"""What every model is to the rest of saliently: texts to tokens, tokens to vectors, vectors to logits.

R rows of a batch, L tokens of its longest row, D embedding dimensions, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from threading import RLock
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from saliently.errors import ModelError
from saliently.models.batch import Batch, Part, Side
from saliently.models.devices import device_of
from saliently.models.heads import Find
from saliently.models.prefix import Prefixes
from saliently.seam.places import Place, places
from saliently.seam.watch import Attention, Watch, watched
from saliently.seam.words import embeddings_replaced
from saliently.types import Link, Scale, Tokens

_SAMPLE, _LONGER = "good or bad", "good, bad and good or bad"


class Reader(Protocol):
    """Turns the user's fields into tokens; raises InputError on text it can't read."""

    def __call__(self, fields: Mapping[str, Any], truncate: bool) -> Tokens:
        """Tokens of one input; text over the model's limit is an error unless `truncate`."""
        ...


@dataclass(frozen=True, eq=False)
class Model:
    """A model that saliently can ask. Made by `load`, `wrap` and their like.

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
        pieces: what it asks its embedding for in a forward pass.
        prefixes: how rows go on from the beginning of a plain text, in decoders that can; else None.
        given: an input made of a text, to try things out with.
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
    pieces: Callable[[Batch], Sequence[Part]] = lambda batch: (Part.all(batch),)
    prefixes: Prefixes | None = None
    given: Callable[[str], Mapping[str, Any]] = lambda text: {"text": text}
    vectors: bool = True
    max_rows: int | None = None
    lock: RLock = field(default_factory=RLock, repr=False)

    @property
    def device(self) -> torch.device:
        """Where ids and word vectors live."""
        return device_of(self.embedding if next(self.embedding.parameters(), None) is not None else self.module)

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
        tokens = self.read(self.given(text), True)
        whole, many = Batch.one(tokens, self.device), len(tokens.ids)
        again = torch.arange(max(3, many), device=self.device).clamp(max=many - 1)
        cut = whole.cut([0], again)
        return whole if tokens.streams else Batch.of(cut.ids, cut.kinds)

    def embed(self, ids: Tensor) -> Tensor:
        """Word vectors (..., D) of ids (...), outside the autograd graph. Position and segment vectors are not in."""
        with torch.no_grad():
            vectors: Tensor = self.embedding(ids)
        return vectors

    def run(self, batch: Batch, x: Tensor | None = None, forward: Callable[[Batch], Tensor] | None = None) -> Tensor:
        """Logits (R, C), or (R, W, C) at the places that the batch wants. With `x` (R, L, D), as if the word vectors of
        the batch were x; `forward` calls it in another way than its own.

        Raises:
            ModelError: the forward pass did not use the embedding, or gave no such tensor.
        """
        pieces = () if x is None else [(part.ids, part.vectors(x)) for part in self.pieces(batch)]
        with embeddings_replaced(self.embedding, pieces):
            logits = (forward or self.forward)(batch)
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
