"""How commands speak: one JSON document, or tables and lines for people; times of New York and UTC alike."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

from quantd.trading.display_text import visible

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from rich.console import Console

    from quantd.daemon.views.run_summary import Summary

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(ts_ns: int) -> str:
    """ISO 8601 UTC: 2024-07-03T17:00:00Z, with microseconds only where there are some."""
    moment = _EPOCH + timedelta(microseconds=ts_ns // 1000)
    return moment.isoformat().replace("+00:00", "Z")


@lru_cache
def _zone(name: str) -> "ZoneInfo":
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def local(ts_ns: int, zone: str = "America/New_York") -> str:
    """The same instant on an exchange's clock: 2020-02-28 16:00."""
    moment = (_EPOCH + timedelta(microseconds=ts_ns // 1000)).astimezone(_zone(zone))
    return moment.strftime("%Y-%m-%d %H:%M" + (":%S" if moment.second else ""))


def place_name(zone: str) -> str:
    """How a table names a clock: America/New_York is "New York"."""
    return zone.rsplit("/", 1)[-1].replace("_", " ")


def print_json(value: Any) -> None:
    """The one document on standard output."""
    import msgspec

    sys.stdout.write(visible(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()) + "\n")
    sys.stdout.flush()


def say(text: str = "") -> None:
    """A line for people on standard output; what venues, policies and files put into it cannot steer the terminal."""
    sys.stdout.write(visible(text) + "\n")


def console() -> "Console":
    """Rich on standard output; wide enough for a table when nobody looks at it."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[str] = ()) -> None:
    """A plain table; columns named in `right` are numbers."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="dim")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    for row in rows:
        made.add_row(*[_plain(cell) for cell in row])
    console().print(made)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(visible(text))


class Bar(Protocol):
    """Progress of something long."""

    def __call__(self, share: float, note: str = "") -> None:
        """`note` is told beside it."""
        ...


@contextmanager
def progress(what: str, *, shown: bool = True) -> Iterator[Bar]:
    """A bar on standard error, from the first second on, where a person looks at it."""
    if not (shown and sys.stderr.isatty()):
        yield lambda share, note="": None
        return
    import time

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


def cell(value: object) -> str:
    """A value as a cell of a CSV file. A spreadsheet takes text that begins like a formula for one: a quote goes before
    it."""
    text = str(value)
    if text[:1] not in ("=", "+", "-", "@", "\t", "\r"):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def closing(summary: "Summary") -> str:
    """The last lines of a run or a backtest, for people."""
    held = ", ".join(f"{qty} {symbol}" for symbol, qty in summary.positions.items()) or "nothing"
    return "\n".join(
        [
            f"run {summary.run} ({summary.mode})",
            f"  equity {summary.equity}, of it cash {summary.cash}; holds {held}",
            f"  {summary.slices:,} slices, {summary.symbol_bars:,} symbol-bars, {summary.orders:,} orders, "
            f"{summary.fills:,} fills",
            f"  the gate cut {summary.clipped:,} wishes and refused {summary.refused:,}; "
            f"{summary.alerts:,} alerts; the switch tripped {_times(summary.trips)}",
            f"  {summary.wall_s:.2f} s of trading, {summary.symbol_bars_per_s:,.0f} symbol-bars/s",
            f"  digest {summary.digest}",
        ]
    )


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
