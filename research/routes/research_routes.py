"""GET /api/v1/research: the ledger of looks, the run beside a stored backtest, and two stored backtests.

The first two read files of the state folder in a thread. The third replays two runs in a process of its own, which is
`quantd report --compare`: the loop that trades does not wait for it.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import numpy as np
from aiohttp import web
from msgspec import Meta, Struct
from msgspec.structs import replace

from quantd.adapters.store.queries import Reader
from quantd.daemon.config import Config
from quantd.daemon.config.trading_keys import changes_beside
from quantd.daemon.views.rows import LIMIT_ROWS
from quantd.research.doubts import Doubt
from quantd.research.jobs.research_jobs import pinned_of
from quantd.research.routes.stored_backtests import HINT, UNFINISHED, StoredBacktest, StoredBacktests
from quantd.research.runs.looks import read_looks
from quantd.research.runs.trials import Look, Withdrawal
from quantd.server.api.client_calls import read
from quantd.server.api.documents import PLAIN, Query
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteContext, RouteGroup, RunsOfJobs
from quantd.server.api.route_records import Read, Route
from quantd.server.api.run_reader import RunReader
from quantd.trading.effects import Valued

COMPARE_S: Final = 120.0
"""Seconds after which a comparison is ended."""

KEPT: Final = 8
"""Comparisons that are remembered: a stored run does not change."""

NAME: Final = r"^[0-9a-z]{0,16}(?!\n)$"
"""A run. A path, and an option of a command, is none."""


class NewestLooks(Query, frozen=True):
    """The newest or the best looks that contain a text."""

    limit: Annotated[int, Meta(ge=1, le=LIMIT_ROWS, description="Most looks.")] = 200
    search: Annotated[str, Meta(pattern=PLAIN, description="Only looks that contain this text, in any case.")] = ""
    first: Annotated[
        Literal["newest", "best"], Meta(description="Whether the newest come first, or the highest Sharpe ratios.")
    ] = "newest"


class LookLine(Struct, frozen=True):
    """A configuration that was evaluated on a market: its annual Sharpe ratio between two dates.

    `values` are those that a sweep or a study varied. `differs` has the keys that affect trading and differ from the
    run's configuration, each with both values; null where the ledger does not have them.
    """

    kind: str
    name: str
    digest: str
    market: str
    first: str
    last: str
    sharpe: float
    family: str
    values: dict[str, str]
    differs: list[str] | None = None
    withdrawn: str = ""
    """Why a look is withdrawn, as the ledger has it; empty for others."""


class Looks(Struct, frozen=True):
    """The ledger of looks. `count` are all looks, and `trials` counts those behind each model too.

    `total` is the number of looks that the search finds. `trials` is null where the ledger is not believed; `text` has
    the reason and the remedy.
    """

    count: int
    trials: int | None
    text: str
    looks: list[LookLine]
    total: int = 0


class OfBacktest(Query, frozen=True):
    """A stored backtest."""

    backtest: Annotated[str, Meta(pattern=PLAIN, description="Its run; the newest without it.")] = ""
    points: Annotated[int, Meta(ge=2, le=LIMIT_ROWS, description="Number of points; others are left out.")] = 600


class Beside(Struct, frozen=True):
    """The run beside a stored backtest, both worth 1 at the first sample that they share.

    Without a choice it is the pinned one, or the newest backtest under the run's own conditions, or else the newest of
    all. `pinned` is the pinned one, empty for none; `lost` is why it cannot be compared. `gap` is the
    run's worth less the backtest's at the last sample. `commissions` is the part of it by the difference of the
    commissions paid, and `rest` by prices, sizes and times of fills. All three are null where a condition `differs`,
    because the gap has other causes too. Of those, `unrepeated` are conditions of the run that no backtest has, such as
    acts. `stored` has the newest backtests. `missing` is the reason for absent curves.
    """

    run: str
    backtest: str
    backtests: list[str]
    ts: list[int]
    own: list[float]
    tested: list[float]
    gap: float | None
    commissions: float | None
    rest: float | None
    missing: str = ""
    differs: list[str] = []
    stored: list[StoredBacktest] = []
    unrepeated: list[str] = []
    pinned: str = ""
    lost: str = ""


class TwoBacktests(Query, frozen=True):
    """Two stored backtests."""

    one: Annotated[str, Meta(pattern=NAME, description="Its run; the newest but one without it.")] = ""
    other: Annotated[str, Meta(pattern=NAME, description="The run beside it; the newest without it.")] = ""


class FigureOfBoth(Struct, frozen=True):
    """A figure of two backtests and its difference, as text."""

    figure: str
    one: str
    other: str
    difference: str


class PValue(Struct, frozen=True):
    """The p-value of a test of both returns, as text."""

    test: str
    p: str


class _Told(Struct, frozen=True):
    """What `quantd report --compare --json` prints, of which this module makes its answer."""

    first: str
    last: str
    samples: int
    rows: list[tuple[str, str, str, str]]
    p_values: list[tuple[str, str]]
    sentence: str
    tests: list[str]
    settings: str
    ts: list[int]
    wealth: tuple[list[float | None], list[float | None]]
    failures: list[str]
    doubts: list[Doubt]


class ComparedBacktests(Struct, frozen=True):
    """Two stored backtests side by side, as `quantd report --compare` has them.

    `sentence` is the verdict on the Sharpe ratios, `tests` has a sentence for each test, and `settings` names those
    that differ. `own` and `beside` are both curves at `ts`, 1 at the first sample; null for a lost account. `failures`
    has a line for each agent whose policy failed to decide. `doubts` are the reasons to doubt the runs, the heaviest
    first. `differs` has the keys that affect trading and differ. `missing` is the reason why nothing is compared.
    """

    one: str
    other: str
    first: str = ""
    last: str = ""
    samples: int = 0
    rows: list[FigureOfBoth] = []
    p_values: list[PValue] = []
    sentence: str = ""
    tests: list[str] = []
    settings: str = ""
    ts: list[int] = []
    own: list[float | None] = []
    beside: list[float | None] = []
    failures: list[str] = []
    doubts: list[Doubt] = []
    missing: str = ""
    differs: list[str] = []


class ResearchRoutes:
    """The routes of one running service."""

    def __init__(self, run: RunReader, runs: RunsOfJobs | None = None, *, reads_only: bool = False) -> None:
        """`runs` are the runs of jobs, of which one may have pinned a backtest."""
        self._run = run
        self._runs = runs
        self._reads_only = reads_only
        self._backtests = StoredBacktests(run)
        self._one = asyncio.Lock()
        self._comparing = asyncio.Lock()
        self._compared: dict[tuple[str, str], ComparedBacktests] = {}

    def routes(self) -> tuple[Route, ...]:
        """The routes of this module."""
        v1 = "/api/v1/research"
        return (
            Read(f"{v1}/looks", self.looks, Looks, "The ledger of looks: backtests, sweeps, studies.", NewestLooks),
            Read(f"{v1}/beside", self.beside, Beside, "The run beside a stored backtest.", OfBacktest),
            Read(f"{v1}/compare", self.compare, ComparedBacktests, "Two stored backtests side by side.", TwoBacktests),
        )

    async def looks(self, request: web.Request, query: NewestLooks) -> Looks:
        try:
            ledger = await asyncio.to_thread(read_looks, self._run.folder)
        except OSError as why:
            raise Refused(503, "unavailable", f"the ledger of looks cannot be read: {why}") from None
        fitting = [look for look in ledger.looks[::-1] if _contains(look, query.search)]
        if query.first == "best":
            fitting.sort(key=lambda look: -look.sharpe)
        here = self._run.service.config.for_backtest()
        rows = [_line(look, here, ledger.withdrawals.get(look.digest)) for look in fitting[: query.limit]]
        return Looks(len(ledger.looks), ledger.trials, ledger.text, rows, len(fitting))

    async def beside(self, request: web.Request, query: OfBacktest) -> Beside:
        """Raises Refused."""
        pinned = None if self._runs is None else pinned_of(self._runs.runs())
        name, lost = "" if pinned is None else pinned.backtest, ""
        async with self._one:
            try:
                stored = await asyncio.to_thread(self._backtests.open, query.backtest or name)
            except Refused as why:
                if query.backtest:
                    raise
                lost = f"the pinned backtest {name} cannot be read: {why}"
                stored = await asyncio.to_thread(self._backtests.open, "")
            run = self._run.service.run
            if stored is None:
                text = f"there is no stored backtest; {HINT}"
                return Beside(run, "", [], [], [], [], None, None, None, text, pinned=name, lost=lost)
            asked = query if query.backtest or lost or not name else replace(query, backtest=name)
            beside = await self._run.read(lambda run_reader: self._beside(run_reader, stored, asked))
            return replace(beside, pinned=name, lost=lost)

    def _beside(self, run_reader: Reader, stored: Reader, query: OfBacktest) -> Beside:
        """The run beside the chosen backtest, or beside the newest under its own conditions."""
        listed = self._backtests.described(stored, run_reader)
        by_name = {line.run: line for line in listed}
        usable = [line for line in listed if UNFINISHED not in line.differs] or listed
        alike = next((line.run for line in listed if not line.differs), usable[0].run)
        name = query.backtest or alike
        tested = stored if name == stored.run.run else self._backtests.open(name)
        assert tested is not None
        differs = by_name[name].differs if name in by_name else ["it is older than the backtests that are compared"]
        curves = _curves(run_reader, tested, query.points)
        if differs:
            curves = replace(curves, gap=None, commissions=None, rest=None)
        unrepeated = [text for text in self._backtests.unrepeated() if text in differs]
        return replace(curves, backtests=list(by_name), differs=differs, stored=listed, unrepeated=unrepeated)

    async def compare(self, request: web.Request, query: TwoBacktests) -> ComparedBacktests:
        """Raises Refused."""
        async with self._comparing:
            stored = await asyncio.to_thread(self._backtests.open, query.other)
            if query.one:
                await asyncio.to_thread(self._backtests.open, query.one)
            records = [] if stored is None else await asyncio.to_thread(self._backtests.newest, stored)
            newest = [record.run for record in records]
            # of the two newest, the one that was not named stands beside a named one
            other = query.other or next((name for name in newest if name != query.one), "")
            pair = query.one or next((name for name in newest if name != other), ""), other
            if self._reads_only:
                # a replay writes what it reads of the market into the state folder
                text = "a read-only instance replays no run; the trading one does, and quantd report --compare"
                return ComparedBacktests(*pair, missing=text)
            if stored is None or not all(pair):
                return ComparedBacktests(*pair, missing=f"there are fewer than two stored backtests; {HINT}")
            if pair not in self._compared:
                if pair[0] == pair[1]:
                    raise Refused(409, "incomparable", f"{pair[0]} is named twice; choose two backtests")
                try:
                    compared = await _compared(self._file(), self._run.folder, *pair)
                except Refused as refusal:
                    if (query.one and query.other) or refusal.code != "incomparable":
                        raise
                    # the newest ones were not chosen by name: one of them may be unfinished
                    return ComparedBacktests(*pair, missing=str(refusal))
                async with self._one:  # one thread at a time reads the stored backtests
                    differs = await asyncio.to_thread(self._backtests.differing, stored, *pair)
                self._compared[pair] = replace(compared, differs=differs)
                for old in list(self._compared)[:-KEPT]:
                    del self._compared[old]
            return self._compared[pair]

    def _file(self) -> Path:
        source = self._run.config.source
        return source.folder / Path(source.file).name


async def _compared(config: Path, folder: Path, one: str, other: str) -> ComparedBacktests:
    """The comparison by a process of its own. Raises Refused with its words."""
    program = (sys.executable, "-m", "quantd.daemon.cli", "report", "--compare", one, other, "--json")
    given = ("--config", str(config), "--state", str(folder))
    process = await asyncio.create_subprocess_exec(
        *program, *given, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    with contextlib.suppress(ProcessLookupError):
        os.setpriority(os.PRIO_PROCESS, process.pid, 10)  # it gives way to the process that trades
    try:
        async with asyncio.timeout(COMPARE_S):
            said, why = await process.communicate()
    except TimeoutError:
        text = f"the comparison took longer than {COMPARE_S:g} s; quantd report --compare {one} {other} has no bound"
        raise Refused(503, "late", text) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    try:
        comparison = msgspec.json.decode(said, type=_Told)
    except msgspec.DecodeError:
        text = " ".join(why.decode(errors="replace").split()) or "the comparison ended without a word"
        raise Refused(409, "incomparable", text[:1000]) from None
    return ComparedBacktests(
        one=one, other=other, first=comparison.first, last=comparison.last, samples=comparison.samples,
        rows=[FigureOfBoth(*row) for row in comparison.rows], p_values=[PValue(*row) for row in comparison.p_values],
        sentence=comparison.sentence, tests=comparison.tests, settings=comparison.settings, ts=comparison.ts,
        own=comparison.wealth[0], beside=comparison.wealth[1], failures=comparison.failures,
        doubts=comparison.doubts,
    )  # fmt: skip


def _contains(look: Look, text: str) -> bool:
    """Whether a look has a text, in any case, in its texts, its varied values or its keys that are not at a default."""
    varied = (f"{key} = {value}" for key, value in look.values.items())
    written = (f"{key} {value}" for key, value in look.keys.items())
    texts = look.kind, look.name, look.market_text, look.family, look.digest, *varied, *written
    return any(text.lower() in field.lower() for field in texts)


def _line(look: Look, here: Config, withdrawal: Withdrawal | None) -> LookLine:
    return LookLine(
        look.kind,
        look.name,
        look.digest,
        look.market_text,
        look.first,
        look.last,
        look.sharpe,
        look.family,
        look.values,
        changes_beside(look.keys, here) if look.keys else None,
        "" if withdrawal is None else withdrawal.text,
    )


def _worth(points: Sequence[Valued]) -> dict[int, float]:
    return {point.ts: point.equity_micro / 1e6 for point in points}


def _curves(run_reader: Reader, tested: Reader, points: int) -> Beside:
    """The growth of both at the samples that they share."""
    ours, theirs = _worth(run_reader.equity()), _worth(tested.equity())
    shared = sorted(ours.keys() & theirs.keys())
    run, other = run_reader.run.run, tested.run.run
    if len(shared) < 2 or min(ours[shared[0]], theirs[shared[0]]) <= 0.0:
        text = f"the run and the backtest {other} share fewer than two samples"
        return Beside(run, other, [], [], [], [], None, None, None, text)
    begin, end = shared[0], shared[-1]
    thin = max(1, -(-len(shared) // points))
    kept = shared[::-1][::thin][::-1]
    one, two = (np.array([worth[ts] for ts in kept]) / worth[begin] for worth in (ours, theirs))
    paid = [
        sum(float(fill.fee) for fill in reader.fills() if begin < fill.ts <= end) / worth[begin]
        for reader, worth in ((run_reader, ours), (tested, theirs))
    ]
    gap, fees = float(one[-1] - two[-1]), paid[1] - paid[0]
    return Beside(run, other, [], kept, one.tolist(), two.tolist(), gap, fees, gap - fees)


def _opened(context: RouteContext) -> ResearchRoutes:
    return ResearchRoutes(context.run, context.job_runs, reads_only=context.refusal is not None)


ROUTES: Final = RouteGroup(
    "research",
    80,
    _opened,
    calls=(
        read("looks", "/research/looks", Looks, takes=NewestLooks),
        read(
            "beside", "/research/beside", Beside, "The run beside a stored backtest.", OfBacktest, places=("backtest",)
        ),
        read(
            "compare_backtests",
            "/research/compare",
            ComparedBacktests,
            "Two stored backtests side by side.",
            TwoBacktests,
            required=("one", "other"),
        ),
    ),
)
