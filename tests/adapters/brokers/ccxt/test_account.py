"""Movements of cash and of coins in Kraken's ledger, through ccxt."""

from decimal import Decimal
from importlib.util import find_spec

import pytest

from quantd.trading.instruments import NANO
from quantd.trading.orders import Cause
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.ccxt import CcxtRig
from tests.support.running_server import running_server

pytestmark = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")


rig = running_server(CcxtRig)


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "amount", "fee", "booking"),
    [
        ("staking", "0.00000031", "0", "interest"),
        ("reward", "1.5", "0", "interest"),
        ("earn", "0.5", "0.1", "interest"),
        ("adjustment", "-0.001", "0", "fee"),
        ("spend", "-0.0005", "0.00001", "fee"),
        ("receive", "2", "0", "interest"),
        ("deposit", "3", "0", "flow"),
        ("withdrawal", "-3", "0.01", "flow"),
        ("transfer", "-1", "0", "flow"),
    ],
)
async def test_an_entry_of_a_coin_moves_units(rig: CcxtRig, kind: str, amount: str, fee: str, booking: str) -> None:
    rig.venue.enter(kind, rig._pair(1).base, Decimal(amount), Decimal(fee))
    (flow,) = await rig.broker.flows(1)
    net = (Decimal(amount) - Decimal(fee)) * NANO
    assert (flow.symbol, flow.units_nano, flow.amount_micro) == (rig.universe.symbols[1], int(net), 0)
    assert flow.booking == booking
    assert rig.broker.set_aside() == []  # type: ignore[attr-defined]


@pytest.mark.long
@pytest.mark.parametrize(("kind", "booking"), [("spend", "cash_in_lieu"), ("receive", "cash_in_lieu")])
async def test_the_money_of_converted_dust_is_income(rig: CcxtRig, kind: str, booking: str) -> None:
    rig.venue.enter(kind, "ZUSD", Decimal("0.42"))
    (flow,) = await rig.broker.flows(1)
    assert (flow.amount_micro, flow.booking, flow.units_nano) == (420_000, booking, 0)


@pytest.mark.parametrize("kind", ["airdrop", "frobnication", "futures_bonus"])
async def test_an_entry_of_an_unknown_kind_is_booked_and_named(rig: CcxtRig, kind: str) -> None:
    rig.venue.enter(kind, rig._pair(0).base, Decimal(2))
    rig.venue.enter(kind, "ZUSD", Decimal("1.00"))
    assert sorted(flow.booking for flow in await rig.broker.flows(1)) == ["flow", "interest"]
    texts = rig.broker.set_aside()  # type: ignore[attr-defined]
    assert len(texts) == 2
    assert all(f"of the unknown type {kind!r} was booked as" in text for text in texts)


async def test_trades_and_coins_outside_the_universe_are_no_flows(rig: CcxtRig) -> None:
    rig.venue.enter("trade", rig._pair(1).base, Decimal(5))
    rig.venue.enter("staking", "XXLM", Decimal(5))
    assert await rig.broker.flows(1) == []


@pytest.mark.parametrize("lots", [1_000_000, 123_456_789])
async def test_a_fee_that_is_taken_from_the_coin_is_in_the_ledger(rig: CcxtRig, lots: int) -> None:
    rig.venue.fee_in_coin = True
    basket = rig.basket(Row(4, lots))
    await rig.broker.submit(basket)
    await rig.fill(basket, 0, lots, 80_000 * NANO)
    (report,) = await rig.broker.query(basket.sample, basket.n, [0])
    assert report.fee_micro == [0]  # type: ignore[union-attr]
    (flow,) = await rig.broker.flows(1)
    assert (flow.kind, flow.symbol) == ("fee", "BTC/USD")
    assert flow.units_nano < 0
    account = await rig.broker.account()
    assert account.lots[4] * rig.universe.lot_nano[4] == lots * rig.universe.lot_nano[4] + flow.units_nano


@pytest.mark.parametrize(("lots", "sent"), [(100, False), (4_999, False), (5_000, True), (20_000, True)])
async def test_an_order_below_the_least_size_of_its_market_is_not_sent(rig: CcxtRig, lots: int, sent: bool) -> None:
    (report,) = await rig.broker.submit(rig.basket(Row(4, lots)))
    assert bool(rig.venue.orders) == sent == (report.cause == [Cause.ACCEPTED])  # type: ignore[union-attr]
    if not sent:
        assert "less than the venue's least order of 0.00005" in report.reason  # type: ignore[union-attr]


async def test_an_order_below_the_least_cost_of_its_market_is_not_sent(rig: CcxtRig) -> None:
    pair = rig._pair(4)
    pair.costmin = "1000"
    broker = rig.adapter()
    await broker.open()
    (report,) = await broker.submit(rig.basket(Row(4, 10_000)))
    assert "cost less than the venue's least order of 1000" in report.reason  # type: ignore[union-attr]
    assert rig.venue.orders == {}
    await broker.close()


@pytest.mark.long
@pytest.mark.parametrize(("name", "listed"), [("XBT.F", "BTC.F"), ("SOL.S", "SOL.S"), ("ZUSD.F", "USD.F")])
async def test_a_balance_that_earns_rewards_is_named_and_is_no_holding(rig: CcxtRig, name: str, listed: str) -> None:
    before = await rig.broker.account()
    rig.venue.balances[name] = Decimal("0.5")
    account = await rig.broker.account()
    assert (listed, "0.5") in account.others
    assert (account.lots, account.cash_micro) == (before.lots, before.cash_micro)
