"""Interactions: what two words do together, over what each does by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from saliently.errors import RecipeError
from saliently.games.asking import Asking
from saliently.games.direct import arch_attribute, arch_detect, without
from saliently.games.indices import PAIRS
from saliently.methods.game import Played, Players
from saliently.methods.shapley import Enumerated
from saliently.types import Quantity


@dataclass(frozen=True, repr=False)
class ShapleyInteraction(Enumerated):
    """Interaction: what two words add together, over what each adds by itself, averaged over what stands beside them.

    `index`: "k-sii" (Bord et al. 2023), the Shapley interaction index of Grabisch and Roubens 1999 with single words
    freed of what their pairs have: with the diagonal it sums to f(x) - f(nothing), and its rows to Shapley values.
    "stii" (Dhamdhere et al. 2020): the diagonal is f(word alone) - f(nothing), the pairs share all the rest. "fsii"
    (Tsai et al. 2023): the numbers of words and pairs that together come closest to the model, by the Shapley kernel.
    Both sum to f(x) - f(nothing). "sii": the index itself, with Shapley values on the diagonal; it sums to nothing in
    particular and is not made to, and the residual says how far off. Units of the target, signed.

    The score of a pair is the sum of its two entries. Exact up to `exact` words; else coalitions are drawn with their
    complements, words and pairs are fitted to them, and the fit is corrected by what it leaves, without bias, until the
    largest standard error (of a pair: of both entries) is within `tolerance` of the change or `most` rows are spent.
    """

    name: ClassVar[str] = "shapley-interaction"
    quantity: ClassVar[Quantity] = "interaction"
    index: Literal["k-sii", "sii", "stii", "fsii"] = "k-sii"

    @property
    def complete(self) -> bool:  # type: ignore[override]
        """All but the bare index sum to the change."""
        return self.index != "sii"

    def check(self) -> None:
        Enumerated.check(self)
        if self.index not in ("k-sii", "sii", "stii", "fsii"):
            raise RecipeError(f"{self!r} was asked for; index is 'k-sii', 'sii', 'stii' or 'fsii'.")

    def asking(self, players: Players) -> Asking:
        return self.regressed(players, PAIRS[self.index])


@dataclass(frozen=True, repr=False)
class BanzhafInteraction(Enumerated):
    """Interaction: what two words add together, over all coalitions of the others, each alike likely.

    Grabisch and Roubens 1999, the Banzhaf interaction index; on the diagonal the Banzhaf value. Units of the target,
    signed. The score of a pair is the sum of its two entries. Sums to nothing in particular, and is not made to: the
    residual says how far off. Exact and sampled as shapley-interaction.
    """

    name: ClassVar[str] = "banzhaf-interaction"
    quantity: ClassVar[Quantity] = "interaction"

    def asking(self, players: Players) -> Asking:
        return self.regressed(players, PAIRS["bii"])


@dataclass(frozen=True, repr=False)
class PairwiseOcclusion(Played):
    """Interaction: what the model loses by two words together, less what it loses by each alone, with its sign turned:
    f(x) - f(x without i) - f(x without j) + f(x without both).

    Occlusion for pairs, as in the second differences of Janizek et al. 2020, section 6 of Bastings and Filippova 2020.
    Units of the target, signed. The score of a pair is the sum of its two entries. On the diagonal stands the word's
    occlusion less half of the scores of its pairs, so that the matrix sums to the best guess at f(x) - f(nothing) by
    words and pairs seen from x; the residual says what words do together by threes and more.
    """

    name: ClassVar[str] = "pairwise-occlusion"
    quantity: ClassVar[Quantity] = "interaction"

    def rows(self, tokens: int) -> int:
        return 2 + tokens * (tokens + 1) // 2

    def asking(self, players: Players) -> Asking:
        return without(len(players))


@dataclass(frozen=True, repr=False)
class Archipelago(Played):
    """Interaction: how strongly two words interact, and what groups of words add by themselves.

    Tsang et al. 2020. `groups=0`, ArchDetect: the mean of the squared mixed differences f(ij) - f(i) - f(j) + f(none of
    them), once next to nothing and once next to all other words. Units of the target squared, never negative: a
    strength, which sums to nothing; 0 on the diagonal. The score of a pair is the sum of its two entries. Departure:
    the paper divides by squared step sizes of continuous inputs, which are 1 here.

    `groups=K`, ArchAttribute: the K strongest pairs are joined where they share a word, and each group, and each other
    word, gets f(group alone) - f(nothing), in units of the target, signed, spread over the entries of its words. What
    groups do together is left over, and is reported as the residual.
    """

    name: ClassVar[str] = "archipelago"
    quantity: ClassVar[Quantity] = "interaction"
    groups: int = 0

    def check(self) -> None:
        if self.groups < 0:
            raise RecipeError(f"{self!r} was asked for; the number of groups is 0 or more.")

    @property
    def adds(self) -> bool:  # type: ignore[override]
        """Strengths sum to nothing, groups to what they add."""
        return self.groups > 0

    def rows(self, tokens: int) -> int:
        return 2 + tokens * (tokens + 1) + self.groups

    def asking(self, players: Players) -> Asking:
        return arch_attribute(len(players), self.groups) if self.groups else arch_detect(len(players))
