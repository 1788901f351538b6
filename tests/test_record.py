"""An explanation goes to JSON and comes back the same, or one sentence says why not."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saliently.checks import Checks
from saliently.errors import InputError, NumberError, RecipeError
from saliently.types import Comparison, Explanation, Pinned, Span
from saliently.units import group
from saliently.view.files import save, save_comparison
from saliently.view.record import dumps, from_dict, load_explanation, load_explanations, to_dict

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


def explain(text: str, scores: list[float], outputs: int = 1) -> Explanation:
    spans: list[Span | None] = [None, *(Span("text", *found.span()) for found in re.finditer(r"\S+", text))]
    pieces = ["[A]", *(text[span.start : span.end] for span in spans if span is not None)]
    pinned = Pinned(1, text or "good", "log-probability", against_index=0, against="bad", predicted=False)
    return Explanation(
        tokens=replace(
            group({"text": text, "empty": ""}, range(len(spans)), pieces, spans), notes=("a", text), kinds=(0, 1)
        ),
        method="toy()",
        quantity="saliency",
        outputs=(pinned, Pinned(0, "bad", "logit"))[:outputs],
        scores=np.resize(np.array(scores), len(spans)),
        values=(scores[0], 2.5)[:outputs],
        nothing=(-0.1, 0.2)[:outputs],
        grouping="mean",
        blank="mask",
        checks=Checks(total=scores[0], gap=float("inf"), nodes=3, forward_rows=7, ids=(1, 2), notes=("n",)),
        model=text,
        versions={"saliently": "0.1.0", text: "1"},
    )


def same(one: Explanation, other: Explanation) -> bool:
    plain = {**vars(one), "scores": one.scores.tolist()} == {**vars(other), "scores": other.scores.tolist()}
    return plain and one.scores.dtype == other.scores.dtype and one.words() == other.words()


@settings(max_examples=200, deadline=None)
@given(st.text(st.characters(), max_size=40), st.lists(NUMBERS, min_size=1, max_size=9), st.sampled_from([1, 2]))
def test_round_trip_is_exact(text: str, scores: list[float], outputs: int) -> None:
    explanation = explain(text, scores, outputs)
    assert same(from_dict(to_dict(explanation)), explanation)
    assert same(from_dict(json.loads(dumps(explanation))), explanation)


def test_the_record_reads_by_itself() -> None:
    record = to_dict(explain("so good", [0.5, 1.0, -2.0]))
    assert record["tokens"][0] == {
        "text": "[A]", "field": None, "start": None, "end": None, "special": True, "score": 0.5, "id": 0,
        "piece": "[A]", "unit": None,
    }  # fmt: skip
    assert record["tokens"][2]["text"] == "good"
    assert record["words"][1] == {"text": "good", "field": "text", "start": 3, "end": 7, "score": -2.0}
    assert record["target"]["of"] == "log-probability"
    assert record["target"]["label"] == "so good"
    assert (record["value"], record["nothing"]) == (0.5, -0.1)
    assert record["question"].startswith("How much did each word add")
    assert to_dict(explain("so", [0.5], outputs=2))["value"] == [0.5, 2.5]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_only_finite_numbers_are_kept(bad: float) -> None:
    with pytest.raises(NumberError, match=str(bad)):
        to_dict(explain("so good", [bad]))


def changed(path: str, value: Any) -> dict[str, Any]:
    """A good record with one value replaced; a value of ... is taken away."""
    record: Any = to_dict(explain("so good", [0.5, 1.0, -2.0]))
    *way, last = path.split(".")
    inner = record
    for step in way:
        inner = inner[int(step)] if step.isdigit() else inner[step]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return dict(record)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format", 2, "format 1 was expected, this one is of format 2"),
        ("format", ..., "the record has no 'format'"),
        ("method", 3, "method should be text and is a whole number"),
        ("quantity", "taste", "quantity should be one of .* and is the text 'taste'"),
        ("tokens.1.score", "0.5", r"tokens\[1\].score should be a number and is the text '0.5'"),
        ("tokens.1.score", float("nan"), r"tokens\[1\].score should be a finite number"),
        ("tokens.1.end", 99, r"tokens\[1\] points at \('text', 0, 99\)"),
        ("tokens.1.unit", 99, "part 99 of"),
        ("target.index", True, "target.index should be a whole number and is true or false"),
        ("parts", [], "'parts' do not join to the text"),
        ("parts", [["text", 0]], "should be field, start and end"),
        ("value", [1.0, 2.0], "one number for each output"),
        ("checks.gap", "much", "checks.gap should be a number"),
        ("versions", [], "versions should be an object and is a list"),
        ("truncated", [1], "two whole numbers"),
    ],
)
def test_a_changed_record_is_named(path: str, value: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        from_dict(changed(path, value))


@pytest.mark.parametrize("record", [None, [], "text", 3, {}])
def test_something_else_is_no_record(record: Any) -> None:
    with pytest.raises(InputError, match="the record"):
        from_dict(record)


def test_files_round_trip(tmp_path: Path) -> None:
    one, two = explain("so good\u2028\x85 \ud800", [0.1, 1 / 3]), explain("好", [-1e-300])
    save(one, tmp_path / "one.json")
    assert same(load_explanation(tmp_path / "one.json"), one)
    assert (tmp_path / "one.json").read_text("utf-8").startswith('{\n "format": 1,')
    for name in ("both.json", "both.jsonl"):
        save([one, two], tmp_path / name)
        found = load_explanations(tmp_path / name)
        assert [same(a, b) for a, b in zip(found, (one, two), strict=True)] == [True, True]
    assert len((tmp_path / "both.jsonl").read_bytes().strip().split(b"\n")) == 2
    assert same(load_explanations(tmp_path / "one.json")[0], one)
    with pytest.raises(InputError, match=r"a list of 2\. Use load_explanations"):
        load_explanation(tmp_path / "both.json")


def test_a_comparison_is_kept_with_its_agreement(tmp_path: Path) -> None:
    one = explain("so good", [0.1, 0.2])
    both = Comparison((one, one), np.array([[1.0, np.nan], [np.nan, 1.0]]))
    save_comparison(both, tmp_path / "both.json")
    assert json.loads((tmp_path / "both.json").read_bytes())["agreement"] == [[1.0, None], [None, 1.0]]
    assert [same(found, one) for found in load_explanations(tmp_path / "both.json")] == [True, True]
    save_comparison(both, tmp_path / "both.html")
    assert (tmp_path / "both.html").read_bytes().startswith(b"<!DOCTYPE")
    with pytest.raises(RecipeError, match=r"Use one of \.html, \.json"):
        save_comparison(both, tmp_path / "both.png")


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"\xff\xfe", "not UTF-8"), (b"{", "not JSON"), (b'{"format": NaN}', "NaN"), (b"[" * 100_000, "not JSON")],
)
def test_a_wrong_file_is_named(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=said):
        load_explanation(tmp_path / "a.json")


def test_the_line_of_a_wrong_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(dumps(explain("so", [1.0])) + "\n{}\n")
    with pytest.raises(InputError, match=r"a\.jsonl, line 2: .* no 'format'"):
        load_explanations(tmp_path / "a.jsonl")
