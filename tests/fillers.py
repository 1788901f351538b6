"""Tiny masked language models, as modules and in folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from tests import tiny


def module(
    tokenizer: PreTrainedTokenizerFast | None = None, dtype: torch.dtype = torch.float32, **settings: Any
) -> BertForMaskedLM:
    """A masked language model that expects several words in each place."""
    reads = tokenizer or tiny.wordpiece()
    config = BertConfig(vocab_size=len(reads), pad_token_id=reads.pad_token_id, **{**tiny.SIZE, **settings})
    return tiny.seeded(lambda: BertForMaskedLM(config), dtype, 4.0)


def sure(word: int, dtype: torch.dtype = torch.float32) -> BertForMaskedLM:
    """One that expects nothing but one word, wherever it is asked."""
    found = module(dtype=dtype)
    with torch.no_grad():
        found.cls.predictions.decoder.bias[word] += 1e4
    return found


def saved(folder: Path, found: BertForMaskedLM, tokenizer: PreTrainedTokenizerFast | None = None) -> str:
    """The name that it can be loaded by."""
    found.save_pretrained(folder)
    (tokenizer or tiny.wordpiece()).save_pretrained(folder)
    return str(folder)
