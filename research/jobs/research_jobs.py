"""Runs backtests and sweeps during a run, at a person's request: one process at a time, of the lowest priority.

What can go wrong: a backtest takes the processor or the memory that trading needs. So its process has the lowest
priority, a limit of time and of private memory, and is the first that the system ends where memory is short. Its
children end with it.

Each backtest or sweep is a job run in the log of jobs, so that its state, sender and result are in the store. If the
daemon ends during a job run, the next start marks the job run as interrupted. A person can pin a backtest as the
reference of the run. The pin is a job run, too, of the job REFERENCE, and the newest one names the pinned backtest.
"""

import asyncio
import re
import resource
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
from quantd.daemon.jobs.job_table import duration_text
from quantd.daemon.jobs.tasks import command_process
from quantd.research.jobs.research_orders import KINDS, ResearchOrder, check

LIMIT_S: Final = 3_600.0
"""Seconds after which the process of a backtest or a sweep is ended."""

MOST_DATA: Final = 4 << 30
"""Maximum private memory of each process, in bytes."""

REFERENCE: Final = "reference"
"""The job that pins a backtest."""

NONE: Final = "no backtest"
"""The result of a job run that removes the pin."""

_BACKTEST_RESULT: Final = re.compile(r"run ([0-9a-z]+), Sharpe [^\s,]+(, .*)?\Z")


class ResearchFailed(Exception):
    """A backtest or a sweep that has no result, with the reason."""


class Conflict(Exception):
    """The state of a job run in the log forbids a request. The text is for the sender of the request."""


class Pinned(Struct, frozen=True):
    """The pinned backtest of a run: who pinned it, when (ns of the clock) and why."""

    backtest: str
    who: str
    reason: str
    ts: int


class _Performance(Struct):
    sharpe: float | None = None
    annual_return: float | None = None
    volatility_annual: float | None = None
    max_drawdown: float | None = None


class _Backtest(Struct):
    """The fields that this module reads from the output of `quantd backtest --json`."""

    run: str
    performance: _Performance
    failures: list[str] = []


class _Sweep(Struct):
    """The fields that this module reads from the output of `quantd sweep --json`."""

    points: list[dict[str, object]]
    best: dict[str, object] | None
    verdict: str
    failures: list[str] = []


def backtest_of(run: JobRun) -> str:
    """Return the name of the stored backtest that a job run made; empty for none."""
    match = _BACKTEST_RESULT.search(run.result) if (run.job, run.state) == ("backtest", "succeeded") else None
    return "" if match is None else match[1]


def pinned_of(runs: Sequence[JobRun]) -> Pinned | None:
    """Return the pinned backtest; None where none is pinned. `runs` are the job runs, the newest first."""
    newest = next((run for run in runs if (run.job, run.state) == (REFERENCE, "succeeded")), None)
    if newest is None or newest.result == NONE:
        return None
    return Pinned(newest.result, newest.who, newest.reason, newest.ended_ns)


class ResearchJobs:
    """The backtests and sweeps of one running daemon.

    At most one backtest and one sweep is queued or running, and only one process runs at a time.
    """

    def __init__(self, log: JobLog, folder: Path, file: Path, sets: Callable[[], tuple[str, ...]]) -> None:
        """`folder` is the state folder, `file` the configuration, and `sets` returns the overrides of the run."""
        self._log = log
        self._folder = folder
        self._file = file
        self._sets = sets
        self._one_process = asyncio.Lock()
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.shares: dict[int, float] = {}
        """Id of a job run -> the completed share of its work, 0 to 1."""

    def check(self, order: ResearchOrder) -> None:
        """Raise OrderRefused for a key or a value that the configuration refuses.

        The check reads the configuration file: call it in a thread, or it blocks trading.
        """
        check(order, self._file, self._sets())

    async def start(self, order: ResearchOrder, who: str, reason: str, ts: int) -> JobRun:
        """Queue a checked backtest or sweep. Raises Conflict where another job of the same kind waits or runs."""
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
        """Cancel a job run and end its process.

        Raises Conflict for a job run that has ended, and KeyError for an id that belongs to no backtest or sweep.
        """
        run = self._log.get(id)
        if run is None or run.job not in KINDS:
            raise KeyError(id)
        if run.state not in OPEN:
            raise Conflict(f"job run {id} has ended: {run.state}")
        if (task := self._tasks.get(id)) is not None:
            task.cancel()
            await asyncio.wait({task})
        # the log again: the job run may have ended while its task was cancelled
        ended = self._log.get(id)
        if ended is None or ended.state not in OPEN:
            raise Conflict(f"job run {id} ended before it could be cancelled")
        ended = self._log.end(ended, f"{ended.result}: cancelled by {who}: {reason}", failed=True)
        await self._log.flush()
        return ended

    async def pin(self, backtest: str, who: str, reason: str, ts: int) -> JobRun:
        """Pin a stored backtest as the reference of the run; an empty `backtest` removes the pin.

        A pin is stored as a job run that ends at once, with the backtest as its result. Raises Conflict where another
        pin is in progress.
        """
        try:
            # by hand: no schedule asked for it
            run = self._log.begin(REFERENCE, (), due_ts=ts, who=who, reason=reason)
        except AlreadyRunning as why:
            raise Conflict(str(why)) from None
        run = self._log.end(replace(run, started_ns=time.time_ns(), attempts=1), backtest or NONE)
        await self._log.flush()
        return run

    def close(self) -> None:
        """End all processes. Their job runs stay open in the log, so that the next start marks them as interrupted."""
        for task in self._tasks.values():
            task.cancel()

    def _forget(self, id: int) -> None:
        self._tasks.pop(id, None)
        self.shares.pop(id, None)

    async def _run(self, run: JobRun, order: ResearchOrder) -> None:
        """Wait until no other process runs, run the backtest or sweep, and write its result or why it failed."""
        async with self._one_process:
            run = self._log.put(replace(run, state="running", started_ns=time.time_ns(), attempts=1))
            await self._log.flush()
            failed = True
            try:
                async with asyncio.timeout(order.limit_s or LIMIT_S):
                    result = await self._result(run.id, order)
                failed = False
            except TimeoutError:
                result = f"it took longer than {duration_text(order.limit_s or LIMIT_S)}; its process was ended"
            except (ResearchFailed, OSError) as why:
                result = str(why)
            # the log stores 1,000 characters: the words of the order are cut, never the end, which names the backtest
            words_length = 900 - len(result)
            self._log.end(run, f"{order.words[: max(0, words_length)]}: {result}", failed=failed)
            await self._log.flush()

    async def _result(self, id: int, order: ResearchOrder) -> str:
        """Run the backtest or sweep in a process; return its result as text. Raises ResearchFailed where it fails."""
        # in a thread: the overrides of the run are in a file
        arguments = list(order.command(self._file, self._folder, await asyncio.to_thread(self._sets)))
        output, error = await output_of(arguments, lambda share: self.shares.update({id: share}))
        try:
            if order.kind == "backtest":
                tested = msgspec.json.decode(output, type=_Backtest)
                failures, text = tested.failures, f"run {tested.run}, {_backtest_text(tested.performance)}"
            else:
                swept = msgspec.json.decode(output, type=_Sweep)
                failures, text = swept.failures, _sweep_text(swept)
        except msgspec.MsgspecError:
            raise ResearchFailed(error) from None
        if failures:
            raise ResearchFailed(f"{failures[0]}{f', and {len(failures) - 1} more' if failures[1:] else ''}")
        return text


def _backtest_text(measured: _Performance) -> str:
    """Return the Sharpe ratio and the other measures of a backtest as text."""
    ratio = "–" if measured.sharpe is None else f"{measured.sharpe:.2f}"
    parts = ("return a year", measured.annual_return), ("volatility", measured.volatility_annual), (
        "largest fall", measured.max_drawdown,
    )  # fmt: skip
    return ", ".join([f"Sharpe {ratio}", *(f"{words} {value:.1%}" for words, value in parts if value is not None)])


def _sweep_text(swept: _Sweep) -> str:
    """Return the number of points of a sweep, its best point, and the verdict on it, as text."""
    if swept.best is None:
        return f"{len(swept.points)} points. {swept.verdict}"
    values = ", ".join(f"{key}={value}" for key, value in swept.best.items())
    return f"{len(swept.points)} points, best {values}. {swept.verdict}"


async def output_of(arguments: Sequence[str], on_progress: Callable[[float], object]) -> tuple[bytes, str]:
    """Return (output, last line of errors) of a command that runs with little memory, on one processor.

    `on_progress` gets the completed share. If the call is cancelled, the process and its children are killed.
    """
    environ = {PROGRESS: "lines", "OMP_NUM_THREADS": "1"}
    _, output, error = await command_process.output_of(arguments, environ, on_progress, _limit_resources)
    return output, error


def _limit_resources(pid: int) -> None:
    """Give a process the lowest priority and MOST_DATA bytes of memory. In a shortage the system ends it first."""
    with suppress(OSError, AttributeError, ValueError):  # only Linux has prlimit
        resource.prlimit(pid, resource.RLIMIT_DATA, (MOST_DATA, MOST_DATA))
    with suppress(OSError):
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")  # the highest score, which the system ends first
