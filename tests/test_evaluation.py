"""Metrics as a report: by method and blank, with controls, from fresh or saved explanations."""

from __future__ import annotations

from dataclasses import replace

import pytest

import saliently
from saliently.api import Options
from saliently.audit.scrambled import parts, scrambled
from saliently.data import Row
from saliently.errors import RecipeError
from saliently.evaluation import Measuring, by_method, check, evaluate, explain_all
from saliently.metric_tables import CONTROL
from saliently.types import Explanation, Span, Target
from tests import tiny, writers

TEXTS = ["A good film, a bad story.", "The plot is thin and the music is fine.", "So very good!", "Bad."]
ROWS = [Row({"text": text}, evidence=(Span("text", 0, 6),)) for text in TEXTS]


def test_methods_are_rows_blanks_are_columns_and_the_control_comes_last() -> None:
    model = tiny.bert()
    explained, failures = explain_all(model, ROWS, ["gradient", "occlusion"])
    report = evaluate(model, explained, Measuring(blanks=("mask", "delete")))
    assert not failures
    assert [table.title for table in report.tables] == ["comprehensiveness", "sufficiency", "Agreement of methods"]
    for table in report.tables[:2]:
        assert [column.name for column in table.columns] == ["mask", "mask: gain", "delete", "delete: gain"]
        assert list(table.rows)[-1] == CONTROL
        assert set(table.rows) == {"gradient", "occlusion(blank='mask')", CONTROL}
        assert [figure.blank for figure in table.rows["gradient"] if figure] == ["mask", "mask", "delete", "delete"]
    assert report.seed == 0
    assert report.settings["methods"] == ["gradient", "occlusion(blank='mask')"]


def test_gains_are_over_the_control_and_positive_is_better_for_both_directions() -> None:
    model = tiny.bert()
    explained, _ = explain_all(model, ROWS, ["occlusion(blank='mask')"])
    for metric, sign in (("comprehensiveness", 1), ("sufficiency", -1)):
        (table,) = evaluate(model, explained, Measuring((metric,), ("mask",))).tables
        value, gain = table.rows["occlusion(blank='mask')"]
        control = table.rows[CONTROL][0]
        assert value is not None
        assert gain is not None
        assert control is not None
        assert gain.value == pytest.approx(sign * (value.value - control.value))


def test_a_model_that_was_not_explained_is_refused() -> None:
    explained, _ = explain_all(tiny.bert(), ROWS, ["gradient"])
    with pytest.raises(RecipeError, match=r"one is of the logit of .* it gives .* Give the model that was explained"):
        evaluate(scrambled(tiny.bert(), [name for name, _ in parts(tiny.bert())], 0), explained)
    with pytest.raises(RecipeError, match="it has not all of these tokens"):
        evaluate(saliently.load("bilstm"), {"gradient": [_with_ids(each) for each in explained["gradient"]]})


def _with_ids(explanation: Explanation | None) -> Explanation:
    """As of a larger vocabulary."""
    assert explanation is not None
    tokens = explanation.tokens
    return replace(explanation, tokens=replace(tokens, ids=tuple(each + 10**6 for each in tokens.ids)))


def test_the_defaults_are_the_models_blank_and_deletion() -> None:
    model = tiny.bert()
    explained, _ = explain_all(model, ROWS, ["gradient"])
    assert evaluate(model, explained).settings["blanks"] == ["mask", "delete"]


def test_a_soft_metric_leaves_deletion_out_and_says_so_where_nothing_is_left() -> None:
    model = tiny.bert()
    explained, _ = explain_all(model, ROWS, ["gradient"])
    (table,) = evaluate(model, explained, Measuring(("soft-sufficiency",), ("mask", "delete"))).tables
    assert [column.name for column in table.columns] == ["mask", "mask: gain"]
    with pytest.raises(RecipeError, match="by deletion alone"):
        evaluate(model, explained, Measuring(("soft-sufficiency",), ("delete",)))


def test_a_method_that_fails_is_told_and_the_others_stay() -> None:
    function = saliently.wrap_function(lambda texts: [[text.count("o"), 1.0] for text in texts], labels=["o", "n"])
    explained, failures = explain_all(function, ROWS, ["gradient", "occlusion"])
    assert set(failures) == {"gradient"}
    (table, _) = evaluate(function, explained, Measuring(blanks=("delete",))).tables
    assert [row for row in table.rows if row != CONTROL] == ["occlusion(blank='delete')"]


def test_a_text_that_fails_is_left_out_of_its_method_alone() -> None:
    model = tiny.bert()
    explained, failures = explain_all(model, [*ROWS, Row({"text": "word " * 400})], ["gradient"])
    assert "gradient" in failures
    (table, _) = evaluate(model, explained).tables
    assert table.rows["gradient"][0].n == 4  # type: ignore[union-attr]


def test_saved_explanations_become_a_table() -> None:
    model = tiny.bert()
    every = [*saliently.explain(model, TEXTS, "gradient"), *saliently.explain(model, TEXTS[1:], "occlusion")]
    found = by_method(every)
    assert [each is None for each in found["occlusion(blank='mask')"]] == [True, False, False, False]
    with pytest.raises(RecipeError, match="there are none"):
        evaluate(model, {"gradient": []})


def test_a_text_that_comes_again_is_a_text_of_its_own() -> None:
    model = tiny.bert()
    texts = [TEXTS[3], TEXTS[0], TEXTS[3]]
    found = by_method([*saliently.explain(model, texts, "gradient"), *saliently.explain(model, texts, "occlusion")])
    for each in found.values():
        assert [None if one is None else one.tokens.fields["text"] for one in each] == texts
    (table, *_) = evaluate(model, found).tables
    assert table.rows["gradient"][0].n == 3  # type: ignore[union-attr]


def test_a_language_model_needs_its_place_and_is_measured_there() -> None:
    model, target = writers.gpt2(), Target(at=0)
    rows = [Row({"prompt": text, "response": " good film"}) for text in TEXTS]
    explained, failures = explain_all(model, rows, ["occlusion"], target)
    assert not failures
    with pytest.raises(RecipeError, match="which one was explained"):
        evaluate(model, explained, Measuring(blanks=("zero",)))
    (table, _) = evaluate(model, explained, Measuring(blanks=("zero",), target=target)).tables
    assert table.rows["occlusion(blank='zero')"][0].n == 4  # type: ignore[union-attr]


def test_plausibility_is_apart_and_says_that_it_is_no_faithfulness() -> None:
    model = tiny.bert()
    explained, _ = explain_all(model, ROWS, ["gradient"])
    report = evaluate(model, explained, evidence=ROWS)
    assert report.tables[-1].title == "Plausibility (not faithfulness)"
    assert any("not faithfulness" in said for said in report.limits)
    assert all("lausib" not in said for said in evaluate(model, explained).limits)


def test_a_gap_has_no_control_and_the_smallest_comes_first() -> None:
    model = tiny.bert()
    explained, _ = explain_all(model, ROWS, ["occlusion", "integrated-gradients", "gradient-x-input"])
    report = evaluate(model, explained, Measuring(("completeness-gap",), ("mask",)))
    table = report.tables[0]
    assert [column.name for column in table.columns] == ["mask"]
    values = [row[0].value for row in table.rows.values() if row[0]]
    assert len(values) == 3
    assert values == sorted(values)
    assert next(iter(table.rows)).startswith("integrated-gradients")
    assert "beat" not in report.verdict[0]


def test_metrics_with_a_control_of_their_own_are_sorted_by_value() -> None:
    model = tiny.bert()
    explained, _ = explain_all(model, ROWS, ["gradient", "occlusion", "integrated-gradients"])
    report = evaluate(model, explained, Measuring(("infidelity",), ("mask",)))
    values = [row[0].value for row in report.tables[0].rows.values() if row[0]]
    assert values == sorted(values)
    assert report.tables[0].marks[next(iter(report.tables[0].rows))] == "best"
    assert "their own scores on shuffled words" in report.verdict[0]
    assert CONTROL not in report.tables[0].rows


def test_numbers_in_different_units_have_no_best() -> None:
    model = tiny.bert()
    logit = {"a": saliently.explain(model, TEXTS, "occlusion")}
    labels = [each.target.index for each in logit["a"]]
    chance = {
        "b": [
            saliently.explain(model, text, "occlusion", Target(label, of="probability"))
            for text, label in zip(TEXTS, labels, strict=True)
        ]
    }
    report = evaluate(model, logit | chance, Measuring(("infidelity", "infidelity(scaled=True)"), ("mask",)))
    first, scaled, _ = report.tables
    assert not first.marks
    assert "none is said to be best" in first.notes[0]
    assert "no method is best" in report.verdict[0]
    assert "best" in scaled.marks.values()


def test_saved_methods_that_ask_their_own_question_stand_beside_the_others() -> None:
    model = tiny.bert()
    every = [*saliently.explain(model, TEXTS, "gradient"), *saliently.explain(model, TEXTS, "minimal-erasure")]
    assert every[0].target != every[-4].target
    found = by_method(every)
    assert all(None not in row and len(row) == 4 for row in found.values())
    fresh, _ = explain_all(model, ROWS, ["gradient", "minimal-erasure"])
    one, other = (evaluate(model, each, Measuring(blanks=("mask",))).tables for each in (found, fresh))
    assert one == other


def test_a_method_that_fails_somewhere_is_in_the_notes() -> None:
    model = tiny.bert()
    explained, failures = explain_all(model, [*ROWS, Row({"text": ""})], ["gradient"])
    assert failures["gradient"].startswith("1 of 5 texts failed; text 5: ")
    (table, *_) = evaluate(model, explained, Measuring(missing=tuple(failures.values()))).tables
    assert failures["gradient"] in table.notes


def test_a_wrong_metric_or_blank_is_told_before_anything_is_explained() -> None:
    with pytest.raises(RecipeError, match="Did you mean"):
        Measuring(("comprehensivness",))
    with pytest.raises(RecipeError, match="Did you mean"):
        Measuring(blanks=("msk",))


def test_what_does_not_fit_the_model_is_told_before_anything_is_explained() -> None:
    model = saliently.load("bilstm")
    with pytest.raises(RecipeError, match="has no mask token"):
        check(model, Measuring(blanks=("mask",)))
    with pytest.raises(RecipeError, match="by deletion alone"):
        check(model, Measuring(("soft-sufficiency",), ("delete",)))
    check(model, Measuring(("soft-sufficiency",), ("delete", "zero")))


def test_a_text_that_was_read_in_windows_is_told_and_the_others_stay() -> None:
    model = saliently.load("default")
    long = saliently.explain(model, "a good film " * 200, "gradient-x-input", options=Options(windows=True))
    short = saliently.explain(model, "a good film", "gradient-x-input")
    report = evaluate(model, {"gradient-x-input": [long, short]}, Measuring(("comprehensiveness",)))
    assert any("Text 1 could not be asked about: The text has" in note for note in report.tables[0].notes)
    figure = report.tables[0].rows["gradient-x-input"][0]
    assert figure is not None
    assert figure.n == 1
