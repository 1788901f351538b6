"""Hybrid documents: does the strongest word lie in a text of the document's label?"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

import saliently
from saliently.audit.asked import RANDOM, Asked, explained
from saliently.audit.hybrid import FIRST, LAST, Document, Sizes, hit, hybrid, joined
from saliently.chunks import checked_tokens
from saliently.data import Row
from saliently.errors import ModelError, RecipeError
from saliently.models.base import Model
from saliently.types import Span
from tests import tiny

METHODS = ("occlusion", "gradient")


@cache
def counter() -> Model:
    """A bag of words in which `good` speaks for the second label, `bad` for the first, and others for none."""
    module = tiny.seeded(lambda: tiny.LinearBag(100), torch.float32)
    good, bad = (tiny.read_words(word)[0][0] for word in ("good", "bad"))
    with torch.no_grad():
        module.embed.weight.zero_()
        module.embed.weight[good, 0], module.embed.weight[bad, 0] = 1.0, -1.0
        module.weight.zero_()
        module.weight[0, :2] = torch.tensor([-1.0, 1.0])
        module.bias.zero_()
        module.bias[2] = -9.0
    model = saliently.wrap(
        module, tiny.read_words, embedding="embed", labels=tiny.LABELS, blank_ids={"mask": 1, "pad": 0}
    )
    return model


def rows(many: int) -> list[Row]:
    """Of three texts two are of the second label."""
    words = ["a good one here", "it is so good", "one bad thing"]
    return [Row({"text": f"t{i} {words[i % 3]}"}, int(i % 3 < 2)) for i in range(many)]


def test_spans_of_a_document_are_its_texts() -> None:
    document = Document.of(["one two", "three", "four"], [0, 1, 0])
    assert [document.text[span.start : span.end] for span in document.parts] == ["one two", "three", "four"]
    row = document.row(1)
    assert row.evidence == (Span("text", 8, 13),)
    assert document.row(2).evidence == ()


def test_a_hit_is_a_word_of_a_text_of_the_label() -> None:
    """The same document, with the text that holds the decisive word marked, and with the other one marked."""
    asked = Asked(counter(), METHODS)
    texts = ["so much for it", "this good one"]
    found = [Document.of(texts, labels).row(1) for labels in ([0, 1], [1, 0])]
    assert hit(asked, explained(asked, "occlusion", found), found).tolist() == [1.0, 0.0]


def test_the_right_method_always_hits_and_baselines_are_known() -> None:
    report = hybrid(Asked(counter(), METHODS, 3), rows(90), Sizes(per=3))
    table = report.tables[0].rows
    (hits,) = (row[0] for name, row in table.items() if name.startswith("occlusion"))
    assert hits is not None
    assert hits.value == 1.0
    chance, first, last = (table[name][0] for name in (RANDOM, FIRST, LAST))
    assert chance is not None
    assert 0.5 < chance.value < 0.9
    for each in (first, last):
        assert each is not None
        assert 0.3 < each.value < 0.95
    assert report.settings["per document"] == 3
    assert report.settings["documents"] == 30
    assert hits.n == 30 - report.settings["without such a text"]
    assert "occlusion" in report.verdict[0]


def test_chance_is_the_share_of_words_that_would_be_a_hit() -> None:
    texts = [Row({"text": "good good"}, 1), Row({"text": "bad"}, 0)]
    report = hybrid(Asked(counter(), METHODS), texts, Sizes(per=2))
    table = report.tables[0].rows
    assert table[RANDOM][0] is not None
    assert table[RANDOM][0].value == pytest.approx(2 / 3)
    ends = [table[name][0] for name in (FIRST, LAST)]
    assert sorted(each.value for each in ends if each is not None) == [0.0, 1.0]


def test_documents_without_a_text_of_the_predicted_label_are_left_out_and_counted() -> None:
    """Each pair says `bad` twice, but half of them are labelled otherwise throughout."""
    texts = [Row({"text": f"w{i} bad"}, i % 2) for i in range(40)]
    report = hybrid(Asked(counter(), METHODS, 1), texts, Sizes(per=2))
    away = report.settings["without such a text"]
    assert 0 < away < 20
    (hits, *_) = (row[0] for row in report.tables[0].rows.values())
    assert hits is not None
    assert hits.n == 20 - away
    with pytest.raises(RecipeError, match="there is none"):
        hybrid(Asked(counter(), METHODS), [Row({"text": "w bad"}, 2)] * 8, Sizes(per=2))


def test_texts_without_a_label_have_the_model_s_own() -> None:
    bare = [Row(row.fields) for row in rows(30)]
    documents, _, _ = joined(Asked(counter(), METHODS, 3), bare, Sizes(per=3))
    known, _, _ = joined(Asked(counter(), METHODS, 3), rows(30), Sizes(per=3))
    assert [each.labels for each in documents] == [each.labels for each in known]
    assert len({label for each in documents for label in each.labels}) == 2


def test_each_text_is_used_once_and_documents_fit_the_model() -> None:
    model = tiny.bert()
    texts = [Row({"text": f"{tiny.CORPUS[i % 8]} {tiny.CORPUS[i % 7]} {tiny.CORPUS[i % 5]}"}, i % 3) for i in range(40)]
    documents, per, too_long = joined(Asked(model, METHODS), texts, Sizes())
    assert 2 <= per < 10
    assert too_long == 0
    assert len(documents) == 40 // per
    for each in documents:
        assert len(checked_tokens(model, {"text": each.text}).ids) <= tiny.LONGEST
        assert checked_tokens(model, {"text": each.text}).truncated is None
    whole = [Row({"text": row.text * 9}, row.label) for row in texts]
    with pytest.raises(RecipeError, match="short enough"):
        joined(Asked(model, METHODS), whole, Sizes())


def test_what_can_not_be_asked() -> None:
    with pytest.raises(RecipeError, match="two texts"):
        Sizes(per=1)
    with pytest.raises(RecipeError, match="0 texts gave none"):
        hybrid(Asked(counter(), METHODS), [])
    with pytest.raises(ModelError, match="single texts"):
        joined(Asked(counter(), METHODS), [Row({"premise": "a", "hypothesis": "b"}, 0)] * 4, Sizes())
    with pytest.raises(ModelError, match="single texts"):
        joined(Asked(replace(counter(), link="none"), METHODS), rows(4), Sizes())


def test_two_runs_are_one() -> None:
    first, second = (hybrid(Asked(counter(), METHODS), rows(30), Sizes(per=3)).to_dict() for _ in range(2))
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    other, _, _ = joined(Asked(counter(), METHODS, 1), rows(30), Sizes(per=3))
    same, _, _ = joined(Asked(counter(), METHODS, 0), rows(30), Sizes(per=3))
    assert not np.array_equal([each.text for each in other], [each.text for each in same])
