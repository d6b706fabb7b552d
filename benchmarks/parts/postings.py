"""CPU microseconds of the ledger and of paper fills, by the source of the engine and by its build.

    OMP_NUM_THREADS=1 python -m benchmarks.parts.postings [--only WORDS]

Two processes, one with QUANTD_UNCOMPILED=1, measure in turn, and the least of the repetitions counts. The paper venue's
time includes its lists and reports. `x` is the ratio of the source's time to the build's.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from time import process_time

import numpy as np

from quantd.adapters.brokers.paper.broker import Paper
from quantd.engine_build.state import label
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.ledger.books import Ledger
from quantd.trading.market import Block, MarketSlice
from quantd.trading.orders import OrderBasket

REPEATS, CALLS, DAY_NS = 7, 100, 86_400 * NANO
COSTS = {
    "fixed costs": Costs(commission_bp=1.0, spread_bp=2.0, slippage_bp=1.0),
    "volume cap": Costs(commission_bp=1.0, spread_bp=2.0, slippage_bp=1.0, participation=0.1),
}

Timed = Callable[[], float]


def universe(size: int) -> Universe:
    return Universe(tuple(Instrument(f"S{k}") for k in range(size)))


def of_ledger(size: int, agents: int) -> dict[str, Timed]:
    """Posting of a fill in each of `size` columns, and the equity of all books at their marks."""
    rng = np.random.default_rng(size)
    ledger = Ledger(universe(size), [f"a{k}" for k in range(agents)])
    ledger.deposit(10**15)
    sym, fee = list(range(size)), rng.integers(0, 10**6, size).tolist()
    price = (rng.integers(1_000, 50_000, size) * (NANO // 100)).tolist()
    lots = [(rng.integers(4, 1_000, size) * rng.choice((-1, 1), size)).tolist() for _ in range(CALLS)]
    shares = [
        [[(k, part // agents) for k in range(agents - 1)] + [(agents - 1, part - part // agents * (agents - 1))]
         for part in row]
        for row in lots
    ]  # fmt: skip
    marks = np.array(price)

    def fills() -> None:
        for row, parts in zip(lots, shares, strict=True):
            ledger.fills(sym, row, price, fee, parts)

    def equity() -> None:
        for _ in range(CALLS):
            ledger.equity(marks)

    case = f"{size} rows, {agents} agents"
    return {
        f"ledger, fills, {case}": partial(spent, fills),
        f"ledger, equity, {case}": partial(spent, equity),
    }


def spent(work: Callable[[], None]) -> float:
    began = process_time()
    work()
    return process_time() - began


def of_paper(size: int, costs: Costs) -> float:
    """CPU seconds of CALLS bars, each of which fills a basket of `size` rows."""
    rng = np.random.default_rng(size)
    open_ = np.round(rng.uniform(10.0, 500.0, (CALLS, size)), 2)
    at = np.arange(1, CALLS + 1, dtype=np.int64) * DAY_NS
    block = Block(
        ts_open=at, ts_event=at + DAY_NS // 2, key=at, open=open_, high=open_ * 1.01, low=open_ * 0.99, close=open_,
        volume=np.full((CALLS, size), 1e6), fresh=np.ones((CALLS, size), dtype=np.bool_),
    )  # fmt: skip
    venue, took = Paper(universe(size), costs), 0.0
    side = rng.choice((-1, 1), size)
    for t in range(CALLS):
        limits = (block.open_nano[t] * (100 + 3 * side) // 100).tolist()
        lots = (side * rng.integers(1, 3_000, size)).tolist()
        ts = block.ts_open[t] - 1
        venue.submit(OrderBasket(t, 0, ts, list(range(size)), lots, limits, [ts + 3 * DAY_NS] * size))
        began = process_time()
        venue.on_slice(MarketSlice(block, t))
        took += process_time() - began
    return took


def cases() -> dict[str, Timed]:
    timings: dict[str, Timed] = {}
    for agents in (1, 4):
        for size in (1, 20, 100):
            timings |= of_ledger(size, agents)
    for name, costs in COSTS.items():
        timings |= {f"paper, {name}, {size} rows": partial(of_paper, size, costs) for size in (1, 20, 100, 500)}
    return timings


def answer(words: str) -> None:
    """Print the engine, then the seconds of each case for every line of standard input."""
    measured = {case: timed for case, timed in cases().items() if words in case}
    print(label(), flush=True)
    for _ in sys.stdin:
        print(json.dumps({case: timed() for case, timed in measured.items()}), flush=True)


class Way:
    """A process that measures the cases by the build or by the source."""

    def __init__(self, words: str, **variables: str) -> None:
        command = [sys.executable, "-m", "benchmarks.parts.postings", "--only", words, "--answer"]
        self.least: dict[str, float] = {}
        self.process = subprocess.Popen(
            command, env=os.environ | variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.engine = self._line()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def measure(self) -> None:
        """Take the least of what was and what one more round gives."""
        assert self.process.stdin is not None
        print("round", file=self.process.stdin, flush=True)
        for case, took in json.loads(self._line()).items():
            self.least[case] = min(self.least.get(case, took), took)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORDS", help="cases that contain these words")
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.answer:
        answer(options.only)
        return
    ways = [Way(options.only, QUANTD_UNCOMPILED="1"), Way(options.only)]
    for _ in range(REPEATS):
        for way in ways:
            way.measure()
    source, build = ways
    print(f"{build.engine:44} {'source':>12} {'build':>10} {'x':>6}")
    for case, took in source.least.items():
        slow, fast = (seconds / CALLS * 1e6 for seconds in (took, build.least[case]))
        print(f"{case:44} {slow:12.2f} {fast:10.2f} {slow / fast:6.1f}")
    for way in ways:
        way.process.communicate()


if __name__ == "__main__":
    main()
