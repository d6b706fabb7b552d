"""Each habit of the local venue is as its source says, and the adapter and the books live with it."""

from decimal import Decimal

import pytest

from quantd.adapters.exchange.refusal_words import Outcome
from quantd.trading.instruments import NANO
from quantd.trading.orders import Cause, OrderState
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.alpaca import alpaca_scene
from tests.proofs.conformance.scene import Scene
from tests.support.venues import alpaca_habits

__all__ = ["alpaca_scene"]

PAIR, SHARE = 5, 0


async def bought(s: Scene, column: int, lots: int, price: int) -> None:
    basket = await s.rest(Row(column, lots))
    await s.rig.fill(basket, 0, lots, price)
    await s.state(basket, OrderState.FILLED)


@pytest.mark.parametrize("late", [False, True])
async def test_the_fee_of_a_coin_is_taken_at_the_trade_and_listed_at_once_or_later(s: Scene, late: bool) -> None:
    book = s.rig.server.book
    book.habits.coin_fee, book.habits.fees_late = Decimal("0.0025"), late
    await bought(s, PAIR, 1000, 60_000 * NANO)
    assert book.positions["BTC/USD"] == Decimal("0.1") - Decimal("0.00025")
    flows = await s.broker.flows(0)
    assert [f.units_nano for f in flows] == ([] if late else [-250_000])
    alpaca_habits.list_fees(book)
    (flow,) = await s.broker.flows(0)
    assert (flow.units_nano, flow.kind, flow.symbol) == (-250_000, "fee", "BTC/USD")
    account = await s.broker.account()
    assert (account.lots[PAIR], account.odd) == (997, (("BTC/USD", "0.00005"),))


@pytest.mark.parametrize(
    ("set_up", "words"),
    [
        ({"wash_trades": True}, "potential wash trade detected"),
        ({"least_cost": Decimal(10**9)}, "cost basis must be >= minimal amount of order"),
    ],
)
async def test_a_habit_refuses_with_the_venues_words_and_the_adapter_knows_them(
    s: Scene, set_up: dict[str, object], words: str
) -> None:
    from quantd.adapters.brokers.alpaca.refusals import alpaca_outcome

    await bought(s, PAIR, 1000, 60_000 * NANO)
    await s.rest(Row(PAIR, 10))
    for name, value in set_up.items():
        setattr(s.rig.server.book.habits, name, value)
    (report,) = await s.broker.submit(s.decide(Row(PAIR, -1000)))
    assert report.cause == [Cause.REJECTED]  # type: ignore[union-attr]
    assert report.reason.startswith(words)  # type: ignore[union-attr]
    assert alpaca_outcome(403, 0, report.reason) is Outcome.REFUSED  # type: ignore[union-attr]


@pytest.mark.parametrize("inactive", [True, False])
async def test_a_delisting_ends_orders_and_leaves_the_position(s: Scene, inactive: bool) -> None:
    basket = await s.rest(Row(SHARE, 10))
    await s.rig.hold(SHARE, 30)
    alpaca_habits.delist(s.rig.server.book, "SPY", inactive=inactive)
    await s.state(basket, OrderState.CANCELLED)
    assert (await s.broker.account()).lots[SHARE] == 30
    later = await s.adapter()
    assert list(later.untradable) == [SHARE]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- least values


@pytest.mark.parametrize(("column", "lots", "sent"), [(PAIR, 1, 1), (PAIR, 5, 1), (3, 1, 0), (3, 2, 1), (2, 1, 0)])
async def test_an_order_below_the_venues_least_values_is_not_sent(s: Scene, column: int, lots: int, sent: int) -> None:
    (report,) = await s.broker.submit(s.decide(Row(column, lots)))
    assert s.rig.requests("submit") == sent
    if not sent:
        assert report.cause == [Cause.REJECTED]  # type: ignore[union-attr]
        assert "less than the venue's least order" in report.reason  # type: ignore[union-attr]


@pytest.mark.parametrize("least", ["0.0002", "0.01", "1"])
async def test_the_least_size_of_a_pair_is_that_of_its_asset(s: Scene, least: str) -> None:
    asset = s.rig.server.book.assets["BTC/USD"]
    listed = asset.json
    asset.json = lambda: listed() | {"min_order_size": least}  # type: ignore[method-assign]
    broker = await s.adapter()
    lots = int(Decimal(least) * 10_000)
    (report,) = await broker.submit(s.rig.basket(Row(PAIR, lots - 1)))
    assert report.reason.startswith("not sent: ")  # type: ignore[union-attr]
    assert f"least order of {least}" in report.reason  # type: ignore[union-attr]
    (report,) = await broker.submit(s.rig.basket(Row(PAIR, lots)))
    assert not report.reason.startswith("not sent: ")  # type: ignore[union-attr]
