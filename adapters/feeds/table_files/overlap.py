"""Rows that a table has twice, and bars that several tables have: equal ones count once, and of differing bars a person
chooses the table."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import BARS
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.roles import Roles, is_unnamed
from quantd.adapters.feeds.table_files.side_by_side import RawTable


class OverlapError(FeedError):
    """Several files have bars of one symbol and time with different values, and no option says which of them count."""


_KEY = ("symbol", "ts")


def without_repeats(raw: RawTable, roles: Roles) -> RawTable:
    """Return a table without the rows that equal an earlier one in every field but a row number."""
    key = [name for name in (roles.time, roles.clock, roles.symbol) if name]
    if raw.frame.select(key).n_unique() == len(raw.frame):
        return raw
    fields = pl.struct(name for name in raw.frame.columns if not is_unnamed(name) or name in key)
    first = raw.frame.select(fields.is_first_distinct()).to_series()
    left_out = [(line, "it repeats an earlier row") for line in raw.lines.filter(~first).to_list()]
    return raw._replace(
        frame=raw.frame.filter(first), lines=raw.lines.filter(first), left_out=(*raw.left_out, *left_out)
    )


def without_overlap(
    frame: pl.DataFrame, lengths: Sequence[int], names: Sequence[str], overlap: str
) -> tuple[pl.Series, str]:
    """Return the rows of joined tables that count, and a note on the bars that several tables have; "" without any.

    `lengths` and `names` are of the tables, `overlap` is "first", "last" or empty. Raises FeedError for values that
    differ, with one pair of them, where `overlap` is empty. A bar that one table has twice stays twice.
    """
    source = pl.Series("source", np.repeat(np.arange(len(lengths)), lengths))
    rows = frame.with_columns(source).with_row_index("row")
    shared = rows.filter((pl.col("source").n_unique().over(_KEY) > 1) & pl.col("ts").is_not_null())
    if shared.is_empty():
        return rows["row"], ""
    values = [pl.col(name).cast(pl.Float64, strict=False) for name in BARS[2:]]
    differing = shared.filter(pl.any_horizontal((value.n_unique().over(_KEY) > 1).alias(name)
                                                for name, value in zip(BARS[2:], values, strict=True)))  # fmt: skip
    if len(differing) and not overlap:
        raise _differ(differing, names)
    chosen = pl.col("source").max() if overlap == "last" else pl.col("source").min()
    dropped = shared.filter(pl.col("source") != chosen.over(_KEY))["row"].to_numpy()
    which = f", those of the {overlap} file are taken" if len(differing) else ", with equal values"
    note = f"{shared.select(_KEY).n_unique():,} bars are in several files{which}"
    return pl.Series(np.delete(np.arange(len(frame)), dropped)), note


def _differ(differing: pl.DataFrame, names: Sequence[str]) -> OverlapError:
    """Return the error about bars of several tables with different values."""
    symbol, ts = differing.row(0, named=True)["symbol"], differing.row(0, named=True)["ts"]
    pair = differing.filter((pl.col("symbol") == symbol) & (pl.col("ts") == ts))
    first, other = pair.row(0, named=True), pair.row(-1, named=True)
    column = next((name for name in ("close", *BARS[2:]) if first[name] != other[name]), "close")
    more = differing.select(_KEY).n_unique() - 1
    return OverlapError(
        f"{names[first['source']]} and {names[other['source']]}",
        f"both have {symbol} at {ts}, with {column} {first[column]} and {other[column]}; "
        f"{more:,} more bars of several files differ",
        "Add --overlap first or --overlap last, for the bars of the first or of the last file",
    )
