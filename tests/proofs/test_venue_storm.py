"""The short form of `tests.proofs.order_storm --venue`, and that its evaluator finds what it looks for."""

from decimal import Decimal
from pathlib import Path

import pytest

from tests.proofs.live_day import VENUES, Account, Arrived, World
from tests.proofs.venue_storm import Evaluator, Storm, storm


@pytest.mark.long
@pytest.mark.parametrize(
    "venue", [pytest.param(venue, marks=[pytest.mark.slow] if venue != "alpaca" else []) for venue in VENUES]
)
async def test_two_books_in_opposite_directions_never_trade_with_each_other_nor_keep_each_other_in(
    tmp_path: Path, venue: str
) -> None:
    if venue != "alpaca":
        pytest.importorskip("ib_async" if venue == "ibkr" else "ccxt")
    found = await storm(tmp_path, venue, 60, seed=1)
    assert found.faults == []
    assert found.arrived >= 60
    assert found.exits


def order(id: str, limit: str, units: str, *, buys: bool) -> Arrived:
    return Arrived(id, "BTC/USD", buys, Decimal(units), Decimal(limit))


def test_the_evaluator_finds_an_own_trade_and_a_breach(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world, found = World(tmp_path, 1.0, 0), Storm()
    rests = [order("a", "91000", "0.1", buys=False)]
    account = Account(dict.fromkeys(world.price, Decimal(0)), Decimal(100_000), world.account().placed)
    monkeypatch.setattr(world, "open_orders", lambda: rests)
    monkeypatch.setattr(world, "account", lambda: account)
    look = Evaluator(world, found)
    look(order("b", "90500", "0.1", buys=True))
    assert found.faults == []
    look(order("c", "91000", "0.1", buys=True))
    assert len(found.own_trades) == 1
    look(order("d", "90000", "0.4", buys=True))
    assert [text.partition(": ")[2].split()[0] for text in found.breaches] == ["weight", "notional"]
