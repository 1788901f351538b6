"""One explanation for each output of a text: which words each token of a response, or each tag, depended on.

O outputs, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from saliently.checks import missed
from saliently.errors import RecipeError
from saliently.types import Explanation, Pinned, Tokens, join_notes

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from saliently.checks import Checks


@dataclass(frozen=True, eq=False)
class Matrix:
    """Explanations of the outputs of one text, in order, over the same tokens. Attributes: explanations (O,)."""

    explanations: tuple[Explanation, ...]

    def __len__(self) -> int:
        return len(self.explanations)

    def __getitem__(self, output: int) -> Explanation:
        return self.explanations[output]

    def __iter__(self) -> Iterator[Explanation]:
        return iter(self.explanations)

    @property
    def tokens(self) -> Tokens:
        """The input that all are about."""
        return self.explanations[0].tokens

    @property
    def outputs(self) -> tuple[Pinned, ...]:
        """(O,) the explained numbers."""
        return tuple(each.target for each in self.explanations)

    @property
    def scores(self) -> NDArray[np.float64]:
        """(O, T) raw and signed, each row in units of its target."""
        return np.stack([each.scores for each in self.explanations])

    @property
    def values(self) -> NDArray[np.float64]:
        """(O,) the explained number of each output at the input."""
        return np.array([each.values[0] for each in self.explanations])

    def words(self) -> NDArray[np.float64]:
        """(O, W) scores of the words, in order of the text; their names are those of `self[0].words()`."""
        return np.array([[unit.score or 0.0 for unit in each.words()] for each in self.explanations])

    def together(self, start: int = 0, end: int | None = None) -> Explanation:
        """The explanation of the sum of outputs [start, end): for a response, of the log-probability of that span.

        Raises:
            RecipeError: no output in that span, or numbers that don't add up (sensitivity, attention; probabilities).
        """
        some = self.explanations[start:end]
        if not some:
            raise RecipeError(f"Outputs {start} to {end} were to be added up; there are outputs 0 to {len(self) - 1}.")
        first = some[0]
        if first.quantity != "saliency" or first.target.of in ("probability", "log-odds"):
            raise RecipeError(
                f"The sum of {len(some)} outputs was asked for; {first.quantity} of the {first.target.of} does not add "
                "up. Use a saliency method on logits or log-probabilities, or look at the outputs one by one."
            )
        nothing = None if first.nothing is None else (sum(each.nothing[0] for each in some if each.nothing),)
        value = sum(each.values[0] for each in some)
        known = all(each.target.predicted for each in some)
        return replace(
            first,
            outputs=(replace(first.target, label=_joined(some), at=None, predicted=known),),
            scores=np.sum([each.scores for each in some], axis=0),
            values=(value,),
            nothing=nothing,
            checks=_added([each.checks for each in some], None if nothing is None else value - nothing[0]),
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain JSON values; `saliently.load_explanations` reads the explanations back."""
        from saliently.view.record import matrix_to_dict

        return matrix_to_dict(self)

    def show(self, width: int | None = None) -> None:
        """Print outputs down, words across, to the terminal."""
        from saliently.view.text import show_matrix

        show_matrix(self, width)

    def save(self, path: str | Path) -> None:
        """Write `.html`, `.json`, `.png` or `.svg`, by the ending of the name.

        Raises:
            RecipeError: any other ending.
            MissingExtraError: `.png` or `.svg` without matplotlib.
        """
        from saliently.view.files import save_matrix

        save_matrix(self, path)

    def _repr_html_(self) -> str:
        from saliently.view.page import matrix_fragment

        return matrix_fragment(self)


def _joined(some: tuple[Explanation, ...]) -> str:
    """What the outputs say together: a part of the response, where they are its own tokens, side by side."""
    tokens, targets = some[0].tokens, [each.target for each in some]
    numbers = [int(said) for t in targets if (said := (t.at or "").removeprefix("token ")).isdecimal()]
    first = tokens.response
    if first is not None and numbers == list(range(numbers[0], numbers[0] + len(some)) if numbers else []):
        if all(t.index == tokens.ids[first + n] for t, n in zip(targets, numbers, strict=True)):
            return repr(tokens.response_text(numbers[0], numbers[-1] + 1))
    return " + ".join(t.label if t.at is None else f"{t.label} at {t.at}" for t in targets)


def _added(checks: list[Checks], change: float | None) -> Checks:
    """The checks of a sum. The gap of a path method is that of the sum; what a layer kept is added up."""
    total = sum(each.total or 0.0 for each in checks)
    gap = checks[0].gap
    if gap is not None and change is not None:
        gap = missed(total, change)
    kept: dict[str, float] = {}
    for each in checks:
        for who, amount in each.kept:
            kept[who] = kept.get(who, 0.0) + amount
    return replace(
        checks[0],
        total=total,
        change=change,
        residual=total - change if change is not None and gap is None else None,
        gap=gap,
        kept=tuple(kept.items()),
        nodes=max((each.nodes or 0 for each in checks), default=0) or None,
        forward_rows=max(each.forward_rows for each in checks),
        gradient_rows=sum(each.gradient_rows for each in checks),
        notes=join_notes(*(each.notes for each in checks)),
    )
