"""The command line: parse, call, print. Whatever computes is imported inside a command, so that help is instant."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saliently import cli_audit, cli_evaluation
from saliently.cli_options import (
    AgainstOption,
    AtOption,
    BlankOption,
    BudgetOption,
    DeviceOption,
    DtypeOption,
    EachOption,
    FieldsOption,
    FileOption,
    JsonOption,
    ModelOption,
    PairOption,
    PlanOption,
    SaveOption,
    ScaleOption,
    SecondsOption,
    TargetOption,
    TruncateOption,
    UnitsOption,
    WindowsOption,
)
from saliently.errors import InputError, SaliencyError, SaliencyWarning
from saliently.given import labelled, objects, pairs, place, texts_of
from saliently.listed import METHODS
from saliently.view.terminal import print_json, print_table, progress

if TYPE_CHECKING:
    from saliently.models.base import Model

app = typer.Typer(
    name="saliently",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Which parts of the input did this prediction depend on, and can that answer be trusted?",
    epilog="Errors are one sentence and exit code 2; --debug, anywhere on the line, shows where they come from.",
)

_COMPARED = ("gradient", "gradient-x-input", "integrated-gradients", "occlusion")


@app.command()
def explain(
    texts: Annotated[
        list[str] | None, typer.Argument(help="Texts, behind -- if one starts with a dash; else stdin is read.")
    ] = None,
    *,
    model: ModelOption = "default",
    method: Annotated[str, typer.Option("--method", help="A recipe; see: saliently methods.")] = "integrated-gradients",
    target: TargetOption = None,
    against: AgainstOption = None,
    of: ScaleOption = None,
    at: AtOption = None,
    blank: BlankOption = None,
    as_json: JsonOption = False,
    save: SaveOption = None,
    file: FileOption = None,
    pair: PairOption = False,
    fields: FieldsOption = False,
    each: EachOption = False,
    truncate: TruncateOption = False,
    windows: WindowsOption = False,
    units: UnitsOption = "word",
    seconds: SecondsOption = None,
    budget: BudgetOption = 2048,
    plan: PlanOption = False,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
) -> None:
    """Show which words a prediction depended on.

    \b
    Example: saliently explain "A gorgeous, witty, seductive movie." --method "occlusion(blank='zero')"
    """
    from saliently.api import Options, stream, stream_each
    from saliently.plans import plan as ask
    from saliently.types import Target
    from saliently.view.files import save as write

    wanted, chosen = Target(target, against, of, place(at)), _method(method, blank)  # type: ignore[arg-type]
    given = texts_of(texts, file)
    lines = objects(given) if fields else pairs(given, typed=bool(texts)) if pair else given
    _check_save(save, several=len(lines) > 1)
    if plan:
        asked, options = _load(model, device, dtype), Options(truncate, budget, windows=windows, units=units)  # type: ignore[arg-type]
        costs = ask(asked, lines, chosen, wanted, options=options)
        print_json(costs.to_dict()) if as_json else print_table(("plan", ""), costs.facts())
        return
    if each and save and (len(lines) > 1 or save.suffix.lower() == ".jsonl"):
        raise InputError(f"The outputs of one text can be saved, as .html, .json, .png or .svg; not {save}.")
    ask_all: Callable[..., Iterable[tuple[int, Any]]] = stream_each if each else stream
    finished: list[Any] = []
    failures = 0
    with progress(len(lines)) as bar:
        asked = _load(model, device, dtype)
        try:
            options = Options(truncate, budget, bar.tick, windows, units, seconds=seconds, error=bar.error)  # type: ignore[arg-type]
            for number, result in ask_all(asked, lines, chosen, wanted, options=options):
                if isinstance(result, SaliencyError):
                    failures += 1
                    where = f"{'text' if texts else 'line'} {number + 1}: " if len(lines) > 1 else ""
                    bar.show(partial(typer.echo, f"{where}{result}", err=True))
                    continue
                if save:
                    finished.append(result)
                bar.show(partial(print_json, result.to_dict()) if as_json else result.show)
        finally:
            if save and finished:
                one = finished[0] if len(lines) == 1 else finished
                _save(finished[0].save if each else partial(write, one), save, len(finished))
    if failures:
        raise typer.Exit(2)


@app.command()
def compare(
    text: Annotated[str, typer.Argument(help="One text.")],
    *,
    method: Annotated[list[str] | None, typer.Option("--method", help="A recipe; give it several times.")] = None,
    model: ModelOption = "default",
    target: TargetOption = None,
    against: AgainstOption = None,
    of: ScaleOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
    save: Annotated[Path | None, typer.Option("--save", "-s", help="Also write .html or .json.")] = None,
    truncate: TruncateOption = False,
    windows: WindowsOption = False,
    budget: BudgetOption = 2048,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
) -> None:
    """Show several methods side by side, and how far they rank the words alike.

    \b
    Example: saliently compare "A gorgeous, witty, seductive movie." --method gradient --method occlusion
    """
    from saliently import api
    from saliently.types import Target

    wanted = Target(target, against, of, place(at))  # type: ignore[arg-type]
    chosen = [_method(recipe, None) for recipe in method or _COMPARED]
    _check_save(save, several=False, endings=(".html", ".json"))
    with progress(1) as bar:
        asked = _load(model, device, dtype)
        options = api.Options(truncate, budget, bar.tick, windows, error=bar.error)
        found = api.compare(asked, text, chosen, wanted, options=options)
    for explanation in found.explanations if as_json else ():
        print_json(explanation.to_dict())
    if not as_json:
        found.show()
    if save:
        _save(found.save, save, len(found.explanations))


@app.command()
def importance(
    file: Annotated[Path, typer.Argument(help="Texts, one a line, a label behind a tab if known; - is stdin.")],
    *,
    of: Annotated[str, typer.Option("--of", help="word or dimension.")] = "word",
    model: ModelOption = "default",
    blank: Annotated[str, typer.Option("--blank", "-b", help="What replaces a word.")] = "zero",
    top: Annotated[int, typer.Option("--top", min=1, help="How many to show.")] = 20,
    least: Annotated[int, typer.Option("--least", min=1, help="Show only what occurs at least so often.")] = 1,
    as_json: JsonOption = False,
    truncate: TruncateOption = False,
    budget: BudgetOption = 2048,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
) -> None:
    """Rank words, or dimensions of the word vectors, by what the model loses without them, over a whole file.

    \b
    Example: saliently importance reviews.txt --least 3
    """
    from saliently.chunks import Options
    from saliently.importances import importance as measure

    texts, labels = labelled(texts_of(None, file))
    with progress(None) as bar:
        asked, options = _load(model, device, dtype), Options(truncate, budget, bar.tick)
        found = measure(asked, texts, of, labels=labels, blank=blank, options=options)  # type: ignore[arg-type]
        for at, error in found.failures.items():
            bar.say(f"line {at + 1}: {error}")
    rows = [row for row in found.rows if row.times >= least][:top]
    if as_json:
        for row in rows:
            print_json(row._asdict() | {"error": None if row.times == 1 else row.error})
    else:
        print_table(
            (of, "times", "relative", "drop (nats)", "standard error"),
            [
                (
                    row.item,
                    str(row.times),
                    *(f"{x:+.3g}" for x in row[2:4]),
                    f"{row.error:.2g}" if row.times > 1 else "-",
                )
                for row in rows
            ],
        )
    if found.failures:
        raise typer.Exit(2)


@app.command()
def methods() -> None:
    """List the methods: what they measure, what they cost, whether they add up, and their papers.

    \b
    Example: saliently methods
    """
    names = ("name", "quantity", "cost in passes", "completeness", "paper")
    print_table(names, [(row.name, row.quantity, row.passes, row.completeness, row.paper) for row in METHODS])


cli_evaluation.register(app)
cli_audit.register(app)


def main() -> None:
    """Run the command line; an error that saliently raises on purpose is one sentence and exit code 2."""
    debug = "--debug" in sys.argv
    if debug:
        sys.argv.remove("--debug")
    warnings.showwarning = _warn
    try:
        app()
    except SaliencyError as error:
        if debug:
            traceback.print_exc()
        typer.echo(str(error), err=True)
        sys.exit(2)


def _method(recipe: str, blank: str | None) -> Any:
    from saliently.names import parse, with_blank

    return parse(recipe) if blank is None else with_blank(parse(recipe), blank)


def _load(model: str, device: str, dtype: str) -> Model:
    from saliently.models.loading import load

    return load(model, device=device, dtype=dtype)


def _check_save(path: Path | None, several: bool, endings: tuple[str, ...] = ()) -> None:
    """Raise SaliencyError where nothing could be saved, before any work is spent."""
    from saliently.view.files import ENDINGS, check_ending

    if path is None:
        return
    ending = check_ending(path, endings or ENDINGS)
    if several and ending in (".png", ".svg"):
        raise InputError(f"One picture of several texts was asked for, {path}. Save them as .html, or one by one.")
    if not path.parent.is_dir():
        raise InputError(f"Results were to be saved to {path}; there is no folder {path.parent}. Make it first.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"Results were to be saved to {path}; that can't be written. Choose another place.")


def _save(write: Callable[[Path], object], path: Path, count: int) -> None:
    try:
        write(path)
    except OSError as error:
        raise InputError(f"Results were to be saved to {path}; that failed: {error.strerror}.") from None
    typer.echo(f"Saved {count} to {path}.", err=True)


def _warn(message: Warning | str, category: type[Warning], *where: Any, **rest: Any) -> None:
    if issubclass(category, SaliencyWarning):
        typer.echo(f"Warning: {message}", err=True)


if __name__ == "__main__":
    main()
