"""Methods that take words away and look at what the model says then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import RecipeError
from saliently.methods.base import Method, Scores
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
    divided by N even at the ends of the text (Poerner et al. 2018). `blank` is "mask" by default where the model has
    that token, else "zero".
    """

    name: ClassVar[str] = "occlusion"
    quantity: ClassVar[Quantity] = "saliency"
    vectors: ClassVar[bool] = False
    blank: str | None = None
    window: int = 1

    def __post_init__(self) -> None:
        if self.blank is not None:
            erase.check_blank(self.blank)
        if self.window < 1:
            raise RecipeError(f"occlusion was asked for with window={self.window}; give a number of tokens from 1 up.")

    def rows(self, tokens: int) -> int:
        return tokens + 2

    def lengths(self, model: Model, tokens: Tokens) -> list[int]:
        words, many = erase.words(tokens), len(tokens.ids)
        away = _windows(words, self.window).sum(1).int().tolist()
        if self.blank == "delete" and model.vectors:
            return [many, many - int(words.sum()), *(many - each for each in away)]
        return [many] * (2 + len(away))

    def __call__(self, runner: Runner) -> list[Scores]:
        windows = [_windows(erase.words(tokens), self.window) for tokens in runner.inputs]
        blocks = {
            i: torch.cat([erase.everything(tokens), erase.nothing(tokens), 1.0 - windows[i]])
            for i, tokens in enumerate(runner.inputs)
        }
        values = runner.values(blocks, *(self.blanks or ()))
        return [_answer(windows[i], values[i], self.window, rounding(runner, float(values[i][0]))) for i in blocks]


def rounding(runner: Runner, value: float) -> tuple[str, ...]:
    """What to know of a difference between two answers of a model in half precision: how coarse they are. `value` is
    one of them; nothing is said of a model in a wider type."""
    dtype = next((weight.dtype for weight in runner.model.module.parameters() if weight.is_floating_point()), None)
    if dtype not in (torch.bfloat16, torch.float16):
        return ()
    name, eps, target = str(dtype).removeprefix("torch."), torch.finfo(dtype).eps, runner.questions.target
    said = f"The model computes in {name}, whose steps are {eps:.2g} of a number's size"
    if target.of in ("logit", "output") and target.against is None:
        said += f", {eps * abs(value):.2g} of the explained {value:.4g}"
    return (f"{said}; scores of few such steps are little but rounding. Compute in float32 for small ones.",)


def _windows(words: Tensor, size: int) -> Tensor:
    """(W, T) 1 at the tokens that each window takes away; a text shorter than the window is one window."""
    places = words.nonzero()[:, 0]
    starts = range(max(1, len(places) - size + 1))
    table = torch.zeros(len(starts), len(words))
    for line, start in zip(table, starts, strict=True):
        line[places[start : start + size]] = 1.0
    return table


def _answer(windows: Tensor, values: Tensor, size: int, notes: tuple[str, ...]) -> Scores:
    plain, nothing, without = float(values[0]), float(values[1]), values[2:]
    scores = ((plain - without) @ windows.double()) / size
    # Deleting every word of a text without special tokens leaves no input to ask about.
    return Scores(scores, None if torch.isnan(values[1]) else nothing, Checks(notes=notes))
