"""Kinds of drawn worlds, with what the fold takes of each."""

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from quantd.risk.limits.catalogue import Correlation, Limits, Tail
from quantd.trading.events import Action
from quantd.trading.execution import Costs
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD, Hold, View
from tests.support.engine import START, Act, World, block, walk
from tests.support.fold import PLAIN

LOTS = (10**9, 10**8, 123_456_789, 10**7, 10**9 + 7)
TICKS = (10**7, 10**6, 5 * 10**7, 1000)
NAMES = ("MID", "Z", "AA.B", "QQQQQ", "B")
SETS = (
    replace(PLAIN, min_history=30, var=Tail(limit=0.03, lookback=40)),
    Limits(max_gross_exposure=1.2, max_position_weight=0.5, collar=0.02, reduce_collar=0.04, fee_bp=3.0),
    Limits(
        max_gross_exposure=2.0,
        in_flight=1.0,
        max_cash_debit=1.0,
        min_history=25,
        var=Tail(limit=0.05, lookback=35),
        cvar=Tail(limit=0.07, lookback=50),
    ),
    Limits(max_net_exposure=0.8, max_leverage=1.4, correlation=Correlation(joint_weight=0.95), min_history=20),
)
USUAL = Costs(commission_bp=1.0, spread_bp=2.0)


@dataclass
class Kind:
    """What a world has; `taken` are the samples, rounds and baskets that the fold takes, and the measurements of
    limits."""

    seed: int
    taken: tuple[int, int, int, int]
    agents: int = 1
    every: int = 1
    chunk: int = 9999
    short: float = 0.0
    gaps: float = 0.0
    volume: float = 1e7
    costs: Costs = USUAL
    sets: tuple[Limits, ...] = SETS[:1]
    symbols: int = 5
    days: int = 75
    dividends: int = 0
    follow_ups: int = 2
    idle: float = 0.0
    min_trade: float = 0.0
    holds: float = 0.0
    scale: tuple[float, ...] = (0.1, 1.0, 3.0)
    borrow: float = 0.0


def answers(kind: Kind, agent: int, seen: list[object]) -> Act:
    """Weights that change with each sample; with `idle`, some samples have those of the sample before, and with `holds`
    none. `seen` gets what the agent sees."""

    def act(view: View) -> np.ndarray | Hold:
        number = view.sample
        arrays = view.prices, view.weights, view.returns(3), view.synchronous(3)
        seen.append([agent, view.sample_time, view.equity, view.cash, *(array.tobytes() for array in arrays)])
        if np.random.default_rng([kind.seed, agent, number, 8]).random() < kind.holds:
            return HOLD
        while number and np.random.default_rng([kind.seed, agent, number, 7]).random() < kind.idle:
            number -= 1
        rng = np.random.default_rng([kind.seed, agent, number])
        weights = rng.dirichlet(np.full(kind.symbols, 0.4)) * rng.choice([0.3, 0.9, 1.1])
        return np.where(rng.random(kind.symbols) < kind.short, -weights, weights)

    return act


def world_of(kind: Kind, seen: list[object]) -> World:
    rng = np.random.default_rng(kind.seed)
    close = np.round(walk(kind.days, kind.symbols, kind.seed) * rng.choice(kind.scale, kind.symbols), 2)
    open_ = np.vstack([close[:1], close[:-1]])
    jumps = rng.random(open_.shape) < kind.gaps
    open_ = np.round(np.where(jumps, open_ * rng.choice([0.9, 0.99, 1.01, 1.1], open_.shape), open_), 2)
    volume = np.round(kind.volume * rng.uniform(0.5, 1.5, close.shape))
    actions = [
        Action(
            START + day * DAY_NS + DAY_NS // 3, START + day * DAY_NS, day % kind.symbols, "dividend", cash_nano=10**8
        )
        for day in range(45, kind.days, kind.dividends or kind.days)
    ]
    run = World(
        block(close, open_, volume=volume), [answers(kind, k, seen) for k in range(kind.agents)], house=kind.sets[0],
        costs=kind.costs, actions=actions, min_trade=kind.min_trade, follow_ups=kind.follow_ups,
        borrow_bp_annual=kind.borrow,
    )  # fmt: skip
    instruments = [
        Instrument(
            NAMES[k], lot_nano=LOTS[(k + kind.seed) % 5], tick_nano=TICKS[(k + kind.seed) % 4], calendar="X",
            sector=["Energy", "Banks"][k % 2],
        )
        for k in range(kind.symbols)
    ]  # fmt: skip
    run.universe = Universe(tuple(instruments), calendar="X")
    agents = [
        replace(agent, scheduled=True, limits=kind.sets[(1 + k) % len(kind.sets)])
        for k, agent in enumerate(run.rules.agents)
    ]
    run.rules = replace(run.rules, universe=run.universe, agents=tuple(agents))
    return run


GROUPED = (
    Limits(max_sector_weight=0.7, max_concentration=0.6, max_herfindahl=0.5, max_gross_exposure=1.2, min_history=20),
    Limits(max_gross_exposure=1.0, max_position_weight=0.5, min_history=20, max_sector_weight=0.8, max_leverage=0.95),
)

TIGHT = (
    Limits(
        max_gross_exposure=1.0, max_drawdown=0.5, max_daily_loss=0.2, max_weekly_loss=0.3, min_history=20,
        var=Tail(limit=0.012, lookback=30), cvar=Tail(limit=0.02, lookback=25), max_herfindahl=0.6,
    ),
)  # fmt: skip
FEW = (
    Limits(max_gross_exposure=1.0, max_open_orders=3),
    Limits(max_gross_exposure=1.1, min_history=20, var=Tail(limit=0.05, lookback=30), max_open_orders=2),
)
