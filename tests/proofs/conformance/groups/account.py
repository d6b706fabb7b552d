"""The account as the venue has it: cash, holdings with sign, orders of ours and of others, and cash that moved."""

import pytest

from quantd.adapters.brokers.venue_errors import KeysRefused, VenueError
from quantd.trading.events import Condition
from quantd.trading.orders import Kind, OrderState
from tests.proofs.conformance.cases import add, case
from tests.proofs.conformance.rig import CASH_MICRO, Row
from tests.proofs.conformance.scene import Scene


@case("account")
async def cash_and_currency_are_the_venues(s: Scene) -> None:
    account = await s.broker.account()
    assert account.currency == s.rig.universe.currency
    assert account.cash_micro == CASH_MICRO
    assert account.lots == (0,) * s.rig.universe.size
    assert account.blocked == ""
    assert abs(account.ts - s.rig.now()) < 5_000_000_000


@case("account")
async def cash_after_fills_is_ours_to_the_micro(s: Scene) -> None:
    column = s.column("plain")
    tick = s.rig.universe.instruments[column].tick_nano
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 3, s.rig.price_nano(column) - tick)
    await s.rig.fill(basket, 0, 7, s.rig.price_nano(column) + tick)
    await s.state(basket, OrderState.FILLED)
    account = await s.broker.account()
    assert (account.lots, account.cash_micro) == (s.books.truth().lots, s.books.truth().cash_micro)


@case("account")
async def a_long_holding_is_lots_of_its_column(s: Scene) -> None:
    s.compare = False
    await s.rig.hold(s.column("plain"), 30)
    await s.rig.hold(s.column("fine"), 1237)
    account = await s.broker.account()
    assert account.lots == s.rig.truth().lots
    assert account.lots[s.column("plain")] == 30
    assert account.lots[s.column("fine")] == 1237
    assert account.odd == ()


@case("account")
async def a_short_holding_is_negative(s: Scene) -> None:
    s.compare = False
    await s.rig.hold(s.column("short"), -30)
    assert (await s.broker.account()).lots[s.column("short")] == -30


@case("account")
async def less_than_a_lot_is_told_apart(s: Scene) -> None:
    s.compare = False
    column = s.column("fine")
    await s.rig.hold(column, 10)
    await s.rig.odd(column)
    account = await s.broker.account()
    assert account.lots[column] == 10
    ((symbol, size),) = account.odd
    assert symbol == s.rig.universe.symbols[column]
    assert 0 < float(size) * 1e9 < s.rig.universe.lot_nano[column]


@case("account")
async def a_holding_outside_the_universe_is_listed(s: Scene) -> None:
    s.compare = False
    name = await s.rig.outside()
    account = await s.broker.account()
    assert [symbol for symbol, _ in account.others] == [name]
    assert account.lots == (0,) * s.rig.universe.size


@case("account")
async def our_open_orders_are_known_by_their_rows(s: Scene) -> None:
    column = s.column("plain")
    first = await s.rest(Row(column, 10), Row(s.column("other"), 20))
    await s.rig.fill(first, 0, 4, s.rig.price_nano(column))
    second = await s.rest(Row(column, 5))
    await s.cancel(second)
    await s.state(second, OrderState.CANCELLED)
    account = await s.broker.account()
    assert {(o.sample, o.n, o.row, o.cum) for o in account.ours} == {
        (first.sample, first.n, 0, 4),
        (first.sample, first.n, 1, 0),
    }
    assert account.foreign == ()


@case("account")
async def an_order_of_somebody_else_is_listed_apart(s: Scene) -> None:
    column = s.column("plain")
    limit = s.rig.price_nano(column) * 9 // 10
    tick = s.rig.universe.instruments[column].tick_nano
    await s.rest(Row(column, 10))
    venue_id = await s.rig.foreign_order(column, 5, limit // tick * tick)
    account = await s.broker.account()
    assert [(o.venue_id, o.symbol, o.lots, o.limit_nano) for o in account.foreign] == [
        (venue_id, column, 5, limit // tick * tick)
    ]
    assert len(account.ours) == 1


@case("account")
async def an_open_order_is_told_with_the_venues_quantity_and_prices(s: Scene) -> None:
    column = s.column("plain")
    tick = s.rig.universe.instruments[column].tick_nano
    await s.rig.hold(column, 30)
    s.compare = False
    price = s.rig.price_nano(column) // tick * tick
    low = price * 4 // 5 // tick * tick
    limit = price * 19 // 20 // tick * tick
    buys = await s.rest(Row(column, 7, worst_nano=limit))
    stop = await s.rest(Row(column, -30, kind=Kind.STOP, stop_nano=low, worst_nano=low // 2 // tick * tick, end=0))
    order_by_key = {(o.sample, o.n): o for o in (await s.broker.account()).ours}
    for basket, stop_nano in ((buys, 0), (stop, low)):
        (there,) = s.rig.has(basket, 0)
        order = order_by_key[basket.sample, basket.n]
        assert (order.lots, order.limit_nano, order.stop_nano) == (there.lots, there.limit_nano, there.stop_nano)
        assert (order.lots, order.stop_nano) == (basket.lots[0], stop_nano)
        assert 0 < order.tick_nano <= tick


async def with_lots(s: Scene) -> tuple[int, int]:
    """A column with 30 lots, and a limit on a tick that no sale of them meets."""
    column = s.column("plain")
    tick = s.rig.universe.instruments[column].tick_nano
    await s.rig.hold(column, 30)
    s.compare = False
    return column, s.rig.price_nano(column) * 6 // 5 // tick * tick


@case("account")
async def lots_that_an_order_of_somebody_else_holds_cannot_be_closed(s: Scene) -> None:
    column, limit = await with_lots(s)
    assert (await s.broker.account()).available[column] == 30
    await s.rig.foreign_order(column, -12, limit)
    account = await s.broker.account()
    assert (account.lots[column], account.available[column]) == (30, 18)


@case("account")
async def lots_that_our_own_orders_hold_can_be_closed(s: Scene) -> None:
    column, limit = await with_lots(s)
    basket = await s.rest(Row(column, -20, worst_nano=limit))
    await s.rig.fill(basket, 0, 5, basket.worst_nano[0])
    account = await s.broker.account()
    assert (account.lots[column], account.available[column]) == (25, 25)


@case("account")
async def an_order_of_before_a_restart_is_foreign_until_remembered(s: Scene) -> None:
    basket = await s.rest(Row(s.column("plain"), 10))
    second = await s.adapter()
    assert len((await second.account()).foreign) == 1
    second.remember(basket)
    account = await second.account()
    assert (len(account.ours), len(account.foreign)) == (1, 0)


@case("account")
async def open_orders_take_from_the_buying_power(s: Scene) -> None:
    before = (await s.broker.account()).buying_power_micro
    if before is None:
        return
    await s.rest(Row(s.column("plain"), 10))
    after = (await s.broker.account()).buying_power_micro
    assert after is not None
    assert after < before


@case("account")
async def a_blocked_account_says_why(s: Scene) -> None:
    await s.rig.block()
    try:
        blocked = (await s.broker.account()).blocked
    except VenueError as refused:
        blocked = str(refused)
    assert blocked


@case("account")
async def revoked_keys_are_named_by_the_account_and_by_the_next_order(s: Scene) -> None:
    s.compare = False
    await s.rig.revoke()
    with pytest.raises(KeysRefused, match="refuses the keys"):
        await s.broker.account()
    await s.send(Row(s.column("plain"), 10))

    def named() -> bool:
        down = [message for message in s.books.news if isinstance(message, Condition) and not message.up]
        return any("refuses the keys" in condition.detail or "Authentication" in condition.detail for condition in down)

    await s.until(named, "nobody says that the keys are refused")


@case("account")
async def a_trade_by_hand_shows_in_lots_and_cash(s: Scene) -> None:
    s.compare = False
    column = s.column("plain")
    await s.rig.foreign_trade(column, 5, s.rig.price_nano(column))
    account = await s.broker.account()
    assert (account.lots, account.cash_micro) == (s.rig.truth().lots, s.rig.truth().cash_micro)
    assert account.lots[column] == 5


@case("account")
async def an_account_that_nobody_reaches_is_a_connection_error(s: Scene) -> None:
    await s.rig.down()
    with pytest.raises(ConnectionError):
        await s.broker.account()
    with pytest.raises(ConnectionError):
        await s.broker.flows(0)
    await s.rig.up()
    assert (await s.broker.account()).cash_micro == CASH_MICRO


@case("account")
async def an_account_that_is_not_json_is_a_connection_error(s: Scene) -> None:
    await s.rig.misbehave("malformed", "account", 5)
    with pytest.raises(ConnectionError):
        await s.broker.account()


def _flow(kind: str, amount_micro: int) -> None:
    async def run(s: Scene) -> None:
        since = s.rig.now()
        await s.rig.settle()
        column = s.column("plain") if kind == "dividend" else -1
        await s.rig.flow(kind, amount_micro, column)
        await s.rig.settle()
        (flow,) = await s.broker.flows(since)
        assert (flow.kind, flow.amount_micro) == (kind, amount_micro)
        assert since < flow.ts <= s.rig.now()
        assert flow.symbol == (s.rig.universe.symbols[column] if column >= 0 else "")
        s.books.flow([flow])
        s.books.flow(await s.broker.flows(since))
        assert (await s.broker.account()).cash_micro == s.books.truth().cash_micro

    add("account", f"a {kind} is a flow, taken once", run)


_flow("deposit", 5_000_250_000)
_flow("withdrawal", -1_000_000_000)
_flow("dividend", 12_340_000)
_flow("fee", -20_000)
_flow("interest", 310_000)


@case("account")
async def fills_are_not_flows(s: Scene) -> None:
    column = s.column("plain")
    since = s.rig.now() - 1_000_000_000
    basket = await s.rest(Row(column, 10))
    await s.rig.fill(basket, 0, 10, s.rig.price_nano(column))
    await s.state(basket, OrderState.FILLED)
    assert list(await s.broker.flows(since)) == []


@case("account")
async def flows_come_oldest_first_and_only_those_since(s: Scene) -> None:
    await s.rig.flow("deposit", 1_000_000)
    await s.rig.settle()
    since = s.rig.now()
    await s.rig.settle()
    for amount in (2_000_000, 3_000_000, 4_000_000):
        await s.rig.flow("deposit", amount)
        await s.rig.settle()
    flows = await s.broker.flows(since)
    assert [flow.amount_micro for flow in flows] == [2_000_000, 3_000_000, 4_000_000]
    assert len({flow.id for flow in flows}) == 3
    s.books.flow(await s.broker.flows(0))


@case("account")
async def what_the_venue_does_not_lend_is_said_with_the_account(s: Scene) -> None:
    assert s.column("unshortable") in (await s.broker.account()).unlent
