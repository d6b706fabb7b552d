"""Runs a single policy as a benchmark for a run, in particular equal weight.

What can go wrong: two results are compared that had different dates, costs or capital. Equal weight once traded from
the first session on, while the policy it was compared with waited for its lookback. So both runs share engine, bars,
dates, costs, capital and account limits, and begin to decide at the same session. A comparison with any difference is
refused. Settings are collected from finished runs, because the dates of a run are known from its record.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.adapters.calendars import ALWAYS_OPEN
from quantd.daemon.assembly.engine_rules import rules_of
from quantd.daemon.assembly.first_session import longest_history, samples_before
from quantd.daemon.assembly.parts import Assembly, Parts
from quantd.daemon.config import Config
from quantd.daemon.config.schema import Schedule
from quantd.daemon.runtime.loop import Shell
from quantd.daemon.runtime.schedule import DEPOSIT, schedule_of
from quantd.daemon.runtime.step_log import Log
from quantd.daemon.views.struct_fields import struct_of
from quantd.research.runs.run_record import Record
from quantd.risk.limits.catalogue import Limits
from quantd.strategies.policies import POLICIES
from quantd.strategies.policies.membership import MembersOfDay
from quantd.trading.display_text import session_date
from quantd.trading.events import Tick
from quantd.trading.execution import Costs
from quantd.trading.exit_codes import ExplainedError
from quantd.trading.instruments import MICRO
from quantd.trading.ports import Policy
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import PERIODS_PER_YEAR, SHARPE_DEFINITION, Performance, RiskFree, performance

NAME: Final = "equal_weight"
"""Name of the benchmark policy."""

Drive = Callable[[Assembly, Log], Shell]
"""Runs the whole market of an assembly (the parts of a configured run), and records every step in the log."""


class Settings(Struct, frozen=True):
    """Settings that must be equal in two runs before their figures are compared."""

    bars: str
    symbols: tuple[str, ...]
    dates: str
    costs: Costs
    borrow_bp_annual: float
    cash_micro: int
    capital_micro: int
    house: Limits
    min_trade: float
    follow_ups: int
    rearm_samples: int
    flatten_on: tuple[str, ...]
    jobs: tuple[str, ...]
    periods: float
    formula: str = SHARPE_DEFINITION
    begins: str = ""
    """The date of the first decision with a complete lookback; empty for none."""
    deposits: str = ""
    """A digest of the money paid in up to each sample; empty for none."""


class Incomparable(ExplainedError, ValueError):
    """Two runs have different settings, so their figures are not comparable; the message names the settings."""


def settings_of(assembly: Assembly, record: Record) -> Settings:
    """Collect the actual settings of a run, with `dates` from its recorded samples."""
    rules = assembly.rules
    return struct_of(
        Settings,
        rules,
        bars=assembly.feed.digest,
        symbols=assembly.universe.symbols,
        dates=blake2b(record.ts.tobytes(), digest_size=16).hexdigest(),
        costs=assembly.costs,
        capital_micro=sum(agent.capital_micro for agent in rules.agents),
        min_trade=min_trade(assembly),
        jobs=tuple(schedule.do for schedule in assembly.schedules if schedule.do != "rebalance"),
        periods=samples_a_year(assembly),
        formula=assembly.sharpe_definition,
        begins=first_decision(assembly, record),
        deposits=blake2b(record.deposits_micro().tobytes(), digest_size=16).hexdigest() if record.flows else "",
    )


def first_decision(assembly: Assembly, record: Record) -> str:
    """Return the date of the first sample at which every policy has enough samples.

    Empty for no such sample, and where it is the last one after others: its orders have no bar to fill in.
    """
    calendar = assembly.sessions[assembly.universe.calendar]
    needed = longest_history(assembly.policies, assembly.universe)
    warm_samples = samples_before(assembly.feed, calendar, assembly.start_ns) if needed else 0
    index = max(0, needed - warm_samples)
    return session_date(record.ts[index]).isoformat() if index < len(record.ts) - (index > 0) else ""


def require_same(settings_of_run: Settings, settings_of_other: Settings) -> None:
    """Raise Incomparable with the name of every setting that differs."""
    differing = [
        name
        for name in settings_of_run.__struct_fields__
        if getattr(settings_of_run, name) != getattr(settings_of_other, name)
    ]
    if differing:
        text = f"the runs differ in {', '.join(differing)}; their figures are not comparable"
        if "begins" in differing:
            dates = (settings.begins or "never" for settings in (settings_of_run, settings_of_other))
            text += f": they begin to decide at {' and '.join(dates)}. "
            text += "Write LOOKBACK into the file of the policy (Python: act.lookback = 20), or give earlier bars"
        raise Incomparable(text)


def samples_a_year(parts: Parts) -> float:
    """Return the samples per year: 252 for daily exchange sessions, 365 for a 24/7 market.

    For shorter bars this number is multiplied by the bars of a median session.
    """
    calendar = parts.sessions[parts.universe.calendar]
    days = 365.0 if parts.universe.calendar == ALWAYS_OPEN else float(PERIODS_PER_YEAR)
    if parts.interval_ns >= DAY_NS:
        return days
    session_ns = sorted(close - open_ for open_, close in zip(calendar.open_ns, calendar.close_ns, strict=True))
    # the negations round the number of bars up
    return days * max(1, -(-session_ns[len(session_ns) // 2] // parts.interval_ns))


def equal_weight_of(assembly: Assembly) -> Assembly:
    """Replace the agents of a run by one equal-weight agent that decides at each sample."""
    return alone(assembly, NAME, POLICIES[NAME]({}))


def min_trade(assembly: Assembly) -> float:
    """Return the smallest `min_trade` (least traded weight change) of the agents, for the agent that replaces them."""
    return min((agent.min_trade for agent in assembly.rules.agents), default=0.0)


@dataclass(frozen=True, slots=True)
class Opened(Assembly):
    """A run whose agents also decide at its first sample, whatever their schedules are.

    Otherwise an account with a monthly schedule would hold cash in the first month, although no policy decided to.
    """

    def ticks(self) -> Iterator[Tick]:
        """Yield the market's ticks (instants of samples); every agent decides at the first, whatever its schedule."""
        past_first_sample = False
        for tick in Assembly.ticks(self):
            is_first_sample = tick.sample and not tick.warmup and not past_first_sample
            past_first_sample = past_first_sample or is_first_sample
            yield msgspec.structs.replace(tick, due=tuple(range(len(self.rules.agents)))) if is_first_sample else tick


def unlimited(config: Config, changes: Mapping[str, Any], **agent: Any) -> Config:
    """Return the configuration with one agent that has all capital and the profile `research`, without schedules.

    `changes` are further values of the configuration's document, `agent` further settings of the agent.
    """
    single_agent = config.agent(capital=1.0, profile="research", min_trade=0.0, **agent)
    update = {"agents": (single_agent,), "schedules": (), "risk": type(config.risk)(profile="research"), **changes}
    return replace(config, document=config.for_backtest().document.model_copy(update=update))


def alone(assembly: Assembly, name: str, policy: Policy, cron: str = "", timezone: str = "") -> Assembly:
    """Replace the agents of a run by one agent with `policy`, under the run's risk profile.

    The agent decides at each sample, or at the first and then as `cron` specifies. It has the replaced agents' total
    capital and their smallest `min_trade`. Jobs other than rebalances stay.
    """
    config = assembly.config
    invested = sum(agent.capital_micro for agent in assembly.rules.agents) / max(1, assembly.rules.cash_micro)
    agent = config.agent(
        name=NAME, policy=name, capital=min(1.0, invested), profile=config.risk.profile, min_trade=min_trade(assembly)
    )
    jobs = tuple(schedule for schedule in config.schedules if schedule.enabled and schedule.do != "rebalance")
    # a deposit for some agents is one for the agent that replaces them
    jobs = tuple(
        schedule.model_copy(update={"agents": (NAME,)}) if schedule.do == DEPOSIT and schedule.agents else schedule
        for schedule in jobs
    )
    if cron:
        jobs += (Schedule(name="rebalance", do="rebalance", cron=cron, timezone=timezone, agents=(NAME,)),)
    # None: no book for manual orders
    update = {"agents": (agent,), "manual": None, "schedules": jobs}
    single_config = replace(config, document=config.document.model_copy(update=update))
    policies: tuple[Policy, ...] = (policy,)
    if assembly.members is not None:
        policies = (MembersOfDay(policy, assembly.members),)
    schedules = tuple(schedule_of(single_config, k) for k in range(len(jobs)))
    rules = rules_of(
        single_config, assembly.universe, assembly.sessions, policies, schedules, assembly.feed.interval_ns
    )
    # `invested` was rounded to a float, so the capital is set again, exact to the micro.
    capital = sum(agent_rules.capital_micro for agent_rules in assembly.rules.agents)
    rules = msgspec.structs.replace(rules, agents=(msgspec.structs.replace(rules.agents[0], capital_micro=capital),))
    # with a schedule the agent would first decide at its first date: `Opened` asks it at the first sample too
    variant = replace(assembly, config=single_config, rules=rules, policies=policies, schedules=schedules)
    return Opened(**{field.name: getattr(variant, field.name) for field in fields(variant)}) if cron else variant


def recorded(assembly: Assembly, drive: Drive, after: Log | None = None) -> Record:
    """Run `assembly` and return its record, valued at each instrument's close of the date.

    Steps also go to the log `after`.
    """
    record = Record(assembly.universe, after)
    record.end(drive(assembly, record).state)
    return record


def performance_of(record: Record, periods: float, risk_free_annual: RiskFree) -> Performance:
    """Return the performance of a record's equity, without deposits.

    Raises ValueError for fewer than two samples or an account that lost everything.
    """
    return performance(record.wealth_micro() / MICRO, periods, risk_free_annual)


def mean_equity(record: Record) -> float:
    """Return the average equity at samples, in account currency."""
    return sum(record.equity_micro) / len(record.equity_micro) / MICRO
