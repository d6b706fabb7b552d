"""/api/v1/research: starts backtests and sweeps, lists and cancels them, and pins the backtest with which the run is
compared.

Each backtest or sweep runs in a separate process: the loop that trades does not wait for it.
"""

import asyncio
import time
from bisect import bisect_right
from datetime import date, timedelta
from math import ceil
from pathlib import Path
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from quantd.daemon.config import digest
from quantd.daemon.config.overrides import ALONE
from quantd.daemon.recovery.replay import saved_sets
from quantd.research.jobs.research_jobs import Conflict, Pinned, ResearchJobs, backtest_of, pinned_of
from quantd.research.jobs.research_orders import KINDS, OrderRefused, ResearchOrder
from quantd.research.routes.research_routes import NAME
from quantd.research.routes.stored_backtests import StoredBacktests
from quantd.server.api.access.rate_limits import MINUTE_S, Buckets
from quantd.server.api.documents import PLAIN, Query
from quantd.server.api.problems import FieldFault, Refused
from quantd.server.api.route_groups import RouteContext, RouteGroup, RunsOfJobs
from quantd.server.api.route_records import Post, Read
from quantd.server.requests.control import Because, NotDone, one_line
from quantd.server.requests.proposals import Weights, given_weights, known_place
from quantd.trading.display_text import instant_text, session_date, toml_value

SHOWN: Final = 50
"""Number of backtests and sweeps in an answer, the newest ones."""

A_MINUTE: Final = 6
"""Most backtests that one token may start in a minute for an agent; half of them at once."""

AGENT_LIMIT_S: Final = 120.0
"""Seconds after which the process of a backtest for an agent is ended."""

Override = Annotated[
    str, Meta(max_length=200, pattern=PLAIN, description="KEY=VALUE of a key that affects trading and names no file.")
]
Axis = Annotated[str, Meta(max_length=200, pattern=PLAIN, description="KEY=FIRST:LAST:STEP, or KEY=A,B,C.")]
Sets = Annotated[list[Override], Meta(max_length=20)]
From = Annotated[date | None, Meta(description="First date, UTC; the configured one without it.")]
To = Annotated[date | None, Meta(description="Last date, included; the configured one without it.")]


class StartBacktest(Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """A backtest of the run's configuration with overrides."""

    reason: Because
    sets: Sets = []
    start: From = None
    end: To = None


class BacktestWeights(Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """A backtest of constant weights, up to the present market time."""

    weights: Weights
    start: Annotated[date | None, Meta(description="First date, UTC; a year before the last one without it.")] = None
    end: Annotated[date | None, Meta(description="Last date, included; the newest full one without it.")] = None


class StartSweep(Struct, frozen=True, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """A sweep of the run's configuration over the values of keys."""

    reason: Because
    over: Annotated[list[Axis], Meta(min_length=1, max_length=4)]
    sets: Sets = []
    start: From = None
    end: To = None


class CancelJob(Struct, frozen=True, forbid_unknown_fields=True):
    """Cancel a backtest or a sweep."""

    reason: Because


class PinBacktest(Struct, frozen=True, forbid_unknown_fields=True):
    """Pin a stored backtest as the reference of the run; none with an empty name."""

    reason: Because
    backtest: Annotated[str, Meta(pattern=NAME, description="Its run.")] = ""


class ResearchJobLine(Struct, frozen=True):
    """A backtest or a sweep that was started beside the run.

    `share` is the completed share of its work, null where it is not known. `result` begins with what was asked for;
    `backtest` is the stored backtest that it made, empty for none.
    """

    id: str
    kind: str
    state: str
    share: float | None
    who: str
    reason: str
    started: str | None
    ended: str | None
    result: str
    backtest: str


class ResearchJobsNow(Struct, frozen=True):
    """The newest backtests and sweeps, and the pinned backtest of the run."""

    run: str
    jobs: list[ResearchJobLine]
    pinned: Pinned | None


class ResearchJobRoutes:
    """The API routes of one running daemon that start, list and cancel backtests and sweeps."""

    def __init__(self, context: RouteContext, runs: RunsOfJobs) -> None:
        """`runs` are the stored runs of jobs, among them the backtests and sweeps.

        If `context` has no lanes (queues of commands), nothing can be started.
        """
        self._run = context.run
        self._runs = runs
        self._backtests = StoredBacktests(context.run)
        self._jobs: ResearchJobs | None = None
        if context.lanes is not None:
            config, folder = context.run.config, context.run.folder
            file = config.source.folder / Path(config.source.file).name
            self._jobs = ResearchJobs(
                context.lanes.log, folder, file.resolve(), lambda: saved_sets(folder, digest(config))
            )
            context.at_stop.append(self._jobs.close)
        self._buckets = Buckets(A_MINUTE / MINUTE_S, A_MINUTE // 2)

    async def jobs(self, request: web.Request, query: Query) -> ResearchJobsNow:
        return self._jobs_now()

    async def backtest(self, asked: StartBacktest, sender: str) -> ResearchJobLine:
        """Start a backtest. Raises Refused for a wrong override, NotDone where one is queued or running."""
        return await self._start(
            ResearchOrder("backtest", tuple(asked.sets), (), asked.start, asked.end), asked.reason, sender
        )

    async def backtest_weights(self, asked: BacktestWeights, sender: str, name: str) -> ResearchJobLine:
        """Start a backtest of constant weights for an outside agent or a portfolio.

        Raises Refused and NotDone for weights that its book may not have, for dates after the present market time, for
        too many backtests, and where one is queued or running.
        """
        state, parts = self._run.service.shell.state, self._run.parts
        house, book, _ = known_place(state, name)
        given_weights(house, book, asked.weights)
        if wait_s := self._buckets.wait_s(sender, time.monotonic()):
            seconds = str(ceil(wait_s))
            text = f"more than {A_MINUTE} backtests a minute with this token; wait {seconds} s"
            raise Refused(429, "rate", text, {"Retry-After": seconds})
        # of each calendar: a coin's bar of a date ends after the close in New York
        calendars = [
            parts.sessions[each] for each in {instrument.calendar for instrument in parts.universe.instruments}
        ]
        ends = [(each.day_ns, bisect_right(each.close_ns, self._run.service.shell.ts) - 1) for each in calendars]
        newest = session_date(min(days[row] for days, row in ends if row >= 0))
        end = asked.end or newest
        start = asked.start or end - timedelta(days=365)
        if end > newest or start > end:
            text = f"from {start} to {end} is no period up to {newest}, the newest full date of the run; change it"
            raise NotDone("command", text, "to" if end > newest else "from")
        own = f"{ALONE}=fixed_mix", f"{ALONE}.fixed_mix.params.weights={toml_value(asked.weights)}"
        order = ResearchOrder("backtest", (), (), start, end, own, AGENT_LIMIT_S)
        return await self._start(order, f"weights of {name}", sender)

    async def sweep(self, asked: StartSweep, sender: str) -> ResearchJobLine:
        """Start a sweep. Raises Refused for a wrong override, NotDone where one is queued or running."""
        order = ResearchOrder("sweep", tuple(asked.sets), tuple(asked.over), asked.start, asked.end)
        return await self._start(order, asked.reason, sender)

    async def cancel(self, asked: CancelJob, sender: str, id: str) -> ResearchJobLine:
        """Cancel a backtest or a sweep. Raises Refused for an unknown id, NotDone where it has ended."""
        assert self._jobs is not None
        reason_line = _reason_line(asked.reason)
        try:
            # -1 is no job run; a number of 19 digits may not fit into 64 bits
            run = await self._jobs.cancel(int(id) if id.isdecimal() and len(id) < 19 else -1, sender, reason_line)
        except KeyError:
            text = f"there is no backtest or sweep {id!r:.40}; /api/v1/research/jobs lists them"
            raise Refused(404, "not_found", text) from None
        except Conflict as why:
            raise NotDone("conflict", str(why)) from None
        return self._line(run.id)

    async def pin(self, asked: PinBacktest, sender: str) -> ResearchJobsNow:
        """Pin a stored backtest. Raises Refused for an unknown backtest, NotDone for an unfinished one."""
        assert self._jobs is not None
        reason_line = _reason_line(asked.reason)
        if asked.backtest:
            stored = await asyncio.to_thread(self._backtests.open, asked.backtest)
            if stored is not None and not stored.run.ended:
                raise NotDone("conflict", f"the backtest {asked.backtest} is not finished; pin a finished one")
        try:
            await self._jobs.pin(asked.backtest, sender, reason_line, self._run.service.shell.ts)
        except Conflict as why:
            raise NotDone("conflict", str(why)) from None
        return self._jobs_now()

    async def _start(self, order: ResearchOrder, reason: str, sender: str) -> ResearchJobLine:
        """Check and queue a backtest or a sweep.

        Raises Refused for a wrong override, NotDone where another job of the same kind is queued or running.
        """
        assert self._jobs is not None
        reason_line = _reason_line(reason)
        try:
            await asyncio.to_thread(self._jobs.check, order)
        except OrderRefused as why:
            raise Refused(422, "configuration", str(why), errors=[FieldFault(why.field, str(why))]) from None
        try:
            run = await self._jobs.start(order, sender, reason_line, self._run.service.shell.ts)
        except Conflict as why:
            raise NotDone("conflict", str(why)) from None
        return self._line(run.id)

    def _jobs_now(self) -> ResearchJobsNow:
        runs = self._runs.runs()
        lines = [self._line(run.id) for run in runs if run.job in KINDS][:SHOWN]
        return ResearchJobsNow(self._run.service.run, lines, pinned_of(runs))

    def _line(self, id: int) -> ResearchJobLine:
        run = self._runs.get(id)
        assert run is not None
        share = None if self._jobs is None else self._jobs.shares.get(id)
        started, ended = (instant_text(ts) if ts else None for ts in (run.started_ns, run.ended_ns))
        return ResearchJobLine(
            str(id), run.job, run.state, share, run.who, run.reason, started, ended, run.result, backtest_of(run)
        )


def _reason_line(reason: str) -> str:
    """Return the reason on one line. Raises NotDone for an empty one."""
    if line := one_line(reason):
        return line
    raise NotDone("reason", "the reason is empty; write one, which is stored with the result")


def _routes_of(context: RouteContext) -> ResearchJobRoutes | None:
    """Return the handlers for backtests and sweeps; none for a context without stored runs of jobs."""
    return None if context.job_runs is None else ResearchJobRoutes(context, context.job_runs)


ROUTES: Final = RouteGroup(
    "research_jobs",
    82,
    _routes_of,
    routes=(
        Read(
            "/api/v1/research/jobs", ResearchJobRoutes.jobs, "Backtests and sweeps that were started beside the run.",
            call="research_jobs",
        ),
        Post(
            "/api/v1/research/backtests", ResearchJobRoutes.backtest, "Start a backtest beside the run.",
            '{"reason": "..", "sets": ["agents.trend.params.lookback=63"]}', jobs=True, call="start_backtest",
            form={"about": "Start a backtest beside the run; `research_jobs` has its progress and result."},
        ),
        Post(
            "/api/v1/agents/{name}/backtest", ResearchJobRoutes.backtest_weights,
            "Start a backtest of weights, alone with the account's capital, up to the present market time.",
            '{"weights": {"SPY": 0.2}}', "propose", jobs=True, call="backtest_weights",
            form={"about": "Start a backtest of weights up to the present market time; `job` has its result."},
        ),
        Post(
            "/api/v1/research/sweeps", ResearchJobRoutes.sweep, "Start a sweep beside the run.",
            '{"reason": "..", "over": ["agents.trend.params.lookback=21:126:21"]}', jobs=True, call="start_sweep",
        ),
        Post(
            "/api/v1/research/jobs/{id}/cancel", ResearchJobRoutes.cancel, "Cancel one of them.", '{"reason": ".."}',
            jobs=True, call="cancel_research", form={"about": ""},
        ),
        Post(
            "/api/v1/research/reference", ResearchJobRoutes.pin, "Pin a backtest as the run's reference.",
            '{"reason": "..", "backtest": "uf7h99u5"}', jobs=True, call="pin_backtest",
        ),
    ),
)  # fmt: skip
