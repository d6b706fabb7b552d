"""Random rules of a run: agents, shadows, places of portfolios, outside agents, execution, capital and costs."""

import random
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from quantd.risk.limits.catalogue import Limits, override
from quantd.trading.bootstrap import Measure
from quantd.trading.execution import Costs
from quantd.trading.instruments import MICRO
from quantd.trading.sessions import DAY_NS

from .engine import (
    AgentRules,
    Allowance,
    CapitalRules,
    Execution,
    MarketRegime,
    Notices,
    PromotionRules,
    Regime,
    Rules,
    Style,
)
from .limits import limits_of
from .market import HOUR_NS, MINUTE_NS, Market

STYLES: Final[tuple[Style, ...]] = ("chase", "twap", "vwap", "participation", "open", "close")

MEASURES: Final[tuple[Measure, ...]] = ("sharpe", "mean")

SELDOM: Final = (
    "max_gross_exposure", "max_gross_exposure", "max_herfindahl", "max_herfindahl", "max_leverage",
    "max_share_of_volume", "max_concentration", "correlation", "correlation", "average_correlation", "group_caps", "",
)  # fmt: skip
"""Limits that seldom cut an order beside others; strict sets have one of them."""


@dataclass(frozen=True)
class Kind:
    """What a world is for: the first draws of its seed."""

    size: int
    """Number of symbols."""
    calm: bool
    """Whether little but trading happens."""
    bare: bool
    """Whether there are few limits, too, and nothing happens but trading."""
    tour: bool
    """Whether every kind of story happens."""
    strict: str
    """"house" or "agents": who alone has many limits; empty for both."""
    alone: str = ""
    """The only limit of a strict house: "ramp" or a key; empty for many."""


def costs_of(draw: random.Random) -> Costs:
    """Costs of the simulated venue; those that are seldom are on in a fifth of the worlds."""
    rare = draw.random
    return Costs(
        commission_bp=draw.choice((0.0, 1.0, 10.0)),
        slippage_bp=draw.choice((0.0, 1.0, 20.0)),
        spread_bp=draw.choice((0.0, 0.0, 3.0)),
        impact=50.0 if rare() < 0.2 else 0.0,
        participation=draw.choice((0.01, 0.1)) if rare() < 0.35 else 0.0,
        borrow_bp_annual=100.0 if rare() < 0.3 else 0.0,
        latency_ns=draw.choice((HOUR_NS, 30 * HOUR_NS, 1_000_000)) if rare() < 0.2 else 0,
        seed=draw.randrange(100),
        commission_min_micro=2 * MICRO if rare() < 0.2 else 0,
        slippage_noise=0.5 if rare() < 0.2 else 0.0,
    )


def rules_of(draw: random.Random, market: Market, kind: Kind) -> Rules:
    """The rules of a world."""
    interval = market.interval
    cash = draw.choice((20_000, 100_000, 1_000_000, 10_000_000)) * MICRO
    count = 3 if kind.tour else draw.choice((1, 1, 2, 3, 4))
    fee_bp = draw.choice((0.0, 1.0, 10.0))
    house = _limits(draw, market, kind, "agents", fee_bp)
    cuts = sorted(draw.random() for _ in range(count - 1))
    parts = [b - a for a, b in zip([0.0, *cuts], [*cuts, 1.0], strict=True)]
    places = 2 if kind.tour else draw.choice((1, 2)) if not kind.calm and draw.random() < 0.25 else 0
    spent = draw.choice((0.4, 0.7)) if places else draw.choice((1.0, 1.0, 0.9))
    agents = [
        AgentRules(
            f"a{k}",
            int(cash * part * spent),
            house if draw.random() < 0.3 and not kind.strict else _agent_limits(draw, house, market, kind, fee_bp),
            min_trade=draw.choice((0.0, 0.0, 0.005, 0.05)),
            scheduled=draw.random() < 0.8,
        )
        for k, part in enumerate(parts)
    ]
    agents += [
        AgentRules(f"p{k}", 0, _agent_limits(draw, house, market, kind, fee_bp), 0.0, scheduled=True, place=True)
        for k in range(places)
    ]
    rules = Rules(
        market.universe,
        market.sessions,
        market.calendar,
        tuple(agents),
        house,
        cash,
        daily=interval >= DAY_NS,
        good_till_cancelled=draw.random() < 0.3,
        follow_ups=draw.choice((0, 1, 2, 2, 2)),
        rearm_samples=draw.choice((0, 5, 21)),
        flatten_on=draw.choice(((), (), ("drawdown",), ("daily_loss", "weekly_loss"))),
        max_failures=draw.choice((1, 3)),
        volume_lookback=draw.choice((3, 20)),
        house_calendar=market.house_calendar,
        differences=draw.choice(("", "fence", "a0")),
        cash_tolerance_micro=draw.choice((0, MICRO)),
        execution=Execution() if kind.tour else _execution(draw, interval < DAY_NS),
        live=_live(draw, kind, cash),
    )
    if count > 1 and draw.random() < 0.5:
        rules = replace(rules, capital=_capital(draw, count, parts))
    rules = _with_watches(draw, rules)
    if kind.tour or draw.random() < 0.25:
        rules = _with_shadows(draw, rules, market, kind, count, fee_bp)
    if kind.tour or draw.random() < 0.15:
        rules = _with_outside(draw, rules, count)
    if kind.calm:
        watched = rules
        rules = _moved(draw, _calmed(rules), cash)
        if draw.random() < 0.4:
            rules = replace(rules, notices=watched.notices, counts_refusals=watched.counts_refusals)
    return _bare(rules, protected=draw.random() < 0.5) if kind.bare else rules


def _limits(draw: random.Random, market: Market, kind: Kind, strict_elsewhere: str, fee_bp: float) -> Limits:
    """Limits of the house or of an agent; few where only those named in `strict_elsewhere` are strict."""
    few = kind.strict == strict_elsewhere
    share = 0.03 if kind.tour else 0.0 if few else draw.choice((0.05, 0.15, 0.35)) if kind.strict else None
    always = draw.choice(SELDOM) if kind.strict and not few else ""
    if kind.alone and not few:
        share, always = 0.0, kind.alone
    limits = limits_of(draw, market.universe, market.interval, fee_bp, share, always)
    if kind.tour and limits.protective is not None:
        return override(limits, protective=replace(limits.protective, at_venue=True))
    return override(limits, allow_short=True, max_cash_debit=1.0) if few else limits


def _with_watches(draw: random.Random, rules: Rules) -> Rules:
    """The rules with what watches the market and the books, each in some worlds."""
    benchmark = draw.choice((-1, 0))
    volatile = draw.choice((0.05, 0.15, 0.3))
    if draw.random() < 0.25:
        rules = replace(
            rules,
            regime=MarketRegime(volatile, draw.choice((0.1, 0.5)), lookback=draw.choice((10, 20)), benchmark=benchmark),
        )
    if draw.random() < 0.35:
        expected = tuple(draw.choice((1.0, 4.0, float("nan"))) for _ in range(len(rules.agents) + 2))
        rules = replace(
            rules,
            notices=Notices(
                milestone=draw.choice((0.01, 0.05)), decay=draw.choice((0, 20)), expected=expected,
                correlation=draw.choice((0.05, 0.1)), rebalances=True,
            ),
        )  # fmt: skip
    return replace(
        rules,
        counts_refusals=draw.random() < 0.4,
        venue_pays=draw.random() < 0.15,
        macro=("vix",) if draw.random() < 0.2 else (),
    )


def _with_outside(draw: random.Random, rules: Rules, count: int) -> Rules:
    """The rules with an outside agent, which is the last one or a shadow."""
    seats = rules.seats or tuple(agent.name for agent in rules.agents)
    number = count - 1 if not rules.shadows or draw.random() < 0.7 else len(rules.agents)
    shadows = tuple(replace(shadow, outside=(number,), seats=seats) for shadow in rules.shadows)
    reviewed = {number: 0} if draw.random() < 0.5 else {}
    return replace(rules, outside=(number,), reviewed=reviewed, seats=seats, shadows=shadows)


def _calmed(rules: Rules) -> Rules:
    """The rules without most of what asks, accrues or measures at each sample: many samples of such a world are
    quiet."""

    def calmed(limits: Limits) -> Limits:
        off = dict.fromkeys(("max_realised_volatility", "min_sharpe", "min_diversification", "liquidity"))
        tails = {name: getattr(limits, name) for name in ("var", "cvar")}
        plain = {name: tail and replace(tail, method="historical") for name, tail in tails.items()}
        guard = limits.protective and replace(limits.protective, trailing=False, at_venue=False)
        return override(limits, **off, **plain, protective=guard)

    agents = tuple(replace(agent, limits=calmed(agent.limits), scheduled=True) for agent in rules.agents)
    return replace(
        rules,
        agents=agents,
        house=calmed(rules.house),
        execution=Execution(),
        live=None,
        shadows=(),
        challenges=(),
        promotion=None,
        seats=(),
        outside=(),
        reviewed={},
        notices=None,
        regime=None,
        counts_refusals=False,
        venue_pays=False,
        macro=(),
    )


def _moved(draw: random.Random, rules: Rules, cash: int) -> Rules:
    """The calm rules, in some worlds with limits that move, an agent outside, or a place for a portfolio."""
    if draw.random() < 0.25:
        rules = replace(rules, live=_allowance(draw, cash))
    if draw.random() < 0.2:
        rules = replace(rules, regime=MarketRegime(draw.choice((0.05, 0.15)), 0.5, lookback=10))
    if draw.random() < 0.25:
        place = AgentRules("p0", 0, rules.agents[0].limits, 0.0, scheduled=True, place=True)
        rules = replace(rules, agents=(*rules.agents, place))
    elif draw.random() < 0.3:
        rules = _with_outside(draw, rules, len(rules.agents))
    return rules


def _bare(rules: Rules, *, protected: bool) -> Rules:
    """Return the rules without limits on single orders and on time, so that the fold makes most plans of the world.

    With `protected` they have limits on volume and protective levels, as the profiles do.
    """
    names = ["max_order_notional", "max_turnover", "order_rate", "max_orders_per_day", "stress"]
    if not protected:
        names += ["protective", "max_share_of_volume"]

    def bare(limits: Limits) -> Limits:
        loose = override(limits, **{name: None for name in names if hasattr(limits, name)})
        if loose.protective is None:
            return loose
        return override(loose, protective=replace(loose.protective, trailing=False, at_venue=False))

    agents = tuple(replace(agent, limits=bare(agent.limits)) for agent in rules.agents)
    return replace(rules, agents=agents, house=bare(rules.house))


def _agent_limits(draw: random.Random, house: Limits, market: Market, kind: Kind, fee_bp: float) -> Limits:
    limits = _limits(draw, market, kind, "house", fee_bp)
    for name in ("var", "cvar"):
        tail, house_tail = getattr(limits, name), getattr(house, name)
        if tail is not None and house_tail is not None:
            limits = override(limits, **{name: replace(tail, method=house_tail.method)})
    return limits


def _execution(draw: random.Random, intraday: bool) -> Execution:
    """Mostly marketable; orders that are executed over time rarely fill on daily bars."""
    if draw.random() < 0.6:
        return Execution()
    style = draw.choice(STYLES if intraday or draw.random() < 0.15 else STYLES[4:])
    return Execution(
        style=style,
        over_ns=draw.choice((HOUR_NS, 5 * HOUR_NS)),
        slices=draw.choice((2, 6)),
        participation=draw.choice((0.01, 0.1)),
        every_ns=draw.choice((MINUTE_NS, HOUR_NS)),
        step_bp=draw.choice((5.0, 50.0)),
        most=draw.choice((1, 5)),
    )


def _live(draw: random.Random, kind: Kind, cash: int) -> Allowance | None:
    """The caps of mode live, in some worlds."""
    if kind.alone:
        return Allowance(ramp_days=20, ramp_from=0.1) if kind.alone == "ramp" else None
    return _allowance(draw, cash) if draw.random() < (0.5 if kind.strict == "house" else 0.15) else None


def _allowance(draw: random.Random, cash: int) -> Allowance:
    return Allowance(
        account_micro=draw.choice((None, cash // 2)),
        order_micro=draw.choice((None, cash // 10)),
        orders_per_day=draw.choice((None, 5)),
        ramp_days=draw.choice((0, 20)),
        ramp_from=draw.choice((0.1, 1.0)),
    )


def _capital(draw: random.Random, count: int, parts: list[float]) -> CapitalRules:
    base = tuple(part / sum(parts) for part in parts)
    even = tuple([1.0 / count] * count)
    return CapitalRules(
        method=draw.choice(("fixed", "equal_risk", "performance", "regime")),
        agents=tuple(range(count)),
        base=base,
        lookback=draw.choice((20, 60)),
        shrink=draw.choice((0.0, 0.5)),
        floor=draw.choice((0.0, 0.1)),
        ceiling=draw.choice((0.9, 1.0)),
        max_step=draw.choice((0.1, 1.0)),
        regimes=(Regime("calm", 0.0, base), Regime("wild", 0.2, even)),
        benchmark=draw.choice((-1, 0)),
    )


def _with_shadows(draw: random.Random, rules: Rules, market: Market, kind: Kind, count: int, fee_bp: float) -> Rules:
    """The rules with one or two shadows, of which one may challenge an agent."""
    shadows, challenges = [], []
    for k in range(draw.choice((1, 2))):
        limits = _limits(draw, market, kind, "house", fee_bp)
        if limits.protective is not None:
            limits = override(limits, protective=replace(limits.protective, at_venue=False))
        capital = rules.agents[0].capital_micro
        agent = AgentRules(f"s{k}", capital, limits, scheduled=True)
        house = override(Limits(), fee_bp=fee_bp, max_price_age_ns=limits.max_price_age_ns)
        shadows.append(
            replace(
                rules,
                agents=(agent,),
                house=house,
                cash_micro=capital,
                flatten_on=(),
                differences="",
                live=None,
                capital=None,
                notices=None,
                regime=None,
                counts_refusals=False,
                venue_pays=False,
                first_seat=len(rules.agents) + k,
                shadows=(),
                challenges=(),
                promotion=None,
            )
        )
        challenges.append(draw.randrange(count) if kind.tour or draw.random() < 0.7 else -1)
    promotion = PromotionRules(
        samples=20, confidence=draw.choice((0.3, 0.5, 0.95)), measure=draw.choice(MEASURES),
        max_drawdown_ratio=3.0, looks=8, resamples=200,
    )  # fmt: skip
    seats = tuple(agent.name for agent in rules.agents) + tuple(shadow.agents[0].name for shadow in shadows)
    shadows = [replace(shadow, seats=seats) for shadow in shadows]
    return replace(rules, shadows=tuple(shadows), challenges=tuple(challenges), promotion=promotion, seats=seats)
