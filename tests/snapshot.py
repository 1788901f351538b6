"""Everything about a torch module and the process that saliently must leave as it was."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import numpy as np
import torch
from torch import nn


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Weights, gradients, modes, hooks, attributes, forward functions and global switches, comparable with ==."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
    config = getattr(module, "config", None)
    return {
        "weights": digest.hexdigest(),
        "training": {name: part.training for name, part in module.named_modules()},
        "asks": {name: weight.requires_grad for name, weight in module.named_parameters()},
        "gradients": {name: weight.grad is None for name, weight in module.named_parameters()},
        "hooks": {name: [len(getattr(part, hook)) for hook in hooks] for name, part in module.named_modules()},
        "attributes": {name: sorted(vars(part)) for name, part in module.named_modules()},
        "classes": {name: type(part) for name, part in module.named_modules()},
        "forward": [kind.forward for kind in (nn.Linear, nn.LayerNorm, nn.Embedding, nn.Dropout, nn.LSTM)],
        "attention": getattr(config, "_attn_implementation", None),
        "grad mode": torch.is_grad_enabled(),
        "cudnn": torch.backends.cudnn.enabled,
        "seeds": (torch.get_rng_state().sum().item(), np.random.get_state()[1].sum(), random.getstate()),
    }
