"""Imports go one way, and importing saliently is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import saliently

SOURCE = Path(saliently.__file__).parent

# A module may import from lower layers and from its own.
LAYERS = (
    ("errors",),
    ("types", "units", "segments", "checks", "matrices", "reports"),
    ("seam",),
    ("models",),
    ("games",),
    ("erase", "targets", "packing"),
    ("questions", "passes", "shared", "slopes", "reuse", "values", "runner"),
    ("methods", "metrics"),
    ("listed", "names"),
    ("chunks", "windows"),
    ("api", "importances", "attentions", "solving"),
    ("toys",),
    ("interventions", "contrasts"),
    ("memory", "plans"),
    ("given", "cli_options"),
    ("data", "train", "work"),
    ("audit",),
    ("tally", "summarize", "metric_tables", "evaluation"),
    ("cli_evaluation",),
    ("cli_audit",),
    ("cli", "web"),
    ("__main__",),
)
# Reached for inside a function, when used: what is shown (types, reports) and what names a method (smoothgrad).
LATE = {("types", "view"), ("matrices", "view"), ("reports", "view"), ("methods", "names"), ("__init__", "*")}


def layer(name: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if name in names)


def imported(path: Path) -> set[str]:
    """First parts of the saliently modules that a file imports anywhere, less what only a type checker reads."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "saliently":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_one_way(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if own == "__init__":
        return
    for other in imported(path):
        if own == "view":
            assert other in ("view", "types", "matrices", "reports", "checks", "errors"), (
                f"view sees types alone, not {other}"
            )
        elif own in ("audit", "cli", "cli_audit", "cli_evaluation") and other == "view":
            continue
        elif (own, other) not in LATE:
            assert layer(other) <= layer(own), f"{own} imports {other} from above"


@pytest.mark.parametrize(
    "command",
    [
        "import saliently",
        "import saliently.cli",
        "from saliently.cli import app; app(['--help'], standalone_mode=False)",
        "from saliently.cli import app; app(['methods'], standalone_mode=False)",
        "import saliently; saliently.load_explanation; saliently.load_report; saliently.parse",
    ],
)
def test_what_needs_no_model_loads_no_torch(command: str) -> None:
    check = (
        "import sys\n"
        "heavy = {'torch', 'transformers', 'scipy', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", f"{command}\n{check}"], check=True, capture_output=True, text=True)


def test_the_public_names_are_there_and_sorted() -> None:
    assert saliently.__all__ == sorted(saliently.__all__, key=lambda name: (name == "__version__", name))
    for name in saliently.__all__:
        assert getattr(saliently, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'exlpain'"):
        saliently.exlpain  # noqa: B018
