"""The gateway of the tests is one that ib_async, written by others for Interactive Brokers, takes for the real one."""

from decimal import Decimal
from typing import Any

import pytest

from tests.support.mqtt import until
from tests.support.running_server import running_server
from tests.support.venues.ibkr import Gateway

official = pytest.importorskip("ib_async", reason="ib_async is not installed (the extra ibkr)")


@running_server
def venue() -> Gateway:
    gateway = Gateway()
    gateway.add("SPY", "400.00")
    gateway.add("HARD", "20.00", size_increment=Decimal(1))
    return gateway


async def connected(gateway: Gateway, client_id: int = 7) -> Any:
    ib = official.IB()
    ib.RaiseRequestErrors = True
    await ib.connectAsync("127.0.0.1", gateway.port, clientId=client_id, timeout=5)
    return ib


def order(qty: float, price: float, **more: Any) -> Any:
    return official.LimitOrder("BUY" if qty > 0 else "SELL", abs(qty), price, **more)


async def contract(ib: Any, symbol: str = "SPY") -> Any:
    (details,) = await ib.reqContractDetailsAsync(official.Stock(symbol, "SMART", "USD"))
    return details.contract


async def test_it_reads_account_contracts_clock_and_positions(venue: Gateway) -> None:
    venue.positions["SPY"] = Decimal(12)
    venue.other_cash["EUR"] = Decimal(500)
    ib = await connected(venue)
    assert ib.managedAccounts() == ["DU1234567"]
    cash = {value.currency: value.value for value in ib.accountValues() if value.tag == "CashBalance"}
    assert cash == {"USD": "1000000", "BASE": "1000000", "EUR": "500"}
    (details,) = await ib.reqContractDetailsAsync(official.Stock("HARD", "SMART", "USD"))
    assert (details.contract.conId, details.sizeIncrement, details.minTick) == (venue.listed["HARD"].con_id, 1.0, 0.01)
    (position,) = await ib.reqPositionsAsync()
    assert (position.contract.symbol, position.position) == ("SPY", 12.0)
    assert abs((await ib.reqCurrentTimeAsync()).timestamp() - venue.now() / 1e9) < 2
    with pytest.raises(Exception, match="No security definition"):
        await ib.reqContractDetailsAsync(official.Stock("NOPE", "SMART", "USD"))
    ib.disconnect()


async def test_an_order_is_placed_filled_and_paid_for(venue: Gateway) -> None:
    ib = await connected(venue)
    trade = ib.placeOrder(await contract(ib), order(10, 399.5, orderRef="ours-1", tif="DAY"))
    await until(lambda: trade.orderStatus.status == "Submitted")
    (placed,) = venue.orders
    assert (placed.ref, placed.qty, placed.limit, placed.tif, placed.kind) == (
        "ours-1",
        10,
        Decimal("399.5"),
        "DAY",
        "LMT",
    )
    assert trade.orderStatus.permId == placed.perm_id
    venue.fill(placed, Decimal(4), Decimal("399.40"))
    await until(lambda: trade.filled() == 4)
    venue.fill(placed, Decimal(6), Decimal("399.50"))
    await until(lambda: trade.orderStatus.status == "Filled")
    assert [(fill.execution.shares, fill.execution.cumQty, fill.execution.orderRef) for fill in trade.fills] == [
        (4.0, 4.0, "ours-1"),
        (6.0, 10.0, "ours-1"),
    ]
    assert [fill.commissionReport.commission for fill in trade.fills] == [1.0, 1.0]
    assert venue.cash == Decimal(1000000) - 4 * Decimal("399.40") - 6 * Decimal("399.50") - 2
    ib.disconnect()


async def test_the_status_may_come_before_its_execution(venue: Gateway) -> None:
    ib = await connected(venue)
    trade = ib.placeOrder(await contract(ib), order(10, 399.5, orderRef="ours-2"))
    await until(lambda: bool(venue.orders))
    seen: list[str] = []
    trade.statusEvent += lambda t: seen.append(f"{t.orderStatus.status} with {len(t.fills)} fills")
    venue.fill(venue.orders[0], Decimal(10), Decimal("399.50"), status_first=True)
    await until(lambda: len(trade.fills) == 1)
    assert "Filled with 0 fills" in seen
    ib.disconnect()


async def test_a_connection_lost_between_status_and_execution_leaves_the_execution_to_a_question(
    venue: Gateway,
) -> None:
    ib = await connected(venue)
    trade = ib.placeOrder(await contract(ib), order(10, 399.5, orderRef="ours-3"))
    await until(lambda: trade.orderStatus.status == "Submitted")
    venue.fill(venue.orders[0], Decimal(10), Decimal("399.50"), say_execution=False)
    await until(lambda: trade.orderStatus.status == "Filled")
    venue.cut()
    await until(lambda: not ib.isConnected())
    assert trade.fills == []  # the client says "Filled", and has no fill
    again = await connected(venue)
    assert [(f.execution.orderRef, f.execution.shares) for f in await again.reqExecutionsAsync()] == [("ours-3", 10.0)]
    again.disconnect()


async def test_open_and_ended_orders_are_listed_and_cancelled(venue: Gateway) -> None:
    ib = await connected(venue)
    first = ib.placeOrder(await contract(ib), order(10, 350.0, orderRef="a"))
    second = ib.placeOrder(await contract(ib), order(5, 340.0, orderRef="b"))
    await until(lambda: len(venue.orders) == 2 and second.orderStatus.status == "Submitted")
    by_hand = venue.place("SPY", "-3", "500")
    ib.cancelOrder(first.order)
    await until(lambda: first.orderStatus.status == "Cancelled")
    assert {t.order.permId for t in await ib.reqAllOpenOrdersAsync()} == {venue.orders[1].perm_id, by_hand.perm_id}
    completed = await ib.reqCompletedOrdersAsync(False)
    assert [(t.order.orderRef, t.orderStatus.status) for t in completed] == [("a", "Cancelled")]
    ib.reqGlobalCancel()
    await until(lambda: not any(o.open for o in venue.orders))
    ib.disconnect()


@pytest.mark.parametrize(
    ("symbol", "qty", "price", "code"),
    [("SPY", 10, 399.503, 110), ("HARD", 1.5, 20.0, 10243), ("SPY", 1_000_000, 400.0, 201)],
)
async def test_refusals_have_the_codes_of_the_vendor(
    venue: Gateway, symbol: str, qty: float, price: float, code: int
) -> None:
    ib = await connected(venue)
    errors: list[int] = []
    ib.errorEvent += lambda id, code, words, contract: errors.append(code)
    ib.placeOrder(await contract(ib, symbol), order(qty, price))
    await until(lambda: code in errors)
    assert venue.orders == []
    ib.disconnect()


async def test_a_client_id_is_used_once(venue: Gateway) -> None:
    ib = await connected(venue)
    second = official.IB()
    errors: list[int] = []
    second.errorEvent += lambda id, code, words, contract: errors.append(code)
    with pytest.raises((TimeoutError, ConnectionError)):
        await second.connectAsync("127.0.0.1", venue.port, clientId=7, timeout=0.5)
    assert errors == [326]
    ib.disconnect()
