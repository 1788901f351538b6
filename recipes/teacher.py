"""What a larger fine-tuned BERT says of a corpus: its logits, and its state at each word. Cached."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerBase

LAYER = -2  # the states that the last layer reads: words in context, before they turn into a verdict
TOKENS_A_BATCH = 8192
MAX_LENGTH = 256


@dataclass(frozen=True, eq=False)
class Lesson:
    """Logits (N, 2); states (W, D) at the first piece of each word; text n has starts[n]:starts[n+1]."""

    logits: np.ndarray
    states: np.ndarray
    starts: np.ndarray


def lexicon(teacher: str) -> list[str]:
    """The whole words of three letters or more in the teacher's vocabulary."""
    vocabulary = AutoTokenizer.from_pretrained(teacher).get_vocab()
    return sorted(word for word in vocabulary if word.isascii() and word.isalpha() and len(word) > 2)


def starts_word(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """For each id of a WordPiece vocabulary (V,), whether it starts a word; [CLS], [SEP] and [PAD] don't."""
    outside = {tokenizer.cls_token, tokenizer.sep_token, tokenizer.pad_token}
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    return torch.tensor([not piece.startswith("##") and piece not in outside for piece in pieces])


def batches(lengths: list[int], tokens: int) -> list[list[int]]:
    """Rows, sorted by length, in groups that hold about `tokens` tokens with their padding."""
    groups: list[list[int]] = [[]]
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if lengths[row] * (len(groups[-1]) + 1) > tokens and groups[-1]:
            groups.append([])
        groups[-1].append(row)
    return groups


def padded(rows: list[list[int]], pad: int = 0) -> tuple[Tensor, Tensor]:
    """Ids (B, T) and mask (B, T), padded on the right."""
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask


def lesson(texts: tuple[str, ...], teacher: str, cache: Path) -> Lesson:
    """The teacher's lesson on `texts`, from `cache` if it was taken before."""
    key = hashlib.sha256("\n".join((str(LAYER), *texts)).encode()).hexdigest()[:16]
    files = [cache / f"{key}.{name}.npy" for name in ("starts", "states", "logits")]
    if not files[-1].exists():
        cache.mkdir(parents=True, exist_ok=True)
        _take(texts, teacher, files)
    starts, states, logits = (np.load(file, mmap_mode="r") for file in files)
    return Lesson(np.asarray(logits), states, np.asarray(starts))


def joined(parts: list[Lesson]) -> Lesson:
    """Several lessons as one."""
    ends = np.cumsum([0, *(len(part.states) for part in parts)])
    starts = [part.starts[:-1] + end for part, end in zip(parts, ends[:-1], strict=True)]
    logits = np.concatenate([part.logits for part in parts])
    states = np.concatenate([part.states for part in parts])
    return Lesson(logits, states, np.concatenate([*starts, ends[-1:]]))


@torch.inference_mode()
def _take(texts: tuple[str, ...], teacher: str, files: list[Path]) -> None:
    tokenizer = AutoTokenizer.from_pretrained(teacher)
    model = AutoModelForSequenceClassification.from_pretrained(teacher, dtype="float32").eval()
    rows = tokenizer(list(texts), truncation=True, max_length=MAX_LENGTH)["input_ids"]
    is_start = starts_word(tokenizer)
    counts = [int(is_start[torch.tensor(row)].sum()) for row in rows]
    starts = np.concatenate([[0], np.cumsum(counts)])
    shape = (int(starts[-1]), model.config.hidden_size)
    states = np.lib.format.open_memmap(files[1], "w+", np.float16, shape)
    logits = np.zeros((len(texts), 2), np.float32)
    groups = batches([len(row) for row in rows], TOKENS_A_BATCH)
    for number, group in enumerate(groups):
        ids, mask = padded([rows[row] for row in group])
        output = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        logits[group] = output.logits.numpy()
        shown = output.hidden_states[LAYER].half()
        for at, row in enumerate(group):
            states[starts[row] : starts[row + 1]] = shown[at][is_start[ids[at]]].numpy()
        if number % 50 == 0:
            print(f"teacher: batch {number} of {len(groups)}", flush=True)
    states.flush()
    np.save(files[0], starts)
    np.save(files[2], logits)  # last: a lesson that was cut short is taken again
