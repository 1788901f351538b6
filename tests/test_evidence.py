"""Marked evidence: the share of positive mass on the words that decide."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import saliently
from saliently.audit.asked import RANDOM, Asked, explained
from saliently.audit.evidence import HALVES, evidence, score, usable
from saliently.audit.evidence_parts import parts
from saliently.audit.sst_wiki import Sizes, sst_wiki, sst_wiki_experiment
from saliently.chunks import checked_tokens
from saliently.data import Row, marked
from saliently.errors import InputError, ModelError, RecipeError
from saliently.models.base import Model
from saliently.train import Training
from saliently.types import Span
from tests import tiny

HALF = 4


class Half(nn.Module):
    """Reads the first four words alone, or all: the sum of what each word adds to the second logit."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(100, 1)
        self.first = first

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        total = (self.embed(ids)[..., 0] * mask)[:, : self.first].sum(1)
        return torch.stack([torch.zeros_like(total), total], 1)


@cache
def model(first: int) -> Model:
    """All words speak for the second label, each by itself; the mask adds nothing."""
    module = tiny.seeded(lambda: Half(first), torch.float32)
    with torch.no_grad():
        module.embed.weight.abs_().add_(0.1)
        module.embed.weight[:2] = 0.0
    labels = ("no", "yes")
    return saliently.wrap(module, tiny.read_words, embedding="embed", labels=labels, blank_ids={"mask": 1, "pad": 0})


def rows(many: int, label: int = 1) -> list[Row]:
    """Four words of evidence, and six behind them."""
    chance = Random(2)
    texts = [" ".join(chance.choices([f"w{i}" for i in range(60)], k=10)) for _ in range(many)]
    return [Row({"text": text}, label, (Span("text", 0, len(" ".join(text.split()[:HALF]))),)) for text in texts]


METHODS = ("occlusion(blank='mask')", "gradient-x-input", "gradient")


def test_a_model_that_reads_the_evidence_alone() -> None:
    report = evidence(Asked(model(HALF), METHODS), rows(20))
    table = report.tables[0].rows
    for name in METHODS:
        row = table[name]
        assert row[0] is not None
        assert row[2] is not None
        assert row[0].value == pytest.approx(1.0)
        assert row[2].value == 1.0
    halves, chance = table[HALVES][0], table[RANDOM]
    assert halves is not None
    assert halves.value == pytest.approx(1.0)
    assert chance[0] is not None
    assert chance[0].value == pytest.approx(0.4, abs=0.03)
    read = {name: row[0].value for name, row in report.tables[1].rows.items() if row[0] is not None}
    assert read["evidence alone"] == pytest.approx(read["whole text"])
    assert read["other words alone"] == pytest.approx(0.5)
    assert "reaches the bar" in report.verdict[0]
    assert "chance gives 40%" in report.verdict[0]
    assert report.settings["used"] == 20


def test_a_model_that_reads_all_is_told_from_a_method_that_errs() -> None:
    """Each word adds to the sum by itself, so that a method's share is that of the parts taken away whole."""
    asked = Asked(model(10), METHODS)
    report = evidence(asked, rows(20))
    table = report.tables[0].rows
    (row,) = (found for said, found in table.items() if said.startswith("occlusion"))
    halves = table[HALVES][0]
    assert row[0] is not None
    assert halves is not None
    assert row[0].value == pytest.approx(halves.value, abs=1e-5)
    assert 0.3 < row[0].value < 0.5
    assert "misses the bar" in report.verdict[0]
    assert "taken away whole" in report.verdict[1]


def test_the_share_is_of_positive_scores_alone() -> None:
    asked = Asked(model(10), METHODS)
    (row,) = rows(1)
    (each,) = explained(asked, "occlusion(blank='mask')", [row])
    assert each is not None
    scores = np.array([3.0, -5.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -2.0])
    found = score(asked, [replace(each, scores=scores)], [row])
    assert found.share.tolist() == [0.75]
    assert found.first.tolist() == [1.0]
    assert found.net.tolist() == [-0.25]
    nothing = score(asked, [replace(each, scores=-np.abs(scores)), None], [row, row])
    assert np.isnan(nothing.share).all()


def test_special_tokens_are_counted_apart() -> None:
    asked = Asked(tiny.bert(), METHODS)
    row = Row({"text": "A gorgeous movie."}, 0, (Span("text", 2, 10),))
    (each,) = explained(asked, "gradient", [row])
    assert each is not None
    ones = replace(each, scores=np.ones(len(each.tokens.ids)), grouping="sum")
    found = score(asked, [ones], [row])
    words = sum(each.tokens.words)
    assert found.special.tolist() == [2 / (2 + words)]
    unit = next(u for u in each.words() if u.text == "gorgeous")
    pieces = sum(1 for span in each.tokens.spans if span is not None and unit.start <= span.start < unit.end)
    assert found.share.tolist() == [pieces / words]


def test_a_word_is_marked_if_it_shares_a_character_with_the_evidence() -> None:
    tokens = checked_tokens(tiny.bert(), {"text": "A gorgeous, witty movie."})
    spelled = [tokens.text(tokens.parts[unit]) for unit in sorted(tokens.pieces_of)]
    found = marked(tokens, (Span("text", 5, 13), Span("text", 23, 24)))
    assert [word for word, on in zip(spelled, found, strict=True) if on] == ["gorgeous", ",", "witty", "."]
    assert not marked(tokens, (Span("other", 0, 24),)).any()


def test_parts_are_blanked_and_read() -> None:
    asked = Asked(model(10), METHODS)
    some = rows(3)
    tokens = [checked_tokens(asked.model, row.fields) for row in some]
    flags = [marked(each, row.evidence) for each, row in zip(tokens, some, strict=True)]
    flags[1] = np.ones(10, bool)
    read = parts(asked, tokens, flags)
    words = asked.model.embedding.weight.detach()[:, 0]
    first, rest = (words[list(tokens[0].ids[cut])].sum() for cut in (slice(0, HALF), slice(HALF, None)))
    assert read.whole[0] == pytest.approx(float(torch.sigmoid(first + rest)), abs=1e-6)
    assert read.alone[0] == pytest.approx(float(torch.sigmoid(first)), abs=1e-6)
    assert read.rest[0] == pytest.approx(float(torch.sigmoid(rest)), abs=1e-6)
    assert read.share[0] == pytest.approx(float(first / (first + rest)), abs=1e-5)
    assert np.isnan(read.share[1])


def test_texts_that_the_model_gets_wrong_are_left_out() -> None:
    both = [*rows(6), *rows(4, label=0)]
    good, right = usable(Asked(model(HALF), METHODS), both)
    assert len(good) == 6
    assert right == 0.6
    with pytest.raises(RecipeError, match="it gets 0 right"):
        usable(Asked(model(HALF), METHODS), rows(4, label=0))
    with pytest.raises(RecipeError, match="of 0 texts"):
        evidence(Asked(model(HALF), METHODS), [])
    with pytest.raises(RecipeError, match="have none"):
        usable(Asked(model(HALF), METHODS), [Row({"text": "a"})])
    with pytest.raises(RecipeError, match="0 have evidence"):
        usable(Asked(model(HALF), METHODS), [Row({"text": "a"}, 1)])


def write(folder: Path, split: str, lines: list[str], blocks: list[str]) -> None:
    (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / f"{split}.txt.block").write_text("\n".join(blocks) + "\n", encoding="utf-8")


def test_reading_joined_texts(tmp_path: Path) -> None:
    write(tmp_path, "dev", ["1\tso  good . A town", "0\tIn it bad film"], ["1 1 1 0 0", "0 1 1 0"])
    first, second = sst_wiki(tmp_path, "dev")
    assert (first.label, second.label) == (1, 0)
    assert [first.text[span.start : span.end] for span in first.evidence] == ["so  good ."]
    assert [second.text[span.start : span.end] for span in second.evidence] == ["it bad"]


@pytest.mark.parametrize(
    ("line", "block"), [("1\ttwo words", "1"), ("2\tword", "1"), ("no label", "1 0"), ("", "1"), ("1\tword", "")]
)
def test_files_that_do_not_fit_each_other(tmp_path: Path, line: str, block: str) -> None:
    write(tmp_path, "train", [line], [block])
    with pytest.raises(InputError, match="a 0 or 1 a word"):
        sst_wiki(tmp_path, "train")
    with pytest.raises(InputError, match="asked for"):
        sst_wiki(tmp_path / "nowhere", "train")


def test_the_whole_experiment_on_made_up_texts(tmp_path: Path) -> None:
    chance = Random(1)
    for split, many in (("train", 400), ("dev", 40)):
        lines, blocks = [], []
        for i in range(many):
            half = [("superb" if i % 2 else "awful"), *chance.choices(["film", "plot", "actor"], k=4)]
            chance.shuffle(half)
            lines.append(f"{i % 2}\t{' '.join(half)} {' '.join(chance.choices(['town', 'river', 'church'], k=5))}")
            blocks.append("1 1 1 1 1 0 0 0 0 0")
        write(tmp_path, split, lines, blocks)
    asked = saliently.load("bilstm")
    before = {name: weight.clone() for name, weight in asked.module.state_dict().items()}
    sizes = Sizes(train=300, test=30, training=Training(epochs=1))
    report = sst_wiki_experiment(Asked(asked, ("integrated-gradients", "attention")), tmp_path, sizes)
    assert all(torch.equal(weight, before[name]) for name, weight in asked.module.state_dict().items())
    assert report.settings["accuracy"] == 1.0
    assert (report.settings["trained on"], report.settings["texts"]) == (300, 30)
    (row,) = (found for name, found in report.tables[0].rows.items() if name.startswith("integrated-gradients"))
    assert row[1] is not None
    assert row[1].low is not None
    assert row[1].low > 0.2
    assert "attention" in report.verdict[-1]
    with pytest.raises(ModelError, match="two labels"):
        sst_wiki_experiment(Asked(tiny.bert()), tmp_path)


def test_the_real_texts(data: Path) -> None:
    for split, many in (("train", 6920), ("dev", 872), ("test", 1821)):
        found = sst_wiki(data / "sst_wiki", split)  # type: ignore[arg-type]
        assert len(found) == many
        assert all(len(row.evidence) == 1 and row.evidence[0].start == 0 for row in found)
    share = np.mean([len(row.text[: row.evidence[0].end].split()) / len(row.text.split()) for row in found])
    assert 0.45 < share < 0.47


def test_evidence_that_is_the_whole_text_says_nothing() -> None:
    whole = [Row(row.fields, row.label, (Span("text", 0, len(row.text)),)) for row in rows(3)]
    with pytest.raises(RecipeError, match="leave some words aside"):
        usable(Asked(model(HALF), METHODS), whole)


def test_numbers_of_a_function_are_not_called_probabilities() -> None:
    function = saliently.wrap_function(
        lambda texts: [[-4.0, 0.5 + sum(word == "good" for word in text.split())] for text in texts], ["a", "b"]
    )
    report = evidence(Asked(function, ("occlusion",)), [Row({"text": "good film here"}, 1, (Span("text", 0, 4),))])
    assert [column.name for column in report.tables[1].columns] == ["output"]
