"""Models of the transformers library."""

from __future__ import annotations

import logging
import socket
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import torch
from torch import nn

from saliently.errors import ModelError, SaliencyError
from saliently.models.base import Model
from saliently.models.padding import harmless_sides
from saliently.models.prefix import prefixes_of
from saliently.models.readers import reader_of
from saliently.models.tasks import (
    CHOOSER,
    CLASSIFIER,
    TRANSLATOR,
    WRITER,
    find_of,
    forward_of,
    labels_of,
    link_of,
    task_of,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_NO_LIMIT = 10**9


def load(path: str | Path, dtype: str | torch.dtype, device: str | torch.device) -> Model:
    """A model with one of `TASKS`, from a folder or the hub. Says nothing while it loads, and runs no code with it.

    The device "auto" spreads it over the devices there are, and over memory and disk where they are too small.

    Raises:
        ModelError: it can't be found or reached, has another head, no safe weights, or a broken file.
    """
    import transformers
    from transformers import AutoConfig, AutoTokenizer

    name, wanted = str(path), as_dtype(dtype)
    asked = {"trust_remote_code": False, "local_files_only": Path(name).is_dir() or _unreachable()}
    with _quiet():
        with explained(name, "configuration"):
            config = AutoConfig.from_pretrained(name, **asked)
        auto = getattr(transformers, task_of(name, config).auto)
        _check_safe(Path(name))
        with explained(name, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(name, **asked)
            _check_words(name, tokenizer)
        with explained(name, "weights"):
            module, info = auto.from_pretrained(
                name,
                config=config,
                dtype=wanted,
                device_map="auto" if device == "auto" else None,
                use_safetensors=True,
                output_loading_info=True,
                **asked,
            )
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"A model was to be loaded from {name}; its weights lack {', '.join(missing[:3])}"
            f"{' and more' if len(missing) > 3 else ''}. Train that head first, or load a model that has one."
        )
    return wrap(module if device == "auto" else module.to(device), tokenizer, name)


def wrap(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str | None = None) -> Model:
    """A model that is in memory already; module and tokenizer stay as they are.

    Raises:
        ModelError: another head, or a tokenizer without a fast form.
    """
    config: Any = module.config
    name = name or config.name_or_path or type(module).__name__
    task = task_of(name, config, type(module).__name__)
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of {name} is a {type(tokenizer).__name__}, which does not tell where its tokens stand in "
            "the text. Load it with AutoTokenizer, which gives the fast form."
        )
    embedding = module.get_input_embeddings()
    # Decoders find the last token by the padding id of the configuration; without one they refuse a second row.
    pad = tokenizer.pad_token_id if config.pad_token_id is None else config.pad_token_id
    blanks = {"mask": known(tokenizer.mask_token_id, embedding), "pad": known(pad, embedding)}
    forward = forward_of(task, module, embedding, blanks["pad"] or 0)
    model = Model(
        name=name,
        module=module,
        embedding=embedding,
        read=reader_of(task, module, tokenizer, limit_of(module, tokenizer)),
        forward=forward,
        labels=labels_of(task, config, tokenizer.get_vocab()),
        link=link_of(task, config),
        blank_ids={kind: token for kind, token in blanks.items() if token is not None},
        find=find_of(task, name, tokenizer.mask_token_id),
        scale=task.scale,
        pieces=forward.pieces,
        given=task.given,
        max_rows=1 if known(config.pad_token_id, embedding) is None and task is CLASSIFIER else forward.most_rows,
    )
    if task in (TRANSLATOR, CHOOSER):  # each text of a row is padded by itself, on the right
        return model
    return replace(
        model,
        sides=harmless_sides(model),
        prefixes=prefixes_of(model, forward.takes) if task is WRITER else None,
    )


def known(token: int | None, embedding: nn.Module) -> int | None:
    """The id, unless the embedding has no vector for it: a token added to the tokenizer, and not to the model."""
    size = embedding.num_embeddings if isinstance(embedding, nn.Embedding) else None
    return token if token is not None and (size is None or 0 <= token < size) else None


def _check_safe(folder: Path) -> None:
    """Raise ModelError for a folder whose weights could run code when read."""
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return
    unsafe = sorted(found.name for pattern in ("*.bin", "*.pt", "*.pth", "*.pkl") for found in folder.glob(pattern))
    found = f"found only {', '.join(unsafe)}, which can run code when read" if unsafe else "found none"
    raise ModelError(
        f"Weights as safetensors were looked for in {folder}; {found}. Load the model in a place you trust and save it "
        "again with save_pretrained, which writes safetensors."
    )


def _check_words(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise ModelError for the empty tokenizer that transformers makes up where the files of one are missing."""
    if len(set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens) - set(tokenizer.get_added_vocab())) < 2:
        raise ModelError(
            f"A tokenizer was to be loaded from {name}; its files are missing, or hold no words. Save it beside the "
            "model with tokenizer.save_pretrained."
        )


def limit_of(module: nn.Module, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Most tokens the model takes: rows of its position table, and what its tokenizer says."""
    limits = [tokenizer.model_max_length]
    tables = [part for key, part in module.named_modules() if key.endswith("position_embeddings")]
    for table in tables:
        if isinstance(table, nn.Embedding):
            # A table with a padding row counts positions from behind that row.
            limits.append(table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1))
    limits.append(getattr(module.config, "max_position_embeddings", None) or _NO_LIMIT)
    # Models without a limit say -1, and tokenizers a number beyond all texts.
    return least if (least := min(limit for limit in limits if limit > 0)) < _NO_LIMIT else None


def as_dtype(dtype: str | torch.dtype) -> torch.dtype:
    found = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise ModelError(f"Data type {dtype!r} was asked for; give float32, float64, bfloat16 or float16.")
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Inside the block transformers and the hub's client neither log nor draw bars; after it, they are as before."""
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
    from transformers.utils import logging as transformers_logging

    bars: Any = transformers_logging
    bars.get_verbosity()  # sets up transformers' own logger, which happens once
    loggers = [logging.getLogger(name) for name in ("transformers", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    ours, hubs = bars.is_progress_bar_enabled(), not are_progress_bars_disabled()
    # The client warns where an environment variable has the last word on bars.
    with warnings.catch_warnings(action="ignore"):
        bars.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        with warnings.catch_warnings(action="ignore"):
            if ours:
                bars.enable_progress_bar()
            (enable_progress_bars if hubs else disable_progress_bars)()


def _unreachable() -> bool:
    """Is there no way to the hub? Its own client tries for 23 seconds before it says so."""
    from huggingface_hub.constants import ENDPOINT

    if getproxies():
        return False
    place = urlsplit(ENDPOINT)
    try:
        socket.create_connection((place.hostname or "", place.port or 443), timeout=4).close()
    except OSError:
        return True
    return False


@contextmanager
def explained(name: str, what: str) -> Iterator[None]:
    """Turn whatever is raised inside the block into one sentence."""
    try:
        yield
    except SaliencyError:
        raise
    except Exception as error:  # three libraries read the files, and raise even plain Exception
        raise ModelError(_why(name, what, error)) from error


def _why(name: str, what: str, error: Exception) -> str:
    """One sentence for whatever was raised."""
    first = " ".join(str(error).split()).split(". ")[0][:200].rstrip(".")
    if not Path(name).is_dir():
        return (
            f"Model {name!r} was asked for; there is no such folder and the Hugging Face hub did not give its {what} "
            f"({first}). Check the name and the network, or give the folder of a saved model; 'default' and 'bilstm' "
            "are always here."
        )
    if not (Path(name) / "config.json").is_file():
        return (
            f"A model was to be loaded from the folder {name}; it holds no config.json. Give the folder that "
            "save_pretrained wrote."
        )
    return (
        f"A model was to be loaded from the folder {name}; its {what} can't be read ({first}). "
        "Save it again with save_pretrained, model and tokenizer."
    )
