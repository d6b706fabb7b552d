"""Measures walks through the product by the files that are executed.

    python scripts/walks.py [WALK ...] [--root FOLDER] [--files] [--json FILE] [--beside FILE]

| walk | from | to |
|---|---|---|
| `fill` | a bar is given to the feed's function | a position of the house has changed |
| `bar` | a bar with fills, decisions of three agents and orders enters the inbox | it is committed and published |
| `proposal` | an outside agent sends targets to the HTTP API | its order is committed and the agent has its answer |
| `backtest` | the command `quantd backtest` | its exit code |
| `limit` | the text of a configuration with a limit | a plan with a refusal by it |
| `limit alone` | the part of `limit` that is done more often than without the limit | |

Each walk is measured in a process of its own, on the interpreted engine (QUANTD_UNCOMPILED=1): a compiled function is
not seen. The parts are the product's: service, store, paper venue, policies, API. `bar` has SAMPLES bars, each with its
own row. `limit` has the configuration, the assembly and the one item of the market that ends in the refusal, without
the items before.

What is counted: each call of a function whose source lies in the product, on every thread, and each time a generator or
coroutine goes on. The product is `src/quantd` with the folders to which links there lead. Bodies of modules and classes
are not counted, so an import enters no file but the hook of `engine_build`. Code without a file is not counted, such as
the `__init__` of a dataclass. No background task runs: watchdog, jobs, bus and delivery of alerts belong to `quantd
run`, and only the loop of the service is started here. What this loop does between two bars counts; `changes` and
`calls` of two measurements therefore differ by a few. `proposal` is the second proposal, which finds its modules
imported, and `limit` the second assembly.

`files` are those with a counted call, `folders` and `packages` the folders and the top folders in which they lie.
`changes` is how often a call is in another file than the call before it on the same thread. `functions` are those that
are called, and `calls` all calls.

`--root` is the checkout that is measured; its modules lie where this script imports them. `--files` lists the files in
the order in which they are entered. `--json FILE` writes the walks with their files, and `--beside FILE` prints what
differs from such a file.
"""

import argparse
import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from inspect import CO_OPTIMIZED
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

FACE: Final = "quantd"
RUN: Final = "7f3k2m1a"
SAMPLES: Final = 5
"""Bars of the walk `bar`."""

LIMIT: Final = "max_position_weight = 0.05"
"""The limit of the walk `limit`. The agents want more of a symbol than this."""

MARKET: Final = """
[quantd]
state = "state"
[universe]
symbols = ["SPY", "QQQ", "IWM", "AAPL", "BAC"]
[feed]
path = "data/us_daily.parquet"
actions = "data/us_actions.csv"
stamps = "session"
start = 2019-01-02
end = 2019-06-28
pace = "fast"
at_end = "wait"
[broker]
cash = "100000.00"
[bus]
port = 0
[api]
port = 0
"""

AGENTS: Final = """
[[agents]]
name = "even"
policy = "equal_weight"
capital = 0.3
[[agents]]
name = "parity"
policy = "inverse_volatility"
capital = 0.3
[[agents]]
name = "trend"
policy = "momentum"
capital = 0.3
"""

GUEST: Final = """
[[agents]]
name = "guest"
policy = "external"
capital = 0.5
"""

HOUSE_LIMITS: Final = """
[risk]
max_gross_exposure = 1.0
max_drawdown = 0.25
var = { limit = 0.03 }
"""


@dataclass(slots=True)
class Walk:
    """What was entered between the start and the end of a walk."""

    files: dict[str, int] = field(default_factory=dict)
    """Path -> calls in it, in the order in which the files are entered."""
    functions: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    """(path, name, line) -> calls."""
    changes: int = 0

    def row(self) -> dict[str, Any]:
        """The walk as JSON."""
        folders = {path.rpartition("/")[0] for path in self.files}
        return {
            "numbers": {
                "files": len(self.files),
                "folders": len(folders),
                "packages": len({path.partition("/")[0] for path in self.files}),
                "changes": self.changes,
                "functions": len(self.functions),
                "calls": self.functions.total(),
            },
            "files": list(self.files),
        }

    def without(self, other: "Walk") -> "Walk":
        """The functions that are called more often than in another walk. It has no changes of file."""
        functions = self.functions - other.functions
        paths = {path for path, _, _ in functions}
        files = {path: sum(n for key, n in functions.items() if key[0] == path) for path in self.files if path in paths}
        return Walk(files, functions)


class Recorder:
    """Counts the calls of functions of the product while it records."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        top = self.root / "src" / FACE
        self.homes = tuple({top, *(place.resolve() for place in top.iterdir() if place.is_dir())})
        self.walk = Walk()
        self.recording = False
        self.ended: Callable[[], bool] | None = None
        """Asked at each return of a function; once it is true the recording ends."""
        self._paths: dict[str, str] = {}
        self._last: dict[int, str] = {}
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)

    def path_of(self, name: str) -> str:
        """The path of a source file below the root, without links; empty outside the product."""
        if name not in self._paths:
            path = Path(name).resolve()
            inside = name.endswith(".py") and any(path.is_relative_to(home) for home in self.homes)
            self._paths[name] = path.relative_to(self.root).as_posix() if inside else ""
        return self._paths[name]

    @contextlib.contextmanager
    def record(self, walk: Walk | None = None) -> Iterator[Walk]:
        """Record into a walk, into a new one without."""
        self.walk = walk or Walk()
        self._last.clear()
        self.recording = True
        try:
            yield self.walk
        finally:
            self.recording, self.ended = False, None

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Count nothing, for a question of the script itself to the product."""
        before, self.recording = self.recording, False
        try:
            yield
        finally:
            self.recording = before

    def _profile(self, frame: FrameType, event: str, _: object) -> None:
        if not self.recording:
            return
        if event == "call":
            self._called(frame.f_code)
        elif event == "return" and self.ended is not None and self.ended():
            self.recording = False

    def _called(self, code: CodeType) -> None:
        path = self.path_of(code.co_filename)
        if not path or not code.co_flags & CO_OPTIMIZED:
            return
        walk, thread = self.walk, threading.get_ident()
        walk.functions[path, code.co_qualname, code.co_firstlineno] += 1
        walk.files[path] = walk.files.get(path, 0) + 1
        walk.changes += self._last.get(thread, path) != path
        self._last[thread] = path


class Running:
    """A service over a recorded market with a real store and the paper venue, and its API, which `start` opens."""

    def __init__(self, folder: Path, text: str, recorder: Recorder) -> None:
        from quantd.adapters.bus.messages import Composer
        from quantd.adapters.store.handle import Store
        from quantd.daemon.assembly.job_records import JobContext
        from quantd.daemon.jobs.job_lanes import JobLanes, works_of
        from quantd.daemon.recovery.start import begin
        from quantd.daemon.runtime.alert_filter import AlertFilter
        from quantd.daemon.runtime.committed_folds import BatchMessages
        from quantd.daemon.runtime.journal import Journal
        from quantd.daemon.runtime.service import Service
        from quantd.daemon.runtime.timeline import instants
        from quantd.server.api.server import Api

        self.recorder = recorder
        self.config, self.parts = _assembled(folder, text)
        state = folder / "state"
        self.store = Store.open(state)
        names = [agent.name for agent in self.config.agents]
        projection = self.store.begin(RUN, self.parts.universe, agents=names, ts=0)
        journal = Journal()
        self.shell = self.parts.shell(journal)
        self.service = Service(
            self.shell, journal, self.store, projection, config=self.config, run=RUN, state_folder=state,
            alerts=AlertFilter(("CRITICAL",), 60, "", "UTC"),
            messages=BatchMessages(
                Composer(RUN, "paper", self.parts.universe, names), lambda states, entries: None, lambda message: None
            ),
        )  # fmt: skip
        self.reported = asyncio.Event()
        self.service.listeners.add(self.reported)
        begin(self.shell, self.parts, self.config, RUN, fresh=True)
        works = works_of(JobContext(self.service, self.parts, state, state))
        lanes = JobLanes(self.service, self.parts, works)
        self.api = Api(self.service, self.parts, self.config, state, None, "mqtt://127.0.0.1:1", lanes)
        self.token = (state / "token").read_text(encoding="utf-8").strip()
        market = list(instants(self.parts.items()))
        first = next(number for number, instant in enumerate(market) if not getattr(instant[-1], "warmup", True))
        self.warmup, self.market = market[:first], market[first:]

    @property
    def lots(self) -> list[int]:
        """The positions of the house. They are read in the middle of an item, where nothing may be settled."""
        return list(self.shell.unsettled.ledger.house.lots)

    async def feed(self, market: Sequence[Any]) -> None:
        """Give instants to the function of the feed, and wait until they are committed."""
        from quantd.daemon.runtime.feeder import feed_recorded

        self.reported.clear()
        await feed_recorded(self.service, iter(market), "fast", "wait")
        await self.settled()

    async def put(self, instant: Any) -> None:
        """Put an instant into the inbox, and wait until it is committed."""
        self.reported.clear()
        await self.service.inbox.put([instant])
        await self.settled()

    async def settled(self) -> None:
        """Wait until all that entered the inbox is committed and published, which the service reports."""
        waiting = True
        while waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.1):  # an instant without an entry of the journal has no commit
                    await self.reported.wait()
            with self.recorder.paused():
                self.reported.clear()
                service = self.service
                steps = len(service.inbox) or service.journal.entries
                waiting = bool(steps) or self.store.last_seq(RUN) < service.journal.seq

    async def during(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the work while the loop of the service steps."""
        stepping = asyncio.create_task(self.service.step_forever())
        try:
            await work
        finally:
            self.shell.stopped = "the walk is over"
            await stepping
            self.store.close()


def _assembled(folder: Path, text: str) -> tuple[Any, Any]:
    """The configuration of a text and the parts of its run."""
    from quantd.daemon.assembly.names import known_names
    from quantd.daemon.assembly.parts import assemble
    from quantd.daemon.config import load

    path = folder / "config.toml"
    path.write_text(text, encoding="utf-8")
    config = load(path, known_names())
    return config, assemble(config, cache=folder / "cache")


def fill(folder: Path, recorder: Recorder) -> dict[str, Walk]:
    """From a bar to the first position that it changes."""
    running, walks = Running(folder, MARKET + HOUSE_LIMITS + AGENTS, recorder), []

    async def work() -> None:
        await running.feed(running.warmup)
        for instant in running.market:
            before = running.lots
            with recorder.record() as walk:
                recorder.ended = lambda: running.lots != before  # noqa: B023 - asked in this round only
                await running.feed([instant])
                booked = not recorder.recording
            if booked:
                walks.append(walk)
                return

    asyncio.run(running.during(work()))
    return {"fill": walks[0]}


def bar(folder: Path, recorder: Recorder) -> dict[str, Walk]:
    """The first bars after the start with fills, three decisions and orders, from the inbox to the bus."""
    from quantd.trading.codec import decode
    from quantd.trading.events import Decided

    running = Running(folder, MARKET + HOUSE_LIMITS + AGENTS, recorder)
    walks: dict[str, Walk] = {}

    async def work() -> None:
        await running.feed(running.warmup)
        seq = running.store.last_seq(RUN)
        for instant in running.market:
            tally = running.shell.tally
            before = tally.fills, tally.orders
            with recorder.record() as walk:
                await running.put(instant)
            entries = list(running.store.entries(RUN, seq + 1))
            seq = entries[-1][0] if entries else seq
            decisions = sum(isinstance(decode(data).event, Decided) for _, data in entries)
            if tally.fills > before[0] and tally.orders > before[1] and decisions == 3:
                walks[f"bar {len(walks) + 1}"] = walk
            if len(walks) == SAMPLES:
                return

    asyncio.run(running.during(work()))
    return walks


def proposal(folder: Path, recorder: Recorder) -> dict[str, Walk]:
    """From a request of an outside agent to its answer, at the end of the market."""
    import aiohttp

    running, walks = Running(folder, MARKET + HOUSE_LIMITS + GUEST, recorder), []

    async def work() -> None:
        await running.feed(running.warmup)
        await running.api.start()
        headers = {"Authorization": f"Bearer {running.token}"}
        async with aiohttp.ClientSession(running.api.url, headers=headers) as session:
            for number, (weight, market) in enumerate(((0.1, running.market[:-4]), (0.3, running.market[-4:]))):
                await running.feed(market)
                body = {"weights": {"SPY": weight}, "id": f"walk-{number}", "reason": "a walk"}
                orders = running.shell.tally.orders
                running.reported.clear()
                with recorder.record() as walk:
                    async with session.post("/api/v1/agents/guest/propose", json=body) as response:
                        text = await response.text()
                    await running.settled()
                if response.status != 200 or running.shell.tally.orders == orders:
                    raise WalkFailed(f"status {response.status}, {text}")
                walks.append(walk)
        await running.api.stop()

    asyncio.run(running.during(work()))
    return {"proposal": walks[-1]}


def backtest(folder: Path, recorder: Recorder) -> dict[str, Walk]:
    """The command on the market of the other walks, in an empty state folder."""
    (folder / "config.toml").write_text(MARKET + HOUSE_LIMITS + AGENTS, encoding="utf-8")
    os.chdir(folder)
    errors, code = io.StringIO(), 0
    with recorder.record() as walk, contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
        try:
            from quantd.daemon.cli import main

            main(["backtest"])
        except SystemExit as end:
            code = int(end.code or 0)
    if code:
        raise WalkFailed(f"exit code {code}, {errors.getvalue()}")
    return {"backtest": walk}


def limit(folder: Path, recorder: Recorder) -> dict[str, Walk]:
    """From the text of a configuration to a refusal, with the limit and without."""
    _assembled(folder, MARKET + AGENTS)  # imports what both need
    walk, number = _to_refusal(folder, MARKET + f"[risk]\n{LIMIT}\n" + AGENTS, recorder, None)
    beside, _ = _to_refusal(folder, MARKET + AGENTS, recorder, number)
    return {"limit": walk, "limit alone": walk.without(beside)}


def _to_refusal(folder: Path, text: str, recorder: Recorder, last: int | None) -> tuple[Walk, int]:
    """The walk to the first item with a refusal, or to the item of this number."""
    with recorder.record() as start:
        _, parts = _assembled(folder, text)
        shell = parts.shell()
    for number, item in enumerate(parts.items()):
        refused = shell.tally.refused
        with recorder.record() as walk:
            shell.take(item)
        if number == last or (last is None and shell.tally.refused > refused):
            start.functions.update(walk.functions)
            start.changes += walk.changes
            for path, calls in walk.files.items():
                start.files[path] = start.files.get(path, 0) + calls
            return start, number
    raise WalkFailed(f"no plan has a refusal by {LIMIT}")


WALKS: Final[Mapping[str, Callable[[Path, Recorder], dict[str, Walk]]]] = {
    "fill": fill,
    "bar": bar,
    "proposal": proposal,
    "backtest": backtest,
    "limit": limit,
}


class WalkFailed(Exception):
    """A walk did not come to its end."""


def measured(name: str, root: Path) -> dict[str, Any]:
    """The rows of a walk by name, measured in another process."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "walk.json"
        path = os.pathsep.join(map(str, (root / "src", root)))
        variables = {name: value for name, value in os.environ.items() if not name.startswith("QUANTD_")}
        variables |= {"QUANTD_UNCOMPILED": "1", "PYTHONPATH": path, "XDG_CACHE_HOME": folder, "XDG_STATE_HOME": folder}
        words = [sys.executable, "-P", __file__, name, "--root", str(root), "--here", str(out)]
        done = subprocess.run(words, env=variables, cwd=folder, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise WalkFailed(f"{name}: {(done.stderr.splitlines() or ['no text'])[-1]}")
        rows: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        return rows


def measure_here(name: str, root: Path, out: Path) -> None:
    """Measure a walk in this process, and write its rows."""
    recorder = Recorder(root)
    with tempfile.TemporaryDirectory() as folder:
        walks = WALKS[name](Path(folder), recorder)
        os.chdir(root)
    sys.setprofile(None)
    out.write_text(json.dumps({title: walk.row() for title, walk in walks.items()}), encoding="utf-8")


def table(rows: Mapping[str, Any]) -> str:
    """The numbers of the walks."""
    titles = list(next(iter(rows.values()))["numbers"])
    width = max(4, *map(len, rows))
    lines = ["  ".join([f"{'walk':{width}s}", *(f"{title:>9s}" for title in titles)])]
    for name, row in rows.items():
        lines.append("  ".join([f"{name:{width}s}", *(f"{row['numbers'][title]:9,d}" for title in titles)]))
    return "\n".join(lines)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What differs between two files of `--json`, for the walks that both have."""
    lines = []
    for name in (name for name in after if name in before):
        old, new = before[name], after[name]
        for title, number in new["numbers"].items():
            if old["numbers"].get(title) != number:
                lines.append(f"{name}: {title} {old['numbers'].get(title, 0):,d} -> {number:,d}")
        lines += [f"{name}: file gone: {path}" for path in sorted({*old["files"]} - {*new["files"]})]
        lines += [f"{name}: file new: {path}" for path in sorted({*new["files"]} - {*old["files"]})]
    return "\n".join(lines) or "nothing differs"


def read_rows(path: Path) -> dict[str, Any]:
    """Read a file of `--json`. Raises ValueError for another file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(row, dict) and "numbers" in row for row in content.values()):
        raise ValueError(f"{path} is not a file of --json; write one with --json FILE")
    return content


def options_of(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measures walks through the product by the files that are executed.")
    parser.add_argument("walks", nargs="*", metavar="WALK", help=f"{', '.join(WALKS)}; all without")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parents[1], help="the checkout")
    parser.add_argument("--files", action="store_true", help="list the files in order of entry")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the walks")
    parser.add_argument("--beside", type=Path, metavar="FILE", help="print what differs from a file of --json")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)  # the script calls itself with it
    options = parser.parse_args(words)
    if wrong := [name for name in options.walks if name not in WALKS]:
        parser.error(f"{wrong[0]} is no walk; the walks are {', '.join(WALKS)}")
    if not (options.root / "src" / FACE).is_dir():
        parser.error(f"{options.root} is no checkout: it has no src/{FACE}")
    try:
        options.before = read_rows(options.beside) if options.beside else None
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return options


def main(words: Sequence[str]) -> int:
    options = options_of(words)
    root = options.root.resolve()
    rows: dict[str, Any] = {}
    try:
        if options.here:
            measure_here(options.walks[0], root, options.here)
            return 0
        for name in options.walks or WALKS:
            rows |= measured(name, root)
    except WalkFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(table(rows))
    if options.files:
        for name, row in rows.items():
            print("", f"{name}:", *(f"  {path}" for path in row["files"]), sep="\n")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    if options.before is not None:
        print("", differences(options.before, rows), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
