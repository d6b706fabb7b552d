"""A trade that the venue takes back: lots and cash as before it, to the micro, once, and a person hears of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.daemon.engine import step
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.settings import AgentRules, Rules
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.risk.limits.catalogue import Limits
from quantd.risk.switch import REDUCE, RUN
from quantd.trading.effects import Filled, Publish
from quantd.trading.events import Action, Busted
from quantd.trading.instruments import MICRO, NANO, Instrument, Universe
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.examples import examples

UNIVERSE = Universe((Instrument("A"), Instrument("B", lot_nano=NANO // 1000)))
CASH = 10**6 * MICRO
KEY = (1, 1)


def started(lots: int, shares: list[tuple[int, int]], column: int = 0) -> State:
    sessions = Sessions("X", "UTC", (0,), (DAY_NS // 3,), (2 * DAY_NS // 3,))
    agents = tuple(AgentRules(name, CASH // 2, Limits()) for name in ("a", "b"))
    state = State(Rules(UNIVERSE, (sessions,), (0, 0), agents, Limits(), CASH))
    worst = 200 * NANO
    basket = OrderBasket(*KEY, 5, [column], [lots], [worst], [0], [0], {})
    state.working[KEY] = Working.sent(basket, [list(shares)], 2)
    state.working[KEY].accept()
    return state


def fill(state: State, cum: int, lots: int, price: int, cause: Cause) -> None:
    step(state, Reports(*KEY, 6, [0], [cum], [lots], [price], [0], [int(cause)]))
    state.ledger.check()


def books(state: State) -> list[tuple[list[int], int]]:
    return [(list(book.lots), book.cash_micro) for book in (state.ledger.house, *state.ledger.books)]


@settings(max_examples=examples(150), deadline=None, derandomize=True)
@given(
    lots_a=st.integers(1, 50), other=st.integers(0, 50), first=st.integers(1, 99), price=st.integers(1, 10**12),
    second=st.integers(1, 10**12), side=st.sampled_from([1, -1]), column=st.integers(0, 1),
)  # fmt: skip
def test_a_bust_leaves_lots_and_cash_as_if_it_had_not_been(
    lots_a: int, other: int, first: int, price: int, second: int, side: int, column: int
) -> None:
    total = lots_a + other
    shares = [(0, lots_a), (1, other)] if other else [(0, lots_a)]
    first = min(first, total)
    state = started(side * total, shares, column)
    before = books(state)
    fill(state, first, first, price, Cause.LAST_FILL if first == total else Cause.PART_FILL)
    if first < total:
        fill(state, total, total - first, second, Cause.LAST_FILL)
    trades = [(first, price), (total - first, second)]
    for number, (lots, at) in enumerate(trades):
        if lots:
            step(state, Busted(*KEY, 7, 0, lots, at, id=f"x{number}"))
            state.ledger.check()
    assert [lots for lots, _ in books(state)] == [lots for lots, _ in before]
    house = state.ledger.house
    assert (house.cash_micro, house.residue_atto) == (before[0][1], 0)
    # an agent's part of a fill is rounded to the micro once there and once back
    assert all(abs(now - then) <= 4 for (_, now), (_, then) in zip(books(state), before, strict=True))
    if not other:
        assert books(state) == before


def test_a_correction_books_what_holds_now_and_everybody_hears_of_it_once() -> None:
    state = started(10, [(0, 6), (1, 4)])
    fill(state, 10, 10, 100 * NANO, Cause.LAST_FILL)
    news = Busted(*KEY, 7, 0, 10, 100 * NANO, 5, 90 * NANO, "x")
    effects = step(state, news)
    assert [(f.lots, f.price_nano, f.shares) for f in effects if isinstance(f, Filled)] == [
        ([-10], [100 * NANO], [[(0, -6), (1, -4)]]), ([5], [90 * NANO], [[(0, 3), (1, 2)]]),
    ]  # fmt: skip
    (said,) = [e for e in effects if isinstance(e, Publish)]
    assert said.level == "CRITICAL"
    assert "took back a trade: 10 at 100" in said.text
    assert "it is 5 at 90" in said.text
    assert books(state)[0] == ([5, 0], CASH - 450 * MICRO)
    assert state.switch.state == RUN
    again = thaw(state.rules, freeze(state))
    for copy in (state, again):
        assert step(copy, news) == ()
        assert books(copy)[0] == ([5, 0], CASH - 450 * MICRO)


def test_only_what_a_fill_gave_goes_back_while_the_order_works() -> None:
    state = started(10, [(0, 6), (1, 4)])
    fill(state, 5, 5, 100 * NANO, Cause.PART_FILL)
    step(state, Busted(*KEY, 7, 0, 5, 100 * NANO, id="x"))
    assert books(state) == [([0, 0], CASH), ([0, 0], CASH // 2), ([0, 0], CASH // 2), ([0, 0], 0)]
    # the same fill told again is the one that was taken back
    fill(state, 5, 5, 100 * NANO, Cause.PART_FILL)
    assert books(state)[0] == ([0, 0], CASH)


@pytest.mark.parametrize(
    "what", ["more than was filled", "nobody knows which", "another basket", "another row", "a split"]
)
def test_what_cannot_be_reversed_is_for_a_person(what: str) -> None:
    state = started(10, [(0, 6), (1, 4)])
    fill(state, 4, 4, 100 * NANO, Cause.PART_FILL)
    before = books(state)
    news = {
        "more than was filled": Busted(*KEY, 7, 0, 5, 100 * NANO, id="x"),
        "nobody knows which": Busted(*KEY, 7, 0, 0, 0, id="x"),
        "another basket": Busted(1, 2, 7, 0, 4, 100 * NANO, id="x"),
        "another row": Busted(*KEY, 7, 1, 4, 100 * NANO, id="x"),
        "a split": Busted(*KEY, 7, 0, 4, 100 * NANO, id="x"),
    }[what]
    if what == "a split":
        step(state, Action(6, 0, 0, "split", 2, 1))
        before = books(state)
    effects = step(state, news)
    assert books(state) == before
    (said,) = [e for e in effects if isinstance(e, Publish) and e.level == "CRITICAL" and e.kind == "broker"]
    assert said.symbol == ("" if what in ("another basket", "another row") else "A")
    assert state.switch.state == REDUCE


def test_an_order_of_a_lone_agent_is_reversed_though_an_old_snapshot_lacks_what_was_sent() -> None:
    state = started(10, [(1, 10)])
    fill(state, 10, 10, 100 * NANO, Cause.LAST_FILL)
    work = state.basket(KEY)
    assert work is not None
    work.shares_record = []
    step(state, Busted(*KEY, 7, 0, 4, 100 * NANO, id="x"))
    assert [lots for lots, _ in books(state)] == [[6, 0], [0, 0], [6, 0], [0, 0]]
    assert state.switch.state == RUN
