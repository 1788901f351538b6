"""The commands that judge explanations: audit, evaluate, experiment, metrics. Thin: parse, call, print."""

# ruff: noqa: PLR0913
# An option is an argument.

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from saliently.cli_evaluation import check_save, give
from saliently.cli_options import (
    DataArgument,
    DeviceOption,
    DtypeOption,
    MethodsOption,
    ModelArgument,
    ReportJsonOption,
    ReportSaveOption,
    SavedOption,
    SeedOption,
    TextsOrSavedArgument,
)
from saliently.errors import InputError
from saliently.given import place
from saliently.view.terminal import print_json, print_table, progress, steps

if TYPE_CHECKING:
    from saliently.models.base import Model
    from saliently.work import Unit

METHODS = ("gradient", "gradient-x-input", "integrated-gradients", "lrp", "occlusion", "attention")


def register(app: typer.Typer) -> None:
    """Give the command line these commands."""
    for command in (audit, evaluate, experiment, metrics):
        app.command()(command)


def audit(
    model: ModelArgument,
    data: DataArgument,
    *,
    depth: Annotated[
        str, typer.Option(help="tiny (to try it out), quick (minutes) or full (hours on a CPU).")
    ] = "quick",
    minutes: Annotated[
        float | None, typer.Option(help="Fit it into so many minutes, by the speed of a few rows run now.")
    ] = None,
    method: MethodsOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for plan, results and report; an interrupted audit goes on there.")
    ] = None,
    seed: SeedOption = 0,
    plan: Annotated[bool, typer.Option("--plan", help="Say what it would do, and stop.")] = False,
    as_json: ReportJsonOption = False,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
) -> None:
    """Which explanation of this model can be trusted? Plants cues, takes words away, scrambles weights, and compares.

    \b
    Example: saliently audit default reviews.txt --minutes 10
    """
    from saliently.audit.whole import Wishes
    from saliently.audit.whole import audit as prepare

    wishes, start = Wishes(depth, minutes, tuple(method or ()), seed), perf_counter()
    asked, rows = _read(model, data, device, dtype)
    folder = out or Path(f"audit-{Path(model).name}-{data.stem}")
    prepared = prepare(asked, rows, folder, wishes)
    units = prepared.work.units()
    if plan and as_json:
        parts = [dict(zip(("part", "units", "rows"), part, strict=True)) for part in _parts(units)]
        print_json({"folder": str(folder), "depth": asdict(prepared.work.depth), "parts": parts})
    elif not as_json:
        said = [(part, str(many), f"{rows:,}") for part, many, rows in _parts(units)]
        print_table(("part of the audit", "units", "rows, about"), said)
    if plan:
        return
    with steps([unit.rows for unit in units], f"Interrupted; run the same command to go on in {folder}.") as bar:
        report = prepared.run(lambda unit, new: bar(unit.name, new))
    give(report, as_json, None)
    for ending in (".html", ".json"):
        report.save(folder / f"report{ending}")
    typer.echo(f"Saved to {folder / 'report.html'} and report.json, in {perf_counter() - start:.0f} s.", err=True)


def evaluate(
    model: ModelArgument,
    data: TextsOrSavedArgument,
    *,
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="A metric; give it several times. See: saliently metrics.")
    ] = None,
    method: MethodsOption = None,
    blank: Annotated[
        list[str] | None, typer.Option("--blank", "-b", help="What stands where words go; give it several times.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", help="Label; else the predicted one.")] = None,
    at: Annotated[str | None, typer.Option(help="Which place, of models with several.")] = None,
    saved: SavedOption = False,
    controls: Annotated[int, typer.Option(min=1, help="Random orders for each text.")] = 5,
    seed: SeedOption = 0,
    as_json: ReportJsonOption = False,
    save: ReportSaveOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
) -> None:
    """Measure how faithful explanations are, fresh or saved ones, against a random order.

    \b
    Example: saliently evaluate default reviews.txt --method lrp --method attention --metric "deletion(steps=10)"
    """
    from saliently.api import Options
    from saliently.evaluation import DEFAULT, Measuring, by_method, check, explain_all
    from saliently.evaluation import evaluate as measure
    from saliently.types import Target
    from saliently.view.record import load_explanations

    wanted = Target(target, at=place(at))
    measuring = Measuring(tuple(metric or DEFAULT), tuple(blank or ()), wanted if at else None, controls, seed)
    if saved and (method or (target and not at)):
        raise InputError(
            "Saved explanations were to be measured, by methods or for a label of your own; they have both already. "
            "Leave out --method and --target, or --saved."
        )
    check_save(save)
    with progress(None) as bar:
        if saved:
            explained, failures, rows = by_method(load_explanations(data)), dict[str, str](), None
            asked = _load(model, device, dtype)
        else:
            asked, rows = _read(model, data, device, dtype)
            check(asked, measuring)
            options = Options(truncate=True, tick=bar.tick)
            explained, failures = explain_all(asked, rows, method or METHODS, wanted, options)
        missing = tuple(f"{name}: {why}" for name, why in failures.items())
        for said in missing:
            bar.say(said)
        marked = rows if rows and any(row.evidence for row in rows) else None
        report = measure(asked, explained, replace(measuring, missing=missing), marked, bar.tick)
    give(report, as_json, save)
    if missing:
        raise typer.Exit(2)


def metrics() -> None:
    """List the metrics: which way is good, what they mean, and their papers.

    \b
    Example: saliently metrics
    """
    from saliently.listed import METRICS

    names = ("name", "better", "what it means", "paper")
    print_table(names, [(row.name, row.better, row.said, row.paper) for row in METRICS])


def experiment(
    name: Annotated[str, typer.Argument(metavar="NAME", help="See: saliently experiment list.")],
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", help="As for audit; toy and axioms take none.")
    ] = None,
    data: Annotated[Path | None, typer.Argument(metavar="DATA", help="As for audit; a folder for sst-wiki.")] = None,
    *,
    method: MethodsOption = None,
    cue: Annotated[
        list[str] | None,
        typer.Option("--cue", help="For shortcuts: a cue, such as 'single token'; else all that fit the texts."),
    ] = None,
    seed: SeedOption = 0,
    as_json: ReportJsonOption = False,
    save: ReportSaveOption = None,
    device: DeviceOption = "cpu",
    dtype: DtypeOption = "float32",
) -> None:
    """Run one experiment by itself, at its default size.

    \b
    Example: saliently experiment shortcuts bilstm reviews.txt --save shortcuts.html
    """
    from saliently.audit.experiments import EXPERIMENTS, FOLDER, Given, find
    from saliently.data import readable

    if name == "list":
        print_table(("name", "needs", "what it asks"), [(each.name, each.needs, each.said) for each in EXPERIMENTS])
        return
    chosen = find(name)
    if chosen.needs == "nothing" and (model or device != "cpu" or dtype != "float32"):
        raise InputError(
            f"The experiment {name} was asked for with a model, --device or --dtype; it has networks of its own. Leave "
            "them out."
        )
    if chosen.needs != "nothing" and (model is None or data is None):
        raise InputError(f"The experiment {name} was asked for; it needs a {chosen.needs}. Name both behind it.")
    if cue and chosen.name != "shortcuts":
        raise InputError(f"Cues were given to the experiment {name}; it plants none. Leave out --cue.")
    check_save(save)
    with progress(None) as bar:
        given = Given(None, (), None, tuple(method or ()), tuple(cue or ()), seed, bar.tick, bar.say)
        if model and data and chosen.needs == FOLDER:
            given = replace(given, model=_load(model, device, dtype), folder=data)
        elif model and data:
            asked, rows = _read(model, data, device, dtype)
            rows, bad = readable(asked, rows)
            for text, why in bad.items():
                bar.say(f"{text}: {why}")
            given = replace(given, model=asked, rows=rows)
        report = chosen.run(given)
    give(report, as_json, save)


def _parts(units: Sequence[Unit]) -> list[tuple[str, int, int]]:
    said = {
        "explain": "explain texts by each method",
        "erase": "take words away",
        "teach": "teach copies a planted cue",
        "find": "find the cue by each method",
        "scramble": "explain again with scrambled weights",
        "move": "explain again with moved word vectors",
    }
    found = []
    for kind, what in said.items():
        some = [unit for unit in units if unit.name.split()[0] == kind]
        found.append((what, len(some), sum(unit.rows for unit in some)))
    return found


def _load(model: str, device: str, dtype: str) -> Model:
    from saliently.models.loading import load

    return load(model, device=device, dtype=dtype)


def _read(model: str, data: Path, device: str, dtype: str) -> tuple[Model, list[Any]]:
    from saliently.data import read_rows

    asked = _load(model, device, dtype)
    return asked, read_rows(asked, data)
