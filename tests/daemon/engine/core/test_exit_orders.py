"""Protective exits that the fold orders leave what exits ordered by the engine leave."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.runtime.host.fold_host import FoldHost
from quantd.risk.limits.catalogue import Limits, Protective, override
from quantd.trading.codec import decode
from quantd.trading.effects import Effect, Planned, Protected, Publish
from quantd.trading.execution import Costs
from quantd.trading.sessions import DAY_NS
from quantd.trading.view import View
from tests.daemon.engine.core.drawn_worlds import FEW, GROUPED, SETS, TIGHT, Kind, world_of
from tests.support.engine import COLLARED, Act, World, block
from tests.support.fold import Steps, both

STOP = Protective(stop_loss=0.08, take_profit=0.2, cooldown=3)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often exits were planned by the fold and by the engine, and how often such a plan was measured, in runs
    without a log of all steps: with one the engine plans them."""
    counted: Counter[str] = Counter()

    def count(name: str) -> None:
        method = getattr(FoldHost, name)

        def call(host: FoldHost, *words: object) -> object:
            if not host.state.journalled and (name != "check_plan" or host.state.round_plan.closing):
                counted[name] += 1
            return method(host, *words)

        monkeypatch.setattr(FoldHost, name, call)

    for name in ("exits_planned", "order_exits", "check_plan"):
        count(name)
    return counted


def keep(view: View, first: float) -> np.ndarray:
    """What is held, else the weight `first` in each symbol."""
    return view.weights if view.weights.any() else np.full(view.universe.size, first)


def days(closes: Sequence[Sequence[float]], *weights: float, opens: np.ndarray | None = None, **rules: object) -> World:
    """Closes by day and symbol; each agent keeps what it has, and begins with its weight in each symbol."""
    acts: list[Act] = [lambda view, first=first: keep(view, first) for first in weights]
    return World(block(np.array(closes), opens), acts, **rules)  # type: ignore[arg-type]


def effects_of(run: World, every: int = 1, chunk: int = 9999) -> list[Effect]:
    """The effects of a world by `step`, after the fold has left the same."""
    steps = Steps(), Steps(rows_only=True)
    both(run, every, steps, chunk)
    return [effect for step in steps[0].steps for effect in decode(step).effects]


def exits_of(effects: Sequence[Effect]) -> list[tuple[int, int, str, bool]]:
    """Agent, symbol, kind and whether there is an order, of each record of an exit."""
    return [
        (effect.agent, effect.symbol, effect.kind, effect.n > 0) for effect in effects if isinstance(effect, Protected)
    ]


def alerts_of(effects: Sequence[Effect]) -> list[str]:
    return [effect.symbol for effect in effects if isinstance(effect, Publish) and effect.kind == "protective"]


@pytest.mark.parametrize("chunk", [1, 9999])
@pytest.mark.parametrize(
    ("last", "weight", "kind"),
    [(91.0, 0.2, "stop_loss"), (121.0, 0.2, "take_profit"), (109.0, -0.2, "stop_loss"), (79.0, -0.2, "take_profit")],
)
def test_a_position_at_its_level_is_closed_by_the_fold(calls, last, weight, kind, chunk):
    """The other symbol stays, and the closed one is blocked for three samples."""
    closes = [[100.0, 100.0]] * 4 + [[last, 100.0]] * 8
    effects = effects_of(days(closes, weight, house=override(COLLARED, protective=STOP)), chunk=chunk)
    assert exits_of(effects) == [(0, 0, kind, True)]
    assert alerts_of(effects) == ([] if kind == "take_profit" else ["S0"])
    assert (calls["exits_planned"], calls["order_exits"]) == (1, 0)


def test_what_passes_of_an_exit_follows_from_the_new_closes(calls):
    """The house is short after the sale of one agent: by an eighth of its equity at most. Another trades each day, so
    that the gate has the closes of the sample before."""
    closes = np.array([[100.0]] * 4 + [[91.0], [87.0], [83.0], [97.0], [97.0]])
    acts = [
        lambda view: keep(view, 0.3),
        lambda view: keep(view, -0.4),
        lambda view: [-0.2 if view.sample % 2 else -0.1],
    ]
    run = World(block(closes), acts, house=COLLARED)
    first, *other_agents = run.rules.agents
    agents = replace(first, limits=override(COLLARED, protective=STOP)), *other_agents
    run.rules = replace(run.rules, agents=agents, house=override(COLLARED, max_position_weight=0.125))
    effects = effects_of(run)
    plans = [effect for effect in effects if isinstance(effect, Planned) and effect.net != effect.allowed]
    cuts = [np.frombuffer(plan.allowed, dtype=np.int64)[0] for plan in plans]
    assert min(cuts) < 0
    assert calls["exits_planned"] > 1
    assert calls["order_exits"] == 0


@pytest.mark.parametrize(
    ("more", "planned"),
    [({"max_order_notional": 1e12}, False), ({"duplicate_window_ns": 99 * DAY_NS}, True)],
    ids=["limit", "window"],
)
def test_an_exit_that_the_gate_of_the_fold_does_not_know_is_planned_by_the_engine(calls, more, planned):
    """Lots that differ from those of the request before are no duplicate."""
    closes = [[100.0, 100.0]] * 4 + [[91.0, 100.0]] * 8
    effects = effects_of(days(closes, 0.2, house=override(COLLARED, protective=STOP, **more)))
    assert exits_of(effects) == [(0, 0, "stop_loss", True)]
    assert alerts_of(effects) == ["S0"]
    assert (calls["exits_planned"], calls["order_exits"]) == (int(planned), int(not planned))


def test_an_exit_at_an_equity_that_no_float_has_is_planned_by_the_engine(calls):
    """Equities of 2^53 micro and more."""
    closes = [[100.0, 100.0]] * 4 + [[91.0, 100.0]] * 8
    run = days(closes, 0.2, house=override(COLLARED, protective=STOP))
    capital_micro = 10**16
    agents = tuple(replace(agent, capital_micro=capital_micro) for agent in run.rules.agents)
    run.rules = replace(run.rules, cash_micro=capital_micro, agents=agents)
    assert exits_of(effects_of(run)) == [(0, 0, "stop_loss", True)]
    assert (calls["exits_planned"], calls["order_exits"]) == (0, 1)


def guarded(sets: tuple[Limits, ...], *levels: Protective) -> tuple[Limits, ...]:
    """Sets of limits with protective levels, in turn."""
    return tuple(override(limits, protective=levels[k % len(levels)]) for k, limits in enumerate(sets))


NEAR = Protective(stop_loss=0.01, take_profit=0.01, cooldown=2)
FAR = Protective(stop_loss=0.04, take_profit=0.06, cooldown=5)
HALF = Protective(stop_loss=0.02)
WORLDS = [
    (Kind(0, (), short=0.4, sets=guarded(SETS[:1], NEAR)), 25),
    (Kind(1, (), agents=3, sets=guarded(SETS, NEAR, FAR, HALF)), 30),
    (Kind(2, (), agents=2, every=5, short=0.3, gaps=0.02, sets=guarded(SETS[::-1], HALF, NEAR)), 15),
    (Kind(3, (), agents=3, chunk=1, idle=0.7, sets=guarded(SETS, FAR, NEAR)), 15),
    (Kind(4, (), every=3, volume=3e5, costs=Costs(participation=0.2, impact=9.0), sets=guarded(SETS[:2], HALF)), 5),
    (Kind(5, (), agents=3, every=11, dividends=3, sets=guarded(GROUPED, NEAR, NEAR, HALF)), 15),
    (Kind(6, (), agents=2, every=7, sets=guarded(TIGHT, NEAR), chunk=7), 15),
    (Kind(7, (), agents=2, every=2, short=0.5, sets=guarded(FEW, HALF, NEAR), follow_ups=1), 15),
    (Kind(8, (), agents=4, every=4, min_trade=0.02, sets=guarded(SETS[1:3], NEAR)), 15),
]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "least"), WORLDS, ids=lambda value: str(getattr(value, "seed", "")))
def test_exits_in_random_worlds_are_those_of_the_engine(calls, kind, least):
    steps = Steps(), Steps(rows_only=True)
    both(world_of(kind, []), kind.every, steps, kind.chunk)
    assert steps[0].valued == steps[1].valued
    assert steps[0].filled == steps[1].filled
    assert calls["exits_planned"] >= least
    assert calls["order_exits"] == 0
