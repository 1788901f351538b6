"""Layer-wise relevance propagation (LRP)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliently.checks import REST, Checks
from saliently.errors import ModelError, RecipeError
from saliently.methods.base import Method, Scores
from saliently.models.base import Model
from saliently.passes import Pass
from saliently.runner import Runner
from saliently.seam import graph
from saliently.seam.elementwise import Propagation
from saliently.seam.gradients import at_least_tiny
from saliently.seam.ledger import Ledger
from saliently.seam.linear import LinearRule
from saliently.seam.relevance import Relevance
from saliently.seam.watch import opened_behind_changes
from saliently.types import Quantity

Weighted = Literal["epsilon", "gamma", "z-plus", "alpha-beta"]


@dataclass(frozen=True, repr=False)
class LRP(Method):
    """Saliency: the explained number sent back from layer to layer, each layer sharing out what it got.

    Bach et al. 2015; Bastings and Filippova 2020, section 3.2. Units of the target, signed. What no input gets stays
    with biases, added vectors (positions, segments), a stabiliser or a softmax; the checks say how much. Relevance is
    taken at the output of the word embedding.

    `variant` says what a transformer does with it. "cp": attention weights, norms' divisors and the gates of gated
    units are constants (CP-LRP; Voita et al. 2021, Ali et al. 2022); keeps all but what biases take. "attn": products
    share in halves, softmax passes on by its gradient (AttnLRP, Achtibat et al. 2024), where the softmax keeps a part.
    "ali": weights and divisors are constants, activations pass on by their gradient (Ali et al. 2022, AH and LN). By
    default "attn" for models whose attention looks back only, else "cp"; the result says which.

    Elementwise functions that are 0 at 0 (GELU, tanh) pass all on; those that are not (sigmoid, exp) are gates and take
    nothing (Arras et al. 2017); `gates="proportional"` or "half" gives them a share of their products. Weighted sums
    follow `rule`: "epsilon", "gamma", "z-plus" or "alpha-beta" (beta = alpha - 1), with `bias` to "absorb" its share,
    to "share" it among the inputs or to count as "zero". A weighted sum is an input times a constant, in that order; a
    constant times an input is a mixing, as of attention. `first` ("w-square" or "flat") is for sums that read the word
    vectors themselves. With the defaults a bias absorbs what is due to it and nothing is divided by.

    Departures: a function that is not 0 at 0 is a gate in every variant; epsilon is 0 by default, where the papers add
    a small number to what they divide by, so that nothing is divided by at all.

    Layer-wise relevance propagation is patented by its inventors; this text and code give no licence to that. Look into
    it before commercial use.

    Raises, when run, a ModelError that names any operation that passes relevance on and that no rule has seen.
    """

    name: ClassVar[str] = "lrp"
    quantity: ClassVar[Quantity] = "saliency"
    variant: Literal["cp", "attn", "ali"] | None = None
    rule: Weighted = "epsilon"
    epsilon: float = 0.0
    gamma: float = 0.25
    alpha: float = 2.0
    bias: Literal["absorb", "share", "zero"] = "absorb"
    first: Literal["w-square", "flat"] | None = None
    gates: Literal["all", "proportional", "half"] = "all"

    def __post_init__(self) -> None:
        if self.epsilon < 0 or self.gamma < 0 or self.alpha < 1:
            raise RecipeError(f"{self!r} was asked for; epsilon and gamma are 0 or more, alpha is 1 or more.")

    def rows(self, tokens: int) -> int:
        return 1

    def resolved(self, model: Model) -> LRP:
        return self if self.variant else replace(self, variant="attn" if model.causal else "cp")

    def __call__(self, runner: Runner) -> list[Scores]:
        assert self.variant is not None, "the default depends on the model"
        linear = LinearRule(self.rule, self.epsilon, self.gamma, self.alpha, self.bias)
        first = None if self.first is None else replace(linear, rule=self.first)
        propagation = Propagation(self.variant, self.gates, linear, first)
        found = {
            each.example: (each.value, *each.part)
            for each in runner.through(runner.everything(), lambda one: _send_back(one, propagation))
        }
        return [self._answer(runner, i, *found[i]) for i in range(len(runner.inputs))]

    def _answer(self, runner: Runner, i: int, value: float, scores: Tensor, kept: dict[str, float]) -> Scores:
        words = torch.tensor(runner.inputs[i].words)
        shares = {"words": float(scores[words].sum()), "special tokens": float(scores[~words].sum()), **kept}
        shares[REST] = value - sum(shares.values())
        return Scores(scores, checks=Checks(kept=tuple(shares.items())))


def _send_back(one: Pass, propagation: Propagation) -> list[tuple[Tensor, dict[str, float]]]:
    """For each row of a batch: relevance of its tokens, and what others kept."""
    ledger = Ledger(*one.batch.ids.shape)
    seam = Relevance(propagation, ledger.note)
    seam.start(one.x)
    with opened_behind_changes(seam, one.model.module):
        one.values()
        if propagation.first is not None and not seam.firsts:
            raise ModelError(
                f"The rule {propagation.first.rule!r} was asked for where weighted sums read the word vectors; none "
                f"does in {one.model.name}: positions are added to them, or they are normed, before. Leave `first` out."
            )
        assert one.logits is not None
        if not one.logits.requires_grad:
            raise ModelError(
                f"Relevance was asked of {one.model.name}; no way leads it from the logits to the word vectors. On "
                "each stands a function that is not 0 at 0 (sigmoid, softmax, exp), which takes none, or the forward "
                "pass cuts it (no_grad, detach, quantised weights). Use integrated-gradients or occlusion."
            )
        graph.check(one.logits, one.x, plain=propagation.variant == "ali")
        with torch._C.DisableTorchFunction():  # the way from logits to the explained number has no rules
            values = one.evaluate(one.logits)
        grad, at_logits = one.gradient(values, [one.x, one.logits])
    wide = torch.promote_types(one.x.dtype, torch.float32)
    relevance = (grad.to(wide) * at_least_tiny(one.x.detach()).to(wide)).sum(-1)
    # A probability, say, is no sum of logits' shares: what its scale keeps.
    started = (at_logits.double() * one.logits.detach().double()).flatten(1).sum(-1)
    ledger.note("the target's scale", values.detach().double() - started)
    return [
        (one.real(p, row), {who: float(amounts[p]) for who, amounts in ledger.kept.items()})
        for p, row in enumerate(relevance)
    ]
