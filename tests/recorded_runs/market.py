"""Synthetic bars of the recorded runs, as files that lie in each archive: no licence, and nothing to fetch."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from quantd.adapters.calendars import sessions
from quantd.trading.market import Floats

MINUTE_NS = 60 * 10**9
HEADER = "ts,symbol,open,high,low,close,volume"


def days(calendar: str, first: date, last: date) -> list[str]:
    """The dates of the sessions of a calendar."""
    return [
        datetime.fromtimestamp(ns // 10**9, UTC).date().isoformat() for ns in sessions(calendar, first, last).day_ns
    ]


def minutes(first: date, last: date, every: int) -> list[str]:
    """The closes of the bars of `every` minutes in the sessions of New York."""
    calendar_sessions = sessions("XNYS", first, last)
    stamps = [
        ts for a, b in zip(calendar_sessions.open_ns, calendar_sessions.close_ns, strict=True)
        for ts in range(a + every * MINUTE_NS, b + 1, every * MINUTE_NS)
    ]  # fmt: skip
    return [datetime.fromtimestamp(ts // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for ts in stamps]


def closes(count: int, seed: int, *, price: float = 100.0, drift: float = 0.0005, size: float = 0.012) -> Floats:
    """A random walk of prices to the cent."""
    steps = np.random.default_rng(seed).normal(drift, size, count)
    return np.round(price * np.exp(steps.cumsum()), 2)


def rows(
    symbol: str, stamps: Sequence[str], close: Floats, volume: float = 1e6, splits: Mapping[str, float] | None = None
) -> list[str]:
    """Lines of bars; opens are the closes before. From the date of a split on, prices are divided by its ratio."""
    factor, lines, before = 1.0, [], float(close[0])
    for stamp, price in zip(stamps, close.tolist(), strict=True):
        factor /= (splits or {}).get(stamp, 1.0)
        a, b = round(before * factor, 2), round(price * factor, 2)
        lines.append(
            f"{stamp},{symbol},{a:.2f},{max(a, b) + 0.05:.2f},{min(a, b) - 0.05:.2f},{b:.2f},{volume / factor:.0f}"
        )
        before = price
    return lines


def write_bars(folder: Path, *series: list[str]) -> None:
    """Writes bars.csv, ordered by symbol and time."""
    (folder / "bars.csv").write_text("\n".join([HEADER, *(line for lines in series for line in lines)]) + "\n")


def write_actions(folder: Path, *lines: str) -> None:
    """Writes actions.csv from lines `date,symbol,kind,ratio,cash`."""
    (folder / "actions.csv").write_text("\n".join(["ts,symbol,kind,ratio,cash", *sorted(lines)]) + "\n")
