"""Write the pages of methods, metrics and commands from the code: python docs/generate.py. A test fails where they are
stale."""

from __future__ import annotations

import inspect
from dataclasses import fields
from importlib import import_module
from pathlib import Path

from typer.main import get_command

from saliently.cli import app
from saliently.listed import METHODS, METRICS

FOLDER = Path(__file__).parent


def methods() -> str:
    """A section a method: its row, its docstring, its parameters."""
    parts = ["# Methods", "Made by `python docs/generate.py` from the docstrings. `saliently methods` prints the list."]
    for row in METHODS:
        module, _, kind = row.where.partition(":")
        method = getattr(import_module(module), kind)
        parameters = ", ".join(f"{field.name}={field.default!r}" for field in fields(method))
        also = f" Also called {', '.join(f'`{alias}`' for alias in row.aliases)}." if row.aliases else ""
        parts += [
            f"## {row.name}",
            f"- quantity: {row.quantity}\n- cost in passes: {row.passes}\n- completeness: {row.completeness}\n"
            f"- paper: {row.paper}\n- recipe: `{row.name}({parameters})`{also}",
            inspect.cleandoc(method.__doc__),
        ]
    return "\n\n".join(parts) + "\n"


def metrics() -> str:
    """A section a metric: its row, its docstring, its parameters."""
    parts = [
        "# Metrics",
        "Made by `python docs/generate.py` from the docstrings. `saliently metrics` prints the list, `saliently "
        "evaluate` measures them. Each comes with a random order as its control, and with an interval. Max-sensitivity "
        "explains texts again, and word deletion is about many texts: they are experiments, `stability` and "
        "`word-deletion`.",
    ]
    for row in METRICS:
        module, _, kind = row.where.partition(":")
        metric = getattr(import_module(module), kind)
        parameters = ", ".join(f"{field.name}={field.default!r}" for field in fields(metric))
        parts += [
            f"## {row.name}",
            f"- {row.said}\n- better: {row.better}\n- paper: {row.paper}\n- recipe: `{row.name}({parameters})`",
            inspect.cleandoc(metric.__doc__),
        ]
    return "\n\n".join(parts) + "\n"


def commands() -> str:
    """A section a command: its help."""
    root = get_command(app)
    parts = ["# Command line", "Made by `python docs/generate.py` from the live help."]
    for name, command in root.commands.items():
        with command.make_context(f"saliently {name}", [], resilient_parsing=True) as context:
            context.terminal_width = context.max_content_width = 100
            parts += [f"## saliently {name}", f"```\n{command.get_help(context).rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


PAGES = {"methods.md": methods, "metrics.md": metrics, "cli.md": commands}

if __name__ == "__main__":
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
