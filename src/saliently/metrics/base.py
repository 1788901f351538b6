"""What a metric is: a frozen dataclass that asks for texts with words taken away, and makes one number of the answers.

W words, R rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from saliently.metrics.ranked import Ranked
from saliently.reports import Better
from saliently.types import Scale

Floats = NDArray[np.float64]


class Ends(NamedTuple):
    """The explained number at the text as it is, and with every word blanked; NaN if nothing is left to run then."""

    whole: float
    nothing: float


class Metric(ABC):
    """One number for one explanation. Subclasses are frozen dataclasses, final; `repr` is the recipe, and
    `saliently.names.parse_metric` undoes it.

    Attributes:
        name: as in the papers. said: what it means, in one line. better: which way is good.
        amounts: does it read scores as amounts of the explained number? Then it asks about the very number that an
            explanation is about, on its scale; else about one number that all methods of a text are measured by.
        ranks: does it use the order of the scores alone? Then one random order is the control of all methods; else a
            method is set against its own scores on shuffled words.
        soft: does it keep words in part? Then it needs a blank that is a vector.
        controlled: would the same scores on other words get another number? Else there is nothing to set it against.
    """

    name: ClassVar[str]
    said: ClassVar[str]
    better: ClassVar[Better]
    amounts: ClassVar[bool] = False
    ranks: ClassVar[bool] = True
    soft: ClassVar[bool] = False
    controlled: ClassVar[bool] = True

    @abstractmethod
    def keeps(self, words: Ranked) -> Floats:
        """(R, W) how much of each word is kept, a row for each number that it needs; between 0 and 1."""

    @abstractmethod
    def score(self, words: Ranked, keep: Floats, values: Floats, ends: Ends) -> float:
        """The number, from the explained number at these rows (R,); NaN where it does not exist."""

    @property
    def scale(self) -> Scale | None:
        """The scale on which it was asked to read the target; None for its own choice. Not for metrics of amounts."""
        return None

    @property
    def comparable(self) -> bool:
        """Is it the same kind of number for explanations of different numbers, such as of a logit and of a probability?
        Else they can't be ranked by it."""
        return True

    def __repr__(self) -> str:
        said = [f"{f.name}={value!r}" for f in fields(self) if (value := _own(self, f.name)) != f.default]  # type: ignore[arg-type]
        return f"{self.name}({', '.join(said)})" if said else self.name


def _own(metric: Metric, name: str) -> Any:
    return getattr(metric, name)
