"""What each token's value becomes on its way from an attention to the end of its layer.

An attention's result is a sum over tokens j of alpha_ij v_j, with v_j the value of token j, its bias in it. The sum is
followed as K parts (`parts.py`) by where its tensors go:

    through what is linear, and through norms and gates as constants of the real pass;
    through the first weighted sum after the attention, its output projection W_O, without bias;
    to the sum with the layer's own input, the residual: the input at position i is added to part i there;
    on through norms, if there are any, and sums with what else the layer computes (the feed-forward net), which is left
    out; not into the feed-forward net itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import torch
from torch import Tensor

from saliently.errors import ModelError
from saliently.seam import calls
from saliently.seam.lineage import VIEWS, Tags
from saliently.seam.mode import Call, Rule, Seam
from saliently.seam.parts import one_by_one
from saliently.seam.splits import LINEAR, Splits, numbers
from saliently.seam.watch import Attention


class Stage(IntEnum):
    """How far the parts have come."""

    MIXED = 0
    PROJECTED = 1
    JOINED = 2


@dataclass(eq=False)
class Followed:
    """What `read` says, for one layer, of the parts (T, T, D): entry [j, i] is the part of token j in position i.

    Attributes: projected, behind W_O; attended, of attention and residual, where the feed-forward net's result is added
    to them: behind the norm in a post-norm layer; result, of the whole layer without the feed-forward net.
    """

    projected: Tensor | None = None
    attended: Tensor | None = None
    result: Tensor | None = None


class Following(Seam):
    """Made for one row of K tokens. Its user shows it the layers as they begin and end, and their attentions.

    Attributes: layers, what was followed so far.
    """

    def __init__(self, many: int, read: Callable[[Tensor], Tensor]) -> None:
        self.many, self.read = many, read
        self.layers: list[Followed] = []
        self._forget()
        super().__init__()

    def _forget(self) -> None:
        self._splits = Splits(self.many, split=False)
        self._rules = self._splits.rules()
        self._stages: Tags[Stage] = Tags()
        self._inputs: Tags[bool] = Tags()  # the layer's own input

    def rules(self) -> Mapping[str, Rule]:
        on = LINEAR | VIEWS | calls.DIVISIONS | {"mul", "multiply", "layer_norm", "rms_norm"}
        weighing = calls.CONVOLUTIONS | {"linear", "addmm", "matmul", "mm", "einsum"}
        table = {**dict.fromkeys(on, self._go_on), **dict.fromkeys(weighing, self._weigh)}
        return {**table, **dict.fromkeys(calls.ADDITIONS, self._add)}

    def written(self, place: Tensor, value: Any) -> Tensor:
        """A result that is written over an argument."""
        found = place.copy_(value)
        if self._splits.live(value):
            self._put(found, self._splits.of(value), self._stages.get(value) or Stage.MIXED)
        elif self._splits.live(found):
            self._splits.parts.drop(found)
        return found

    # What its user tells it.

    def begin(self, states: Tensor) -> None:
        """A layer begins with these."""
        self._forget()
        self.layers.append(Followed())
        self._inputs.put(states, True)

    def attend(self, seen: Attention) -> Tensor:
        """An attention; what the model goes on with in its place."""
        weights, value = seen.weights.detach(), seen.value.detach()
        result = seen.output(seen.weights, seen.value)
        if value.shape[:1] != (1,) or weights.shape[-2:] != (self.many, self.many):
            raise ModelError(
                f"The parts of {self.many} tokens were to be followed through the attention of {seen.name}; it has "
                f"{weights.shape[-2]} queries and {weights.shape[-1]} keys. Use a saliency method, or attention."
            )
        with torch.no_grad():
            # One at a time, since the weights are many.
            keys = torch.arange(self.many, device=value.device)[:, None]
            parts = one_by_one(lambda j: seen.output(weights, value * (keys == j)), keys.flatten())
        self._put(result, parts, Stage.MIXED)
        return result

    def end(self, states: Tensor) -> None:
        """The layer ends with these.

        Raises:
            ModelError: the chain from its attention to here is broken.
        """
        found = self.layers[-1]
        if self._stages.get(states) != Stage.JOINED or found.projected is None:
            raise ModelError(
                "What each token adds to a layer's result was to be followed; the way from the attention through its "
                "output projection and the residual to the result can't be found in this model's layers. Use "
                "value-zeroing, which needs only the result, or decompx."
            )
        found.result = self._read(self._splits.of(states))
        if found.attended is None:  # a layer without a feed-forward net, or one beside the attention
            found.attended = found.result

    # What happens to a call.

    def _go_on(self, call: Call) -> Any:
        result = call.run()
        given = numbers((call.args, call.kwargs))
        name, source = call.func.__name__, call.args[0] if call.args else None
        if name in VIEWS and isinstance(result, Tensor):
            self._inputs.follow(source, result)
        stages = [stage for x in given if (stage := self._stages.get(x)) is not None]
        found = [y for y in numbers(result) if not any(y is x for x in given)]
        if stages and found:
            with torch.no_grad():
                parts = self._rules[name](call, result)
            for y, part in zip(found, [parts] if isinstance(parts, Tensor) else parts, strict=True):
                self._put(y, part, min(stages))
        return result

    def _weigh(self, call: Call) -> Any:
        """Only the first one after an attention is followed."""
        result = call.run()
        given = numbers((call.args, call.kwargs))
        if any(self._stages.get(x) == Stage.MIXED for x in given):
            with torch.no_grad():
                parts = self._rules[call.func.__name__](call, result)
            assert isinstance(parts, Tensor)
            self._put(result, parts, Stage.PROJECTED)
            self.layers[-1].projected = self._read(parts)
        return result

    def _add(self, call: Call) -> Any:
        a, b = call.args[:2]
        if self._splits.live(a) == self._splits.live(b) or call.func.__name__ != "add" or call.kwargs:
            return self._go_on(call)
        result = call.run()
        ours, other = (a, b) if self._splits.live(a) else (b, a)
        stage, parts = self._stages.get(ours) or Stage.MIXED, self._splits.of(ours)
        if self._inputs.get(other):
            self._put(result, parts + self._each_its_own(other.detach()), Stage.JOINED)
            return result
        if stage == Stage.JOINED and isinstance(other, Tensor) and other.shape == ours.shape:
            self.layers[-1].attended = self._read(parts)
        self._put(result, parts.expand(self.many, *result.shape), stage)
        return result

    def _each_its_own(self, states: Tensor) -> Tensor:
        """(K, *shape): states (1, T, D), (T, 1, D) or (T, D), those at position i in part i alone."""
        places = next(i for i, size in enumerate(states.shape) if size == self.many)
        only = torch.eye(self.many, dtype=states.dtype, device=states.device)
        return states * only.reshape(self.many, *(self.many if i == places else 1 for i in range(states.dim())))

    def _put(self, whole: Tensor, parts: Tensor, stage: Stage) -> None:
        self._splits.parts.put(whole, parts)
        self._stages.put(whole, stage)

    def _read(self, parts: Tensor) -> Tensor:
        return self.read(parts.reshape(self.many, self.many, -1))
