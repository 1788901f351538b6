"""The classifier of the attention debate: an encoder, attention over its states, and a linear output.

Source: Jain & Wallace 2019, "Attention is not Explanation", with their two kinds of attention (additive, called
tanh, and scaled dot product with a learned query) and their three encoders. For a text x_1..x_T between <sos> and
<eos>:

    h_t = encoder(embedding(x))_t     a_t = softmax_t(score(h_t))     logits = W (sum_t a_t h_t) + b

The softmax is over the words of the text: <sos>, <eos> and padding get no attention. A text without words has
nothing to attend to, so there attention falls on <sos> and <eos>.

Departures from the paper: a logit for each label and a softmax where the paper has one logit and a sigmoid (the
same family of functions); sizes are free; single texts only, no pairs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from saliently.errors import ModelError

MODEL_TYPE = "saliently-attention"
SPECIAL_WORDS = ("<pad>", "<unk>", "<sos>", "<eos>")
PAD = SPECIAL_WORDS.index("<pad>")
KERNELS = (1, 3, 5, 7)


@dataclass(frozen=True)
class AttentionConfig:
    """The shape of an `AttentionClassifier`.

    Attributes:
        vocab_size: rows of the embedding; row 0 is padding.
        n_labels: number of logits.
        embedding_size: width of a word's embedding.
        hidden_size: width of a state; for `lstm` the width in each of two directions; for `cnn` a multiple of 4.
        encoder: `lstm` (bidirectional, one layer), `average` (each word by itself), `cnn` (kernels of 1, 3, 5, 7).
        attention: `tanh` (additive) or `dot` (scaled dot product with a learned query).
    """

    vocab_size: int
    n_labels: int
    embedding_size: int
    hidden_size: int
    encoder: Literal["lstm", "average", "cnn"] = "lstm"
    attention: Literal["tanh", "dot"] = "tanh"

    @property
    def state_size(self) -> int:
        """Width H of what attention reads."""
        return 2 * self.hidden_size if self.encoder == "lstm" else self.hidden_size


class LstmEncoder(nn.Module):
    """h_t = [forward state; backward state]; packing starts each direction at a text's own end, not in the padding."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(config.embedding_size, config.hidden_size, batch_first=True, bidirectional=True)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Embeddings (B, T, E) and mask (B, T) to states (B, T, 2 * hidden)."""
        packed = pack_padded_sequence(embedded, mask.sum(1).cpu(), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=embedded.shape[1])
        return states


class AverageEncoder(nn.Module):
    """h_t = tanh(W e_t + b): no word knows its neighbours."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.projection = nn.Linear(config.embedding_size, config.hidden_size)

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Embeddings (B, T, E) and mask (B, T) to states (B, T, hidden)."""
        return torch.tanh(self.projection(embedded))


class CnnEncoder(nn.Module):
    """h_t = ReLU of convolutions around t, a quarter of the filters for each kernel."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        filters = config.hidden_size // len(KERNELS)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(config.embedding_size, filters, kernel, padding=kernel // 2) for kernel in KERNELS
        )

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Embeddings (B, T, E) and mask (B, T) to states (B, T, hidden)."""
        # Zeros after the last word are what the convolution sees when there is no padding at all.
        channels = (embedded * mask.unsqueeze(-1).to(embedded.dtype)).transpose(1, 2)
        return torch.cat([torch.relu(layer(channels)) for layer in self.convolutions], 1).transpose(1, 2)


class TanhAttention(nn.Module):
    """score(h) = v . tanh(W h + b), with W from H to H/2."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.projection = nn.Linear(config.state_size, config.state_size // 2)
        self.query = nn.Linear(config.state_size // 2, 1, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """States (B, T, H) to scores (B, T)."""
        scores: Tensor = self.query(torch.tanh(self.projection(states)))
        return scores.squeeze(-1)


class DotAttention(nn.Module):
    """score(h) = w . h / sqrt(H)."""

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        self.query = nn.Linear(config.state_size, 1, bias=False)

    def forward(self, states: Tensor) -> Tensor:
        """States (B, T, H) to scores (B, T)."""
        scores: Tensor = self.query(states)
        return scores.squeeze(-1) / math.sqrt(states.shape[-1])


class AttentionClassifier(nn.Module):
    """Encoder, attention, output. `forward` is `decide(states, weigh(states, mask))` on `states = encode(ids, mask)`.

    The three steps are public because the debate needs them apart: with the states fixed it permutes the weights,
    cuts their gradient, or looks for other weights that give the same answer.
    """

    def __init__(self, config: AttentionConfig) -> None:
        super().__init__()
        encoders = {"lstm": LstmEncoder, "average": AverageEncoder, "cnn": CnnEncoder}
        attentions = {"tanh": TanhAttention, "dot": DotAttention}
        if config.encoder not in encoders or config.attention not in attentions:
            raise ModelError(
                f"No encoder {config.encoder!r} with attention {config.attention!r}: "
                f"choose from {', '.join(encoders)} and {', '.join(attentions)}."
            )
        if config.encoder == "cnn" and config.hidden_size % len(KERNELS):
            raise ModelError(f"A cnn needs a hidden_size that {len(KERNELS)} divides, not {config.hidden_size}.")
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size, padding_idx=PAD)
        self.encoder = encoders[config.encoder](config)
        self.attention = attentions[config.attention](config)
        self.output = nn.Linear(config.state_size, config.n_labels)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids (B, T), padded on the right, and mask (B, T), 1 at real positions, to logits (B, n_labels)."""
        states = self.encode(ids, mask)
        return self.decide(states, self.weigh(states, mask))

    def attend(self, ids: Tensor, mask: Tensor) -> Tensor:
        """The attention weights (B, T) that `forward` uses; a row sums to 1."""
        return self.weigh(self.encode(ids, mask), mask)

    def encode(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and mask (B, T) to states (B, T, H)."""
        states: Tensor = self.encoder(self.embedding(ids), mask)
        return states

    def weigh(self, states: Tensor, mask: Tensor) -> Tensor:
        """States (B, T, H) and mask (B, T) to attention weights (B, T)."""
        scores: Tensor = self.attention(states)
        return scores.masked_fill(~attended(mask), -math.inf).softmax(-1)

    def decide(self, states: Tensor, weights: Tensor) -> Tensor:
        """States (B, T, H) and weights (B, T) to logits (B, n_labels)."""
        logits: Tensor = self.output((weights.unsqueeze(-1) * states).sum(1))
        return logits


def attended(mask: Tensor) -> Tensor:
    """Where attention may fall (B, T), boolean: the words between <sos> and <eos>; without any, the real positions."""
    real = mask.bool()
    at = torch.arange(mask.shape[1], device=mask.device)
    words = real & (at > 0) & (at < real.sum(1, keepdim=True) - 1)
    return torch.where(words.any(1, keepdim=True), words, real)


def word_tokenizer(words: Sequence[str]) -> Tokenizer:
    """A tokenizer for `words` (lower-cased): splits at spaces and punctuation, puts <sos> and <eos> around a text."""
    vocabulary = {word: number for number, word in enumerate((*SPECIAL_WORDS, *words))}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.add_special_tokens(list(SPECIAL_WORDS))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    ends = [(word, vocabulary[word]) for word in ("<sos>", "<eos>")]
    tokenizer.post_processor = TemplateProcessing(single="<sos> $A <eos>", special_tokens=ends)
    return tokenizer


def save(model: AttentionClassifier, tokenizer: Tokenizer, folder: str | Path, labels: Sequence[str]) -> None:
    """Write config.json, model.safetensors (float16) and tokenizer.json into `folder`, which is made if need be."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    names = {str(number): label for number, label in enumerate(labels)}
    config = {"model_type": MODEL_TYPE, **asdict(model.config), "id2label": names}
    (place / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    halves = {name: value.to("cpu", torch.float16).contiguous() for name, value in model.state_dict().items()}
    save_file(halves, place / "model.safetensors")
    tokenizer.save(str(place / "tokenizer.json"), pretty=False)


def load_folder(folder: str | Path) -> tuple[AttentionClassifier, Tokenizer, tuple[str, ...]]:
    """Read what `save` wrote: the model in float32 and eval mode, its tokenizer, its labels in order of the logits."""
    place = Path(folder)
    files = [place / name for name in ("config.json", "model.safetensors", "tokenizer.json")]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(f"{place} holds no attention classifier: {', '.join(missing)} not found.")
    config = json.loads(files[0].read_text(encoding="utf-8"))
    if config.pop("model_type", None) != MODEL_TYPE:
        raise ModelError(f'{files[0]} does not say "model_type": "{MODEL_TYPE}": load it as another kind of model.')
    names = config.pop("id2label")
    model = AttentionClassifier(AttentionConfig(**config))
    model.load_state_dict({name: value.float() for name, value in load_file(files[1]).items()})
    return model.eval(), Tokenizer.from_file(str(files[2])), tuple(names[str(at)] for at in range(config["n_labels"]))
