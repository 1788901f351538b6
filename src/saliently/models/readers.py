"""The reader that fits a model of transformers: by its task and its tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from saliently.errors import ModelError
from saliently.models.base import Reader
from saliently.models.choosing import ChoiceReader
from saliently.models.devices import device_of
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
        _specials(tokenizer),
        limit,
        "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in takes(module),
        tokenizer.unk_token_id,
        tokenizer.mask_token if task is FILLER else None,
    )
    if task is WRITER:
        return LanguageReader(text, _plain(tokenizer), _continue(module, limit), _template(tokenizer))
    if task is TRANSLATOR:
        return TranslationReader(text, _target(tokenizer), _continue(module, limit), _start(module))
    if task is CHOOSER:
        return ChoiceReader(text)
    return replace(text, takes=(("question", "context"),) if task is ANSWERER else (("text",), PAIR))


def _specials(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Spellings of all special tokens; those of turns and roles often have no name in the tokenizer."""
    added = tokenizer.backend_tokenizer.get_added_tokens_decoder().values()
    return list(dict.fromkeys([*tokenizer.all_special_tokens, *(each.content for each in added if each.special)]))


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


def _start(module: PreTrainedModel) -> int | None:
    """The id that a decoder begins with; None where it begins with the last one of its target."""
    config: Any = module.config
    if config.decoder_start_token_id is None and config.model_type != "mbart":
        raise ModelError(
            f"An encoder-decoder was given, {type(module).__name__}; its configuration names no token that its decoder "
            "begins with. Set decoder_start_token_id in it."
        )
    return None if config.decoder_start_token_id is None else int(config.decoder_start_token_id)


def _template(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[Mapping[str, str]]], str] | None:
    if not tokenizer.chat_template:
        return None
    return lambda turns: str(
        tokenizer.apply_chat_template([dict(turn) for turn in turns], tokenize=False, add_generation_prompt=True)
    )


def _continue(module: PreTrainedModel, limit: int | None) -> Callable[[Sequence[int]], list[int]]:
    """What the model goes on with, greedily, as far as it goes; it comes out as it went in."""

    def go_on(ids: Sequence[int]) -> list[int]:
        parts = [part for part in module.modules() if part.training]
        first = 1 if module.config.is_encoder_decoder else len(ids)
        most = GENERATED if limit is None else min(GENERATED, limit - first)
        try:
            module.eval()  # type: ignore[no-untyped-call]
            with torch.inference_mode(False), torch.no_grad():
                given = torch.tensor([list(ids)], device=device_of(module.get_input_embeddings()))
                found = _generate(module, given, most)
        finally:
            for part in parts:
                part.training = True
        return [int(each) for each in found[0, first:]]

    return go_on


def _generate(module: PreTrainedModel, given: torch.Tensor, most: int) -> torch.Tensor:
    """(1, ...) ids, whatever the model's own settings of sampling say.

    Raises:
        ModelError: the model can't.
    """
    own: Any = module.generation_config
    asked = {"do_sample": False, "num_beams": 1, "num_return_sequences": 1, "return_dict_in_generate": False}
    # One row is never padded; without an id for that, transformers says that it takes another one.
    pad = 0 if own is None or own.pad_token_id is None else own.pad_token_id
    try:
        found: torch.Tensor = module.generate(  # type: ignore[operator]
            given, attention_mask=torch.ones_like(given), max_new_tokens=most, pad_token_id=pad, **asked
        )
    except Exception as error:  # models bring code of their own to this
        raise ModelError(
            f"A text was to be generated by {type(module).__name__}, since none was given; that failed "
            f"({' '.join(str(error).split())[:200].rstrip('.')}). Give one (as response, or target)."
        ) from error
    return found
