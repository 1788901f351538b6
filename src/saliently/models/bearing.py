"""Does padding on the right leave what a module gives as it is? Tried out, for those that read several texts apart."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

_LENGTHS, _PADS, _NEAR = (3, 8), 5, 1e-5


def bears_padding(module: nn.Module, run: Callable[[Tensor, Tensor], Tensor], pad: int) -> bool:
    """True if it does, up to rounding. `run` gives logits (1, ...) for ids and mask (1, L); padding comes last in both.

    False where it can't be tried: what is wrong with running is told when a text is asked for.
    """
    training = [part for part in module.modules() if part.training]
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    try:
        module.eval()
        with torch.no_grad():
            rows = ([i for i in range(many + 1) if i != pad][:many] for many in _LENGTHS)
            return all(_same(run, torch.tensor([row], device=device), pad) for row in rows)
    except Exception:
        return False
    finally:
        for part in training:
            part.training = True


def _same(run: Callable[[Tensor, Tensor], Tensor], ids: Tensor, pad: int) -> bool:
    longer = nn.functional.pad(ids, (0, _PADS), value=pad)
    mask = torch.ones_like(ids)
    alone, padded = run(ids, mask), run(longer, nn.functional.pad(mask, (0, _PADS)))
    if alone.dim() == 3:  # an output at each place
        padded = padded[:, : alone.shape[1]]
    near = max(_NEAR, torch.finfo(alone.dtype).eps ** 0.5) * max(1.0, float(alone.abs().max()))
    return bool((alone - padded).abs().max() <= near)
