"""Reads the file of a universe by date: one row for each time that an instrument is a member."""

from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import nanoseconds, table_of
from quantd.trading.display_text import some
from quantd.trading.instruments import Membership, MembershipsOverlap, Universe

COLUMNS: Final = ("symbol", "joined", "left")
FOREVER: Final = np.iinfo(np.int64).max


def read_membership(path: Path, universe: Universe) -> Membership:
    """Read the columns `symbol,joined,left`: a symbol is a member from the date `joined` until the day before `left`.

    With an empty `left` it stays a member. Rows of symbols outside the universe are ignored: an index may have had
    members without any bars. Raises FeedError with the line of a fault.

    A membership is (column of the universe, first date, date after the last one), dates in ns at 00:00 UTC; FOREVER is
    the end of a member that stays. Line 1 of the file is the header.
    """
    frame = table_of(path, COLUMNS).with_row_index("line", offset=2)
    member_rows = frame.with_columns(pl.col("symbol").cast(pl.String).str.strip_chars())
    member_rows = member_rows.filter(pl.col("symbol").is_in(universe.symbols))
    absent = [symbol for symbol in universe.symbols if symbol not in set(member_rows["symbol"])]
    if absent:
        remedy = "Add symbol,joined,left for each, or take them out of [universe] symbols"
        raise FeedError(path.name, f"no row of {some(absent)}", remedy)
    joined = nanoseconds(member_rows["joined"])
    blank = member_rows["left"].is_null() | (member_rows["left"].cast(pl.String).str.strip_chars() == "")
    ends = np.where(blank.to_numpy(), FOREVER, nanoseconds(member_rows["left"].cast(pl.String)))
    for line, first, last in zip(member_rows["line"], joined.tolist(), ends.tolist(), strict=True):
        if NO_STAMP in (first, last):
            raise FeedError(f"{path.name}:{line}", "a date cannot be read", "Write it as 2020-08-31")
        if last <= first:
            raise FeedError(
                f"{path.name}:{line}", "the symbol leaves before it joins", "Write a later date in column left"
            )
    columns = [universe.index[symbol] for symbol in member_rows["symbol"]]
    try:
        return Membership(list(zip(columns, joined.tolist(), ends.tolist(), strict=True)))
    except MembershipsOverlap as why:
        text = f"{universe.symbols[why.column]} has two rows that overlap"
        raise FeedError(path.name, text, "End the first membership before the second begins") from None
