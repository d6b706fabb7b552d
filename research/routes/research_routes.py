"""GET /api/v1/research: the ledger of looks, the run beside a stored backtest, and two stored backtests.

`looks` and `beside` read files of the state folder in a thread. `compare` replays two stored backtests in a separate
process, `quantd report --compare`, and `limit` the run itself, `quantd replay --limit`. So the loop that trades waits
for none of them.
"""

import asyncio
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
from quantd.daemon.views.other_limits import NoOtherCourse, OtherCourse, limit_place
from quantd.daemon.views.rows import LIMIT_ROWS
from quantd.daemon.views.struct_fields import struct_of
from quantd.research.doubts import Doubt
from quantd.research.jobs.research_jobs import output_of, pinned_of
from quantd.research.routes.stored_backtests import HINT, UNFINISHED, StoredBacktest, StoredBacktests
from quantd.research.runs.looks import read_looks
from quantd.research.runs.trials import Look, Withdrawal
from quantd.server.api.documents import PLAIN, Query
from quantd.server.api.problems import FieldFault, Refused
from quantd.server.api.route_groups import RouteContext, RouteGroup, RunsOfJobs
from quantd.server.api.route_records import Read
from quantd.server.api.run_reader import RunReader
from quantd.trading.effects import Valued

COMPARE_S: Final = 120.0
"""Seconds after which the process of a comparison is ended."""

KEPT: Final = 8
"""Number of comparisons that stay in memory: a stored backtest does not change."""

NAME: Final = r"^[0-9a-z]{0,16}(?!\n)$"
"""The name of a run, or empty. No path and no option of a command matches, since the name becomes an argument."""


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
    """The ledger of looks (evaluations of configurations). `count` is the number of looks.

    `trials` adds to `count` the trials behind each trained model; it is null where the ledger is not believed, and
    `text` then has the reason and the remedy. `total` is the number of looks that the search finds, `looks` those
    returned.
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

    A query without a backtest gets the pinned one, else the newest one under the run's own conditions, else the newest
    of all. `pinned` is the pinned backtest, empty for none; `lost` is why it cannot be compared. `own` and `tested` are
    the curves of the run and of the backtest at `ts` (ns UTC).

    `gap` is the run's worth less the backtest's at the last sample. Its part `commissions` comes from different
    commissions, its part `rest` from prices, sizes and times of fills. All three are null where a condition `differs`,
    because the gap then has other causes too. `unrepeated` are those differing conditions that no backtest can have,
    such as operators' acts. `stored` has the newest backtests. `missing` is the reason for absent curves.
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


class OneLimit(Query, frozen=True):
    """One limit with another value, KEY=VALUE as in config.toml: risk.max_drawdown=0.15."""

    limit: Annotated[str, Meta(max_length=200, pattern=PLAIN, examples=["risk.max_drawdown=0.15"])]


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


class _ComparisonOutput(Struct, frozen=True):
    """The fields of the output of `quantd report --compare --json` that `ComparedBacktests` needs.

    `rows` are (metric, one, other, difference) and `p_values` (test, p), all as text. `wealth` has the curves of both
    backtests at `ts` (ns UTC).
    """

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

    `sentence` is the verdict on the Sharpe ratios, `tests` has a sentence for each test, and `settings` says which
    settings are equal and which differ. `own` and `beside` are the equity curves of `one` and `other` at `ts` (ns UTC),
    1 at the first sample; null for a lost account. `failures` has a line for each agent whose policy failed to decide.
    `doubts` are the reasons to doubt the runs, the heaviest first. `differs` has the keys that affect trading and
    differ. `missing` is the reason why nothing is compared.
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
    """The API routes of one daemon for its ledger of evaluations (looks), and for comparisons with stored backtests."""

    def __init__(self, run: RunReader, runs: RunsOfJobs | None = None, *, reads_only: bool = False) -> None:
        """`runs` are the stored runs of jobs, from which the newest pinned backtest is read; None without jobs.

        If `reads_only` is True, no backtests are compared.
        """
        self._run = run
        self._runs = runs
        self._reads_only = reads_only
        self._backtests = StoredBacktests(run)
        self._one_thread = asyncio.Lock()  # StoredBacktests may be used by one thread at a time
        self._comparing = asyncio.Lock()
        self._compared: dict[tuple[str, str], ComparedBacktests] = {}

    async def looks(self, request: web.Request, query: NewestLooks) -> Looks:
        try:
            ledger = await asyncio.to_thread(read_looks, self._run.folder)
        except OSError as why:
            raise Refused(503, "unavailable", f"the ledger of looks cannot be read: {why}") from None
        matches = [look for look in ledger.looks[::-1] if _contains(look, query.search)]
        if query.first == "best":
            matches.sort(key=lambda look: -look.sharpe)
        run_config = self._run.service.config.for_backtest()
        rows = [_line(look, run_config, ledger.withdrawals.get(look.digest)) for look in matches[: query.limit]]
        return Looks(len(ledger.looks), ledger.trials, ledger.text, rows, len(matches))

    async def beside(self, request: web.Request, query: OfBacktest) -> Beside:
        """Return the run beside the backtest of the query, else the pinned one, else one that `_beside` chooses.

        Raises Refused for a backtest of the query that cannot be read. A pinned backtest that cannot be read is
        replaced by one that `_beside` chooses.
        """
        pinned = None if self._runs is None else pinned_of(self._runs.runs())
        pinned_name, lost = "" if pinned is None else pinned.backtest, ""
        async with self._one_thread:
            try:
                stored = await asyncio.to_thread(self._backtests.open, query.backtest or pinned_name)
            except Refused as why:
                if query.backtest:
                    raise
                lost = f"the pinned backtest {pinned_name} cannot be read: {why}"
                stored = await asyncio.to_thread(self._backtests.open, "")  # "": the newest backtest
            run = self._run.service.run
            if stored is None:
                text = f"there is no stored backtest; {HINT}"
                # no backtest, no curves, and no gap with its parts
                return Beside(run, "", [], [], [], [], None, None, None, text, pinned=pinned_name, lost=lost)
            # without a backtest in the query, the pinned one takes its place, unless that is lost
            with_pin = query if query.backtest or lost or not pinned_name else replace(query, backtest=pinned_name)
            beside = await self._run.read(lambda run_reader: self._beside(run_reader, stored, with_pin))
            return replace(beside, pinned=pinned_name, lost=lost)

    def _beside(self, run_reader: Reader, stored: Reader, query: OfBacktest) -> Beside:
        """Return the run beside the backtest of the query.

        If the query names no backtest, the newest one under the run's own conditions is used, else the newest finished
        one, else the newest one. The gap between run and backtest, and its parts, are null where a condition differs,
        because the gap would then have other causes than the fills.
        """
        listed = self._backtests.described(stored, run_reader)
        by_name = {line.run: line for line in listed}
        finished = [line for line in listed if UNFINISHED not in line.differs] or listed
        default = next((line.run for line in listed if not line.differs), finished[0].run)
        name = query.backtest or default
        tested = stored if name == stored.run.run else self._backtests.open(name)
        assert tested is not None
        differs = by_name[name].differs if name in by_name else ["it is older than the backtests that are compared"]
        curves = _curves(run_reader, tested, query.points)
        if differs:
            curves = replace(curves, gap=None, commissions=None, rest=None)
        unrepeated = [text for text in self._backtests.unrepeated() if text in differs]
        return replace(curves, backtests=list(by_name), differs=differs, stored=listed, unrepeated=unrepeated)

    async def compare(self, request: web.Request, query: TwoBacktests) -> ComparedBacktests:
        """Return the comparison of two stored backtests; a missing name stands for one of the two newest.

        Raises Refused for an unknown backtest, for one that is named twice, and for two that cannot be compared.
        """
        async with self._comparing:
            reader = await asyncio.to_thread(self._backtests.open, query.other)
            if query.one:
                await asyncio.to_thread(self._backtests.open, query.one)  # only to refuse an unknown name
            # the newest of all stored backtests, whichever of them `reader` was opened for
            records = [] if reader is None else await asyncio.to_thread(self._backtests.newest, reader)
            newest = [record.run for record in records]
            # of the two newest, the one that was not named stands beside a named one
            other_name = query.other or next((name for name in newest if name != query.one), "")
            names = query.one or next((name for name in newest if name != other_name), ""), other_name
            if self._reads_only:
                # a replay writes what it reads of the market into the state folder
                text = "a read-only instance replays no run; ask the trading instance, or run quantd report --compare"
                return ComparedBacktests(*names, missing=text)
            if reader is None or not all(names):
                return ComparedBacktests(*names, missing=f"there are fewer than two stored backtests; {HINT}")
            if names not in self._compared:
                if names[0] == names[1]:
                    raise Refused(409, "incomparable", f"{names[0]} is named twice; choose two backtests")
                try:
                    compared = await _compared_in_process(self._file(), self._run.folder, *names)
                except Refused as refusal:
                    if (query.one and query.other) or refusal.code != "incomparable":
                        raise
                    # the newest ones were not chosen by name: one of them may be unfinished
                    return ComparedBacktests(*names, missing=str(refusal))
                async with self._one_thread:
                    differs = await asyncio.to_thread(self._backtests.differing, reader, *names)
                self._compared[names] = replace(compared, differs=differs)
                # in the order of insertion: the oldest comparisons are forgotten
                for forgotten in list(self._compared)[:-KEPT]:
                    del self._compared[forgotten]
            return self._compared[names]

    async def other_limit(self, request: web.Request, query: OneLimit) -> OtherCourse:
        """Return the run beside its course with one limit changed, from a replay in a process of its own.

        Raises Refused for a key that is no limit, a wrong value, and where the replay is impossible or takes too long.
        """
        if self._reads_only:
            text = "a read-only instance replays no run; ask the trading instance, or run quantd replay --limit"
            raise Refused(503, "unavailable", text)
        try:  # before a process is started
            limit_place(self._run.service.shell.state.rules, query.limit.partition("=")[0])
        except NoOtherCourse as why:
            raise Refused(404, "not_found", str(why)) from None
        late = f"the replay took longer than {COMPARE_S:g} s; quantd replay --limit {query.limit} has no limit of time"
        async with self._comparing:
            arguments = ("replay", self._run.service.run, f"--limit={query.limit}", "--json")
            output, error = await _in_process(arguments, self._file(), self._run.folder, late)
        try:
            return msgspec.json.decode(output, type=OtherCourse)
        except msgspec.DecodeError:
            raise Refused(422, "query", error[:1000], errors=[FieldFault("limit", error[:1000])]) from None

    def _file(self) -> Path:
        """Return the path of the run's configuration file."""
        source = self._run.config.source
        return source.folder / Path(source.file).name


async def _in_process(arguments: Sequence[str], config: Path, folder: Path, late: str) -> tuple[bytes, str]:
    """Run `quantd ARGUMENTS` on a configuration file and a state folder; return its output and its last error line.

    Raises Refused with the text `late` where it takes longer than COMPARE_S.
    """
    try:
        async with asyncio.timeout(COMPARE_S):
            locations = ("--config", str(config), "--state", str(folder))
            return await output_of((*arguments, *locations), lambda share: None)
    except TimeoutError:
        raise Refused(503, "late", late) from None


async def _compared_in_process(config: Path, folder: Path, one: str, other: str) -> ComparedBacktests:
    """Compare two stored backtests in a separate process. `config` is a file, and `folder` the state folder.

    Raises Refused with the errors that the process prints, or where it takes longer than COMPARE_S.
    """
    text = f"the comparison took longer than {COMPARE_S:g} s; quantd report --compare {one} {other} has no limit"
    output, error = await _in_process(("report", "--compare", one, other, "--json"), config, folder, text)
    try:
        comparison = msgspec.json.decode(output, type=_ComparisonOutput)
    except msgspec.DecodeError:
        raise Refused(409, "incomparable", error[:1000]) from None
    return struct_of(
        ComparedBacktests, comparison, one=one, other=other, own=comparison.wealth[0], beside=comparison.wealth[1],
        rows=[FigureOfBoth(*row) for row in comparison.rows], p_values=[PValue(*row) for row in comparison.p_values],
    )  # fmt: skip


def _contains(look: Look, text: str) -> bool:
    """Return whether a look (an evaluation in the ledger) contains a text, in upper or lower case.

    The search covers the look's texts, the values that its sweep varied, and its configuration keys that are not at
    their default.
    """
    varied = (f"{key} = {value}" for key, value in look.values.items())
    changed_keys = (f"{key} {value}" for key, value in look.keys.items())
    texts = look.kind, look.name, look.market_text, look.family, look.digest, *varied, *changed_keys
    return any(text.lower() in field.lower() for field in texts)


def _line(look: Look, run_config: Config, withdrawal: Withdrawal | None) -> LookLine:
    """Return a look (an evaluation in the ledger) as a line.

    The line names the look's differences from the run's configuration, where the look's keys are recorded.
    """
    differs = changes_beside(look.keys, run_config) if look.keys else None
    withdrawn = "" if withdrawal is None else withdrawal.text
    return struct_of(LookLine, look, market=look.market_text, differs=differs, withdrawn=withdrawn)


def _equity_by_time(points: Sequence[Valued]) -> dict[int, float]:
    """Return the equity in account currency by the time of the sample, ns UTC."""
    return {point.ts: point.equity_micro / 1e6 for point in points}


def _curves(run_reader: Reader, tested: Reader, points: int) -> Beside:
    """Return the growth of the run and of the backtest at the samples that they share, at most `points`.

    The gap between the two, and its parts, are in units of the equity at the first shared sample.
    """
    run_equity, tested_equity = _equity_by_time(run_reader.equity()), _equity_by_time(tested.equity())
    shared = sorted(run_equity.keys() & tested_equity.keys())
    run, other = run_reader.run.run, tested.run.run
    if len(shared) < 2 or min(run_equity[shared[0]], tested_equity[shared[0]]) <= 0.0:
        text = f"the run and the backtest {other} share fewer than two samples"
        return Beside(run, other, [], [], [], [], None, None, None, text)  # no curves, and no gap with its parts
    begin, end = shared[0], shared[-1]
    step = max(1, -(-len(shared) // points))
    shown = shared[::-1][::step][::-1]  # thinned from the end, so that the last sample is shown
    run_growth, tested_growth = (
        np.array([equity[ts] for ts in shown]) / equity[begin] for equity in (run_equity, tested_equity)
    )
    fees = [
        sum(float(fill.fee) for fill in reader.fills() if begin < fill.ts <= end) / equity[begin]
        for reader, equity in ((run_reader, run_equity), (tested, tested_equity))
    ]
    gap, fee_gap = float(run_growth[-1] - tested_growth[-1]), fees[1] - fees[0]
    return Beside(run, other, [], shown, run_growth.tolist(), tested_growth.tolist(), gap, fee_gap, gap - fee_gap)


def _routes_of(context: RouteContext) -> ResearchRoutes:
    return ResearchRoutes(context.run, context.job_runs, reads_only=context.refusal is not None)


ROUTES: Final = RouteGroup(
    "research",
    80,
    _routes_of,
    routes=(
        Read(
            "/api/v1/research/looks", ResearchRoutes.looks, "The ledger of looks: backtests, sweeps, studies.",
            call="looks",
        ),
        Read(
            "/api/v1/research/beside", ResearchRoutes.beside, "The run beside a stored backtest.", call="beside",
            form={"places": ("backtest",)},
        ),
        Read(
            "/api/v1/research/compare", ResearchRoutes.compare, "Two stored backtests side by side.",
            call="compare_backtests", form={"required": ("one", "other")},
        ),
        Read(
            "/api/v1/research/limit", ResearchRoutes.other_limit, "The run's past under another limit.",
            call="past_with_limit",
        ),
    ),
)  # fmt: skip
