"""Inseq, called as its documentation shows: one forced response, a step for each of its tokens."""

from __future__ import annotations

import logging

import inseq
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class InputXGradient:
    """Gradient x input of each response token's log-probability, at the prompt and what came before of the response."""

    def __init__(self, module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        logging.getLogger("inseq").setLevel(logging.ERROR)
        self.model = inseq.load_model(module, "input_x_gradient", tokenizer=tokenizer, device="cpu")

    def __call__(self, prompt: str, response: str) -> Tensor:
        """(T, R) one column a response token; NaN or 0 from that token on."""
        # A decoder always gets its prefix attributed; `attribute_target` is for encoder-decoders.
        found = self.model.attribute(
            prompt,
            f"{prompt} {response}",
            attributed_fn="probability",
            logprob=True,
            show_progress=False,
            pretty_progress=False,
        )
        scores: Tensor = found.sequence_attributions[0].target_attributions
        return scores.sum(-1) if scores.dim() == 3 else scores


def distance(theirs: Tensor, ours: Tensor) -> float:
    """How far their scores are from ours (R, T), norm over norm."""
    scores = torch.nan_to_num(theirs).T.double()
    return float((scores[:, : ours.shape[1]] - ours[:, : scores.shape[1]]).norm() / ours.norm())
