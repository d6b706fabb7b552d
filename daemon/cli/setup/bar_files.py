"""The files of `quantd data`: bars in parquet with their origin as metadata, and actions in CSV beside it."""

import csv
import io
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
from quantd.adapters.feeds.recorded.origin import Origin
from quantd.daemon.cli.failures import Failure
from quantd.trading.exit_codes import USAGE
from quantd.trading.instruments import NANO, Universe

LONGER: Final = {"1wk": "1w", "1mo": "1mo"}
"""Intervals made of days -> their names in polars."""


class ScoresOrigin(msgspec.Struct, frozen=True):
    """The origin of a file of scores; `model` is the digest of the model's files."""

    source: str
    model: str
    calendar: str


def length_of(interval: str) -> int:
    """The length of an interval in ns. Raises Failure."""
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
    given = np.array(names)[np.minimum(rows.source, len(names) - 1)]
    frame = pl.DataFrame({"ts": rows.ts, "symbol": symbols, **{n: getattr(rows, n) for n in (*PRICES, "volume")}})
    frame = frame.with_columns(pl.Series("source", given), pl.col("ts").cast(pl.Datetime("ns", "UTC")))
    return frame.sort("symbol", "ts", maintain_order=True)


def longer(frame: pl.DataFrame, every: str) -> pl.DataFrame:
    """Weeks or months of daily bars, each dated by its last session."""
    grouped = frame.with_columns(pl.col("ts").dt.truncate(every).alias("period")).group_by(
        "symbol", "period", maintain_order=True
    )
    made = grouped.agg(
        pl.col("ts").last(), pl.col("open").first(), pl.col("high").max(), pl.col("low").min(), pl.col("close").last(),
        pl.col("volume").sum(), pl.col("source").last(),
    )  # fmt: skip
    return made.select(frame.columns)


def is_text(file: Path) -> bool:
    """Whether a file of bars is CSV."""
    return file.suffix.lower() in {".csv", ".txt"}


def probed(bars: Path) -> None:
    """Read an unknown parquet file in a child process first. Raises FeedError."""
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
