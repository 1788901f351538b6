"""A start for a small BERT that has little to read: heads of its lower layers begin by looking at a neighbour.

A BERT with random weights must find out from examples which positions are next to each other, and until then it is a
bag of words: "not" does nothing to "good". Here positions begin as sines, and the query and key weights of a head as
the rotation that makes the sines of position t match those of position t + offset (the identity behind the sinusoids
of Vaswani et al. 2017, section 3.5). All of it is trained afterwards.
"""

import math

import torch
from torch import Tensor
from transformers import BertForSequenceClassification

OFFSETS = (-1, 1, -2, 2)  # of the heads
WORD_SCALE, POSITION_SCALE, VALUE_SCALE = 0.1, 0.2, 0.06
SHARPNESS = 0.9


def begin(model: BertForSequenceClassification) -> None:
    """Set the embeddings and the attention of all layers but the last; the last gathers the verdict."""
    size = model.config.hidden_size // model.config.num_attention_heads
    waves = _waves(size // 2)
    embeddings = model.bert.embeddings
    with torch.no_grad():
        words, positions = embeddings.word_embeddings.weight, embeddings.position_embeddings.weight
        words.normal_(0, WORD_SCALE)[:, -size:] = 0  # the last dimensions begin as positions alone
        words[model.config.pad_token_id] = 0
        positions.zero_()
        angles = torch.arange(len(positions))[:, None] * waves
        positions[:, -size:] = POSITION_SCALE * torch.cat([angles.sin(), angles.cos()], 1)
        for layer in model.bert.encoder.layer[:-1]:
            attention = layer.attention
            attention.self.value.weight.normal_(0, VALUE_SCALE)
            attention.output.dense.weight.normal_(0, VALUE_SCALE)
            for head, offset in enumerate(OFFSETS):
                rows = slice(head * size, (head + 1) * size)
                attention.self.query.weight[rows, -size:] += SHARPNESS * torch.eye(size)
                attention.self.key.weight[rows, -size:] += SHARPNESS * _turned(waves, -offset)


def _waves(count: int) -> Tensor:
    """Frequencies (count,) whose cosines add up at distance 0 and, being uneven, at no other."""
    step = torch.arange(count)
    return math.pi * (step + 0.25 + 0.5 * (step * math.sqrt(2)).frac()) / count


def _turned(waves: Tensor, offset: int) -> Tensor:
    """The matrix (2F, 2F) from the sines and cosines of position t to those of position t + offset."""
    cosine, sine = torch.diag((waves * offset).cos()), torch.diag((waves * offset).sin())
    return torch.cat([torch.cat([cosine, sine], 1), torch.cat([-sine, cosine], 1)])
