"""One explanation for each output: it equals the explanations one by one, adds up, and can be seen and kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import saliently
from saliently.cli import app
from saliently.models.base import Model
from saliently.types import Target
from saliently.view.matrix import matrix_parts
from saliently.view.text import render_document
from tests import tiny
from tests.test_place_heads import TEXT, decoder, filler, tagger
from tests.writers import gpt2, llama

GIVEN = {"prompt": "The film is long and the acting", "response": " so bad that it's good"}
METHODS = [
    "gradient",
    "gradient-x-input",
    "ig(steps=6)",
    "ig",
    "occlusion",
    "occlusion(blank='delete')",
    "lrp",
    "decompx",
]
MODELS = {"gpt2": gpt2, "llama": llama}


def close(found: np.ndarray, wanted: np.ndarray, within: float) -> bool:
    return bool(np.abs(found - wanted).max() <= within * max(1.0, np.abs(wanted).max()))


@pytest.mark.parametrize("recipe", [*METHODS, "attention", "attention-rollout", "smoothgrad(samples=3)"])
@pytest.mark.parametrize("name", MODELS)
def test_each_output_equals_its_own_explanation(name: str, recipe: str) -> None:
    model = MODELS[name]()
    matrix = saliently.explain_each(model, GIVEN, recipe)
    assert len(matrix) == len(matrix.tokens.ids) - (matrix.tokens.response or 0)
    for n, each in enumerate(matrix):
        alone = saliently.explain(model, GIVEN, recipe, Target(at=n))
        assert each.target == alone.target
        assert each.values == pytest.approx(alone.values, abs=1e-5)
        assert close(each.scores, alone.scores, 1e-4), (n, np.abs(each.scores - alone.scores).max())


@pytest.mark.parametrize("recipe", ["gradient-x-input", "ig(steps=6)", "occlusion", "lrp"])
def test_outputs_add_up_to_the_whole_response(recipe: str) -> None:
    model = gpt2()
    matrix = saliently.explain_each(model, GIVEN, recipe)
    whole, sum_ = saliently.explain(model, GIVEN, recipe), matrix.together()
    assert close(sum_.scores, whole.scores, 1e-4)
    assert sum_.values[0] == pytest.approx(whole.values[0], abs=1e-4)
    assert sum_.target == whole.target
    assert (sum_.nothing is None) == (whole.nothing is None)
    span, part = matrix.together(1, 3), saliently.explain(model, GIVEN, recipe, Target(at=slice(1, 3)))
    assert close(span.scores, part.scores, 1e-4)
    assert span.target == part.target


def test_a_sum_of_another_label_says_so() -> None:
    label = gpt2().labels[50]
    matrix = saliently.explain_each(gpt2(), GIVEN, "gradient-x-input", label)
    said = matrix.together(0, 2).target.label
    assert said.count(" at token ") == 2
    assert said.count(label) == 2


def test_what_does_not_add_up_is_not_added() -> None:
    model = gpt2()
    for recipe, target in (("gradient", Target()), ("attention", Target()), ("occlusion", Target(of="probability"))):
        matrix = saliently.explain_each(model, GIVEN, recipe, target)
        with pytest.raises(saliently.RecipeError, match="does not add up"):
            matrix.together()
    with pytest.raises(saliently.RecipeError, match="there are outputs 0 to"):
        saliently.explain_each(model, GIVEN, "gradient").together(50)


def rows_run(model: Model, recipe: str, each: bool) -> int:
    ran = []
    options = saliently.Options(tick=ran.append)
    if each:
        saliently.explain_each(model, GIVEN, recipe, options=options)
    else:
        saliently.explain(model, GIVEN, recipe, options=options)
    return sum(ran)


@pytest.mark.parametrize("recipe", ["gradient-x-input", "occlusion", "occlusion(blank='delete')", "ig(steps=4)"])
def test_rows_are_run_once_for_all_outputs(recipe: str) -> None:
    assert rows_run(gpt2(), recipe, each=True) == rows_run(gpt2(), recipe, each=False)


def test_taggers_and_fillers_have_an_output_at_each_word_and_mask() -> None:
    for model, text in ((tagger(), TEXT), (decoder(), TEXT)):
        matrix = saliently.explain_each(model, text, "gradient-x-input")
        assert [each.target.at for each in matrix] == [repr(unit.text) for unit in matrix[0].words()]
        assert close(matrix[2].scores, saliently.explain(model, text, "gradient-x-input", Target(at=2)).scores, 1e-5)
    masked = "A [MASK], witty, [MASK] movie."
    found = saliently.explain_each(filler(), masked, "occlusion(blank='zero')")
    assert [each.target.at for each in found] == ["mask 0", "mask 1"]


def test_one_output_for_a_whole_text_is_refused() -> None:
    with pytest.raises(saliently.ModelError, match="Use explain"):
        saliently.explain_each(tiny.bert(torch.float32), TEXT, "gradient")


def test_it_is_drawn_and_kept(tmp_path: Path) -> None:
    matrix = saliently.explain_each(gpt2(), GIVEN, "occlusion")
    shown = render_document(matrix_parts(matrix), 100)
    for each in matrix:
        assert each.target.label in shown
    assert "Outputs down" in shown
    for ending in ("html", "json", "png", "svg"):
        matrix.save(tmp_path / f"m.{ending}")
        assert (tmp_path / f"m.{ending}").stat().st_size > 1000
    page = (tmp_path / "m.html").read_text(encoding="utf-8")
    assert page.count('<mark class="') > len(matrix) * len(matrix[0].words())
    again = saliently.load_explanations(tmp_path / "m.json")
    assert all(np.array_equal(a.scores, b.scores) for a, b in zip(matrix, again, strict=True))
    with pytest.raises(saliently.RecipeError, match="not known"):
        matrix.save(tmp_path / "m.txt")


def test_odd_words_are_drawn(tmp_path: Path) -> None:
    odd = {"prompt": "A 👩‍👩‍👧‍👦 日本 <b>&", "response": " שלום $x$ \u202e."}
    matrix = saliently.explain_each(gpt2(), odd, "gradient-x-input")
    assert "<b>&" not in matrix._repr_html_()
    render_document(matrix_parts(matrix), 40)
    matrix.save(tmp_path / "m.png")


def test_the_command_line(tmp_path: Path) -> None:
    model = gpt2()
    model.module.save_pretrained(tmp_path / "gpt2")
    tiny.byte_level().save_pretrained(tmp_path / "gpt2")
    run = CliRunner()
    given = [json.dumps(GIVEN), "--model", str(tmp_path / "gpt2"), "--method", "gradient-x-input", "--fields"]
    shown = run.invoke(app, ["explain", *given, "--each", "--save", str(tmp_path / "m.html")])
    assert shown.exit_code == 0, shown.output
    assert "Outputs down" in shown.stdout
    assert (tmp_path / "m.html").exists()
    one = run.invoke(app, ["explain", *given, "--at", "1:3", "--json"])
    assert one.exit_code == 0, one.output
    wanted = saliently.explain(model, GIVEN, "gradient-x-input", Target(at=slice(1, 3)))
    assert json.loads(one.stdout)["value"] == pytest.approx(wanted.values[0], abs=1e-5)
    bad = run.invoke(app, ["explain", "no json", "--fields", "--model", str(tmp_path / "gpt2")])
    assert bad.exit_code != 0
