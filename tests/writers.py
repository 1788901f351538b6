"""Tiny language models, and what a plain forward pass of theirs says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from tokenizers import Tokenizer, processors
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import saliently
from saliently.models.base import Model
from tests import tiny


def gpt2_module(tokenizer: PreTrainedTokenizerFast, **settings: Any) -> GPT2LMHeadModel:
    known = {"bos_token_id": None, "eos_token_id": None, "n_positions": tiny.LONGEST, **settings}
    config = GPT2Config(vocab_size=len(tokenizer), pad_token_id=0, n_embd=32, n_layer=2, n_head=4, **known)
    return tiny.seeded(lambda: GPT2LMHeadModel(config), torch.float32, 8.0)


@cache
def sentencepiece() -> PreTrainedTokenizerFast:
    """As Llama's: a marker for each space, <s> text."""
    backend = Tokenizer.from_str(tiny.unigram().backend_tokenizer.to_str())
    backend.add_special_tokens(["<s>"])
    start = [("<s>", backend.token_to_id("<s>"))]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=start)
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


@cache
def gpt2() -> Model:
    return saliently.wrap(gpt2_module(tiny.byte_level()), tiny.byte_level())


@cache
def llama() -> Model:
    tokenizer = sentencepiece()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=None,
        num_key_value_heads=2,
        **tiny.SIZE,
    )
    return saliently.wrap(tiny.seeded(lambda: LlamaForCausalLM(config), torch.float32, 8.0), tokenizer)


WRITERS: dict[str, Callable[[], Model]] = {"gpt2": gpt2, "llama": llama}


def chances(model: Model, ids: Sequence[int]) -> torch.Tensor:
    """(T, V) log-probabilities of what comes next, by the documentation of transformers: a plain forward pass."""
    with torch.no_grad():
        logits: torch.Tensor = model.module(input_ids=torch.tensor([list(ids)])).logits[0]
    return logits.double().log_softmax(-1)
