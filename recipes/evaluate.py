"""`python -m recipes.evaluate [folder ...]`: accuracy on SST-2 test of the shipped models, or of any folders.

Reads the files as they ship (float16) and computes in float32, as the package does. Writes nothing.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from recipes import card, sst
from recipes.teacher import padded
from saliently.models.bilstm import MODEL_TYPE, load_folder


def reader(folder: Path) -> tuple[Callable[[list[str]], list[list[int]]], Callable[[Tensor, Tensor], Tensor]]:
    """From texts to ids, and from ids and mask to logits, for a folder of either kind."""
    if json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"] == MODEL_TYPE:
        classifier, words, _ = load_folder(folder)
        return lambda texts: [found.ids for found in words.encode_batch(texts)], classifier
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype="float32").eval()
    to_ids = lambda texts: tokenizer(texts, truncation=True)["input_ids"]  # noqa: E731
    return to_ids, lambda ids, mask: model(ids, mask).logits


@torch.inference_mode()
def probabilities(folder: Path, texts: list[str]) -> Tensor:
    """What the model in `folder` says of each text (N, 2)."""
    to_ids, to_logits = reader(folder)
    rows = to_ids(texts)
    logits = [to_logits(*padded(rows[at : at + 64])) for at in range(0, len(rows), 64)]
    return torch.cat(logits).softmax(-1)


def right(folder: Path, pairs: list[tuple[str, int]]) -> int:
    """How many of the `(text, label)` pairs the model in `folder` gets right."""
    labels = torch.tensor([label for _, label in pairs])
    return int((probabilities(folder, [text for text, _ in pairs]).argmax(1) == labels).sum())


def main() -> None:
    """Print a line for each folder."""
    options = argparse.ArgumentParser(description=main.__doc__)
    shipped = [card.SHIPPED / name for name in card.NAMES]
    options.add_argument("folders", nargs="*", type=Path, default=shipped)
    options.add_argument("--split", default="test", choices=("dev", "test"))
    sst.data_argument(options)
    chosen = options.parse_args()
    pairs = sst.sst2(chosen.split, chosen.data)
    for folder in chosen.folders:
        found = right(folder, pairs)
        size = sum(file.stat().st_size for file in folder.iterdir())
        share = f"{found / len(pairs):.4f} ({found} of {len(pairs)} in SST-2 {chosen.split})"
        print(f"{folder.name}: {share}, {size:,} bytes")


if __name__ == "__main__":
    main()
