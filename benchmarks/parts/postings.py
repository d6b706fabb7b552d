"""CPU microseconds of the ledger and of paper fills: interpreted, and by compiled kernels where numba is installed.

    OMP_NUM_THREADS=1 python -m benchmarks.parts.postings

Posting of lists converts them for the compiled kernel; posting of columns takes int64 arrays as they are. The paper
venue's time includes its lists and reports. Both ways run in turn, and the least of the repetitions counts. `x` is the
ratio to the interpreted time.
"""

from collections.abc import Callable, Sequence
from functools import partial
from time import process_time

import numpy as np

from quantd.adapters.brokers.paper.broker import Paper
from quantd.daemon.assembly.compiler import compile_kernels, interpret_kernels
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
    only = 0 if agents == 1 else -1
    marks = np.array(price)
    pairs = [[] if agents == 1 else [agents] * size + np.array(parts).reshape(-1).tolist() for parts in shares]
    columns = [np.array([*sym, *row, *price, *fee, *own]) for row, own in zip(lots, pairs, strict=True)]

    def lists() -> None:
        for row, parts in zip(lots, shares, strict=True):
            ledger.fills(sym, row, price, fee, parts)

    def arrays() -> None:
        for fills in columns:
            ledger.post(fills, size, only)

    def equity() -> None:
        for _ in range(CALLS):
            ledger.equity(marks)

    case = f"{size} rows, {agents} agents"
    return {
        f"ledger, post of lists, {case}": partial(spent, lists),
        f"ledger, post of columns, {case}": partial(spent, arrays),
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


def compiled() -> str:
    return compile_kernels(wait=True)


def interpreted() -> str:
    interpret_kernels()
    return ""


def main() -> None:
    cases: dict[str, Timed] = {}
    for agents in (1, 4):
        for size in (1, 20, 100):
            cases |= of_ledger(size, agents)
    for name, costs in COSTS.items():
        cases |= {f"paper, {name}, {size} rows": partial(of_paper, size, costs) for size in (1, 20, 100)}
    ways: Sequence[Callable[[], str]] = (interpreted, compiled)
    if reason := compiled():
        print(f"interpreted only: {reason}")
        ways = (interpreted,)
    least = {(case, way): float("inf") for case in cases for way in range(len(ways))}
    for _ in range(REPEATS):
        for number, way in enumerate(ways):
            way()
            for case, timed in cases.items():
                least[case, number] = min(least[case, number], timed() / CALLS * 1e6)
    print(f"{'':44} {'interpreted':>12} {'compiled':>10} {'x':>6}")
    for case in cases:
        slow, *fast = (least[case, number] for number in range(len(ways)))
        print(f"{case:44} {slow:12.2f}" + (f" {fast[0]:10.2f} {slow / fast[0]:6.1f}" if fast else ""))


if __name__ == "__main__":
    main()
