"""Word deletion as a report."""

from __future__ import annotations

import pytest

import saliently
from saliently.audit.asked import Asked
from saliently.audit.deletion import deletion
from saliently.data import Row
from saliently.errors import RecipeError
from saliently.metrics.word_deletion import CONTROL, Deleting

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
