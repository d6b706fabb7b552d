"""Output of commands: one JSON document, or tables and lines of text, with times in New York and UTC.

rich is imported only where a table or a progress bar is printed: `quantd halt` prints neither, and must start quickly.
"""

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import msgspec

from quantd import regular_file
from quantd.daemon.cli.failures import Failure, check_interrupt
from quantd.trading.display_text import csv_table, iso_text, visible
from quantd.trading.exit_codes import USAGE

if TYPE_CHECKING:
    from quantd.daemon.views.run_summary import Summary

Row = TypeVar("Row")


def iso(ts_ns: int) -> str:
    """Return an instant in ns UTC as ISO 8601: 2024-07-03T17:00:00Z, with microseconds only if they are not 0."""
    return iso_text(ts_ns)


def print_json(value: Any) -> None:
    """Print the one JSON document on standard output."""
    sys.stdout.write(visible(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()) + "\n")
    sys.stdout.flush()


def say(*texts: str) -> None:
    """Print each text as a line on standard output; control characters of venues, policies and files are escaped."""
    for text in texts:
        sys.stdout.write(visible(text) + "\n")


def answer(as_json: bool, document: Any, *shown: str | Callable[[], object]) -> None:
    """Print the document with --json, else each line of `shown`, and what each function of it prints."""
    if as_json:
        print_json(document)
        return
    for part in shown:
        say(part) if isinstance(part, str) else part()


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """Print a plain table; the columns in `right`, of numbers, are aligned to the right."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        grid.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for row in rows:
        grid.add_row(*(escape(visible(cell)) for cell in row))
    # a file or a pipe has no width: 160 columns hold every table
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(grid)


def records(
    rows: Sequence[Row], columns: Mapping[str, str | Callable[[Row], str]] | Sequence[str], right: Sequence[str] = ()
) -> None:
    """Print a table of records, the same that --json prints.

    `columns` maps a heading to a field with its format, such as "gain:+.2f" or "spread.low:.2%", or to a function that
    returns the cell; fields alone are their own headings. A row may be a dict with the fields. A field that is None is
    an empty cell. A column with a format, if only "qty:", is aligned to the right, and so are the ones in `right`.
    """

    shown_by_head = columns if isinstance(columns, Mapping) else dict(zip(columns, columns, strict=True))

    def cell(row: Row, shown: str | Callable[[Row], str]) -> str:
        if not isinstance(shown, str):
            return shown(row)
        field, _, form = shown.partition(":")
        value = row[field] if isinstance(row, dict) else attrgetter(field)(row)
        return "" if value is None else format(value, form)

    formatted = [head for head, shown in shown_by_head.items() if isinstance(shown, str) and ":" in shown]
    cells = [[cell(row, shown) for shown in shown_by_head.values()] for row in rows]
    table(tuple(shown_by_head), cells, [*formatted, *right])


def further(shown: int, count: int) -> None:
    """Print how many of `count` rows a table of the largest ones shows, and how to see the rest.

    Nothing is printed if the table shows all rows.
    """
    if count > shown:
        say(f"  the largest {shown:,} of {count:,}; `--largest N` shows more, `--search TEXT` finds one")


class Bar(Protocol):
    """Shows the progress of a long operation: the completed fraction (0 to 1), and a note beside the bar."""

    def __call__(self, share: float, note: str = "") -> None: ...


PROGRESS: Final = "QUANTD_PROGRESS"
"""Variable that makes a command report its progress to a program, as lines "progress 0.25" on standard error."""

PACE_S: Final = 0.25
"""Shortest time between two lines of progress, in seconds."""


@contextmanager
def progress(what: str) -> Iterator[Bar]:
    """Yield a progress bar on standard error, shown after the first second if standard error is a terminal.

    With the environment variable PROGRESS the steps are printed as lines instead, for a program that reads them. The
    start of the bar and each of its steps also raise KeyboardInterrupt if Ctrl-C was pressed and a package dropped the
    interrupt.
    """
    check_interrupt()
    if os.environ.get(PROGRESS):
        yield _progress_lines()
        return
    if not sys.stderr.isatty():
        yield lambda share, note="": check_interrupt()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True), transient=True,
    )  # fmt: skip
    task = bar.add_task(what, total=1.0, note="")
    began = time.monotonic()

    def show(share: float, note: str = "") -> None:
        check_interrupt()
        if not bar.live.is_started:
            if time.monotonic() - began < 1.0:
                return
            bar.start()
        bar.update(task, completed=share, note=note)

    try:
        yield show
    finally:
        if bar.live.is_started:
            bar.stop()


def _progress_lines() -> Bar:
    """Return a progress bar for a program that reads the output: it prints lines and redraws nothing."""
    last_s = -PACE_S

    def show(share: float, note: str = "") -> None:
        nonlocal last_s
        check_interrupt()
        if (now_s := time.monotonic()) - last_s >= PACE_S:
            last_s = now_s
            sys.stderr.write(f"progress {min(1.0, max(0.0, share)):.4f}\n")
            sys.stderr.flush()

    return show


def check_output(path: Path, *suffixes: str) -> None:
    """Raise Failure when the folder of a file to be written is missing, or its name ends in none of `suffixes`."""
    if suffixes and path.suffix.lower() not in suffixes:
        raise Failure(f"{path}: name a file that ends in {' or '.join(suffixes)}", USAGE)
    if not path.parent.is_dir():
        raise Failure(f"{path}: there is no folder {path.parent}; make it, or name another", USAGE)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> None:
    """Write rows as a CSV file; a cell that is None is empty. Raises Failure when the folder is missing."""
    write_whole(path, csv_table((columns, *rows)).encode())


def write_whole(path: Path, data: bytes) -> None:
    """Write a file atomically, so that no reader sees a part of it. Raises Failure when its folder is missing."""
    check_output(path)
    regular_file.write_whole(path, data, durable=False)


SHOWN_POSITIONS: Final = 10
"""Most positions of which all are shown."""

FIRST_POSITIONS: Final = 5
"""Number of positions that are shown of a longer list."""


def _positions_text(positions: Mapping[str, str]) -> str:
    """Return the positions as text: all up to SHOWN_POSITIONS, else the first FIRST_POSITIONS and the number of the
    others."""
    if len(positions) <= SHOWN_POSITIONS:
        return ", ".join(f"{qty} {symbol}" for symbol, qty in positions.items()) or "nothing"
    first = ", ".join(f"{qty} {symbol}" for symbol, qty in islice(positions.items(), FIRST_POSITIONS))
    return f"{len(positions)} positions: {first} and {len(positions) - FIRST_POSITIONS} more"


def closing(summary: "Summary") -> str:
    """Return the summary of a run or a backtest as text."""
    positions = _positions_text(summary.positions)
    untraded = ""
    if not summary.fills and summary.mode != "backtest":  # a backtest begins with the reason
        why = (
            f"limits refused {summary.refused:,} orders" if summary.refused else f"{summary.orders:,} orders were sent"
        )
        untraded = f"\n  nothing was traded: {why}; `quantd backtest` names the reason and a remedy"
    trips = "once" if summary.trips == 1 else f"{summary.trips} times"
    return "\n".join(
        [
            f"run {summary.run} ({summary.mode})",
            f"  equity {summary.equity}, of it cash {summary.cash}; holds {positions}",
            f"  {summary.slices:,} slices, {summary.symbol_bars:,} symbol-bars, {summary.orders:,} orders, "
            f"{summary.fills:,} fills{untraded}",
            f"  the gate cut {summary.clipped:,} orders and refused {summary.refused:,}; "
            f"{summary.alerts:,} alerts; the switch tripped {trips}",
            f"  {summary.wall_s:.2f} s of trading, {summary.symbol_bars_per_s:,.0f} symbol-bars/s",
            f"  digest {summary.digest}",
        ]
    )


def program() -> str:
    """Return this program as it can be typed in another terminal of this folder; `quantd` if the PATH leads to it."""
    path = Path(sys.argv[0])
    if path.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m quantd.daemon.cli"
    on_path = shutil.which("quantd")
    if path.name != "quantd" or (on_path is not None and Path(on_path).resolve() == path.resolve()):
        return "quantd"
    return shlex.quote(os.path.relpath(path) if path.resolve().is_relative_to(Path.cwd()) else str(path.absolute()))
