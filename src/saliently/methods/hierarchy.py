"""Occlusion of large units first, and of the words of those that matter.

T tokens of a text, S segments, R rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import RecipeError
from saliently.methods.base import Method, Scores
from saliently.methods.rounding import rounding
from saliently.runner import Runner
from saliently.segments import segmented
from saliently.types import Quantity, Segments, Tokens

LEVELS: Mapping[str, Segments] = {"paragraph": "paragraph", "sentence": "sentence", "word": "word"}
"""From large to small."""


@dataclass(frozen=True, repr=False)
class HierarchicalOcclusion(Method):
    """Saliency: occlusion for long texts. Sentences are taken away first, then the words of those that matter.

    Occlusion as in Li et al. 2016 by units of several sizes; no paper of its own. `levels` names the sizes from large
    to small: "paragraph", "sentence" and "word", the last being the words of a text, or what `Options.units` names.
    Of the units of a level the strongest are opened that make up `share` of the sum of all magnitudes, and the units of
    the next level inside them are taken away one at a time. A token's score is the drop f(x) - f(x without it) of the
    smallest unit that was taken away with it, in equal parts for its tokens: of a word where its sentence was opened,
    else of the sentence.

    Units of the target, signed. As with occlusion the scores sum to f(x) - f(nothing) only where words add up, and the
    residual is reported. Scores of tokens in opened and in other sentences are of one scale, but the latter are only
    means. With `share=1` all is opened, and the scores are those of occlusion(by="unit"). A unit that is the only one
    inside a larger one is not taken away again; one that runs over the end of a sentence belongs to that in which it
    begins. `blank` as for occlusion: "mask" by default where the model has that token, else "zero".
    """

    name: ClassVar[str] = "hierarchical-occlusion"
    quantity: ClassVar[Quantity] = "saliency"
    vectors: ClassVar[bool] = False
    blank: str | None = None
    levels: tuple[str, ...] = ("sentence", "word")
    share: float = 0.8

    def __post_init__(self) -> None:
        if self.blank is not None:
            erase.check_blank(self.blank)
        if not self.levels or list(self.levels) != [level for level in LEVELS if level in self.levels]:
            raise RecipeError(
                f"{self!r} was asked for; levels are some of {', '.join(map(repr, LEVELS))}, in this order, each once."
            )
        if not 0 <= self.share <= 1:
            raise RecipeError(f"{self!r} was asked for; the share is a number from 0 to 1.")

    def rows(self, tokens: int) -> int:
        return 2 + tokens

    def __call__(self, runner: Runner) -> list[Scores]:
        texts = [_Text(_nested(tokens, self.levels)) for tokens in runner.inputs]
        ends = {
            i: torch.cat([erase.everything(tokens), erase.nothing(tokens)]) for i, tokens in enumerate(runner.inputs)
        }
        values = runner.values(ends, *(self.blanks or ()))
        for i, text in enumerate(texts):
            text.begin(values[i][0], values[i][1])
        for level, name in enumerate(self.levels):
            asked = {i: sets for i, text in enumerate(texts) if len(sets := text.inside(level))}
            found = runner.values({i: 1.0 - sets for i, sets in asked.items()}, *(self.blanks or ()))
            for i, text in enumerate(texts):
                text.tell(asked.get(i), found.get(i))
                if level + 1 < len(self.levels):
                    text.open(self.share, name)
        return [self._answer(runner, text) for text in texts]

    def _answer(self, runner: Runner, text: _Text) -> Scores:
        nothing = None if torch.isnan(text.nothing) else float(text.nothing)
        notes = (*text.notes, *rounding(runner, float(text.plain)))
        return Scores(text.drop / text.size, nothing, Checks(notes=notes))


@dataclass(eq=False)
class _Text:
    """One text under way.

    Attributes: units, for each level (T,) the number of the unit that a token is in, -1 for special tokens; plain and
    nothing, the explained number at the text and without any of it; drop (T,), of the smallest unit so far that a token
    is in; size (T,), how many tokens that has; opened (T,), is the token in a unit that was opened?; now (T,), the
    units inside these that are looked at, -1 elsewhere; notes.
    """

    units: list[Tensor]
    plain: Tensor = field(init=False)
    nothing: Tensor = field(init=False)
    drop: Tensor = field(init=False)
    size: Tensor = field(init=False)
    opened: Tensor = field(init=False)
    now: Tensor = field(init=False)
    notes: list[str] = field(default_factory=list)

    def begin(self, plain: Tensor, nothing: Tensor) -> None:
        """The whole text is a unit that is open."""
        self.opened = self.units[0] >= 0
        self.plain, self.nothing = plain, nothing
        self.drop = torch.where(self.opened, plain - nothing, 0.0)
        self.size = torch.where(self.opened, self.opened.sum(), 1)

    def inside(self, level: int) -> Tensor:
        """(R, T) 1 at the tokens of each unit of a level that is a part of an opened one, and not all of it."""
        self.now = torch.where(self.opened, self.units[level], -1)
        sets = self.now == torch.unique(self.now[self.opened])[:, None]
        smaller = sets.sum(1) < (sets * self.size).amax(1)
        found: Tensor = sets[smaller].float()
        return found

    def tell(self, sets: Tensor | None, values: Tensor | None) -> None:
        """Go on with what the model says without each of these."""
        if sets is not None and values is not None:
            inside = sets.bool().any(0)
            self.drop = torch.where(inside, (self.plain - values) @ sets.double(), self.drop)
            self.size = torch.where(inside, sets.sum(1).long() @ sets.long(), self.size)

    def open(self, share: float, name: str) -> None:
        """Open the strongest of the units that were just taken away."""
        units = torch.unique(self.now[self.opened])
        first = (self.now == units[:, None]).long().argmax(1)
        chosen = units[_strongest(self.drop[first].abs(), share)]
        self.notes.append(f"{len(chosen)} of {len(units)} {name}s were opened.")
        self.opened = torch.isin(self.now, chosen)


def _strongest(sizes: Tensor, share: float) -> Tensor:
    """(S,) True at the largest that make up a share of the sum; all if there is one, or if the share is 1."""
    if len(sizes) == 1 or share == 1:
        return torch.ones(len(sizes), dtype=torch.bool)
    largest, order = sizes.sort(descending=True, stable=True)
    before = largest.cumsum(0) - largest
    found = torch.zeros(len(sizes), dtype=torch.bool)
    found[order[before < share * sizes.sum()]] = True
    return found


def _nested(tokens: Tokens, levels: tuple[str, ...]) -> list[Tensor]:
    """For each level (T,) the number of each token's unit, -1 for special tokens; a unit lies inside one of the level
    above, that of its first token."""
    own = torch.tensor([-1 if unit is None else unit for unit in tokens.units])
    found: list[Tensor] = []
    for level in reversed(levels):
        if level == "word":
            found.append(own)
            continue
        cut = torch.tensor([-1 if unit is None else unit for unit in segmented(tokens, LEVELS[level]).units])
        below = found[-1] if found else cut
        first = {int(unit): int(cut[below == unit][0]) for unit in torch.unique(below)}
        found.append(torch.tensor([first[int(unit)] for unit in below]))
    return found[::-1]
