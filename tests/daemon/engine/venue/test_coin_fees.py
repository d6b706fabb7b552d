"""Fees in what is bought: lots and dust together are what the venue has, cash does not notice, nothing is counted
twice."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UnsetType

from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import Orders, reports_of
from quantd.daemon.engine import step
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import Working
from quantd.daemon.engine.state.settings import AgentRules, Rules
from quantd.daemon.engine.state.snapshot import freeze, thaw
from quantd.daemon.engine.venue.account import difference
from quantd.daemon.engine.venue.coin_fees import dust_micro, unlisted_fees
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Booked, Filled
from quantd.trading.events import Flow, Reconciled
from quantd.trading.execution import round_micro
from quantd.trading.instruments import MICRO, NANO, Instrument, Universe
from quantd.trading.ledger.shares import share
from quantd.trading.orders import Cause, OrderBasket, Reports
from quantd.trading.ports import VenueAccount
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.examples import examples

LOT = NANO // 1000
UNIVERSE = Universe((Instrument("BTC/USD", lot_nano=LOT, calendar="24/7"),), calendar="24/7")
CASH = 10**6 * MICRO
CENT = MICRO // 100


def started(shares: list[tuple[int, int]]) -> State:
    sessions = Sessions("24/7", "UTC", (0,), (DAY_NS // 3,), (2 * DAY_NS // 3,))
    agents = tuple(AgentRules(name, CASH // 2, Limits()) for name in ("a", "b"))
    state = State(Rules(UNIVERSE, (sessions,), (0,), agents, Limits(), CASH))
    lots = sum(part for _, part in shares)
    basket = OrderBasket(1, 1, 5, [0], [lots], [10**15], [0], [0], {})
    state.working[1, 1] = Working.sent(basket, [shares], 2)
    state.working[1, 1].accept()
    return state


def report(fills: list[tuple[int, int, int]]) -> Reports:
    """(lots, price in nano, fee in nano-units) of each fill, as the adapter tells them."""
    basket = OrderBasket(1, 1, 5, [0], [sum(f[0] for f in fills)], [10**15], [0], [0], {})
    (sent,) = Orders(UNIVERSE, "run00001").add(basket)
    for k, (lots, price, fee) in enumerate(fills):
        sent.log.add(Execution(k, lots * LOT, price, f"{k:03d}", fee_nano=fee))
    return reports_of(sent, 7, Cause.LAST_FILL, basket.lots[0] * LOT)


FILL = st.tuples(st.integers(2, 400), st.integers(NANO, 10**14), st.integers(0, 2 * LOT))


@settings(max_examples=examples(200), deadline=None, derandomize=True)
@given(fills=st.lists(FILL, min_size=1, max_size=8), part=st.integers(0, 100))
def test_lots_and_dust_are_what_the_venue_has_and_cash_is_what_was_paid(
    fills: list[tuple[int, int, int]], part: int
) -> None:
    total = sum(lots for lots, _, _ in fills)
    first = max(1, total * part // 100)
    state = started([(0, first), (1, total - first)] if first < total else [(0, total)])
    news = report(fills)
    step(state, news)
    state.ledger.check()
    house = state.ledger.house
    bought, charged = total * LOT, sum(fee for _, _, fee in fills)
    assert house.lots[0] * LOT + state.venue.dust.get(0, 0) == bought - charged
    assert 0 <= state.venue.dust.get(0, 0) < LOT
    plain = started([(0, total)])
    step(plain, report([(lots, price, 0) for lots, price, _ in fills]))
    assert house.cash_micro == plain.ledger.house.cash_micro
    assert plain.venue.dust == {}
    # told again, nothing changes
    before = list(house.lots), house.cash_micro, dict(state.venue.dust)
    step(state, news)
    assert (list(house.lots), house.cash_micro, state.venue.dust) == before
    assert state.working == {}


def test_the_venues_account_agrees_and_the_dust_is_valued_and_survives_a_restart() -> None:
    state = started([(0, 100)])
    effects = step(state, report([(100, 60_000 * NANO, LOT // 4)]))
    assert state.ledger.house.lots == [99]
    assert state.venue.dust == {0: 3 * LOT // 4}
    fills = [f for f in effects if isinstance(f, Filled)]
    assert [(f.lots, f.fee_micro) for f in fills] == [([100], [0]), ([-1], [60 * MICRO])]
    assert state.ledger.house.fees_micro == 60 * MICRO
    venue = 100 * LOT - LOT // 4
    assert difference(state, Reconciled(8, [venue // LOT], state.ledger.house.cash_micro)) == ([0], 0)
    again = thaw(state.rules, freeze(state))
    assert again.venue.dust == state.venue.dust
    state.set_marks(state.marks, state.marks_nano + 60_000 * NANO)
    assert dust_micro(state, 0) == 45 * MICRO
    # the next fee is paid from the dust first
    basket = OrderBasket(1, 2, 9, [0], [10], [10**15], [0], [0], {})
    state.working[1, 2] = Working.sent(basket, [[(0, 10)]], 2)
    state.working[1, 2].accept()
    step(state, Reports(1, 2, 9, [0], [10], [10], [60_000 * NANO], [0], [int(Cause.LAST_FILL)], fee_nano=[LOT // 2]))
    assert state.ledger.house.lots == [109]
    assert state.venue.dust == {0: LOT // 4}


# ---------------------------------------------------------------- fees that the venue lists later, rewards, dust

PRICE = 60_000 * NANO
PAIRS = Universe(
    (Instrument("BTC/USD", lot_nano=LOT, calendar="24/7"), Instrument("ETH/USD", lot_nano=LOT, calendar="24/7")),
    calendar="24/7",
)


def charged(bp: float = 25.0, agents: int = 2) -> State:
    """A state with prices, at a venue that takes at most `bp` of what a trade credits."""
    sessions = Sessions("24/7", "UTC", (0,), (DAY_NS // 3,), (2 * DAY_NS // 3,))
    rules = tuple(AgentRules(f"a{k}", CASH // agents, Limits()) for k in range(agents))
    state = State(Rules(PAIRS, (sessions,), (0, 0), rules, Limits(), CASH, coin_fee_bp=bp))
    state.set_marks(np.array([60_000.0, 3_000.0]), np.array([PRICE, PRICE // 20]), np.array([1, 1]))
    return state


def ahead(state: State) -> dict[int, int]:
    return {} if isinstance(state.venue.coin_fees, UnsetType) else state.venue.coin_fees.ahead


class Account:
    """The venue's side: exact units and cash, and fees that it lists when the test says so."""

    def __init__(self) -> None:
        self.units, self.cash, self.n = [0, 0], CASH, 0
        self.unlisted: list[Flow] = []

    def trade(self, state: State, column: int, lots: int, bp: float, ts: int, *, cents: bool = False) -> None:
        """A fill of `lots` signed, whose fee of `bp` is taken at once; one in money is rounded up to whole `cents`."""
        price, self.n = int(state.marks_nano[column]), self.n + 1
        basket = OrderBasket(ts, self.n, ts, [column], [lots], [price], [0], [0], {})
        shares = [(0, abs(lots) // 2), (1, abs(lots) - abs(lots) // 2)]
        if lots < 0:
            held = [(k, state.ledger.books[k].held[column]) for k in (0, 1)]
            shares = share(-lots, [(k, n) for k, n in held if n])
        shares = [(k, n) for k, n in shares if n]
        state.working[ts, self.n] = Working.sent(basket, [shares], 2)
        size = abs(lots)
        step(state, Reports(ts, self.n, ts, [0], [size], [size], [price], [0], [int(Cause.LAST_FILL)]))
        value = round_micro(size * LOT * price)[0]
        if lots > 0:
            fee = int(size * LOT * bp / 10_000)
            self.units[column] += size * LOT - fee
            self.cash -= value
            flow = Flow(ts, 0, "venue", "fee", f"CFEE{self.n}", column, units_nano=-fee)
        else:
            fee = -(-int(value * bp / 10_000) // CENT) * CENT if cents else int(value * bp / 10_000)
            self.units[column] -= size * LOT
            self.cash += value - fee
            flow = Flow(ts, -fee, "venue", "fee", f"CFEE{self.n}", column)
        if fee:
            self.unlisted.append(flow)

    def said(self, ts: int) -> VenueAccount:
        lots = tuple(units // LOT for units in self.units)
        odd = tuple(
            (PAIRS.symbols[k], f"{Decimal(units % LOT) / NANO:f}") for k, units in enumerate(self.units) if units % LOT
        )
        return VenueAccount(ts, "USD", lots, self.cash, odd=odd)

    def compare(self, state: State, ts: int) -> tuple[list[int], int]:
        """The difference that a comparison leaves, fees booked ahead first."""
        state.now = max(state.now, ts)
        for flow in list(unlisted_fees(state, self.said(ts))):
            step(state, flow)
        said = self.said(ts)
        return difference(state, Reconciled(ts, list(said.lots), said.cash_micro))

    def equal(self, state: State) -> bool:
        house = state.ledger.house
        units = [house.lots[k] * LOT + state.venue.dust.get(k, 0) for k in (0, 1)]
        return units == self.units and house.cash_micro == self.cash


ACTS = st.lists(
    st.tuples(st.sampled_from(["buy", "sell", "compare", "list", "restart"]), st.integers(0, 1), st.integers(1, 40)),
    max_size=25,
)


@settings(max_examples=examples(200), deadline=None, derandomize=True)
@given(acts=ACTS, bp=st.sampled_from([25.0, 22.0, 15.0, 10.0, 8.0]))
def test_books_follow_the_venue_whenever_fees_are_taken_listed_and_compared(
    acts: list[tuple[str, int, int]], bp: float
) -> None:
    state, venue, ts = charged(), Account(), 10
    for act, column, size in acts:
        ts += NANO
        held = min(state.ledger.house.lots[column], venue.units[column] // LOT)
        match act:
            case "buy":
                venue.trade(state, column, size, bp, ts)
            case "sell" if held > 0:
                venue.trade(state, column, -min(size, held), bp, ts)
            case "compare":
                assert venue.compare(state, ts) == ([0, 0], 0)
                assert venue.equal(state)
            case "list" if venue.unlisted:
                step(state, venue.unlisted.pop(size % len(venue.unlisted)))
            case "restart":
                frozen = freeze(state)
                state = thaw(state.rules, frozen)
                assert freeze(state) == frozen
        state.ledger.check()
    assert venue.compare(state, ts) == ([0, 0], 0)
    for flow in venue.unlisted:
        step(state, flow)
        step(state, flow)  # told again
    state.ledger.check()
    assert venue.compare(state, ts + 1) == ([0, 0], 0)
    assert venue.equal(state)
    assert not ahead(state)


@settings(max_examples=examples(100), deadline=None, derandomize=True)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=30), bp=st.sampled_from([25.0, 22.0]))
def test_fees_in_money_that_are_rounded_up_fill_by_fill_are_booked(sizes: list[int], bp: float) -> None:
    state, venue = charged(), Account()
    state.set_marks(state.marks, state.marks_nano + np.array([1_237_000_000, 0]))  # so that no fee is whole cents
    venue.trade(state, 0, sum(sizes), bp, 10)
    assert venue.compare(state, 11) == ([0, 0], 0)
    lots = state.ledger.house.lots[0]
    for ts, size in enumerate(sizes, 12):
        if size <= min(lots, venue.units[0] // LOT):
            venue.trade(state, 0, -size, bp, ts, cents=True)
            lots -= size
    assert venue.compare(state, 100) == ([0, 0], 0)


@pytest.mark.parametrize("bp", [25.0, 0.0])
def test_a_lack_above_the_highest_fee_is_a_difference(bp: float) -> None:
    state, venue = charged(bp), Account()
    venue.trade(state, 0, 1000, 1.5 * bp or 25.0, 10)
    lots, _ = venue.compare(state, 20)
    assert lots[0] < 0
    assert not ahead(state)


def test_the_allowance_of_a_trade_ends_after_three_days() -> None:
    state, venue = charged(), Account()
    venue.trade(state, 0, 1000, 0.0, 10)
    assert venue.compare(state, 20) == ([0, 0], 0)
    venue.units[0] -= LOT
    assert venue.compare(state, 3 * DAY_NS + 20)[0] == [-1, 0]


@pytest.mark.parametrize("units", [1, -1, LOT, -7 * LOT - 3, 123 * LOT])
def test_rewards_dust_and_fees_in_a_coin_are_income_of_the_books_that_hold_it(units: int) -> None:
    state, venue = charged(), Account()
    venue.trade(state, 0, 100, 0.0, 10)
    state.revalue()
    equity, cash = state.equity_micro, state.ledger.house.cash_micro
    effects = step(state, Flow(20, 0, "venue", "interest" if units > 0 else "fee", "R1", 0, units_nano=units))
    venue.units[0] += units
    assert venue.equal(state)
    state.ledger.check()
    state.revalue()
    lots = state.ledger.house.lots[0] - 100
    assert state.ledger.house.cash_micro == cash
    assert state.equity_micro - equity == round_micro(lots * LOT * PRICE)[0]
    assert state.ledger.house.flows_micro == CASH, "no deposit, but profit"
    assert sum(e.amount_micro for e in effects if isinstance(e, Booked) and e.kind != "in_kind") == 0
    assert step(state, Flow(20, 0, "venue", "fee", "R1", 0, units_nano=units)) == ()


def test_a_reward_of_a_coin_that_nobody_holds_is_in_the_unallocated_book() -> None:
    state, venue = charged(), Account()
    step(state, Flow(20, 0, "venue", "interest", "R1", 1, units_nano=3 * LOT))
    venue.units[1] += 3 * LOT
    assert venue.equal(state)
    assert state.ledger.books[-1].lots == [0, 3]


def test_coins_that_a_person_moved_are_named_and_in_no_book() -> None:
    state = charged()
    (alert,) = step(state, Flow(20, 0, "venue", "flow", "D1", 0, units_nano=2 * LOT))
    assert (alert.level, alert.symbol) == ("WARNING", "BTC/USD")  # type: ignore[union-attr]
    assert "deposit of 0.002 BTC/USD at the venue" in alert.text  # type: ignore[union-attr]
    assert state.ledger.house.lots == [0, 0]
