"""On which sides a model's rows can be padded: tried out, because what models say of it is not always so."""

from __future__ import annotations

import torch

from saliently.models.base import Model
from saliently.models.batch import Batch, Side

_PADS = 9
_NEAR = 1e-5
"""Models in float64 may compute their norms in float32."""
_TEXTS = ("good or bad", "good", "good, bad or ugly")
"""Of several lengths, since some models pool tokens in pairs."""


def harmless_sides(model: Model) -> tuple[Side, ...]:
    """The sides on which padding leaves the logits of a short text as they are, up to rounding.

    Encoders that pool the first token bear it on the right only, XLNet on the left only, decoders on both. Models that
    take no attention mask, or mix tokens without regard to it (FNet, Nystromformer, ConvBERT), bear it on neither, and
    run only with rows of their own length.
    """
    try:
        sides: tuple[Side, ...] = ("right", "left")
        for text in _TEXTS:
            alone = model.sample(text)
            with model.resting(), torch.no_grad():
                plain = model.run(alone)
                near = max(_NEAR, torch.finfo(plain.dtype).eps ** 0.5) * max(1.0, float(plain.abs().max()))
                sides = tuple(s for s in sides if bool((_padded(model, alone, s) - plain).abs().max() <= near))
        return sides
    except Exception:
        # Padding nothing is always right. What is wrong with reading or running is told when a text is asked for.
        return ()


def _padded(model: Model, row: Batch, side: Side) -> torch.Tensor:
    """Logits of a row with padding on one side."""
    where = (0, _PADS) if side == "right" else (_PADS, 0)
    pad = torch.nn.functional.pad
    batch = Batch(
        ids=pad(row.ids, where, value=model.blank_ids.get("pad", 0)),
        mask=pad(row.mask, where),
        kinds=None if row.kinds is None else pad(row.kinds, where),
        side=side,
        places=pad(row.places, where, value=-1),
    )
    return model.run(batch)
