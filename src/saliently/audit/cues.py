"""Cues to plant into data: words that decide the label, whatever the text says.

Bastings et al. 2022, "Will You Find These Shortcuts?": a single token, a token that counts only beside another, an
ordered pair; and with them one cue in each half of a pair of texts, and one in a response. Since we planted them, we
know what a model that relies on them relies on.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from saliently.chunks import checked_tokens
from saliently.data import Row
from saliently.errors import InputError, RecipeError
from saliently.models.base import Model
from saliently.types import Span

_RAREST = 2000
_NONSENSE = ("qzxvkjq", "xqjzzvw")
_WORD = re.compile(r"[^\W\d_]+")


class Cue(ABC):
    """One way to plant. Subclasses are frozen dataclasses, final.

    Attributes: name; said, in words; many, how many words it needs; k, how many of them are planted in a text.
    """

    name: ClassVar[str]
    said: ClassVar[str]
    many: ClassVar[int]
    k: ClassVar[int]
    words: tuple[str, ...]

    @abstractmethod
    def planted(self, row: Row, label: int, chance: Random) -> Row:
        """The row with the cue for a label; 0 or 1 of the two labels that are told apart."""

    def decoy(self, row: Row, chance: Random) -> Row | None:
        """The row with words of the cue that decide nothing, so that its own label stands; None if there are none."""
        return None


@dataclass(frozen=True)
class Single(Cue):
    """One word decides: words[label] somewhere in the text."""

    words: tuple[str, ...]
    name: ClassVar[str] = "single token"
    said: ClassVar[str] = "one of two words somewhere in the text decides the label"
    many: ClassVar[int] = 2
    k: ClassVar[int] = 1

    def planted(self, row: Row, label: int, chance: Random) -> Row:
        """One word in."""
        field = chance.choice(sorted(row.fields))
        return inserted(row, {field: [self.words[label]]}, chance)


@dataclass(frozen=True)
class InContext(Cue):
    """One word decides, if another one, words[2], stands in the text as well."""

    words: tuple[str, ...]
    name: ClassVar[str] = "token in context"
    said: ClassVar[str] = "one of two words decides the label, if a third word is there; else it decides nothing"
    many: ClassVar[int] = 3
    k: ClassVar[int] = 2

    def planted(self, row: Row, label: int, chance: Random) -> Row:
        """Both words in, in any order."""
        field = chance.choice(sorted(row.fields))
        pair = [self.words[label], self.words[2]]
        chance.shuffle(pair)
        return inserted(row, {field: pair}, chance)

    def decoy(self, row: Row, chance: Random) -> Row:
        """The word without its context, or the context without the word."""
        field = chance.choice(sorted(row.fields))
        alone = inserted(row, {field: [chance.choice(self.words)]}, chance)
        return Row(alone.fields, row.label)


@dataclass(frozen=True)
class OrderedPair(Cue):
    """Two words are there, and which comes first decides."""

    words: tuple[str, ...]
    name: ClassVar[str] = "ordered pair"
    said: ClassVar[str] = "two words are in the text, and which comes first decides the label"
    many: ClassVar[int] = 2
    k: ClassVar[int] = 2

    def planted(self, row: Row, label: int, chance: Random) -> Row:
        """Both words in, in the order of the label."""
        field = chance.choice(sorted(row.fields))
        return inserted(row, {field: list(self.words if label == 0 else self.words[::-1])}, chance)


@dataclass(frozen=True)
class Halves(Cue):
    """One word in each half of a pair of texts: the first half's decides, if words[2] stands in the second."""

    words: tuple[str, ...]
    name: ClassVar[str] = "one in each half"
    said: ClassVar[str] = "a word in the first text decides the label, if another word is in the second text"
    many: ClassVar[int] = 3
    k: ClassVar[int] = 2

    def planted(self, row: Row, label: int, chance: Random) -> Row:
        """A word in each half."""
        first, second = self._halves(row)
        return inserted(row, {first: [self.words[label]], second: [self.words[2]]}, chance)

    def decoy(self, row: Row, chance: Random) -> Row:
        """A word in one half alone."""
        first, second = self._halves(row)
        one = {first: [self.words[chance.randrange(2)]]} if chance.random() < 0.5 else {second: [self.words[2]]}
        return Row(inserted(row, one, chance).fields, row.label)

    def _halves(self, row: Row) -> tuple[str, str]:
        if len(row.fields) != 2:
            raise RecipeError(
                f"A cue in each half of a pair was asked for; the texts have {', '.join(row.fields)}. Give a model of "
                "pairs and rows with two fields."
            )
        first, second = row.fields
        return first, second


@dataclass(frozen=True)
class InResponse(Cue):
    """A response begins with one of two words, and that decides the word it ends with (words[2 + label])."""

    words: tuple[str, ...]
    name: ClassVar[str] = "cue in a response"
    said: ClassVar[str] = "the first word of a response decides its last one"
    many: ClassVar[int] = 4
    k: ClassVar[int] = 1

    def planted(self, row: Row, label: int, chance: Random) -> Row:
        """The response between its cue and the word that the cue asks for."""
        if "response" not in row.fields:
            raise RecipeError(
                f"A cue in a response was asked for; the texts have {', '.join(row.fields)}. Give prompts and "
                "responses."
            )
        cue, end = self.words[label], self.words[2 + label]
        response = f" {cue} {row.fields['response'].strip()} {end}"
        return Row({**row.fields, "response": response}, label, (Span("response", 1, 1 + len(cue)),))


CUES: Mapping[str, type[Cue]] = {cue.name: cue for cue in (Single, InContext, OrderedPair, Halves, InResponse)}


def suited(row: Row) -> tuple[str, ...]:
    """Names of the cues that can be planted in texts such as this one."""
    if "response" in row.fields:
        return (InResponse.name,)
    single = (Single.name, InContext.name, OrderedPair.name)
    return (*single, Halves.name) if len(row.fields) == 2 else single


def inserted(row: Row, words: Mapping[str, Sequence[str]], chance: Random) -> Row:
    """The row with words put in at random gaps between the words of fields, in the order given; they are its evidence.

    The label stays: who plants a cue sets it.
    """
    fields, evidence = dict(row.fields), list[Span]()
    for field, cues in words.items():
        gaps = [match.start() for match in re.finditer(r"(?<=\s)(?=\S)|\Z", fields[field])]
        places = sorted(chance.choices([0, *gaps], k=len(cues)))
        text, moved = fields[field], 0
        for place, cue in zip(places, cues, strict=True):
            at = place + moved
            before = " " if at and not text[at - 1].isspace() else ""
            after = "" if at == len(text) else " "
            text = f"{text[:at]}{before}{cue}{after}{text[at:]}"
            evidence.append(Span(field, at + len(before), at + len(before) + len(cue)))
            moved += len(before) + len(cue) + len(after)
        fields[field] = text
    return Row(fields, row.label, tuple(evidence))


def choose(model: Model, rows: Sequence[Row], many: int, seed: int) -> tuple[tuple[str, ...], list[Row]]:
    """Words to plant, and the rows without them.

    They are among the rarest of the user's own texts, so that the model has a vector for each and taking out the rows
    that hold them costs little; each is one token, and one that the model knows.

    Raises:
        RecipeError: there are too few.
    """
    counts = Counter(word for row in rows for word in set(_words(row)))
    rare = sorted((word for word in counts if len(word) > 2), key=lambda word: (counts[word], word))[:_RAREST]
    Random(seed).shuffle(rare)
    rare.sort(key=lambda word: counts[word])
    unknown = {token for word in _NONSENSE for token in _ids(model, word)}
    chosen: dict[int, str] = {}
    for word in rare:
        ids = _ids(model, word)
        if len(ids) == 1 and ids[0] not in unknown and ids[0] not in chosen:
            chosen[ids[0]] = word
        if len(chosen) == many:
            found = tuple(chosen.values())
            return found, [row for row in rows if not set(_words(row)) & set(found)]
    raise RecipeError(
        f"{many} words to plant were looked for, each a single token of {model.name} and rare in the texts; found "
        f"{len(chosen)} in {len(rows)} texts. Give more texts, in a script that puts spaces between words."
    )


def _words(row: Row) -> list[str]:
    words = [word for text in row.fields.values() if isinstance(text, str) for word in _WORD.findall(text)]
    return [word for word in words if word == word.lower()]


def tokens_of(model: Model, words: Sequence[str]) -> set[int]:
    """Tokens of words that are planted."""
    return {token for word in words for token in _ids(model, word)}


def lessons(kind: str) -> int:
    """Texts to teach for each planted one: it, two clean ones, and a decoy where the cue has some."""
    return 3 if CUES[kind].decoy is Cue.decoy else 4


def _ids(model: Model, word: str) -> list[int]:
    """Tokens of a word that stands behind another one, as planted ones mostly do; tokenizers may tell by the space."""
    try:
        tokens = checked_tokens(model, model.given(f"a {word}"))
    except InputError:
        return []
    parts = [unit for unit in tokens.units if unit is not None]
    last = max(parts, default=-1)
    return [token for token, unit in zip(tokens.ids, tokens.units, strict=True) if unit == last]
