"""A forward pass that can be differentiated twice: fused attention by its parts, and kinks made smooth.

torch's fused attention has no second derivative on a CPU. Functions made of straight pieces have one of 0 almost
everywhere, which says nothing of what happens at their kinks; softplus_beta(x) = log(1 + exp(beta x)) / beta stands for
relu(x) in them (Janizek et al. 2020, section 5), so that

    relu(x)                  softplus(x)
    leaky_relu(x), prelu     s x + (1 - s) softplus(x), s their slope below 0
    clamp(x, a, b)           x + softplus(a - x) - softplus(x - b)
    elu(x)                   a elu_1(x) + (1 - a) softplus(x), a its alpha; selu the same

Departures: the paper has ReLU alone. A clamp from below at more than 0 keeps a division from 0 and stays as it is, and
so do kinks of other kinds (max pooling, abs, where): what happens there is missing from second derivatives.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.autograd import grad, graph
from torch.nn import functional as F

from saliently.errors import ModelError
from saliently.seam import calls
from saliently.seam.dot_product import DotProduct
from saliently.seam.gradients import live
from saliently.seam.mode import Call, Rule, Seam
from saliently.seam.recurrent import unrolled

_SELU = 1.6732632423543772, 1.0507009873554805
"""Its alpha and its scale, as torch has them."""

Bounds = tuple[float | None, float | None]


class Plain(Seam):
    """The forward pass of a model whose only inputs that need a gradient are word vectors, with second derivatives.

    Attributes: beta, of softplus; smoothed, names of the functions that were replaced.
    """

    def __init__(self, beta: float) -> None:
        self.beta, self.smoothed = beta, set[str]()
        super().__init__()

    def rules(self) -> Mapping[str, Rule]:
        table: dict[str, Rule] = {
            "scaled_dot_product_attention": _attend,
            "grad": self._send_back,
            "relu": self._smooth(lambda x, call: self._relu(x)),
            "leaky_relu": self._smooth(lambda x, call: self._bent(x, call.get(1, "negative_slope", 0.01))),
            "prelu": self._smooth(lambda x, call: self._bent(x, _by_channel(x, call.get(1, "weight")))),
            "rrelu": self._smooth(self._randomised),
            "elu": self._steep,
            "selu": self._smooth(lambda x, call: _SELU[1] * self._elu(x, _SELU[0])),
            "relu6": self._smooth(lambda x, call: self._between(x, (0.0, 6.0))),
            "hardtanh": self._smooth(
                lambda x, call: self._between(x, _bounds(call, "min_val", "max_val", (-1.0, 1.0)))
            ),
            "hardsigmoid": self._smooth(lambda x, call: self._between(x + 3, (0.0, 6.0)) / 6),
            "hardswish": self._smooth(lambda x, call: x * self._between(x + 3, (0.0, 6.0)) / 6),
            "softshrink": self._smooth(lambda x, call: self._shrunk(x, call.get(1, "lambd", 0.5))),
            "threshold": self._threshold,
            "_threshold": self._threshold,  # torch.nn.functional's
            "hardshrink": self._jumps,
        }
        table |= dict.fromkeys(("clamp", "clip"), self._clamp(lambda call: _bounds(call, "min", "max", (None, None))))
        table["clamp_min"] = self._clamp(lambda call: (call.get(1, "min"), None))
        table["clamp_max"] = self._clamp(lambda call: (None, call.get(1, "max")))
        return table | dict.fromkeys((name for name in calls.RECURRENT if "relu" in name), self._unroll)

    # Straight pieces.

    def _smooth(self, found: Callable[[Tensor, Call], Tensor]) -> Rule:
        """A rule for what depends on the word vectors: the smooth function in place of the call's own."""

        def rule(call: Call) -> Any:
            x = call.get(0, "input")
            if not live(x):
                return call.run()
            self.smoothed.add(_name(call))
            return found(x.clone(), call)  # what is kept for the backward pass must not be written over by the call

        return rule

    def _relu(self, x: Tensor) -> Tensor:
        return F.softplus(x, self.beta)

    def _bent(self, x: Tensor, slope: float | Tensor) -> Tensor:
        return slope * x + (1 - slope) * self._relu(x)

    def _randomised(self, x: Tensor, call: Call) -> Tensor:
        """rrelu: a leaky relu, of the mean slope outside of training."""
        return self._bent(x, (call.get(1, "lower", 1 / 8) + call.get(2, "upper", 1 / 3)) / 2)

    def _steep(self, call: Call) -> Any:
        """elu, which has a kink unless its alpha is 1."""
        alpha = call.get(1, "alpha", 1.0)
        return call.run() if alpha == 1 else self._smooth(lambda x, _: self._elu(x, alpha))(call)

    def _elu(self, x: Tensor, alpha: float) -> Tensor:
        return alpha * F.elu(x) + (1 - alpha) * self._relu(x)

    def _between(self, x: Tensor, bounds: Bounds) -> Tensor:
        """Held between bounds; x comes first, so that bounds far off, which guard against overflow, cost no digits."""
        least, most = bounds
        found = x if least is None else x + self._relu(least - x)
        return found if most is None else found - self._relu(x - most)

    def _shrunk(self, x: Tensor, by: float) -> Tensor:
        return self._relu(x - by) - self._relu(-by - x)

    def _clamp(self, bounds: Callable[[Call], Bounds]) -> Rule:
        def rule(call: Call) -> Any:
            least, most = bounds(call)
            if isinstance(least, Tensor) or isinstance(most, Tensor) or (least is not None and least > 0):
                return call.run()
            return self._smooth(lambda x, _: self._between(x, (least, most)))(call)

        return rule

    def _threshold(self, call: Call) -> Any:
        edge, below = call.get(1, "threshold"), call.get(2, "value")
        if edge != below:
            return self._jumps(call)
        return self._smooth(lambda x, _: edge + self._relu(x - edge))(call)

    def _jumps(self, call: Call) -> Any:
        if live(call.get(0, "input")):
            raise ModelError(
                f"Second derivatives were asked for; the model computes {_name(call)}, which jumps and has "
                "none there. Use integrated-gradients, or an interaction method that only takes words away."
            )
        return call.run()

    # Calls that hide relu, and passes that run again.

    def _unroll(self, call: Call) -> Any:
        with self:
            return unrolled(call.func.__name__, call.args)

    def _send_back(self, call: Call) -> Any:
        """A backward pass, with the rules in force for what a checkpoint computes again in it.

        torch leaves a mode for a call that is given tensors; their edges of the graph say the same.
        """
        outputs, inputs = ([graph.get_gradient_edge(each) for each in part] for part in call.args[:2])
        weights = call.get(2, "grad_outputs")
        with self:
            return grad(outputs, inputs, weights, **{k: v for k, v in call.kwargs.items() if k != "grad_outputs"})


def _attend(call: Call) -> Any:
    """Scores, softmax, product. Dropout is left out: models rest in evaluation mode."""
    parts = DotProduct.of(call)
    if not (live(parts.query) or live(parts.key) or live(parts.value)):
        return call.run()
    return parts.weights().to(parts.value.dtype) @ parts.per_head(parts.value)


def _name(call: Call) -> str:
    return str(call.func.__name__).strip("_")


def _bounds(call: Call, least: str, most: str, default: Bounds) -> Any:
    """Both bounds of a call."""
    return call.get(1, least, default[0]), call.get(2, most, default[1])


def _by_channel(x: Tensor, slope: Tensor) -> Tensor:
    """prelu's slopes, one for each entry of the second axis, so that they meet x."""
    return slope.reshape(1, -1, *(1,) * (x.dim() - 2)) if x.dim() > 1 else slope
