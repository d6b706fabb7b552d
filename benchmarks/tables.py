"""Time and memory of reading a large CSV of bars, beside polars' and pandas' own read.

    python -m benchmarks.tables [--symbols 500] [--years 20] [--rounds 5]

The file has one line for each symbol and weekday, in Yahoo's columns and a second time in those of quantd. Each reader
is a process of its own, in turn, so that a pause of the machine meets all of them; CPU time counts, and the growth of
the largest memory from the imports on. `read` is the frame with its statement, `rows` what a run reads.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Final

import numpy as np
import polars as pl

READERS: Final = ("polars", "pandas", "quantd, read", "quantd, rows", "quantd, rows of its own columns")
OWN: Final = {"Date": "ts", "Ticker": "symbol", "Open": "open", "High": "high", "Low": "low", "Close": "close",
              "Volume": "volume"}  # fmt: skip


def write(folder: Path, symbols: int, years: int) -> int:
    """Write both files; returns the number of bars."""
    draw = np.random.default_rng(1)
    days = pl.date_range(pl.date(2004, 1, 1), pl.date(2003 + years, 12, 31), eager=True)
    days = days.filter(days.dt.weekday() < 6)
    frames = []
    for number in range(symbols):
        close = np.round(100 * np.exp(np.cumsum(draw.normal(0, 0.01, len(days)))), 2)
        opened = np.round(close * (1 + draw.normal(0, 0.003, len(days))), 2)
        prices = {"Open": opened, "High": np.round(np.maximum(opened, close) * 1.004, 2),
                  "Low": np.round(np.minimum(opened, close) * 0.996, 2), "Close": close}  # fmt: skip
        volume = draw.integers(100_000, 10_000_000, len(days))
        frames.append(pl.DataFrame({"Date": days, "Ticker": f"SYM{number:03d}", **prices, "Volume": volume}))
    frame = pl.concat(frames)
    frame.write_csv(folder / "foreign.csv")
    frame.rename(OWN).write_csv(folder / "own.csv")
    return len(frame)


def reader(name: str, folder: Path, symbols: int) -> Callable[[], object]:
    """Return the call of a reader, with its imports done."""
    foreign = folder / "foreign.csv"
    if name == "polars":
        return lambda: pl.read_csv(foreign, try_parse_dates=True)
    if name == "pandas":
        import pandas

        return lambda: pandas.read_csv(foreign, parse_dates=["Date"])
    from quantd.adapters.feeds.recorded.bar_files import read_bars
    from quantd.adapters.feeds.table_files.reader import read_tables
    from quantd.trading.instruments import Instrument, Universe

    if name == "quantd, read":
        return lambda: read_tables(foreign)
    universe = Universe(tuple(Instrument(f"SYM{number:03d}") for number in range(symbols)))
    source = folder / ("own.csv" if "own" in name else "foreign.csv")
    return lambda: read_bars((source,), universe)


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, folder: Path, symbols: int) -> None:
    """Print CPU seconds and MiB of one read, for the parent process."""
    call = reader(name, folder, symbols)
    before, began = peak_mib(), time.process_time()
    kept = call()
    print(time.process_time() - began, peak_mib() - before, kept is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--years", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.one:
        measure(said.one, said.folder, said.symbols)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bars = write(folder, said.symbols, said.years)
        size = (folder / "foreign.csv").stat().st_size / 1e6
        print(f"{bars:,} bars of {said.symbols} symbols, {size:,.0f} MB; medians of {said.rounds} rounds, in turn")
        figures: dict[str, list[tuple[float, float]]] = {reader_name: [] for reader_name in READERS}
        for _ in range(said.rounds):
            for reader_name, taken in figures.items():
                command = [sys.executable, "-m", "benchmarks.tables", "--one", reader_name, "--folder", name,
                           "--symbols", str(said.symbols)]  # fmt: skip
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                seconds, mib, _ = done.stdout.split()
                taken.append((float(seconds), float(mib)))
    base = tuple(median(column) for column in zip(*figures["polars"], strict=True))
    print(f"{'reader':<34}{'CPU s':>8}{'x polars':>10}{'MiB':>8}{'x polars':>10}")
    for reader_name, taken in figures.items():
        seconds, mib = (median(column) for column in zip(*taken, strict=True))
        print(f"{reader_name:<34}{seconds:>8.2f}{seconds / base[0]:>10.2f}{mib:>8.0f}{mib / base[1]:>10.2f}")


if __name__ == "__main__":
    main()
