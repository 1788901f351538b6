"""Word deletion as a report."""

from __future__ import annotations

import pytest

import saliently
from saliently.audit.asked import Asked
from saliently.audit.deletion import deletion
from saliently.data import Row
from saliently.errors import RecipeError
from saliently.metrics.word_deletion import CONTROL, Deleting, word_deletion

GOOD, BAD = ("a gorgeous and witty film with a warm heart", 1), ("a dull , lifeless and lazy film with no heart", 0)


def test_a_good_order_falls_faster_than_chance() -> None:
    rows = [
        Row({"text": f"{text} {more}"}, label) for text, label in (GOOD, BAD) for more in ("today", "indeed", "again")
    ]
    report = deletion(Asked(saliently.load("bilstm"), ("occlusion",)), rows, Deleting(most=3))
    (lines,) = report.lines
    ours, chance = lines.curves["occlusion(blank='zero')"], lines.curves[CONTROL]
    assert ours[0][1].value == chance[0][1].value == 1.0
    assert ours[-1][1].value < chance[-1][1].value
    assert "right at first" in report.verdict[0]


def test_labels_are_needed() -> None:
    with pytest.raises(RecipeError, match="Word deletion needs labels"):
        deletion(Asked(saliently.load("bilstm"), ("occlusion",)), [Row({"text": GOOD[0]})])


def test_curves_are_of_the_texts_that_all_methods_explain() -> None:
    model = saliently.load("bilstm")
    texts = [f"{text} {more}" for text, _ in (GOOD, BAD) for more in ("today", "indeed", "again")]
    labels = [1, 1, 1, 0, 0, 0]
    whole = [saliently.explain(model, text, "occlusion", label) for text, label in zip(texts, labels, strict=True)]
    other = [saliently.explain(model, text, "gradient", label) for text, label in zip(texts, labels, strict=True)]
    found = word_deletion(model, {"all": whole, "some": [None, *other[1:3], None, None, other[5]]}, labels, Deleting(3))
    for lines in found.lines:
        assert {figure.n for curve in lines.curves.values() for _, figure in curve} == {3}
        assert any("By all methods 3 of 6 texts" in note for note in lines.notes)
