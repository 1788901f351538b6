"""Sentences of film reviews beyond the treebank, without labels: a teacher gives them their logits.

The treebank has few whole sentences, and a small BERT learns them by heart. These are from the training split of the
IMDB reviews of Kaushik et al. 2020 (Apache-2.0): `cad_sentiment/{orig,new}/train.tsv` with a column `Text`.
"""

import csv
import random
import re
from pathlib import Path

from recipes import sst

_SOURCE = "https://raw.githubusercontent.com/acmi-lab/counterfactually-augmented-data/master/sentiment"
SHORTEST, LONGEST = 4, 40  # words


def sentences(folder: Path | None, seed: int) -> tuple[str, ...]:
    """The sentences, each once, half of them in the form of SST-2 files."""
    rng, found = random.Random(seed), {}
    for part in ("orig", "new"):
        source = folder / "cad_sentiment" / part / "train.tsv" if folder else f"{_SOURCE}/{part}/train.tsv"
        for review in _reviews(source):
            for sentence in re.split(r"(?<=[.!?])\s+", re.sub(r"<br ?/?>|\s+", " ", review).lower()):
                words = tuple(sentence.split())
                if SHORTEST <= len(words) <= LONGEST:
                    found.setdefault(words, sst.plain(words) if rng.random() < 0.5 else " ".join(words))
    return tuple(dict.fromkeys(text for text in found.values() if text))


def _reviews(source: Path | str) -> list[str]:
    if isinstance(source, Path):
        lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    else:
        from urllib.request import urlopen

        with urlopen(source) as page:
            lines = page.read().decode("utf-8").splitlines(keepends=True)
    return [row["Text"] for row in csv.DictReader(lines, delimiter="\t")]
