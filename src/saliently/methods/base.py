"""What a method is: a frozen dataclass whose fields are its whole configuration, called with a Runner."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.models.base import Model
from saliently.runner import Runner
from saliently.types import Grouping, Quantity, Target, Tokens


@dataclass(frozen=True, eq=False)
class Scores:
    """A method's answer for one input: (T,) float64 scores, or (T, T) of interactions, f at nothing if it was asked,
    and its own checks."""

    values: Tensor
    nothing: float | None = None
    checks: Checks = field(default_factory=Checks)


class Method(ABC):
    """A saliency method. Subclasses are frozen dataclasses, final; `repr` is the recipe, `saliently.parse` undoes it.

    Attributes:
        name: as in the papers. quantity: what kind of number the scores are. vectors: does it need word vectors? Those
            that only take words away do not.
    """

    name: ClassVar[str]
    quantity: ClassVar[Quantity]
    vectors: ClassVar[bool] = True

    @abstractmethod
    def __call__(self, runner: Runner) -> list[Scores]:
        """One answer for each of the runner's inputs, in order."""

    @abstractmethod
    def rows(self, tokens: int) -> int:
        """About how many rows an input of so many tokens costs; for plans and progress, not for results."""

    def lengths(self, model: Model, tokens: Tokens) -> list[int]:
        """Tokens of each row that an input costs, as far as that can be known before anything runs; for plans."""
        many = len(tokens.ids)
        return [many] * self.rows(many)

    def resolved(self, model: Model) -> Method:
        """The same method with every default that depends on the model written out."""
        return replace(self, blank=erase.default_blank(model)) if self.blanks == () else self  # type: ignore[type-var]

    def asks(self, model: Model, target: Target) -> Target:
        """The question that it puts where the user asks for `target`: the same one, unless the method is about another
        number of the model's output.

        Raises:
            RecipeError: it can't answer that question, or not of such a model.
        """
        return target

    @property
    def blanks(self) -> tuple[str, ...] | None:
        """What stands where a word is taken away: empty if the model is to decide, None if no word is."""
        if "blank" not in (f.name for f in fields(self)):  # type: ignore[arg-type]
            return None
        blank = _own(self, "blank")
        return (blank,) if isinstance(blank, str) else blank or ()

    @property
    def grouping(self) -> Grouping:
        """How pieces become words."""
        return "sum"

    def __repr__(self) -> str:
        said = [f"{f.name}={value!r}" for f in fields(self) if (value := _own(self, f.name)) != f.default]  # type: ignore[arg-type]
        return f"{self.name}({', '.join(said)})" if said else self.name


def _own(method: Method, name: str) -> Any:
    return getattr(method, name)
