"""Time of a full risk report of one book, p50 and p99, for 20, 100 and 500 symbols and 252 samples, and of its slowest
parts.

    OMP_NUM_THREADS=1 python -m benchmarks.risk_report [repetitions]
"""

import sys
from collections.abc import Callable
from time import perf_counter_ns

import numpy as np

from quantd.risk.assessment import Book, Settings, assess
from quantd.risk.measures.contributions import historical
from quantd.risk.measures.diversification import effective_bets_of
from quantd.risk.measures.stress import SHIPPED
from quantd.risk.measures.tails import filtered
from quantd.trading.covariance import covariance, ewma_covariance, ledoit_wolf
from quantd.trading.instruments import Instrument, Universe

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


def timed(run: Callable[[], object], repetitions: int) -> tuple[float, float]:
    times = []
    for _ in range(repetitions + 5):
        start = perf_counter_ns()
        run()
        times.append((perf_counter_ns() - start) / 1e3)
    p50, p99 = np.percentile(times[5:], [50, 99])
    return float(p50), float(p99)


def main() -> None:
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000
    settings = Settings(shocks=tuple(SHIPPED.values()))
    for size in (20, 100, 500):
        book = book_of(size)
        weights = book.lots * book.px / book.equity
        parts: dict[str, Callable[[], object]] = {
            "risk report": lambda b=book: assess(b, settings),
            "filtered scenarios": lambda b=book: filtered(b.returns),
            "covariance": lambda b=book: covariance(b.returns),
            "Ledoit-Wolf covariance": lambda b=book: ledoit_wolf(b.returns),
            "EWMA covariance": lambda b=book: ewma_covariance(b.returns),
            "historical contributions": lambda b=book, w=weights: historical(b.returns, w, 0.95),
            "effective bets": lambda b=book, w=weights: effective_bets_of(w, b.returns),
        }
        for part, run in parts.items():
            p50, p99 = timed(run, max(repetitions * 20 // size, 20))
            print(f"{size:4d} symbols  {part:25s} p50 {p50:9.1f} us   p99 {p99:9.1f} us")


if __name__ == "__main__":
    main()
