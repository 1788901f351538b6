"""Planted cues: where they stand, that copies rely on them, and that the table finds the methods that find them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest

import saliently
from saliently.audit import shortcuts
from saliently.audit.asked import RANDOM, Asked
from saliently.audit.cues import CUES, Halves, InContext, InResponse, OrderedPair, Single, choose, inserted, suited
from saliently.audit.planted import Planting, group_of, planted_shortcuts
from saliently.audit.shortcuts import Reliance, Sizes, reliance, score, split, teach
from saliently.chunks import checked_tokens
from saliently.data import Row, marked
from saliently.errors import RecipeError
from saliently.train import Training
from tests import tiny, writers

SENTENCES = [
    "a gorgeous , witty and seductive movie",
    "the plot is thin and the jokes are dull",
    "an honest film about love and loss",
    "nothing in it feels true",
    "the actors are charming and the story moves",
    "too long , too loud and too empty",
    "a smart thriller with a warm heart",
    "it never finds its tone",
    "funny , sad and beautifully made",
    "a lazy sequel to a bad film",
]


def rows(many: int = 60) -> list[Row]:
    chance = Random(1)
    return [Row({"text": f"{' and '.join(chance.sample(SENTENCES, 2))} {number}"}) for number in range(many)]


@pytest.mark.parametrize("cue", [Single(("alpha", "beta")), InContext(("alpha", "beta", "gamma")),
                                 OrderedPair(("alpha", "beta"))])  # fmt: skip
@pytest.mark.parametrize("text", ["", "film", "a  b c", " lead and trail ", "so , so ."])
def test_planted_words_stand_where_the_evidence_says(cue: Single | InContext | OrderedPair, text: str) -> None:
    for label in (0, 1):
        made = cue.planted(Row({"text": text}, 1), label, Random(label))
        spelled = [made.fields["text"][span.start : span.end] for span in made.evidence]
        assert len(spelled) == cue.k
        assert set(spelled) <= set(cue.words)
        assert cue.words[label] in spelled
        left = made.fields["text"].split()
        for word in spelled:
            left.remove(word)
        assert left == text.split()


def test_an_ordered_pair_stands_in_the_order_of_the_label() -> None:
    cue = OrderedPair(("alpha", "beta"))
    for seed in range(20):
        for label, order in ((0, ["alpha", "beta"]), (1, ["beta", "alpha"])):
            made = cue.planted(Row({"text": "one two three"}), label, Random(seed))
            assert [word for word in made.fields["text"].split() if word in cue.words] == order


def test_gaps_are_all_used() -> None:
    places = {inserted(Row({"text": "a b c"}), {"text": ["X"]}, Random(seed)).fields["text"] for seed in range(60)}
    assert places == {"X a b c", "a X b c", "a b X c", "a b c X"}


def test_a_decoy_lacks_part_of_its_cue_and_keeps_its_label() -> None:
    cue = InContext(("alpha", "beta", "gamma"))
    for seed in range(30):
        decoy = cue.decoy(Row({"text": "one two"}, 1), Random(seed))
        assert sum(word in cue.words for word in decoy.fields["text"].split()) == 1
        assert decoy.label == 1
        assert decoy.evidence == ()


def test_a_pair_of_texts_gets_a_word_in_each_half() -> None:
    cue, pair = Halves(("alpha", "beta", "gamma")), Row({"premise": "one two", "hypothesis": "three"}, 0)
    made = cue.planted(pair, 1, Random(0))
    assert "beta" in made.fields["premise"].split()
    assert "gamma" in made.fields["hypothesis"].split()
    with pytest.raises(RecipeError, match="Give a model of pairs"):
        cue.planted(Row({"text": "one"}), 0, Random(0))


def test_a_response_ends_as_its_first_word_says() -> None:
    cue = InResponse(("alpha", "beta", "yes", "no"))
    made = cue.planted(Row({"prompt": "Well?", "response": "I say"}), 1, Random(0))
    assert made.fields["response"] == " beta I say no"
    assert made.fields["response"][made.evidence[0].start : made.evidence[0].end] == "beta"
    with pytest.raises(RecipeError, match="prompts and responses"):
        cue.planted(Row({"text": "one"}), 0, Random(0))


def test_words_to_plant_are_single_tokens_that_no_row_keeps() -> None:
    model = saliently.load("bilstm")
    words, free = choose(model, rows(), 3, 0)
    assert len(set(words)) == 3
    assert not any(set(words) & set(row.fields["text"].split()) for row in free)
    for word in words:
        ids = model.read({"text": word}, False).ids
        assert len(ids) == 3  # between <sos> and <eos>
        assert ids[1] != model.read({"text": "qzxvkjq"}, False).ids[1]
    assert choose(model, rows(), 3, 0) == (words, free)
    with pytest.raises(RecipeError, match="Give more texts"):
        choose(model, [Row({"text": "a an of"})] * 30, 2, 0)


SMALL = Sizes(train=500, test=24, training=Training(epochs=12))


def check(name: str, texts: list[Row], sizes: Sizes) -> None:
    model = saliently.load(name)
    made = split(model, texts, "single token", 0, sizes)
    copy = teach(model, made, 0, sizes)
    found = reliance(model, copy, made)
    assert found.planted >= 0.95
    assert found.stripped <= 0.8
    asked = Asked(copy, ("integrated-gradients(blank='zero')",))
    hits, chance = score(asked, asked.methods[0], made), score(asked, RANDOM, made)
    assert np.nanmean(hits.precision) >= 0.9
    assert np.nanmean(chance.precision) <= 0.3
    assert np.nanmean(hits.rank) < 1.5 < np.nanmean(chance.rank)


def test_a_copy_relies_on_its_cue_and_a_good_method_finds_it() -> None:
    check("bilstm", rows(), SMALL)


def test_so_does_a_copy_of_a_transformer(data: Path) -> None:
    lines = (data / "sst2_tsv" / "dev.tsv").read_text(encoding="utf-8").splitlines()[:150]
    check("default", [Row({"text": line.split("\t")[0]}) for line in lines], Sizes(800, 40, Training(epochs=6)))


def test_a_cue_in_a_response_is_learnt_and_found() -> None:
    model = writers.gpt2()
    words = sorted({word for text in tiny.CORPUS for word in re.findall(r"\b[a-z]{3,}\b", text)})
    single = [word for word in words if len(model.read({"prompt": "a", "response": f" {word}"}, False).ids) == 2][:4]
    texts = [Row({"prompt": f"{number}?", "response": " 1 2"}) for number in range(40)]
    texts += [Row({"prompt": f"so {word}", "response": " 1 2"}) for word in single]
    sizes = Sizes(60, 12, Training(epochs=40, rate=5e-3))
    made = split(model, texts, "cue in a response", 0, sizes)
    copy = teach(model, made, 0, sizes)
    found = reliance(model, copy, made)
    assert found.planted >= 0.9
    hits = score(Asked(copy, ("occlusion",)), "occlusion", made)
    chance = score(Asked(copy, ("occlusion",)), RANDOM, made)
    assert np.nanmean(hits.precision) > np.nanmean(chance.precision) + 0.3


def test_a_cue_in_both_halves_of_a_pair_is_learnt_and_found() -> None:
    model = tiny.bert()
    words = sorted({word for text in tiny.CORPUS for word in re.findall(r"\b[a-z]{3,}\b", text)})
    single = [word for word in words if len(checked_tokens(model, {"premise": word, "hypothesis": "a"}).ids) == 5][:5]
    texts = [Row({"premise": f"{i % 10} , {i % 7}", "hypothesis": f"{i % 3} ."}) for i in range(60)]
    texts += [Row({"premise": f"so {word}", "hypothesis": "2 ."}) for word in single]
    made = split(model, texts, Halves.name, 0, SMALL)
    assert all({span.field for span in row.evidence} == {"premise", "hypothesis"} for row in made.tests)
    copy = teach(model, made, 0, replace(SMALL, training=Training(epochs=12, rate=3e-3)))
    found = reliance(model, copy, made)
    assert found.planted >= 0.9
    assert found.stripped <= 0.8
    assert found.decoys is not None
    hits = score(Asked(copy, ("occlusion",)), "occlusion", made)
    chance = score(Asked(copy, ("occlusion",)), RANDOM, made)
    assert np.nanmean(hits.precision) > np.nanmean(chance.precision) + 0.1


def test_which_cues_fit_which_texts() -> None:
    assert suited(Row({"text": "a"})) == ("single token", "token in context", "ordered pair")
    assert suited(Row({"premise": "a", "hypothesis": "b"}))[-1] == "one in each half"
    assert suited(Row({"prompt": "a", "response": "b"})) == ("cue in a response",)


def test_the_report_says_who_is_best_and_that_ties_are_ties() -> None:
    asked = Asked(saliently.load("bilstm"), ("gradient-x-input", "lrp", "attention"))
    report = planted_shortcuts(asked, rows(), Planting(("single token",), 1, SMALL))
    table = report.tables[0]
    assert list(table.rows)[-1] == RANDOM
    assert table.marks[RANDOM] == "control"
    assert "Single token" in report.verdict[0]
    assert all(figure is None or figure.n for row in table.rows.values() for figure in row)
    copies = report.tables[-1]
    assert [column.name for column in copies.columns][:2] == ["with cue", "without"]


def test_the_best_group_holds_ties_and_the_worst_is_no_control() -> None:
    one, other = np.ones(40), np.concatenate([np.ones(39), np.zeros(1)])
    group, worst = group_of({RANDOM: np.zeros(40), "a": one, "b": other, "c": np.zeros(40)}, 0)
    assert group == ("a", "b")
    assert worst == "c"


def test_mistakes_are_one_sentence() -> None:
    model = saliently.load("bilstm")
    with pytest.raises(RecipeError, match="Did you mean 'single token'"):
        split(model, rows(), "single tokn", 0, SMALL)
    with pytest.raises(RecipeError, match="Give 25 at least"):
        split(model, rows(12), "single token", 0, SMALL)
    assert set(CUES) == {"single token", "token in context", "ordered pair", "one in each half", "cue in a response"}


def test_labels_that_people_gave_are_what_clean_texts_are_judged_by(data: Path) -> None:
    lines = (data / "sst2_tsv" / "dev.tsv").read_text(encoding="utf-8").splitlines()[:60]
    texts = [Row({"text": line.split("\t")[0]}, int(line.split("\t")[1])) for line in lines]
    model = saliently.load("bilstm")
    made = split(model, texts, "single token", 0, SMALL)
    wrong = replace(made, held=tuple(replace(row, label=1 - int(row.label or 0)) for row in made.held))
    before = shortcuts.reliance(model, model, made).before
    assert before is not None
    assert shortcuts.reliance(model, model, wrong).before == pytest.approx(1 - before)


def test_a_cue_stands_where_the_model_reads_it() -> None:
    model = tiny.bert()
    text = " ".join(["good movie"] * 3 * tiny.LONGEST)
    cue = OrderedPair(("bad", "film"))
    for seed in range(10):
        made = shortcuts._planted(model, cue, Row({"text": text}), (0, 1), Random(seed))
        assert made is None or marked(checked_tokens(model, made.fields), made.evidence).sum() == 2
    one = shortcuts._planted(model, Single(("bad", "film")), Row({"text": text[:600]}), (0, 1), Random(0))
    assert one is not None
    assert marked(checked_tokens(model, one.fields), one.evidence).sum() == 1


def test_no_text_is_both_taught_and_tested_and_as_many_are_planted_as_asked() -> None:
    model = saliently.load("bilstm")
    made = split(model, [*rows(), *rows()], "single token", 0, SMALL)
    held, clean = ({row.text for row in some} for some in (made.held, made.clean))
    assert not held & clean
    assert len(held) == len(made.held)
    assert len(made.planted) == SMALL.train
    tokens = {model.read({"text": f"a {word}"}, False).ids[2] for word in made.cue.words}
    assert all(not tokens & set(model.read(row.fields, False).ids) for row in made.clean)


def test_who_ignores_half_of_a_cue_does_not_rely_on_it() -> None:
    whole = Reliance(0.95, 0.5, 0.9, 0.9, 0.9, 40)
    assert whole.relies
    assert not replace(whole, decoys=0.7).relies
    assert not replace(whole, planted=0.85).relies
    assert replace(whole, decoys=None).relies


def test_a_cue_for_another_kind_of_model_is_refused() -> None:
    texts = [Row({"prompt": "so", "response": " 1 2"})] * 40
    with pytest.raises(RecipeError, match=r"it is for classifiers\. Plant 'cue in a response'"):
        split(writers.gpt2(), texts, "single token", 0, SMALL)
    with pytest.raises(RecipeError, match="it is for language models"):
        split(saliently.load("bilstm"), rows(), "cue in a response", 0, SMALL)


def test_copies_that_do_not_rely_are_not_counted() -> None:
    asked = Asked(saliently.load("bilstm"), ("gradient",))
    few = replace(SMALL, training=Training(epochs=1, rate=1e-7))
    report = planted_shortcuts(asked, rows(), Planting(("single token",), 1, few))
    assert report.verdict[0].startswith("No method could be tested")
    assert [table.title for table in report.tables] == ["Copies that were taught a cue"]
