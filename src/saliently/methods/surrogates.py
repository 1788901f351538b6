"""Linear surrogates: what words add to the model's answer near a text, by regression."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliently.errors import RecipeError
from saliently.games.asking import Asking
from saliently.games.context_cite import Sparse, context_cite
from saliently.games.lime import Fit, lime, lime_limit, limsse
from saliently.methods.game import Played, Players
from saliently.models.base import Model
from saliently.types import Quantity, Target, Tokens


@dataclass(frozen=True, repr=False)
class Lime(Played):
    """Saliency: the weight of a word in a linear model that is fitted to what the model says near the text.

    Ribeiro et al. 2016; Bastings and Filippova 2020, section 3, leave it out for its cost. As published for text: in
    each of `samples` a number of words, uniform from 1 to all, is taken away; samples weigh by their cosine distance to
    the text, times 100, in a kernel of width 25; `features` words are chosen ("forward", one by one, up to 6 of them,
    else "highest-weights" of a first fit), and a ridge regression (penalty 1, intercept free) gives their weights; all
    other words score 0. Units of the target, signed. Sums to nothing in particular: the residual says how far off.
    The checks say how well the surrogate fits, and whether other samples would name the same words (the bootstrap over
    the sample that was drawn stands for other seeds).

    `samples=None` is the limit for ever more samples, from all coalitions of up to 16 words. `bow=True`, as the
    original, takes all occurrences of a word away together. Departures: the explained number is the target's (a logit,
    say; the original fits probabilities: ask for those by the target); words are those of every method here, so that
    punctuation is a word as well; the same coalition is run once.
    """

    name: ClassVar[str] = "lime"
    quantity: ClassVar[Quantity] = "saliency"
    most: int = 2**16 + 2
    samples: int | None = 5000
    features: int = 10
    selection: Literal["auto", "forward", "highest-weights", "none"] = "auto"
    bow: bool = True

    def check(self) -> None:
        if self.features < 1 or (self.samples is not None and self.samples < 2):
            raise RecipeError(f"{self!r} was asked for; give at least 2 samples and one feature.")

    def rows(self, tokens: int) -> int:
        every = int(2**tokens)
        return min(every, self.samples or every)

    def who(self, tokens: Tokens) -> Tensor:
        alone = Played.who(self, tokens)
        if not self.bow:
            return alone
        rows: dict[str, Tensor] = {}
        for row, name in zip(alone, self.spelled(tokens), strict=True):
            rows[name] = rows.get(name, torch.zeros_like(row)) + row
        return torch.stack(list(rows.values())) if rows else alone

    def asking(self, players: Players) -> Asking:
        fit = Fit(self.features, self.selection)
        if self.samples is None:
            return lime_limit(len(players), fit)
        return lime(len(players), self.samples, fit, players.random)


@dataclass(frozen=True, repr=False)
class Limsse(Played):
    """Saliency: the weight of a word in a linear model that is fitted to what the model says of pieces of the text.

    LIMSSE, Poerner et al. 2018: the pieces are substrings of 1 to `longest` words, each length alike likely and then
    each place, alone: all else is taken away. Least squares with an intercept, on the target's scale (of a probability
    it is their "ms-p", of a logit "ms-s"; their "bb", which fits the decision alone, is not offered). Units of the
    target, signed. Sums to nothing in particular: the residual says how far off. Departure: all substrings are asked,
    weighted by how often they would be drawn, where the original draws 3,000; that is the limit of its samples.
    """

    name: ClassVar[str] = "limsse"
    quantity: ClassVar[Quantity] = "saliency"
    longest: int = 7

    def check(self) -> None:
        if self.longest < 1:
            raise RecipeError(f"{self!r} was asked for; the longest substring has one word at least.")

    def rows(self, tokens: int) -> int:
        return 2 + self.longest * tokens

    def asking(self, players: Players) -> Asking:
        return limsse(len(players), self.longest)


@dataclass(frozen=True, repr=False)
class ContextCite(Played):
    """Saliency: the weight of a part of the context in a sparse linear model of how likely the response is without it.

    Cohen-Wang et al. 2024: in each of `ablations` every part stays with probability `keep`, and a LASSO (`penalty`, on
    standardised parts and values by token of the response) is fitted to the log-odds of the response, log p / (1 - p).
    The parts are units of what comes before the response: give `Options(units="sentence")`, as the paper does, or your
    own segments; the response stays whole. Of a classifier all units are parts, and the log-odds are those of the
    explained class. Units of nats, signed; sums to nothing in particular. The checks say how well it fits, and whether
    other ablations would name the same parts. With `keep=0.5`, no penalty and ever more ablations: the Banzhaf value.

    Departure: a part that is taken away leaves a blank in its place; `blank="delete"` cuts it out, as the paper does.
    Needs scikit-learn (the extra `lasso`).
    """

    name: ClassVar[str] = "context-cite"
    quantity: ClassVar[Quantity] = "saliency"
    adds: ClassVar[bool] = False
    ablations: int = 64
    keep: float = 0.5
    penalty: float = 0.01

    def check(self) -> None:
        if self.ablations < 2 or not 0 < self.keep < 1 or self.penalty < 0:
            raise RecipeError(
                f"{self!r} was asked for; give at least 2 ablations, keep between 0 and 1, and a penalty of 0 or more."
            )

    def rows(self, tokens: int) -> int:
        return 2 + self.ablations

    def asks(self, model: Model, target: Target) -> Target:
        if model.link == "none" or target.of not in (None, "log-odds"):
            raise RecipeError(
                f"{self!r} was asked for with the {target.of or 'output'} of {model.name}; it explains log-odds, of a "
                "model that gives probabilities. Leave the scale out."
            )
        return replace(target, of="log-odds")

    def who(self, tokens: Tokens) -> Tensor:
        found = Played.who(self, tokens)
        first = len(tokens.ids) if tokens.response is None else tokens.response
        return found[found[:, first:].sum(1) == 0]

    def asking(self, players: Players) -> Asking:
        sparse = Sparse(self.ablations, self.keep, self.penalty, players.outputs)
        return context_cite(len(players), sparse, players.random)
