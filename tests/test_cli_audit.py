"""The commands that judge explanations: what they print, save and refuse."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import sleep

import pytest
from typer.testing import CliRunner

import saliently
from saliently.audit.experiments import EXPERIMENTS
from saliently.cli import app
from saliently.errors import InputError, RecipeError
from tests.test_shortcuts import rows

run = CliRunner()


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty texts, one a line."""
    file = tmp_path_factory.mktemp("texts") / "reviews.txt"
    file.write_text("".join(f"{row.fields['text']}\n" for row in rows()), encoding="utf-8")
    return file


def lines(text: str) -> str:
    return " ".join(text.split())


def test_a_plan_is_printed_and_nothing_runs(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    found = run.invoke(app, ["audit", "bilstm", str(texts), "--depth", "tiny", "--out", str(out), "--plan"])
    assert found.exit_code == 0, found.output
    assert "teach copies a planted cue" in found.output
    assert not list((out / "units").iterdir())


def test_killed_and_started_again_it_ends_with_page_and_json(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    command = [sys.executable, "-m", "saliently", "audit", "bilstm", str(texts), "--depth", "tiny", "--out", str(out),
               "--method", "gradient", "--method", "attention"]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not (out / "units").is_dir() or len(list((out / "units").glob("*.json"))) < 2:
        sleep(0.1)
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    kept = {each.name: each.stat().st_mtime_ns for each in (out / "units").glob("*.json")}
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {name: (out / "units" / name).stat().st_mtime_ns for name in kept} == kept
    report = saliently.load_report(out / "report.json")
    assert report.verdict
    assert "Which explanation of this model's predictions can be trusted?" in lines(done.stdout)
    assert (out / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert "of" in done.stderr.splitlines()[0]


def test_fresh_and_saved_explanations_are_evaluated_alike(texts: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.txt"
    few.write_text("".join(texts.read_text(encoding="utf-8").splitlines(keepends=True)[:6]), encoding="utf-8")
    wanted = ["--metric", "comprehensiveness", "--blank", "zero", "--json"]
    fresh = run.invoke(app, ["evaluate", "bilstm", str(few), "--method", "gradient", *wanted])
    assert fresh.exit_code == 0, fresh.output
    saved = tmp_path / "saved.jsonl"
    made = run.invoke(
        app, ["explain", "--file", str(few), "--model", "bilstm", "--method", "gradient", "--save", str(saved)]
    )
    assert made.exit_code == 0, made.output
    again = run.invoke(app, ["evaluate", "bilstm", str(saved), "--saved", *wanted])
    assert again.exit_code == 0, again.output
    one, other = (json.loads(each.stdout.splitlines()[-1]) for each in (fresh, again))
    assert one["tables"] == other["tables"]
    assert one["tables"][0]["rows"][0]["figures"][0]["n"] == 6


def test_saved_explanations_are_summed_up_without_their_model_and_refused_by_another(
    texts: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "saved.jsonl"
    asked = ["--file", str(texts), "--model", "bilstm", "--method", "gradient-x-input"]
    assert run.invoke(app, ["explain", *asked, "--save", str(saved)]).exit_code == 0
    found = run.invoke(app, ["summarize", str(saved), "--saved", "--json"])
    assert found.exit_code == 0, found.output
    summary = json.loads(found.stdout.splitlines()[-1])
    assert summary["settings"]["texts"] == 60
    assert summary["settings"]["method"] == "gradient-x-input"
    other = run.invoke(app, ["evaluate", "default", str(saved), "--saved"])
    assert isinstance(other.exception, RecipeError)
    assert "Give the model that was explained." in str(other.exception)


def test_marked_evidence_gives_plausibility_in_a_table_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "marked.jsonl"
    text = "a gorgeous movie with a plot"
    file.write_text(json.dumps({"text": text, "evidence": [[2, 10]]}) + "\n", encoding="utf-8")
    found = run.invoke(app, ["evaluate", "bilstm", str(file), "--method", "occlusion", "--metric", "sufficiency"])
    assert found.exit_code == 0, found.output
    assert "Plausibility (not faithfulness)" in found.output


def test_every_experiment_is_listed_and_a_small_one_runs(tmp_path: Path) -> None:
    listed = run.invoke(app, ["experiment", "list"])
    assert all(each.name in listed.output for each in EXPERIMENTS)
    save = tmp_path / "axioms.json"
    found = run.invoke(app, ["experiment", "axioms", "--method", "gradient", "--save", str(save)])
    assert found.exit_code == 0, found.output
    assert saliently.load_report(save).tables


@pytest.mark.parametrize(
    ("command", "error", "said"),
    [
        (["experiment", "shortcut"], RecipeError, "Did you mean 'shortcuts'"),
        (["experiment", "roar", "bilstm"], InputError, "it needs a model and data"),
        (["experiment", "toy", "--cue", "single token"], InputError, "it plants none"),
        (["experiment", "toy", "bilstm"], InputError, "it has networks of its own"),
        (["experiment", "axioms", "--dtype", "float64"], InputError, "Leave them out"),
        (["evaluate", "bilstm", "nothing.jsonl", "--saved"], InputError, "that failed"),
        (["evaluate", "bilstm", "FILE", "--saved", "--method", "lrp"], InputError, "they have both already"),
        (["summarize", "nothing.json", "--saved"], InputError, "that failed"),
        (["evaluate", "bilstm", "FILE", "--metric", "fidelity"], RecipeError, "Metric 'fidelity' was asked for"),
        (["evaluate", "bilstm", "FILE", "--method", "gradint"], RecipeError, "Did you mean 'gradient'"),
        (["evaluate", "bilstm", "FILE", "--save", "x.png"], RecipeError, "x.png"),
        (["audit", "bilstm", "FILE", "--depth", "deep"], RecipeError, "tiny, quick, full"),
        (["audit", "bilstm", "nothing.txt"], InputError, "can't be read"),
    ],
)
def test_mistakes_are_one_sentence(command: list[str], error: type[Exception], said: str, texts: Path) -> None:
    found = run.invoke(app, [str(texts) if part == "FILE" else part for part in command])
    assert isinstance(found.exception, error)
    assert said in str(found.exception)


def test_a_plan_can_be_read_by_a_program(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "audit"
    found = run.invoke(app, ["audit", "bilstm", str(texts), "--depth", "tiny", "--out", str(out), "--plan", "--json"])
    assert found.exit_code == 0, found.output
    plan = json.loads(found.stdout)
    assert plan["depth"]["texts"] == 20
    assert {"part", "units", "rows"} == set(plan["parts"][0])


def test_a_text_that_fails_ends_with_code_2_and_is_in_the_report(tmp_path: Path) -> None:
    file = tmp_path / "some.txt"
    file.write_text("a good film\n \na dull one\n", encoding="utf-8")
    found = run.invoke(app, ["evaluate", "bilstm", str(file), "--method", "gradient", "--json"])
    assert found.exit_code == 2
    assert "1 of 3 texts failed; text 2" in found.stderr
    report = json.loads(found.stdout.splitlines()[-1])
    assert any("1 of 3 texts failed" in note for note in report["tables"][0]["notes"])


@pytest.mark.parametrize(
    "evidence", [["txt", 0, 4], ["text", 4, 0], ["text", 0, 99], ["text", "a", "b"], "ab", 3, [0, 2.5], [-1, 3]]
)
def test_evidence_that_is_no_part_of_a_field_is_refused(evidence: object, tmp_path: Path) -> None:
    file = tmp_path / "marked.jsonl"
    file.write_text(json.dumps({"text": "a good film", "evidence": [evidence]}) + "\n", encoding="utf-8")
    found = run.invoke(app, ["evaluate", "bilstm", str(file), "--method", "gradient"])
    assert isinstance(found.exception, InputError)
    assert "line 1 is none" in str(found.exception)
