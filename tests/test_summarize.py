"""Summaries count right, a planted cue comes out on top, and everything is told from Python and the command alike."""

# Arrows stand between words and classes.

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from math import log
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

import saliently
from saliently.audit.cues import Single
from saliently.audit.shortcuts import Sizes, Split, split, teach
from saliently.cli import app
from saliently.data import Row
from saliently.models.base import Model
from saliently.reports import Report
from saliently.summarize import Wishes, summarize, summary
from saliently.tally import Entry, Occurrence, Tally
from saliently.train import Training
from saliently.types import Explanation, Unit
from tests import tiny

THINGS = "film movie story plot cast script music ending".split()
FEELINGS = "funny charming witty moving brilliant clever dull boring lifeless tedious silly awful".split()
RARE = "camera audience director hollywood video thriller drama actor".split()
TEXTS = ["so good", "so very good so", "bad bad", "so bad", "what a film"]


def review(chance: Random) -> str:
    return " and ".join(f"the {chance.choice(THINGS)} is {chance.choice(FEELINGS)}" for _ in range(2))


@pytest.fixture(scope="module")
def planted() -> tuple[Model, Split]:
    """The shipped bilstm, taught that one of two words decides."""
    chance = Random(0)
    texts = [f"{review(chance)} {RARE[i]}" if i < len(RARE) else review(chance) for i in range(160)]
    model = saliently.load("bilstm")
    sizes = Sizes(train=400, test=60, training=Training(epochs=20))
    made = split(model, [Row({"text": text}) for text in texts], Single.name, 0, sizes)
    return teach(model, made, 0, sizes), made


def test_planted_cues_come_out_on_top(planted: tuple[Model, Split]) -> None:
    model, made = planted
    report = summarize(model, [*made.tests, *made.held], "lrp", Wishes(top=8))
    cues = {f"{made.cue.words[i]} → {model.labels[label]}" for i, label in enumerate(made.pair)}
    assert set(list(report.tables[0].rows)[:2]) == cues
    assert all(repr(word) in report.verdict[0] for word in made.cue.words)
    for cue in cues:
        suspicion, score, here, elsewhere, _ = report.tables[0].rows[cue]
        assert score is not None
        assert score.low is not None
        assert 0 < score.low < score.value
        assert suspicion is not None
        assert suspicion.value <= score.value
        assert here is not None
        assert elsewhere is not None
        assert here.value > 0.2 > elsewhere.value
        (note,) = (note for note in report.tables[0].notes if note.startswith(f"{cue}: "))
        assert f"[{cue.split()[0]}]" in note


def explanations() -> list[Explanation]:
    """Of the labels glad, glad, sad, sad, glad."""
    model = tiny.linear_bag()
    labels = ("glad", "glad", "sad", "sad", "glad")
    return [
        saliently.explain(model, *each[:1], "gradient-x-input", each[1]) for each in zip(TEXTS, labels, strict=True)
    ]


def test_counts_are_those_of_the_texts() -> None:
    found = explanations()
    tally = Tally.of(found, None)
    so = Entry("so", "glad")
    assert tally.texts == {"glad": 3, "sad": 2}
    assert tally.counts(so) == (2, 3, 1, 2)
    assert len(tally.occurrences[so]) == 3
    assert tally.log_odds(so) == pytest.approx(log(3 / 2) - log(2 / 2))
    assert tally.exclusivity(so) == pytest.approx((3 / 5 - 2 / 4) / (3 / 5 + 2 / 4))
    assert tally.exclusivity(Entry("bad", "sad")) == pytest.approx((3 / 4 - 1 / 5) / (3 / 4 + 1 / 5))
    words = [unit.score for each in (0, 1, 4) for unit in found[each].words() if unit.text == "so"]
    assert tally.scores(so) == pytest.approx(words)
    for entry in tally.occurrences:
        mean, share = tally.scores(entry).mean(), tally.exclusivity(entry)
        assert tally.suspicion(entry) == pytest.approx(mean * share if mean > 0 and share > 0 else 0.0)
    assert tally.snippets(Entry("film", "glad")) == ("what a [film]",)
    assert set(tally.snippets(Entry("bad", "sad"))) in ({"[bad] bad", "so [bad]"}, {"bad [bad]", "so [bad]"})
    assert sorted(tally.frequent(3)) == [Entry("bad", "sad"), so]


@pytest.mark.parametrize("texts", [{"A": 100, "C": 4}, {"A": 100}, {"A": 100, "C": 40}, {"C": 4}])
def test_a_class_that_holds_a_word_less_often_than_others_is_not_suspect(texts: dict[str, int]) -> None:
    """Counts have one added to each, by which a class of few texts looks fond of any word."""
    word = Unit("odd", 0, 3, "text", 0.5)
    entry = Entry("odd", "C")
    holding = {"odd": Counter({"A": 8} if "A" in texts else {"C": 2})}
    assert Tally((), {entry: [Occurrence(0, word)] * 3}, holding, Counter(texts)).suspicion(entry) == 0
    more = {"odd": Counter({"A": 8, "C": 1})}
    assert Tally((), {entry: [Occurrence(0, word)] * 3}, more, Counter({"A": 100, "C": 4})).suspicion(entry) > 0


def test_labels_change_what_is_counted_and_not_what_is_scored() -> None:
    found = explanations()
    tally = Tally.of(found, ["sad", "glad", "glad", "glad", "glad"])
    assert tally.counts(Entry("so", "glad")) == (2, 4, 1, 1)
    assert tally.scores(Entry("so", "glad")) == pytest.approx(Tally.of(found, None).scores(Entry("so", "glad")))
    with pytest.raises(saliently.InputError, match="found 2 for 5"):
        Tally.of(found, ["sad", "glad"])


def test_a_table_shows_what_occurs_often_enough_by_its_score() -> None:
    report = summary(explanations(), wishes=Wishes(least=3))
    glad, sad = report.tables[1:]
    assert (list(glad.rows), list(sad.rows)) == (["so"], ["bad"])
    every = summary(explanations(), wishes=Wishes(least=1, top=3)).tables[1]
    means = [row[0].value for row in every.rows.values() if row[0]]
    assert len(means) == 3
    assert means == sorted(means, reverse=True)
    assert every.rows[next(iter(every.rows))][0] is not None


def test_a_suspect_is_surely_above_0_and_frequent_enough() -> None:
    model = tiny.linear_bag()
    texts = {"so good": [5.0, 1.0], "so good ": [-4.0, 1.0], " so good": [5.0, 1.0], "so  good": [-4.0, 1.0]}
    rare = {"what fun": [9.0, 9.0], "what fun ": [9.0, 9.0]}
    found = [
        replace(saliently.explain(model, text, "gradient-x-input", "glad"), scores=np.array(scores))
        for text, scores in {**texts, **rare}.items()
    ]
    found += [saliently.explain(model, "bad", "gradient-x-input", "sad")] * 5
    assert Tally.of(found, None).suspicion(Entry("so", "glad")) > 0
    assert list(summary(found, wishes=Wishes(least=3)).tables[0].rows) == ["good → glad"]
    rows = summary(found, wishes=Wishes(least=2)).tables[0].rows
    assert list(rows) == ["fun → glad", "what → glad", "good → glad"]


def test_a_summary_of_saved_explanations_is_that_of_the_model(tmp_path: Path) -> None:
    model = tiny.bert()
    rows = [Row({"text": text}) for text in tiny.CORPUS[:10]]
    direct = summarize(model, rows, "lrp", Wishes(least=2))
    from saliently.view.files import save

    save(saliently.explain(model, [row.text for row in rows], "lrp"), tmp_path / "a.jsonl")
    saved = summary(saliently.load_explanations(tmp_path / "a.jsonl"), wishes=Wishes(least=2))
    assert replace(direct, seconds=None) == replace(saved, seconds=None)


def test_rows_may_be_texts_and_labels_count_where_all_have_one() -> None:
    model = tiny.linear_bag()
    plain = summarize(model, TEXTS, "gradient-x-input", Wishes(least=1))
    assert plain.settings["classes counted by"] == "the class explained"
    named = summarize(model, [Row({"text": text}, 0) for text in TEXTS], "gradient-x-input", Wishes(least=1))
    assert named.settings["classes counted by"] == "label"
    assert named.verdict == ("All texts are of one class, so that no word can be said to go with it.",)
    some = summarize(model, [Row({"text": TEXTS[0]}, 0), *TEXTS[1:]], "gradient-x-input", Wishes(least=1))
    assert some.settings["classes counted by"] == "the class explained"


def test_a_text_that_fails_is_told_and_does_not_count() -> None:
    report = summarize(tiny.linear_bag(), [*TEXTS, ""], "gradient-x-input", Wishes(least=1))
    assert report.settings["texts"] == len(TEXTS)
    assert any(note.startswith("Text 6 is left out: ") for note in report.tables[0].notes)
    with pytest.raises(saliently.InputError, match=r"no text gave one\. Text 1 is left out"):
        summarize(tiny.linear_bag(), [""], "gradient-x-input")


def test_what_can_t_be_summed_up_is_an_error() -> None:
    found = explanations()
    with pytest.raises(saliently.InputError, match="there are none"):
        summary([])
    with pytest.raises(saliently.RecipeError, match="gradient, gradient-x-input"):
        summary([*found, saliently.explain(tiny.linear_bag(), "so good", "gradient")])
    with pytest.raises(saliently.RecipeError, match="start at 1"):
        Wishes(least=0)


def test_a_method_without_a_sign_is_said_to_be_one() -> None:
    report = summarize(tiny.linear_bag(), TEXTS, "gradient", Wishes(least=1))
    assert "gradient gives a sensitivity, not a signed amount" in report.limits[-1]
    assert len(summary(explanations()).limits) == len(report.limits) - 1


# The command


def call(*words: str) -> Result:
    return CliRunner().invoke(app, ["summarize", *words])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "texts.txt"
    found.write_text("\n".join(f"{text}\t{tiny.LABELS[i % 2]}" for i, text in enumerate(tiny.CORPUS[:10])), "utf-8")
    return found


def test_the_command_gives_what_the_library_gives(model: str, file: Path, tmp_path: Path) -> None:
    saved = tmp_path / "a.html"
    result = call(str(file), "--model", model, "--method", "lrp", "--least", "2", "--json", "--save", str(saved))
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    rows = [Row({"text": text}, i % 2) for i, text in enumerate(tiny.CORPUS[:10])]
    expected: Report = summarize(saliently.load(model), rows, "lrp", Wishes(least=2))
    assert found["settings"]["classes counted by"] == "label"
    assert found["tables"] == expected.to_dict()["tables"]
    page = saved.read_text(encoding="utf-8")
    assert "Suspected shortcuts" in page
    assert f"Saved to {saved}." in result.stderr
    shown = call(str(file), "--model", model, "--method", "gradient")
    assert "Words by their score towards" in shown.stdout


def test_a_line_that_fails_is_told_with_code_2(model: str, file: Path) -> None:
    file.write_text(f"{tiny.CORPUS[0]}\n \n{tiny.CORPUS[1]}\n", encoding="utf-8")
    result = call(str(file), "--model", model, "--method", "gradient")
    assert result.exit_code == 2
    assert "line 2: " in result.stderr
    assert "Suspected shortcuts" in result.stdout


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--save", "a.png"), "the ending '.png' is not known"),
        (("--save", "no/such/a.html"), "there is no folder"),
        (("--method", "lpr"), "Method 'lpr' was asked for"),
    ],
)
def test_what_is_wrong_is_told_before_a_model_is_loaded(words: tuple[str, ...], match: str, file: Path) -> None:
    result = call(str(file), "--model", "no-such-model", *words)
    assert isinstance(result.exception, saliently.SaliencyError)
    assert match in str(result.exception)


def test_intervals_are_over_occurrences() -> None:
    report = summary(explanations(), wishes=Wishes(least=3))
    (score, *_) = report.tables[1].rows["so"]
    assert score is not None
    assert score.n == 3
    assert score.value == pytest.approx(float(np.mean(Tally.of(explanations(), None).scores(Entry("so", "glad")))))


def test_explanations_of_several_models_or_numbers_are_not_summed_up() -> None:
    found = explanations()
    with pytest.raises(saliently.RecipeError, match="of one model were asked for; found LinearBag, another"):
        summary([*found, replace(found[0], model="another")])
    odds = saliently.explain(tiny.linear_bag(), "so good", "gradient-x-input", saliently.Target("glad", "rest"))
    with pytest.raises(saliently.RecipeError, match="saliency for the logit against rest"):
        summary([*found, odds])
