"""The texts that teach the small models: phrases of the treebank, and variants of them that a teacher labels.

A small model trained from nothing on the treebank doesn't know the words that the treebank lacks or shows
once. The teacher does, so its words are swapped into sentences. Masked and shortened variants teach what a
missing word means.
"""

import random
from dataclasses import dataclass

from recipes.sst import Phrase, natural, plain

Words = tuple[str, ...]
MASK = "[MASK]"
MASKED, SWAPPED, JOINED = 45_000, 75_000, 8_000  # variants of each kind


@dataclass(frozen=True)
class Corpus:
    """Texts and, for each, its label 0 or 1, or None where a person gave none or neutral."""

    texts: tuple[str, ...]
    labels: tuple[int | None, ...]


def build(trees: list[tuple[Phrase, ...]], lexicon: list[str], seed: int) -> Corpus:
    """The corpus from training trees; `lexicon` holds the words that variants may swap in."""
    rng = random.Random(seed)
    known: dict[str, int | None] = {}
    for tree in trees:
        for phrase in tree:
            text = plain(phrase.words)
            if text:
                known[text] = _polarity(phrase.label)
    sentences = [tree[-1] for tree in trees]
    for root in sentences:
        known[natural(root.words)] = _polarity(root.label)
    longer = [phrase.words for tree in trees for phrase in tree if len(phrase.words) > 5]
    whole = [root.words for root in sentences]
    variants = list(lexicon)
    variants += [_masked(_styled(_either(longer, whole, rng), rng), rng) for _ in range(MASKED)]
    variants += [_swapped(_styled(_either(longer, whole, rng), rng), lexicon, rng) for _ in range(SWAPPED)]
    variants += [_joined(whole, rng) for _ in range(JOINED)]
    for text in variants:
        known.setdefault(text, None)
    return Corpus(tuple(known), tuple(known.values()))


def _polarity(label: int) -> int | None:
    return None if label == 2 else int(label > 2)


def _either(longer: list[Words], whole: list[Words], rng: random.Random) -> Words:
    return rng.choice(whole if rng.random() < 0.5 else longer)


def _styled(words: Words, rng: random.Random) -> list[str]:
    return (plain(words) if rng.random() < 0.7 else natural(words)).split()


def _masked(words: list[str], rng: random.Random) -> str:
    """Each word masked, or left out, with a rate drawn for this text, up to nearly all of it."""
    rate, stand_in = rng.choice((0.1, 0.2, 0.3, 0.5, 0.7, 0.9)), "" if rng.random() < 0.3 else MASK
    return " ".join(" ".join(stand_in if rng.random() < rate else word for word in words).split())


def _swapped(words: list[str], lexicon: list[str], rng: random.Random) -> str:
    rate = rng.choice((0.05, 0.1, 0.2, 0.4))
    forced = rng.randrange(len(words)) if words else 0
    drawn = range(len(words))
    chosen = (rng.choice(lexicon) if at == forced or rng.random() < rate else words[at] for at in drawn)
    return " ".join(chosen)


def _joined(whole: list[Words], rng: random.Random) -> str:
    return " ".join(" ".join(_styled(rng.choice(whole), rng)) for _ in range(rng.choice((2, 2, 3, 4))))
