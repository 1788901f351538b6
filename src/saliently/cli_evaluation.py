"""Commands that look at a whole data set and give a report. Thin: parse, call, print."""

# ruff: noqa: PLR0913
# An option is an argument.

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from saliently.cli_options import (
    BudgetOption,
    DeviceOption,
    DtypeOption,
    MethodOption,
    ModelOption,
    ReportJsonOption,
    ReportSaveOption,
    SavedOption,
    SeedOption,
    TextsOrSavedArgument,
    TruncateOption,
)
from saliently.errors import InputError, SaliencyError
from saliently.view.terminal import print_json, progress

if TYPE_CHECKING:
    from saliently.reports import Report


def register(app: typer.Typer) -> None:
    """Give the command line these commands."""
    app.command()(summarize)


def summarize(
    file: TextsOrSavedArgument,
    *,
    model: ModelOption = "default",
    method: MethodOption = "integrated-gradients",
    top: Annotated[int, typer.Option("--top", min=1, help="How many words to show in a table.")] = 20,
    least: Annotated[int, typer.Option("--least", min=1, help="Leave out words that occur less often.")] = 5,
    saved: SavedOption = False,
    seed: SeedOption = 0,
    as_json: ReportJsonOption = False,
    save: ReportSaveOption = None,
    truncate: TruncateOption = False,
    budget: BudgetOption = 2048,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
) -> None:
    """Sum up explanations of a whole file: which words count towards each class, and which may be shortcuts.

    With --saved no model is run, and texts are counted by the class that was explained.

    \b
    Example: saliently summarize reviews.txt --method lrp --save summary.html
    """
    from saliently.api import Options
    from saliently.data import read_rows
    from saliently.models.loading import load
    from saliently.names import parse
    from saliently.summarize import Wishes, explained, gathered, summary
    from saliently.view.record import load_explanations

    parse(method)  # what can't be read is told before a model is loaded
    wishes = Wishes(least, top, seed)
    check_save(save)
    if saved:
        give(summary(load_explanations(file), None, wishes), as_json, save)
        return
    asked = load(model, device=device, dtype=dtype)
    rows = read_rows(asked, file)
    with progress(None) as bar:
        found = explained(asked, rows, method, Options(truncate, budget, bar.tick, error=bar.error))
        failures = {at: each for at, each in found.items() if isinstance(each, SaliencyError)}
        for at, error in failures.items():
            bar.say(f"line {at + 1}: {error}")
    give(gathered(asked, rows, found, wishes), as_json, save)
    if failures:
        raise typer.Exit(2)


def give(report: Report, as_json: bool, save: Path | None) -> None:
    """Print a report, and write it if that was asked for."""
    print_json(report.to_dict()) if as_json else report.show()
    if save is not None:
        try:
            report.save(save)
        except OSError as error:
            raise InputError(f"The report was to be saved to {save}; that failed: {error.strerror}.") from None
        typer.echo(f"Saved to {save}.", err=True)


def check_save(path: Path | None) -> None:
    """Raise SaliencyError where a report could not be saved, before any work is spent."""
    from saliently.view.files import check_ending

    if path is None:
        return
    check_ending(path, (".html", ".json"), "A report")
    if not path.parent.is_dir():
        raise InputError(f"The report was to be saved to {path}; there is no folder {path.parent}. Make it first.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"The report was to be saved to {path}; that can't be written. Choose another place.")
