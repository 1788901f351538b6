"""A folder or a name that is no usable model gives one error, soon and in silence."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transformers
from huggingface_hub.utils.tqdm import are_progress_bars_disabled
from transformers.utils import logging as transformers_logging

import saliently
from saliently import ModelError
from tests import tiny
from tests.test_bad_input import GOOD, expect


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole classifier in a folder."""
    folder = tmp_path_factory.mktemp("models") / "bert"
    tiny.bert_module().save_pretrained(folder)
    tiny.wordpiece().save_pretrained(folder)
    return folder


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """The same, to be broken."""
    return Path(shutil.copytree(saved, tmp_path / "bert"))


def break_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def only_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def scribble_on_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no weights at all" * 100)


def no_tokenizer(folder: Path) -> None:
    for found in folder.glob("tokenizer*"):
        found.unlink()


def another_head(folder: Path) -> None:
    shutil.rmtree(folder)
    transformers.BertForNextSentencePrediction(tiny.bert_module().config).save_pretrained(folder)


def no_head(folder: Path) -> None:
    shutil.rmtree(folder)
    tiny.bert_module().bert.save_pretrained(folder)


def empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


@pytest.mark.parametrize(
    ("spoil", "facts"),
    [
        (empty, ["no config.json", "save_pretrained"]),
        (only_pickled, ["safetensors", "pytorch_model.bin", "can run code", "save_pretrained"]),
        (cut_weights, ["weights can't be read"]),
        (scribble_on_weights, ["weights can't be read"]),
        (lambda folder: (folder / "model.safetensors").unlink(), ["safetensors", "found none"]),
        (lambda folder: (folder / "config.json").write_text("{not json"), ["configuration can't be read"]),
        (lambda folder: (folder / "config.json").write_text("[]"), ["configuration can't be read"]),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "nosuch"}'),
            ["configuration can't be read", "nosuch"],
        ),
        (lambda folder: break_config(folder, hidden_size=64), ["weights can't be read"]),
        (lambda folder: break_config(folder, architectures=None), ["without a head", "ForSequenceClassification"]),
        (lambda folder: break_config(folder, id2label={"0": "score"}), ["weights can't be read"]),
        (no_tokenizer, ["tokenizer", "files are missing", "save_pretrained"]),
        (lambda folder: (folder / "tokenizer.json").write_text("{}"), ["tokenizer can't be read"]),
        (another_head, ["BertForNextSentencePrediction", "ForSequenceClassification"]),
        (no_head, ["BertModel", "ForSequenceClassification"]),
    ],
    ids=[
        *("empty", "pickled", "cut weights", "scribbled weights", "no weights", "no json", "json list", "unknown type"),
        *("other size", "no architecture", "one output", "no tokenizer", "bad tokenizer"),
        *("masked lm", "no head"),
    ],
)
def test_a_folder_that_holds_no_usable_model(
    copy: Path, spoil: Callable[[Path], object], facts: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(copy)
    capfd.readouterr()
    before = (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled())
    with expect(ModelError, str(copy), *facts):
        saliently.load(copy)
    assert capfd.readouterr() == ("", "")
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before


def test_weights_without_the_head(copy: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    weights = safetensors.load_file(copy / "model.safetensors")
    safetensors.save_file(
        {name: value for name, value in weights.items() if not name.startswith("classifier")},
        copy / "model.safetensors",
        metadata={"format": "pt"},
    )
    with expect(ModelError, "lack classifier.bias, classifier.weight", "Train that head"):
        saliently.load(copy)


def test_a_name_that_is_no_model(tmp_path: Path, copy: Path) -> None:
    with expect(ModelError, "no such folder", str(tmp_path / "nowhere")):
        saliently.load(tmp_path / "nowhere")
    with expect(ModelError, "is a file", "Give the folder"):
        saliently.load(copy / "config.json")
    with expect(ModelError, "no such folder", "''"):
        saliently.load("")


def test_a_name_near_a_shipped_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    monkeypatch.setattr("saliently.models.loading.SHIPPED", tmp_path)
    with expect(ModelError, "'defalt'", "Did you mean 'default'"):
        saliently.load("defalt")


def test_a_hub_that_cannot_be_reached_does_not_make_anyone_wait(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    # Nobody listens on the port for discarded bytes; the client reads its address once, when it is imported.
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://localhost:9")
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    start = time.monotonic()
    with expect(ModelError, "'saliently-nobody/nothing'", "hub did not give", "Check the name and the network"):
        saliently.load("saliently-nobody/nothing")
    assert time.monotonic() - start < 10
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("device", ["cuda:99", "nosuch", "meta:x"])
def test_a_device_that_is_not_there(device: str, saved: Path) -> None:
    with expect(ModelError, device, "Try 'cpu'"):
        saliently.load(saved, device=device)


@pytest.mark.parametrize("dtype", ["int64", "nosuch", "nn", 5])
def test_a_data_type_that_is_none(dtype: Any, saved: Path) -> None:
    with expect(ModelError, repr(dtype), "float32"):
        saliently.load(saved, dtype=dtype)


def test_loading_says_nothing_and_leaves_the_settings(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("transformers")
    for enable in (True, False):
        (transformers_logging.enable_progress_bar if enable else transformers_logging.disable_progress_bar)()
        before = (logger.level, transformers_logging.is_progress_bar_enabled(), are_progress_bars_disabled())
        model = saliently.load(saved)
        after = (logger.level, transformers_logging.is_progress_bar_enabled(), are_progress_bars_disabled())
        assert after == before
    transformers_logging.enable_progress_bar()
    assert capfd.readouterr() == ("", "")
    # The loaded model is the saved one.
    expected = saliently.explain(tiny.bert(), GOOD, "gradient").scores
    assert saliently.explain(model, GOOD, "gradient").scores == pytest.approx(expected, rel=1e-4)
