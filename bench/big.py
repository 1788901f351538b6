"""python -m bench.big [--device cuda] [--data FOLDER]: relevance and attention on a big decoder in bfloat16.

A Llama-like model with random weights: about 1B parameters and 2,048 tokens on a CUDA device, a small one and
256 tokens elsewhere. Prints time and memory against gradient x input, and exits 1 if a number is not finite. With the
data folder at hand, also how far relevance in bfloat16 is from float32 on the shared classifier.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

import saliently
from saliently.models.base import Model

RECIPES = ("gradient-x-input", "lrp(variant='attn')", "lrp(variant='cp')", "attention")
SIZES = {
    "cuda": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32},
    "cpu": {"hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 4, "num_attention_heads": 8},
}
ROUNDS = 3
TOKENS = {"cuda": 2048, "cpu": 256}
MEDIAN, NINETIETH = 2e-2, 5e-2
"""Most that relevance in bfloat16 may be off, norm over norm."""


def decoder(device: str) -> Model:
    """A classifier on a decoder with random weights, in bfloat16; words are w0, w1, ..."""
    words = {f"w{i}": i for i in range(32_000)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    config = LlamaConfig(
        **SIZES[device],
        vocab_size=len(words),
        num_key_value_heads=8,
        max_position_embeddings=4096,
        pad_token_id=0,
        num_labels=2,
    )
    torch.manual_seed(0)
    module = LlamaForSequenceClassification(config).to(device, torch.bfloat16).eval()
    return saliently.wrap(module, PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w0"))


def measure(model: Model, text: str, recipe: str) -> tuple[float, float, bool]:
    """Least seconds, peak megabytes over the weights (CUDA only), and are all scores finite? After one short text."""
    device = model.device
    saliently.explain(model, "w1 w2 w3", recipe)
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated() if device.type == "cuda" else 0
    times = []
    for _ in range(ROUNDS):
        start = perf_counter()
        found = saliently.explain(model, text, recipe)
        times.append(perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() - held if device.type == "cuda" else float("nan")
    return min(times), peak / 2**20, bool(np.isfinite(found.scores).all())


def distance(folder: Path, texts: list[str], recipe: str, device: str) -> tuple[float, float]:
    """Median and 90th percentile over texts of bfloat16 against float32, norm over norm, for the same class."""
    wide = saliently.load(folder, device=device)
    narrow = saliently.load(folder, dtype="bfloat16", device=device)
    far = []
    for text in texts:
        truth = saliently.explain(wide, text, recipe)
        rough = saliently.explain(narrow, text, recipe, truth.target.label)
        far.append(np.linalg.norm(rough.scores - truth.scores) / np.linalg.norm(truth.scores))
    return float(np.median(far)), float(np.percentile(far, 90))


def main() -> None:
    """Measure and print; exit 1 if something is not finite or too far off."""
    parser = argparse.ArgumentParser(prog="python -m bench.big", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("SALIENTLY_DATA", "../shared/data"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=sorted(SIZES))
    parser.add_argument("--texts", type=int, default=100)
    options = parser.parse_args()
    model, good = decoder(options.device), True
    text = " ".join(f"w{1 + i * 7919 % 31_999}" for i in range(TOKENS[options.device]))
    size = sum(weight.numel() for weight in model.module.parameters())
    table = Table("method", "seconds", "over gradient-x-input", "peak MB over the weights", "finite")
    base = measure(model, text, RECIPES[0])
    for recipe in RECIPES:
        seconds, peak, finite = measure(model, text, recipe)
        table.add_row(
            recipe, f"{seconds:.2f}", f"{seconds / base[0]:.2f}", "" if np.isnan(peak) else f"{peak:.0f}", str(finite)
        )
        good = good and finite
    console = Console(width=120)
    console.print(f"{size / 1e6:.0f}M parameters, {TOKENS[options.device]} tokens, bfloat16, {options.device}", table)
    folder = options.data.parent / "models" / "minilm-sst2"
    if folder.is_dir():
        rows = (options.data / "sst2_tsv" / "test.tsv").read_text(encoding="utf-8").splitlines()
        texts = [row.split("\t")[0] for row in rows[: options.texts]]
        far = Table("method", "median distance from float32", "bar", "90th percentile", "bar")
        for recipe in ("lrp(variant='cp')", "lrp(variant='attn')"):
            half, most = distance(folder, texts, recipe, options.device)
            far.add_row(recipe, f"{half:.2%}", f"<= {MEDIAN:.0%}", f"{most:.2%}", f"<= {NINETIETH:.0%}")
            good = good and half <= MEDIAN and most <= NINETIETH
        console.print(far)
    console.print("All is well." if good else "Something is not finite, or too far off.")
    sys.exit(not good)


if __name__ == "__main__":
    main()
