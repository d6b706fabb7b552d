"""Reads a format of the corpus as a user does, and compares its bars with the expected ones."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from quantd.adapters.feeds.bars.rows import PRICES
from quantd.adapters.feeds.bars.stamps import CLOCKS
from quantd.adapters.feeds.recorded.bar_files import nanoseconds
from quantd.adapters.feeds.table_files.moments import clock_of
from quantd.adapters.feeds.table_files.reader import ReadOptions, Table, read_tables
from quantd.trading.instruments import NANO
from tests.adapters.feeds.table_files.recorded_tables import EXPECTED, FORMATS, Format

SECONDS = {"1m": 60, "5m": 300, "1h": 3_600, "1d": 86_400}


def asked_of(options: Sequence[str]) -> ReadOptions:
    """What the options of `quantd data import` say."""
    said: dict[str, str] = {}
    columns: dict[str, str] = {}
    for option, value in zip(options[::2], options[1::2], strict=True):
        if option == "--column":
            role, _, name = value.partition("=")
            columns[role] = name
        elif option != "--stamps":
            said[option.removeprefix("--")] = value
    return ReadOptions(**said, columns=columns)  # type: ignore[arg-type]


def read(entry: Format, path: Path | None = None) -> Table:
    return read_tables(path or FORMATS / entry.path, asked_of(entry.options))


def dates_of(stamps: pl.Series) -> pl.Series:
    """The session dates of stamps: a date, or the date at the clock of an exchange that it is midnight of."""
    if stamps.dtype == pl.Date:
        return stamps
    zone = clock_of(stamps, CLOCKS) if stamps.dtype.time_zone else ""  # type: ignore[attr-defined]
    return (stamps.dt.convert_time_zone(zone) if zone else stamps).dt.date()


def differences(entry: Format, table: Table) -> list[str]:
    """What a table has otherwise than the expected bars; none where it is read as meant."""
    spelled = dict(zip(entry.names, entry.symbols, strict=True))
    frame = table.frame.with_columns(pl.Series("ts", _ts(entry, table.frame["ts"])))
    frame = frame.filter(
        ~pl.all_horizontal(pl.col(name).cast(pl.Float64, strict=False).fill_nan(None).is_null() for name in PRICES)
    )
    expected = pl.read_csv(EXPECTED / f"{entry.bars}.csv", infer_schema=False)
    expected = expected.filter(pl.col("symbol").is_in(entry.symbols))
    wrong = []
    for name, symbol in spelled.items():
        mine = frame.filter(pl.col("symbol") == name).sort("ts")
        true = expected.filter(pl.col("symbol") == symbol).sort("ts")
        true_ts = pl.Series(nanoseconds(true["ts"]))
        missing = sorted(set(true_ts.to_list()) - set(mine["ts"].to_list()))
        if len(mine) != len(true) - len(missing) or len(missing) > 2:
            wrong.append(f"{name}: {len(mine)} bars for {len(true)}, symbols {frame['symbol'].unique().to_list()[:4]}")
            continue
        true = true.filter(true_ts.is_in(mine["ts"].to_list()))
        for column in (*PRICES, "volume"):
            if column == "volume" and entry.volume == "none":
                continue
            decimals = entry.decimals if column != "volume" else 0
            close = 0.5 * 10.0**-decimals + 1e-9 if column != "volume" else 1e-9
            a, b = (side[column].cast(pl.Float64, strict=False) for side in (mine, true))
            relative = 0.02 if column == "volume" and entry.volume == "rounded" else 1e-9
            off = ((a - b).abs() > close + relative * b.abs()).fill_null(value=True)
            if off.any():
                k = int(off.arg_max() or 0)
                wrong.append(f"{name} {column}: {a[k]} for {b[k]}, {off.sum()} of {len(b)}")
    listed = [",".join("" if field is None else field for field in row) for row in table.actions.iter_rows()]
    named = [kind for kind in ("splits", "dividends") if f"{kind}: column" in table.statements[0].actions]
    unused = table.statements[0].actions.count("not used")
    if (entry.actions and not named) or (not unused and sorted(listed) != sorted(entry.actions)):
        wrong.append(f"actions {listed} for {list(entry.actions)}")
    return wrong


def _ts(entry: Format, stamps: pl.Series) -> pl.Series:
    """The opens of bars in ns UTC, or the dates of sessions at midnight UTC."""
    if entry.interval == "1d":
        return pl.Series(nanoseconds(dates_of(stamps)))
    shift = SECONDS[entry.interval] * NANO if entry.stamps == "close" else 0
    return pl.Series(nanoseconds(stamps)) - shift
