"""Reads daily bars and their corporate actions from files into a panel."""

import io
from collections.abc import Callable, Sequence
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from quantd.models.history.panel import MacroSource, Panel, SeriesSource
from quantd.models.history.series_files import macro_at, series_at
from quantd.models.history.splits import DAY_NS
from quantd.trading.cash_rate import CashRate, CashRateError, constant, parsed
from quantd.trading.display_text import fields_of, mended, some
from quantd.trading.instruments import calendar_of
from quantd.trading.market import Bools, Floats

RequireSound = Callable[[Path, Path | None, Sequence[str], date, date], None]
"""Checks the bars of a file with its actions: (bars, actions, symbols, first date, last date). Raises for a fault."""

_STAMP: Final = pl.Datetime("us", "UTC")


def read_panel(
    bars: Path,
    actions: Path | None,
    symbols: Sequence[str],
    first: date,
    last: date,
    cash_rate: float | str | None = None,
    sources: Sequence[MacroSource] = (),
) -> Panel:
    """Read sessions of `symbols` from `first` to `last` inclusive, in the given column order; nothing later is read.

    `bars` is parquet or CSV with ts (the session's date), symbol, open and close, unadjusted. `actions` is CSV with ts
    (the ex date), symbol, kind ("split" with ratio "new:old", or "dividend" with cash per old share). Actions outside
    the sessions are omitted. Bars before the last gap of a symbol are omitted too, because a panel has no holes
    (missing bars), and none is filled. `cash_rate` is a number or the path of a series (CSV: date, rate). High, low and
    volume are read if the file has them, and so are the series in `sources`. Raises ValueError for a symbol without
    bars or an invalid series.
    """
    table = _between(scan(bars), first, last, symbols).collect()
    missing = set(symbols) - set(table["symbol"].unique())
    if missing:
        raise ValueError(f"{bars}: no bars of {', '.join(sorted(missing))} between {first} and {last}")
    coins = frozenset(symbol for symbol in symbols if calendar_of(symbol) == "24/7")
    # coins trade every day: beside shares, their bar of a session is not complete at its close
    late = coins if len(coins) < len(symbols) else frozenset[str]()
    every_day = table.filter(pl.col("symbol").is_in(list(late)))
    table = _by_session(table, late) if late else table
    days = table["ts"].unique().sort()
    row_of = {ts: k for k, ts in enumerate(days)}
    column_of = {symbol: k for k, symbol in enumerate(symbols)}
    shape = (len(days), len(symbols))
    opens, closes = np.full(shape, np.nan), np.full(shape, np.nan)
    rows = np.array([row_of[ts] for ts in table["ts"]])
    columns = np.array([column_of[s] for s in table["symbol"]])
    opens[rows, columns] = table["open"].to_numpy()
    closes[rows, columns] = table["close"].to_numpy()
    # reversed, so that each row before a gap is marked, and the gap itself
    gap_follows = np.logical_or.accumulate((~np.isfinite(opens + closes))[::-1])[::-1]
    opens[gap_follows] = closes[gap_follows] = np.nan
    further_fields: dict[str, Floats] = {}
    for name in ("high", "low", "volume"):
        if name in table.columns:
            further_fields[name] = np.full(shape, np.nan)
            further_fields[name][rows, columns] = table[name].to_numpy()
            further_fields[name][gap_follows] = np.nan
    split, cash = _actions_at(actions, bars, days, symbols, first, last)
    day_ns = days.dt.timestamp("ns").to_numpy().astype(np.int64)
    fields_by_date = {"open": opens, "close": closes, **further_fields}
    known_bars, idle = _coins(every_day, days, symbols, fields_by_date) if late else (dict[str, Floats](), None)
    per_symbol = [source for source in sources if isinstance(source, SeriesSource)]
    macro = {source.name: macro_at(day_ns, source, symbols) for source in sources if source not in per_symbol}
    series = {source.name: series_at(day_ns, source, symbols) for source in per_symbol}
    return Panel(
        tuple(symbols), day_ns, opens, closes, split, cash, late, known_bars, idle, rate_of(cash_rate), further_fields,
        macro, series,
    )  # fmt: skip


def _actions_at(
    actions: Path | None, bars: Path, days: pl.Series, symbols: Sequence[str], first: date, last: date
) -> tuple[Floats, Floats]:
    """Return (split, cash), float64[T, N] each: new shares per old share, and cash per old share; 1 and 0 without an
    action.

    Raises ValueError for an action on a day within `days` that has no bar.
    """
    shape = (len(days), len(symbols))
    split, cash = np.ones(shape), np.zeros(shape)
    if actions is None:
        return split, cash
    kinds = {"ts": pl.Date, "symbol": pl.String, "kind": pl.String, "ratio": pl.String, "cash": pl.Float64}
    listed_actions = _between(pl.scan_csv(_evenly_quoted(actions), schema=kinds), first, last, symbols).collect()
    row_of_day = {ts.date(): k for k, ts in enumerate(days)}
    column_of = {symbol: k for k, symbol in enumerate(symbols)}
    for action in listed_actions.iter_rows(named=True):
        row_of_action = row_of_day.get(action["ts"])
        if row_of_action is None:
            if not days[0].date() <= action["ts"] <= days[-1].date():
                continue
            raise ValueError(
                f"{actions}: {action['symbol']} has an action on {action['ts']}, and {bars} has no bar of that day; "
                "correct the date, or name the actions of these bars"
            )
        column = column_of[action["symbol"]]
        if action["kind"] == "split":
            new, old = (float(part) for part in action["ratio"].split(":"))
            split[row_of_action, column] *= new / old
        else:
            cash[row_of_action, column] += action["cash"]
    return split, cash


def _by_session(table: pl.DataFrame, late: frozenset[str]) -> pl.DataFrame:
    """Return the bars with one bar of each coin for each session of the shares.

    This bar is merged from the coin's daily bars since the previous session. A coin without a bar on the date of a
    session gets no bar for it.
    """
    is_coin = pl.col("symbol").is_in(list(late))
    merged = _merged(table.filter(is_coin), table.filter(~is_coin)["ts"].unique().sort())
    merged = merged.filter(pl.col("ts") == pl.col("session")).drop("session")
    return pl.concat([table.filter(~is_coin).select(merged.columns), merged])


def _merged(coins: pl.DataFrame, days: pl.Series, delay: int = 0) -> pl.DataFrame:
    """Return one bar of each coin for each of `days`, in the column `session`, merged from several daily bars.

    A daily bar belongs to the first session on or after its date plus `delay` days. `ts` is the date of the last daily
    bar. A session to which no bar belongs is absent.
    """
    sessions = days.to_frame("session").with_columns(at=pl.col("session"))
    rows = coins.with_columns(at=pl.col("ts").dt.offset_by(f"{delay}d")).sort("at")
    rows = rows.join_asof(sessions, on="at", strategy="forward").drop_nulls("session")
    aggregates = {"open": pl.col("open").first(), "high": pl.col("high").max(), "low": pl.col("low").min(),
             "close": pl.col("close").last(), "volume": pl.col("volume").sum()}  # fmt: skip
    aggregates = {name: aggregate for name, aggregate in aggregates.items() if name in rows.columns}
    merged = rows.group_by("session", "symbol", maintain_order=True).agg(pl.col("ts").last(), *aggregates.values())
    return merged.select("ts", "symbol", *aggregates, "session")


def _coins(
    every_day: pl.DataFrame, days: pl.Series, symbols: Sequence[str], fields: dict[str, Floats]
) -> tuple[dict[str, Floats], Bools]:
    """Return `known_bars` and `idle` of a panel. In `fields`, the coins' bars are in the rows of their own dates.

    `every_day` has the daily bars of the coins. `known_bars` are the bars as known at the decision of each row: at the
    close of New York the newest complete bar of a coin is from the day before. `idle` bool[T, N] is True where an order
    of the row before could not fill.
    """
    known_bars = {name: values.copy() for name, values in fields.items()}
    idle = np.zeros(known_bars["close"].shape, dtype=np.bool_)
    session_dates = days.dt.date().to_numpy().astype("datetime64[D]")
    day = np.timedelta64(1, "D")
    # 1: a day late, as the newest complete bar at a session is that of the day before
    merged = _merged(every_day, days, 1)
    for (symbol,), bars in every_day.sort("ts").group_by("symbol"):
        column = symbols.index(str(symbol))
        coin_bars = merged.filter(pl.col("symbol") == symbol)
        rows = days.search_sorted(coin_bars["session"]).to_numpy()
        holes = np.ones(len(session_dates), dtype=np.bool_)
        holes[rows] = False
        # bars before the last hole are omitted, as for every symbol
        first_complete = np.flatnonzero(holes)[-1] + 1 if holes.any() else 0
        for name, values in known_bars.items():
            values[:, column] = np.nan
            values[rows, column] = coin_bars[name].to_numpy()
            values[:first_complete, column] = np.nan
        bar_dates = bars["ts"].dt.date().to_numpy().astype("datetime64[D]")
        newest = np.searchsorted(bar_dates, session_dates) - 1
        last_close = np.where(newest >= 0, bars["close"].to_numpy()[np.maximum(newest, 0)], np.nan)
        known_bars["close"][:, column] = last_close
        # an order needs a bar of the day before its close, for a fresh price, and one of the day after, to fill
        trades = np.isin(session_dates - day, bar_dates) & np.isin(session_dates + day, bar_dates)
        idle[1:, column] = ~trades[:-1]
    return known_bars, idle


def rate_of(rate: float | str | None) -> CashRate | None:
    """Convert a number or the path of a rate file to a CashRate; None stays None.

    Raises CashRateError for an unreadable file, and for a rate outside its bounds.
    """
    if not isinstance(rate, str):
        return None if rate is None else constant(rate)
    try:
        return parsed(Path(rate).read_text(encoding="utf-8"), Path(rate).name)
    except (OSError, UnicodeDecodeError) as error:
        raise CashRateError(rate, f"it cannot be read ({error})", "Name a text file of date,rate") from None


def scan(bars: Path) -> pl.LazyFrame:
    """Scan daily bars from parquet or CSV, by suffix, with `ts` as the session's date in UTC.

    Raises ValueError for an unreadable file, and for a missing column.
    """
    is_text = bars.suffix.lower() in {".csv", ".txt"}
    kinds = {
        "ts": pl.String,
        "symbol": pl.String,
        **dict.fromkeys(("open", "high", "low", "close", "volume"), pl.Float64),
    }
    try:
        frame = pl.scan_csv(_evenly_quoted(bars), schema_overrides=kinds) if is_text else pl.scan_parquet(bars)
        schema = frame.collect_schema()
        if missing := [name for name in ("ts", "symbol", "open", "close") if name not in schema]:
            remedy = f"`quantd data import {bars}` makes bars of any table"
            raise ValueError(f"{bars}: no daily bars: column {missing[0]} is missing; {remedy}")
        if not is_text:
            return frame.with_columns(pl.col("ts").cast(_STAMP)) if schema["ts"] == pl.Date else frame
        days = pl.col("ts").str.strip_chars().str.slice(0, 10).str.to_date("%Y-%m-%d")
        return frame.with_columns(days.cast(_STAMP), pl.col("symbol").str.strip_chars()).collect().lazy()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(f"{bars}: no daily bars: {str(error).splitlines()[0][:120]}") from None


def _evenly_quoted(path: Path) -> Path | io.BytesIO:
    """Return a CSV file, or its text with proper quotes where a field has another quote, such as an inch mark."""
    data = path.read_bytes()
    if b'"' not in data:
        return path
    header = data.partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
    return io.BytesIO(mended(data, ",", len(fields_of(header, ","))))


def dates(bars: Path, symbols: Sequence[str]) -> tuple[date, date]:
    """Return the first and the last date with bars of every symbol.

    Raises ValueError where the bars cannot be read, or a symbol has none.
    """
    by_symbol = scan(bars).filter(pl.col("symbol").is_in(list(symbols))).group_by("symbol")
    spans = by_symbol.agg(pl.col("ts").min().alias("first"), pl.col("ts").max().alias("last")).collect()
    if missing := sorted(set(symbols) - set(spans["symbol"])):
        raise ValueError(f"{bars}: no bars of {', '.join(missing)}; it has {some(symbols_of(bars))}")
    return max(spans["first"]).date(), min(spans["last"]).date()


def symbols_of(bars: Path) -> list[str]:
    """Return the symbols of a file of bars, by name. Raises ValueError where the bars cannot be read."""
    return (
        scan(bars).select(pl.col("symbol").cast(pl.String).unique().sort()).collect()["symbol"].drop_nulls().to_list()
    )


def sessions(bars: Path, symbols: Sequence[str]) -> NDArray[np.int64]:
    """Return the dates with bars of any symbol, int64[T] in ns.

    Raises ValueError where the bars cannot be read, or are shorter than a day.
    """
    days = scan(bars).filter(pl.col("symbol").is_in(list(symbols))).select(pl.col("ts").unique().sort()).collect()
    dates_ns: NDArray[np.int64] = days["ts"].dt.timestamp("ns").to_numpy().astype(np.int64)
    if len(dates_ns) >= 2 * len(np.unique(dates_ns // DAY_NS)) > 0:
        raise ValueError(f"{bars}: its bars are shorter than a day; a policy is trained on daily bars")
    return dates_ns


def _between(frame: pl.LazyFrame, first: date, last: date, symbols: Sequence[str]) -> pl.LazyFrame:
    """Return the rows of the symbols on the dates from `first` to `last`."""
    return frame.filter(pl.col("symbol").is_in(list(symbols)) & pl.col("ts").cast(pl.Date).is_between(first, last))


def file_digest(path: Path) -> str:
    """Return the hex BLAKE2b of a file's bytes."""
    return blake2b(path.read_bytes(), digest_size=32).hexdigest()
