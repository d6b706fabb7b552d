"""One bad item never blocks its list: every field of an item of every list is replaced by what nobody can read.

A list is a row of a table: how it is read, and where the venue writes one item of it. The other items are read as
before, whatever the one becomes; an item that is lost is named once.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from importlib.util import find_spec
from typing import Any

import msgspec
import pytest

from quantd.adapters.brokers.alpaca.account import open_orders
from quantd.adapters.brokers.alpaca.market import read_listing
from quantd.adapters.brokers.unreadable import NAMED, Unreadable
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.alpaca import UNIVERSE, AlpacaRig
from tests.proofs.conformance.rigs.ccxt import CcxtRig

Json = dict[str, Any]

VALUES = (None, 7, -1.5, "", "abc", "NaN", "1e999", [], {}, True)


def mutations(item: Json) -> Iterator[Any]:
    """An item without each field, with each field as each value, and no object at all."""
    for name in [name for name in item if name != "_at"]:
        yield {k: v for k, v in item.items() if k != name}
        for value in VALUES:
            yield item | {name: value}
    yield from (None, 7, "text", [], {})


# ---------------------------------------------------------------- the collection


def test_each_item_is_named_once_and_a_flood_is_counted() -> None:
    aside = Unreadable(lambda text: text.replace("secret", "***"))
    for _ in range(3):
        aside.add("activity", b'{"id": "secret"}', ValueError("no date"))
    assert list(aside.taken()) == [
        'an unreadable activity of the venue was set aside (no date): {"id": "***"}',
    ]
    assert aside.taken() == []
    for k in range(NAMED + 4):
        aside.add("order", {"id": k}, "odd")
    texts = aside.taken()
    assert len(texts) == NAMED + 1
    assert texts[-1] == "4 more items of the venue were set aside or named"
    assert aside.count == 3 + NAMED + 4


# ---------------------------------------------------------------- Alpaca


@pytest.fixture
async def alpaca() -> AsyncIterator[AlpacaRig]:
    rig = AlpacaRig()
    await rig.start()
    book = rig.server.book
    for column, lots in ((0, 10), (1, 20), (2, 3000), (5, 400)):
        await rig.hold(column, lots)
    for k in range(8):
        await rig.flow(("deposit", "fee", "interest", "withdrawal")[k % 4], 1_000_000 * (k + 1))
        await rig.foreign_order(k % 2, 1 + k, 90_000_000_000)
        await rig.foreign_trade(0, 1, 90_000_000_000)
    book.cash = Decimal(1_000_000)
    yield rig
    await rig.stop()


async def _flows(rig: AlpacaRig) -> set[str]:
    return {flow.id for flow in await rig.broker.flows(0)}


async def _trades(rig: AlpacaRig) -> set[str]:
    return {trade.id for trade in await rig.broker.trades(0)}  # type: ignore[attr-defined]


async def _positions(rig: AlpacaRig) -> set[str]:
    account = await rig.broker.account()
    return {UNIVERSE.symbols[k] for k, lots in enumerate(account.lots) if lots}


async def _orders(rig: AlpacaRig) -> set[str]:
    return {order.id for order in await open_orders(rig.broker._rest)}  # type: ignore[attr-defined]


async def _assets(rig: AlpacaRig) -> set[str]:
    """The assets of a universe that is too large to be asked for one by one."""
    many = msgspec.structs.replace(UNIVERSE, instruments=UNIVERSE.instruments * 8)
    return set((await read_listing(rig.broker._rest, many)).assets)  # type: ignore[attr-defined]


def _activity(rig: AlpacaRig, kind: str) -> tuple[str, Json, Callable[[Any], None]]:
    activities = rig.server.book.activities
    at = [k for k, activity in enumerate(activities) if (activity["activity_type"] == "FILL") == (kind == "FILL")][3]
    _, item, write = _planted(rig, "activities", "id", activities, at)
    return item["id"], {k: v for k, v in item.items() if k != "_at"}, write


def _planted(
    rig: AlpacaRig, name: str, key: str, items: list[Json], at: int
) -> tuple[str, Json, Callable[[Any], None]]:
    def write(value: Any) -> None:
        rig.server.planted = {name: {at: value}}

    return str(items[at][key]), items[at], write


ALPACA: dict[str, tuple[Callable[[AlpacaRig], Awaitable[set[str]]], Callable[[AlpacaRig], Any]]] = {
    "cash flows": (_flows, lambda rig: _activity(rig, "flow")),
    "executions": (_trades, lambda rig: _activity(rig, "FILL")),
    "positions": (
        _positions, lambda rig: _planted(rig, "positions", "symbol", rig.server.book.positions_json(), 1),
    ),
    "open orders": (
        _orders,
        lambda rig: _planted(
            rig, "orders", "id",
            [rig.server.book.order_json(o) for o in rig.server.book.orders.values() if o.open], 3,
        ),
    ),
    "assets": (
        _assets,
        lambda rig: _planted(rig, "assets", "symbol", [a.json() for a in rig.server.book.assets.values()], 1),
    ),
}  # fmt: skip


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("name", ALPACA)
async def test_a_bad_item_of_a_list_of_alpaca_loses_itself_only(alpaca: AlpacaRig, name: str) -> None:
    read, place = ALPACA[name]
    all_items = await read(alpaca)
    key, item, write = place(alpaca)
    assert key in all_items
    lost = 0
    for value in mutations(item):
        write(value)
        alpaca.broker.set_aside()  # type: ignore[attr-defined]
        readable = await read(alpaca)
        assert all_items - {key} <= readable, (name, value)
        lost += key not in readable
    # an asset that the list lacks is asked for by its symbol
    assert lost >= 5 or name == "assets"
    alpaca.server.planted = {}
    assert await read(alpaca) == all_items


async def test_a_position_that_cannot_be_read_is_not_compared_and_not_gone(alpaca: AlpacaRig) -> None:
    items = alpaca.server.book.positions_json()
    column = UNIVERSE.symbols.index("TLT")
    for value in mutations(items[1]):
        alpaca.server.planted = {"positions": {1: value}}
        account = await alpaca.broker.account()
        read = account.lots[column] == 20 or account.lots[column] < 0 or account.others
        assert read or column in account.unread or (isinstance(value, dict) and "qty" in value), value
    alpaca.server.planted = {"positions": {1: {"qty": "5"}}}
    account = await alpaca.broker.account()
    # the columns without any other position: one of them is it
    assert account.unread == tuple(k for k, lots in enumerate(account.lots) if not lots)


async def test_a_bad_item_at_the_end_of_a_page_hides_no_later_page(alpaca: AlpacaRig) -> None:
    for k in range(230):
        await alpaca.flow("interest", 10_000 + k)
    all_flows = await _flows(alpaca)
    for at in (99, 100, 199, 237):
        alpaca.server.planted = {"activities": {at: {"id": 7, "activity_type": "INT"}}}
        assert len(all_flows - await _flows(alpaca)) <= 1, at


# ---------------------------------------------------------------- Kraken, through ccxt

needs_ccxt = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")


@pytest.fixture
async def kraken() -> AsyncIterator[CcxtRig]:
    rig = CcxtRig()
    await rig.start()
    for column in (0, 1):
        await rig.hold(column, 50)
    for k in range(6):
        await rig.flow(("deposit", "interest", "withdrawal")[k % 3], 1_000_000 * (k + 1))
        await rig.foreign_order(k % 2, 1 + k, 90_000_000_000)
        basket = rig.basket(Row(0, 3))
        await rig.broker.submit(basket)
        await rig.fill(basket, 0, 3, 150_000_000_000)
    yield rig
    await rig.stop()


async def _k_flows(rig: CcxtRig) -> set[str]:
    return {flow.id for flow in await rig.broker.flows(1)}


async def _k_trades(rig: CcxtRig) -> set[str]:
    return {trade.id for trade in await rig.broker.trades(1)}  # type: ignore[attr-defined]


async def _k_orders(rig: CcxtRig) -> set[str]:
    return {order.venue_id for order in (await rig.broker.account()).foreign}


async def _k_balances(rig: CcxtRig) -> set[str]:
    account = await rig.broker.account()
    return {rig.universe.symbols[k] for k, lots in enumerate(account.lots) if lots and k not in account.unread}


KRAKEN: dict[str, tuple[Callable[[CcxtRig], Awaitable[set[str]]], str, str]] = {
    "cash flows": (_k_flows, "ledgers", "ledger"),
    "executions": (_k_trades, "tradeshistory", "trades"),
    "open orders": (_k_orders, "openorders", "open"),
    "balances": (_k_balances, "balanceex", ""),
}


@pytest.mark.quick_cases(1)
@needs_ccxt
@pytest.mark.parametrize("name", KRAKEN)
async def test_a_bad_item_of_a_list_of_kraken_loses_itself_only(kraken: CcxtRig, name: str) -> None:
    read, path, part = KRAKEN[name]
    all_items = await read(kraken)
    assert len(all_items) >= 2
    answer = getattr(kraken.venue, f"_private_{path}")
    items = answer({"consolidate_taker": "false"})
    items = items[part] if part else items
    key = kraken._pair(1).base if name == "balances" else next(k for k in items if k in all_items)
    shown = kraken.universe.symbols[1] if name == "balances" else key
    item, written = items[key], [None]

    def planted(fields: dict[str, str]) -> Any:
        venue_answer = answer(fields)
        listed = venue_answer[part] if part else venue_answer
        if key in listed:
            listed[key] = written[0]
        return venue_answer

    setattr(kraken.venue, f"_private_{path}", planted)
    lost = 0
    for value in mutations(item):
        written[0] = value
        readable = await read(kraken)
        assert all_items - {shown} <= readable, (name, value)
        lost += shown not in readable
    assert lost >= 3
    assert kraken.broker.set_aside()  # type: ignore[attr-defined]
