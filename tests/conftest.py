"""What all tests share: one thread, the data folder, and a strict rule about skipping."""

from __future__ import annotations

import gc
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from tests import tiny

torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of programs that tests start: several run beside each other


def pytest_collection_finish() -> None:
    """What is loaded by now stays, so collections of garbage, which some tests ask for often, need not look at it."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data. A newcomer has none, so these tests skip; under CI a skip is a failure."""
    folder = os.environ.get("SALIENTLY_DATA")
    if not folder:
        if os.environ.get("CI"):
            pytest.fail("SALIENTLY_DATA is unset under CI, so tests that need real data would be skipped.")
        pytest.skip("needs real data: set SALIENTLY_DATA")
    return Path(folder)


@pytest.fixture(scope="session")
def sentences(data: Path) -> list[str]:
    """The sentences of the SST-2 test set."""
    lines = (data / "sst2_tsv" / "test.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t")[0] for line in lines]


def some(texts: Sequence[str], many: int) -> list[str]:
    """So many of the texts, evenly over all of them; with SALIENTLY_FULL=1 all, which takes long on a small machine."""
    if os.environ.get("SALIENTLY_FULL") or many >= len(texts):
        return list(texts)
    return [texts[at * len(texts) // many] for at in range(many)]


@pytest.fixture(scope="session")
def shared_model(data: Path) -> Path:
    """A real BERT fine-tuned on SST-2."""
    return data.parent / "models" / "minilm-sst2"


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny classifier in a folder."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny.bert_module().save_pretrained(folder)
    tiny.wordpiece().save_pretrained(folder)
    return str(folder)
