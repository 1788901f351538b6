"""What half precision does to differences."""

from __future__ import annotations

import torch

from saliently.runner import Runner


def rounding(runner: Runner, value: float) -> tuple[str, ...]:
    """What to know of a difference between two answers of a model in half precision: how coarse they are. `value` is
    one of them; nothing is said of a model in a wider type."""
    dtype = next((weight.dtype for weight in runner.model.module.parameters() if weight.is_floating_point()), None)
    if dtype not in (torch.bfloat16, torch.float16):
        return ()
    name, eps, target = str(dtype).removeprefix("torch."), torch.finfo(dtype).eps, runner.questions.target
    said = f"The model computes in {name}, whose steps are {eps:.2g} of a number's size"
    if target.of in ("logit", "output") and target.against is None:
        said += f", {eps * abs(value):.2g} of the explained {value:.4g}"
    return (f"{said}; scores of few such steps are little but rounding. Compute in float32 for small ones.",)
