"""Movements of cash and of coins at Alpaca: known kinds are booked as such, unknown ones are booked and named."""

from typing import Any

import pytest

from quantd.trading.instruments import NANO
from quantd.trading.ports import VenueFlow
from tests.proofs.conformance.rigs.alpaca import AlpacaRig
from tests.support.running_server import running_server

rig = running_server(AlpacaRig)


async def moved(rig: AlpacaRig, **activity: Any) -> tuple[list[VenueFlow], list[str]]:
    """The flows of one activity, and what is named."""
    rig.server.book.activities.append(
        {
            "id": "20261120000000000::first", "date": "2026-11-20", "net_amount": "0",
            "status": "executed", "_at": rig.now(), **activity,
        }
    )  # fmt: skip
    return list(await rig.broker.flows(0)), list(rig.broker.set_aside())  # type: ignore[attr-defined]


@pytest.mark.parametrize("symbol", ["BTCUSD", "BTC/USD"])
@pytest.mark.parametrize(
    ("kind", "qty", "booking"),
    [
        ("CFEE", "-0.00025", "fee"),
        ("FEE", "-0.000000001", "fee"),
        ("INT", "0.5", "interest"),
        ("DIV", "0.001", "interest"),
        ("JNLS", "0.25", "flow"),
        ("ACATS", "-0.25", "flow"),
    ],
)
async def test_units_of_a_pair_are_moved_with_the_symbol_of_the_universe(
    rig: AlpacaRig, symbol: str, kind: str, qty: str, booking: str
) -> None:
    (flow,), named = await moved(rig, activity_type=kind, symbol=symbol, qty=qty, price="60000")
    assert (flow.symbol, flow.units_nano, flow.amount_micro) == ("BTC/USD", round(float(qty) * NANO), 0)
    assert flow.booking == booking
    assert named == []


async def test_a_fee_in_money_for_the_sale_of_a_coin_has_its_symbol(rig: AlpacaRig) -> None:
    (flow,), named = await moved(rig, activity_type="CFEE", symbol="BTCUSD", qty="0", net_amount="-1.25")
    assert (flow.symbol, flow.units_nano, flow.amount_micro, flow.booking) == ("BTC/USD", 0, -1_250_000, "fee")
    assert named == []


async def test_the_quantity_of_a_dividend_is_no_movement(rig: AlpacaRig) -> None:
    (flow,), _ = await moved(rig, activity_type="DIV", symbol="SPY", qty="100", net_amount="5.00")
    assert (flow.units_nano, flow.amount_micro, flow.booking) == (0, 5_000_000, "dividend")


@pytest.mark.long
@pytest.mark.parametrize("kind", ["REWARD", "STK", "XYZ", "CRYPTOAIR", "01"])
@pytest.mark.parametrize(("qty", "booking"), [("0.5", "interest"), ("-0.5", "fee")])
async def test_units_of_an_unknown_kind_are_booked_and_named(rig: AlpacaRig, kind: str, qty: str, booking: str) -> None:
    (flow,), named = await moved(rig, activity_type=kind, symbol="BTCUSD", qty=qty)
    assert flow.booking == booking
    (text,) = named
    assert f"an activity of the unknown type {kind!r} was booked as {booking}" in text


@pytest.mark.parametrize("kind", ["REWARD", "XYZ"])
async def test_cash_of_an_unknown_kind_is_booked_and_named(rig: AlpacaRig, kind: str) -> None:
    (flow,), (text,) = await moved(rig, activity_type=kind, net_amount="1.50")
    assert (flow.amount_micro, flow.booking) == (1_500_000, "flow")
    assert "was booked as a deposit or withdrawal" in text


@pytest.mark.parametrize("kind", ["SPLIT", "SPIN", "MA", "NC"])
async def test_a_corporate_action_moves_nothing_a_second_time(rig: AlpacaRig, kind: str) -> None:
    assert await moved(rig, activity_type=kind, symbol="SPY", qty="100") == ([], [])
    assert await rig.broker.flows(0) == []


async def test_a_coin_outside_the_universe_is_named_and_not_booked(rig: AlpacaRig) -> None:
    flows, (text,) = await moved(rig, activity_type="CFEE", symbol="DOGEUSD", qty="-2")
    assert flows == []
    assert "CFEE of -2 DOGEUSD is in no book" in text


@pytest.mark.parametrize("status", ["canceled", "pending"])
async def test_what_is_not_executed_moves_nothing(rig: AlpacaRig, status: str) -> None:
    flows, _ = await moved(rig, activity_type="CFEE", symbol="BTCUSD", qty="-2", status=status)
    assert flows == []


async def test_an_activity_without_a_date_is_booked_if_it_appeared_since_the_first_list(rig: AlpacaRig) -> None:
    flows, named = await moved(rig, id="01JT2QJ8X3KZ4", activity_type="FEE", net_amount="-0.02", date="")
    assert flows == []
    assert len(named) == 1
    flows, named = await moved(rig, id="01JT2QJ8X3KZ5", activity_type="FEE", net_amount="-0.03", date="")
    assert [(flow.id, flow.amount_micro) for flow in flows] == [("01JT2QJ8X3KZ5", -30_000)]
    again = list(await rig.broker.flows(0))
    assert again == flows, "with the time of its first appearance"
