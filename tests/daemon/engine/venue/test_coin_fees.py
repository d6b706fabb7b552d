"""Fees in what is bought: lots and dust together are what the venue has, cash does not notice, nothing is counted
twice."""

from hypothesis import given, settings
from hypothesis import strategies as st

from quantd.adapters.brokers.execution_log import Execution
from quantd.adapters.brokers.order_log import Orders, reports_of
from quantd.daemon.engine import step
from quantd.daemon.engine.settings import AgentRules, Rules
from quantd.daemon.engine.snapshot import freeze, thaw
from quantd.daemon.engine.state import State
from quantd.daemon.engine.venue.account import difference
from quantd.daemon.engine.venue.coin_fees import dust_micro
from quantd.daemon.engine.venue.open_orders import Working
from quantd.risk.limits.catalogue import Limits
from quantd.trading.effects import Filled
from quantd.trading.events import Reconciled
from quantd.trading.instruments import MICRO, NANO, Instrument, Universe
from quantd.trading.orders import Cause, OrderBasket, OrderState, Reports
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.examples import examples

LOT = NANO // 1000
UNIVERSE = Universe((Instrument("BTC/USD", lot_nano=LOT, calendar="24/7"),), calendar="24/7")
CASH = 10**6 * MICRO


def started(shares: list[tuple[int, int]]) -> State:
    sessions = Sessions("24/7", "UTC", (0,), (DAY_NS // 3,), (2 * DAY_NS // 3,))
    agents = tuple(AgentRules(name, CASH // 2, Limits()) for name in ("a", "b"))
    state = State(Rules(UNIVERSE, (sessions,), (0,), agents, Limits(), CASH))
    lots = sum(each for _, each in shares)
    basket = OrderBasket(1, 1, 5, [0], [lots], [10**15], [0], [0], {})
    state.working[1, 1] = Working(
        basket=basket, lots=[lots], worst_nano=[10**15], filled=[0], state=[int(OrderState.WORKING)], shares=[shares],
        live=1,
        whole=[shares],
    )  # fmt: skip
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
    whole = sum(lots for lots, _, _ in fills)
    first = max(1, whole * part // 100)
    state = started([(0, first), (1, whole - first)] if first < whole else [(0, whole)])
    news = report(fills)
    step(state, news)
    state.ledger.check()
    house = state.ledger.house
    bought, charged = whole * LOT, sum(fee for _, _, fee in fills)
    assert house.lots[0] * LOT + state.dust.get(0, 0) == bought - charged
    assert 0 <= state.dust.get(0, 0) < LOT
    plain = started([(0, whole)])
    step(plain, report([(lots, price, 0) for lots, price, _ in fills]))
    assert house.cash_micro == plain.ledger.house.cash_micro
    assert plain.dust == {}
    # told again, nothing changes
    before = list(house.lots), house.cash_micro, dict(state.dust)
    step(state, news)
    assert (list(house.lots), house.cash_micro, state.dust) == before
    assert state.working == {}


def test_the_venues_account_agrees_and_the_dust_is_valued_and_survives_a_restart() -> None:
    state = started([(0, 100)])
    effects = step(state, report([(100, 60_000 * NANO, LOT // 4)]))
    assert state.ledger.house.lots == [99]
    assert state.dust == {0: 3 * LOT // 4}
    fills = [f for f in effects if isinstance(f, Filled)]
    assert [(f.lots, f.fee_micro) for f in fills] == [([100], [0]), ([-1], [60 * MICRO])]
    assert state.ledger.house.fees_micro == 60 * MICRO
    venue = 100 * LOT - LOT // 4
    assert difference(state, Reconciled(8, [venue // LOT], state.ledger.house.cash_micro)) == ([0], 0)
    again = thaw(state.rules, freeze(state))
    assert again.dust == state.dust
    state.marks_nano = state.marks_nano + 60_000 * NANO
    assert dust_micro(state, 0) == 45 * MICRO
    # the next fee is paid from the dust first
    state.working[1, 2] = Working(
        basket=OrderBasket(1, 2, 9, [0], [10], [10**15], [0], [0], {}), lots=[10], worst_nano=[10**15], filled=[0],
        state=[int(OrderState.WORKING)], shares=[[(0, 10)]], live=1,
    )  # fmt: skip
    step(state, Reports(1, 2, 9, [0], [10], [10], [60_000 * NANO], [0], [int(Cause.LAST_FILL)], fee_nano=[LOT // 2]))
    assert state.ledger.house.lots == [109]
    assert state.dust == {0: LOT // 4}
