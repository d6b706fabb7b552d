"""The bundled market and its actions, as Alpaca writes them."""

import polars as pl

from tests.support.command_line import ROOT
from tests.support.venues.alpaca_data import Bar


def days(symbol: str, first: int = 2019, last: int = 2019) -> list[Bar]:
    """Some years of the bundled market as Alpaca writes it."""
    frame = pl.read_parquet(ROOT / "data/us_daily.parquet")
    frame = frame.filter((pl.col("symbol") == symbol) & pl.col("ts").dt.year().is_between(first, last))
    return [
        (f"{ts:%Y-%m-%d}T05:00:00Z", *(repr(value) for value in values))  # type: ignore[misc]
        for ts, *values in frame.drop("symbol").iter_rows()
    ]


ACTIONS: dict[str, list[dict[str, object]]] = {
    "cash_dividends": [{"symbol": "SPY", "ex_date": "2019-03-15", "rate": 1.233, "process_date": "2019-04-30"}]
}
