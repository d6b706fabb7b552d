"""Compares the columns of the files that a policy opens with the bars: prices and returns of the same or nearby
sessions.

A column that equals the return of a later session holds the answer that the policy should predict.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from polars.exceptions import PolarsError

from quantd.adapters.feeds.recorded.replay import Replay
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

SHIFTS: Final = 5
"""Largest number of sessions between a row of a file and the bar that it is compared with."""

LEAST: Final = 20
"""Minimum number of rows with a bar: equality of fewer rows shows nothing."""

SHARE: Final = 0.95
"""Share of the rows that must be equal; it is below 1, because some values may have been corrected."""

DISTINCT: Final = 10
"""A column with fewer different values is not compared: a flag equals another flag by chance."""

MOST_BYTES: Final = 64 << 20
MOST_COLUMNS: Final = 100
MOST_LABELS: Final = 500
MOST_MATCHES: Final = 10


@dataclass(frozen=True, slots=True)
class Sessions:
    """The T bars of one symbol: stamps int64[T] in ns UTC, and field -> float64[T]. The field "return" is the return
    since the previous bar."""

    symbol: str
    stamps: Ints
    fields: dict[str, Floats]


@dataclass(frozen=True, slots=True)
class Column:
    """A column `name` of a file: values float64[R] of R rows, and stamps int64[R] of the rows in ns UTC, None for a
    file without dates.

    `label` is the value, such as a symbol, by which the rows of the file were selected; empty for all rows.
    """

    name: str
    label: str
    stamps: Ints | None
    values: Floats


def matches(paths: Sequence[str], feed: Replay) -> tuple[str, ...]:
    """Return a sentence for each column of the files that equals prices or returns of the bars, at most
    MOST_MATCHES."""
    columns = [(path, column) for path in paths for column in columns_of(Path(path))]
    if not columns:
        return ()
    bars = sessions_of(feed)
    sentences = [sentence for path, column in columns for sentence in _equalities(Path(path).name, column, bars)]
    return tuple(sentences[:MOST_MATCHES])


def sessions_of(feed: Replay) -> list[Sessions]:
    """Return the bars of each symbol. Daily bars are stamped with the session date, shorter ones with their end."""
    daily = feed.interval_ns >= DAY_NS
    rows: dict[str, list[list[float]]] = {name: [] for name in ("open", "high", "low", "close")}
    stamps: list[int] = []
    for index in range(feed.count):
        market = feed.slice_at(index)
        stamps.append(market.key - market.key % DAY_NS if daily else market.ts_event)
        for name, values_of_field in rows.items():
            values_of_field.append(getattr(market.block, name)[market.row])
    stamp_array, table = (
        np.array(stamps, dtype=np.int64),
        {name: np.array(values_of_field) for name, values_of_field in rows.items()},
    )
    sessions = []
    for column, symbol in enumerate(feed.universe.symbols):
        has_close = np.isfinite(table["close"][:, column])
        fields = {name: values[has_close, column] for name, values in table.items()}
        close = fields["close"]
        fields["return"] = np.append(np.nan, close[1:] / close[:-1] - 1.0) if len(close) else close
        sessions.append(Sessions(symbol, stamp_array[has_close], fields))
    return sessions


def columns_of(path: Path) -> Iterator[Column]:
    """Yield the numeric columns of a file's table; none for a file that is no table. A text column with few values,
    such as symbols, divides the table into parts, and each part has its own columns."""
    frame = _read(path)
    if frame is None or not len(frame):
        return
    dates = next((name for name in frame.columns if frame[name].dtype in (pl.Date, pl.Datetime)), None)
    labels = next((name for name in frame.columns if frame[name].dtype == pl.String), None)
    numbers = [name for name in frame.columns if frame[name].dtype.is_numeric()][:MOST_COLUMNS]
    tables = [("", frame)]
    if labels is not None and 1 < frame[labels].n_unique() <= MOST_LABELS:
        tables = [(str(label), table) for (label,), table in frame.group_by(labels, maintain_order=True)]
    for label, table in tables:
        stamps = None
        if dates is not None:
            table = table.drop_nulls(dates).unique(dates, keep="first").sort(dates)
            stamps = table[dates].cast(pl.Datetime("ns")).dt.epoch("ns").to_numpy()
        for name in numbers:
            values = table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
            if len(np.unique(values[np.isfinite(values)])) >= DISTINCT:
                yield Column(name, label, stamps, values)


def _read(path: Path) -> pl.DataFrame | None:
    """Return the table of a file, with text dates parsed; None for a file that is no table, or is too large."""
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            return None
        match path.suffix.lower():
            case ".csv" | ".txt" | ".tsv":
                separator = "\t" if path.suffix.lower() == ".tsv" else ","
                frame = pl.read_csv(path, separator=separator, try_parse_dates=True, ignore_errors=True)
            case ".parquet":
                frame = pl.read_parquet(path)
            case ".feather" | ".arrow" | ".ipc":
                frame = pl.read_ipc(path)
            case ".json":
                frame = pl.read_json(path)
            case ".ndjson" | ".jsonl":
                frame = pl.read_ndjson(path)
            case ".npy":
                frame = pl.DataFrame(np.load(path, allow_pickle=False))
            case _:
                return None
    except (PolarsError, OSError, ValueError, TypeError):
        return None
    texts = [name for name in frame.columns if frame[name].dtype == pl.String]
    for name in texts:
        parsed = frame[name].str.to_date("%Y-%m-%d", strict=False)
        if len(parsed) and not parsed.null_count():
            return frame.with_columns(parsed)
    return frame


def _equalities(file: str, column: Column, bars: Sequence[Sessions]) -> Iterator[str]:
    """Yield a text for each field of the bars that a column of a file equals, at a shift of up to SHIFTS sessions."""
    # the symbol that the label names; all symbols where it names none
    chosen_bars = [sessions for sessions in bars if sessions.symbol == column.label] or bars
    text = f"column {column.name} of {file}" + (f" ({column.label})" if column.label else "")
    for history in chosen_bars:
        rows = _by_session(column, history)
        for field, values in history.fields.items():
            for shift in sorted(range(-SHIFTS, SHIFTS + 1), key=abs):
                equal, count = _equal(rows, values, shift, returns=field == "return")
                if count >= LEAST and equal >= SHARE * count:
                    yield f"{text} equals the {field} of {history.symbol} {_when(shift)} ({equal:,} of {count:,} rows)"


def _by_session(column: Column, bars: Sessions) -> Floats:
    """Return float64[T], the column's values at the sessions of a symbol, NaN where the column has none. In a file
    without dates, row k of the file belongs to session k.
    """
    values = np.full(len(bars.stamps), np.nan)
    if column.stamps is None:
        count = min(len(values), len(column.values))
        values[:count] = column.values[:count]
    elif len(values):
        session_index = np.minimum(np.searchsorted(bars.stamps, column.stamps), len(values) - 1)
        is_match = bars.stamps[session_index] == column.stamps
        values[session_index[is_match]] = column.values[is_match]
    return values


def _equal(rows: Floats, values: Floats, shift: int, *, returns: bool) -> tuple[int, int]:
    """Return (number of equal pairs, number of pairs), where row t is paired with the value of session t + `shift`."""
    size = len(rows) - abs(shift)
    if size < LEAST:
        return 0, 0
    paired_rows = rows[max(0, -shift) : max(0, -shift) + size]
    paired_values = values[max(0, shift) : max(0, shift) + size]
    both_finite = np.isfinite(paired_rows) & np.isfinite(paired_values)
    # files round: returns to four digits after the point, prices to a cent or to five digits
    near = np.isclose(
        paired_rows[both_finite],
        paired_values[both_finite],
        rtol=1e-5 if not returns else 1e-4,
        atol=5.1e-5 if returns else 0.0051,
    )
    return int(near.sum()), int(both_finite.sum())


def _when(shift: int) -> str:
    if shift == 0:
        return "on the same session"
    number = "one session" if abs(shift) == 1 else f"{abs(shift)} sessions"
    return f"{number} {'later' if shift > 0 else 'earlier'}"
