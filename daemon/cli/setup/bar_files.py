"""The files of `quantd data`: bars in parquet with their origin as metadata, and actions in CSV beside it."""

import csv
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import PRICES, ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import IntervalError, interval_ns
from quantd.adapters.feeds.recorded.bar_files import probe
from quantd.adapters.feeds.recorded.origin import Origin, origin_of
from quantd.adapters.feeds.source import Source
from quantd.daemon.cli.failures import Failure
from quantd.trading.display_text import session_date
from quantd.trading.exit_codes import USAGE
from quantd.trading.instruments import NANO, Universe

LONGER: Final = {"1wk": "1w", "1mo": "1mo"}
"""Intervals made of days -> their names in polars."""


_MOST_NAMED: Final = 4
"""Symbols in the name of a file."""


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
    """The actions file of a file of bars."""
    return file.with_name(file.stem + ".actions.csv")


def frame(rows: Rows, universe: Universe, names: Sequence[str]) -> pl.DataFrame:
    """Bars sorted by symbol and time; `names` are the sources that Rows.source numbers."""
    symbols = np.array(universe.symbols)[rows.column]
    source_names = np.array(names)[np.minimum(rows.source, len(names) - 1)]
    frame = pl.DataFrame({"ts": rows.ts, "symbol": symbols, **{n: getattr(rows, n) for n in (*PRICES, "volume")}})
    frame = frame.with_columns(pl.Series("source", source_names), pl.col("ts").cast(pl.Datetime("ns", "UTC")))
    return frame.sort("symbol", "ts", maintain_order=True)


def longer(frame: pl.DataFrame, every: str) -> pl.DataFrame:
    """Weeks or months of daily bars, each dated by its last session."""
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
    """Read an unknown parquet file in a child process first. Raises FeedError where that fails (see `probe`)."""
    if bars.is_file() and not is_text(bars):
        probe(bars)


def parquet(frame: pl.DataFrame, origin: Origin | ScoresOrigin) -> bytes:
    """The bytes of a parquet file with its origin."""
    memory = io.BytesIO()
    frame.write_parquet(memory, metadata={"quantd": msgspec.json.encode(origin).decode()})
    return memory.getvalue()


def actions_csv(actions: Sequence[ActionRow], universe: Universe) -> str:
    """The text of an actions file, for [feed] actions."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("ts", "symbol", "kind", "ratio", "cash"))
    for a in actions:
        day = datetime.fromtimestamp(a.day_ns // NANO, UTC).date().isoformat()
        ratio = f"{a.numerator}:{a.denominator}" if a.kind == "split" else ""
        cash = f"{a.cash_nano // NANO}.{a.cash_nano % NANO:09d}".rstrip("0").rstrip(".") if a.cash_nano else ""
        writer.writerow((day, universe.symbols[a.column], a.kind, ratio, cash))
    return text.getvalue()


def without_volume(frame: pl.DataFrame) -> tuple[str, ...]:
    """The symbols none of whose bars has a volume."""
    volumes = frame.group_by("symbol").agg(pl.col("volume").fill_nan(0.0).max())
    return tuple(volumes.filter(pl.col("volume") <= 0.0)["symbol"].sort())


def default_file(source: Source, universe: Universe, interval: str, folder: Path | None = None) -> tuple[Path, str]:
    """The file of a download without a name, and the bars in it that are replaced.

    It lies in `folder`; without one in data/, if that folder is there.

    It replaces nothing but an earlier download of the same symbols, source, interval and kind of prices. Raises
    Failure for another file.
    """
    name = _name(universe, interval, adjusted=source.adjusted)
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
        raise Failure(f"{file} is there and is not a download of the same: name a file with --out, or remove it", USAGE)
    first, last = (session_date(int(ns)) for ns in np.sort(bars["ts"].to_physical().to_numpy())[[0, -1]])
    return file, f"{len(bars):,} bars of {first} to {last}"


def _name(universe: Universe, interval: str, *, adjusted: bool) -> str:
    """The name of a file: its first symbols, the number of the others, the interval, and the kind of prices."""
    names = [re.sub(r"[^a-z0-9.]+", "-", symbol.lower()).strip("-.") or "index" for symbol in universe.symbols]
    more = [f"and-{len(names) - _MOST_NAMED}-more"] if len(names) > _MOST_NAMED else []
    return "_".join([*names[:_MOST_NAMED], *more, interval, *(["adjusted"] if adjusted else [])]) + ".parquet"
