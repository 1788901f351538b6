"""Words of many explanations, counted: their scores towards each class, and how many texts of each class hold them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from saliently.errors import InputError
from saliently.types import Explanation, Unit

_AROUND = 40
"""Characters of a text that are shown on each side of a word."""


class Occurrence(NamedTuple):
    """A word in its place. Attributes: text, number of the explanation; unit, the word with its score."""

    text: int
    unit: Unit

    @property
    def score(self) -> float:
        """Towards the class that was explained, in units of the target."""
        return self.unit.score or 0.0


class Entry(NamedTuple):
    """A word, in lower case, and a class towards which it was scored."""

    word: str
    label: str


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts over texts.

    Attributes:
        explanations: of a text each.
        occurrences: word and explained class -> where it stands.
        holding: word -> class of texts -> how many of them hold it.
        texts: class -> how many texts.
    """

    explanations: Sequence[Explanation]
    occurrences: dict[Entry, list[Occurrence]]
    holding: dict[str, Counter[str]]
    texts: Counter[str]

    @staticmethod
    def of(explanations: Sequence[Explanation], labels: Sequence[str] | None) -> Tally:
        """Count words; the class of a text is its label, or the class that was explained where no labels are known.

        Raises:
            InputError: labels that are not one an explanation.
        """
        if labels is not None and len(labels) != len(explanations):
            raise InputError(
                f"A label for each explanation was asked for; found {len(labels)} for {len(explanations)}. Give one "
                "each."
            )
        occurrences: dict[Entry, list[Occurrence]] = defaultdict(list)
        holding: dict[str, Counter[str]] = defaultdict(Counter)
        classes = [each.target.label for each in explanations] if labels is None else list(labels)
        for text, (explanation, label) in enumerate(zip(explanations, classes, strict=True)):
            units = explanation.words()
            for unit in units:
                occurrences[Entry(unit.text.lower(), explanation.target.label)].append(Occurrence(text, unit))
            for word in {unit.text.lower() for unit in units}:
                holding[word][label] += 1
        return Tally(explanations, dict(occurrences), dict(holding), Counter(classes))

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """Classes that were explained, sorted."""
        return tuple(sorted({entry.label for entry in self.occurrences}))

    def frequent(self, least: int) -> list[Entry]:
        """What occurs so often."""
        return [entry for entry, places in self.occurrences.items() if len(places) >= least]

    def scores(self, entry: Entry) -> NDArray[np.float64]:
        """One an occurrence."""
        return np.array([each.score for each in self.occurrences[entry]], np.float64)

    def counts(self, entry: Entry) -> tuple[int, int, int, int]:
        """How many texts of the class hold the word, of how many; and of all others, of how many."""
        here, total = self.holding[entry.word][entry.label], self.texts[entry.label]
        return here, total, self.holding[entry.word].total() - here, self.texts.total() - total

    def log_odds(self, entry: Entry) -> float:
        """The odds that a text of the class holds the word over those of other texts, as a logarithm, in nats; one is
        added to each of the four counts, so that no word is certain."""
        here, total, there, others = self.counts(entry)
        return log((here + 1) / (total - here + 1)) - log((there + 1) / (others - there + 1))

    def exclusivity(self, entry: Entry) -> float:
        """(a - b) / (a + b) of the shares a in the class and b elsewhere, with one added to each count: from -1, other
        classes' word, over 0, nobody's, to 1. 0 where there is no other text."""
        here, total, there, others = self.counts(entry)
        if not others:
            return 0.0
        a, b = (here + 1) / (total + 2), (there + 1) / (others + 2)
        return (a - b) / (a + b)

    def suspicion(self, entry: Entry) -> float:
        """Mean score times exclusivity; 0 unless both are above 0, and the word is more frequent in the class than
        elsewhere: the ones that are added to counts can make a rare class look fond of any word."""
        here, total, there, others = self.counts(entry)
        if not total or not others or here / total <= there / others:
            return 0.0
        return max(0.0, float(self.scores(entry).mean())) * max(0.0, self.exclusivity(entry))

    def snippets(self, entry: Entry, many: int = 3) -> tuple[str, ...]:
        """The word in its highest-scored places, with what stands around it; a text each."""
        found: dict[int, str] = {}
        for text, unit in sorted(self.occurrences[entry], key=lambda each: -each.score):
            if text not in found:
                found[text] = _around(self.explanations[text].tokens.fields[unit.field], unit)
        return tuple(found.values())[:many]


def _around(text: str, unit: Unit) -> str:
    start, end = max(0, unit.start - _AROUND), unit.end + _AROUND
    cut = " ".join(f"{text[start : unit.start]}[{unit.text}]{text[unit.end : end]}".split())
    return f"{'... ' if start else ''}{cut}{' ...' if end < len(text) else ''}"
