"""What a stranger asks of quantd is what he gets: plain portfolios over the bundled bars, beside loops of his own.

    python -m tests.proofs.intent.strangers [PART-OF-A-NAME]

Each row is a backtest by `quantd.backtest` and an independent loop over the same bars: decisions at a close, fills at
the next open with the same costs, whole lots, numpy only. `gap` is the mean over samples of half the sum of
|held - asked| as shares of equity, cash included: asked are the target lots at the decision's prices, until the next
decision. `gain` is quantd's return over the loop's, and `traded` the same of the value of all fills. A gap beyond its
bound is divided into causes, the largest first: reasons of limits and ends of orders from the record of quantd, and two
that are inferred: `min_trade` (no order, too little for one) and `fee`. `not named` is the rest. Ends with 1 if the
rest of a row is above 1 %, or if a row without `min_trade` trades 5 % more or less than its loop.
"""

import sys
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl

import quantd
from quantd.trading.market import Bools, Floats
from tests.support.checkout import ROOT

FEE, SLIP = 1e-4, 2e-4
"""The default costs of [broker]: commission, and half the spread with slippage, as fractions of traded value."""
MIN_TRADE: Final = 0.005
"""The default of an agent's `min_trade`."""
FIXED, ROTATES, NAMED = 0.005, 0.025, 0.01
"""The largest gap of a fixed mix, of a rotation, and the largest part of any gap without a named cause."""

COLLAR: Final[dict[str, object]] = {"risk.collar": 0.05}
CASES: Final = {"": {}, "collar": COLLAR, "collar, any change": COLLAR | {"agents.policy.min_trade": 0.0}}
"""Settings of the rows; a row of any change trades what the loop trades."""
TRADED: Final = 0.05
"""By how much a row of any change may differ from the loop in the value of its fills."""

PRICES: Final = ("open", "high", "low", "close")
DAY: Final = timedelta(1)

FILE: Final = """
import numpy as np

month = None

def act(view):
    global month
    now = np.datetime64(view.time, "ns").astype("M8[M]")
    if now == month:
        return "hold"
    month = now
    best = np.argsort(np.prod(1.0 + view.returns(126), axis=0))[-3:]
    weights = np.zeros(len(view.prices))
    weights[best] = 1.0 / 3.0
    return weights
"""
"""A file of one's own: the three shares that rose most in half a year, chosen each month and held between."""

Decide = Callable[[Floats], Floats]
"""Closes float64[T, N] up to a decision -> weights float64[N]."""


class Bars(NamedTuple):
    """Bars of N symbols in the order of their names at T samples, with the size of a lot float64[N].

    `close` float64[T, N] are the last closes that are known at a sample, and `fill` the opens at which its orders fill.
    """

    frame: pl.DataFrame
    days: list[date]
    close: Floats
    fill: Floats
    lot: Floats


class Row(NamedTuple):
    """A stranger's wish: what he gives to `quantd.backtest`, and the same as a function of closes for the loop."""

    name: str
    bars: Bars
    cash: float
    every: str
    what: object
    params: dict[str, object] | None
    decide: Decide
    lookback: int
    bound: float
    settings: dict[str, object] = {}


class Found(NamedTuple):
    """The figures of a row; `causes` divides the gap where it is beyond its bound."""

    gap: float
    gain: float
    traded: float
    invested: tuple[float, float]
    orders: tuple[int, int]
    cut: int
    refused: int
    causes: dict[str, float]


def bars_of(file: str, symbols: list[str], start: str, end: str, scale: float = 1.0, beside: str = "") -> Bars:
    """Some bundled daily bars, those of coins in units of `scale` coins.

    With a share of the file `beside` the samples are its sessions, at which the coin's day before is the last known.
    """
    first, last = date.fromisoformat(start), date.fromisoformat(end)
    frame = pl.concat(
        pl.read_parquet(ROOT / "data" / name).select("ts", "symbol", *PRICES, "volume")
        for name in {file, beside} - {""}
    ).filter(pl.col("symbol").is_in(symbols))  # fmt: skip
    coin = pl.col("symbol").str.contains("-")
    scales = (*((name, scale) for name in PRICES), ("volume", 1.0 / scale))
    frame = frame.with_columns(pl.when(coin).then(pl.col(name) * by).otherwise(pl.col(name)) for name, by in scales)
    share = next((name for name in sorted(symbols) if "-" not in name), symbols[0])
    frame = frame.filter(
        pl.col("ts").dt.date().is_between(pl.when(coin & bool(beside)).then(first - DAY).otherwise(first), last)
    )
    days = frame.filter(pl.col("symbol") == share)["ts"].dt.date().sort().to_list()
    close, fill = np.zeros((len(days), len(symbols))), np.ones((len(days), len(symbols)))
    for k, name in enumerate(sorted(symbols)):
        of = frame.filter(pl.col("symbol") == name).sort("ts")
        dates, late = of["ts"].dt.date().to_list(), beside and "-" in name
        closes, opens = of["close"].to_list(), of["open"].to_list()
        for at, day in enumerate(days):
            known = bisect_right(dates, day - DAY if late else day) - 1
            close[at, k] = closes[known] if known >= 0 else 0.0
            fill[at, k] = opens[min(bisect_right(dates, day), len(dates) - 1)]
    return Bars(frame, days, close, fill, np.array([1e-8 if "-" in name else 1.0 for name in sorted(symbols)]))


def lots_of(weights: Floats, value: float, price: Floats, lot: Floats) -> Floats:
    """The units of whole lots for weights of `value`; none without a price (0)."""
    worth = np.divide(weights * value * (1.0 + 1e-12), price * lot, out=np.zeros_like(price), where=price > 0.0)
    return np.trunc(worth) * lot


def fixed(*weights: float) -> Decide:
    return lambda closes: np.array(weights)


def top_three(closes: Floats) -> Floats:
    weights = np.zeros(closes.shape[1])
    weights[np.argsort(closes[-1] / closes[-127])[-3:]] = 1.0 / 3.0
    return weights


def calm(closes: Floats) -> Floats:
    parts = 1.0 / np.std(closes[-63:] / closes[-64:-1] - 1.0, axis=0, ddof=1)
    return np.asarray(parts / parts.sum())


def due(days: list[date], every: str, first: int) -> Bools:
    """bool[T]: the first decision, and then each day, the first from Friday on, or the first of a month."""
    period = {"day": lambda day: day, "week": lambda day: (day.toordinal() - 5) // 7, "month": lambda day: day.month}
    keys = [period[every](day) for day in days]
    return np.array([at == first or (at > first and keys[at] != keys[at - 1]) for at in range(len(days))])


def loop(row: Row) -> tuple[Floats, Floats, int, float]:
    """A stranger's own loop: equity float64[T], exposure over equity float64[T], the number of orders, and the value
    that they traded."""
    bars, cash, orders, traded, values, used = row.bars, row.cash, 0, 0.0, [], []
    held, dates = np.zeros(bars.close.shape[1]), due(row.bars.days, row.every, row.lookback)
    for at in range(row.lookback, len(bars.days)):
        value = cash + held @ bars.close[at]
        values.append(value)
        used.append(held @ bars.close[at] / value)
        if dates[at]:
            change = lots_of(row.decide(bars.close[: at + 1]), value, bars.close[at], bars.lot) - held
            paid = change @ (bars.fill[at] * (1.0 + SLIP * np.sign(change)))
            value = float(np.abs(change) @ bars.fill[at])
            cash, traded = cash - paid - FEE * value, traded + value
            held, orders = held + change, orders + np.count_nonzero(change)
    return np.array(values), np.array(used), orders, traded


def found(row: Row, folder: Path) -> Found:
    """Run a row both ways, and compare what is held with what was asked."""
    settings = {"quantd.state": str(folder / "state"), "broker.cash": f"{row.cash:.0f}", **row.settings}
    if row.every != "day" and not str(row.what).endswith(":act"):
        settings["agents.policy.rebalance"] = {"when": "calendar", "every": row.every}
    result = quantd.backtest(row.what, row.bars.frame, settings, params=row.params, adjusted=True, compare=False)
    bars, first = row.bars, row.lookback
    equity, close = result.equity["equity"].to_numpy(), bars.close[first:]
    assert len(equity) == len(close), f"{row.name}: {len(equity)} samples, not {len(close)}"
    held, asked = held_lots(result, row), np.zeros_like(close)
    dates = due(bars.days, row.every, first)[first:]
    for at in range(len(close)):
        if at:
            asked[at] = asked[at - 1]
        if at and dates[at - 1]:
            asked[at] = lots_of(row.decide(bars.close[: first + at]), equity[at - 1], close[at - 1], bars.lot)
    lacks = (asked - held) * close / equity[:, None]
    gaps = 0.5 * (np.abs(lacks).sum(axis=1) + np.abs(lacks.sum(axis=1)))
    values, used, orders, traded = loop(row)
    gap = float(gaps.mean())
    return Found(
        gap, float((equity[-1] / row.cash - 1.0) / (values[-1] / row.cash - 1.0)),
        float((result.fills["quantity"] * result.fills["price"]).sum()) / traded,
        (float(np.mean((held * close).sum(axis=1)[4:] / equity[4:])), float(np.mean(used[4:]))),
        (result.summary.orders, orders), result.summary.clipped, result.summary.refused,
        causes_of(result, row, lacks, dates, gap) if gap > row.bound else {},
    )  # fmt: skip


def held_lots(result: quantd.Backtest, row: Row) -> Floats:
    """float64[T, N]: the units that the fills of a result left at each sample."""
    symbols = sorted(row.bars.frame["symbol"].unique())
    samples = result.equity["ts"].to_numpy()
    held = np.zeros((len(samples), len(symbols)))
    for ts, symbol, side, quantity in result.fills.select("ts", "symbol", "side", "quantity").iter_rows():
        after = np.searchsorted(samples, np.datetime64(ts.replace(tzinfo=None), "ns"))
        held[after:, symbols.index(symbol)] += quantity if side == "buy" else -quantity
    return held


def causes_of(result: quantd.Backtest, row: Row, lacks: Floats, dates: Bools, gap: float) -> dict[str, float]:
    """The gap by the cause that the newest plan since the decision names for each symbol; `not named` without one."""
    samples, parts = result.equity["ts"].to_list(), Counter[str]()
    reasons = {(d["ts"], d["symbol"]): d["reason"] for d in result.decisions.iter_rows(named=True) if d["reason"]}
    orders = {(o["ts"], o["symbol"]): o for o in result.orders.iter_rows(named=True)}
    named: dict[int, str] = {}
    for at in range(1, len(samples)):
        if dates[at - 1]:
            named = {}
        for k, symbol in enumerate(sorted(row.bars.frame["symbol"].unique())):
            key, lack = (samples[at - 1], symbol), abs(lacks[at, k])
            order = orders.get(key)
            if reasons.get(key):
                named[k] = reasons[key]
            elif order is not None and order["filled"] < order["quantity"]:
                named[k] = order["state"]
            elif order is None and dates[at - 1] and lack < 1.2 * MIN_TRADE:
                named[k] = "min_trade"
            parts["fee" if k not in named and lack < 2.0 * FEE else named.get(k, "not named")] += lack
    total = sum(parts.values())
    return {name: gap * part / total for name, part in parts.most_common() if part > 0.0}


def rows(folder: Path) -> Iterator[Row]:
    """The table."""
    (folder / "mine.py").write_text(FILE)
    wide = pl.read_parquet(ROOT / "data" / "us20_daily.parquet")["symbol"].unique().to_list()
    twenty = bars_of("us20_daily.parquet", wide, "2015-01-02", "2021-03-31")
    three = bars_of("us20_daily.parquet", ["JNJ", "KO", "XOM"], "2015-01-02", "2021-03-31")
    mix = {"weights": {"JNJ": 0.4, "KO": 0.3, "XOM": 0.3}}
    for cash in (1_500.0, 1e5, 5e7):
        for every in ("day", "week", "month"):
            for case, settings in CASES.items() if cash == 1e5 else [("collar", CASES["collar"])]:
                end = (f"{every}, {cash:,.0f}{', ' if case else ''}{case}", cash, every)
                for name, bars, what, params, decide, lookback, bound in (
                    ("40/30/30", three, "fixed_mix", mix, fixed(0.4, 0.3, 0.3), 0, FIXED),
                    ("20 equal", twenty, "equal_weight", None, fixed(*[0.05] * 20), 0, FIXED),
                    ("inverse volatility", twenty, "inverse_volatility", None, calm, 63, ROTATES),
                    ("top 3", twenty, Top(), None, top_three, 126, ROTATES),
                ):
                    yield Row(
                        f"{name}, {end[0]}", bars, end[1], end[2], what, params, decide, lookback, bound, settings
                    )
        yield Row(
            f"own file that holds between, month, {cash:,.0f}, collar", twenty, cash, "month", f"{folder}/mine.py:act",
            None, top_three, 126, ROTATES, COLLAR,
        )  # fmt: skip
    pair, until = ["BTC-USD", "SPY"], "2021-03-31"
    coin = bars_of("crypto_daily.parquet", pair, "2015-01-02", until, beside="us_daily.parquet")
    gaps = bars_of("seed4_daily.parquet", pair, "2015-01-02", until, beside="seed4_daily.parquet")
    cheap = bars_of("crypto_daily.parquet", ["BTC-USD", "ETH-USD"], "2018-01-01", until, 1e-7)
    for name, bars, weights in (
        ("share beside a coin", coin, (0.4, 0.6)), ("coin without weekends", gaps, (0.4, 0.6)),
        ("cheap coins", cheap, (0.5, 0.5)),
    ):  # fmt: skip
        params = {"weights": dict(zip(sorted(bars.frame["symbol"].unique()), weights, strict=True))}
        yield Row(f"{name}, month", bars, 1e5, "month", "fixed_mix", params, fixed(*weights), 0, FIXED)


class Top:
    """The three shares that rose most, as a policy of a notebook that answers at every sample."""

    lookback = 126

    def act(self, view: Any) -> Floats:
        return top_three(np.vstack([np.ones(len(view.prices)), np.cumprod(1.0 + view.returns(126), axis=0)]))


def line(row: Row, figures: Found) -> str:
    """The text of a row."""
    causes = ", ".join(f"{name} {part:.2%}" for name, part in figures.causes.items())
    return (
        f"{row.name:55s}{figures.gap:7.2%}{figures.gain:8.1%}{figures.traded:8.1%}"
        f"{figures.invested[0]:8.1%} ({figures.invested[1]:.1%})"
        f"{figures.orders[0]:8,} ({figures.orders[1]:,}){figures.cut:6,}{figures.refused:6,}  {causes}"
    )


def main() -> int:
    part, poor = sys.argv[1] if len(sys.argv) > 1 else "", 0
    print(
        f"{'':55s}{'gap':>7s}{'gain':>8s}{'traded':>8s}  invested (loop), orders (loop), cut, refused, "
        "causes of a gap beyond bound"
    )
    with tempfile.TemporaryDirectory() as name:
        for row in rows(Path(name)):
            if part in row.name:
                figures = found(row, Path(name))
                poor += figures.causes.get("not named", 0.0) > NAMED
                poor += "any change" in row.name and abs(figures.traded - 1.0) > TRADED
                print(line(row, figures), flush=True)
    return 1 if poor else 0


if __name__ == "__main__":
    sys.exit(main())
