"""Erasure metrics: what the model says without the words that an explanation names, or with them alone.

All speak about the model on texts that nobody wrote: a drop may come from words that mattered, or from a text unlike
any that the model has seen (Hooker et al. 2019). So they are read against a random order and for several blanks.

W words, R rows, B shares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from saliently.errors import RecipeError
from saliently.metrics.base import Ends, Metric
from saliently.metrics.ranked import Ranked
from saliently.reports import Better
from saliently.types import Scale

Floats = NDArray[np.float64]
Average = Literal["code", "paper"]

BINS = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Shares of the words that are taken for the rationale: those of ERASER."""


def counts(words: int, bins: tuple[float, ...]) -> list[int]:
    """How many words each share is: rounded up, so that a rationale is never empty."""
    return [int(np.ceil(share * words - 1e-9)) for share in bins]


@dataclass(frozen=True, repr=False)
class Erasure(Metric):
    """What all erasure metrics share. `of` is the scale on which the target is read: by default the probability of
    classes, and for language models, regression and functions of texts their own scale."""

    of: Scale | None = field(default=None, kw_only=True)

    @property
    def scale(self) -> Scale | None:
        """As asked for."""
        return self.of


@dataclass(frozen=True, repr=False)
class _Rationale(Erasure):
    """What comprehensiveness and sufficiency share."""

    bins: tuple[float, ...] = BINS
    average: Average = "code"

    def __post_init__(self) -> None:
        if not self.bins or not all(0 < share <= 1 for share in self.bins):
            raise RecipeError(f"Shares {self.bins!r} were asked for; give some above 0 and up to 1.")
        if self.average not in ("code", "paper"):
            raise RecipeError(f"Average {self.average!r} was asked for; there are 'code' and 'paper'.")

    def _aopc(self, drops: Floats, empty: float) -> float:
        """Mean drop over the shares (DeYoung et al. 2020, Eq. 3). The paper's sum starts at the empty rationale, whose
        drop is `empty`, and is divided by |B| + 1; the authors' code takes the mean over the shares alone."""
        return float(np.mean([empty, *drops] if self.average == "paper" else drops))

    def _rationales(self, words: Ranked) -> Floats:
        """(B, W) 1 at the words of the rationale of each share."""
        return np.array([words.first(k) for k in counts(len(words.scores), self.bins)], np.float64)


@dataclass(frozen=True, repr=False)
class Comprehensiveness(_Rationale):
    """f(x) - f(x without the strongest words), averaged over shares of the words (DeYoung et al. 2020, Eq. 1).

    In units of the target, by default the probability of the explained class. With `average="paper"` the empty
    rationale, which loses nothing, counts too. Departure: words are blanked, or deleted, on token ids; the authors join
    the tokens that are left to a new text. A share is rounded up, so that it is never empty; in a short text several
    shares are the same words.
    """

    name: ClassVar[str] = "comprehensiveness"
    said: ClassVar[str] = "drop of the target when the strongest words are taken away"
    better: ClassVar[Better] = "higher"

    def keeps(self, words: Ranked) -> Floats:
        """The text without the strongest words, a row a share."""
        return 1.0 - self._rationales(words)

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """NaN where a share is all words and the text without words can't be run."""
        return self._aopc(ends.whole - values, 0.0)


@dataclass(frozen=True, repr=False)
class Sufficiency(_Rationale):
    """f(x) - f(the strongest words alone), averaged over shares of the words (DeYoung et al. 2020, Eq. 2).

    Units, shares and departures are those of comprehensiveness; with `average="paper"` the drop without any word counts
    too, so that it is NaN where that can't be run.
    """

    name: ClassVar[str] = "sufficiency"
    said: ClassVar[str] = "drop of the target when only the strongest words are left"
    better: ClassVar[Better] = "lower"

    def keeps(self, words: Ranked) -> Floats:
        """The strongest words alone, a row a share."""
        return self._rationales(words)

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """Mean drop."""
        return self._aopc(ends.whole - values, ends.whole - ends.nothing)


def _soft(scores: Floats) -> Floats:
    """(W,) scores from 0 to 1, weakest to strongest; all 1/2 where they are alike."""
    low, high = float(scores.min()), float(scores.max())
    return np.full(len(scores), 0.5) if high <= low else (scores - low) / (high - low)


def _drop(ends: Ends, value: float) -> float:
    """max(0, f(x) - value), NaN where either is."""
    return float(np.maximum(0.0, ends.whole - value))


@dataclass(frozen=True, repr=False)
class SoftComprehensiveness(Erasure):
    """max(0, f(x) - f(x')) with 1 - s of each word kept, as a share of the same for nothing kept (Zhao and Aletras
    2023, soft normalised comprehensiveness); s are scores from 0, the weakest, to 1.

    Departure: the authors drop each entry of a word vector with probability s; here the vector goes to its blank by s,
    which is the mean of that and needs no draws. Not for blank="delete".
    """

    name: ClassVar[str] = "soft-comprehensiveness"
    said: ClassVar[str] = "drop when each word fades by its score, as a share of the drop without words"
    better: ClassVar[Better] = "higher"
    ranks: ClassVar[bool] = False
    soft: ClassVar[bool] = True

    def keeps(self, words: Ranked) -> Floats:
        """One row."""
        return 1.0 - _soft(words.scores)[None]

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """NaN where blanking everything lowers nothing."""
        most = _drop(ends, ends.nothing)
        return _drop(ends, float(values[0])) / most if most else float("nan")


@dataclass(frozen=True, repr=False)
class SoftSufficiency(Erasure):
    """1 - max(0, f(x) - f(x')) with s of each word kept, from 0 as without words to 1 as the text (Zhao and Aletras
    2023, soft normalised sufficiency). Departure: as of soft comprehensiveness."""

    name: ClassVar[str] = "soft-sufficiency"
    said: ClassVar[str] = "how much of the target is left when each word is kept by its score"
    better: ClassVar[Better] = "higher"
    ranks: ClassVar[bool] = False
    soft: ClassVar[bool] = True

    def keeps(self, words: Ranked) -> Floats:
        """One row."""
        return _soft(words.scores)[None]

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """(S(x') - S(nothing)) / (1 - S(nothing)) with S = 1 - max(0, drop), written out so that a small drop is not
        rounded away; NaN where S(nothing) is 1."""
        most = _drop(ends, ends.nothing)
        return (most - _drop(ends, float(values[0]))) / most if most else float("nan")


@dataclass(frozen=True, repr=False)
class _Curve(Erasure):
    """The target while words go or come one after the other, as the area under it over shares of the words."""

    steps: int = 0

    def __post_init__(self) -> None:
        if type(self.steps) is not int or self.steps < 0 or self.steps == 1:
            raise RecipeError(
                f"{self.steps!r} steps were asked for; give a whole number from 2 up, or 0 for a step a word."
            )

    def shares(self, words: int) -> list[int]:
        """How many words have gone, or come, at each inner step."""
        most = words if not self.steps else min(self.steps, words)
        return sorted({round(words * step / most) for step in range(1, most)})

    def _first(self, words: Ranked) -> Floats:
        """(R, W) 1 at the strongest words of each step."""
        found = [words.first(k) for k in self.shares(len(words.scores))]
        return np.array(found, np.float64).reshape(-1, len(words.scores))

    def _area(self, words: Ranked, values: Floats, start: float, end: float) -> float:
        """By trapezoids, over shares of the words from 0 to 1."""
        many = len(words.scores)
        x, y = np.array([0, *self.shares(many), many]) / many, np.array([start, *values, end])
        return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)


@dataclass(frozen=True, repr=False)
class Deletion(_Curve):
    """Area under f while the strongest words go first (Petsiuk et al. 2018), in units of f.

    Samek et al. 2017 report f(x) less the mean of the same curve (AOPC), so that higher is better there. `steps` cuts
    the words into so many steps of nearly equal size; 0 takes one word at a time, W - 1 rows.
    """

    name: ClassVar[str] = "deletion"
    said: ClassVar[str] = "mean of the target while words go, strongest first"
    better: ClassVar[Better] = "lower"

    def keeps(self, words: Ranked) -> Floats:
        """A row a step, without both ends."""
        return 1.0 - self._first(words)

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """NaN where the text without words can't be run."""
        return self._area(words, values, ends.whole, ends.nothing)


@dataclass(frozen=True, repr=False)
class Insertion(_Curve):
    """Area under f while the strongest words come first, into a text of blanks (Petsiuk et al. 2018), in units of f.
    `steps` as of deletion. Departure: the authors start from a blurred picture."""

    name: ClassVar[str] = "insertion"
    said: ClassVar[str] = "mean of the target while words come, strongest first"
    better: ClassVar[Better] = "higher"

    def keeps(self, words: Ranked) -> Floats:
        """A row a step, without both ends."""
        return self._first(words)

    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """NaN where the text without words can't be run."""
        return self._area(words, values, ends.nothing, ends.whole)
