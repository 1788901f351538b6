"""The command as a process: how it ends, when it is interrupted or cut off, and on a terminal without Unicode."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner

import saliently
from saliently.cli import app

GOOD, OTHER = "A gorgeous, witty movie.", "The film is bad; naïve café 😀"
ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}


def run(*words: str, stdin: str = "", environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    return subprocess.run(
        [sys.executable, "-m", "saliently", *words],
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1", **(environment or {})},
        check=False,
    )


def test_an_error_has_exit_code_2_and_no_traceback() -> None:
    quiet, loud = run("explain", GOOD, "--model", "/nosuch"), run("explain", GOOD, "--model", "/nosuch", "--debug")
    assert (quiet.returncode, loud.returncode) == (2, 2)
    assert quiet.stdout == loud.stdout == ""
    assert len(quiet.stderr.splitlines()) == 1
    assert "no such folder" in quiet.stderr
    assert "Traceback" in loud.stderr
    assert "no such folder" in loud.stderr


def test_an_unknown_option_or_command_has_exit_code_2() -> None:
    assert "--nosuch" in (result := run("methods", "--nosuch")).stderr
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert run("exlpain").returncode == 2


def test_a_terminal_without_unicode(model: str) -> None:
    picture = run("explain", OTHER, "--model", model, "--method", "gradient", environment=ASCII)
    assert picture.returncode == 0
    assert picture.stdout.isascii()
    assert "caf\\xe9" in picture.stdout
    assert not picture.stderr
    listed = run("methods", environment=ASCII)
    assert listed.returncode == 0
    assert listed.stdout.isascii()
    runner = CliRunner(charset="ascii")
    line = runner.invoke(app, ["explain", "--json", "--model", model, "--method", "gradient"], OTHER.encode())
    assert json.loads(line.stdout_bytes.decode("ascii"))["fields"]["text"] == OTHER
    table = runner.invoke(app, ["importance", "-", "--model", model], OTHER.encode())
    assert "caf\\xe9" in table.stdout_bytes.decode("ascii")


def endless(model: str, save: Path) -> subprocess.Popen[str]:
    """Work for minutes, in many small chunks."""
    command = [
        *(sys.executable, "-m", "saliently", "explain", "--json", "--model", model, "--save", str(save)),
        *("--budget", "64", "--method", "integrated-gradients(steps=200)", "--file", "-"),
    ]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"},
    )
    assert process.stdin is not None
    process.stdin.write(f"{GOOD}\n{OTHER}\n" * 2000)
    process.stdin.close()
    process.stdin = None  # communicate() must not flush it again
    return process


def test_an_interrupt_keeps_what_was_finished(model: str, tmp_path: Path) -> None:
    process = endless(model, tmp_path / "kept.jsonl")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Interrupted" in said
    assert "Traceback" not in said
    lines = (first + rest).splitlines(keepends=True)
    assert all(line.endswith("\n") for line in lines)
    texts = [json.loads(line)["fields"]["text"] for line in lines]
    assert texts == ([GOOD, OTHER] * 2000)[: len(texts)]
    assert 1 <= len(texts) < 4000
    kept = saliently.load_explanations(tmp_path / "kept.jsonl")
    assert [one.tokens.fields["text"] for one in kept] == texts


def test_a_pipe_that_is_closed_early_ends_the_work(model: str, tmp_path: Path) -> None:
    process = endless(model, tmp_path / "kept.jsonl")
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["fields"]["text"] == GOOD
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) != 0
    assert "Traceback" not in said
    assert "BrokenPipe" not in said
    assert saliently.load_explanations(tmp_path / "kept.jsonl")
