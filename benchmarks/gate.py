"""CPU time of one gate and of one risk report, p50 and p99 in microseconds, for 20, 100 and 500 symbols.

Run: OMP_NUM_THREADS=1 python -m benchmarks.gate [repetitions]

A build measures itself, and then the source in a second process. Without a build there is the source alone.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from time import thread_time_ns

import numpy as np
from numpy.typing import NDArray

from quantd.engine_build import state
from quantd.engine_build.recipe import UNCOMPILED
from quantd.risk.assessment import Book, Settings, assess_all
from quantd.risk.limits.catalogue import Correlation, Limits, Liquidity, Rate, Stress, Tail
from quantd.risk.measures.contributions import historical
from quantd.risk.measures.diversification import components_of
from quantd.risk.measures.stress import SHIPPED
from quantd.risk.measures.tails import filtered
from quantd.risk.pretrade.gate import Account, Context, Verdict, gate
from quantd.trading.covariance import covariance, ewma_covariance, ledoit_wolf
from quantd.trading.instruments import NANO, Instrument, Universe

Floats = NDArray[np.float64]


def all_limits(tight: bool, leverage: float = 1.0) -> Limits:
    """Return limits that include every basket limit; with `tight`, VaR, CVaR and volatility bind."""
    loose = 0.1 if tight else 3.0
    return Limits(
        max_position_weight=0.4,
        max_gross_exposure=1.0,
        max_net_exposure=1.0,
        max_sector_weight=0.6,
        max_leverage=leverage,
        group_caps=(("odd", 0.8),),
        max_concentration=0.4,
        max_herfindahl=0.5,
        liquidity=Liquidity(days=5.0),
        order_rate=Rate(10_000),
        max_order_notional=1e6,
        max_share_of_volume=0.1,
        max_turnover=1.0,
        max_open_orders=10_000,
        max_volatility=0.1 * loose,
        var=Tail(limit=0.01 * loose),
        cvar=Tail(limit=0.015 * loose),
        stress=Stress(limit=0.5, shocks=tuple(SHIPPED.values())),
        correlation=Correlation(),
        fee_bp=1.0,
    )


BOOKS = ("long", "long, open orders", "long and short")


class World:
    """N symbols, 252 samples of one common factor and individual noise, and a half-invested book."""

    def __init__(self, size: int, book: str, seed: int = 7) -> None:
        rng = np.random.default_rng(seed)
        self.rng, self.size, self.book = rng, size, book
        common = rng.standard_t(4, size=(252, 1)) * 0.006
        self.returns: Floats = common + rng.standard_t(4, size=(252, size)) * 0.008
        self.px = np.round(rng.uniform(20.0, 400.0, size), 2)
        self.nano = np.rint(self.px * 100).astype(np.int64) * (NANO // 100)
        sectors = ("technology", "energy", "financials", "health care", "utilities", "materials", "gold", "bonds")
        self.universe = Universe(
            tuple(Instrument(f"S{k}", sector=sectors[k % 8], asset=f"asset {k // 2}") for k in range(size)),
            groups=(("odd", tuple(f"S{k}" for k in range(1, size, 2))),),
        )
        self.equity = 1e7
        # concentrated enough for correlation pairs to count: a few large positions, the others small
        share = rng.dirichlet(np.full(size, 0.5))
        if book == "long and short":
            share *= rng.choice([1.0, 1.0, -1.0], size)
        lots = np.trunc(0.5 * self.equity * share / self.px)
        up = down = None
        if book != "long":
            up = (
                np.floor(rng.random(size) * 0.1 * self.equity / size / self.px) * (rng.random(size) < 0.3) * (lots >= 0)
            )
            down = np.floor(np.maximum(lots, 0.0) * 0.2) * (rng.random(size) < 0.3)
        self.account = Account(
            lots=lots,
            cash=self.equity - float(lots @ self.px),
            equity=self.equity,
            up=up,
            down=down,
            up_cash=0.0 if up is None else float(up @ self.px) * 1.05,
        )
        self.age = np.zeros(size, dtype=np.int64)
        self.volume = np.full(size, 1e9)

    def context(self) -> Context:
        return Context(
            px=self.px,
            prices_nano=self.nano,
            age_ns=self.age,
            volume_lots=self.volume,
            returns=lambda k: self.returns[-k:],
            universe=self.universe,
        )

    def asked(self) -> Floats:
        """Return a rebalance: about half of the symbols reduce, the others add.

        Only the book with shorts sells more than it holds.
        """
        change = np.trunc(self.rng.normal(0.02, 0.1, self.size) * self.equity / self.size / self.px)
        if self.book == BOOKS[-1]:
            # never across zero, as the engine requires
            return np.where(
                change * self.account.lots < 0,
                np.sign(change) * np.minimum(abs(change), abs(self.account.lots) // 2),
                change,
            )
        down = self.account.down
        return np.maximum(change, -(self.account.lots if down is None else self.account.lots - down))


SECTORS = ("energy", "financials", "health care", "information technology", "utilities", "gold", "crypto", "")


def book_of(size: int, seed: int = 7) -> Book:
    """Return N positions, long and short; 252 samples of one common factor and individual noise; three years of
    equity.
    """
    rng = np.random.default_rng(seed)
    common = rng.standard_t(4, size=(252, 1)) * 0.006
    instruments = tuple(Instrument(f"S{k}", sector=SECTORS[k % len(SECTORS)]) for k in range(size))
    px = np.round(rng.uniform(20.0, 400.0, size), 2)
    return Book(
        universe=Universe(instruments, benchmark="S0"),
        lots=np.trunc(rng.uniform(-0.3, 1.0, size) * 1e7 / size / px),
        px=px,
        equity=1e7,
        returns=common + rng.standard_t(4, size=(252, size)) * 0.008,
        history=1e7 * np.cumprod(1.0 + rng.normal(0.0004, 0.01, 756)),
        volume_lots=rng.uniform(1e4, 1e7, size),
    )


def timed(run: Callable[[], object]) -> float:
    start = thread_time_ns()
    run()
    return (thread_time_ns() - start) / 1e3


def measure(world: World, limits: Limits, repetitions: int) -> dict[str, list[float]]:
    durations: dict[str, list[float]] = {"first of a sample": [], "next of the sample": [], "values": [], "quiet": []}
    quiet = np.zeros(world.size)
    for _ in range(repetitions):
        first, second = world.asked(), world.asked()

        def opening(asked: Floats = first) -> tuple[Context, Verdict]:
            ctx = world.context()
            return ctx, gate(ctx, world.account, asked, limits)

        start = thread_time_ns()
        ctx, _ = opening()
        durations["first of a sample"].append((thread_time_ns() - start) / 1e3)
        start = thread_time_ns()
        verdict = gate(ctx, world.account, second, limits)
        durations["next of the sample"].append((thread_time_ns() - start) / 1e3)
        durations["values"].append(timed(lambda v=verdict: v.values))
        durations["quiet"].append(timed(lambda c=ctx: gate(c, world.account, quiet, limits)))
    return durations


def reports(repetitions: int) -> None:
    """Print the times of a whole risk report and of its slowest parts."""
    settings = Settings(shocks=tuple(SHIPPED.values()))
    for size in (20, 100, 500):
        book = book_of(size)
        weights = book.lots * book.px / book.equity
        parts: dict[str, Callable[[], object]] = {
            "risk report": lambda b=book: assess_all([(b, settings)]),
            "filtered scenarios": lambda b=book: filtered(b.returns),
            "covariance": lambda b=book: covariance(b.returns),
            "Ledoit-Wolf covariance": lambda b=book: ledoit_wolf(b.returns),
            "EWMA covariance": lambda b=book: ewma_covariance(b.returns),
            "historical contributions": lambda b=book, w=weights: historical(b.returns, w, 0.95),
            "effective bets": lambda b=book, w=weights: components_of(b.returns).bets(w),
        }
        for part, run in parts.items():
            times = [timed(run) for _ in range(max(repetitions * 10 // size, 20) + 5)]
            p50, p99 = np.percentile(times[5:], [50, 99])
            print(f"{size:4d} symbols  {part:25s} p50 {p50:9.1f} us   p99 {p99:9.1f} us")


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    print(f"engine: {state.label()}", flush=True)
    for size in (20, 100, 500):
        for book in BOOKS:
            world = World(size, book)
            for name, tight in (("complies", False), ("breached when asked", True)):
                limits = all_limits(tight, 2.0 if book == BOOKS[-1] else 1.0)
                durations = measure(world, limits, max(repetitions * 20 // size, 200))
                for part, times in durations.items():
                    p50, p99 = np.percentile(times[5:], [50, 99])
                    what = f"{size:4d} symbols  {book:18s} {name:20s} {part:20s}"
                    print(f"{what} p50 {p50:8.1f} us   p99 {p99:8.1f} us   {p99 / p50:4.1f}")
    if state.reason():
        reports(repetitions)
    else:
        subprocess.run([sys.executable, "-m", "benchmarks.gate", *sys.argv[1:]], env={**os.environ, UNCOMPILED: "1"})


if __name__ == "__main__":
    main()
