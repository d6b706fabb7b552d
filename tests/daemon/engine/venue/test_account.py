"""The account beside its orders: flows, dividends paid by a venue, differences that are taken or fenced off, orders by
hand."""

import numpy as np
import pytest

from quantd.daemon.engine import step
from quantd.daemon.engine.planning.gate_account import account_of
from quantd.daemon.engine.planning.plan import plan
from quantd.daemon.engine.safety.monitor import watch_plan
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.venue.account import entitled, note_holdings, strays
from quantd.risk.limits.catalogue import PROFILES, Limits
from quantd.risk.switch import HALT, REDUCE, RUN
from quantd.trading.effects import Booked, Planned, Publish
from quantd.trading.events import Action, Correction, Flow, ForeignFound, Reconciled
from quantd.trading.orders import Cause, ForeignOrder, OrderBasket, Reports
from quantd.trading.ports import OpenOrder
from tests.support.engine import CASH, START, World, block
from tests.support.orders_by_hand import by_hand

RESEARCH = PROFILES["research"]
MICRO = 10**6


def world(acts: int = 2, **rules: object) -> World:
    bars = block(np.full((6, 2), 100.0))
    half = [lambda v: np.array([0.4, 0.4])] * acts
    return World(bars, half, house=RESEARCH, **rules)  # type: ignore[arg-type]


def held(**rules: object) -> World:
    """Some days on, with positions in both books."""
    run = world(**rules).run()
    assert any(run.shell.state.ledger.house.lots)
    run.effects.clear()
    return run


def reconciled(of: World, lots: dict[int, int] | None = None, cash: int = 0) -> Reconciled:
    """What a venue says that has so much more than we know of."""
    house = of.shell.state.ledger.house
    theirs = [ours + (lots or {}).get(k, 0) for k, ours in enumerate(house.lots)]
    return Reconciled(of.shell.state.now, theirs, house.cash_micro + cash, buying_power_micro=123)


def equity_change(of: World, before: int) -> int:
    of.shell.state.revalue()
    return of.shell.state.equity_micro - before


def test_a_venue_that_agrees_moves_nothing_and_says_what_may_be_bought() -> None:
    of = held()
    of.shell.run(reconciled(of))
    assert of.effects == []
    assert (of.shell.state.switch.state, of.shell.state.venue.buying_power_micro) == (RUN, 123)


@pytest.mark.parametrize(
    ("name", "staked"),
    [("USD.F", True), ("USD.B", True), ("USD03.S", True), ("DOT.S", False), ("DOT28.S", False), ("USD", False)],
)
def test_money_that_earns_rewards_says_how_it_is_traded_again(name: str, staked: bool) -> None:
    (told,) = note_holdings(held().shell.state, [(name, "0.5")])
    assert isinstance(told, Publish)
    assert f"in no book: 0.5 {name}; it is not traded" in told.text
    assert (f"{name} earns rewards at the venue and is in no order: end that there" in told.text) == staked


@pytest.mark.requirement("R-170")
def test_a_difference_is_critical_and_leaves_only_reducing_orders() -> None:
    of = held()
    of.shell.run(reconciled(of, {1: -3}, 5 * MICRO))
    (said,) = [p for p in of.of(Publish) if p.kind == "reconciliation"]
    assert said.level == "CRITICAL"
    assert "3 S1 less" in said.text
    assert "5.00 USD more" in said.text
    assert of.shell.state.switch.state == REDUCE


def test_cash_within_the_tolerance_is_no_difference() -> None:
    of = held(cash_tolerance_micro=MICRO)
    of.shell.run(reconciled(of, cash=MICRO))
    assert of.effects == []
    of.shell.run(reconciled(of, cash=-MICRO - 1))
    assert of.shell.state.switch.state == REDUCE


@pytest.mark.parametrize("by", ["a person", "the configuration"])
def test_what_is_taken_into_a_book_is_a_flow_and_neither_profit_nor_loss(by: str) -> None:
    of = held(differences="a1" if by == "the configuration" else "")
    state = of.shell.state
    state.revalue()
    before, high, agent_high = state.equity_micro, state.switch.high_water, state.agents[1].switch.high_water
    of.shell.run(reconciled(of, {0: 7}, -700 * MICRO))
    if by == "a person":
        of.shell.run(Correction(state.now, [7, 0], -700 * MICRO, "a1", "bought by hand", "me"))
    state.ledger.check()
    value = 7 * 100 * MICRO - 700 * MICRO
    assert equity_change(of, before) == value == 0
    assert state.switch.high_water - high == value
    assert state.agents[1].switch.high_water - agent_high == value
    assert state.ledger.books[1].lots[0] - state.ledger.books[0].lots[0] == 7
    of.effects.clear()
    of.shell.run(reconciled(of))
    assert of.effects == [], "it is known now"
    assert {e.kind for e in of.of(Booked)} == set()


def test_taken_lots_at_another_mark_move_the_high_water_mark_by_their_value() -> None:
    of = held()
    state = of.shell.state
    state.revalue()
    before, high = state.equity_micro, state.switch.high_water
    of.shell.run(Correction(state.now, [4, 0], 0, "a0", "came from elsewhere", "me"))
    assert equity_change(of, before) == 400 * MICRO == state.switch.high_water - high
    assert [(e.kind, e.amount_micro) for e in of.of(Booked)] == [("in_kind", 400 * MICRO)]
    state.ledger.check()


def test_what_is_fenced_off_is_known_and_left_alone_over_a_restart() -> None:
    of = held()
    state = of.shell.state
    before = list(state.ledger.house.lots)
    of.shell.run(reconciled(of, {1: 9}, 2 * MICRO))
    of.shell.run(Correction(state.now, [0, 9], 2 * MICRO, "fence", "somebody else's", "me"))
    assert state.ledger.house.lots == before
    again = thaw(of.rules, freeze(state))
    assert again.venue.fenced == ([0, 9], 2 * MICRO)
    of.restart(again)
    of.effects.clear()
    of.shell.run(reconciled(of, {1: 9}, 2 * MICRO))
    assert of.effects == []
    of.shell.run(reconciled(of))
    assert "9 S1 less" in of.of(Publish)[0].text


def test_a_name_that_nobody_has_corrects_nothing() -> None:
    of = held()
    before = list(of.shell.state.ledger.house.lots)
    of.shell.run(Correction(of.shell.state.now, [1, 0], 0, "nobody", "?", "me"))
    assert of.shell.state.ledger.house.lots == before
    assert of.of(Publish)[0].level == "CRITICAL"


def test_a_flow_of_the_venue_is_taken_once_and_is_no_profit() -> None:
    of = held()
    state = of.shell.state
    state.revalue()
    before, high = state.equity_micro, state.switch.high_water
    deposit = Flow(state.now, 1000 * MICRO, "venue", "flow", "csd-1")
    of.shell.run(deposit)
    of.restart()
    of.shell.run(deposit)
    assert equity_change(of, before) == 1000 * MICRO == of.shell.state.switch.high_water - high
    assert len(of.of(Booked)) == 1


def test_money_for_an_agent_moves_that_agents_mark_too() -> None:
    of = held()
    state = of.shell.state
    mark, cash = state.agents[1].switch.high_water, state.ledger.books[1].cash_micro
    of.shell.run(Flow(state.now, -50 * MICRO, "me", agent="a1"))
    assert state.agents[1].switch.high_water - mark == -50 * MICRO == state.ledger.books[1].cash_micro - cash
    state.ledger.check()
    of.shell.run(Flow(state.now, 50 * MICRO, "me", agent="nobody"))
    assert of.of(Publish)[-1].level == "WARNING"


def test_a_deposit_by_an_operator_is_announced_with_its_book_and_reason() -> None:
    of = held()
    for agent in ("a1", ""):
        of.shell.run(Flow(of.shell.state.now, 50 * MICRO, "me", agent=agent, reason="savings"))
    assert of.of(Booked) == [Booked(of.shell.state.now, "flow", -1, 50 * MICRO, book) for book in (1, -1)]
    texts = [(p.agent, p.text) for p in of.of(Publish) if p.kind == "flow"]
    assert texts == [
        ("a1", "deposit of 50.00, a1: no profit, no loss (me: savings)"),
        ("", "deposit of 50.00, unallocated: no profit, no loss (me: savings)"),
    ]


def test_fees_and_interest_are_profit_and_loss_of_the_unallocated_book() -> None:
    of = held()
    state = of.shell.state
    high, cash = state.switch.high_water, state.ledger.books[-1].cash_micro
    of.shell.run(Flow(state.now, -30, "venue", "fee", "f1"))
    of.shell.run(Flow(state.now, 10, "venue", "interest", "i1"))
    assert state.ledger.books[-1].cash_micro - cash == -20
    assert state.switch.high_water == high
    state.ledger.check()


def test_a_venue_pays_a_dividend_to_those_who_held_on_the_ex_date() -> None:
    of = held(venue_pays=True)
    state = of.shell.state
    cash = [book.cash_micro for book in state.ledger.books]
    shares = [book.lots[0] for book in state.ledger.books]
    of.shell.run(Action(state.now + 1, START, 0, "dividend", cash_nano=10**9))
    assert [book.cash_micro for book in state.ledger.books] == cash, "nothing on the ex date"
    state.ledger.cross(0, 100 * 10**9, [(0, -shares[0]), (1, shares[0])])  # sold before it is paid
    state = of.restart()
    amount = sum(shares) * MICRO + 1
    of.shell.run(Flow(state.now, amount, "venue", "dividend", "div-1", 0))
    state.ledger.check()
    paid = state.ledger.books[0].cash_micro - cash[0] - shares[0] * 100 * MICRO
    assert paid == amount * shares[0] // sum(shares)
    assert state.venue.entitled == []


def test_a_venue_pays_cash_in_lieu_itself_and_the_books_agree_with_it_before_and_after() -> None:
    of = held(venue_pays=True)
    state = of.shell.state
    cash, lots = state.ledger.house.cash_micro, state.ledger.house.lots[0]
    book_cash = [book.cash_micro for book in state.ledger.books]
    of.shell.run(Action(state.now + 1, START, 0, "split", numerator=1, denominator=lots - 1))
    lieu = sum(book.cash_micro - was for book, was in zip(state.ledger.books[:-1], book_cash, strict=False))
    assert lieu > 0
    assert state.ledger.house.cash_micro == cash, "the venue has not paid"
    (advanced,) = of.of(Booked)
    parts = [book.cash_micro - was for book, was in zip(state.ledger.books, book_cash, strict=True)]
    assert (advanced.amount_micro, [part for _, part in advanced.parts]) == (0, parts), "the unallocated book pays it"
    of.shell.run(Flow(state.now, lieu, "venue", "cash_in_lieu", "cil-1", 0))
    state.ledger.check()
    assert state.ledger.house.cash_micro == cash + lieu
    assert state.ledger.books[-1].cash_micro == book_cash[-1]
    assert [entry.amount_micro for entry in of.of(Booked)] == [0, lieu]


def test_a_dividend_that_nobody_expected_is_of_those_who_hold_now() -> None:
    of = held()
    state = of.shell.state
    assert [number for number, _ in entitled(state, 0)] == [0, 1]
    assert entitled(state, -1) == []


def test_an_order_that_is_not_ours_is_told_of_once_and_reserves_risk() -> None:
    of = held()
    event = ForeignFound(of.shell.state.now, (ForeignOrder("v1", 0, 5, 101 * 10**9),))
    of.shell.run(event)
    of.restart()
    of.shell.run(event)
    assert len(of.of(Publish)) == 1
    assert of.shell.state.venue.foreign == [(0, 5, 101 * 10**9)]
    account = account_of(of.shell.state, -1)
    assert account.up is not None
    assert account.up[0] == 5


def test_a_sale_that_is_open_at_the_venue_and_ended_here_reserves_the_lots_it_may_still_sell() -> None:
    of = held(acts=1)
    state = of.shell.state
    (basket,) = [
        e for e in plan(state, {0: bytes(16)}, watch=watch_plan, sample=state.sample) if isinstance(e, OrderBasket)
    ]
    assert max(basket.lots) < -100
    key, none = (basket.sample, basket.n), [0, 0]
    step(state, Reports(*key, state.now, [0, 1], none, none, none, none, [int(Cause.REJECTED)] * 2))
    (stray,) = strays(state, [OpenOrder(*key, 1, 100)])
    assert (stray.symbol, stray.lots, stray.limit_nano) == (1, basket.lots[1] + 100, basket.worst_nano[1])


def test_an_order_by_hand_passes_the_gate_like_any_other() -> None:
    of = World(block(np.full((6, 2), 100.0)), [lambda v: np.zeros(2)], house=Limits(max_position_weight=0.25)).run()
    state = of.shell.state
    of.effects.clear()
    of.shell.run(by_hand(state.now, "a0", 1, 10_000, "a view", "me"))
    (plan,), (order,) = of.of(Planned), of.of(OrderBasket)
    assert order.sym == [1]
    assert 0 < order.lots[0] <= int(0.25 * CASH / 100), "cut by the limit"
    assert np.frombuffer(plan.agents[0].weights)[1] > 0.25
    assert any("me: a view" in p.text for p in of.of(Publish))
    of.effects.clear()
    state.switch.state = HALT
    of.shell.run(by_hand(state.now, "a0", 0, 5, "another", "me"))
    assert of.of(OrderBasket) == []
    of.shell.run(by_hand(state.now, "nobody", 0, 5, "x", "me"))
    assert of.of(Publish)[-1].level == "WARNING"
