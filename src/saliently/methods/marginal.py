"""Input marginalisation: what is left of the explained number when a word is any word that could stand there.

R rows of a text, T tokens, N substitutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import RecipeError
from saliently.methods.base import Method, Scores
from saliently.methods.rounding import rounding
from saliently.methods.substitutes import Candidates, Filler, filler_of
from saliently.models.base import Model
from saliently.runner import Runner
from saliently.types import Quantity, Target, Tokens

_AT_ONCE = 2**22
"""Most token ids of rows that are held at a time."""


@dataclass(frozen=True, repr=False)
class InputMarginalization(Method):
    """Saliency: what the explained number loses when a word is not taken away but left open: f(x) less the mean of f
    over the words that a masked language model expects in its place, by their probability.

    Kim et al. 2020. No input is out of the ordinary, as one with a mask or a hole in it may be. Units of the target,
    signed, by token. Sums to nothing in particular: a word that its neighbours give away scores 0 whatever it says, and
    what is missing of f(x) - f(nothing) (every word masked, where the model has a mask) is reported as the residual.

    `lm` names the masked language model, a folder or a name on the hub; it must have the model's vocabulary, and is the
    model itself where that is one. It reads the text with one token masked. Words of a probability of less than `least`
    are left out, and all but the `most` likeliest; the checks say how much of the probability the rest have, over which
    the mean is taken. Special tokens are never put into a text.

    Departure: the paper's score is the weight of evidence, the difference of log2 odds p / (1 - p), where p without the
    word is the mean of probabilities. Here it is the difference of the target's own numbers. With
    Target(of="probability") the mean is the paper's, and its weight of evidence is logit2(p) - logit2(p - score), where
    p is the explained number.
    """

    name: ClassVar[str] = "input-marginalization"
    quantity: ClassVar[Quantity] = "saliency"
    lm: str | None = None
    least: float = 1e-5
    most: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.least < 1 or self.most < 1:
            raise RecipeError(
                f"{self!r} was asked for; give `least`, a probability from 0 to below 1, and `most`, words for each "
                "place, from 1 up."
            )

    def rows(self, tokens: int) -> int:
        return 2 + self.most * tokens

    def asks(self, model: Model, target: Target) -> Target:
        if self.lm is None:
            filler_of(model, None)  # what is wrong for every text is told at once
        return target

    def resolved(self, model: Model) -> InputMarginalization:
        """A copy, which holds the language model as long as it is used, once it was loaded."""
        return replace(self)

    @cached_property
    def _fillers(self) -> dict[Model, Filler]:
        """By the model into whose texts they put words."""
        return {}

    def __call__(self, runner: Runner) -> list[Scores]:
        model = runner.model
        if model not in self._fillers:
            self._fillers[model] = Filler(filler_of(model, self.lm), model, self.most, self.least)
        filler = self._fillers[model]
        words = filler.words(runner.inputs, runner.budget)
        mine = [words[id(tokens)] for tokens in runner.inputs]
        ends = {i: _ends(model, tokens) for i, tokens in enumerate(runner.inputs)}
        values = runner.values(ends, "mask")
        scores = _scores(runner, [_Open.of(*each) for each in zip(runner.inputs, mine, strict=True)])
        return [
            Scores(
                scores[i],
                float(values[i][1]) if len(ends[i]) > 1 else None,
                Checks(notes=(_note(filler, mine[i]), *rounding(runner, float(values[i][0])))),
            )
            for i in ends
        ]


class _Open(NamedTuple):
    """What could stand in a text, place by place. Attributes: plain (T,), its own ids; token (N,), where; word (N,),
    what; chance (N,), how likely, of each place 1 together."""

    plain: Tensor
    token: Tensor
    word: Tensor
    chance: Tensor

    @staticmethod
    def of(tokens: Tokens, words: Mapping[int, Candidates]) -> _Open:
        found = [(torch.full_like(each.ids, token), each.ids, each.chances) for token, each in sorted(words.items())]
        token, word, chance = (torch.cat(each) for each in zip(*found, strict=True))
        return _Open(torch.tensor(tokens.ids), token, word, chance)

    def rows(self, some: slice) -> Tensor:
        """(R, T) the text with one of the words in its place, for those that are not its own."""
        token, word = self.token[some], self.word[some]
        others = word != self.plain[token]
        ids = self.plain.repeat(int(others.sum()), 1)
        ids[torch.arange(len(ids)), token[others]] = word[others]
        return ids


def _scores(runner: Runner, texts: list[_Open]) -> list[Tensor]:
    """(T,) of each text, its rows asked a part at a time."""
    plain = runner.questions.plain
    found = [torch.zeros(len(text.plain), dtype=torch.float64) for text in texts]
    longest = max(len(text.plain) for text in texts)
    many = max(1, _AT_ONCE // (longest * len(texts)))
    for start in range(0, max(len(text.token) for text in texts), many):
        some = slice(start, start + many)
        swaps = {i: ids for i, text in enumerate(texts) if len(ids := text.rows(some))}
        values = runner.values({i: torch.ones(ids.shape) for i, ids in swaps.items()}, swaps=swaps)
        for i, value in values.items():
            token, word = texts[i].token[some], texts[i].word[some]
            others = word != texts[i].plain[token]
            # A word in its own place changes nothing, so that it adds nothing to the sum.
            found[i].index_add_(0, token[others], texts[i].chance[some][others] * (plain[i] - value))
    return found


def _ends(model: Model, tokens: Tokens) -> Tensor:
    """The text, and where there is a mask nothing of it."""
    ends = [erase.everything(tokens), erase.nothing(tokens)]
    return torch.cat(ends if "mask" in model.blank_ids else ends[:1])


def _note(filler: Filler, words: Mapping[int, Candidates]) -> str:
    least = min(each.covered for each in words.values())
    return (
        f"At each token the words tried have at least {least:.1%} of the probability by {filler.lm.name}, which ran "
        f"{len(words) + 1} rows of its own."
    )
