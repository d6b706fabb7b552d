"""Random worlds, in which a batch meets lots of all sizes, short positions, gaps, volumes and rests of decisions."""

from dataclasses import dataclass

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.risk.limits.catalogue import Correlation, Limits, Tail
from quantd.trading.events import Action
from quantd.trading.execution import Costs
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import View
from tests.daemon.engine.batches.test_batch import PLAIN, Steps, Taken, both
from tests.support.engine import START, World, block, walk

LOTS = (10**9, 10**8, 123_456_789, 10**7, 10**9 + 7)
TICKS = (10**7, 10**6, 5 * 10**7, 1000)
NAMES = ("MID", "Z", "AA.B", "QQQQQ", "B")
SETS = (
    PLAIN,
    Limits(max_gross_exposure=1.2, max_position_weight=0.5, collar=0.02, reduce_collar=0.04, fee_bp=3.0),
    Limits(max_gross_exposure=2.0, in_flight=1.0, max_cash_debit=1.0, var=Tail(limit=0.05, lookback=90)),
    Limits(max_net_exposure=0.8, max_leverage=1.4, correlation=Correlation(joint_weight=0.95), min_history=20),
)


@dataclass
class Kind:
    """What a world has."""

    seed: int
    agents: int = 1
    every: int = 1
    chunk: int = 9999
    short: float = 0.0
    gaps: float = 0.0
    volume: float = 1e7
    costs: Costs = Costs(commission_bp=1.0, spread_bp=2.0)
    sets: tuple[Limits, ...] = (PLAIN,)
    symbols: int = 5
    days: int = 130
    dividends: int = 0
    follow_ups: int = 2
    idle: float = 0.0
    min_trade: float = 0.0


def answers(kind: Kind, agent: int) -> object:
    """Weights that change with each sample; with `idle`, some samples have those of the sample before."""

    def act(view: View) -> np.ndarray:
        number = view.samples
        while number and np.random.default_rng([kind.seed, agent, number, 7]).random() < kind.idle:
            number -= 1
        rng = np.random.default_rng([kind.seed, agent, number])
        weights = rng.dirichlet(np.full(kind.symbols, 0.4)) * rng.choice([0.3, 0.9, 1.1])
        return np.where(rng.random(kind.symbols) < kind.short, -weights, weights)

    return act


def world_of(kind: Kind) -> World:
    rng = np.random.default_rng(kind.seed)
    close = np.round(walk(kind.days, kind.symbols, kind.seed) * rng.choice([0.1, 1.0, 3.0], kind.symbols), 2)
    open_ = np.vstack([close[:1], close[:-1]])
    jumps = rng.random(open_.shape) < kind.gaps
    open_ = np.round(np.where(jumps, open_ * rng.choice([0.9, 0.99, 1.01, 1.1], open_.shape), open_), 2)
    volume = np.round(kind.volume * rng.uniform(0.5, 1.5, close.shape))
    actions = [
        Action(START + day * DAY_NS + DAY_NS // 3, START + day * DAY_NS, day % kind.symbols, "dividend", cash_nano=10**8)
        for day in range(70, kind.days, kind.dividends or kind.days)
    ]
    made = World(
        block(close, open_, volume=volume), [answers(kind, k) for k in range(kind.agents)], house=kind.sets[0],
        costs=kind.costs, actions=actions, min_trade=kind.min_trade, follow_ups=kind.follow_ups,
    )  # fmt: skip
    instruments = [
        Instrument(NAMES[k], lot_nano=LOTS[(k + kind.seed) % 5], tick_nano=TICKS[(k + kind.seed) % 4], calendar="X")
        for k in range(kind.symbols)
    ]
    made.universe = Universe(tuple(instruments), calendar="X")
    own = [
        replace(each, scheduled=True, limits=kind.sets[(1 + k) % len(kind.sets)])
        for k, each in enumerate(made.rules.agents)
    ]
    made.rules = replace(made.rules, universe=made.universe, agents=tuple(own))
    return made


def compared(kind: Kind) -> tuple[Taken, int]:
    steps = Steps(rows_only=True), Steps(rows_only=True)
    found = both(world_of(kind), kind.every, steps, kind.chunk)
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    return found


WORLDS = [
    Kind(0, short=0.4), Kind(1, agents=3, sets=SETS), Kind(2, agents=2, sets=SETS[::-1], short=0.3, gaps=0.05),
    Kind(3, agents=3, idle=0.7, gaps=0.02, dividends=9), Kind(4, volume=3e3, costs=Costs(participation=0.2, impact=9.0)),
    Kind(5, agents=2, every=3, chunk=17, costs=Costs(commission_bp=2.0, commission_min_micro=900_000), sets=SETS[1:]),
    Kind(6, agents=4, sets=SETS, min_trade=0.02, costs=Costs(spread_bp=11.0, latency_ns=DAY_NS)),
    Kind(7, agents=2, sets=(SETS[2], SETS[0]), short=0.5, idle=0.5), Kind(8, sets=SETS[3:], gaps=0.1, symbols=2),
    Kind(9, agents=3, sets=SETS[1:2], follow_ups=0), Kind(10, sets=SETS[1:2], every=2, chunk=5), Kind(11, symbols=1),
]  # fmt: skip


@pytest.mark.parametrize("kind", WORLDS, ids=lambda kind: str(kind.seed))
def test_a_batch_gives_the_results_of_the_engine(kind):
    taken, rows = compared(kind)
    print(kind.seed, rows, vars(taken))
