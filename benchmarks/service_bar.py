"""The CPU of one bar of a daemon, beside that of another commit and by part.

    python -m benchmarks.service_bar [--beside COMMIT] [--rounds N] [--case NAME ...]
    python -m benchmarks.service_bar --parts [--case NAME ...]
    python -m benchmarks.service_bar --growth [--beside COMMIT] [--rounds N]

A case is a run of `quantd run` at pace "fast" to the end of its bars, in a process of its own, with the API and the
MQTT broker on: the shipped config.toml, or 20 symbols that all trade every day. Figures are microseconds of CPU a bar:
`main` of the thread that steps, `process` of all threads. COMMIT is a commit, which is built in a temporary folder, or
the folder of a checkout. Sides run in turn; the table has the median and the least of each with their ratio. A ratio
above 1 says that this checkout is faster. The exit status is 1 if the digests differ.

`--parts` draws where the time of one bar goes. Each function there is measured by the clock of the thread, without
those that it calls. Measuring costs time too, so that the shares count and not their sum.

`--growth` has the engine alone, with a log that reads every event: a bar and its tick by `Shell.take`, where all
symbols trade at every bar, and the exponents of its growth with symbols and agents.
"""

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import wraps
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from benchmarks.beside import ROOT, Side, build, environment, side_of
from benchmarks.engine import LIMITS, machine_us, market, rotating, shell, timeline
from quantd.daemon.engine.planning.buying_power import counted
from quantd.daemon.engine.state import HOUSE
from quantd.daemon.runtime.outbound import Wire
from quantd.trading.events import Reconciled
from quantd.trading.market import MarketSlice

MARK: Final = "service bar: "

ALL_TRADE: Final = """
[[agents]]
name = "alone"
policy = "equal_weight"
capital = 1.0
min_trade = 0.0
"""

PARTS: Final = (
    ("the fold, with records", "quantd.daemon.runtime.loop", "Shell.take"),
    ("steps of Python", "quantd.daemon.runtime.loop", "step"),
    ("questions to policies", "quantd.daemon.runtime.host.fold_host", "FoldHost.ask"),
    ("policies", "quantd.daemon.policies.deadline", "Deadline.__call__"),
    ("limits that are measured", "quantd.daemon.runtime.host.record_calls", "RecordCalls.limit_values"),
    ("levels of limits", "quantd.daemon.runtime.host.fold_host", "FoldHost.check_levels"),
    ("state read anew", "quantd.daemon.runtime.host.fold_host", "FoldHost.load"),
    ("state brought up to date", "quantd.daemon.runtime.host.fold_host", "FoldHost.sync"),
    ("journal encoded", "quantd.daemon.runtime.journal", "Journal.add"),
    ("rows of the store", "quantd.adapters.store.tables.projection", "Projection.add"),
    ("trace", "quantd.daemon.runtime.trace", "Trace.add"),
    ("histories", "quantd.daemon.runtime.recent_history", "Histories.add"),
    ("states composed", "quantd.daemon.runtime.service", "Service._states"),
    ("rest of a commit", "quantd.daemon.runtime.service", "Service._rows"),
)
"""Text, module and function of each part of a bar."""

SIZES: Final = {20: 800, 100: 400, 500: 160, 2_000: 100}
"""Symbols -> bars of `--growth`; the first 60 have too little history and do not count."""

AGENTS: Final = (1, 2, 4, 8)


def configuration(case: str, folder: Path, root: Path) -> Path:
    """The config.toml of a case in a folder. Files of `root` are named by their whole path."""
    source = root / "config.toml" if case == "default" else root / "examples" / "allocators-us20.toml"
    text = source.read_text(encoding="utf-8")
    if case != "default":
        text = text.partition("[[agents]]")[0] + ALL_TRADE
        text = re.sub(r"(?m)^(exceptions|state) = .*\n", "", text)
        text = re.sub(r"(?m)^cash = .*$", 'cash = "10000000.00"', text)
        text = re.sub(r"(?m)^start = .*$", "start = 2019-01-02", text)
        text = re.sub(r"(?m)^profile = .*$", "max_position_weight = 0.35\nmax_gross_exposure = 1.0", text)
    text = text.replace('"data/', f'"{root}/data/').replace('"models/', f'"{root}/models/')
    file = folder / "config.toml"
    file.write_text(text, encoding="utf-8")
    return file


CASES: Final = {"default": "config.toml as it is shipped", "all trade": "20 symbols, all trade every day"}


def run_case(case: str, root: Path, *, parts: bool) -> None:
    """Run a daemon in this process, and print its figures behind MARK."""
    from quantd.daemon.cli import main
    from quantd.daemon.runtime.service import Service

    spent: dict[str, int] = {}
    if parts:
        measure(spent)
    forever = Service.step_forever

    async def measured(service: Service) -> None:
        process, thread = time.process_time(), time.thread_time()
        spent.clear()
        await forever(service)
        process, thread = time.process_time() - process, time.thread_time() - thread
        tally, bars = service.shell.tally, getattr(service.shell, "bars", (0, 0))
        by_part = {name: ns / tally.slices / 1e3 for name, ns in spent.items()}
        figures = {
            "main": thread / tally.slices * 1e6, "process": process / tally.slices * 1e6, "parts": by_part,
            "digest": service.shell.digest.hexdigest(), "bars": tally.slices, "orders": tally.orders, "folded": bars,
        }  # fmt: skip
        print(MARK + json.dumps(figures), flush=True)

    Service.step_forever = measured  # type: ignore[method-assign]
    with TemporaryDirectory(prefix="quantd-bar-") as folder:
        file = configuration(case, Path(folder), root)
        more = ("feed.pace=fast", "feed.at_end=stop", "api.port=0", "bus.port=0")
        sys.argv = ["quantd", "run", "--config", str(file), "--state", f"{folder}/state"]
        sys.argv += [word for key in more for word in ("--set", key)]
        main()


def measure(spent: dict[str, int]) -> None:
    """Wrap each function of PARTS so that its own nanoseconds of this thread are added to `spent`."""
    inner: list[int] = []

    def wrapped(function: Callable[..., Any], text: str) -> Callable[..., Any]:
        @wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            began = time.thread_time_ns()
            inner.append(0)
            try:
                return function(*given, **named)
            finally:
                took = time.thread_time_ns() - began
                spent[text] = spent.get(text, 0) + took - inner.pop()
                if inner:
                    inner[-1] += took

        return timed

    for text, module, path in PARTS:
        place: Any = import_module(module)
        *owners, name = path.split(".")
        for owner in owners:
            place = getattr(place, owner)
        setattr(place, name, wrapped(getattr(place, name), text))


class Reads:
    """A log that reads every event and keeps none."""

    rows_only: bool = False

    def answer(self, ask: Any) -> None:
        return None

    def add(self, event: Any, effects: Any) -> None:
        return None


class FarVenue:
    """The simulated venue as one across a network: after each item it reports to the engine, and its buying power."""

    def __init__(self, body: Any) -> None:
        self.body, self.venue = body, body.broker
        body.remote, body.broker = True, Wire()

    def hear(self, item: Any) -> None:
        news = list(self.venue.on_slice(item)) if isinstance(item, MarketSlice) else []
        news += [report for request in self.body.outgoing() for report in self.venue.submit(request)]
        for report in news:
            self.body.run(report)
        if isinstance(item, MarketSlice):
            state = self.body.state
            held, cash = state.lots(HOUSE).astype(int).tolist(), state.ledger.house.cash_micro
            self.body.run(Reconciled(item.ts_event, held, None, 4 * max(cash, 10**9), counted=counted(state)))


def run_growth(symbols: int, agents: int, bars: int, place: str = "near") -> None:
    """Take the bars of a synthetic market one by one, and print the CPU of one behind MARK.

    `place` is "far" for a venue across a network, whose own time is left out.
    """
    block, universe, sessions = market(symbols, bars)
    policies = [policy for _ in range(agents) for policy in rotating()]
    body = shell(universe, sessions, policies, True, LIMITS)
    body.log = Reads()
    venue = FarVenue(body) if place == "far" else None
    items = timeline(block, 1, agents)
    warm, took = 2 * 60, 0.0
    for number, item in enumerate(items):
        began = time.process_time()
        body.take(item)
        took += time.process_time() - began if number >= warm else 0.0
        if venue is not None:
            venue.hear(item)
    print(MARK + json.dumps({"main": took / (bars - 60) * 1e6, "digest": body.digest.hexdigest()}))


def reply_of(side: Side, words: Sequence[str]) -> dict[str, Any]:
    """What a process of a side printed behind MARK. Raises SystemExit where it fails."""
    command = [sys.executable, "-P", "-m", "benchmarks.service_bar", "--run", json.dumps([*words, str(side.folder)])]
    done = subprocess.run(command, cwd=side.folder, env=environment(side), capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or not lines:
        last = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise SystemExit(f"{words[0]} on {side.text} failed: {last}")
    reply: dict[str, Any] = json.loads(lines[-1].removeprefix(MARK))
    return reply


def beside(sides: Sequence[Side], rows: Sequence[tuple[str, Sequence[str]]], rounds: int) -> bool:
    """Print a table of the rows (text, words of the run) on all sides in turn; returns whether the digests agree."""
    figures: dict[tuple[str, str], list[float]] = {}
    same = True
    folded = {}
    for _ in range(rounds):
        for text, words in rows:
            digests = set()
            for side in sides:
                reply = reply_of(side, words)
                figures.setdefault((text, side.text), []).append(reply["main"])
                digests.add(reply["digest"])
                folded[text] = reply.get("folded", (0, 0))
            same = same and len(digests) == 1
    for text, _ in rows:
        line = f"{text:34s}"
        ratios = []
        for side in sides:
            values = figures[text, side.text]
            line += f"  {side.text} {statistics.median(values):9.1f} (least {min(values):9.1f})"
        if len(sides) > 1:
            pairs = zip(figures[text, sides[0].text], figures[text, sides[1].text], strict=True)
            ratios = [before / now for before, now in pairs]
            line += f"  ratio {statistics.median(ratios):5.2f} (least {min(ratios):5.2f})"
        if sum(folded[text]):
            line += f"  bars in the fold {100 * folded[text][0] / sum(folded[text]):.1f} %"
        print(line, flush=True)
    return same


def draw(case: str, reply: dict[str, Any]) -> None:
    """Print the parts of one bar as bars of text."""
    parts = dict(sorted(reply["parts"].items(), key=lambda pair: -pair[1]))
    parts["the event loop, commits, sending"] = max(0.0, reply["main"] - sum(parts.values()))
    print(f"{CASES[case]}: {reply['main']:.0f} us of CPU a bar, with the measuring of its parts")
    longest = max(parts.values())
    for text, us in parts.items():
        print(f"    {text:34s} {us:7.1f}  {'#' * round(40 * us / longest)}")


def exponent(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The slope of log(time) over log(size), by least squares."""
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in times]
    mean_x, mean_y = statistics.fmean(x), statistics.fmean(y)
    spread = sum((one - mean_x) ** 2 for one in x)
    return sum((one - mean_x) * (other - mean_y) for one, other in zip(x, y, strict=True)) / spread


def growth(sides: Sequence[Side], rounds: int) -> bool:
    """Print the engine's CPU by symbols and by agents, and the exponents of the present side."""
    rows = [(f"{n} symbols, all trade", ["growth", str(n), "1", str(bars)]) for n, bars in SIZES.items()]
    rows.append(("20 symbols, a venue that is far", ["growth", "20", "1", str(SIZES[20]), "far"]))
    same = beside(sides, rows, rounds)
    present = sides[-1]
    for text, sizes, words in (
        ("symbols", tuple(SIZES), lambda n: ["growth", str(n), "1", str(SIZES[n])]),
        ("agents", AGENTS, lambda n: ["growth", "20", str(n), "400"]),
    ):
        times = [min(reply_of(present, words(n))["main"] for _ in range(rounds)) for n in sizes]
        parts = ", ".join(f"{n}: {value:.0f}" for n, value in zip(sizes, times, strict=True))
        print(f"us a bar by {text}: {parts}; exponent {exponent(sizes, times):.2f}")
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--beside", metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--case", action="append", choices=list(CASES))
    parser.add_argument("--parts", action="store_true")
    parser.add_argument("--growth", action="store_true")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        name, *words, folder = json.loads(given.run)
        if name == "growth":
            symbols, agents, bars, *place = words
            run_growth(int(symbols), int(agents), int(bars), *place)
        else:
            run_case(name, Path(folder), parts="parts" in words)
        return
    print(f"machine: {machine_us():.1f} us for sum(range(1000)), load {os.getloadavg()[0]:.1f}")
    cases = given.case or list(CASES)
    with ExitStack() as stack:
        present = Side("now", ROOT)
        sides = [present]
        if given.beside:
            sides.insert(0, stack.enter_context(side_of(given.beside)))
            build(sides[0])
        build(present)
        if given.parts:
            for case in cases:
                draw(case, reply_of(present, [case, "parts"]))
            return
        same = growth(sides, given.rounds) if given.growth else beside(sides, [(c, [c]) for c in cases], given.rounds)
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
