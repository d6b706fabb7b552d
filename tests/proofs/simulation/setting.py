"""One random small world from a seed: market, actions, limits, costs, schedules and policies."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from msgspec import structs

from quantd.daemon.engine.state.settings import AgentRules, Rules
from quantd.daemon.runtime.timeline import Item, sample_ticks, time_of, timeline, with_due
from quantd.risk.limits.catalogue import Limits, Protective, Tail, override
from quantd.trading.events import Action, Tick
from quantd.trading.execution import Costs
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.market import Block, JumpExplained, MarketSlice, PriceJumped
from quantd.trading.sessions import DAY_NS, Sessions
from quantd.trading.view import HOLD, View
from tests.support.engine import COLLARED, Plain

HOUR = DAY_NS // 24
START = 20_000 * DAY_NS
SPLITS = ((2, 1), (3, 1), (1, 5), (3, 2))


@dataclass(frozen=True, slots=True)
class Setting:
    """What a seed decides before anything goes wrong."""

    seed: int
    days: int
    universe: Universe
    rules: Rules
    costs: Costs
    items: list[Item | JumpExplained]
    policies: list[Plain]
    long_only: bool


def setting(seed: int) -> Setting:
    """The world of `seed`: 1-6 symbols, 8-20 days of one, three or six bars, 1-3 agents."""
    rng = np.random.default_rng([seed, 1])
    size, days, bars = int(rng.integers(1, 7)), int(rng.integers(8, 21)), int(rng.choice([1, 3, 6]))
    lot = int(rng.choice([NANO, NANO, NANO // 100]))
    universe = Universe(tuple(Instrument(f"S{k}", lot, calendar="X") for k in range(size)), calendar="X")
    actions = _actions(rng, size, days)
    block = _bars(rng, size, days, bars, actions)
    sessions = _sessions(days)
    commission = float(rng.choice([0.0, 1.0, 5.0]))
    house = _house(rng, commission, bars)
    agents, policies = _agents(rng, house, size)
    house, agents = _protected(np.random.default_rng([seed, 4]), house, agents)
    rules = Rules(
        universe, (sessions,), (0,) * size, agents, house, 1_000_000 * 10**6,
        lookback=40,
        daily=bars == 1,
        good_till_cancelled=bool(rng.random() < 0.35),
        follow_ups=int(rng.integers(0, 3)),
        rearm_samples=int(rng.choice([0, 3])),
        flatten_on=("drawdown",) if rng.random() < 0.3 else (),
    )  # fmt: skip
    costs = Costs(
        commission_bp=commission,
        slippage_bp=float(rng.choice([0.0, 3.0])),
        spread_bp=float(rng.choice([0.0, 2.0])),
        slippage_noise=float(rng.choice([0.0, 0.5])),
        participation=float(rng.choice([0.0, 0.01, 0.04])),
        seed=seed,
    )
    interval = DAY_NS if bars == 1 else 6 * HOUR // bars
    last = block.ts_event[-1]
    samples = list(sample_ticks(sessions, [sessions], interval, START, last, START))
    every = int(rng.integers(2, 6))
    scheduled = tuple(k for k, a in enumerate(agents) if a.scheduled)
    due = [Tick(tick.ts, due=scheduled) for tick in samples[::every]] if scheduled else []
    news: list[Action | PriceJumped] = list(actions)
    answers: list[JumpExplained] = []
    if not any(limits.protective for limits in (house, *(a.limits for a in agents))):
        news, answers = _unannounced(np.random.default_rng([seed, 5]), block, actions)
    items: list[Item | JumpExplained] = list(timeline(_market(block, news), with_due(iter(samples), iter(due))))
    for answer in answers:  # a person answers after the ticks of an instant
        items.insert(next((k for k, item in enumerate(items) if time_of(item) > answer.ts), len(items)), answer)
    return Setting(seed, days, universe, rules, costs, items, policies, not house.allow_short)


def _sessions(days: int) -> Sessions:
    first = START + np.arange(days + 40, dtype=np.int64) * DAY_NS
    opens, closes = first + 10 * HOUR, first + 16 * HOUR
    return Sessions("X", "UTC", tuple(first.tolist()), tuple(opens.tolist()), tuple(closes.tolist()))


def _actions(rng: np.random.Generator, size: int, days: int) -> list[Action]:
    actions = []
    for day in sorted(rng.choice(np.arange(2, days), size=int(rng.integers(0, 4)), replace=False).tolist()):
        ex, symbol = START + day * DAY_NS, int(rng.integers(size))
        if rng.random() < 0.5:
            numerator, denominator = SPLITS[int(rng.integers(len(SPLITS)))]
            actions.append(Action(ex + 10 * HOUR, ex, symbol, "split", numerator, denominator))
        else:
            actions.append(Action(ex + 10 * HOUR, ex, symbol, "dividend", cash_nano=int(rng.integers(1, 10**9))))
    return actions


def _unannounced(
    rng: np.random.Generator, block: Block, actions: list[Action]
) -> tuple[list[Action | PriceJumped], list[JumpExplained]]:
    """In half of the worlds some splits come as jumps of the price, and a person explains each days later, or never."""
    news: list[Action | PriceJumped] = list(actions)
    answers: list[JumpExplained] = []
    if rng.random() < 0.5:
        return news, answers
    held: set[int] = set()
    for action in actions:
        first = int(np.searchsorted(block.ts_open, action.ts))
        fresh = np.flatnonzero(block.fresh[:first, action.symbol])
        if action.kind != "split" or action.symbol in held or not len(fresh) or not block.fresh[first, action.symbol]:
            continue
        held.add(action.symbol)
        before, after = int(block.close_nano[fresh[-1], action.symbol]), int(block.open_nano[first, action.symbol])
        jump = PriceJumped(action.ts, action.symbol, before, after, action.numerator, action.denominator)
        news[news.index(action)] = jump
        if rng.random() < 0.8:
            ts, real = action.ts + int(rng.integers(1, 6)) * DAY_NS + 7 * HOUR, rng.random() < 0.3
            ratio = (1, 1) if real else (action.numerator, action.denominator)
            answers.append(JumpExplained(ts, action.symbol, "found out", "simulation", *ratio))
    return news, answers


def _bars(rng: np.random.Generator, size: int, days: int, bars: int, actions: list[Action]) -> Block:
    rows = days * bars
    deviation = float(rng.choice([0.008, 0.03])) / bars**0.5
    close = rng.uniform(20, 300, size) * np.exp(rng.normal(0.0, deviation, (rows, size)).cumsum(axis=0))
    opens = np.vstack([close[:1], close[:-1]]) * np.exp(rng.normal(0.0, deviation / 2, (rows, size)))
    for action in actions:
        if action.kind == "split":
            at = (action.key - START) // DAY_NS * bars
            close[at:, action.symbol] *= action.denominator / action.numerator
            opens[at:, action.symbol] *= action.denominator / action.numerator
            if at:
                opens[at, action.symbol] = close[at, action.symbol]
    close, opens = np.maximum(np.round(close, 2), 0.5), np.maximum(np.round(opens, 2), 0.5)
    fresh = rng.random((rows, size)) >= float(rng.choice([0.0, 0.08]))
    fresh[0] = True
    for column in (close, opens):
        column[~fresh] = np.nan
    row = np.arange(rows, dtype=np.int64)
    day = START + row // bars * DAY_NS
    length = 6 * HOUR // bars
    ts_open = day + 10 * HOUR + row % bars * length
    spread = np.exp(np.abs(rng.normal(0.0, deviation, (2, rows, size))))
    volume = np.where(fresh, np.round(rng.uniform(2e4, 2e5, (rows, size))), np.nan)
    return Block(
        ts_open=ts_open, ts_event=ts_open + length, key=day if bars == 1 else ts_open + length, open=opens,
        high=np.round(np.fmax(opens, close) * spread[0], 2), low=np.round(np.fmin(opens, close) / spread[1], 2),
        close=close, volume=volume, fresh=fresh,
    )  # fmt: skip


def _market(block: Block, news: list[Action | PriceJumped]) -> Iterator[Action | PriceJumped | MarketSlice]:
    waiting = list(news)
    for row in range(len(block)):
        while waiting and waiting[0].ts <= block.ts_open[row]:
            yield waiting.pop(0)
        yield MarketSlice(block, row)


def _house(rng: np.random.Generator, commission_bp: float, bars: int) -> Limits:
    collar = float(rng.choice([0.03, 0.05, 0.08]))
    if rng.random() < 0.1:
        return override(COLLARED, fee_bp=commission_bp, collar=collar)
    return Limits(
        collar=collar,
        fee_bp=commission_bp,
        allow_short=bool(rng.random() < 0.5),
        min_history=5,
        in_flight=float(rng.choice([0.0, 0.0, 0.2])),
        max_cash_debit=float(rng.choice([0.0, 0.0, 0.1])),
        cash_reserve=float(rng.choice([0.0, 0.0, 0.05])),
        max_position_weight=[None, None, 0.3, 0.6][int(rng.integers(4))],
        max_gross_exposure=[None, 0.8, 1.0, 1.5][int(rng.integers(4))],
        max_order_notional=[None, 250_000.0][int(rng.integers(2))],
        var=Tail(limit=0.02, lookback=20) if rng.random() < 0.2 else None,
        max_drawdown=[None, 0.05, 0.15][int(rng.integers(3))],
    )


def _agents(rng: np.random.Generator, house: Limits, size: int) -> tuple[tuple[AgentRules, ...], list[Plain]]:
    count = int(rng.integers(1, 4))
    share = float(rng.choice([1.0, 1.0, 0.9])) / count
    agents, policies = [], []
    for number in range(count):
        agent_limits = override(house, max_drawdown=None, var=None) if rng.random() < 0.5 else override(
            COLLARED, collar=house.collar, fee_bp=house.fee_bp, max_cash_debit=house.max_cash_debit
        )  # fmt: skip
        agents.append(
            AgentRules(f"a{number}", int(1_000_000 * 10**6 * share), agent_limits, 0.005, bool(rng.random() < 0.35))
        )
        policies.append(Plain(_policy(rng, size)))
    return tuple(agents), policies


def _protected(
    rng: np.random.Generator, house: Limits, agents: tuple[AgentRules, ...]
) -> tuple[Limits, tuple[AgentRules, ...]]:
    """In half of the worlds positions have stops and targets, near enough to be met: the house's, some agents' own."""

    def spec() -> Protective:
        return Protective(
            stop_loss=[None, 0.01, 0.03, 0.06][int(rng.integers(4))],
            take_profit=[None, 0.02, 0.05][int(rng.integers(3))],
            trailing=bool(rng.random() < 0.5),
            cooldown=int(rng.integers(0, 4)),
        )

    if rng.random() < 0.5:
        return house, agents
    if rng.random() < 0.5:
        house = override(house, protective=spec())
    agents = tuple(
        structs.replace(a, limits=override(a.limits, protective=spec())) if rng.random() < 0.6 else a for a in agents
    )
    return (house, agents) if rng.random() < 0.5 else (_resting(house), tuple(_resting_of(a) for a in agents))


def _resting(limits: Limits) -> Limits:
    """The same with stops at the venue, where there are any."""
    spec = limits.protective
    return limits if spec is None else override(limits, protective=structs.replace(spec, at_venue=True))


def _resting_of(agent: AgentRules) -> AgentRules:
    return structs.replace(agent, limits=_resting(agent.limits))


def _policy(rng: np.random.Generator, size: int):  # type: ignore[no-untyped-def]
    kind = str(rng.choice(["rotate", "momentum", "long_short", "random", "hostile", "equal"]))
    key = int(rng.integers(2**31))

    def draw(view: View) -> np.random.Generator:
        return np.random.default_rng([key, view.time // HOUR])

    def rotate(view: View) -> object:
        weights = np.zeros(size)
        weights[(view.time // DAY_NS // 2) % size] = 0.95
        return weights

    def momentum(view: View) -> object:
        past = np.nan_to_num(view.returns(3)).sum(axis=0)
        return np.where(past > 0.0, 1.0 / size, 0.0)

    def long_short(view: View) -> object:
        past = np.nan_to_num(view.returns(1))[0]
        return np.sign(past) * 0.9 / size

    def at_random(view: View) -> object:
        drawn = draw(view)
        return HOLD if drawn.random() < 0.2 else drawn.uniform(-0.8, 1.2, size) / size

    def equal(view: View) -> object:
        return np.full(size, 1.0 / size)

    def hostile(view: View) -> object:
        drawn = draw(view)
        what = drawn.random()
        if what < 0.1:
            raise RuntimeError("a policy that breaks")
        if what < 0.2:
            return np.full(size, np.nan)
        # as much as is believed of anybody, and on the other side the next time
        return drawn.choice([-1.0, 1.0], size) * 9.0 / size

    return {
        "rotate": rotate, "momentum": momentum, "long_short": long_short, "random": at_random, "hostile": hostile,
        "equal": equal,
    }[kind]  # fmt: skip
