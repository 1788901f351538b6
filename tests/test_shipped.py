"""The two models in the package: they load everywhere, are small, and are as good as their cards say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

import saliently
from saliently.models.loading import SHIPPED, shipped_names
from saliently.packing import Budget
from saliently.runner import Runner
from saliently.types import Target


def test_they_are_small() -> None:
    assert shipped_names() == ["bilstm", "default"]
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) <= 8_000_000
    for name in shipped_names():
        vocabulary = json.loads((SHIPPED / name / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        assert len(vocabulary) <= 8000


def test_transformers_loads_the_default_too() -> None:
    module, info = AutoModelForSequenceClassification.from_pretrained(SHIPPED / "default", output_loading_info=True)
    assert not info["missing_keys"]
    assert module.config.id2label == {0: "NEGATIVE", 1: "POSITIVE"}
    assert AutoTokenizer.from_pretrained(SHIPPED / "default").mask_token == "[MASK]"


@pytest.mark.parametrize("name", ["default", "bilstm"])
def test_they_tell_good_from_bad(name: str) -> None:
    model = saliently.load(name)
    for text, label in {
        "a gorgeous , witty , seductive movie": "POSITIVE",
        "a dull and lifeless mess": "NEGATIVE",
    }.items():
        found = saliently.explain(model, text)
        assert found.target.label == label
        assert not found.checks.failed


@pytest.mark.parametrize(("name", "least"), [("default", 0.83), ("bilstm", 0.80)])
def test_they_are_as_good_as_their_cards_say(name: str, least: float, data: Path) -> None:
    lines = (data / "sst2_tsv" / "test.tsv").read_text(encoding="utf-8").splitlines()
    model = saliently.load(name)
    inputs = [model.read({"text": line.split("\t")[0]}, False) for line in lines]
    runner = Runner(model, inputs, Target(), Budget(4096))
    with model.resting():
        runner.values(runner.everything())
    right = [
        (pin := runner.questions.pinned(i)) is not None and pin.index == int(line.split("\t")[1])
        for i, line in enumerate(lines)
    ]
    accuracy = sum(right) / len(right)
    card = (SHIPPED / name / "card.md").read_text(encoding="utf-8")
    said = re.search(r"\*\*Accuracy\*\*: (0\.\d+) on SST-2 test", card)
    assert said is not None
    assert accuracy >= least
    assert accuracy == pytest.approx(float(said[1]), abs=1e-3)
