"""Values of players: Shapley, Owen, Banzhaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from saliently.errors import RecipeError
from saliently.games.asking import Asking
from saliently.games.direct import exactly
from saliently.games.indices import BANZHAF, SHAPLEY, Index
from saliently.games.orders import by_orders, owen
from saliently.games.regression import sampled
from saliently.games.trees import check
from saliently.methods.clauses import grown
from saliently.methods.game import Played, Players
from saliently.models.base import Model
from saliently.types import Quantity, Tokens

FEW = 5
"""Players of whom all coalitions are fewer than those of the smallest sample."""


@dataclass(frozen=True, repr=False)
class Sampled(Played):
    """A method that samples, where it must, until its error is small enough.

    Attributes: tolerance, of the largest standard error, as a share of the change to be explained (0: spend all that
    may be spent).
    """

    tolerance: float = 0.05

    def check(self) -> None:
        if self.tolerance < 0:
            raise RecipeError(f"{self!r} was asked for; the tolerance is 0 or more.")

    @property
    def within(self) -> float | None:
        return self.tolerance

    def lengths(self, model: Model, tokens: Tokens) -> list[int]:
        return [len(tokens.ids)] * self.rows(len(self.who(tokens)))


@dataclass(frozen=True, repr=False)
class Enumerated(Sampled):
    """A method that asks all coalitions of few players, and samples those of many. Attributes: exact, up to how many
    players are few."""

    exact: int = 12

    def rows(self, tokens: int) -> int:
        return min(self.most, 2**tokens if tokens <= self.exact else 10 * tokens)

    def few(self, players: Players) -> bool:
        """Are all coalitions to be asked?"""
        return len(players) <= FEW or (len(players) <= self.exact and 2 ** len(players) <= self.most)

    def regressed(self, players: Players, index: Index) -> Asking:
        """Exact, or by sampled coalitions."""
        if self.few(players):
            return exactly(len(players), index)
        return sampled(len(players), index, self.tolerance, players.random)


@dataclass(frozen=True, repr=False)
class Shapley(Enumerated):
    """Saliency: each word's share of f(x) - f(nothing), what it adds to the words before it, averaged over all orders.

    Shapley 1953; Lundberg and Lee 2017. Units of the target, signed. The scores sum to f(x) - f(nothing) exactly, also
    where they are sampled, since both ends are always asked; the only such sum in which words that play one part
    score the same, a word that adds nothing scores 0, and scores of a sum of models add up.

    Up to `exact` words all coalitions of words are asked. For more, `how="kernel"` draws coalitions with their
    complements, fits the words' numbers to them, and corrects the fit by what it leaves (without bias; Covert and Lee
    2021, Witter et al. 2025: not the plain regression of Lundberg and Lee, which has one). `how="permutation"` draws
    orders with their reversals. "exact" refuses to sample. Samples grow until the largest standard error of a word is
    within `tolerance` of the change, or `most` rows are spent; what stays over is flagged. The same coalition of a text
    is run once. A word is taken away as `blank` says; see occlusion.
    """

    name: ClassVar[str] = "shapley"
    quantity: ClassVar[Quantity] = "saliency"
    complete: ClassVar[bool] = True
    how: Literal["auto", "exact", "kernel", "permutation"] = "auto"

    def asking(self, players: Players) -> Asking:
        many = len(players)
        if self.how == "exact" or (self.how == "auto" and self.few(players)) or many <= FEW:
            return exactly(many, SHAPLEY)
        if self.how == "permutation":
            return by_orders(tuple(range(many)), many, self.tolerance, players.random)
        return sampled(many, SHAPLEY, self.tolerance, players.random)


@dataclass(frozen=True, repr=False)
class Owen(Sampled):
    """Saliency: the Shapley value of words that come in groups, where only whole groups stand beside a word's own.

    Owen 1977, for groups of groups Winter 1989; the PartitionSHAP of Lundberg's shap, which cuts its search short and
    shares equally what it has not looked into, where this samples and says its error. Units of the target, signed. The
    scores sum to f(x) - f(nothing) exactly, and those of a group's words to the group's own value. It differs from the
    Shapley value, and takes far fewer coalitions: of 20 words in halves some 300 are all.

    `tree`: "halves" cuts each field into sentences and clauses by its punctuation, and each clause in the middle again
    and again; "clauses" leaves a clause's words as one group; or nested tuples of word numbers, such as ((0, 1), 2).
    Exact if that takes at most `most` rows, else orders that keep groups together are drawn, with their reversals,
    until the largest standard error is within `tolerance` of the change.
    """

    name: ClassVar[str] = "owen"
    quantity: ClassVar[Quantity] = "saliency"
    complete: ClassVar[bool] = True
    tree: str | tuple[Any, ...] = "halves"

    def check(self) -> None:
        Sampled.check(self)
        if isinstance(self.tree, str) and self.tree not in ("halves", "clauses"):
            raise RecipeError(f"{self!r} was asked for; tree is 'halves', 'clauses', or nested tuples of word numbers.")

    def rows(self, tokens: int) -> int:
        return min(self.most, tokens**2)

    def asking(self, players: Players) -> Asking:
        many = len(players)
        tree = grown(players.names, players.fields, self.tree == "halves") if isinstance(self.tree, str) else self.tree
        check(tree, many)
        return owen(tree, many, self.most, self.tolerance, players.random)


@dataclass(frozen=True, repr=False)
class Banzhaf(Enumerated):
    """Saliency: what a word adds, averaged over all coalitions of the others, each alike likely.

    Banzhaf 1965; Wang and Jia 2023, who find it steadier than the Shapley value under noise; the limit of ContextCite
    without a penalty. Units of the target, signed. The scores do not sum to f(x) - f(nothing), and are not made to:
    what is missing or counted twice is reported as the residual. Exact and sampled as shapley(how="kernel").
    """

    name: ClassVar[str] = "banzhaf"
    quantity: ClassVar[Quantity] = "saliency"

    def asking(self, players: Players) -> Asking:
        return self.regressed(players, BANZHAF)
