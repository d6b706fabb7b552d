"""A sweep beside vectorbt and backtrader: one rule at many lookbacks, on the same bars, in one run.

    python -m benchmarks.peers.sweep [--points 1000] [--rounds 5] [--symbols 20] [--sessions 5000] [--daily]

The rule: on the third Wednesday of a month, or every day, own each symbol whose price has risen over the lookback, in
equal parts.
Decisions at a close fill at the next open, in whole shares, at 2 bp of costs. quantd runs `quantd sweep`'s own code:
its configuration is parsed for each point, every order passes the gate, and each point has its metrics. vectorbt gets
the weights of all points as arrays, in parts that fit into memory, and computes Sharpe ratio, return and drawdown.
quantd and vectorbt take equal parts of the points in turn, one part a round; the ratios are by round. backtrader runs
BACKTRADER points at the end; its time is scaled to all. Times are CPU seconds, without loading.
"""

import argparse
import datetime as dt
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[threads] = "1"  # before numpy is imported

import numpy as np  # noqa: E402

ROOT: Final = Path(__file__).resolve().parents[2]
PEERS: Final = ROOT / ".venv-peers" / "bin" / "python"
BACKTRADER: Final = 2
"""Points that backtrader runs."""

PART: Final = 50
"""Points of vectorbt at a time: 5,000 x 20 x 50 numbers are 40 MB an array."""

FIRST: Final = 21
"""The shortest lookback; each point has one more."""

CASH: Final = 10_000_000.0

YEAR: Final = 252
"""Sessions a year of both Sharpe ratios."""

RISK_FREE: Final = 0.02
"""A year, without `cash_rate`; vectorbt's default is 0, and 365 periods a year."""

TEXT: Final = """
[universe]
symbols = {symbols}
[feed]
path = "bars.parquet"
stamps = "session"
warmup = 0
[broker]
cash = "10000000"
commission_bp = 1.0
slippage_bp = 1.0
spread_bp = 0.0
participation = 0.0
[risk]
profile = "research"
[[agents]]
name = "rule"
policy = "momentum"
capital = 1.0
profile = "research"
min_trade = 0.0
params = {{ lookback = 21 }}
"""

MONTHLY: Final = """[[schedules]]
name = "month"
do = "rebalance"
cron = "0 16 15-21 * wed"
timezone = "America/New_York"
agents = ["rule"]
"""
"""Without a schedule the agent decides at each close."""


def bars(symbols: int, sessions: int, days: list[dt.date]) -> dict[str, Any]:
    """Return correlated prices in whole cents on the given days."""
    draw = np.random.default_rng(7)
    moves = draw.standard_t(4, (sessions, 1)) * 0.006 + draw.standard_t(4, (sessions, symbols)) * 0.008
    close = np.round(100 * np.exp(np.clip(moves, -0.2, 0.2).cumsum(axis=0) * 0.5), 2).clip(5.0, 5e4)
    open_ = np.round(np.vstack([close[:1], close[:-1]]) * (1 + draw.normal(0, 0.002, close.shape)), 2)
    return {"days": [day.isoformat() for day in days], "open": open_, "close": close}


def decision_rows(days: list[str], daily: bool) -> np.ndarray:
    """Return the rows of the third Wednesdays that are sessions, or all."""
    if daily:
        return np.arange(len(days))
    dates = [dt.date.fromisoformat(day) for day in days]
    return np.array([k for k, day in enumerate(dates) if day.weekday() == 2 and 15 <= day.day <= 21])


def vectorbt(data: Any, lookbacks: range, daily: bool) -> list[float]:
    """Run the lookbacks in parts; their Sharpe ratios."""
    import pandas as pd
    import vectorbt as library

    close, open_ = data["close"], data["open"]
    days, symbols = close.shape
    rows, ratios = decision_rows(data["days"].tolist(), daily), []
    index = pd.to_datetime(data["days"])
    for first in range(lookbacks.start, lookbacks.stop, PART):
        part = range(first, min(first + PART, lookbacks.stop))
        size = np.full((days, len(part), symbols), np.nan)
        for k, lookback in enumerate(part):
            usable = rows[(rows >= lookback) & (rows + 1 < days)]
            size[usable + 1, k] = (close[usable] > close[usable - lookback]) / symbols
        columns = pd.MultiIndex.from_product([part, range(symbols)])
        wide, prices = np.tile(close, len(part)), np.tile(open_, len(part))
        portfolio = library.Portfolio.from_orders(
            pd.DataFrame(wide, index=index, columns=columns), size=size.reshape(days, -1), size_type="targetpercent",
            price=prices, val_price=prices, fees=1e-4, slippage=1e-4, init_cash=CASH, cash_sharing=True,
            group_by=np.repeat(np.arange(len(part)), symbols), call_seq="auto", size_granularity=1.0, freq="1D",
        )  # fmt: skip
        ratios += portfolio.sharpe_ratio(year_freq=f"{YEAR} days", risk_free=RISK_FREE / YEAR).tolist()
        portfolio.total_return(), portfolio.max_drawdown()
    return ratios


def backtrader(data: Any, lookback: int, daily: bool) -> float:
    """Run one lookback; the equity at the end."""
    import backtrader as bt
    import pandas as pd

    close, open_ = data["close"], data["open"]
    index = pd.to_datetime(data["days"])
    due = set(decision_rows(data["days"].tolist(), daily).tolist())

    class Rule(bt.Strategy):  # type: ignore[misc]
        def next(self) -> None:
            if len(self) - 1 not in due or len(self) <= lookback:
                return
            for feed in self.datas:
                wanted = 1.0 / len(self.datas) if feed.close[0] > feed.close[-lookback] else 0.0
                self.order_target_percent(feed, wanted)

    cerebro = bt.Cerebro(stdstats=False)
    for k in range(close.shape[1]):
        frame = pd.DataFrame(
            {
                "open": open_[:, k], "high": np.maximum(open_, close)[:, k], "low": np.minimum(open_, close)[:, k],
                "close": close[:, k], "volume": 1e7,
            },
            index=index,
        )  # fmt: skip
        cerebro.adddata(bt.feeds.PandasData(dataname=frame))
    cerebro.addstrategy(Rule)
    cerebro.broker.setcash(CASH)
    cerebro.broker.setcommission(commission=2e-4)
    cerebro.addanalyzer(bt.analyzers.SharpeRatio, timeframe=bt.TimeFrame.Days)
    cerebro.addanalyzer(bt.analyzers.DrawDown)
    cerebro.run()
    return float(cerebro.broker.getvalue())


def peer(name: str, file: str, lookbacks: range, daily: bool) -> None:
    """Run one peer in its own environment, and print its CPU seconds and a figure of its result."""
    data = np.load(file)
    if name == "vectorbt":
        vectorbt({key: data[key][:200] for key in data.files}, range(FIRST, FIRST + 2), daily)  # compiles
        began = time.process_time()
        ratios = vectorbt(data, lookbacks, daily)
        figures = {"seconds": time.process_time() - began, "result": max(ratios)}
    else:
        began = time.process_time()
        ends = [backtrader(data, FIRST + k * 40, daily) for k in range(BACKTRADER)]
        figures = {"seconds": (time.process_time() - began) / BACKTRADER, "result": ends[0]}
    sys.stdout.write(json.dumps(figures) + "\n")


class Own:
    """The sweep of quantd."""

    def __init__(self, folder: Path) -> None:
        from quantd.research.studies.sweep_points import Base

        self._folder = folder
        text = (folder / "config.toml").read_text()
        self._base = Base(text, "config.toml", str(folder), (), {}, str(folder / "cache"))
        self.run(range(5, 7))

    def run(self, lookbacks: range) -> tuple[float, float]:
        """The CPU seconds and the best Sharpe ratio of lookbacks."""
        from quantd.research.studies.grid import Grid
        from quantd.research.studies.sweep import sweep
        from quantd.training.runs.workers import executor

        grid, name = Grid({"agents.rule.params.lookback": [str(value) for value in lookbacks]}), f"{lookbacks.start}"
        began = time.process_time()
        study = sweep(self._base, grid, name, self._folder / name, self._folder / "state", executor("local", 1))
        seconds = time.process_time() - began
        assert study.best is not None
        assert study.best.look is not None
        return seconds, study.best.look.sharpe


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--points", type=int, default=1_000)
    options.add_argument("--symbols", type=int, default=20)
    options.add_argument("--sessions", type=int, default=5_000)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--daily", action="store_true", help="decide at every close, not once a month")
    options.add_argument("--peer", help=argparse.SUPPRESS)
    options.add_argument("--file", help=argparse.SUPPRESS)
    options.add_argument("--first", type=int, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.peer:
        peer(args.peer, args.file, range(args.first, args.first + args.points), args.daily)
        return
    import polars as pl

    from quantd.adapters.calendars import sessions
    from quantd.trading.display_text import session_date

    calendar = sessions("XNYS", dt.date(2000, 1, 3), dt.date(2030, 1, 1))
    days = [session_date(day) for day in calendar.day_ns[: args.sessions]]
    with TemporaryDirectory() as name:
        folder = Path(name)
        data = bars(args.symbols, args.sessions, days)
        np.savez(folder / "bars.npz", **data)
        names = [f"S{k:03d}" for k in range(args.symbols)]
        high, low = np.maximum(data["open"], data["close"]), np.minimum(data["open"], data["close"])
        columns = {"open": data["open"], "high": high, "low": low, "close": data["close"]}
        pl.DataFrame({
            "ts": days * args.symbols,
            "symbol": np.repeat(names, args.sessions),
            **{key: values.T.ravel() for key, values in columns.items()},
            "volume": 1e7,
        }).write_parquet(folder / "bars.parquet")  # fmt: skip
        (folder / "config.toml").write_text(TEXT.format(symbols=json.dumps(names)) + ("" if args.daily else MONTHLY))
        print(f"{args.points:,} points, {args.symbols} symbols, {args.sessions:,} sessions; CPU seconds")
        runner, part = Own(folder), args.points // args.rounds

        def other(side: str, lookbacks: range) -> dict[str, float]:
            command = [str(PEERS), str(Path(__file__)), "--peer", side, "--file", str(folder / "bars.npz")]
            command += ["--first", str(lookbacks.start), "--points", str(len(lookbacks)), *["--daily"] * args.daily]
            environ = os.environ | {"PYTHONPATH": ""}
            process = subprocess.run(command, env=environ, capture_output=True, text=True, check=True)
            return dict(json.loads(process.stdout.splitlines()[-1]))

        ours, theirs, ratios = [0.0, -np.inf], [0.0, -np.inf], []
        for first in range(FIRST, FIRST + part * args.rounds, part):
            lookbacks = range(first, first + part)
            seconds, best = runner.run(lookbacks)
            figures = other("vectorbt", lookbacks)
            ours = [ours[0] + seconds, max(ours[1], best)]
            theirs = [theirs[0] + figures["seconds"], max(theirs[1], figures["result"])]
            ratios.append(seconds / figures["seconds"])
        print(f"  quantd      {ours[0]:10.1f}   best Sharpe {ours[1]:.3f}")
        print(f"  vectorbt    {theirs[0]:10.1f}   best Sharpe {theirs[1]:.3f}")
        middle, few, most = np.median(ratios), min(ratios), max(ratios)
        print(f"  quantd takes {middle:.3g} x its time (median of {len(ratios)} rounds, {few:.3g} to {most:.3g})")
        scaled = other("backtrader", range(FIRST, FIRST + 1))["seconds"] * part * args.rounds
        print(f"  backtrader  {scaled:10.1f}   scaled from {BACKTRADER} points; {ours[0] / scaled:.3g} x its time")


if __name__ == "__main__":
    main()
