"""What the commands print besides pictures: tables, lines of JSON, and how far they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from signal import SIGINT, signal
from typing import Any, NamedTuple


class Progress(NamedTuple):
    """Functions to call: `tick` with rows that were run, `show` with what prints the next result, `say` with a line for
    standard error, `error` with the largest standard error of what is being sampled."""

    tick: Callable[[int], None]
    show: Callable[[Callable[[], None]], None]
    say: Callable[[str], None]
    error: Callable[[float], None]


@contextmanager
def progress(total: int | None) -> Iterator[Progress]:
    """A bar on standard error while the block runs, if that is a terminal; of `total` results, or, with None, of one
    that there is at the end. Leaves with code 130 on an interrupt."""
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        *([] if total is None else [rich.MofNCompleteColumn()]),
        rich.TimeElapsedColumn(),
    )
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, rows, left = bar.add_task("0 rows", total=total), 0, ""

        def tick(more: int) -> None:
            nonlocal rows
            rows += more
            bar.update(task, description=f"{rows} rows{left}")

        def error(share: float) -> None:
            nonlocal left
            left = f", error {share:.1%}"
            bar.update(task, description=f"{rows} rows{left}")

        def show(result: Callable[[], None]) -> None:
            bar.stop()  # a bar must not stand between lines of output
            with whole():
                result()
            bar.start()
            bar.advance(task)

        def say(line: str) -> None:
            bar.stop()
            sys.stderr.write(f"{line}\n")
            bar.start()

        try:
            yield Progress(tick, show, say, error)
        except KeyboardInterrupt:
            bar.stop()
            kept = "there is no result yet" if total is None else "what was finished is printed above"
            sys.stderr.write(f"Interrupted; {kept}.\n")
            sys.exit(130)


@contextmanager
def steps(sizes: Sequence[int], interrupted: str) -> Iterator[Callable[[str, bool], None]]:
    """Long work in steps of such sizes: a bar on standard error, or a line a step where that is no terminal. Gives a
    function to call when a step is done, with its name and whether it was run now. An interrupt says what was asked to
    be said, and leaves with code 130."""
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        rich.BarColumn(),
        rich.TaskProgressColumn(),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
        rich.TextColumn("{task.description}", markup=False),
    )
    with rich.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task, left = bar.add_task("", total=sum(sizes)), list(sizes)

        def done(name: str, new: bool) -> None:
            bar.update(task, advance=left.pop(0), description=f"{name} is done")
            if new and not console.is_terminal:
                sys.stderr.write(f"{len(sizes) - len(left)} of {len(sizes)}: {name}\n")

        try:
            yield done
        except KeyboardInterrupt:
            bar.stop()
            sys.stderr.write(f"{interrupted}\n")
            sys.exit(130)


@contextmanager
def whole() -> Iterator[None]:
    """An interrupt inside the block waits for its end, so that no line is cut; a second one does not wait."""
    came: list[int] = []

    def later(number: int, frame: object) -> None:
        came.append(number)
        if len(came) > 1:
            raise KeyboardInterrupt

    before = signal(SIGINT, later)
    try:
        yield
    finally:
        signal(SIGINT, before)
    if came:
        raise KeyboardInterrupt


def print_json(record: Mapping[str, Any]) -> None:
    """One line; letters as they are, unless standard output can't write them all."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(record, ensure_ascii=not unicode, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as the terminal; in a pipe nothing is cut."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*names, box=box.SIMPLE_HEAD)
    encoding = sys.stdout.encoding or "utf-8"
    for row in rows:
        table.add_row(*(Text(cell.encode(encoding, "backslashreplace").decode(encoding)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
