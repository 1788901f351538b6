"""Sequence classifiers of the transformers library."""

from __future__ import annotations

import inspect
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
from torch import Tensor, nn

from saliently.errors import ModelError, SaliencyError
from saliently.models.base import Batch, Model
from saliently.models.heads import Find, at_mask, at_word
from saliently.models.padding import harmless_sides
from saliently.models.reading import TokenizerReader
from saliently.types import Link

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_NO_LIMIT = 10**9

HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForMaskedLM")
"""What the name of a class that can be explained ends with."""


def load(path: str | Path, dtype: str | torch.dtype, device: str | torch.device) -> Model:
    """A model with one of `HEADS`, from a folder or the hub. Says nothing while it loads, and runs no code with it.

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
        auto = getattr(transformers, f"AutoModel{_head(name, config)}")
        _check_safe(Path(name))
        with explained(name, "tokenizer"):
            tokenizer = AutoTokenizer.from_pretrained(name, **asked)
            _check_words(name, tokenizer)
        with explained(name, "weights"):
            module, info = auto.from_pretrained(
                name, config=config, dtype=wanted, use_safetensors=True, output_loading_info=True, **asked
            )
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"A model was to be loaded from {name}; its weights lack {', '.join(missing[:3])}"
            f"{' and more' if len(missing) > 3 else ''}. Train that head first, or load a model that has one."
        )
    return wrap(module.to(device), tokenizer, name)


def wrap(module: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str | None = None) -> Model:
    """A classifier that is in memory already; module and tokenizer stay as they are.

    Raises:
        ModelError: another head, or a tokenizer without a fast form.
    """
    config: Any = module.config
    name = name or config.name_or_path or type(module).__name__
    head = _head(name, config, type(module).__name__)
    if not tokenizer.is_fast:
        raise ModelError(
            f"The tokenizer of {name} is a {type(tokenizer).__name__}, which does not tell where its tokens stand in "
            "the text. Load it with AutoTokenizer, which gives the fast form."
        )
    embedding = module.get_input_embeddings()
    reader = TokenizerReader.over(
        tokenizer.backend_tokenizer,
        tokenizer.all_special_tokens,
        _limit(module, tokenizer),
        "token_type_ids" in tokenizer.model_input_names and "token_type_ids" in _takes(module),
        tokenizer.unk_token_id,
        tokenizer.mask_token if head == "ForMaskedLM" else None,
    )
    # Decoders find the last token by the padding id of the configuration; without one they refuse a second row.
    pad = tokenizer.pad_token_id if config.pad_token_id is None else config.pad_token_id
    blanks = {"mask": _known(tokenizer.mask_token_id, embedding), "pad": _known(pad, embedding)}
    model = Model(
        name=name,
        module=module,
        embedding=embedding,
        read=reader,
        forward=_Forward(module, embedding),
        labels=_labels(head, config, tokenizer),
        link=_link(config) if head == "ForSequenceClassification" else "softmax",
        blank_ids={kind: token for kind, token in blanks.items() if token is not None},
        find=_find(head, name, tokenizer),
        max_rows=1 if _known(config.pad_token_id, embedding) is None else None,
    )
    return replace(model, sides=harmless_sides(model))


def _link(config: Any) -> Link:
    """By the problem that the configuration names; one output without a name is a label by itself, as pipelines of
    transformers take it, and its logit is the number itself."""
    if config.problem_type == "regression":
        return "none"
    return "sigmoid" if config.problem_type == "multi_label_classification" or config.num_labels == 1 else "softmax"


def _known(token: int | None, embedding: nn.Module) -> int | None:
    """The id, unless the embedding has no vector for it: a token added to the tokenizer, and not to the model."""
    size = embedding.num_embeddings if isinstance(embedding, nn.Embedding) else None
    return token if token is not None and (size is None or 0 <= token < size) else None


class _Forward:
    """Calls the module with what it takes of a batch."""

    def __init__(self, module: nn.Module, embedding: nn.Module) -> None:
        self.module, self.takes, self.embedding = module, _takes(module), embedding

    def __call__(self, batch: Batch) -> Tensor:
        given: dict[str, Any] = {"input_ids": batch.ids, "return_dict": True}
        if "attention_mask" in self.takes:
            given["attention_mask"] = batch.mask
        if batch.kinds is not None:
            given["token_type_ids"] = batch.kinds
        if "position_ids" in self.takes and batch.side == "left":
            # With padding on the right the model's own positions are right, and some count them from the padding id.
            given["position_ids"] = batch.positions
        with _one_table(self.module, self.embedding):
            logits: Tensor = self.module(**given).logits
        return batch.read(logits) if logits.dim() == 3 else logits


@contextmanager
def _one_table(module: nn.Module, embedding: nn.Module) -> Iterator[None]:
    """Inside the block, every table tied to the embedding's weight asks the embedding itself.

    Encoder-decoders hold one table for each side and a third that they never call; word vectors are put in at one.
    """
    weight = next(embedding.parameters(), None)
    tied = [
        part
        for part in module.modules()
        if isinstance(part, nn.Embedding) and part is not embedding and part.weight is weight
    ]
    handles = [part.register_forward_hook(lambda part, given, output: embedding(*given)) for part in tied]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _takes(module: nn.Module) -> frozenset[str]:
    return frozenset(inspect.signature(module.forward).parameters)


def _head(name: str, config: Any, kind: str | None = None) -> str:
    """Which of `HEADS` a model has.

    Raises:
        ModelError: another, or none; transformers would invent one at random.
    """
    kinds = [kind] if kind else list(config.architectures or [])
    found = next((head for head in HEADS for each in kinds if each.endswith(head)), None)
    if found is None:
        raise ModelError(
            f"A model that can be explained was asked for, one of ...{', ...'.join(HEADS)}; {name} is "
            f"{', '.join(kinds) or 'a model without a head'}. Load one with such a head, or fine-tune this one first."
        )
    return found


def _labels(head: str, config: Any, tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Names of the outputs: the labels, or all tokens."""
    if head != "ForMaskedLM":
        return tuple(config.id2label[i] for i in range(config.num_labels))
    spelled = {i: piece for piece, i in tokenizer.get_vocab().items()}
    return tuple(spelled.get(i, f"[{i}]") for i in range(config.vocab_size))


def _find(head: str, name: str, tokenizer: PreTrainedTokenizerBase) -> Find | None:
    """How the place that is asked for is found."""
    if head != "ForMaskedLM":
        return at_word if head == "ForTokenClassification" else None
    if tokenizer.mask_token_id is None:
        raise ModelError(
            f"A masked language model was given, {name}; its tokenizer has no mask. Give the one it learnt with."
        )
    return at_mask(tokenizer.mask_token_id)


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


def _limit(module: nn.Module, tokenizer: PreTrainedTokenizerBase) -> int | None:
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
