"""The files of `quantd data`: bars in parquet with their origin as metadata, and corporate actions in a CSV beside."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import PRICES, ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import IntervalError, interval_ns
from quantd.adapters.feeds.recorded.bar_files import probe, trust
from quantd.adapters.feeds.recorded.origin import Origin, origin_of
from quantd.adapters.feeds.source import Source
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.output import iso, write_whole
from quantd.trading.display_text import session_date
from quantd.trading.exit_codes import USAGE
from quantd.trading.instruments import NANO, Universe
from quantd.trading.market import Ints
from quantd.trading.sessions import Sessions

LONGER: Final = {"1wk": "1w", "1mo": "1mo"}
"""Interval that is made of days -> its name in polars."""


_MOST_NAMED: Final = 4
"""Most symbols in the name of a file."""


class ScoresOrigin(msgspec.Struct, frozen=True):
    """The origin of a file of scores; `model` is the digest of the model's files."""

    source: str
    model: str
    calendar: str


def length_of(interval: str) -> int:
    """Return the length of an interval in ns. Raises Failure for an unknown interval."""
    try:
        return interval_ns(interval)
    except IntervalError as error:
        raise Failure(f"{error}; yfinance also gives 1wk and 1mo with --adjusted", USAGE) from None


def beside(file: Path) -> Path:
    """Return the path of the actions file that belongs to a file of bars, in the same folder."""
    return file.with_name(file.stem + ".actions.csv")


def frame(rows: Rows, universe: Universe, names: Sequence[str]) -> pl.DataFrame:
    """Return the bars sorted by symbol and time. `names` are the sources, and `rows.source` has their indices."""
    symbols = np.array(universe.symbols)[rows.column]
    source_names = np.array(names)[np.minimum(rows.source, len(names) - 1)]
    frame = pl.DataFrame({"ts": rows.ts, "symbol": symbols, **{n: getattr(rows, n) for n in (*PRICES, "volume")}})
    frame = frame.with_columns(pl.Series("source", source_names), pl.col("ts").cast(pl.Datetime("ns", "UTC")))
    return frame.sort("symbol", "ts", maintain_order=True)


def longer(frame: pl.DataFrame, every: str) -> pl.DataFrame:
    """Return daily bars joined to weeks or months (`every`, a name of LONGER), each dated by its last session."""
    grouped = frame.with_columns(pl.col("ts").dt.truncate(every).alias("period")).group_by(
        "symbol", "period", maintain_order=True
    )
    bars = grouped.agg(
        pl.col("ts").last(), pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
        pl.col("volume").sum(), pl.col("source").last(),
    )  # fmt: skip
    return bars.select(frame.columns)


def is_text(file: Path) -> bool:
    """Whether a file of bars is CSV."""
    return file.suffix.lower() in {".csv", ".txt"}


def probed(bars: Path) -> None:
    """Read an unknown parquet file in a child process first, because a damaged file may crash the process that reads
    it.

    Raises FeedError if the child process cannot read the file in time, or if the file is no parquet or too large.
    """
    if bars.is_file() and not is_text(bars):
        probe(bars)


def parquet(frame: pl.DataFrame | pl.LazyFrame, origin: Origin | ScoresOrigin) -> bytes:
    """Return the bytes of a parquet file that has the origin of its data as metadata. A lazy frame is written in
    parts."""
    memory = io.BytesIO()
    metadata = {"quantd": msgspec.json.encode(origin).decode()}
    if isinstance(frame, pl.LazyFrame):
        frame.sink_parquet(memory, metadata=metadata)
    else:
        frame.write_parquet(memory, metadata=metadata)
    return memory.getvalue()


def write_bars(
    file: Path, frame: pl.DataFrame | pl.LazyFrame, origin: Origin | ScoresOrigin, *, cells: int = 0
) -> None:
    """Write a parquet file with the origin of its data as metadata. It is not probed when it is read.

    `cells` are the rows times the columns of a lazy frame. Raises Failure when the folder of the file is missing.
    """
    write_whole(file, parquet(frame, origin))
    trust(file, cells if isinstance(frame, pl.LazyFrame) else frame.height * frame.width)


def actions_csv(actions: Sequence[ActionRow], universe: Universe) -> str:
    """Return the text of an actions file, for [feed] actions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("ts", "symbol", "kind", "ratio", "cash"))
    for action in actions:
        day = datetime.fromtimestamp(action.day_ns // NANO, UTC).date().isoformat()
        ratio = f"{action.numerator}:{action.denominator}" if action.kind == "split" else ""
        cash = (
            f"{action.cash_nano // NANO}.{action.cash_nano % NANO:09d}".rstrip("0").rstrip(".")
            if action.cash_nano
            else ""
        )
        writer.writerow((day, universe.symbols[action.column], action.kind, ratio, cash))
    return text.getvalue()


def without_volume(frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the symbols none of whose bars has a volume."""
    volumes = frame.group_by("symbol").agg(pl.col("volume").fill_nan(0.0).max())
    return tuple(volumes.filter(pl.col("volume") <= 0.0)["symbol"].sort())


def default_file(source: Source, universe: Universe, interval: str, folder: Path | None = None) -> tuple[Path, str]:
    """Return (default file of a download, text about the bars in it that will be replaced; empty for a new file).

    The file is in `folder`, by default in data/ if that folder exists, else in the present one. It may replace only an
    earlier download of the same symbols, source, interval and kind of prices. Raises Failure for any other file.
    """
    name = _default_name(universe, interval, adjusted=source.adjusted)
    if folder is None:
        folder = Path("data") if Path("data").is_dir() else Path()
    file = folder / name
    if not file.exists():
        return file, ""
    origin = origin_of(file)
    try:
        bars = pl.read_parquet(file, columns=["ts", "symbol"])
        symbols = set(bars["symbol"].unique())
    except (pl.exceptions.PolarsError, OSError):
        symbols = set()
    if origin != Origin(source.name, interval, source.stamps, source.adjusted) or symbols != set(universe.symbols):
        raise Failure(
            f"{file} exists and is no earlier download of these bars: name another file with --out, or remove it", USAGE
        )
    first, last = (session_date(int(ns)) for ns in np.sort(bars["ts"].to_physical().to_numpy())[[0, -1]])
    return file, f"{len(bars):,} bars of {first} to {last}"


def _default_name(universe: Universe, interval: str, *, adjusted: bool) -> str:
    """Return the default name of a file: first symbols, number of further ones, interval, and whether prices are
    adjusted."""
    names = [re.sub(r"[^a-z0-9.]+", "-", symbol.lower()).strip("-.") or "index" for symbol in universe.symbols]
    further = [f"and-{len(names) - _MOST_NAMED}-more"] if len(names) > _MOST_NAMED else []
    return "_".join([*names[:_MOST_NAMED], *further, interval, *(["adjusted"] if adjusted else [])]) + ".parquet"


def missing_sessions_of(
    rows: Rows, day: Ints, universe: Universe, calendars: Mapping[str, Sessions]
) -> dict[str, tuple[int, str]]:
    """Return, by symbol, (number of sessions without a bar between its first and last bar, date of the first of these).

    `day` int64[bars] is the date of each bar's session, in ns.
    """
    missing_by_symbol = {}
    order = np.lexsort((day, rows.column))
    bounds = np.searchsorted(rows.column[order], np.arange(universe.size + 1))
    for instrument, start, stop in zip(universe.instruments, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        symbol_days = day[order[start:stop]]
        if not len(symbol_days):
            continue
        days = calendars[instrument.calendar].days
        expected = days[(days >= symbol_days[0]) & (days <= symbol_days[-1])]
        places = np.minimum(np.searchsorted(symbol_days, expected), len(symbol_days) - 1)
        missing_days = expected[symbol_days[places] != expected]
        if len(missing_days):
            missing_by_symbol[instrument.symbol] = (len(missing_days), iso(int(missing_days[0]))[:10])
    return missing_by_symbol
