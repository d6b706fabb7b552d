"""Alpaca's JSON to our values and back: exact, and refused where it is not what is documented."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.brokers.alpaca import wire
from quantd.adapters.brokers.alpaca.wire import Activity, Garbled, Order
from quantd.adapters.brokers.order_log import Sent
from quantd.trading.display_text import instant_text
from quantd.trading.orders import Cause, Kind

NANO = 10**9


def order(status: str, filled: str = "0") -> Order:
    return Order("1", "q", status, "buy", "SPY", "market", Decimal(9), None, Decimal(filled), None, None, None, None)


def sent(lots: int, worst: int, kind: Kind = Kind.LIMIT, stop: int = 0, end: int = 1) -> Sent:
    return Sent("q-1", 1, 2, 0, 0, lots, NANO, worst, stop, int(kind), end, 0)


def test_amounts_come_as_text_or_number_and_stay_exact():
    text = msgspec.json.encode(order("new")).replace(b'"9"', b"0.1").replace(b'"0"', b'"0.100000001"')
    read = msgspec.json.decode(text, type=Order)
    assert (wire.nano(read.qty), wire.nano(read.filled_qty)) == (100_000_000, 100_000_001)


@pytest.mark.long
@given(st.integers(0, 4 * 10**18))
def test_times_are_exact_to_the_nanosecond(ts):
    text = datetime.fromtimestamp(ts // NANO, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{ts % NANO:09d}Z"
    assert wire.instant(text) == ts
    assert not ts or wire.instant(instant_text(ts)) == ts // 1000 * 1000


def test_times_have_a_zone_and_any_number_of_digits():
    assert wire.instant("2024-07-03T13:00:00-04:00") == wire.instant("2024-07-03T17:00:00Z")
    assert wire.instant("2024-07-03T17:00:00.5Z") - wire.instant("2024-07-03T17:00:00Z") == 500_000_000
    for wrong in ("", "yesterday", "2024-07-03T17:00:00", "2024-13-03T17:00:00Z"):
        with pytest.raises(Garbled):
            wire.instant(wrong)


@given(st.integers(1, 10**13), st.booleans())
def test_the_worst_price_never_becomes_worse_and_is_on_the_venues_tick(worst, sells):
    order = wire.body(sent(-5 if sells else 5, worst), "SPY", NANO)
    if isinstance(order, str):
        assert not sells
        assert worst < NANO // 10_000
        return
    limit = wire.nano(Decimal(order["limit_price"]))
    assert limit >= worst if sells else limit <= worst
    assert abs(limit - worst) < NANO // 100
    places = len(order["limit_price"].partition(".")[2])
    assert places <= (2 if limit >= NANO else 4)


def test_time_in_force_follows_end_kind_and_what_the_venue_takes():
    def word(symbol: str, lot: int, **how: object) -> object:
        order = wire.body(sent(15, 100 * NANO, **how), symbol, lot)
        return order if isinstance(order, str) else order["time_in_force"]

    assert word("SPY", NANO) == "day"
    assert word("SPY", NANO, end=0) == "gtc"
    assert word("SPY", NANO // 10, end=0) == "day", "parts of a share are taken for the day only"
    assert word("SPY", NANO, kind=Kind.OPEN) == "opg"
    assert word("SPY", NANO, kind=Kind.CLOSE) == "cls"
    assert word("BTC/USD", NANO // 10) == "gtc"
    assert "no auction" in str(word("BTC/USD", NANO, kind=Kind.OPEN))
    assert "no auction" in str(word("SPY", NANO // 10, kind=Kind.CLOSE))


def test_a_stop_is_a_stop_limit_whose_trigger_does_not_sleep_longer_than_asked():
    order = wire.body(sent(-5, 90_001_000_000, Kind.STOP, 95_001_000_000), "SPY", NANO)
    assert isinstance(order, dict)
    assert (order["type"], order["stop_price"], order["limit_price"]) == ("stop_limit", "95.01", "90.01")
    assert isinstance(wire.body(sent(-5, 90 * NANO, Kind.STOP, 0), "SPY", NANO), str)


def test_every_state_of_the_vendors_list_is_known():
    enums = pytest.importorskip("alpaca.trading.enums", reason="alpaca-py is not installed")
    assert {state.value for state in enums.OrderStatus} == set(wire.ENDS) | set(wire.OPEN)


def test_a_state_that_nobody_documents_is_refused():
    with pytest.raises(Garbled, match="half_done"):
        wire.ended(order("half_done"))


def test_what_filled_and_was_then_rejected_is_cancelled():
    assert wire.ended(order("rejected", "3")) == Cause.CANCELLED


def moved(kind: str, amount: str, **how: str) -> Activity:
    return Activity(how.pop("id", "20240703113406977::x"), kind, net_amount=Decimal(amount), **how)


@pytest.mark.parametrize(
    ("kind", "amount", "said"),
    [
        ("CSD", "100", "deposit"),
        ("CSW", "-100", "withdrawal"),
        ("JNLC", "-5", "withdrawal"),
        ("JNLC", "5", "deposit"),
        ("DIV", "1.02", "dividend"),
        ("CIL", "4.10", "cash_in_lieu"),
        ("DIVNRA", "-0.15", "dividend"),
        ("FEE", "-0.02", "fee"),
        ("INT", "3", "interest"),
        ("INTNRA", "-0.45", "interest"),
        ("DIVCGL", "0.07", "dividend"),
        ("CFEE", "-0.01", "fee"),
        ("PTR", "0.04", "fee"),
        ("WH", "-0.24", "fee"),
        ("SPIN", "7", "other"),
    ],
)
def test_a_flow_has_its_kind_and_exact_amount(kind, amount, said):
    flow = wire.flow(moved(kind, amount))
    assert flow is not None
    assert (flow.kind, flow.amount_micro) == (said, int(Decimal(amount) * 10**6))


def test_a_flow_is_when_its_id_says_or_at_the_end_of_its_date():
    exact = wire.flow(moved("CSD", "1"))
    assert exact is not None
    assert exact.ts == wire.instant("2024-07-03T15:34:06.977Z")
    dated = wire.flow(moved("CSD", "1", id="20240703000000000::x", date="2024-07-03"))
    assert dated is not None
    assert dated.ts == wire.instant("2024-07-04T00:00:00Z") - 1
    with pytest.raises(Garbled):
        wire.flow(moved("CSD", "1", id="x"))
