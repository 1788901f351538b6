# ruff: noqa: RUF001 - letters of other scripts are meant
"""Tiny models and tokenizers for tests: seeded, made in memory, nothing downloaded.

Weights are large for their size, so that different texts get clearly different logits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar
from unicodedata import normalize
from zlib import crc32

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors, trainers
from tokenizers import models as kinds
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForSequenceClassification,
)

import saliently
from saliently.models.base import Model
from saliently.models.bilstm import AttentionClassifier, AttentionConfig, word_tokenizer

M = TypeVar("M", bound=nn.Module)

LABELS = ("sad", "fine", "glad")
LONGEST = 256
"""Most tokens that `bert`, `gpt2` and `llama` take."""
SIZE: dict[str, int] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": LONGEST,
}

CORPUS = (
    "A gorgeous, witty, seductive movie.",
    "The film is bad; it isn't even funny.",
    "I don't think she'd like this, but who knows?",
    "An unforgettable performance in an otherwise forgettable film!",
    "It's so bad that it's good -- 3.5% of viewers agree.",
    "Not a single moment felt true, and the plot was thin.",
    "The acting, the music and the light are wonderful.",
    "A dull, lifeless and predictable story about nothing.",
    "You'll laugh, you'll cry, you'll leave after 20 minutes.",
    "Never have I seen a more charming naïve café scene.",
    "Überraschend schön und trotzdem viel zu lang.",
    "Le film est très beau, mais l'histoire manque d'âme.",
    "Фильм очень хороший, но слишком длинный.",
    "Η ταινία ήταν υπέροχη και αστεία.",
    "الفيلم جميل جدا ولكنه طويل",
    "הסרט היה מצוין אבל ארוך מדי",
    "यह फिल्म बहुत अच्छी है",
    "หนังเรื่องนี้สนุกมาก",
    "この映画はとても面白かったです。",
    "这部电影非常好看，但是太长了。",
    "이 영화는 정말 재미있었어요.",
    "Loved it 😀😀 👍 ❤️",
    "My family 👩‍👩‍👧‍👦 cried 😭 in 🇩🇪 and 🇫🇷.",
    "-lrb- too long -rrb- and `` quoted '' words",
    "http://example.org/a?b=c#d is where I read it",
)


def _pieces() -> tuple[list[str], list[str]]:
    """Letters of the corpus, and some words and their beginnings; not trained, since training breaks ties by luck."""
    words = {word for text in CORPUS for word in re.findall(r"\w+|[^\w\s]", normalize("NFKC", text))}
    longer = {word for word in words if len(word) > 1}
    return sorted(set("".join(words))), sorted({*sorted(longer)[::2], *(word[:3] for word in longer)})


@cache
def wordpiece() -> PreTrainedTokenizerFast:
    """As BERT's: lower case, no accents, [CLS] text [SEP]; words with an unknown letter are [UNK]."""
    specials, normalizer = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], normalizers.BertNormalizer()
    letters, words = ([normalizer.normalize_str(piece) for piece in pieces] for pieces in _pieces())
    known = dict.fromkeys([*specials, *letters, *(f"##{letter}" for letter in letters), *words, "##ing", "##er"])
    tokenizer = Tokenizer(kinds.WordPiece({piece: i for i, piece in enumerate(known)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(specials)
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.decoder = decoders.WordPiece()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
    )


@cache
def byte_level() -> PreTrainedTokenizerFast:
    """As GPT-2's: pieces of bytes, so that a letter may be several tokens; nothing is added around a text."""
    tokenizer = Tokenizer(kinds.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<pad>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>")


@cache
def unigram() -> PreTrainedTokenizerFast:
    """As T5's: NFKC, a marker for each space, text </s>; unknown letters are <unk>."""
    letters, words = _pieces()
    known = [(name, 0.0) for name in ("<pad>", "</s>", "<unk>", "\u2581")]
    known += [(letter, -9.0) for letter in letters] + [(f"\u2581{word}", -4.0 - 0.01 * len(word)) for word in words]
    tokenizer = Tokenizer(kinds.Unigram(known, unk_id=2))
    tokenizer.add_special_tokens(["<pad>", "</s>", "<unk>"])
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", tokenizer.token_to_id("</s>"))]
    )
    tokenizer.decoder = decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


TOKENIZERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "wordpiece": wordpiece,
    "byte-level": byte_level,
    "unigram": unigram,
}


def seeded(make: Callable[[], M], dtype: torch.dtype, grow: float = 1.0) -> M:
    """The module that `make` makes, always the same one, its matrices `grow` times as large."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = make()
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.mul_(grow)
    return module.to(dtype).eval()


def _settings(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "id2label": dict(enumerate(LABELS)),
        "label2id": {label: i for i, label in enumerate(LABELS)},
    }


def bert_module(dtype: torch.dtype = torch.float32) -> BertForSequenceClassification:
    """A BERT classifier."""
    config = BertConfig(**_settings(wordpiece()), **SIZE)
    return seeded(lambda: BertForSequenceClassification(config), dtype, 8.0)


@cache
def bert(dtype: torch.dtype = torch.float32) -> Model:
    """Encoder; padded on the right."""
    return saliently.wrap(bert_module(dtype), wordpiece())


def gpt2_module(dtype: torch.dtype = torch.float32) -> GPT2ForSequenceClassification:
    """A GPT-2 classifier."""
    config = GPT2Config(
        **_settings(byte_level()),
        bos_token_id=None,
        eos_token_id=None,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=LONGEST,
    )
    return seeded(lambda: GPT2ForSequenceClassification(config), dtype, 8.0)


@cache
def gpt2(dtype: torch.dtype = torch.float32) -> Model:
    """Decoder with learned positions; reads the last token; no special tokens."""
    return saliently.wrap(gpt2_module(dtype), byte_level())


@cache
def llama(dtype: torch.dtype = torch.float32) -> Model:
    """Decoder with rotary positions; reads the last token."""
    config = LlamaConfig(**_settings(unigram()), **SIZE, num_key_value_heads=2)
    module = seeded(lambda: LlamaForSequenceClassification(config), dtype, 8.0)
    return saliently.wrap(module, unigram())


@cache
def t5(dtype: torch.dtype = torch.float32) -> Model:
    """Encoder-decoder, which embeds the text twice; reads the state of </s>."""
    tokenizer = unigram()
    config = T5Config(
        **_settings(tokenizer),
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        dropout_rate=0.0,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
    )
    return saliently.wrap(seeded(lambda: T5ForSequenceClassification(config), dtype, 2.0), tokenizer)


@cache
def bilstm(dtype: torch.dtype = torch.float32) -> Model:
    """Recurrent, with attention; knows whole words only."""
    words = sorted({word for text in CORPUS for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    tokenizer = word_tokenizer(words)
    config = AttentionConfig(tokenizer.get_vocab_size(), len(LABELS), 16, 16)

    def read(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
        found = tokenizer.encode(text)
        marked = zip(found.special_tokens_mask, found.offsets, strict=True)
        return found.ids, [None if special else place for special, place in marked]

    return saliently.wrap(
        seeded(lambda: AttentionClassifier(config), dtype, 3.0),
        read,
        embedding="embedding",
        labels=LABELS,
        blank_ids={"pad": tokenizer.token_to_id("<pad>")},
    )


class LinearBag(nn.Module):
    """Logits are the sum of what each word adds, whatever stands next to it; any saliency method knows the answer."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 16)
        self.weight = nn.Parameter(torch.randn(16, len(LABELS)))
        self.bias = nn.Parameter(torch.randn(len(LABELS)))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        summed = (self.embed(ids) * mask[..., None].to(self.weight.dtype)).sum(1)
        return summed @ self.weight + self.bias


def read_words(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
    """Words between spaces; ids 0 and 1 are kept for padding and mask, and words that share a number share an id."""
    found = list(re.finditer(r"\S+", text))
    return [2 + crc32(word.group().encode()) % 98 for word in found], [word.span() for word in found]


@cache
def linear_bag(dtype: torch.dtype = torch.float32) -> Model:
    """A linear bag of words."""
    module = seeded(lambda: LinearBag(100), dtype)
    return saliently.wrap(module, read_words, embedding="embed", labels=LABELS, blank_ids={"mask": 1, "pad": 0})


def models(dtype: torch.dtype = torch.float32) -> dict[str, Callable[[], Model]]:
    """Every kind of model by name, not made yet."""
    makers = {"bert": bert, "gpt2": gpt2, "llama": llama, "t5": t5, "bilstm": bilstm, "linear_bag": linear_bag}
    return {name: (lambda make=make: make(dtype)) for name, make in makers.items()}


class Quadratic(nn.Module):
    """The first logit is a quadratic form in the sum of the word vectors, so that its gradient is linear in them."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 16)
        self.form = nn.Parameter(torch.randn(16, 16))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        total = (self.embed(ids) * mask[..., None].to(self.form.dtype)).sum(1)
        return torch.einsum("rd,de,re->r", total, self.form, total)[:, None] * torch.tensor([1.0, 0.0, -1.0])


@cache
def quadratic(dtype: torch.dtype = torch.float64) -> Model:
    """A model without a third derivative."""
    return saliently.wrap(seeded(Quadratic, dtype), read_words, embedding="embed", labels=LABELS)
