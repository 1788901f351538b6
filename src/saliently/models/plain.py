"""Any torch module that maps token ids to logits, with the user's own reading of text."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saliently.errors import ModelError
from saliently.models.base import Model
from saliently.models.batch import Batch
from saliently.models.reading import TokenizerReader, check_some_token, checked
from saliently.types import Span, Tokens
from saliently.units import group

Read = Callable[[str], tuple[Sequence[int], Sequence[tuple[int, int] | None]]]
"""Text -> ids and, for each, the characters [start, end) it stands for; None for a token that is none of the text."""


@dataclass(frozen=True, eq=False)
class FunctionReader:
    """Reads with the user's own function."""

    function: Read

    def __call__(self, fields: Mapping[str, str], truncate: bool) -> Tokens:
        """Tokens of the one field `text`.

        Raises:
            InputError: no text. ModelError: the function gave ids and spans that don't fit each other or the text.
        """
        text = checked(fields, (("text",),))["text"]
        ids, places = _plain(self.function(text))
        if len(ids) != len(places):
            raise ModelError(f"The reading function gave {len(ids)} ids and {len(places)} spans; give one span an id.")
        if min(ids, default=0) < 0:
            raise ModelError(f"The reading function gave the id {min(ids)}; ids count rows of the embedding from 0.")
        last = 0
        for place in places:
            if place is not None and not last <= place[0] <= place[1] <= len(text):
                raise ModelError(
                    f"The reading function gave the span {place} after one that starts at {last}, in a text of "
                    f"{len(text)} characters; spans must lie in the text and start in order."
                )
            last = last if place is None else place[0]
        spans = [None if place is None else Span("text", *place) for place in places]
        check_some_token(text, spans)
        return group(fields, ids, [_spelling(text, span) for span in spans], spans)


def _plain(found: Any) -> tuple[list[int], list[tuple[int, int] | None]]:
    """What a reading function gave, be it lists, arrays or tensors, as plain numbers."""
    try:
        ids, places = found
        return [index(i) for i in ids], [None if place is None else _place(*place) for place in places]
    except (TypeError, ValueError):
        raise ModelError(
            f"The reading function gave {found!r:.80}; two lists are asked for: ids, which are whole numbers, and for "
            "each the (start, end) of its characters, or None."
        ) from None


def _place(start: Any, end: Any) -> tuple[int, int]:
    return index(start), index(end)


@dataclass(frozen=True, eq=False)
class Called:
    """How a plain module is called: with ids and mask, or with ids alone. An object, so that a copy of the model calls
    the copy of its module."""

    module: nn.Module
    alone: bool = False

    def __call__(self, batch: Batch) -> Tensor:
        """Logits (R, C)."""
        logits: Tensor = self.module(batch.ids) if self.alone else self.module(batch.ids, batch.mask)
        return logits


def wrap(
    module: nn.Module,
    read: Read,
    embedding: str,
    labels: Sequence[str],
    blank_ids: Mapping[str, int] | None = None,
) -> Model:
    """Any module called as `module(ids, mask)`, both (R, L), that returns logits (R, C).

    `ids` holds token ids, 0 (or `blank_ids["pad"]`) at padding, which is on the right; `mask` is 1 at real tokens and
    the module must use it, so that padding changes nothing. A module called as `module(ids)` is never given padding.
    `embedding` names the submodule that turns ids into vectors. `blank_ids` may name the ids of "mask" and "pad".

    Raises:
        ModelError: no submodule of that name, or no labels.
    """
    parts = dict(module.named_modules())
    if embedding not in parts or not embedding:
        tables = [name for name, part in parts.items() if isinstance(part, nn.Embedding)]
        raise ModelError(
            f"The embedding {embedding!r} was named; {type(module).__name__} has no such submodule. "
            f"Its embedding tables: {', '.join(tables) or 'none'}."
        )
    if not labels or isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        found = repr(labels) if labels else "none"
        raise ModelError(f"A list of labels was asked for, a name for each of the module's outputs; found {found:.60}.")
    if unknown := sorted(set(blank_ids or {}) - {"mask", "pad"}):
        raise ModelError(f"Ids of the blanks 'mask' and 'pad' may be given; found {', '.join(map(repr, unknown))}.")
    wants = inspect.signature(module.forward).parameters.values()
    alone = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in wants) == 1
    return Model(
        name=type(module).__name__,
        module=module,
        embedding=parts[embedding],
        read=FunctionReader(read),
        forward=Called(module, alone),
        labels=tuple(labels),
        blank_ids=dict(blank_ids or {}),
        sides=() if alone else ("right",),
    )


def load_bilstm(folder: Path, dtype: torch.dtype, device: str | torch.device) -> Model:
    """The attention debate's classifier from a folder that `saliently.models.bilstm.save` wrote."""
    from saliently.models import bilstm

    module, tokenizer, labels = bilstm.load_folder(folder)
    module = module.to(device=device, dtype=dtype).eval()

    specials = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    reader = TokenizerReader.over(tokenizer, specials, None, False, tokenizer.token_to_id("<unk>"))
    return Model(
        name=str(folder),
        module=module,
        embedding=module.embedding,
        read=reader,
        forward=Called(module),
        labels=tuple(labels),
        blank_ids={"pad": bilstm.PAD},
    )


def _spelling(text: str, span: Span | None) -> str:
    return "[special]" if span is None else text[span.start : span.end]
