"""The rules of the engine, from the tables of a configuration."""

from collections.abc import Mapping
from fractions import Fraction

from msgspec.structs import replace

from quantd.daemon.assembly.brokers import venues
from quantd.daemon.assembly.limits import TOLERANCE, VENUE, agent_limits, house_limits, shocks_of
from quantd.daemon.config import Agent, Config
from quantd.daemon.config.agent_tables import EXTERNAL, MANUAL
from quantd.daemon.engine.state.capital_shares import CapitalRules, Regime
from quantd.daemon.engine.state.live_caps import Allowance
from quantd.daemon.engine.state.parents import U_SHAPE, Execution
from quantd.daemon.engine.state.promotion_rule import PromotionRules
from quantd.daemon.engine.state.settings import AgentRules, Approvals, MarketRegime, Notices, Rules
from quantd.daemon.runtime.schedule import Schedule
from quantd.risk.limits import ruleset
from quantd.risk.limits.catalogue import Limits, override
from quantd.risk.measures.stress import Shock
from quantd.trading.instruments import Universe
from quantd.trading.macro import series_columns
from quantd.trading.ports import Policy, leaves
from quantd.trading.sessions import DAY_NS, Sessions

FEED_ASKS = frozenset({"rebalance"})
"""Values of `do` of schedules at which agents decide; all other values are jobs."""


# Long because it is one expression: each setting of the engine, with the key of config.toml that it comes from.
def rules_of(
    config: Config,
    universe: Universe,
    sessions: Mapping[str, Sessions],
    policies: tuple[Policy, ...],
    schedules: tuple[Schedule, ...],
    interval_ns: int,
) -> Rules:
    """Return the engine's rules. `policies` are the policies of the agents, then of the shadows (agents on paper only).

    Price collars, fees and tolerances describe the venue: an agent has the values of the house, the whole account,
    unless it sets its own.
    """
    risk, shocks = config.risk, shocks_of(config)
    house = house_limits(config, universe, interval_ns)
    capital = [Fraction(repr(agent.capital)) for agent in config.agents]
    calendars = tuple(sorted({universe.calendar, *(i.calendar for i in universe.instruments)}))
    scheduled = _scheduled_names(config, schedules)
    agents = tuple(
        AgentRules(
            name=agent.name,
            capital_micro=int(config.broker.cash_micro * share),
            limits=agent_limits(config, agent, house, universe, shocks),
            min_trade=agent.min_trade,
            scheduled=agent.name in scheduled or agent.name == MANUAL or agent.name in config.places,
            place=agent.name in config.places,
        )
        for agent, share in zip(config.agents, capital, strict=True)
    )
    lookbacks = [p.lookback for p in policies]
    for limits in (house, *(a.limits for a in agents)):
        lookbacks += ruleset.rules_of(limits, universe).lookbacks
    names = [agent.name for agent in config.agents]
    rules = Rules(
        universe=universe,
        sessions=tuple(sessions[name] for name in calendars),
        calendar=tuple(calendars.index(i.calendar) for i in universe.instruments),
        agents=agents,
        house=house,
        cash_micro=config.broker.cash_micro,
        lookback=max([252, *lookbacks]),
        daily=interval_ns >= DAY_NS,
        follow_ups=3 if risk.follow_ups is None else risk.follow_ups,
        max_failures=risk.max_failures,
        rearm_samples=_rearm_samples(risk.rearm) if config.feed.kind == "replay" else 0,
        flatten_on=risk.flatten_on or (),
        borrow_bp_annual=config.broker.borrow_bp_annual if config.broker.kind == "paper" else 0.0,
        venue_pays=config.broker.kind != "paper",
        coin_fee_bp=venues()[config.broker.kind].coin_fee_bp,
        differences=config.broker.differences,
        cash_tolerance_micro=max(config.broker.cash_tolerance_micro, venues()[config.broker.kind].rounding_micro),
        volume_lookback=risk.volume_lookback,
        house_calendar=calendars.index(universe.calendar),
        execution=execution_of(config),
        macro=macro_columns(config, universe),
        keep_bars=any(getattr(leaf, "uses_bars", False) for p in policies for leaf in leaves(p)),
        live=allowance_of(config) if config.quantd.mode == "live" else None,
        capital=capital_of(config, universe),
        seats=tuple(agent.name for agent in config.seats),
        outside=tuple(k for k, agent in enumerate(config.seats) if agent.policy == EXTERNAL),
        reviewed={k: agent.within_ns for k, agent in enumerate(config.seats) if agent.approval},
        challenges=tuple(names.index(a.challenges) if a.challenges else -1 for a in config.shadows),
        promotion=promotion_of(config),
        notices=notices_of(config, policies),
        regime=regime_of(config, universe),
        approvals=_approvals(config),
        counts_refusals=any(schedule.do == "after_close" for schedule in schedules),
    )
    shadows = tuple(_shadow(config, rules, k, shadow, schedules, shocks) for k, shadow in enumerate(config.shadows))
    return replace(rules, shadows=shadows)


def allowance_of(config: Config) -> Allowance:
    """Return the limits of the table [live], as the engine reads them."""
    live = config.live
    return Allowance(
        account_micro=live.max_account_notional_micro,
        order_micro=live.max_order_notional_micro,
        orders_per_day=live.max_orders_per_day,
        ramp_days=live.ramp.days,
        ramp_from=live.ramp.from_share,
        loosen_after_ns=live.loosen_after_ns,
    )


def _approvals(config: Config) -> Approvals | None:
    """The devices that approve, and the agents whose proposals wait for one; None without such an agent."""
    agents = tuple(agent.name for agent in config.seats if agent.approval == "device")
    return Approvals(dict(device.split(":") for device in config.approvals.devices), agents) if agents else None


def macro_columns(config: Config, universe: Universe) -> tuple[str, ...]:
    """Return the names of the macro series, then names of the used series of each symbol, in the order of a Tick's
    values."""
    used = [series.name for series in config.feed.series if series.use]
    return (
        *(series.name for series in config.feed.macro),
        *(column for name in used for column in series_columns(name, universe.symbols)),
    )


def _scheduled_names(config: Config, schedules: tuple[Schedule, ...]) -> set[str]:
    """The agents that a schedule asks, and which decide at no sample beside it; one that names none asks all."""
    every = tuple(agent.name for agent in config.seats)
    return {name for schedule in schedules if schedule.do in FEED_ASKS for name in schedule.agents or every}


def _shadow(
    config: Config, house: Rules, k: int, agent: Agent, schedules: tuple[Schedule, ...], shocks: Mapping[str, Shock]
) -> Rules:
    """Return the rules of shadow `k`, an agent on paper: the whole account of this agent alone, at a simulated venue.

    Only the agent's limits apply; the limits of its house are off, except those that describe the venue.
    """
    limits = agent_limits(config, agent, house.house, house.universe, shocks)
    if limits.protective is not None:
        # a simulated venue takes no stop orders: the daemon watches the levels
        limits = override(limits, protective=replace(limits.protective, at_venue=False))
    scheduled_names = _scheduled_names(config, schedules)
    capital = int(house.cash_micro * Fraction(repr(agent.capital)))
    # a challenger without a schedule has that of its champion
    shadow_rules = AgentRules(
        name=agent.name,
        capital_micro=capital,
        limits=limits,
        min_trade=agent.min_trade,
        scheduled=agent.name in scheduled_names or agent.challenges in scheduled_names,
    )
    return replace(
        house,
        agents=(shadow_rules,),
        house=override(Limits(), **{name: getattr(limits, name) for name in (*VENUE, *TOLERANCE)}, allow_short=True),
        cash_micro=capital,
        # off: what belongs to the account, or to its other agents
        flatten_on=(),
        venue_pays=False,
        coin_fee_bp=0.0,
        borrow_bp_annual=config.broker.borrow_bp_annual,
        differences="",
        live=None,
        capital=None,
        first_seat=len(house.agents) + k,  # the policies of shadows are numbered after those of the agents
        reviewed={},
        challenges=(),
        promotion=None,
        notices=None,
        regime=None,
        approvals=None,
        counts_refusals=False,
    )


def notices_of(config: Config, policies: tuple[Policy, ...]) -> Notices | None:
    """Return the rules of the table [alerts.notices]; None without settings.

    `expected` of the result is the Sharpe ratio of each policy in its test, NaN where that is unknown, as for a policy
    of several models.
    """
    table = config.alerts.notices
    if table == type(table)():
        return None
    return Notices(expected=tuple(map(tested_sharpe, policies)), **table.model_dump())


def tested_sharpe(policy: Policy) -> float:
    """Return the Sharpe ratio of the test window of a policy's only artifact; NaN without one."""
    models = [leaf for leaf in leaves(policy) if hasattr(leaf, "artifact")]
    results = getattr(getattr(models[0].artifact, "manifest", None), "results", {}) if len(models) == 1 else {}
    return float(results["test"].policy.sharpe) if "test" in results else float("nan")


def promotion_of(config: Config) -> PromotionRules | None:
    """Return the rules of [promotion]; None without a challenger, a shadow (on paper) that may replace an agent's
    policy."""
    if not any(agent.challenges for agent in config.shadows):
        return None
    return PromotionRules(**config.document.promotion.model_dump(), seed=config.broker.seed)


def capital_of(config: Config, universe: Universe) -> CapitalRules | None:
    """Return the rules of [capital] for agents that share capital (no manual orders, no portfolios).

    The result is None for fewer than two such agents.
    """
    table = config.document.capital
    books = {MANUAL, *config.places}
    agents = tuple(k for k, agent in enumerate(config.agents) if agent.name not in books)
    if table is None or len(agents) < 2:
        return None
    total = sum(Fraction(repr(config.agents[k].capital)) for k in agents)
    regimes = []
    for regime in table.regimes:
        share_of = {row.agent: row.share for row in regime.shares}
        total_share = sum(share_of.values())
        shares = tuple(share_of.get(config.agents[k].name, 0.0) / total_share for k in agents)
        regimes.append(Regime(regime.name, regime.above, shares))
    of_benchmark = table.volatility_of == "benchmark" and bool(universe.benchmark)
    return CapitalRules(
        **table.model_dump(exclude={"regimes", "volatility_of"}),
        agents=agents,
        base=tuple(float(Fraction(repr(config.agents[k].capital)) / total) for k in agents),
        regimes=tuple(regimes),
        # the column of the benchmark; -1 if it is outside the universe or its volatility is not used
        benchmark=universe.index.get(universe.benchmark, -1) if of_benchmark else -1,
    )


def regime_of(config: Config, universe: Universe) -> MarketRegime | None:
    """Return the table [risk.regime]; None without it."""
    table = config.risk.regime
    if table is None:
        return None
    return MarketRegime(**table.model_dump(), benchmark=universe.index.get(universe.benchmark, -1))


def execution_of(config: Config) -> Execution:
    """Return the table [execution]."""
    table = config.document.execution
    keys = table.model_dump(exclude={"chase", "profile"})
    return Execution(**keys, **table.chase.model_dump(), profile=table.profile or U_SHAPE)


def _rearm_samples(text: str | None) -> int:
    """Return the number of samples after which a replay re-arms the kill switch, from the key's text; 0 for never."""
    return 21 if text is None else 0 if text == "never" else int(text)
