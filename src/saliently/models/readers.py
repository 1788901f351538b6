"""The reader that fits a model of transformers: by its task and its tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from saliently.models.base import Reader
from saliently.models.choosing import ChoiceReader
from saliently.models.forward import takes
from saliently.models.language import GENERATED, LanguageReader
from saliently.models.reading import PAIR, TokenizerReader
from saliently.models.tasks import ANSWERER, CHOOSER, FILLER, TRANSLATOR, WRITER, Task
from saliently.models.translation import TranslationReader

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def reader_of(task: Task, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, limit: int | None) -> Reader:
    """How texts for such a model are read."""
    text = TokenizerReader.over(
        tokenizer.backend_tokenizer,
        tokenizer.all_special_tokens,
        limit,
        "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in takes(module),
        tokenizer.unk_token_id,
        tokenizer.mask_token if task is FILLER else None,
    )
    if task is WRITER:
        return LanguageReader(text, _plain(tokenizer), _continue(module), _template(tokenizer))
    if task is TRANSLATOR:
        config: Any = module.config
        return TranslationReader(text, _target(tokenizer), _continue(module), int(config.decoder_start_token_id))
    if task is CHOOSER:
        return ChoiceReader(text)
    return replace(text, takes=(("question", "context"),) if task is ANSWERER else (("text",), PAIR))


def _plain(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """A copy that reads typed special tokens as such, as chat templates need it, and neither cuts nor pads."""
    backend = tokenizer.backend_tokenizer
    copy: Tokenizer = type(backend).from_str(backend.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _target(tokenizer: PreTrainedTokenizerBase) -> Callable[[str], list[int]]:
    """How the other side of a translation is read: with its own special tokens."""
    return lambda text: list(tokenizer(text_target=text, truncation=False)["input_ids"])


def _template(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[Mapping[str, str]]], str] | None:
    if not tokenizer.chat_template:
        return None
    return lambda turns: str(
        tokenizer.apply_chat_template([dict(turn) for turn in turns], tokenize=False, add_generation_prompt=True)
    )


def _continue(module: PreTrainedModel) -> Callable[[Sequence[int]], list[int]]:
    """What the model goes on with, greedily; it comes out as it went in."""

    def go_on(ids: Sequence[int]) -> list[int]:
        parts = [part for part in module.modules() if part.training]
        given = torch.tensor([list(ids)], device=module.device)
        first = 1 if module.config.is_encoder_decoder else len(ids)
        try:
            module.eval()  # type: ignore[no-untyped-call]
            with torch.no_grad():
                found = module.generate(  # type: ignore[operator]
                    given, attention_mask=torch.ones_like(given), max_new_tokens=GENERATED, do_sample=False, num_beams=1
                )
        finally:
            for part in parts:
                part.training = True
        return [int(each) for each in found[0, first:]]

    return go_on
