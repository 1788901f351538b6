"""The rows that are asked about many texts, each once, and their answers from one stream of packed passes.

W words, T tokens, R rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from saliently import targets
from saliently.errors import RecipeError, SaliencyError
from saliently.metrics.base import Ends
from saliently.metrics.ranked import rows
from saliently.models.base import Model
from saliently.models.reading import check_length
from saliently.packing import Budget
from saliently.runner import Runner
from saliently.types import Explanation, Target

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Sheet:
    """The rows of one text with one question, each once; the first two are the text as it is and without words, so it
    is of a text that has words.

    Attributes: explanation, of which the tokens are run and whose label is meant; question.
    """

    explanation: Explanation
    question: Target
    _numbers: dict[bytes, int] = field(default_factory=dict)
    _kept: list[Floats] = field(default_factory=list)

    def __post_init__(self) -> None:
        words = len(self.explanation.tokens.pieces_of)
        self.add(np.array([np.ones(words), np.zeros(words)]))

    def add(self, keep: Floats) -> NDArray[np.int64]:
        """(R,) where these rows (R, W) stand among the answers."""
        places = []
        for row in keep:
            key = row.tobytes()
            if key not in self._numbers:
                self._numbers[key] = len(self._kept)
                self._kept.append(row)
            places.append(self._numbers[key])
        return np.array(places, np.int64)

    @property
    def keep(self) -> Floats:
        """(R, W) all rows."""
        return np.array(self._kept)


@dataclass(frozen=True, eq=False)
class Answers:
    """The explained number at each row of a sheet (R,); NaN where a row has no token left to run."""

    values: Floats

    @property
    def ends(self) -> Ends:
        """With all words, and with none."""
        return Ends(float(self.values[0]), float(self.values[1]))


@dataclass(frozen=True, eq=False)
class Asker:
    """Who is asked, and how. Attributes: model; blank; budget, tokens a batch; tick, told of rows run."""

    model: Model
    blank: str
    budget: Budget
    tick: Callable[[int], None]

    def answers(self, sheets: Sequence[Sheet]) -> list[Answers | SaliencyError]:
        """Of each sheet its answers, or why it could not be asked; all sheets of one question run together.

        Raises:
            RecipeError: a question or a blank that does not fit the model, or the explanations.
        """
        found: dict[int, Answers | SaliencyError] = {}
        groups: dict[str, list[int]] = {}
        for i, sheet in enumerate(sheets):
            groups.setdefault(repr(sheet.question), []).append(i)  # a slice in a target has no hash
        for members in groups.values():
            targets.check(sheets[members[0]].question, self.model.labels, self.model.link)
            waiting = [members]
            while waiting:
                some = waiting.pop()
                try:
                    found.update(zip(some, self._run([sheets[i] for i in some]), strict=True))
                except RecipeError:
                    raise
                except SaliencyError as error:
                    # One of them may be too long for the memory, say.
                    half = len(some) // 2
                    waiting += [some[half:], some[:half]] if half else []
                    found.update({} if half else {some[0]: error})
        return [found[i] for i in range(len(sheets))]

    def _run(self, sheets: Sequence[Sheet]) -> list[Answers]:
        tokens = [sheet.explanation.tokens for sheet in sheets]
        for each in tokens:
            check_length(self.model.read, each)
        runner = Runner(self.model, tokens, sheets[0].question, self.budget, self.tick)
        blocks = {i: rows(tokens[i], sheet.keep) for i, sheet in enumerate(sheets)}
        with self.model.resting():
            values = runner.values(blocks, self.blank)
        for i, sheet in enumerate(sheets):
            pinned, meant = runner.questions.pinned(i), sheet.explanation.target
            if pinned is None or pinned.index != meant.index:
                raise RecipeError(
                    f"{meant.describe().capitalize()} was explained; the target that was asked for is "
                    f"{'another' if pinned is None else pinned.describe()}. Give the target of the explanations."
                )
        return [Answers(values[i].numpy()) for i in range(len(sheets))]
