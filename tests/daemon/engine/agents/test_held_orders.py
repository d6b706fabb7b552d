"""Orders from outside for a closed market: the engine holds them until the first price, and the gate decides then."""

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from quantd.daemon.engine.agents.carry_over import Carry, carry_of
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import override
from quantd.server.requests.cancels import cancelled_held, held_order
from quantd.server.requests.manual import became_of_order
from quantd.trading.effects import Filled, OrdersHeld, Planned, ProposalEnded, Publish
from quantd.trading.events import Operator, ProposalReviewed, Proposed
from quantd.trading.instruments import NANO
from quantd.trading.orders import UNTIL_CANCELLED, OrderBasket
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.minutes import SESSION, at
from tests.support.night import FREE, LAST, Night, buy


def test_an_order_after_the_close_is_held_and_sent_at_the_first_price() -> None:
    night = Night()

    def seen() -> None:
        night.send(buy(10))
        assert (night.of(OrderBasket), night.outcome) == ([], "waits")
        assert night.of(OrdersHeld)[0].why.startswith("held until the first price of ")

    night.until({LAST: seen})
    (sent,) = night.of(OrderBasket)
    assert (sent.ts, sent.cause, sent.end) == (at(1, 1), "a0/1", [at(1, SESSION)]), "a day order of the day it is sent"
    assert [e.ts for e in night.of(Filled)] == [at(1, 1)], "at the open of the bar after the first price"
    assert (night.outcome, night.shell.state.awaiting, list(night.shell.state.lots(0))) == ("passed", [], [10, 0])


def test_the_gate_decides_at_the_first_price_and_not_at_that_of_yesterday() -> None:
    night = Night(opens=130.0, limits=override(FREE, max_position_weight=0.5))
    most = int(0.5 * night.shell.state.equity_micro / 1e6 / 100)
    night.until({LAST: lambda: night.send(buy(most - most // 50))})
    assert night.of(OrderBasket) == []
    (end,) = night.of(ProposalEnded)
    assert (end.outcome, night.outcome) == ("refused", "refused")
    assert "max_position_weight" in end.why
    assert "would pass now" in end.why
    assert night.shell.state.outside["a0"].find("1").why == end.why  # type: ignore[union-attr]


def test_a_limit_is_compared_with_the_collar_of_the_first_price() -> None:
    night = Night(opens=130.0)
    night.until({LAST: lambda: night.send(buy(10, 131.0, UNTIL_CANCELLED))})  # far beyond the collar of 100
    assert ([e.worst_nano for e in night.of(OrderBasket)], night.outcome) == ([[131 * NANO]], "passed")
    far = Night(opens=100.0)
    far.until({LAST: lambda: far.send(buy(10, 131.0, UNTIL_CANCELLED))})
    assert (far.of(OrderBasket), far.outcome) == ([], "refused")
    assert "beyond the collar" in far.of(ProposalEnded)[0].why


def test_every_symbol_of_the_orders_needs_its_first_price() -> None:
    night = Night(gap=7)
    night.until({LAST: lambda: night.send(buy(10), buy(5, symbol=1))})
    assert [(e.ts, e.lots) for e in night.of(OrderBasket)] == [(at(1, 8), [10, 5])]


def test_an_order_by_hand_is_held_too() -> None:
    night = Night()
    night.until({LAST: lambda: night.send(buy(10), whole=False, by_hand=True)})
    assert [e.ts for e in night.of(OrderBasket)] == [at(1, 1)]
    assert any("is held until" in e.text for e in night.of(Publish))


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_halt_ends_what_is_held(by_hand: bool) -> None:
    night = Night()

    def act() -> None:
        night.send(buy(10), by_hand=by_hand)
        night.shell.run(Operator(night.shell.state.now, "halt", "a test", "me"))
        assert night.shell.state.awaiting == []

    night.until({LAST: act})
    assert (night.of(OrderBasket), [e.outcome for e in night.of(ProposalEnded)]) == ([], ["refused"])


def test_a_held_order_is_withdrawn_by_its_id_and_lapses_at_its_end() -> None:
    night = Night()

    def act() -> None:
        night.send(buy(10))
        night.shell.run(ProposalReviewed(night.shell.state.now, "a0", "1", False, "no longer", "me"))

    night.until({LAST: act})
    assert (night.of(OrderBasket), night.outcome) == ([], "declined")
    late = Night()
    late.until({LAST: lambda: late.send(buy(10), expires=at(1, 0))})
    assert (late.of(OrderBasket), late.outcome) == ([], "lapsed")


def test_what_a_person_approves_at_night_is_held() -> None:
    night = Night(reviewed=True)

    def act() -> None:
        night.send(buy(10))
        assert night.outcome == "approval"
        night.shell.run(ProposalReviewed(night.shell.state.now, "a0", "1", True, "yes", "ann"))
        assert night.outcome == "waits"

    night.until({LAST: act})
    assert ([e.ts for e in night.of(OrderBasket)], night.outcome) == ([at(1, 1)], "passed")


def test_a_snapshot_keeps_what_is_held() -> None:
    night = Night()

    def act() -> None:
        night.send(buy(10))
        frozen = freeze(night.shell.state)
        again = thaw(night.rules, frozen)
        assert (freeze(again), again.awaiting) == (frozen, night.shell.state.awaiting)
        carry = msgspec.msgpack.decode(carry_of(frozen, night.universe, ["a0"], simulated=True), type=Carry)
        assert carry.lapsed == ["a0"], "a new run holds nothing, and says so"

    night.until({LAST: act})


def test_two_held_orders_have_a_verdict_each() -> None:
    night = Night(limits=override(FREE, max_position_weight=0.5))
    most = int(0.5 * night.shell.state.equity_micro / 1e6 / 100)

    def act() -> None:
        now = night.shell.state.now
        for id, lots in (("1", most // 2), ("2", most)):
            night.shell.run(Proposed(now, "a0", id, "a test", "me", orders=(buy(lots),), whole=True))

    night.until({LAST: act})
    log = night.shell.state.outside["a0"]
    assert [log.find(id).outcome for id in ("1", "2")] == ["passed", "refused"]  # type: ignore[union-attr]
    assert [e.cause for e in night.of(OrderBasket)] == ["a0/1"]
    assert [part.cause for plan in night.of(Planned) for part in plan.agents] == ["a0/1", "a0/2"]


def test_an_order_by_hand_says_what_it_waits_for_and_is_cancelled_by_its_id() -> None:
    night = Night()

    def act() -> None:
        state = night.shell.state
        order = Proposed(state.now, "a0", "", "a test", "me", orders=(buy(10),), by_hand=True)
        answer = became_of_order(state, night.shell.run(order), order, "run")
        assert (answer.waits, answer.order, answer.cut_by) == (True, f"hand-{state.now}", "")
        assert answer.text.startswith("held until the first price of ")
        held = held_order(state, answer.order)
        assert held is not None
        assert held_order(state, held.cause) == held
        assert cancelled_held(state, answer.order, held, "held").left == "10"
        night.shell.run(ProposalReviewed(state.now, held.agent, held.id, False, "no longer", "me"))
        assert held_order(state, answer.order) is None

    night.until({LAST: act})
    assert night.of(OrderBasket) == []


@pytest.mark.parametrize(
    ("now", "mark", "priced"),
    [
        (2 * DAY_NS + 1, 2 * DAY_NS, True),  # a second after midnight, with the price of the midnight
        (2 * DAY_NS + 1, DAY_NS // 2, True),  # an old price: `max_price_age` decides
        (2 * DAY_NS + 1, 0, False),  # none since the calendar began
        (9 * DAY_NS, DAY_NS, True),  # after the calendar's end
    ],
)
def test_a_market_that_never_closes_needs_no_first_price_of_a_day(now: int, mark: int, priced: bool) -> None:
    state = Night().shell.state
    days = tuple(day * DAY_NS for day in range(4))
    always = Sessions("24/7", "UTC", days, days, tuple(day + DAY_NS for day in days))
    state.rules = replace(state.rules, sessions=(always,))
    state.now = now
    state.set_marks(state.marks, state.marks_nano, np.full(2, mark))
    assert state.priced_today(0) == priced
