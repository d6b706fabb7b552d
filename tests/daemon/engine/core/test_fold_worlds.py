"""Random worlds, in which the fold meets lots of all sizes, short positions, gaps, volumes and rests of decisions."""

from dataclasses import dataclass

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.risk.limits import ruleset as rules_module
from quantd.risk.limits.catalogue import Correlation, Limits, Tail
from quantd.trading.events import Action
from quantd.trading.execution import Costs
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import HOLD, Hold, View
from tests.support.engine import START, Act, World, block, walk
from tests.support.fold import PLAIN, Steps, Taken, both

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
    """What a world has; `taken` are the bars, samples, rounds and baskets that the fold takes, and the measurements of
    limits."""

    seed: int
    taken: tuple[int, int, int, int, int]
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
        seen.append([agent, view.sample_time, view.equity, view.cash, *(each.tobytes() for each in arrays)])
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
    made = World(
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
    made.universe = Universe(tuple(instruments), calendar="X")
    own = [
        replace(each, scheduled=True, limits=kind.sets[(1 + k) % len(kind.sets)])
        for k, each in enumerate(made.rules.agents)
    ]
    made.rules = replace(made.rules, universe=made.universe, agents=tuple(own))
    return made


def compared(kind: Kind) -> Taken:
    seen: list[object] = []
    steps = Steps(rows_only=True), Steps(rows_only=True)
    taken = both(world_of(kind, seen), kind.every, steps, kind.chunk)
    seen.sort()
    assert seen[::3] == seen[1::3] == seen[2::3]
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    return taken


GROUPED = (
    Limits(max_sector_weight=0.7, max_concentration=0.6, max_herfindahl=0.5, max_gross_exposure=1.2, min_history=20),
    Limits(max_gross_exposure=1.0, max_position_weight=0.5, min_history=20, max_sector_weight=0.8, max_leverage=0.95),
)
SLOW = (
    Limits(max_gross_exposure=1.0, duplicate_window_ns=DAY_NS, max_price_age_ns=0),
    Limits(max_gross_exposure=1.0, duplicate_window_ns=DAY_NS + 1),
    Limits(max_gross_exposure=1.0, duplicate_window_ns=3 * DAY_NS),
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
COMMISSIONS = Costs(commission_bp=2.0, commission_min_micro=900_000)

WORLDS = [
    Kind(0, (74, 74, 74, 44, 21), short=0.4),
    Kind(1, (74, 74, 74, 44, 98), agents=3, sets=SETS),
    Kind(2, (72, 74, 74, 52, 74), agents=2, sets=SETS[::-1], short=0.3, gaps=0.05),
    Kind(3, (72, 74, 74, 42, 49), agents=3, chunk=11, idle=0.7, gaps=0.02, dividends=9),
    Kind(4, (39, 74, 74, 9, 56), volume=3e3, costs=Costs(participation=0.2, impact=9.0)),
    Kind(5, (74, 74, 24, 37, 35), agents=2, every=3, chunk=17, costs=COMMISSIONS, sets=SETS[1:]),
    Kind(6, (30, 74, 74, 0, 132), agents=4, sets=SETS, min_trade=0.02, costs=Costs(spread_bp=11.0, latency_ns=DAY_NS)),
    Kind(7, (74, 74, 74, 49, 24), agents=2, sets=SETS[2::-2], short=0.5, idle=0.5),
    Kind(8, (74, 74, 74, 54, 38), sets=SETS[3:], gaps=0.1, symbols=2),
    Kind(9, (74, 74, 18, 19, 27), agents=3, sets=SETS[1:2], follow_ups=0, every=4),
    Kind(10, (74, 74, 37, 53, 43), sets=SETS[1:2], every=2, chunk=5),
    Kind(11, (74, 74, 74, 42, 31), symbols=1),
    Kind(12, (74, 74, 74, 30, 52), sets=SETS[:2], holds=0.3),
    Kind(13, (74, 74, 74, 68, 78), agents=3, chunk=33, holds=0.4, sets=GROUPED),
    Kind(14, (74, 74, 74, 60, 55), agents=3, sets=SLOW, holds=0.6),
    Kind(15, (74, 74, 46, 47, 0), agents=2, sets=SETS[2:3], scale=(0.0102, 0.1), idle=0.3),
    Kind(16, (74, 60, 60, 43, 0), sets=SETS[2:3], short=0.1, borrow=50.0, idle=0.8),
    Kind(17, (74, 74, 14, 19, 18), sets=TIGHT, follow_ups=1, every=5),
    Kind(18, (74, 74, 37, 30, 20), agents=2, sets=(TIGHT[0], GROUPED[1]), idle=0.9, every=2),
    Kind(21, (74, 74, 74, 74, 70), agents=2, sets=FEW),
    Kind(22, (74, 74, 74, 37, 22), agents=3, chunk=21, sets=SETS[2:], idle=0.8, min_trade=0.05),
    Kind(23, (74, 74, 74, 54, 90), sets=SETS[3:0:-2], symbols=3, chunk=40),
    Kind(19, (74, 74, 24, 18, 15), agents=2, sets=SETS[:1], idle=0.95, every=3, holds=0.2, dividends=5),
    Kind(
        20, (19, 19, 19, 19, 16), costs=Costs(spread_bp=1.0, commission_min_micro=1), sets=SETS[1:2], days=20, symbols=3
    ),
]


@pytest.mark.parametrize("kind", WORLDS, ids=lambda kind: str(kind.seed))
def test_the_fold_gives_the_results_of_the_engine_and_takes_what_it_knows(kind):
    taken = compared(kind)
    assert (taken.bars, taken.samples, taken.rounds, taken.fills, taken.measurements) == kind.taken


@pytest.mark.parametrize("most", [1, 2, 3])
def test_sets_of_limits_are_told_apart_while_their_rules_are_forgotten(monkeypatch, most):
    """Rules that are made again may have the identity of others."""
    monkeypatch.setattr(rules_module, "_ready", {})
    monkeypatch.setattr(rules_module, "_MOST_READY", most)
    assert compared(Kind(1, (), agents=3, sets=SETS)).rounds > 60
