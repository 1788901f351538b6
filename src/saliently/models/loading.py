"""From a name to a model."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn

from saliently.errors import MissingExtraError, ModelError, did_you_mean
from saliently.models import huggingface, plain
from saliently.models.base import Model

SHIPPED = Path(__file__).parent.parent / "shipped"
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?", re.ASCII)


def load(
    name: str | Path = "default", *, device: str | torch.device = "cpu", dtype: str | torch.dtype = "float32"
) -> Model:
    """A model to explain: one that is shipped ("default", "bilstm"), a folder, or a name on the Hugging Face hub.

    Weights are read from safetensors only, and no code that comes with a model is run. Whatever the file holds, the
    model computes in `dtype`. With device="auto" the package accelerate spreads a model of transformers over all
    devices there are, and keeps what does not fit there in memory and on disk until it is its turn.

    Raises:
        MissingExtraError: device="auto" without accelerate.
        ModelError: it can't be found, reached or read, has unsafe weights, or a head that is none of those served.
    """
    shipped = SHIPPED / str(name)
    folder = shipped if str(name) in shipped_names() and not Path(name).is_dir() else Path(name)
    _check_device(device)
    if _kind(folder) == "saliently-attention":
        with huggingface.explained(str(folder), "files"):
            model = plain.load_bilstm(folder, huggingface.as_dtype(dtype), "cpu" if device == "auto" else device)
    else:
        if not folder.is_dir() or name == "":
            _check_name(name)
        model = huggingface.load(folder if folder.is_dir() else str(name), dtype, device)
    return replace(model, name=str(name))


def wrap(
    module: nn.Module,
    reader: Any,
    *,
    embedding: str | None = None,
    labels: Sequence[str] = (),
    blank_ids: Mapping[str, int] | None = None,
) -> Model:
    """A model that is in memory already; it comes out as it went in.

    A transformers classifier with its tokenizer needs no more: `wrap(model, tokenizer)`. Any other module needs a
    function from text to ids and spans, the name of its embedding and its labels:
    `wrap(module, read, embedding="embed", labels=["no", "yes"])`; see `saliently.models.plain.wrap`.

    Raises:
        ModelError: what was given does not fit together.
    """
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    if isinstance(module, PreTrainedModel) and isinstance(reader, PreTrainedTokenizerBase):
        if embedding is not None or labels or blank_ids is not None:
            raise ModelError(
                "A transformers classifier with its tokenizer was given, and embedding, labels or blank_ids as well; "
                "they are taken from the classifier. Leave them out, or set module.config.id2label for other labels."
            )
        return huggingface.wrap(module, reader)
    if not isinstance(module, nn.Module) or not callable(reader):
        raise ModelError(
            f"A torch module and a reader were asked for; found {type(module).__name__} and {type(reader).__name__}. "
            "Give a transformers classifier with its tokenizer, or a module with a function from text to ids and spans."
        )
    if embedding is None:
        raise ModelError(f"{type(module).__name__} is no transformers classifier, so name its embedding: embedding=...")
    return plain.wrap(module, reader, embedding, labels, blank_ids)


def shipped_names() -> list[str]:
    """Names of the models in the package."""
    return sorted(found.name for found in SHIPPED.iterdir() if found.is_dir())


def _check_name(name: str | Path) -> None:
    """Raise ModelError for what can't be a name on the hub, so that nobody waits for the hub to say so."""
    spelled, shipped = str(name), shipped_names()
    if Path(name).is_file():
        raise ModelError(f"A model's folder was asked for; {spelled!r} is a file. Give the folder that it is in.")
    if isinstance(name, Path) or not _HUB_NAME.fullmatch(spelled):
        raise ModelError(
            f"Model {spelled!r} was asked for; there is no such folder. Give the folder of a saved model, a name on "
            f"the Hugging Face hub, or one that is shipped: {', '.join(shipped) or 'none here'}."
        )
    if "/" not in spelled and (near := did_you_mean(spelled, shipped)):
        raise ModelError(f"Model {spelled!r} was asked for; there is no such folder and none is shipped.{near}")


def _check_device(device: str | torch.device) -> None:
    """Raise ModelError for one that torch can't use, MissingExtraError for "auto" without accelerate."""
    if device == "auto":
        if find_spec("accelerate") is None:
            raise MissingExtraError(
                "Device 'auto' was asked for; spreading a model over devices needs the package accelerate, which is "
                "not installed. Run: pip install 'saliently[big]'."
            )
        return
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise ModelError(f"Device {str(device)!r} was asked for; torch can't use it ({first}). Try 'cpu'.") from None


def _kind(folder: Path) -> str | None:
    """`model_type` in a folder's config.json, or None."""
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type"))
    except (OSError, ValueError, AttributeError):
        return None
