"""Where a module computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def device_of(module: nn.Module) -> torch.device:
    """Where it takes its inputs: where its weights are or, if accelerate brings them in for each pass, to where."""
    weight = next(module.parameters(), None)
    if weight is None:
        return torch.device("cpu")
    hook: Any = getattr(module, "_hf_hook", None)
    if weight.device.type == "meta" and hook is not None and hook.execution_device is not None:
        return torch.device(hook.execution_device)
    return weight.device
