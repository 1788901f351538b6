"""Methods that take words away and look at what the model says then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import RecipeError
from saliently.methods import away
from saliently.methods.base import Method, Scores
from saliently.methods.rounding import rounding
from saliently.models.base import Model
from saliently.runner import Runner
from saliently.types import Quantity, Tokens


@dataclass(frozen=True, repr=False)
class Occlusion(Method):
    """Saliency: what the explained number loses when the word is taken away, f(x) - f(x without it).

    Li et al. 2016; Bastings and Filippova 2020, Eq. 5 (there with `blank="zero"`); with `blank="delete"` the omission
    of Kadar et al. 2017, on the score instead of on a hidden vector: the token id goes, later ones move up. Units of
    the target, signed. Exact for each word alone; the scores sum to f(x) - f(nothing) only where words add up, and
    what is missing or counted twice is reported as the residual.

    `window=N` takes N neighbouring tokens away at once, and a token gets the sum over the windows that hold it,
    divided by N even at the ends of the text (Poerner et al. 2018). `by="unit"` takes a whole unit away at once (a
    word, or what `Options.units` names), in one pass a unit; its tokens get equal parts of its score. `blank` is "mask"
    by default where the model has that token, else "zero".
    """

    name: ClassVar[str] = "occlusion"
    quantity: ClassVar[Quantity] = "saliency"
    vectors: ClassVar[bool] = False
    blank: str | None = None
    window: int = 1
    by: Literal["token", "unit"] = "token"

    def __post_init__(self) -> None:
        if self.blank is not None:
            erase.check_blank(self.blank)
        if self.window < 1:
            raise RecipeError(f"occlusion was asked for with window={self.window}; give a number of tokens from 1 up.")
        if self.by not in ("token", "unit") or (self.by == "unit" and self.window > 1):
            raise RecipeError(f"{self!r} was asked for; by is 'token' or 'unit', and a window is of tokens alone.")

    def rows(self, tokens: int) -> int:
        return tokens + 2

    def lengths(self, model: Model, tokens: Tokens) -> list[int]:
        words, many = erase.words(tokens), len(tokens.ids)
        gone = self._away(tokens).sum(1).int().tolist()
        if self.blank == "delete" and model.vectors:
            return [many, many - int(words.sum()), *(many - each for each in gone)]
        return [many] * (2 + len(gone))

    def __call__(self, runner: Runner) -> list[Scores]:
        gone = [self._away(tokens) for tokens in runner.inputs]
        blocks = {
            i: torch.cat([erase.everything(tokens), erase.nothing(tokens), 1.0 - gone[i]])
            for i, tokens in enumerate(runner.inputs)
        }
        values = runner.values(blocks, *(self.blanks or ()))
        return [self._answer(gone[i], values[i], rounding(runner, float(values[i][0]))) for i in blocks]

    def _away(self, tokens: Tokens) -> Tensor:
        """(W, T) 1 at the tokens that each row takes away."""
        return away.units(tokens) if self.by == "unit" else away.windows(erase.words(tokens), self.window)

    def _answer(self, gone: Tensor, values: Tensor, notes: tuple[str, ...]) -> Scores:
        plain, nothing, without = float(values[0]), float(values[1]), values[2:]
        sizes = gone.sum(1).double() if self.by == "unit" else self.window
        scores = ((plain - without) / sizes) @ gone.double()
        # Deleting every word of a text without special tokens leaves no input to ask about.
        return Scores(scores, None if torch.isnan(values[1]) else nothing, Checks(notes=notes))
