"""Runs backtests and sweeps beside a run, at a person's request: one process at a time, of the lowest priority.

What can go wrong: a backtest takes the processor or the memory that trading needs. So its process gives way, has a
bound of time and of private memory, and is the first that the system ends where memory is short. Its children end with
it.

The runs are those of the log of jobs: their states, senders and results are in the store. A run whose process the end
of the daemon ended is interrupted at the next start. The reference of a run is such a run as well: the newest one names
the pinned backtest.
"""

import asyncio
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from quantd.adapters.store.journal.job_runs import OPEN, JobRun
from quantd.daemon.cli.output import PROGRESS
from quantd.daemon.jobs.job_log import AlreadyRunning, JobLog
from quantd.daemon.jobs.tasks.command_process import LOWEST
from quantd.research.jobs.research_orders import KINDS, ResearchOrder, check

LIMIT_S: Final = 3_600.0
"""Seconds after which a process is ended."""

MOST_DATA: Final = 4 << 30
"""Bytes of private memory of each process."""

LINE: Final = 1 << 24
"""Longest line of an answer in bytes."""

REFERENCE: Final = "reference"
"""The job that pins a backtest."""

NONE: Final = "no backtest"

_RUN: Final = re.compile(r"run ([0-9a-z]+), Sharpe \S+\Z")


class ResearchFailed(Exception):
    """A backtest or a sweep that has no result, with the reason."""


class Conflict(Exception):
    """The log has a run that forbids a request; the text is for its sender."""


class Pinned(Struct, frozen=True):
    """The pinned backtest of a run: who pinned it, when (ns of the clock) and why."""

    backtest: str
    who: str
    reason: str
    ts: int


class _Performance(Struct):
    sharpe: float | None = None


class _Backtest(Struct):
    """The part of the document of `quantd backtest` that is read here."""

    run: str
    performance: _Performance
    failures: list[str] = []


class _Sweep(Struct):
    """The part of the document of `quantd sweep` that is read here."""

    points: list[dict[str, object]]
    best: dict[str, object] | None
    verdict: str
    failures: list[str] = []


def backtest_of(run: JobRun) -> str:
    """The stored backtest that a run made; empty for none."""
    match = _RUN.search(run.result) if (run.job, run.state) == ("backtest", "succeeded") else None
    return "" if match is None else match[1]


def pinned_of(runs: Sequence[JobRun]) -> Pinned | None:
    """The pinned backtest by the runs of jobs, newest first; None without one."""
    newest = next((run for run in runs if (run.job, run.state) == (REFERENCE, "succeeded")), None)
    if newest is None or newest.result == NONE:
        return None
    return Pinned(newest.result, newest.who, newest.reason, newest.ended_ns)


class ResearchJobs:
    """The backtests and sweeps of one service: at most one of each kind is open, and one process runs."""

    def __init__(self, log: JobLog, folder: Path, file: Path, sets: Callable[[], tuple[str, ...]]) -> None:
        """`folder` is the state folder, `file` the configuration, and `sets` gives the overrides of the run."""
        self._log = log
        self._folder = folder
        self._file = file
        self._sets = sets
        self._one = asyncio.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.shares: dict[int, float] = {}
        """Run -> the share of its work that is done."""

    def check(self, order: ResearchOrder) -> None:
        """Raise OrderRefused for a key or a value that the configuration refuses.

        The check reads the configuration file, so it belongs into a thread.
        """
        check(order, self._file, self._sets())

    async def start(self, order: ResearchOrder, who: str, reason: str, ts: int) -> JobRun:
        """Queues an order that is checked. Raises Conflict where one of its kind is open."""
        try:
            run = self._log.begin(order.kind, (), due_ts=ts, who=who, reason=reason)
        except AlreadyRunning as why:
            raise Conflict(f"{why}; cancel it, or wait for its end") from None
        run = self._log.put(replace(run, result=order.words))
        await self._log.flush()
        task = self._tasks[run.id] = asyncio.create_task(self._run(run, order))
        task.add_done_callback(lambda _: self._forget(run.id))
        return run

    async def cancel(self, id: int, who: str, reason: str) -> JobRun:
        """Ends a run and its process. Raises Conflict where it is not open, and KeyError for an unknown one."""
        run = self._log.get(id)
        if run is None or run.job not in KINDS:
            raise KeyError(id)
        if run.state not in OPEN:
            raise Conflict(f"job run {id} has ended: {run.state}")
        if (task := self._tasks.get(id)) is not None:
            task.cancel()
            await asyncio.wait({task})
        ended = self._log.get(id)
        if ended is None or ended.state not in OPEN:
            raise Conflict(f"job run {id} ended before it could be cancelled")
        ended = self._log.end(ended, f"{ended.result}: cancelled by {who}: {reason}", failed=True)
        await self._log.flush()
        return ended

    async def pin(self, backtest: str, who: str, reason: str, ts: int) -> JobRun:
        """Pins a stored backtest as the reference of the run; none for an empty text. Raises Conflict during a pin."""
        try:
            run = self._log.begin(REFERENCE, (), due_ts=ts, who=who, reason=reason)
        except AlreadyRunning as why:
            raise Conflict(str(why)) from None
        run = self._log.end(replace(run, started_ns=time.time_ns(), attempts=1), backtest or NONE)
        await self._log.flush()
        return run

    def close(self) -> None:
        """Ends the process. Its run stays open, so that the next start finds it interrupted."""
        for task in self._tasks.values():
            task.cancel()

    def _forget(self, id: int) -> None:
        self._tasks.pop(id, None)
        self.shares.pop(id, None)

    async def _run(self, run: JobRun, order: ResearchOrder) -> None:
        async with self._one:
            run = self._log.put(replace(run, state="running", started_ns=time.time_ns(), attempts=1))
            await self._log.flush()
            failed = True
            try:
                async with asyncio.timeout(LIMIT_S):
                    result = await self._result(run.id, order)
                failed = False
            except TimeoutError:
                result = f"no end within {LIMIT_S / 3_600:g} h; its process was ended"
            except (ResearchFailed, OSError) as why:
                result = str(why)
            # the log stores 1,000 characters: the words of the order are cut, never the end, which names the backtest
            room = 900 - len(result)
            self._log.end(run, f"{order.words[: max(0, room)]}: {result}", failed=failed)
            await self._log.flush()

    async def _result(self, id: int, order: ResearchOrder) -> str:
        """Run the order in a process and return its result as text. Raises ResearchFailed where the process or the run
        fails."""
        words = list(order.command(self._file, self._folder, self._sets()))
        out, why = await output_of(words, lambda share: self.shares.update({id: share}))
        try:
            if order.kind == "backtest":
                tested = msgspec.json.decode(out, type=_Backtest)
                ratio = "–" if tested.performance.sharpe is None else f"{tested.performance.sharpe:.2f}"
                failures, text = tested.failures, f"run {tested.run}, Sharpe {ratio}"
            else:
                swept = msgspec.json.decode(out, type=_Sweep)
                failures, text = swept.failures, _best(swept)
        except msgspec.MsgspecError:
            raise ResearchFailed(why) from None
        if failures:
            raise ResearchFailed(f"{failures[0]}{f', and {len(failures) - 1} more' if failures[1:] else ''}")
        return text


def _best(swept: _Sweep) -> str:
    """The best point of a sweep, and the verdict on it."""
    if swept.best is None:
        return f"{len(swept.points)} points. {swept.verdict}"
    values = ", ".join(f"{key}={value}" for key, value in swept.best.items())
    return f"{len(swept.points)} points, best {values}. {swept.verdict}"


async def output_of(words: Sequence[str], done: Callable[[float], object]) -> tuple[bytes, str]:
    """(output, last line of errors) of `quantd WORDS`; `done` gets the completed share. A cancelled call ends the
    process with its children."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "quantd.daemon.cli", *words,
        env={**os.environ, PROGRESS: "lines", "OMP_NUM_THREADS": "1"}, limit=LINE, start_new_session=True,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        _bound(process.pid)
        assert process.stdout is not None
        assert process.stderr is not None
        last = ""

        async def errors(lines: asyncio.StreamReader) -> None:
            nonlocal last
            async for line in lines:
                text = line.decode(errors="replace").strip()
                if text.startswith("progress "):
                    done(float(text.removeprefix("progress ")))
                elif text:
                    last = text

        out, _ = await asyncio.gather(process.stdout.read(), errors(process.stderr))
        code = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
    return out, last or f"its process ended with code {code}"


def _bound(pid: int) -> None:
    """A process that gives way to trading, and that the system ends first where memory is short."""
    with suppress(OSError):  # it may have ended
        os.setpriority(os.PRIO_PROCESS, pid, LOWEST)
    with suppress(OSError, AttributeError, ValueError):  # of Linux alone
        resource.prlimit(pid, resource.RLIMIT_DATA, (MOST_DATA, MOST_DATA))
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
