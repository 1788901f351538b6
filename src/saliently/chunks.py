"""Texts read a chunk at a time: enough to fill batches with rows of one length, few enough that little is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from torch import nn

from saliently.errors import InputError, ModelError, SaliencyError
from saliently.models.base import Model
from saliently.types import Tokens

Text = str | Mapping[str, str]
"""One input: a text, or its fields by name."""

_BATCHES_A_CHUNK = 16
_TEXTS_A_CHUNK = 256


@dataclass(frozen=True)
class Options:
    """How to run, apart from what is asked.

    Attributes:
        truncate: cut texts that are longer than the model takes, and mark the result; else they are an error.
        budget: most tokens, padding included, in one batch. Halves by itself when memory runs out.
        tick: called with the number of rows of each batch that was run.
    """

    truncate: bool = False
    budget: int = 2048
    tick: Callable[[int], None] = field(default=lambda rows: None, repr=False)


def chunks(
    model: Model, texts: Iterable[Text], rows: Callable[[int], int], options: Options
) -> Iterator[dict[int, Tokens | SaliencyError]]:
    """Position -> its tokens or its error, in order. `rows` tells about how many rows so many tokens cost."""
    chunk: dict[int, Tokens | SaliencyError] = {}
    work = 0
    for at, text in enumerate(texts):
        try:
            tokens = model.read(_fields(text), options.truncate)
            _check_ids(model, tokens)
            chunk[at] = tokens
            work += len(tokens.ids) * rows(len(tokens.ids))
        except SaliencyError as error:
            chunk[at] = error
        if work >= _BATCHES_A_CHUNK * options.budget or len(chunk) >= _TEXTS_A_CHUNK:
            yield chunk
            chunk, work = {}, 0
    if chunk:
        yield chunk


def _fields(text: Text) -> dict[str, str]:
    """An input by field name; a text alone is the field `text`."""
    if isinstance(text, Mapping):
        return dict(text)
    if isinstance(text, str):
        return {"text": text}
    raise InputError(
        f"A text was asked for, or a mapping of fields to texts; found "
        f"{type(text).__name__} {text!r:.40}. Give a string."
    )


def _check_ids(model: Model, tokens: Tokens) -> None:
    """Raise ModelError where tokenizer and embedding don't belong together."""
    embedding = model.embedding
    if isinstance(embedding, nn.Embedding) and max(tokens.ids) >= embedding.num_embeddings:
        raise ModelError(
            f"A tokenizer that fits {model.name} was asked for; it gives id {max(tokens.ids)} and the model has "
            f"{embedding.num_embeddings} word vectors. Load the tokenizer that the model was trained with."
        )
