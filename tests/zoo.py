"""Tiny models of many architectures: seeded, made in memory of transformers' own configurations, nothing downloaded.

`ZOO` holds the architectures that saliently is built against, `OTHERS` families that it was not. Each name gives a
function from a data type to a wrapped model, made once. `eager_attentions` tells what a model attends to, as
transformers' own eager implementation computes it, on a copy.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers import MambaConfig, MambaModel, PreTrainedTokenizerFast

import saliently
from saliently.models.base import Model
from saliently.models.batch import Batch
from tests import tiny
from tests.tiny import LABELS, LONGEST, SIZE, byte_level, seeded, unigram, wordpiece

Maker = Callable[[torch.dtype], Model]

WINDOW = 4
"""Places that a sliding window spans, so that a text of a dozen tokens is longer."""
GROUPED: dict[str, Any] = {**SIZE, "num_key_value_heads": 2}
FOUR: dict[str, Any] = {**GROUPED, "num_hidden_layers": 4, "sliding_window": WINDOW, "head_dim": 8}
"""Layers enough that the last of a dozen tokens knows the first, though each sees only a window."""
WORDS = 100
"""Ids of `tiny.read_words`."""


def _hugging(head: str, tokenizer: Callable[[], PreTrainedTokenizerFast], grow: float = 8.0, **settings: Any) -> Maker:
    """The maker of the transformers classifier of that name."""

    @cache
    def make(dtype: torch.dtype = torch.float32) -> Model:
        kind, kit = getattr(transformers, f"{head}ForSequenceClassification"), tokenizer()
        ends = {"bos_token_id": None, "eos_token_id": kit.eos_token_id}
        config = kind.config_class(**{**tiny._settings(kit), **ends, **settings})
        module = seeded(lambda: kind(config), dtype, grow)
        if "num_experts_per_tok" in settings and dtype == torch.float64:
            module.set_experts_implementation("eager")  # torch's grouped product, the default, knows no doubles
        return saliently.wrap(module, kit)

    return make


def _plain(make: Callable[[], nn.Module], embedding: str, grow: float = 3.0) -> Maker:
    """The maker of a module of our own that reads words between spaces."""

    @cache
    def wrapped(dtype: torch.dtype = torch.float32) -> Model:
        blanks = {"mask": 1, "pad": 0}
        module = seeded(make, dtype, grow)
        return saliently.wrap(module, tiny.read_words, embedding=embedding, labels=LABELS, blank_ids=blanks)

    return wrapped


class MambaClassifier(nn.Module):
    """A state space model, which has no head in transformers; reads the last real token."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        self.backbone = MambaModel(config)
        self.head = nn.Linear(config.hidden_size, len(LABELS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        states = self.backbone(ids, attention_mask=mask, use_cache=False).last_hidden_state
        last: Tensor = self.head(states[torch.arange(len(ids), device=ids.device), mask.sum(1) - 1])
        return last


@cache
def mamba(dtype: torch.dtype = torch.float32) -> Model:
    """State space model without attention."""
    tokenizer = byte_level()
    config = MambaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        state_size=4,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=None,
        residual_in_fp32=False,
    )

    def read(text: str) -> tuple[list[int], list[tuple[int, int] | None]]:
        found = tokenizer.backend_tokenizer.encode(text)
        return found.ids, list(found.offsets)

    module = seeded(lambda: MambaClassifier(config), dtype, 2.0)
    blanks = {"pad": tokenizer.pad_token_id}
    return saliently.wrap(module, read, embedding="backbone.embeddings", labels=LABELS, blank_ids=blanks)


class Lstm(nn.Module):
    """Bidirectional, packed; the largest of each state over the real tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 32)
        self.lstm = nn.LSTM(32, 16, num_layers=2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, len(LABELS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(ids), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1])
        largest: Tensor = self.head(states.masked_fill(mask[..., None] == 0, -math.inf).amax(1))
        return largest


class Gru(nn.Module):
    """Bidirectional, packed; the last state of each direction."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 32)
        self.gru = nn.GRU(32, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, len(LABELS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        packed = pack_padded_sequence(self.embed(ids), mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        last: Tensor = self.head(torch.cat([*self.gru(packed)[1]], -1))
        return last


class Stack(nn.Module):
    """torch's own encoder; the mean over real tokens."""

    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        self.embed = nn.Embedding(WORDS, 32)
        self.places = nn.Embedding(LONGEST, 32)
        layer = nn.TransformerEncoderLayer(32, 4, 48, batch_first=True, norm_first=norm_first)
        # Nested tensors warn of themselves, and can't be used with norm_first.
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, len(LABELS))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        x = self.embed(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        states = self.encoder(x, src_key_padding_mask=mask == 0)
        real = mask[..., None].to(states.dtype)
        mean: Tensor = self.head((states * real).sum(1) / real.sum(1))
        return mean


ENCODERS: dict[str, Maker] = {
    "bert": tiny.bert,
    # Positions are counted from behind the padding id.
    "roberta": _hugging("Roberta", wordpiece, **{**SIZE, "max_position_embeddings": LONGEST + 1}),
    "distilbert": _hugging(
        "DistilBert", wordpiece, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=LONGEST
    ),
    "albert": _hugging("Albert", wordpiece, **SIZE, embedding_size=16),
    "electra": _hugging("Electra", wordpiece, **SIZE, embedding_size=16),
    "deberta-v2": _hugging(
        "DebertaV2",
        wordpiece,
        **SIZE,
        relative_attention=True,
        pos_att_type=["p2c", "c2p"],
        position_buckets=8,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        position_biased_input=False,
    ),
    "mpnet": _hugging("MPNet", wordpiece, **{**SIZE, "max_position_embeddings": LONGEST + 1}),
    "modernbert": _hugging(
        "ModernBert",
        wordpiece,
        **{**SIZE, "num_hidden_layers": 4},
        local_attention=WINDOW,
        cls_token_id=2,
        sep_token_id=3,
    ),
    "xlnet": _hugging("XLNet", unigram, 12.0, d_model=32, n_layer=2, n_head=4, d_inner=48),
}

DECODERS: dict[str, Maker] = {
    "gpt2": tiny.gpt2,
    "gpt-neox": _hugging("GPTNeoX", byte_level, **SIZE),
    "opt": _hugging(
        "OPT",
        byte_level,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=48,
        max_position_embeddings=LONGEST,
    ),
    "llama": tiny.llama,
    "mistral": _hugging("Mistral", byte_level, **{**FOUR, "sliding_window": 6}),
    "qwen2": _hugging("Qwen2", byte_level, **GROUPED),
    "qwen3": _hugging("Qwen3", byte_level, **GROUPED, head_dim=8),
    "gemma2": _hugging("Gemma2", unigram, **FOUR, query_pre_attn_scalar=8, attn_logit_softcapping=2.0),
    "gemma3": _hugging(
        "Gemma3Text",
        unigram,
        **FOUR,
        query_pre_attn_scalar=8,
        layer_types=["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"],
    ),
    "phi3": _hugging("Phi3", unigram, **GROUPED),
    "mixtral": _hugging("Mixtral", unigram, **GROUPED, num_local_experts=4, num_experts_per_tok=2),
    "qwen3-moe": _hugging(
        "Qwen3Moe",
        byte_level,
        **GROUPED,
        head_dim=8,
        moe_intermediate_size=24,
        num_experts=4,
        num_experts_per_tok=2,
        norm_topk_prob=True,
    ),
}

BOTH: dict[str, Maker] = {
    "t5": tiny.t5,
    "bart": _hugging(
        "Bart",
        unigram,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=LONGEST,
        decoder_start_token_id=1,
    ),
}

TORCH: dict[str, Maker] = {
    "transformer-encoder": _plain(lambda: Stack(False), "embed", 2.0),
    "transformer-encoder-norm-first": _plain(lambda: Stack(True), "embed", 2.0),
}

RECURRENT: dict[str, Maker] = {
    "mamba": mamba,
    "lstm": _plain(Lstm, "embed"),
    "gru": _plain(Gru, "embed"),
    "bilstm": tiny.bilstm,
}

ZOO: dict[str, Maker] = {**ENCODERS, **DECODERS, **BOTH, **TORCH, **RECURRENT}

OTHERS: dict[str, Maker] = {
    "bloom": _hugging("Bloom", byte_level, hidden_size=32, n_layer=2, n_head=4),
    "stablelm": _hugging("StableLm", byte_level, **GROUPED, use_parallel_residual=True, qk_layernorm=True),
    # Pools its queries between blocks, so that Q is less than K there.
    "funnel": _hugging("Funnel", wordpiece, 2.0, block_sizes=[2, 2], d_model=32, n_head=4, d_head=8, d_inner=48),
    "mobilebert": _hugging("MobileBert", wordpiece, **SIZE, embedding_size=16, intra_bottleneck_size=16),
    "phi": _hugging("Phi", byte_level, **GROUPED),
}

HAS_EAGER: frozenset[str] = frozenset((ZOO | OTHERS).keys() - RECURRENT.keys())
"""Names of the models that `eager_attentions` knows."""


def eager_run(model: Model, ids: Tensor, mask: Tensor, kinds: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    """Logits and attention weights (R, H, Q, K) of a copy that attends eagerly, called as the model calls itself."""
    batch = Batch.of(ids, kinds, mask, "right" if bool(mask[:, 0].all()) else "left")
    if isinstance(model.module, Stack):
        return _torch_run(copy.deepcopy(model.module), batch)
    forward: Any = copy.deepcopy(model.forward)
    forward.module.set_attn_implementation("eager")
    found: list[Any] = []
    # What asks for attentions leaves hooks behind, though here on the copy alone.
    forward.module.register_forward_pre_hook(
        lambda module, given, named: (given, {**named, "output_attentions": True}), with_kwargs=True
    )
    forward.module.register_forward_hook(lambda module, given, output: found.append(output))
    with torch.no_grad():
        logits = forward(batch)
    return logits, _in_order(found[0])


def eager_attentions(model: Model, ids: Tensor, mask: Tensor, kinds: Tensor | None) -> list[Tensor]:
    """Attention weights (R, H, Q, K) of each attention in the order in which they run; the model stays as it is."""
    return eager_run(model, ids, mask, kinds)[1]


def _in_order(output: Any) -> list[Tensor]:
    """The encoder's, then each decoder layer's own and its view of the encoder."""
    if "encoder_attentions" not in output:
        return list(output.attentions)
    decoder = zip(output.decoder_attentions, output.cross_attentions, strict=True)
    return [*output.encoder_attentions, *(weights for layer in decoder for weights in layer)]


def _torch_run(module: Stack, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """torch's own attention by hand, from what each layer is given."""
    found: list[Tensor] = []

    def attend(part: nn.Module, given: tuple[Tensor, ...], named: dict[str, Any]) -> None:
        assert isinstance(part, nn.MultiheadAttention)
        queries, keys, _ = (
            F.linear(given[0], weight, bias).unflatten(-1, (part.num_heads, -1)).transpose(1, 2)
            for weight, bias in zip(part.in_proj_weight.chunk(3), part.in_proj_bias.chunk(3), strict=True)
        )
        scores = queries @ keys.transpose(-1, -2) / math.sqrt(part.head_dim)
        found.append(F.softmax(scores.masked_fill(batch.mask[:, None, None] == 0, -math.inf), -1))

    for layer in module.encoder.layers:
        layer.self_attn.register_forward_pre_hook(attend, with_kwargs=True)
    with torch.no_grad():
        return module(batch.ids, batch.mask), found
