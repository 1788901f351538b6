"""Minimal erasure: the fewest words without which the model decides otherwise.

R sets of words, N words, T tokens of a text.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import RecipeError
from saliently.methods import away
from saliently.methods.base import Method, Scores
from saliently.methods.rounding import rounding
from saliently.methods.substitutes import seen
from saliently.models.base import Model
from saliently.runner import Runner
from saliently.types import Grouping, Quantity, Scale, Target

_TIE = 1e-6
"""Margins that differ by less are a tie, which rounding must not decide."""

_SCALES: tuple[Scale | None, ...] = (None, "logit", "log-probability", "probability")


@dataclass(frozen=True, repr=False)
class MinimalErasure(Method):
    """Selection: the fewest words without which the model decides otherwise; 1 at these, 0 at all others.

    Li et al. 2016, section 5, who search by reinforcement learning. The decision is the sign of the explained number,
    the class's less that of the next best class; of a model that judges each label by itself, the logit. A class that
    the model does not predict is decided against, and the words are those without which it would be chosen. Sums to
    nothing: words that are not marked may matter too, where others do the same work. Words (or what `Options.units`
    names) are taken away whole, as `blank` says; see occlusion.

    Departure: with up to `exact` words all sets are tried, smallest first, so that what is found is the smallest; of
    several of one size, the one that leaves least of the decision. With more, that word is taken away each time that
    leaves least, as long as `most` rows allow, then the rest in their last order; from the words that flip the decision
    all are put back that it does not need, one by one, until none can be. Such a set may not be the smallest; the
    checks say which it is. Where nothing flips the decision no word is marked, and the checks say so.
    """

    name: ClassVar[str] = "minimal-erasure"
    quantity: ClassVar[Quantity] = "selection"
    vectors: ClassVar[bool] = False
    blank: str | None = None
    exact: int = 12
    most: int = 4096

    def __post_init__(self) -> None:
        if self.blank is not None:
            erase.check_blank(self.blank)
        if self.exact < 0 or self.most < 1:
            raise RecipeError(f"{self!r} was asked for; give `exact` from 0 up, and at least one row as `most`.")

    @property
    def grouping(self) -> Grouping:
        return "max"

    def rows(self, tokens: int) -> int:
        return 1 + min(self.most, 2**tokens - 1 if tokens <= self.exact else 3 * tokens)

    def asks(self, model: Model, target: Target) -> Target:
        if model.link == "none" and (model.vectors or len(model.labels) < 2):
            raise RecipeError(
                f"{self.name} was asked of {model.name}, whose output is a number and no class; it looks for words "
                "that a decision hangs on. Use occlusion."
            )
        scales = {"softmax": _SCALES, "sigmoid": _SCALES[:2], "none": (*_SCALES[:2], "output")}[model.link]
        if target.against not in (None, "next") or target.of not in scales:
            raise RecipeError(
                f"{self.name} was asked for with the {target.of or 'number'} of a class"
                f"{'' if target.against is None else f' against {target.against!r}'}; it is about what the model "
                "decides. Leave the scale and `against` out."
            )
        return replace(target, against=None if model.link == "sigmoid" else "next")

    def __call__(self, runner: Runner) -> list[Scores]:
        plain = runner.values(runner.everything())
        searches = {i: _Search.of(runner, i, self.most) for i in plain}
        going = {i: one.run(self.exact) for i, one in searches.items() if abs(one.plain) > 0 and len(one.who)}
        asked = {i: next(one) for i, one in going.items()}
        while asked:
            blocks = {i: 1.0 - sets.float() @ searches[i].who for i, sets in asked.items()}
            for i, values in runner.values(blocks, *(self.blanks or ())).items():
                try:
                    asked[i] = going[i].send(values if searches[i].plain > 0 else -values)
                except StopIteration as end:
                    searches[i].found = end.value
                    del asked[i]
        return [each.scores(rounding(runner, each.plain)) for each in searches.values()]


class _Found(NamedTuple):
    """Attributes: gone (N,), True at the words to take away, None if nothing flips the decision; left, how much of the
    decision is left then, below 0; said, how sure that is."""

    gone: Tensor | None
    left: float
    said: str


_Searching = Generator[Tensor, Tensor, _Found]
"""Asks for what is left of a decision without sets of words (R, N); is sent (R,) numbers, below 0 where it flips."""


@dataclass(eq=False)
class _Search:
    """The search in one text. Attributes: who (N, T), 1 at the tokens of each word; plain, the number that decides;
    most, rows that may still be spent; found, once it is done."""

    who: Tensor
    plain: float
    most: int
    found: _Found | None = None

    @staticmethod
    def of(runner: Runner, i: int, most: int) -> _Search:
        tokens = runner.inputs[i]
        who, can = away.units(tokens), seen(tokens, runner.questions.spots[i])
        return _Search(who[(who * can).sum(1) > 0], runner.questions.plain[i], most)

    def scores(self, notes: tuple[str, ...]) -> Scores:
        """1 at the tokens of the words that were found."""
        found, marked = self.found, torch.zeros(self.who.shape[1], dtype=torch.float64)
        if found is None:
            said = "The model is of two minds about this text, or no word of it can matter; no word is marked."
        elif found.gone is None:
            said = f"{found.said} No word is marked."
        else:
            marked, left = found.gone.double() @ self.who.double(), found.left if self.plain > 0 else -found.left
            said = (
                f"Without the {int(found.gone.sum())} marked words the model decides otherwise: {self.plain:.4g} "
                f"becomes {left:.4g}. {found.said}"
            )
        return Scores(marked, checks=Checks(notes=(said, *notes)))

    def run(self, exact: int) -> _Searching:
        """All sets by their size, for few words; else step by step.

        Raises:
            RecipeError: there are too many words for so few rows.
        """
        many, size = len(self.who), 0
        every, need = many <= exact and 2**many - 1 <= self.most, many + 2 * many.bit_length() + 1
        if not every and need > self.most:
            raise RecipeError(
                f"A search among {many} words within {self.most} rows was asked for; it takes {need} at least. Allow "
                "more with most=, or let larger units be taken away."
            )
        while many <= exact and size < many and comb(many, size + 1) + (0 if every else need) <= self.most:
            size += 1
            sets = _sets(many, size)
            left = yield from self._ask(sets)
            best = _least(left)
            if left[best] < 0:
                return _Found(sets[best], float(left[best]), "No smaller set of words does that; all were tried.")
        if size == many:
            return _Found(None, 0.0, "Whichever words are taken away, the decision stands; all sets were tried.")
        return (yield from self._greedily(size))

    def _ask(self, sets: Tensor) -> Generator[Tensor, Tensor, Tensor]:
        self.most -= len(sets)
        return (yield sets)

    def _greedily(self, tried: int) -> _Searching:
        """One word more each time, the one that leaves least; sets of up to `tried` words are known not to do."""
        gone = torch.zeros(len(self.who), dtype=torch.bool)
        rest = torch.arange(len(self.who))
        while len(rest):
            sets = _each(gone, rest)
            left = yield from self._ask(sets)
            best = _least(left)
            gone, last = sets[best], left[best]
            if last < 0:
                return (yield from self._pruned(gone, float(last), max(tried, 1 if int(gone.sum()) > 1 else 0)))
            order = rest[left.argsort(stable=True)]
            order, rest = order[order != rest[best]], rest[rest != rest[best]]
            if 2 * len(rest) > self.most:
                return (yield from self._in_order(gone, order, max(tried, 1)))
        return _Found(None, 0.0, "Word by word all were taken away, and the decision stands; other sets may flip it.")

    def _in_order(self, gone: Tensor, order: Tensor, tried: int) -> _Searching:
        """The shortest beginning of `order` found to flip the decision, with what is gone already: sizes doubled, then
        halved between."""
        sizes = [*(2**k for k in range(len(order).bit_length()) if 2**k < len(order)), len(order)]
        left = yield from self._ask(torch.stack([_with(gone, order[:size]) for size in sizes]))
        flips = (left < 0).nonzero()[:, 0]
        if not len(flips):
            return _Found(
                None, 0.0, "Words were taken away up to all of them, and the decision stands; other sets may flip it."
            )
        high, last = sizes[int(flips[0])], float(left[flips[0]])
        low = sizes[int(flips[0]) - 1] if flips[0] else 0
        while high - low > 1:
            middle = (low + high) // 2
            (value,) = yield from self._ask(_with(gone, order[:middle])[None])
            low, high, last = (low, middle, float(value)) if value < 0 else (middle, high, last)
        return (yield from self._pruned(_with(gone, order[:high]), last, tried))

    def _pruned(self, gone: Tensor, left: float, tried: int) -> _Searching:
        """Put back what is not needed, the words that change least first."""
        while int(gone.sum()) > max(1, tried + 1):
            back = gone.nonzero()[:, 0]
            if len(back) > self.most:
                return _Found(gone, left, "The rows were spent before it was known which of them could be put back.")
            values = yield from self._ask(~_each(~gone, back))
            loose = [int(k) for k in values.argsort(stable=True) if values[k] < 0]
            if not loose:
                break
            gone, left = ~_with(~gone, back[loose[0]]), float(values[loose[0]])
            for k in loose[1 : 1 + max(0, self.most)]:
                fewer = ~_with(~gone, back[k])
                (value,) = yield from self._ask(fewer[None])
                gone, left = (fewer, float(value)) if value < 0 else (gone, left)
        smaller = f" of more than {tried}" if tried else ""
        if int(gone.sum()) == tried + 1:
            return _Found(gone, left, "No smaller set of words does that; all were tried.")
        return _Found(gone, left, f"None of them can be put back, but another, smaller set{smaller} may exist.")


def _sets(many: int, size: int) -> Tensor:
    """(R, N) all sets of so many words, in the order of the text."""
    members = torch.tensor(list(combinations(range(many), size)))
    return torch.zeros(len(members), many, dtype=torch.bool).scatter_(1, members, True)


def _with(gone: Tensor, more: Tensor) -> Tensor:
    """(N,) the same and these."""
    found = gone.clone()
    found[more] = True
    return found


def _each(gone: Tensor, more: Tensor) -> Tensor:
    """(R, N) the same and one of these, for each."""
    found = gone.repeat(len(more), 1)
    found[torch.arange(len(more)), more] = True
    return found


def _least(left: Tensor) -> int:
    """Where least is left; of a tie the first. A row without a number is none."""
    known = left.nan_to_num(nan=torch.inf)
    near = known <= known.min() + _TIE * max(1.0, float(known.min().abs()))
    return int((near & ((known < 0) | (known.min() >= 0))).long().argmax())
