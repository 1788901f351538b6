"""Documents say what is so: their code runs, what is generated is fresh, and nothing is left out."""

from __future__ import annotations

import ast
import importlib.util
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import saliently
from saliently.audit.experiments import EXPERIMENTS
from saliently.listed import METHODS, METRICS
from saliently.models.tasks import TASKS
from tests import tiny

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "saliently"


def generator() -> object:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("page", ["methods.md", "cli.md"])
def test_generated_pages_are_fresh(page: str) -> None:
    assert (ROOT / "docs" / page).read_text(encoding="utf-8") == generator().PAGES[page](), (
        "run python docs/generate.py"
    )  # type: ignore[attr-defined]


def test_the_readme_s_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for code in blocks("README.md", "python"):
        exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "explanation.html").stat().st_size > 1000


def test_the_readme_s_commands_exist() -> None:
    from typer.main import get_command

    from saliently.cli import app

    commands = get_command(app).commands  # type: ignore[attr-defined]
    lines = [line for code in blocks("README.md", "sh") for line in code.splitlines()]
    used = {line.split("saliently ")[-1].split()[0] for line in lines if "saliently " in line}
    assert used == set(commands)
    for line in lines:
        for option in re.findall(r"--[a-z]+", line.split("saliently ")[-1] if "saliently " in line else ""):
            known = {name for command in commands.values() for each in command.params for name in each.opts}
            assert option in known, (option, line)


def test_the_page_on_adding_a_method_adds_one() -> None:
    (code,) = blocks("docs/adding-a-method.md", "python")
    imports = (SOURCE / "methods" / "removal.py").read_text(encoding="utf-8").split("@dataclass")[0]
    names: dict[str, object] = {"__name__": __name__}
    exec(compile(imports + code, "adding-a-method.md", "exec"), names)
    model = tiny.linear_bag(torch.float64)
    found = saliently.explain(model, "so very good", names["Last"](blank="zero"))  # type: ignore[operator]
    expected = saliently.explain(model, "so very good", "occlusion(blank='zero')")
    assert found.scores.tolist() == [0, 0, pytest.approx(expected.scores[-1])]


EXAMPLES = {
    heading: code
    for heading, *codes in (
        (part.partition("\n")[0], *re.findall(r"^```python\n(.*?)^```", part, re.M | re.S))
        for part in (ROOT / "docs" / "models.md").read_text(encoding="utf-8").split("\n## ")[1:]
    )
    for code in codes
}
"""Of the page on models, by the heading above."""
SAID = {
    "A BERT that you fine-tuned, in memory": "the logit of good",
    "A module with a vocabulary of its own": "the logit of good",
    "A scikit-learn pipeline, or any function": "the output of good",
    "Sentence vectors": "the output of similarity",
    "A causal language model": "the log-probability of ' film'",
}
"""What each example explains."""


@pytest.mark.parametrize("heading", SAID)
def test_an_example_of_a_model_runs_by_itself_in_ten_lines_and_a_few_seconds(heading: str) -> None:
    names: dict[str, Any] = {"__name__": __name__}
    start = time.process_time()
    with torch.random.fork_rng():
        exec(compile(EXAMPLES[heading], "models.md", "exec"), names)
    assert time.process_time() - start < 10
    found = names["explanation"]
    assert np.isfinite(found.scores).all()
    assert np.abs(found.scores).sum() > 0
    assert found.target.describe().startswith(SAID[heading])
    if found.method.startswith(("integrated-gradients", "occlusion")):
        assert found.top(1)[0].text == "good", "what the model was trained to look at"
    assert count(EXAMPLES[heading]) <= 10


def test_the_page_on_models_has_every_head_and_its_call_is_the_call() -> None:
    assert set(EXAMPLES) == set(SAID)
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    for ending in (ending for task in TASKS for ending in task.endings):
        assert f"`...{ending}`" in page, ending
    names = {"saliently": saliently, "model": tiny.bert(), "text": "so good", "method": "gradient", "target": "glad"}
    exec(compile(blocks("docs/models.md", "python")[0], "models.md", "exec"), names)
    assert names["explanation"].target.label == "glad"  # type: ignore[attr-defined]


@pytest.mark.parametrize("page", ["README.md", "docs/methods.md"])
def test_every_method_is_documented(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for row in METHODS:
        assert f"{row.name}`" in text or f"## {row.name}" in text, row.name


def test_the_page_on_trust_runs_and_names_every_column_experiment_and_metric(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    for experiment in EXPERIMENTS:
        assert f"- `{experiment.name}`:" in page, experiment.name
    for name in ("erasure: gain", "keeping: gain", "scrambled", "adds up", "max-sensitivity", "cost"):
        assert f"| {name} |" in page, name
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for row in METRICS:
        assert f"## {row.name}\n" in metrics, row.name
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": __name__}
    exec(compile(blocks("docs/trust.md", "python")[0], "trust.md", "exec"), names)
    assert (tmp_path / "evaluation.html").stat().st_size > 5000
    assert len(names["report"].tables) == 3


def test_every_public_name_and_module_has_a_docstring() -> None:
    for name in saliently.__all__:
        if name != "__version__":
            assert getattr(saliently, name).__doc__, name
    for path in SOURCE.rglob("*.py"):
        if path.name != "__main__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_the_changelog_knows_the_version() -> None:
    assert f"## {saliently.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def count(code: str, names: set[str] | None = None) -> int:
    """Lines that are not blank, comment, docstring or import; of the named classes and functions, or of all."""
    tree, lines = ast.parse(code), code.splitlines()
    inside: set[int] = set()
    for node in tree.body:
        if names is None or getattr(node, "name", None) in names:
            first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
            inside |= set(range(first, (node.end_lineno or first) + 1))
    for node in ast.walk(tree):
        text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if text or isinstance(node, (ast.Import, ast.ImportFrom)):
            inside -= set(range(node.lineno, (node.end_lineno or 0) + 1))  # type: ignore[attr-defined]
    return sum(bool(lines[i - 1].strip()) and not lines[i - 1].strip().startswith("#") for i in inside)


@pytest.mark.parametrize(
    ("file", "names", "most"),
    [
        ("path.py", None, 60),
        ("removal.py", None, 40),
        ("gradient.py", {"GradientXInput"}, 10),
    ],
)
def test_methods_stay_short(file: str, names: set[str] | None, most: int) -> None:
    assert count((SOURCE / "methods" / file).read_text(encoding="utf-8"), names) <= most
