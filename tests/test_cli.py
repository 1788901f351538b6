"""The command line: what it prints, what it saves, how it ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers
from typer.testing import CliRunner, Result

import saliently
from saliently.cli import app
from tests import tiny

GOOD, OTHER = "A gorgeous, witty movie.", "The film is bad; naïve café 😀"
COMMANDS = ("explain", "compare", "importance", "methods")
ONE = {
    *("tokens", "words", "method", "quantity", "target", "value", "nothing", "checks", "question", "model", "versions"),
}


def call(*words: str, stdin: str | bytes | None = None) -> Result:
    """The command within this process; an error raised on purpose is in `.exception`."""
    return CliRunner().invoke(app, words, input=stdin)


def failed(result: Result, *facts: str) -> None:
    assert isinstance(result.exception, saliently.SaliencyError), result.output
    for fact in facts:
        assert fact in str(result.exception)
    assert not result.stdout


# What is printed


def test_a_picture_of_one_text(model: str) -> None:
    result = call("explain", GOOD, "--model", model)
    assert result.exit_code == 0
    assert "gorgeous" in result.stdout
    assert "How much did each word add to the logit of" in result.stdout
    assert not result.stderr


def test_json_is_one_object_a_line_with_all_keys(model: str) -> None:
    result = call("explain", GOOD, OTHER, "--json", "--model", model)
    assert result.exit_code == 0
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [record["fields"]["text"] for record in records] == [GOOD, OTHER]
    for record in records:
        assert record.keys() >= ONE
        assert all(token.keys() >= {"text", "field", "start", "end", "special", "score"} for token in record["tokens"])
        assert all(word.keys() == {"text", "field", "start", "end", "score"} for word in record["words"])
        words = sum(word["score"] for word in record["words"])
        assert words + sum(token["score"] for token in record["tokens"] if token["special"]) == pytest.approx(
            record["checks"]["total"]
        )
    assert "naïve" in result.stdout, "letters are readable where the terminal has them"


def test_the_command_gives_what_the_library_gives(model: str) -> None:
    printed = json.loads(call("explain", GOOD, "--json", "--model", model, "--method", "gradient-x-input").stdout)
    found = saliently.explain(model, GOOD, "gradient-x-input").to_dict()
    assert [word["text"] for word in printed["words"]] == [word["text"] for word in found["words"]]
    scores = [word["score"] for word in found["words"]]
    assert [word["score"] for word in printed["words"]] == pytest.approx(scores)


def test_texts_come_from_arguments_a_file_or_standard_input(model: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes(f"\ufeff{GOOD}\r\n{OTHER}\n".encode())
    rest = ("--json", "--model", model, "--method", "gradient")
    expected = call("explain", GOOD, OTHER, *rest).stdout
    assert len(expected.splitlines()) == 2
    assert call("explain", "--file", str(file), *rest).stdout == expected
    assert call("explain", *rest, stdin=f"{GOOD}\n{OTHER}").stdout == expected
    assert call("explain", "--file", "-", *rest, stdin=f"{GOOD}\n{OTHER}\n").stdout == expected


def test_a_pair_comes_from_two_texts_or_a_line_with_a_tab(model: str, tmp_path: Path) -> None:
    pair = {"premise": GOOD, "hypothesis": OTHER}
    ours = call("explain", GOOD, OTHER, "--pair", "--json", "--method", "gradient", "--model", model)
    theirs = saliently.explain(saliently.load(model), pair, "gradient")
    assert json.loads(ours.stdout)["fields"] == pair
    assert [token["score"] for token in json.loads(ours.stdout)["tokens"]] == pytest.approx(theirs.scores.tolist())
    (tmp_path / "pairs.txt").write_text(f"{GOOD}\t{OTHER}\n{OTHER}\t{GOOD}\n", encoding="utf-8")
    lines = call("explain", "--file", str(tmp_path / "pairs.txt"), "--pair", "--json", "--method=lrp", "--model", model)
    assert [json.loads(line)["fields"]["premise"] for line in lines.stdout.splitlines()] == [GOOD, OTHER]
    failed(call("explain", GOOD, "--pair", "--model", model), "A premise and a hypothesis", "1 text.", "Give two texts")
    failed(call("explain", "--pair", "--model", model, stdin=f"{GOOD}\t{OTHER}\n{GOOD}\n"), "line 2 holds 1 text")


def test_a_place_is_named_by_a_word_or_a_number(tmp_path: Path) -> None:
    config = tiny.bert_module().config
    module = tiny.seeded(lambda: transformers.BertForTokenClassification(config), torch.float32, 8.0)
    module.save_pretrained(tmp_path / "tagger")
    tiny.wordpiece().save_pretrained(tmp_path / "tagger")
    for at in ("witty", "3"):
        found = call("explain", GOOD, "--at", at, "--json", "--method", "gradient", "--model", str(tmp_path / "tagger"))
        assert json.loads(found.stdout)["target"]["at"] == "'witty'"
    side = call("compare", GOOD, "--at=witty", "--method=gradient", "--method=lrp", "--model", str(tmp_path / "tagger"))
    assert "at 'witty'" in side.stdout
    nothing = call("explain", GOOD, "--model", str(tmp_path / "tagger"))
    assert nothing.exit_code == 2
    assert "name a word of the text with at=" in nothing.stderr


def test_options_reach_the_question(model: str) -> None:
    arguments = ("--target", "glad", "--against", "sad", "--of", "probability", "--blank", "mask,zero")
    record = json.loads(call("explain", GOOD, "--json", "--model", model, *arguments).stdout)
    assert record["target"]["label"] == "glad"
    assert record["target"]["against"] == "sad"
    assert record["target"]["of"] == "probability"
    assert record["method"] == "integrated-gradients(blank=('mask', 'zero'))"
    assert record["blank"] == "mask, zero"
    assert record["checks"]["spread"] > 0


def test_compare_shows_each_method(model: str, tmp_path: Path) -> None:
    shown = call("compare", GOOD, "--model", model, "--save", str(tmp_path / "all.html"))
    assert shown.exit_code == 0
    for name in ("gradient", "gradient-x-input", "integrated-gradients", "occlusion"):
        assert name in " ".join(shown.stdout.split())
    assert "gorgeous" in (tmp_path / "all.html").read_text(encoding="utf-8")
    chosen = ("--method", "gradient", "--method", "occlusion(blank='zero')")
    lines = call("compare", GOOD, "--model", model, "--json", *chosen).stdout.splitlines()
    assert [json.loads(line)["method"] for line in lines] == ["gradient", "occlusion(blank='zero')"]


def test_importance_ranks_a_file(model: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.tsv"
    file.write_text(f"{GOOD}\tglad\n{OTHER}\tsad\nA film.\tfine\n", encoding="utf-8")
    table = call("importance", str(file), "--model", model, "--top", "3")
    assert table.exit_code == 0
    assert "relative" in table.stdout
    rows = [
        json.loads(line)
        for line in call("importance", str(file), "--model", model, "--json", "--least", "2").stdout.splitlines()
    ]
    assert {row["item"] for row in rows} == {"a", "film", "."}
    assert all(row["times"] >= 2 for row in rows)


def test_a_label_on_some_lines_only_is_an_error(model: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.tsv"
    file.write_text(f"{GOOD}\tglad\n{OTHER}\n", encoding="utf-8")
    failed(call("importance", str(file), "--model", model), "line 2", "Give all lines one, or none")


def test_methods_are_listed_with_their_papers() -> None:
    listed = call("methods").stdout
    for name in ("gradient", "gradient-x-input", "smoothgrad", "integrated-gradients", "occlusion"):
        assert name in listed
    assert "Sundararajan" in listed


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_on_a_line(command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"  Example: saliently {command}" in result.stdout
    assert "--debug" in call("--help").stdout


# What goes wrong


def test_a_bad_line_among_good_ones(model: str) -> None:
    result = call(
        "explain", "--json", "--method", "gradient", "--model", model, stdin=f"{GOOD}\n\n{OTHER}\n{'word ' * 400}\n"
    )
    assert result.exit_code == 2
    assert [json.loads(line)["fields"]["text"] for line in result.stdout.splitlines()] == [GOOD, OTHER]
    said = result.stderr.splitlines()
    assert [line.split(":")[0] for line in said] == ["line 2", "line 4"]
    assert "empty" in said[0]
    assert str(tiny.LONGEST) in said[1]
    cut = call("explain", "a " * 400, "--truncate", "--json", "--method", "gradient", "--model", model)
    assert cut.exit_code == 0
    assert json.loads(cut.stdout)["truncated"] == [402, tiny.LONGEST]


@pytest.mark.parametrize(
    ("words", "facts"),
    [
        ([GOOD, "--method", "gradeint"], ["'gradeint'", "Did you mean 'gradient'"]),
        ([GOOD, "--target", "gald"], ["'gald'", "Did you mean 'glad'"]),
        ([GOOD, "--of", "logits"], ["'logits'", "'logit'"]),
        ([GOOD, "--blank", "zeros"], ["'zeros'", "Did you mean 'zero'"]),
        ([GOOD, "--blank", "mask,zero", "--method", "occlusion"], ["'mask,zero'", "one blank"]),
        ([GOOD, "--blank", "zero", "--method", "gradient"], ["'zero'", "no blank"]),
        ([GOOD, "--device", "nosuch"], ["'nosuch'", "'cpu'"]),
        ([GOOD, "--dtype", "int8"], ["'int8'", "float32"]),
        ([GOOD, "--file", "x.txt"], ["--file", "one of them"]),
        (["--file", "nosuch.txt"], ["nosuch.txt", "No such file"]),
        (["--file", "."], ["can't be read"]),
    ],
    ids=str,
)
def test_a_wrong_argument_is_one_sentence(model: str, words: Sequence[str], facts: Sequence[str]) -> None:
    failed(call("explain", *words, "--model", model), *facts)


def test_input_that_is_no_text(model: str) -> None:
    failed(call("explain", "--model", model, stdin=b"caf\xe9"), "byte 3", "UTF-8")
    failed(call("explain", "--model", model, stdin=""), "input is empty")


def test_a_place_that_cannot_be_written_is_found_before_any_work(tmp_path: Path) -> None:
    for place, facts in {
        tmp_path / "nowhere" / "a.html": ["no folder", "nowhere"],
        tmp_path / "a.txt": ["'.txt'", ".html"],
        tmp_path / "a": ["''", ".html"],
        tmp_path / "folder.json": ["can't be written"],
    }.items():
        if place.name == "folder.json":
            place.mkdir()
        # The model does not exist, so whoever loads it first gets another error.
        failed(call("explain", GOOD, "--model", "/nosuch/model", "--save", str(place)), *facts)
        failed(call("compare", GOOD, "--model", "/nosuch/model", "--save", str(place)), *facts)
    failed(call("explain", GOOD, OTHER, "--model", "/nosuch", "--save", str(tmp_path / "a.png")), "One picture")
    failed(call("compare", GOOD, "--model", "/nosuch", "--save", str(tmp_path / "a.png")), "'.png'")


def test_saving_keeps_what_was_finished(model: str, tmp_path: Path) -> None:
    for name, count in (("one.json", 1), ("all.json", 2), ("all.jsonl", 2), ("all.html", 2)):
        texts = [GOOD, OTHER][:count]
        result = call("explain", *texts, "--method", "gradient", "--model", model, "--save", str(tmp_path / name))
        assert result.exit_code == 0
        assert f"Saved {count} to" in result.stderr
    assert saliently.load_explanation(tmp_path / "one.json").tokens.fields["text"] == GOOD
    for name in ("all.json", "all.jsonl"):
        found = saliently.load_explanations(tmp_path / name)
        assert [one.tokens.fields["text"] for one in found] == [GOOD, OTHER]
    assert "gorgeous" in (tmp_path / "all.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.html", "all.json", "all.jsonl", "one.json"]
