"""Makes the parts of a run from its configuration: universe, sessions, feed, rules, policies, venue and timeline.

Backtests, paper runs, live runs and replays have the same parts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from dataclasses import replace as replaced
from datetime import date, timedelta
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from quantd.adapters.brokers.paper.broker import Paper
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import BarFrame, BarSource, digest, span
from quantd.adapters.feeds.recorded.macro import MacroFile, RateFile, Series, SymbolSeries, series_digest
from quantd.adapters.feeds.recorded.membership import read_membership
from quantd.adapters.feeds.recorded.replay import Replay
from quantd.adapters.feeds.recorded.soundness import UnsoundPrices, require_sound
from quantd.adapters.feeds.table_files.statement import NO_VOLUMES, Statement
from quantd.daemon.assembly.broker_costs import costs_of
from quantd.daemon.assembly.engine_rules import FEED_ASKS, rules_of
from quantd.daemon.assembly.first_session import first_session, longest_history
from quantd.daemon.assembly.loaded_artifacts import factor_of, loaded_policy, require_inputs
from quantd.daemon.assembly.outside_benchmark import outside_benchmark
from quantd.daemon.assembly.recorded_market import priced, recorded_feed
from quantd.daemon.config import Config
from quantd.daemon.config.agent_tables import MANUAL
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.settings import Rules
from quantd.daemon.policies.composed import policy_of
from quantd.daemon.policies.loading import Apart, answer
from quantd.daemon.policies.seats import Seats
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.outbound import Wire
from quantd.daemon.runtime.schedule import (
    DEPOSIT,
    SESSION_MESSAGES,
    Schedule,
    Verdict,
    catch_up,
    deposits,
    due,
    next_runs,
    schedule_of,
    sessions_of,
    stream,
)
from quantd.daemon.runtime.step_log import Log
from quantd.daemon.runtime.timeline import (
    Item,
    due_ticks,
    next_sample,
    sample_ticks,
    timeline,
    with_deposits,
    with_due,
    with_jumps,
)
from quantd.trading.display_text import local, session_date
from quantd.trading.events import Flow, Tick
from quantd.trading.execution import Costs
from quantd.trading.instruments import Membership, Universe
from quantd.trading.market import MarketSlice
from quantd.trading.model_events import ModelLoaded
from quantd.trading.ports import Policy, leaves
from quantd.trading.sessions import DAY_NS, Sessions, interval_text
from quantd.trading.statistics import RISK_FREE_ANNUAL, RiskFree, sharpe_definition

LIVE_BACK_YEARS: Final = 3
"""Years of sessions before the warm-up: the maximum age of a run that can be replayed from its beginning."""

LIVE_AHEAD_DAYS: Final = 300
"""Days of sessions ahead. Exchanges announce their sessions a year ahead; a daemon is restarted before these end."""

COMING: Final = 5
"""Maximum number of coming runs that a message about a session names."""

AHEAD_DAYS = 20
"""Days of sessions beyond the last bar, because the expiry of an order must be known when it is sent."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one run except its feed.

    `market` identifies the market, so that a run continues on its own market only. A `live` market is journalled bar by
    bar.
    """

    config: Config
    universe: Universe
    sessions: Mapping[str, Sessions]
    rules: Rules
    costs: Costs
    policies: tuple[Policy, ...]
    schedules: tuple[Schedule, ...]
    start_ns: int
    interval_ns: int
    market: str
    live: bool
    macro: tuple[Series, ...]
    """The macro series, then the series per symbol in use."""
    isolation: Apart | None
    """Makes the policies in separate processes; None where all policies run in this process."""
    cash_rate: RateFile | None
    """The interest rate of cash; None without interest."""
    members: Membership | None
    """The members of the universe by date; None where all symbols are members at all times."""
    outside: Replay | None
    """The bars of a benchmark outside the universe, for comparison only; None without such a benchmark."""

    def first_sample(self, now: int) -> int | None:
        """Return the first sample, ns UTC, of a run that has had none at `now`; None beyond the calendar."""
        house = self.sessions[self.universe.calendar]
        return next_sample(house, self.interval_ns, now if self.live else self.start_ns)

    def risk_free_annual(self, days_ns: Sequence[int], periods: float) -> RiskFree:
        """Return the annual risk-free rate of the returns between samples of these dates, with `periods` samples a
        year."""
        return RISK_FREE_ANNUAL if self.cash_rate is None else self.cash_rate.rate.earned(days_ns)[1:] * periods

    @property
    def sharpe_definition(self) -> str:
        """The definition of this run's Sharpe ratio, as text."""
        return sharpe_definition(self.cash_rate.rate.words if self.cash_rate is not None else "")

    def shell(self, log: Log | None = None, *, hashed: bool = True) -> Shell:
        """Return a new shell, which applies events to the engine's state, at the run's start.

        With `hashed` False the shell computes no digest of the run. Requests to a real venue are collected by a Wire
        until they are committed. The shell asks its `seats` (the policies by index) for decisions, and they read from
        the shell which artifacts are loaded.
        """
        remote = self.config.broker.kind != "paper"
        shell = Shell(
            State(self.rules),
            Wire() if remote else self.paper(),
            lambda question: answer(shell.seats(question.policy), question),
            interval_ns=self.interval_ns,
            log=log,
            remote=remote,
            shadows=[self.paper() for _ in self.rules.shadows],
            hashed=hashed,
        )
        shell.seats = self.seats(lambda: shell.unsettled.loaded)
        return shell

    def seats(self, loaded: Callable[[], Mapping[str, ModelLoaded]]) -> Seats:
        """Return the policies by seat (the index of a configured policy).

        `loaded` returns the artifacts that decide in place of configured policies.
        """

        def policy_from(policy_index: int, path: str) -> Policy:
            agent = self.config.seats[policy_index]
            return loaded_policy(self.config, self.rules, self.interval_ns, agent, path, self.members, self.isolation)

        return Seats(
            self.policies, self.rules.names(), policy_from, loaded, [agent.policy for agent in self.config.seats]
        )

    def paper(self) -> Paper:
        """Return a simulated venue of the whole account or of a shadow, at the configured costs."""
        sessions = [self.sessions[instrument.calendar] for instrument in self.universe.instruments]
        return Paper(self.universe, self.costs, sessions)

    def dated(self, tick: Tick) -> Tick:
        """Return the tick; a sample gets the values of the series and the interest rate on cash.

        The interest rate is the newest one dated before the tick's date (00:00 UTC); a warm-up tick has none.
        On a live market changed files are read again; if a file cannot be read, its last values stay.
        """
        rate = None if tick.warmup else self.cash_rate
        if not tick.sample or not (self.macro or rate):
            return tick
        if self.live:
            for series in (*self.macro, *((rate,) if rate else ())):
                try:
                    series.refresh()
                except FeedError as error:
                    import structlog  # most starts log nothing here

                    structlog.get_logger("quantd.assembly").warning(
                        "series.unread", series=series.name, error=str(error)
                    )
        values = tuple(value for series in self.macro for value in series.known(tick.ts))
        return replace(tick, macro=values, cash_rate=rate.rate.before(tick.key - tick.key % DAY_NS) if rate else None)

    def ticks_between(self, after: int, until: int, start_ns: int, away: int = 0) -> Iterator[Tick]:
        """Return the samples of the account's calendar and the scheduled ticks in (after, until]; samples before
        `start_ns` are warm-up.

        `away` is the end of a downtime: for instants up to it, each schedule's `missed` decides whether they run.
        """
        house = self.sessions[self.universe.calendar]
        calendars = [
            self.sessions[name] for name in sorted({instrument.calendar for instrument in self.universe.instruments})
        ]
        samples = sample_ticks(house, calendars, self.interval_ns, after, until, start_ns)
        if not self.schedules:
            return samples
        # by index of the schedule: the agents that it asks, and the job that it runs
        asks = {k: self.asked_by(schedule) for k, schedule in enumerate(self.schedules) if schedule.do in FEED_ASKS}
        jobs = {k: schedule.do for k, schedule in enumerate(self.schedules)}
        return map(self.announced, with_due(samples, due_ticks(self._due(after, until, start_ns, away), asks, jobs)))

    def _due(self, after: int, until: int, start_ns: int, away: int) -> Iterator[tuple[int, int]]:
        """Yield (instant, index of the schedule) in (after, until]; schedules begin with trading, after the warm-up."""
        after = max(after, start_ns - 1)
        missed = [(ts, k) for ts, k, verdict in self.missed(after, away) if verdict == "run"]
        return chain(missed, stream(self.schedules, self.sessions, max(after, away), until))

    def paid_between(self, after: int, until: int, start_ns: int, away: int = 0) -> Iterator[Flow]:
        """Return the deposits of schedules into a simulated account in (after, until]; a real venue reports its own."""
        if self.config.broker.kind != "paper" or all(schedule.do != DEPOSIT for schedule in self.schedules):
            return iter(())
        due = self._due(after, until, start_ns, away)
        return deposits((at for at in due if self.schedules[at[1]].do == DEPOSIT), self.schedules, self.rules)

    def announced(self, tick: Tick) -> Tick:
        """Return the tick; a tick with the job `before_open` or `after_close`, which sends a message, gets the next
        scheduled runs."""
        if SESSION_MESSAGES.isdisjoint(tick.jobs):
            return tick
        house, runs = self.rules.house_sessions(), next_runs(self.schedules, self.sessions, tick.ts)
        scheduled = all(agent.scheduled or k in self.rules.outside for k, agent in enumerate(self.rules.agents))
        if not scheduled and (sample := next_sample(house, self.interval_ns, tick.ts)) is not None:
            runs.append((sample, "decisions"))
        return replace(tick, coming=tuple(f"{name} {local(ts, house.zone)}" for ts, name in sorted(runs)[:COMING]))

    def asked_by(self, schedule: Schedule) -> tuple[int, ...]:
        """Return the indices of the agents that a schedule asks: those that it names, else all but the manual book and
        portfolios.

        A challenger without a schedule decides with its champion.
        """
        index_of = {name: k for k, name in enumerate(self.rules.seats)}
        if not schedule.agents:
            return tuple(k for name, k in index_of.items() if name != MANUAL and name not in self.config.places)
        scheduled_names = {name for s in self.schedules if s.do in FEED_ASKS for name in s.agents}
        followers = [
            shadow.name
            for shadow in self.config.shadows
            if shadow.challenges in schedule.agents and shadow.name not in scheduled_names
        ]
        return tuple(index_of[name] for name in (*schedule.agents, *followers))

    @property
    def slices(self) -> Callable[[int], MarketSlice] | None:
        """A function that returns a slice (the bars of one instant) of a recorded market by its number; None on a live
        one."""
        return None

    @property
    def statements(self) -> tuple[Statement, ...]:
        """How tables of bars in other formats were interpreted; empty on a live market and for files in quantd's
        format."""
        return ()

    def missed(self, after: int, away: int) -> list[tuple[int, int, Verdict]]:
        """Return (instant, index of the schedule, verdict) for each scheduled instant in (after, away], the time of a
        downtime.

        Instants are in ns UTC. The verdict says what is done about a missed instant: "run", "skip" or "alert".
        """
        return catch_up(self.schedules, due(self.schedules, self.sessions, after, away), away) if away > after else []


@dataclass(frozen=True, slots=True)
class Assembly(Parts):
    """The parts of one run over a recorded market, with its feed."""

    feed: Replay
    unsound: str = ""
    """Faults of the prices that would stop a backtest, for a run that they do not stop; empty without faults."""

    @property
    def slices(self) -> Callable[[int], MarketSlice]:
        """A function that returns a slice (the bars of one instant) of the recorded market by its number."""
        return self.feed.slice_at

    @property
    def statements(self) -> tuple[Statement, ...]:
        """The statements of the feed about how it interpreted tables of bars in other formats."""
        return self.feed.statements

    def items(self) -> Iterator[Item]:
        """Return the whole recorded market with its ticks, in order of time."""
        paid = self.paid_between(self.feed.first_ts - 1, self.feed.last_ts, self.start_ns)
        market = with_jumps(self.feed.items(), self.feed.jumps, self.config.feed.jumps)
        return timeline(market, with_deposits(paid, self.ticks()))

    def ticks(self) -> Iterator[Tick]:
        """Return the ticks (samples and scheduled instants) of the recorded market, from the first bar to the last."""
        ticks = map(self.dated, self.ticks_between(self.feed.first_ts - 1, self.feed.last_ts, self.start_ns))
        return map(self.feed.with_opens, ticks)


def assemble(
    config: Config,
    *,
    cache: Path | None = None,
    isolation: Apart | None = None,
    bars: BarFrame | None = None,
    places: bool = False,
    history: int = 0,
) -> Assembly:
    """Read a recorded market, and return the parts of a run over it.

    A daemon sets `places`: the parts then have the vacant agents for portfolios, and faults of prices are in `unsound`.
    Without `places`, as in a backtest, there are no such agents, and faults of prices are raised. `cache` is a folder
    for built calendars; `isolation` makes the policies in separate processes. `bars` replace the file of [feed] path.
    Trading begins at the first session from [feed] start on that has enough samples before it: the longest lookback of
    the policies, or `history` if that is more. Raises FeedError, UnsoundPrices, CalendarError or PolicyError with the
    file or value and the remedy.
    """
    if config.feed.kind != "replay":
        fault = f'"{config.feed.kind}" is a live feed, but recorded bars are needed here'
        raise FeedError("[feed] kind", fault, 'Write kind = "replay" and the path of bars (`quantd data fetch`)')
    config = config if places else config.for_backtest()
    universe = config.instruments()
    source = config.at(config.feed.path) if bars is None else bars
    policies, members = _policies(config, universe, config.feed.interval_ns, isolation)
    warmup = max(config.feed.warmup, history := max(history, longest_history(policies, universe)))
    sessions = market_sessions(config, source, cache, warmup)
    feed = recorded_feed(config, source, universe, sessions, warmup)
    universe = feed.universe
    unsound = _unsound(config, feed, sessions, members)
    if unsound is not None and not places:
        raise unsound
    house = sessions[universe.calendar]
    dates = zip(house.day_ns, house.open_ns, strict=True)
    # (0, 0): no session follows [feed] start
    first_day, start = next(((day, opens) for day, opens in dates if day >= feed.start_key), (0, 0))
    macro, rate = macro_of(config, house, universe), rate_of(config, first_day)
    outside = outside_benchmark(config, source, cache, strict=not places)
    parts = _parts(config, universe, sessions, feed.interval_ns, isolation, policies, members)
    _require_volumes(parts["rules"], feed.statements)
    return Assembly(
        **parts,
        start_ns=first_session(feed, house, start, history),
        market=_market(config, feed, macro, rate),
        live=False,
        macro=macro,
        cash_rate=rate,
        outside=outside,
        feed=feed,
        unsound=str(unsound or ""),
    )


def _market(config: Config, feed: Replay, macro: tuple[Series, ...], rate: RateFile | None) -> str:
    """Return the identity of a recorded market: a digest of its bars, series, members and costs."""
    market = series_digest(feed.digest, macro, rate)
    if files := [name for name in (config.universe.members, config.broker.costs_file) if name]:
        return digest(tuple(map(config.at, files)), market)
    return market


def as_recorded(parts: Parts, market: str) -> Parts:
    """Return the parts with the bars of a run that was recorded over `market`; unchanged where they cannot be
    reproduced.

    Earlier versions left out the first bars at a new price level although [feed] jumps or adjusted accepts the level.
    These bars are used now. Without this function a run of an earlier version would be refused after its restart, as a
    run over another market.
    """
    if not isinstance(parts, Assembly) or parts.market == market:
        return parts
    config = parts.config
    warmup = max(config.feed.warmup, history := longest_history(parts.policies, parts.universe))
    feed = recorded_feed(config, config.at(config.feed.path), parts.universe, parts.sessions, warmup, first_bars=False)
    if _market(config, feed, parts.macro, parts.cash_rate) != market:
        return parts
    house = parts.sessions[parts.universe.calendar]
    start = next((opens for day, opens in zip(house.day_ns, house.open_ns, strict=True) if day >= feed.start_key), 0)
    unsound = str(_unsound(config, feed, parts.sessions, parts.members) or "")
    start = first_session(feed, house, start, history)
    changed: dict[str, Any] = {"feed": feed, "market": market, "start_ns": start, "unsound": unsound}
    return Assembly(**{part.name: changed.get(part.name, getattr(parts, part.name)) for part in fields(parts)})


def _unsound(
    config: Config, feed: Replay, sessions: Mapping[str, Sessions], members: Membership | None
) -> UnsoundPrices | None:
    """Return the faults of recorded prices about which a person must decide; None without any."""
    try:
        require_sound(feed, sessions, members, holes_known=config.feed.holes == "known")
    except UnsoundPrices as error:
        return error
    return None


def _require_volumes(rules: Rules, statements: tuple[Statement, ...]) -> None:
    """Raise FeedError for a limit that depends on volume over a table without volumes; it would refuse each order."""
    table_name = next((statement.name for statement in statements if statement.volume == NO_VOLUMES), "")
    if not table_name:
        return
    agents = ((f"the limits of agent {agent.name}", agent.limits) for agent in rules.agents)
    for section, limits in (("[risk]", rules.house), *agents):
        for key in limits.by_volume:
            text = f"column volume is missing, and {key} of {section} would refuse each order without a volume"
            raise FeedError(
                table_name, text, f"Give a table with volumes, or take {key} out, also as part of a profile"
            )


def reassemble(base: Assembly, config: Config) -> Assembly | None:
    """Return the parts of a run under another configuration over the market of `base`, which is not read again.

    Returns None where `config` describes another market. Raises PolicyError for a policy that cannot be loaded.
    """
    old = base.config
    calendars = {schedule.calendar for schedule in config.schedules if schedule.calendar}
    same = (config.feed, config.universe, config.document.account) == (old.feed, old.universe, old.document.account)
    if not same or not calendars <= set(base.sessions):
        return None
    # a base with places for portfolios, or notices, is a daemon's
    config = config if base.config.attended else config.for_backtest()
    universe = base.universe if config.broker.cash_micro == old.broker.cash_micro else priced(config, base.feed)
    policies, members = _policies(config, universe, base.interval_ns, base.isolation)
    changed = _parts(config, universe, base.sessions, base.interval_ns, base.isolation, policies, members)
    changed["feed"] = base.feed if universe is base.universe else replaced(base.feed, universe=universe)
    history = longest_history(policies, universe)
    changed["start_ns"] = first_session(base.feed, base.sessions[base.universe.calendar], base.start_ns, history)
    return Assembly(**{field.name: changed.get(field.name, getattr(base, field.name)) for field in fields(base)})


def assemble_live(config: Config, now: int, *, cache: Path | None = None, isolation: Apart | None = None) -> Parts:
    """Return the parts of a run on a live market; the daemon opens its feed and its venue.

    `now` (ns UTC) decides which dates the calendars cover; `isolation` makes the policies in separate processes. Raises
    CalendarError, PolicyError or ScheduleError.
    """
    universe = config.instruments()
    today = session_date(now)
    # whole months, so that the built calendars are cached for as long
    begin = date(today.year - LIVE_BACK_YEARS - int(config.feed.warmup * 1.6) // 365, 1, 1)
    end = (today + timedelta(days=LIVE_AHEAD_DAYS)).replace(day=1)
    sessions = sessions_of(config, begin, end, cache)
    policies, members = _policies(config, universe, config.feed.interval_ns, isolation)
    return Parts(
        **_parts(config, universe, sessions, config.feed.interval_ns, isolation, policies, members),
        start_ns=now,
        market=market_of(config, config.broker.kind, config.broker.venue),
        live=True,
        macro=macro_of(config, sessions[universe.calendar], universe),
        cash_rate=rate_of(config, now - now % DAY_NS),
        outside=outside_benchmark(config, None, cache, strict=False),  # None: no recorded bars
    )


def _policies(
    config: Config, universe: Universe, interval_ns: int, isolation: Apart | None
) -> tuple[tuple[Policy, ...], Membership | None]:
    """Return the policies of the agents, then of the shadows (agents on paper), and the members of the universe by
    date."""
    members_file = config.universe.members
    members = read_membership(config.at(members_file), universe) if members_file else None
    return policies_of(config, universe, interval_ns, isolation, members), members


def _parts(
    config: Config,
    universe: Universe,
    sessions: Mapping[str, Sessions],
    interval_ns: int,
    isolation: Apart | None,
    policies: tuple[Policy, ...],
    members: Membership | None,
) -> dict[str, Any]:
    """Return, by field name, the arguments of Parts that a recorded and a live market compute in the same way."""
    schedules = tuple(schedule_of(config, k) for k, schedule in enumerate(config.schedules) if schedule.enabled)
    stream(schedules, sessions, 0, 0)  # raises for a time that no session has
    return {
        "config": config,
        "universe": universe,
        "sessions": sessions,
        "rules": rules_of(config, universe, sessions, policies, schedules, interval_ns),
        "costs": costs_of(config),
        "policies": policies,
        "members": members,
        "schedules": schedules,
        "interval_ns": interval_ns,
        "isolation": isolation,
    }


def macro_of(config: Config, house: Sessions, universe: Universe) -> tuple[Series, ...]:
    """Return the series of [feed] macro, then those of [feed] series in use.

    Raises FeedError for a file that cannot be read.
    """
    macro = (MacroFile(table.name, config.at(table.path), table.available, house) for table in config.feed.macro)
    series = (
        SymbolSeries(
            table.name, config.at(table.path), universe.symbols, house, table.available,
            column=table.column, valid_days=table.valid_days,
        )
        for table in config.feed.series if table.use
    )  # fmt: skip
    return (*macro, *series)


def rate_of(config: Config, first_ns: int) -> RateFile | None:
    """Return the rates of [account] cash_rate for a run whose first session is at `first_ns` (ns UTC); None if not set.

    Raises FeedError for a file that cannot be read or that begins later.
    """
    cash_rate = config.document.account.cash_rate
    rate = str(config.at(cash_rate).absolute()) if isinstance(cash_rate, str) else cash_rate
    return None if rate is None else RateFile(rate, config.source.folder, first_ns)


def market_of(config: Config, kind: str, venue: str) -> str:
    """Return the identity of a live market, for a run at this kind of broker and venue."""
    universe = config.universe
    identity = ("live", kind, venue, universe.calendar, interval_text(config.feed.interval_ns), *universe.symbols)
    return blake2b("|".join(identity).encode(), digest_size=32).hexdigest()


def parts_of(config: Config, now: int, *, cache: Path | None = None, isolation: Apart | None = None) -> Parts:
    """Return the parts of a run over the configured market, recorded or live."""
    if config.feed.kind == "replay":
        return assemble(config, cache=cache, isolation=isolation, places=True)
    return assemble_live(config, now, cache=cache, isolation=isolation)


def market_sessions(config: Config, source: BarSource, cache: Path | None, warmup: int) -> dict[str, Sessions]:
    """Return the sessions of every calendar in use, from the warm-up (`warmup` samples) to beyond the last bar.

    Raises FeedError if [feed] start is after the last bar, or its end before the first.
    """
    first, last = span((source,), tuple(config.universe.symbols))
    if config.feed.start is not None:
        # a warm-up of n samples reaches back n sessions: seven days for five of them, and holidays
        back = timedelta(days=int(warmup * 1.6) + 30)
        if config.feed.start > last:
            fault = f"ends on {last}, before [feed] start = {config.feed.start}"
            raise FeedError(source.name, fault, "Give an earlier start")
        first = max(first, config.feed.start - back)
    if config.feed.end is not None:
        if config.feed.end < first:
            fault = f"begins on {first}, after [feed] end = {config.feed.end}"
            raise FeedError(source.name, fault, "Give a later end")
        last = min(last, config.feed.end)
    return sessions_of(config, first - timedelta(days=10), last + timedelta(days=AHEAD_DAYS), cache)


def policies_of(
    config: Config,
    universe: Universe,
    interval_ns: int,
    isolation: Apart | None = None,
    members: Membership | None = None,
) -> tuple[Policy, ...]:
    """Return the policies of the agents, then of the shadows (agents on paper), with their sizing and rebalancing.

    Raises PolicyError for a policy that cannot be loaded, or that needs an input which [feed] lacks.
    """
    policies = tuple(
        policy_of(config, universe, agent, factor_of(config, universe, interval_ns, agent), isolation, members)
        for agent in config.seats
    )
    for agent, policy in zip(config.seats, policies, strict=True):
        for leaf in leaves(policy):
            require_inputs(config.feed, agent.name, leaf)
    return policies


def limits_of_config(parts: Parts, config: Config) -> Rules:
    """Return the engine's rules of `parts` under a new configuration, `config`."""
    return rules_of(config, parts.universe, parts.sessions, parts.policies, parts.schedules, parts.interval_ns)
