"""Creates the files under data/: bars copied or cut from their sources, price factors converted to actions.

    python scripts/data/make_data.py SOURCE data/

SOURCE is a folder with the files named in data/README.md. The result is independent of machine and date.
"""

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl

from quantd.adapters.calendars import sessions

COPIED = {
    "us_daily_raw.parquet": "us_daily.parquet",
    "crypto_daily.parquet": "crypto_daily.parquet",
    "vix_daily.parquet": "vix_daily.parquet",
    "seed4_daily.parquet": "seed4_daily.parquet",
}


def actions_from_factors(factors: pl.DataFrame) -> pl.DataFrame:
    """Convert price and split factors to splits and dividends, one row per ex date and kind.

    A row of factors is valid up to and including its date; the next session is the ex date. The split ratio there is
    next split factor / this one. The dividend per share before the split is reference price x (1 - price factor / next
    price factor). The factors after the last row are 1. They have seven digits, so that a dividend is accurate to about
    3e-5 and is rounded to 1e-4.
    """
    first, last = factors["ts"].dt.date().min(), factors["ts"].dt.date().max()
    calendar = sessions("XNYS", first, last.replace(year=last.year + 1))
    rows = []
    for (symbol,), group in factors.sort("symbol", "ts").group_by("symbol", maintain_order=True):
        stamps = group["ts"].dt.epoch("ns").to_list()
        price, split = [*group["price_factor"].to_list(), 1.0], [*group["split_factor"].to_list(), 1.0]
        for k, (stamp, reference) in enumerate(zip(stamps, group["reference_price"].to_list(), strict=True)):
            ex_date = calendar.day_ns[int(np.searchsorted(calendar.days, stamp, side="right"))]
            cash = round(reference * (1 - price[k] / price[k + 1]), 4)
            if cash > 0:
                rows.append((ex_date, symbol, "dividend", None, f"{cash:.4f}"))
            ratio = split[k + 1] / split[k]
            exact = Fraction(ratio).limit_denominator(20)
            if abs(ratio / exact - 1) > 1e-4:
                raise ValueError(f"{symbol}: a split of {ratio} is no small fraction")
            if exact != 1:
                rows.append((ex_date, symbol, "split", f"{exact.numerator}:{exact.denominator}", None))
    frame = pl.DataFrame(rows, schema=["ts", "symbol", "kind", "ratio", "cash"], orient="row")
    return frame.with_columns(pl.from_epoch("ts", "ns").dt.replace_time_zone("UTC")).sort("symbol", "ts", "kind")


def actions_from_dividends(dividends: pl.DataFrame, symbols: list[str]) -> pl.DataFrame:
    """Convert dividends listed by ex date to actions, from the first bar of seed4_daily on."""
    chosen = dividends.filter(pl.col("symbol").is_in(symbols) & (pl.col("ts").dt.year() >= 2014)).sort("symbol", "ts")
    nothing = pl.lit(None, pl.String).alias("ratio")
    cash = pl.col("dividend").round(6).cast(pl.Decimal(18, 6)).cast(pl.String).alias("cash")
    return chosen.select("ts", "symbol", pl.lit("dividend").alias("kind"), nothing, cash)


TWENTY = (
    "AAPL", "AMZN", "BA", "BAC", "COST", "CVX", "GS", "HD", "JNJ", "KO",
    "MRK", "MSFT", "NEE", "PEP", "PFE", "PG", "UPS", "VZ", "WMT", "XOM",
)  # fmt: skip


def twenty(stocks: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return (bars, dividends) of twenty stocks from 2004 on.

    A dividend is the loss of the adjusted close against the close on its ex date, times the previous close. Values
    below 0.02 % are rounding errors.
    """
    chosen = stocks.filter(pl.col("symbol").is_in(TWENTY) & (pl.col("ts").dt.year() >= 2004)).sort("symbol", "ts")
    bars = chosen.select("ts", "symbol", *(pl.col(c).round(4) for c in ("open", "high", "low", "close")), "volume")
    factor = pl.col("adj_close") / pl.col("close")
    lost = (1.0 - factor.shift(1).over("symbol") / factor).alias("lost")
    before = pl.col("close").shift(1).over("symbol").alias("before")
    paid = chosen.with_columns(lost, before).filter(pl.col("lost") > 2e-4)
    cash = (pl.col("lost") * pl.col("before")).round(4).cast(pl.Decimal(18, 4)).cast(pl.String).alias("cash")
    nothing = pl.lit(None, pl.String).alias("ratio")
    return bars, paid.select("ts", "symbol", pl.lit("dividend").alias("kind"), nothing, cash)


def main(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name, ours in COPIED.items():
        (target / ours).write_bytes((source / name).read_bytes())
    actions = actions_from_factors(pl.read_parquet(source / "us_daily_raw_factors.parquet"))
    actions.write_csv(target / "us_actions.csv", datetime_format="%Y-%m-%d")
    seed4 = actions_from_dividends(pl.read_parquet(source / "etf_dividends.parquet"), ["SPY", "TLT", "GLD"])
    seed4.write_csv(target / "seed4_actions.csv", datetime_format="%Y-%m-%d")
    bars, dividends = twenty(pl.read_parquet(source / "us_stocks_daily.parquet"))
    bars.write_parquet(target / "us20_daily.parquet", compression="zstd", compression_level=19)
    dividends.write_csv(target / "us20_actions.csv", datetime_format="%Y-%m-%d")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
