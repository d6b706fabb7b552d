"""One order cancelled by hand: what ends, what stays, and what is refused."""

import numpy as np
import pytest

from quantd.daemon.engine import step
from quantd.daemon.engine.state.parents import Execution
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import PROFILES
from quantd.trading.effects import Cancel, Ended, Publish, Refused
from quantd.trading.events import CancelRequested
from quantd.trading.number_types import read_floats
from quantd.trading.orders import OrderBasket, OrderState
from tests.support.engine import World, block
from tests.support.minutes import MINUTE, SESSION, Minutes, at, minutes
from tests.support.orders_by_hand import by_hand

NOON = at(0, 120)


class Desk(World):
    """A book in cash at a flat market, with a manual order for 10 lots of the first symbol that has not filled."""

    def __init__(self, **rules: object) -> None:
        research = PROFILES["research"]
        super().__init__(block(np.full((8, 2), 100.0)), [lambda v: np.zeros(2)], house=research, **rules)  # type: ignore[arg-type]
        self.ahead = self.items()
        while not self.shell.state.sample_no >= 3:
            self.shell.take(next(self.ahead))
        self.effects.clear()
        self.send(by_hand(self.shell.state.now, "a0", 0, 10, "a view", "me"))
        (self.order,) = self.of(OrderBasket)

    def send(self, event: object) -> None:
        self.shell.run(event)  # type: ignore[arg-type]

    def cancel(self, **other: int) -> None:
        at = {"sample": self.order.sample, "n": self.order.n, "row": 0} | other
        self.send(CancelRequested(self.shell.state.now, reason="a typing error", who="me", **at))


def test_a_cancelled_order_never_fills_and_reserves_nothing() -> None:
    desk = Desk()
    desk.cancel()
    assert len(desk.of(Cancel)) == 1
    assert [p.text for p in desk.of(Publish)][-1] == "by hand: cancel buy 10 of 10 S0 (me: a typing error)"
    desk.run(desk.ahead)
    (ended,) = desk.of(Ended)
    state = desk.shell.state
    assert (ended.state, state.ledger.house.lots[0], state.working) == ([int(OrderState.CANCELLED)], 0, {})


@pytest.mark.parametrize("other", [{"sample": 7}, {"n": 99}, {"row": 5}, {"row": -1}])
def test_what_is_not_an_open_order_is_refused_by_the_engine(other: dict[str, int]) -> None:
    desk = Desk()
    desk.cancel(**other)
    assert [e.text for e in desk.of(Refused)] == ["not cancelled: no such order is open"]
    assert desk.of(Cancel) == []


def test_a_lost_cancel_is_sent_again_and_an_ended_order_is_refused_with_its_state() -> None:
    desk = Desk()
    copy = thaw(desk.rules, freeze(desk.shell.state))
    event = CancelRequested(copy.now, desk.order.sample, desk.order.n, 0, "x", "me")
    assert [sum(isinstance(e, Cancel) for e in step(copy, event)) for _ in range(2)] == [1, 1]
    work = copy.working[desk.order.sample, desk.order.n]
    work.state[0] = int(OrderState.FILLED)
    assert [e.text for e in step(copy, event) if isinstance(e, Refused)] == ["not cancelled: the order is filled"]


def test_the_rest_of_an_earlier_decision_does_not_order_it_again() -> None:
    desk = Desk()
    agent = desk.shell.state.agents[0]
    agent.follow_up.put(desk.order.sample, 1, read_floats(np.array([0.5, 0.25])))
    desk.cancel()
    assert list(agent.follow_up.weights) == [0.0, 0.25]


def test_the_cancel_of_a_child_ends_its_parent_order_in_that_symbol_only() -> None:
    bars = minutes(np.full((SESSION, 2), 100.0))
    run = Minutes(
        bars, [lambda v: np.array([0.25, 0.25])], Execution(style="twap", over_ns=30 * MINUTE, slices=6), [NOON]
    )
    for item in run.items():
        run.shell.take(item)
        if run.of(OrderBasket):
            break
    state, (order,) = run.shell.state, run.of(OrderBasket)
    (parent,) = state.parents
    assert parent.sym == [0, 1]
    row = order.sym.index(0)
    step(state, CancelRequested(state.now, order.sample, order.n, row, "x", "me"))
    assert [open_parent.sym for open_parent in state.parents] == [[1]]
