"""ReAGent: which tokens the output depends on, by replacing random shares of them again and again.

T tokens of a text, V words of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import RecipeError
from saliently.methods.base import Method, Scores
from saliently.methods.seeds import seed_of
from saliently.methods.substitutes import Candidates, Filler, filler_of, ordinary, seen
from saliently.models.base import Model
from saliently.questions import Questions
from saliently.runner import Runner
from saliently.types import Quantity, Target, Tokens

CANDIDATES = 64
"""Most words of a language model that one is drawn from."""

_SURE = 1e-6
"""How near to 0 and 1 a share may come before its log-odds are taken."""

Draw = Callable[[Tensor], Tensor]
"""(T,) numbers between 0 and 1 -> (T,) ids of other words."""


@dataclass(frozen=True, repr=False)
class ReAGent(Method):
    """Sensitivity: which tokens the probability of the output depends on, as shares of 1.

    Zhao et al. 2024 (recursive attribution generator), there for language models; here for any model with a vocabulary.
    A score a token, at first drawn at random; in each step every token is replaced with a chance of `share`, and
    where the probability falls by d, replaced tokens gain logit((1 + d) / 2) and the others lose as much. Steps go on
    until the output stays the model's choice while only the `keep` tokens of the highest scores (or half of the
    tokens, if they are fewer than twice as many) are kept and the others are replaced; but at least `least` steps, and
    `most` at most. The softmax of the mean over `probes` such runs is given, with its standard error; special tokens,
    and what stands behind the place that is explained, have no part in it.

    A share of importance, without a sign and in no unit: it is no saliency, since a share of 0.5 is not half of any
    change in the output, and is compared with the sizes of gradients, as another sensitivity. It sums to 1.

    Other words are drawn from the `lm`, a masked language model with the model's vocabulary (a folder or a name on the
    hub), by what it expects in each place of the unchanged text, or else evenly from the vocabulary; the token itself
    and special ones are left out. Samples of a text depend on `seed` and its ids alone.

    Departures: the paper draws words of the same part of speech. It stops when the output is among the three likeliest
    of the vocabulary, where here it must be the likeliest, as for a class, and it may stop after one step
    (`least=1`), when scores are still little but their random start: of two classes one is soon the choice. And it
    takes the mean behind the softmax, in which all but the largest scores of a run are lost.
    """

    name: ClassVar[str] = "reagent"
    quantity: ClassVar[Quantity] = "sensitivity"
    lm: str | None = None
    share: float = 0.3
    keep: int = 5
    probes: int = 5
    least: int = 30
    most: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share < 1 or min(self.keep, self.probes, self.least) < 1 or self.most < self.least:
            raise RecipeError(
                f"{self!r} was asked for; give a share between 0 and 1, keep and probes from 1 up, and from 1 step up "
                "no fewer steps as `most` than as `least`."
            )

    def rows(self, tokens: int) -> int:
        return 1 + self.probes * (self.most + self.most - self.least + 1)

    def asks(self, model: Model, target: Target) -> Target:
        if model.link == "none" or target.of not in (None, "probability") or target.against is not None:
            raise RecipeError(
                f"{self!r} was asked for with the {target.of or 'output'} of {model.name}"
                f"{'' if target.against is None else f' against {target.against!r}'}; it explains a probability, of a "
                "model that gives some. Leave the scale and `against` out."
            )
        return replace(target, of="probability")

    def resolved(self, model: Model) -> ReAGent:
        """A copy, which holds the language model as long as it is used, once it was loaded."""
        return replace(self)

    @cached_property
    def _fillers(self) -> dict[Model, Filler]:
        """By the model into whose texts they put words."""
        return {}

    def __call__(self, runner: Runner) -> list[Scores]:
        plain = runner.values(runner.everything())
        draws = self._draws(runner)
        probes = {
            i: [self._probe(runner, i, number, draws[id(tokens)]) for number in range(self.probes)]
            for i, tokens in enumerate(runner.inputs)
        }
        decisions = _decisions(runner)
        while going := {i: some for i, every in probes.items() if (some := [p for p in every if not p.done])}:
            _step(runner, going, {i: float(plain[i]) for i in going})
            checked = {i: some for i, every in going.items() if (some := [p for p in every if p.steps >= self.least])}
            _check(decisions, checked, {i: float(plain[i]) > 0.5 for i in checked})
            for each in (one for some in going.values() for one in some):
                each.done |= each.steps >= self.most
        return [self._answer(probes[i]) for i in probes]

    def _draws(self, runner: Runner) -> dict[int, Draw]:
        """id of a text's Tokens -> how other words for it are drawn."""
        texts = list({id(tokens): tokens for tokens in runner.inputs}.values())
        if self.lm is None:
            return {id(tokens): _evenly(tokens, ordinary(runner.model, tokens)) for tokens in texts}
        if runner.model not in self._fillers:
            lm = filler_of(runner.model, self.lm)
            self._fillers[runner.model] = Filler(lm, runner.model, CANDIDATES, own=False)
        words = self._fillers[runner.model].words(texts, runner.budget)
        return {id(tokens): _expected(tokens, words[id(tokens)]) for tokens in texts}

    def _probe(self, runner: Runner, i: int, number: int, draw: Draw) -> _Probe:
        tokens = runner.inputs[i]
        random = torch.Generator().manual_seed(seed_of(self.seed, number, tokens.ids))
        words = seen(tokens, runner.questions.spots[i])
        many = int(words.sum())
        keep = min(self.keep, max(1, many // 2))
        scores = torch.rand(len(words), generator=random, dtype=torch.float64)
        return _Probe(torch.tensor(tokens.ids), erase.words(tokens), words, self.share, keep, draw, random, scores)

    def _answer(self, probes: list[_Probe]) -> Scores:
        scores = torch.stack([each.scores for each in probes])
        shares = _shares(scores.mean(0), probes[0].seen)
        # How a share moves with the scores, to first order.
        moves = shares * (scores - (scores * shares).sum(1, keepdim=True))
        errors = moves.std(0) / len(moves) ** 0.5 if len(moves) > 1 else torch.zeros(0)
        stopped = sum(each.stopped for each in probes)
        note = (
            "The scores are shares of 1 by what replacing words does to the probability, not by moving their vectors. "
            f"Of {len(probes)} probes {stopped} stopped by themselves, after {sum(p.steps for p in probes)} steps in "
            "all."
        )
        return Scores(shares, checks=Checks(errors=tuple(errors.tolist()), notes=(note,)))


@dataclass(eq=False)
class _Probe:
    """One run over one text.

    Attributes: plain (T,), its ids; words (T,), True where a token may be replaced; seen (T,), which of these get a
    score; share, of those replaced in a step; keep, how many stay where it is checked; draw; random; scores (T,), log-
    odds of importance; away (T,), which were replaced in this step; spare (T,), numbers to draw words with; steps;
    stopped, by itself; done.
    """

    plain: Tensor
    words: Tensor
    seen: Tensor
    share: float
    keep: int
    draw: Draw
    random: torch.Generator
    scores: Tensor
    away: Tensor = field(init=False)
    spare: Tensor = field(init=False)
    steps: int = 0
    stopped: bool = False
    done: bool = False

    def replaced(self) -> Tensor:
        """(T,) ids of the next step."""
        chance, words, self.spare = torch.rand(3, len(self.plain), generator=self.random, dtype=torch.float64)
        self.away = self.words & (chance < self.share)
        return torch.where(self.away, self.draw(words), self.plain)

    def fell(self, change: float) -> None:
        """How much less probable the output was in this step."""
        gain = torch.logit(torch.tensor((1 + change) / 2, dtype=torch.float64), eps=_SURE)
        self.scores = self.scores + torch.where(self.away, gain, -gain)
        self.steps += 1

    def kept(self) -> Tensor:
        """(T,) ids where all but the tokens with the highest scores are replaced."""
        top = self.scores.masked_fill(~self.seen, -torch.inf).topk(min(self.keep, len(self.plain))).indices
        away = self.words.clone()
        away[top] = False
        return torch.where(away, self.draw(self.spare), self.plain)


def _shares(scores: Tensor, some: Tensor) -> Tensor:
    """(T,) of 1, for some of the tokens."""
    return scores.masked_fill(~some, -torch.inf).softmax(0) if some.any() else torch.zeros_like(scores)


def _step(runner: Runner, probes: Mapping[int, list[_Probe]], plain: Mapping[int, float]) -> None:
    """One step of all probes, their rows together."""
    found = _run(runner, {i: torch.stack([each.replaced() for each in some]) for i, some in probes.items()})
    for i, some in probes.items():
        for each, value in zip(some, found[i].tolist(), strict=True):
            each.fell(plain[i] - value)


def _check(decisions: Runner, probes: Mapping[int, list[_Probe]], likely: Mapping[int, bool]) -> None:
    """Stop the probes that know enough: the output is still the choice."""
    found = _run(decisions, {i: torch.stack([each.kept() for each in some]) for i, some in probes.items()})
    for i, some in probes.items():
        for each, margin in zip(some, found[i].tolist(), strict=True):
            alone = decisions.model.link == "sigmoid"
            each.stopped = each.done = (margin > 0) == likely[i] if alone else margin > 0


def _run(runner: Runner, swaps: Mapping[int, Tensor]) -> dict[int, Tensor]:
    return runner.values({i: torch.ones(ids.shape) for i, ids in swaps.items()}, swaps=swaps)


def _decisions(runner: Runner) -> Runner:
    """A runner that asks by how much the explained output is the model's choice, of the same texts; what it runs counts
    as the first one's."""
    against = None if runner.model.link == "sigmoid" else "next"
    asked, target = runner.questions, replace(runner.questions.target, of="logit", against=against)
    other = copy(runner)
    other.questions = Questions(runner.model, target, asked.spots)
    other.questions.pins = [
        pins and tuple(replace(pin, of="logit", against=against) for pin in pins) for pins in asked.pins
    ]
    return other


def _evenly(tokens: Tokens, allowed: Tensor) -> Draw:
    """Words of the vocabulary, each as likely as the other."""
    ids, plain = allowed.nonzero()[:, 0], torch.tensor(tokens.ids)
    known = allowed[plain.clamp(max=len(allowed) - 1)] & (plain < len(allowed)) & (len(ids) > 1)
    rank = torch.searchsorted(ids, plain)

    def draw(chance: Tensor) -> Tensor:
        at = (chance * (len(ids) - known.long())).long()
        return ids[at + (known & (at >= rank)).long()]  # one further on from the token itself, which is left out

    return draw


def _expected(tokens: Tokens, words: Mapping[int, Candidates]) -> Draw:
    """Words by their probability in each place."""
    many = max(len(each.ids) for each in words.values())
    ids = torch.tensor(tokens.ids)[:, None].repeat(1, many)
    below = torch.full((len(tokens.ids), many), torch.inf, dtype=torch.float64)
    for token, each in words.items():
        ids[token, : len(each.ids)] = each.ids
        below[token, : len(each.ids) - 1] = each.chances.cumsum(0)[:-1]

    def draw(chance: Tensor) -> Tensor:
        return ids.gather(1, (below <= chance[:, None]).sum(1, keepdim=True))[:, 0]

    return draw
