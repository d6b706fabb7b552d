"""Microseconds of CPU of each part beside its budget.

    make bench        (or: python -m benchmarks.parts [--only WORDS] [--interpreted])

Gates are the median of many calls, parts of a session and whole sessions the best mean of three runs. Every part is
measured with the build, and then interpreted from the source, in two processes. `over` marks a
part above its budget (budgets.py). The result is also written to times.csv, with the calibration of the machine.
"""

import argparse
import csv
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, Final

import numpy as np

from benchmarks import gate
from benchmarks.engine import CASES, machine_us, seconds
from benchmarks.parts.budgets import BUDGETS, CALIBRATION_US, INTERPRETED
from quantd.daemon.runtime.journal import Journal
from quantd.engine_build.recipe import UNCOMPILED
from quantd.engine_build.state import reason

ROOT: Final = Path(__file__).parents[2]
TIMES: Final = Path(__file__).parent / "times.csv"

SHARES: Final = {
    "plan": ("quantd.daemon.engine.planning.plan:plan",),
    "ledger post": ("quantd.trading.ledger.books:Ledger.fills",),
    "paper fill": ("quantd.adapters.brokers.paper.broker:Paper.on_slice",),
    "monitor sample": ("quantd.daemon.engine.safety.monitor:watch",),
    "view and policy call": ("quantd.daemon.policies.loading:answer",),
    "digest": (
        "quantd.daemon.runtime.digest:Digest.add",
        "quantd.daemon.runtime.digest:Digest.settle",
    ),
    "journal encode": ("quantd.daemon.runtime.journal:Journal.add",),
}
"""Part of a session -> the functions that are timed, with what they call."""

SESSIONS: Final = {
    "session 20 quiet": ("quiet", 4_000),
    "session 20 monthly": ("monthly", 4_000),
    "session 20 daily": ("daily", 1_000),
    "session 20 three agents monthly": ("three monthly", 2_000),
    "session 20 three agents daily": ("three daily", 500),
    "session 20 daily, four more limits": ("daily, four more limits", 500),
    "session 20 three daily, four more limits": ("three daily, four more limits", 300),
    "session 1 asked every bar": ("one symbol", 4_000),
    "session 5 default profiles": ("default profiles", 818),
}
"""Part -> case of benchmarks.engine, sessions."""

Times = dict[str, float]


def gates(wanted: Callable[[str], bool]) -> Iterator[tuple[str, float]]:
    for size in (20, 100, 500, 2_000):
        for book in (gate.BOOKS[0], gate.BOOKS[-1]):
            for name, tight in (("complies", False), ("breached", True)):
                parts = {"first": "first of a sample", "later": "next of the sample"}
                named = {f"gate {size} {book} {name}, {part}": key for part, key in parts.items()}
                if not any(map(wanted, named)):
                    continue
                limits = gate.all_limits(tight, 2.0 if book == gate.BOOKS[-1] else 1.0)
                durations = gate.measure(gate.World(size, book), limits, max(6_000 // size, 15))
                for part, key in named.items():
                    yield part, float(np.median(durations[key][5:]))


def resolved(path: str) -> tuple[Any, Callable[..., Any]]:
    """(owner, function) of `module:Class.function` or `module:function`."""
    module, _, name = path.partition(":")
    owner: Any = import_module(module)
    *outer, name = name.split(".")
    for attribute in outer:
        owner = getattr(owner, attribute)
    return owner, getattr(owner, name)


@contextmanager
def timed(paths: tuple[str, ...]) -> Iterator[list[int]]:
    """Sums ns of CPU and calls of functions, wherever they were imported by name."""
    total = [0, 0]
    undo: list[tuple[Any, str, Callable[..., Any]]] = []

    def clocked(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            began = time.thread_time_ns()
            try:
                return function(*args, **named)
            finally:
                total[0] += time.thread_time_ns() - began
                total[1] += 1

        return call

    for path in paths:
        owner, function = resolved(path)
        places = [owner] if not isinstance(owner, ModuleType) else list(sys.modules.values())
        for place in places:
            for key, value in list(vars(place).items()):
                if isinstance(value, FunctionType) and value is function:
                    undo.append((place, key, function))
                    setattr(place, key, clocked(function))
    yield total
    for place, key, function in undo:
        setattr(place, key, function)


def clock_ns() -> float:
    """What the clock itself adds to a timed call."""
    count = 20_000
    began = time.thread_time_ns()
    for _ in range(count):
        time.thread_time_ns()
    return (time.thread_time_ns() - began) / count


def shares(wanted: Callable[[str], bool], days: int = 600) -> Iterator[tuple[str, float]]:
    overhead = clock_ns()
    for name, paths in SHARES.items():
        if not wanted(f"daily: {name}"):
            continue
        best = float("inf")
        for _ in range(3):
            with timed(paths) as total:
                seconds(CASES["daily"], days, Journal() if name == "journal encode" else None)
            best = min(best, (total[0] - total[1] * overhead) / days / 1e3)
        yield f"daily: {name}", best


def sessions(wanted: Callable[[str], bool]) -> Iterator[tuple[str, float]]:
    for part, (name, days) in SESSIONS.items():
        if wanted(part):
            yield part, min(seconds(CASES[name], days)[0] for _ in range(3)) / days * 1e6


def measured(wanted: Callable[[str], bool]) -> Iterator[tuple[str, float]]:
    """(part, us) of this process."""
    for group in (gates, shares, sessions):
        gc.collect()
        yield from group(wanted)


def child(words: str, interpreted: bool) -> tuple[str, Times]:
    """The times of one process, which prints them while it runs."""
    command = [sys.executable, "-m", "benchmarks.parts", "--child", "--only", words]
    environ = os.environ | {UNCOMPILED: "1"} if interpreted else None
    process = subprocess.Popen(
        [*command, "--interpreted"] if interpreted else command,
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environ,
    )  # fmt: skip
    assert process.stdout is not None
    first, *times = (json.loads(line) for line in process.stdout)
    if process.wait():
        raise SystemExit(process.returncode)
    return first, dict(times)


def row(part: str, us: Times, interpreted: Times, scale: float) -> tuple[str, ...]:
    """part, budget, compiled us, mark, interpreted budget, interpreted us, mark."""

    def cells(times: Times, budgets: Times) -> tuple[str, str, str]:
        took, budget = times.get(part), budgets.get(part)
        over = took is not None and budget is not None and took > budget * scale
        allowed = "" if budget is None else f"{budget * scale:.1f}"
        return allowed, "" if took is None else f"{took:.1f}", "over" if over else ""

    return (part, *cells(us, BUDGETS), *cells(interpreted, INTERPRETED))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--only", default="", help="parts with these words in their names")
    options.add_argument("--interpreted", action="store_true", help="without the build")
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = options.parse_args()

    def wanted(part: str) -> bool:
        return all(word in part for word in args.only.split())

    if args.child:
        why = reason()
        print(json.dumps(why), flush=True)
        for pair in measured(wanted):
            print(json.dumps(pair), flush=True)
        return
    machine = machine_us()
    scale = machine / CALIBRATION_US
    _, interpreted = child(args.only, True)
    why, us = ("asked for", {}) if args.interpreted else child(args.only, False)
    print(f"microseconds of CPU; this machine now: sum(range(1000)) takes {machine:.1f} us, which scales the budgets")
    print(f"the engine is {'interpreted: ' + why if why else 'compiled'}; the last columns are interpreted")
    head = ("part", "budget", "us", "", "budget", "interpreted us", "")
    parts = [part for part in {**BUDGETS, **INTERPRETED} if part in us or part in interpreted]
    rows = [row(part, us, interpreted, scale) for part in parts]
    for part, *cells in (head, *rows):
        print(
            f"{part:44s}"
            + "".join(f"{cell:>{width}s}" for cell, width in zip(cells, (12, 12, 6, 12, 16, 6), strict=True))
        )
    if not args.only and not args.interpreted:
        with TIMES.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                (*head[:3], "over", "interpreted budget", "interpreted us", "interpreted over", "machine us")
            )
            writer.writerows((*line, f"{machine:.1f}") for line in rows)


if __name__ == "__main__":
    main()
