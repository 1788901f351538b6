"""Methods of one gradient: how fast the explained number changes with the word vectors.

The gradient is taken at the output of the word embedding, before position and segment vectors are added.
P rows, L tokens, T tokens of one input, D embedding dimensions.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from saliently import erase
from saliently.checks import Checks
from saliently.errors import RecipeError
from saliently.methods.base import Method, Scores
from saliently.methods.seeds import seed_of
from saliently.packing import Blocks
from saliently.passes import Path, Slope
from saliently.runner import Runner
from saliently.types import Grouping, Quantity

CANCELS = 5e-3
"""Where sums over dimensions are smaller than this share of their terms' sizes, at every token, they say nothing."""

Norm = Literal["l2", "l1", "squared-l2", "mean"]

_NORMS = {
    "l2": lambda grad: grad.square().sum(-1).sqrt(),
    "l1": lambda grad: grad.abs().sum(-1),
    "squared-l2": lambda grad: grad.square().sum(-1),
    "mean": lambda grad: grad.mean(-1),
}
_GROUPINGS: dict[str, Grouping] = {"l2": "l2", "l1": "sum", "squared-l2": "sum", "mean": "mean"}


class OneGradient(Method):
    """A method that reads its scores off the gradient at one point; SmoothGrad averages such a reading over points."""

    def rows(self, tokens: int) -> int:
        return 1

    def __call__(self, runner: Runner) -> list[Scores]:
        return self.average(runner, runner.everything(), Path())

    def average(self, runner: Runner, blocks: Blocks, path: Path) -> list[Scores]:
        """Scores from the mean reading over the rows of each input."""
        sums: dict[int, Tensor] = {}
        for each in runner.gradients(blocks, self.read, path):
            sums[each.example] = sums.get(each.example, 0.0) + each.part
        means = [sums[i] / len(blocks[i]) for i in range(len(runner.inputs))]
        return [Scores(self.finish(mean), checks=Checks(notes=self.remarks(mean))) for mean in means]

    def remarks(self, mean: Tensor) -> tuple[str, ...]:
        """What a reader should know about this gradient."""
        summed = self.quantity == "saliency" or self.grouping == "mean"
        if not (summed and bool((mean.sum(-1).abs() <= CANCELS * mean.abs().sum(-1)).all())):
            return ()
        return (
            "The sum over dimensions cancels to nearly 0 for every token, as it must where a model normalises word "
            "vectors right after the embedding: these scores are little but rounding. Use gradient(norm='l2').",
        )

    @abstractmethod
    def read(self, slope: Slope) -> Tensor:
        """(P, L, D): what is averaged over points."""

    @abstractmethod
    def finish(self, mean: Tensor) -> Tensor:
        """(T,) scores from that average at the tokens of one input."""


@dataclass(frozen=True, repr=False)
class Gradient(OneGradient):
    """Sensitivity: the size of the gradient of the explained number with respect to each word vector.

    Simonyan et al. 2014; Li et al. 2016; Bastings and Filippova 2020, Eq. 2. Units of the target per unit of the
    embedding space. Sums to nothing in particular, and says nothing of direction except with `norm="mean"`, the signed
    mean over dimensions, which depends on the basis of the embedding space; only the L2 norm (and its square, the
    "SA" of Arras et al.) does not. Behind a layer norm on the word vectors, as in BERT, the mean is always 0 up to
    rounding; a note in the checks says so. Pieces of a word are joined by the same norm over the whole word's gradient.
    """

    name: ClassVar[str] = "gradient"
    quantity: ClassVar[Quantity] = "sensitivity"
    norm: Norm = "l2"

    def __post_init__(self) -> None:
        if self.norm not in _NORMS:
            raise RecipeError(f"Norm {self.norm!r} was asked of gradient; there are {', '.join(map(repr, _NORMS))}.")

    @property
    def grouping(self) -> Grouping:
        return _GROUPINGS[self.norm]

    def read(self, slope: Slope) -> Tensor:
        return slope.grad

    def finish(self, mean: Tensor) -> Tensor:
        scores: Tensor = _NORMS[self.norm](mean)
        return scores


@dataclass(frozen=True, repr=False)
class GradientXInput(OneGradient):
    """Saliency: the gradient times the word vector, summed over dimensions.

    Denil et al. 2015; Bastings and Filippova 2020, Eq. 3. Units of the target, signed. For a linear model each word's
    exact share of f(x) - f(0); else a first-order guess at it, which sums to nothing in particular. No word is taken
    away; the comparison is with a zero vector, so that moving the origin of the embedding space changes the scores. A
    model that normalises the bare word vectors (DeBERTa, ModernBERT) takes no notice of their length, so that their
    product with the gradient is nearly 0 whatever they mean; a note in the checks says so.
    """

    name: ClassVar[str] = "gradient-x-input"
    quantity: ClassVar[Quantity] = "saliency"

    def read(self, slope: Slope) -> Tensor:
        return slope.grad * slope.x

    def finish(self, mean: Tensor) -> Tensor:
        return mean.sum(-1)


@dataclass(frozen=True, repr=False)
class SmoothGrad(Method):
    """Another gradient method, averaged over inputs with Gaussian noise on the word vectors.

    Smilkov et al. 2017: the mean of `samples` readings at x + e, e ~ N(0, sigma^2). Where images set sigma by the range
    of pixels, `noise` is a share of the standard deviation of the entries of the embedding table, each around the mean
    of its dimension. Special tokens get no noise. Over `gradient` the gradients are averaged, then the norm is taken;
    over `gradient-x-input` the products at the noisy inputs are averaged. `noise=0` gives the inner method. The noise
    of a text depends on `seed` and its ids alone, never on its neighbours in a batch.
    """

    name: ClassVar[str] = "smoothgrad"
    over: str = "gradient"
    samples: int = 50
    noise: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.noise < 0:
            raise RecipeError(
                f"smoothgrad was asked for with samples={self.samples}, noise={self.noise}; give at least one sample "
                "and noise of 0 or more."
            )
        _ = self.inner  # a wrong inner recipe shall fail here, not after a model was loaded

    @property
    def inner(self) -> OneGradient:
        """The method that is averaged."""
        from saliently.names import parse

        method = parse(self.over)
        if not isinstance(method, OneGradient):
            raise RecipeError(
                f"smoothgrad over {self.over!r} was asked for; it averages methods of one gradient: gradient or "
                "gradient-x-input."
            )
        return method

    @property
    def quantity(self) -> Quantity:  # type: ignore[override]
        """That of the inner method."""
        return self.inner.quantity

    @property
    def grouping(self) -> Grouping:
        return self.inner.grouping

    def rows(self, tokens: int) -> int:
        return self.samples

    def __call__(self, runner: Runner) -> list[Scores]:
        inner, sigma = self.inner, self.noise * erase.spread(runner.model)
        width = len(runner.blank("zero"))

        def jitter(example: int, row: int) -> Tensor:
            tokens = runner.inputs[example]
            generator = torch.Generator().manual_seed(seed_of(self.seed, row, tokens.ids))
            noise = sigma * torch.randn(len(tokens.ids), width, generator=generator, dtype=torch.float32)
            return noise * erase.words(tokens)[:, None]

        blocks = {i: row.expand(self.samples, -1) for i, row in runner.everything().items()}
        return inner.average(runner, blocks, Path(jitter=jitter))
