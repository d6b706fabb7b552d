"""The account at Alpaca: each field that is decoded changes what the daemon hears of it, or has a written reason."""

import time
from collections.abc import AsyncIterator
from typing import Final

import pytest
from msgspec.structs import fields

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.adapters.brokers.alpaca.wire import Account, Position
from quantd.trading.instruments import Instrument, Universe
from quantd.trading.ports import VenueAccount
from tests.support.venues.alpaca import AlpacaServer
from tests.support.venues.alpaca_book import Listed

UNIVERSE: Final = Universe((Instrument("SPY"), Instrument("BTC/USD", lot_nano=100_000)))

OTHER: Final[dict[str, object]] = {
    "status": "ACCOUNT_UPDATED",
    "cash": "5.25",
    "currency": "EUR",
    "equity": "1.00",
    "buying_power": "7.00",
    "non_marginable_buying_power": "3.00",
    "multiplier": "4",
    "trading_blocked": True,
    "account_blocked": True,
    "trade_suspended_by_user": True,
    "crypto_status": "INACTIVE",
    "account_number": "LIVE-OTHER-9",
}
OF_POSITION: Final[dict[str, object]] = {
    "asset_id": Listed("BTC/USD", number=2).json()["id"], "symbol": "TLT", "qty": "3", "side": "short",
    "qty_available": "4",
}  # fmt: skip
UNREAD: Final = {
    "market_value": "the emergency exit shows it; the books value positions at their own marks",
}


class Changed:
    """A venue whose account and position have other values than its book."""

    def __init__(self, server: AlpacaServer) -> None:
        self.account: dict[str, object] = {}
        self.position: dict[str, object] = {}
        account, positions = server.book.account_json, server.book.positions_json
        server.book.account_json = lambda: account() | self.account  # type: ignore[method-assign]
        server.book.positions_json = lambda: [row | self.position for row in positions()]  # type: ignore[method-assign]


@pytest.fixture
async def venue() -> AsyncIterator[tuple[Alpaca, Changed]]:
    server = AlpacaServer(cash="1000")
    await server.start()
    server.list("SPY", "400.00")
    server.list("BTC/USD", "90000.00")
    server.book.positions["SPY"] = server.book.cash / 100
    settings = AlpacaSettings(
        url=server.url, stream_url=server.stream_url, key=server.key, secret=server.secret, per_minute=100_000
    )
    broker = Alpaca(settings, UNIVERSE, "run00001", time.time_ns)
    await broker.open()
    yield broker, Changed(server)
    await broker.close()
    await server.stop()


def stamped(account: VenueAccount) -> tuple[object, ...]:
    return tuple(getattr(account, field.name) for field in fields(account) if field.name != "ts")


@pytest.mark.parametrize(
    ("part", "name"),
    [("account", field.name) for field in fields(Account)] + [("position", field.name) for field in fields(Position)],
)
async def test_every_field_of_the_account_and_of_a_position_is_heard_of(
    venue: tuple[Alpaca, Changed], part: str, name: str
) -> None:
    broker, changed = venue
    other_values: dict[str, object] = {"account": OTHER, "position": OF_POSITION}[part]
    assert (name in other_values) + (name in UNREAD) == 1, f"nobody reads {name}"
    before = stamped(await broker.account())
    if name in other_values:
        setattr(changed, part, {name: other_values[name]})
        assert stamped(await broker.account()) != before


async def test_a_venue_that_reports_no_available_quantity_lets_the_position_be_closed(
    venue: tuple[Alpaca, Changed],
) -> None:
    broker, changed = venue
    changed.position = {"qty_available": None}
    assert (await broker.account()).available == (10, 0)
