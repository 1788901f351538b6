"""A copy of a model with weights of its own, for experiments that train it or scramble it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from threading import RLock
from typing import Any

import torch

from saliently.errors import ModelError
from saliently.models.base import Model


def copied(model: Model, name: str) -> Model:
    """The same model with weights of its own; it reads text with the same reader.

    Raises:
        ModelError: it has no weights (a function of texts), or it is called by a function that can't be copied with it.
    """
    if not model.vectors:
        raise ModelError(
            f"A copy of {model.name} with other weights was asked for; it is a function of texts. Load the model "
            "itself."
        )
    memo: dict[int, Any] = {}
    parts = {
        part: deepcopy(getattr(model, part), memo) for part in ("module", "embedding", "forward", "pieces", "prefixes")
    }
    copy = replace(model, name=name, lock=RLock(), **parts)
    batch = copy.sample()
    try:
        with copy.resting(), torch.no_grad():
            copy.run(batch, copy.embed(batch.ids))
    except ModelError as error:
        raise ModelError(
            f"A copy of {model.name} was asked for; its forward function calls the original all the same. Wrap the "
            "module itself, by saliently.wrap."
        ) from error
    return copy
