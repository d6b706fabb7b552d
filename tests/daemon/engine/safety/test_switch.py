"""The switch in the engine: what moves it, what follows for open orders, and that only a person takes it back."""

from itertools import islice

import numpy as np
import pytest

from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import PROFILES, Limits, override
from quantd.risk.switch import HALT, REDUCE, RUN, FrozenSwitch
from quantd.trading.effects import Cancel, Publish, Switched
from quantd.trading.events import Condition, Flow, Operator, Tick
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.sessions import DAY_NS
from tests.support.engine import CASH, START, Silent, World, block, walk

MICRO = 1_000_000
RESEARCH = PROFILES["research"]
CONDITIONS = ("feed", "broker", "clock", "lag")


def person(world: World, command: str, reason: str = "because", agent: str = "") -> None:
    world.shell.run(Operator(world.shell.state.now, command, reason, "me", agent))  # type: ignore[arg-type]


def condition(world: World, what: str, up: bool = False) -> None:
    world.shell.run(Condition(world.shell.state.now, what, up, "test"))  # type: ignore[arg-type]


def fallen(days_after: int = 40, **rules: object) -> World:
    """An agent that is invested when the price falls by a fifth on the fourth day and stays there."""
    closes = np.concatenate([np.full((3, 1), 100.0), np.full((days_after, 1), 80.0)])
    house = rules.pop("house", Limits(max_drawdown=0.1))
    return World(block(closes), [lambda v: np.array([0.9])], house=house, agent=Limits(), **rules)


def drop_day(world: World) -> list[object]:
    """Run until the switch has moved; the items that are left."""
    items = list(world.items())
    for k, item in enumerate(items):
        world.shell.take(item)
        if world.shell.state.switch.state != RUN:
            return items[k + 1 :]
    raise AssertionError("the switch did not move")


@pytest.mark.parametrize("what", CONDITIONS)
def test_a_condition_is_never_rearmed_by_samples_not_even_after_it_is_over(what: str) -> None:
    world = World(block(walk(40, 1, 4)), [lambda v: np.array([0.5])], house=RESEARCH, rearm_samples=5)
    items = list(world.items())
    world.run(iter(items[:6]))
    condition(world, what)
    world.run(iter(items[6:30]))
    condition(world, what, up=True)
    world.run(iter(items[30:]))
    assert world.shell.state.switch.state == REDUCE
    assert world.shell.state.switch.reason == what


@pytest.mark.parametrize(
    ("command", "state", "reason"), [("reduce", REDUCE, "operator"), ("halt", HALT, "operator"), ("", REDUCE, "feed")]
)
def test_a_limit_that_would_rearm_by_itself_does_not_once_a_person_is_needed_too(
    command: str, state: int, reason: str
) -> None:
    world = fallen(rearm_samples=5)
    later_items = drop_day(world)
    if command:
        person(world, command)
    else:
        condition(world, "feed")
        condition(world, "feed", up=True)
    world.run(iter(later_items))  # type: ignore[arg-type]
    assert [(s.before, s.after, s.reason) for s in world.of(Switched)] == [  # type: ignore[attr-defined]
        (RUN, REDUCE, "drawdown"),
        (REDUCE, state, reason),
    ]
    assert world.shell.tally.trips == 1


@pytest.mark.parametrize("job", ["snapshot", "rebalance", "flatten"])
def test_nothing_that_is_scheduled_rearms(job: str) -> None:
    world = World(block(walk(20, 1, 4)), [lambda v: np.array([0.5])], house=RESEARCH, rearm_samples=5)
    items = list(world.items())
    world.run(iter(items[:6]))
    person(world, "reduce")
    for item in items[6:]:
        world.shell.take(item)
        world.shell.take(Tick(world.shell.state.now, due=(0,), jobs=(job,)))
    assert world.shell.state.switch.state >= REDUCE


@pytest.mark.parametrize("reason", ["", "   "])
def test_resuming_without_a_reason_is_refused_and_said(reason: str) -> None:
    world = World(block(walk(3, 1, 4)), [lambda v: np.array([0.5])], house=RESEARCH)
    person(world, "halt")
    person(world, "resume", reason)
    assert world.shell.state.switch.state == HALT
    assert any("gave no reason" in a.text for a in world.of(Publish))  # type: ignore[attr-defined]


def test_the_reason_of_each_rearming_is_in_the_journal() -> None:
    world = fallen(rearm_samples=5)
    later_items = drop_day(world)
    world.run(iter(later_items[:14]))  # type: ignore[arg-type]
    person(world, "halt", "lunch")
    person(world, "resume", "looked at it")
    moves = [(s.after, s.reason) for s in world.of(Switched)]  # type: ignore[attr-defined]
    assert moves == [(REDUCE, "drawdown"), (RUN, "rearm"), (HALT, "operator"), (RUN, "me: looked at it")]
    said = [e.reason for e in world.events if isinstance(e, Operator)]
    assert said == ["lunch", "looked at it"]


def resting(lots: tuple[int, int]) -> tuple[World, OrderBasket]:
    """Two positions of 1,000 lots, and an order for each that rests at a venue which says nothing more."""
    first = [0.1, 0.1]
    then = [0.1 + lots[0] * 100 / CASH, 0.1 + lots[1] * 100 / CASH]
    world = World(
        block(np.full((6, 2), 100.0)),
        [lambda v: np.array(first if v.time < START + 2 * DAY_NS else then)],
        house=RESEARCH,
        good_till_cancelled=True,
    )
    items = list(world.items())
    world.run(iter(items[:4]))
    assert world.shell.state.ledger.house.lots == [1000, 1000]
    world.shell.broker = Silent()  # type: ignore[assignment]
    world.run(iter(items[4:6]))
    basket = world.of(OrderBasket)[-1]
    assert isinstance(basket, OrderBasket)
    for row in range(len(basket.sym)):
        world.shell.run(Reports(basket.sample, basket.n, basket.ts, [row], [0], [0], [0], [0], [int(Cause.ACCEPTED)]))
    return world, basket


@pytest.mark.requirement("R-157")
@pytest.mark.parametrize(("command", "cancelled"), [("reduce", [0]), ("halt", [0, 1])])
def test_reduce_cancels_what_adds_risk_and_halt_cancels_everything(command: str, cancelled: list[int]) -> None:
    world, basket = resting((500, -500))
    person(world, command)
    rows = [c.row for c in world.of(Cancel) if (c.sample, c.n) == (basket.sample, basket.n)]
    assert [basket.sym[row] for row in rows] == cancelled


def test_an_agent_that_is_halted_trades_no_more_while_the_others_do() -> None:
    act = lambda v: np.array([0.4, 0.4])  # noqa: E731
    world = World(block(walk(12, 2, 4)), [act, act], house=RESEARCH)
    items = list(world.items())
    person(world, "halt", agent="a0")
    world.run(iter(items[:12]))
    assert not any(world.shell.state.ledger.books[0].lots)
    assert all(world.shell.state.ledger.books[1].lots)
    assert [a.switch.state for a in world.shell.state.agents] == [HALT, RUN]
    assert world.shell.state.switch.state == RUN
    person(world, "resume", agent="a0")
    world.run(iter(items[12:]))
    assert all(world.shell.state.ledger.books[0].lots)


def test_an_agents_drawdown_moves_its_own_switch_only() -> None:
    closes = np.concatenate([np.full((3, 2), 100.0), np.tile([80.0, 100.0], (9, 1))])
    acts = [lambda v: np.array([0.9, 0.0]), lambda v: np.array([0.0, 0.9])]
    world = World(block(closes), acts, house=RESEARCH, agent=override(RESEARCH, max_drawdown=0.1)).run()
    assert [a.switch.state for a in world.shell.state.agents] == [REDUCE, RUN]
    assert world.shell.state.agents[0].switch.reason == "drawdown"
    assert world.shell.state.switch.state == RUN


@pytest.mark.requirement("R-138")
def test_a_limit_of_flatten_on_sells_everything() -> None:
    world = fallen(12, flatten_on=("drawdown",)).run()
    assert world.shell.state.ledger.house.lots == [0]
    assert world.shell.state.switch.state == REDUCE
    kept = fallen(12).run()
    assert kept.shell.state.ledger.house.lots[0] > 0


def test_a_limit_of_flatten_on_sells_everything_whatever_moved_the_switch_before_it() -> None:
    world = fallen(12, flatten_on=("drawdown",))
    items = list(world.items())
    world.run(iter(items[:6]))
    assert world.shell.state.ledger.house.lots[0] > 0
    condition(world, "lag")
    world.run(iter(items[6:]))
    assert world.shell.state.ledger.house.lots == [0]
    assert world.shell.state.switch.reason == "lag"


def test_a_halted_house_is_not_flattened_by_a_limit() -> None:
    world = fallen(12, flatten_on=("drawdown",))
    items = list(world.items())
    world.run(iter(items[:6]))
    person(world, "halt")
    world.run(iter(items[6:]))
    assert world.shell.state.ledger.house.lots[0] > 0


def test_a_deposit_moves_the_marks_of_the_house_and_of_no_agent() -> None:
    world = World(block(np.full((6, 1), 100.0)), [lambda v: np.array([0.5])], house=Limits(max_drawdown=0.5))
    items = list(world.items())
    world.run(iter(items[:6]))
    house, agent = world.shell.state.switch, world.shell.state.agents[0].switch
    before = (agent.high_water, agent.day_open, agent.week_open)
    world.shell.run(Flow(world.shell.state.now, 500_000 * MICRO, "me"))
    assert (house.high_water, house.day_open, house.week_open) == ((CASH + 500_000) * MICRO,) * 3
    # money that comes in is nobody's until it is allocated, which happens at the start of a run only
    assert (agent.high_water, agent.day_open, agent.week_open) == before
    world.run(iter(items[6:]))
    assert world.shell.state.switch.state == RUN


def marks_of(state: State) -> list[FrozenSwitch]:
    return [FrozenSwitch.of(switch) for switch in (state.switch, *(agent.switch for agent in state.agents))]


def test_every_mark_of_the_switch_is_the_same_after_a_snapshot() -> None:
    limits = Limits(max_drawdown=0.9, max_daily_loss=0.9, max_weekly_loss=0.9)
    world = World(block(walk(30, 2, 9)), [lambda v: np.array([0.4, 0.4])], house=limits, agent=limits)
    world.run(islice(world.items(), 41))
    state = world.shell.state
    person(world, "reduce", "test")
    assert state.switch.high_water > CASH * MICRO
    assert len({state.switch.high_water, state.switch.day_open, state.switch.week_open}) == 3
    assert marks_of(thaw(world.rules, freeze(state))) == marks_of(state)
