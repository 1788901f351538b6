"""Documents say what is so: their code runs, what is generated is fresh, and nothing is left out."""

from __future__ import annotations

import ast
import importlib.util
import re
from pathlib import Path

import pytest
import torch

import saliently
from saliently.names import METHODS
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


@pytest.mark.parametrize("page", ["README.md", "docs/methods.md"])
def test_every_method_is_documented(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for row in METHODS:
        assert f"{row.name}`" in text or f"## {row.name}" in text, row.name


def test_every_public_name_and_module_has_a_docstring() -> None:
    for name in saliently.__all__:
        if name != "__version__":
            assert getattr(saliently, name).__doc__, name
    for path in SOURCE.rglob("*.py"):
        if path.name != "__main__.py":
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_the_changelog_knows_the_version() -> None:
    assert f"## {saliently.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def code_lines(path: Path, names: set[str] | None = None) -> int:
    """Lines that are not blank, comment, docstring or import; of the named classes and functions, or of all."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lines = path.read_text(encoding="utf-8").splitlines()
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
    assert code_lines(SOURCE / "methods" / file, names) <= most
