"""The Stanford Sentiment Treebank (Socher et al. 2013) from a folder or from the Hugging Face hub.

A folder holds `sst_trees/{train,dev,test}.txt` (Penn-tree lines) and may hold `sst2_tsv/{dev,test}.tsv`
(text TAB 0/1).
"""

import argparse
import os
import re
from dataclasses import dataclass
from pathlib import Path

HUB_NAME = "stanfordnlp/sst"
NEUTRAL = 2
_NODE = re.compile(r"\((\d) |([^()\s]+)\)|\)")
_BRACKETS = {"-lrb-": "(", "-rrb-": ")", "-lsb-": "[", "-rsb-": "]"}


@dataclass(frozen=True)
class Phrase:
    """A node of a tree: its words, lower-cased, and its label from 0 (very negative) to 4 (very positive)."""

    words: tuple[str, ...]
    label: int


def parse(line: str) -> tuple[Phrase, ...]:
    """All nodes of one Penn-tree line, children before parents; the sentence is the last."""
    open_nodes: list[tuple[int, list[str]]] = []
    phrases: list[Phrase] = []
    for match in _NODE.finditer(line):
        if match[1]:
            open_nodes.append((int(match[1]), []))
            continue
        label, words = open_nodes.pop()
        if match[2]:
            words.append(match[2].lower())
        phrases.append(Phrase(tuple(words), label))
        if open_nodes:
            open_nodes[-1][1].extend(words)
    return tuple(phrases)


def trees(split: str, folder: Path | None) -> list[tuple[Phrase, ...]]:
    """The trees of split "train", "dev" or "test", from `folder`, or from the hub if that is None."""
    if folder is not None:
        lines = (folder / "sst_trees" / f"{split}.txt").read_text(encoding="utf-8").splitlines()
    else:
        # Imported here: a folder needs no `datasets`. Newer versions of it read the hub's Parquet copy only.
        from datasets import load_dataset

        hub_split = {"dev": "validation"}.get(split, split)
        lines = load_dataset(HUB_NAME, "ptb", split=hub_split, revision="refs/convert/parquet")["ptb_tree"]
    return [parse(line) for line in lines if line.strip()]


def sst2(split: str, folder: Path | None) -> list[tuple[str, int]]:
    """SST-2: the sentences that are not neutral, as `(text, 0 or 1)`; those of `sst2_tsv` where it exists."""
    if folder is not None and (folder / "sst2_tsv" / f"{split}.tsv").exists():
        lines = (folder / "sst2_tsv" / f"{split}.tsv").read_text(encoding="utf-8").splitlines()
        pairs = [line.rsplit("\t", 1) for line in lines]
        return [(text, int(label)) for text, label in pairs]
    roots = [tree[-1] for tree in trees(split, folder)]
    return [(plain(root.words), int(root.label > NEUTRAL)) for root in roots if root.label != NEUTRAL]


def plain(words: tuple[str, ...]) -> str:
    """The form of SST-2 files: of punctuation only `' , ! ?` and backquotes stay, a bracket is lrb or rrb."""
    return " ".join(re.sub(r"[^a-z0-9'`,!?]", " ", " ".join(words)).split())


def natural(words: tuple[str, ...]) -> str:
    """The form people type: `isn't (really) good.` for `is n't -lrb- really -rrb- good .`."""
    text = " ".join(_BRACKETS.get(word, word) for word in words).replace("\\/", "/")
    text = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m|[.,!?;:)])(?= |$)", r"\1", text)
    return text.replace("`` ", '"').replace(" ''", '"').replace("( ", "(").strip()


def data_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, which defaults to the environment variable SALIENTLY_DATA, then to the hub."""
    default = Path(os.environ["SALIENTLY_DATA"]) if os.environ.get("SALIENTLY_DATA") else None
    parser.add_argument("--data", type=Path, default=default, help="folder with sst_trees; default: the hub")
