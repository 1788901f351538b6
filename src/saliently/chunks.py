"""Texts read a chunk at a time: enough to fill batches with rows of one length, few enough that little is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from saliently import segments
from saliently.errors import InputError, ModelError, RecipeError, SaliencyError
from saliently.models.base import Model
from saliently.types import Segments, Tokens
from saliently.windows import check_fits, read_whole

Text = str | Mapping[str, Any]
"""One input: a text, or its fields by name."""

_BATCHES_A_CHUNK = 16
_TEXTS_A_CHUNK = 256


@dataclass(frozen=True)
class Options:
    """How to run, apart from what is asked.

    Attributes:
        truncate: cut texts that are longer than the model takes, and mark the result; else they are an error.
        budget: most tokens, padding included, in one batch. Halves by itself when memory runs out.
        tick: called with the number of rows of each batch that was run. error: called while a method samples, with the
            largest standard error that is left, as a share of the change to be explained.
        seconds: for methods that sample, how many to spend on a text, on the average over those that run together; then
            they stop with what they have. The rows already asked are finished.
        windows: explain a text that is longer than a classifier takes in windows, each half over the one before, and
            put them together: the mean over the windows is explained (`saliently.windows.explained`). For saliencies;
            with texts that fit nothing changes.
        units: what gets a score: words, sentences, paragraphs, whole fields (messages, passages), or the user's own
            segments. Scores of tokens stay as they are; occlusion(by="unit") takes whole units away.
        checkpoint: run each layer again in the backward pass of gradients, instead of keeping what it computed: memory
            of one layer at a time, for long prompts, and a third more computing. Relevance and attention keep all.
    """

    truncate: bool = False
    budget: int = 2048
    tick: Callable[[int], None] = field(default=lambda rows: None, repr=False)
    windows: bool = False
    units: Segments = "word"
    checkpoint: bool = False
    seconds: float | None = None
    error: Callable[[float], None] = field(default=lambda error: None, repr=False)

    def __post_init__(self) -> None:
        segments.check(self.units)
        if not isinstance(self.budget, int) or self.budget < 1:
            raise RecipeError(f"A budget of {self.budget!r} tokens was asked for; give a whole number from 1 up.")
        if self.seconds is not None and not self.seconds > 0:
            raise RecipeError(f"{self.seconds!r} seconds a text were allowed; give a number above 0, or leave it out.")
        if self.windows and self.truncate:
            raise RecipeError(
                "Windows over long texts were asked for, and to truncate them as well. Leave one of the two out."
            )
        if self.windows and self.units != "word":
            raise RecipeError(
                f"Windows over long texts were asked for, and scores of units {self.units!r}; windows have words "
                "alone. Leave one of the two out."
            )


def chunks(
    model: Model, texts: Iterable[Text], rows: Callable[[int], int], options: Options
) -> Iterator[dict[int, Tokens | SaliencyError]]:
    """Position -> its tokens or its error, in order. `rows` tells about how many rows so many tokens cost.

    The error of a text that is to be read in windows is a `Windowed`, which holds them.
    """
    chunk: dict[int, Tokens | SaliencyError] = {}
    work = 0
    for at, text in enumerate(texts):
        try:
            fields = _fields(text)
            with model.lock:  # a language model may be asked for its response, which another thread must not look into
                tokens = read_whole(model, fields) if options.windows else model.read(fields, options.truncate)
            _check_ids(model, tokens)
            tokens = segments.segmented(tokens, options.units)
            work += len(tokens.ids) * rows(len(tokens.ids))
            if options.windows:
                check_fits(model, tokens)
            chunk[at] = tokens
        except SaliencyError as error:
            chunk[at] = error
        if work >= _BATCHES_A_CHUNK * options.budget or len(chunk) >= _TEXTS_A_CHUNK:
            yield chunk
            chunk, work = {}, 0
    if chunk:
        yield chunk


def checked_tokens(model: Model, fields: Mapping[str, Any]) -> Tokens:
    """One input for training or for counting: read, cut where the model can't take it whole.

    Raises:
        InputError: it can't be read. ModelError: tokenizer and embedding don't belong together.
    """
    with model.lock:
        tokens = model.read(fields, True)
    _check_ids(model, tokens)
    return tokens


def _fields(text: Text) -> dict[str, Any]:
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
