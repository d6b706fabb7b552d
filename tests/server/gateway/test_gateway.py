"""The gateway, driven by the vendor's own client: orders whole or refused, one order an id, the stream and restarts."""

import asyncio
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import GetOrdersRequest, MarketOrderRequest
from alpaca.trading.stream import TradingStream
from msgspec import structs
from msgspec.structs import replace

from quantd.models.artifacts.receipt import HEADER, public_key, unsealed
from quantd.risk.switch import RUN
from quantd.server.gateway.tickets import THROUGH, WITHDRAWN, Tickets
from quantd.server.requests.tokens import created
from quantd.trading.effects import Effect, Filled
from quantd.trading.events import Condition, Event, Operator, ProposalReviewed, Proposed
from quantd.trading.orders import THE_DAY, OrderBasket, Wish
from tests.server.api.routes.outside_run import OUTSIDE
from tests.server.gateway.gateway_bot import TRADING, WIDE, Bot, bot_of
from tests.support.night import LAST, Night, buy


async def test_a_program_reads_its_account_buys_holds_and_closes(bot: Bot) -> None:
    account = await bot.call(bot.client.get_account)
    assert float(account.equity) > float(account.buying_power) > 0.9 * float(account.equity)
    order = await bot.buy(3, client_order_id="first")
    assert (order.client_order_id, order.status.value in ("new", "pending_new")) == ("first", True)
    await bot.world.go(2)
    filled = await bot.call(bot.client.get_order_by_client_id, "first")
    assert (filled.status.value, filled.id, float(filled.filled_qty)) == ("filled", order.id, 3.0)
    (position,) = await bot.call(bot.client.get_all_positions)
    assert (position.symbol, float(position.qty), float(position.qty_available)) == ("SPY", 3.0, 3.0)
    assert float(position.avg_entry_price) == pytest.approx(float(filled.filled_avg_price), rel=1e-3)
    closing = await bot.call(bot.client.close_position, "SPY")
    assert (closing.side.value, float(closing.qty)) == ("sell", 3.0)
    await bot.world.go(2)
    assert await bot.call(bot.client.get_all_positions) == []
    clock = await bot.call(bot.client.get_clock)
    assert clock.is_open
    assert (await bot.call(bot.client.get_account)).created_at == account.created_at
    assert clock.next_close > clock.timestamp
    asset = await bot.call(bot.client.get_asset, "SPY")
    assert (asset.symbol, asset.tradable) == ("SPY", True)


async def test_each_answer_to_an_order_has_a_receipt_in_a_header(bot: Bot) -> None:
    headers = {"APCA-API-KEY-ID": bot.key, "APCA-API-SECRET-KEY": bot.secret}
    order = {"symbol": "SPY", "side": "buy", "type": "market", "time_in_force": "day"}
    async with aiohttp.ClientSession(headers=headers) as session:
        for id, qty, status, outcome in (("one", "3", 200, "passed"), ("two", "90000", 403, "refused")):
            body = order | {"qty": qty, "client_order_id": id}
            async with session.post(f"{bot.url}/v2/orders", json=body) as response:
                receipt, key = unsealed(response.headers[HEADER])
                assert (response.status, receipt.id, receipt.outcome) == (status, id, outcome)
                assert key == public_key(bot.world.folder)
                assert ("at most" in receipt.text) == (status == 403)
        await bot.world.go(2)
        (fill,) = unsealed(bot.world.service.receipts.find("guest", "one"))[0].fills
        assert (fill.symbol, fill.qty) == ("SPY", "3")


async def test_a_refusal_has_the_value_of_the_order_asked_and_its_bound(bot: Bot) -> None:
    """Checked by the weights themselves: the value is that of all lots asked, in each book whose limit refuses."""
    state = bot.world.service.shell.state
    for size in (130, 900):
        with pytest.raises(APIError) as refused:
            await bot.buy(size)
        said = refused.value.message
        assert (refused.value.status_code, refused.value.code) == (403, 40310000)
        assert "at most" in said
        assert "quantd why" in said
        column = state.universe.index["SPY"]
        for owner, book, bound in (("guest", 2, 0.5), ("the account", -1, 0.25)):
            told = re.search(f"max_position_weight of {owner} would be ([0-9.]+), bound {bound}", said)
            weight = (size + int(state.lots(book)[column])) * bot.mark * 1e6 / state.equity_of(book)
            assert (told is not None) == (weight > bound), (said, weight)
            if told is not None:  # the fee leaves a little less equity
                assert float(told[1]) == pytest.approx(weight, rel=1e-3)
        assert f"{size} SPY was asked for" in said
    assert await bot.call(bot.client.get_orders) == []
    assert not [work for work in state.working.values() if work.cause]


async def test_a_refusal_is_counted_as_a_refusal_and_not_as_a_cut(bot: Bot) -> None:
    tally = bot.world.service.shell.tally
    before = tally.refused, tally.clipped
    with pytest.raises(APIError, match=r"at most [1-9]"):
        await bot.buy(900)
    assert (tally.refused > before[0], tally.clipped) == (True, before[1])


async def test_an_asset_can_be_sold_short_where_the_book_may_be_short(tmp_path: Path) -> None:
    for limits, short in ((", allow_short = true", True), ("", False)):
        text = TRADING.replace(", allow_short = true", limits)
        async with bot_of(tmp_path / str(short), text) as bot:
            asset = await bot.call(bot.client.get_asset, "SPY")
            assert (asset.shortable, asset.easy_to_borrow) == (short, short)
            account = await bot.call(bot.client.get_account)
            assert account.shorting_enabled == short
            if not short:
                with pytest.raises(APIError, match="the limits allow no short position, and the book holds 0"):
                    await bot.buy(-1)


async def test_a_book_with_cut_sends_the_largest_order_that_passes_and_says_its_size(tmp_path: Path) -> None:
    """The size is the one that the refusal of the same order names without `cut`."""
    text = TRADING.replace('policy = "external"', 'policy = "external"\ncut = true')
    async with bot_of(tmp_path / "whole") as bot:
        with pytest.raises(APIError) as refused:
            await bot.buy(900)
        named = re.search("at most ([0-9]+) of 900 SPY would pass", refused.value.message)
        assert named is not None
        largest = int(named[1])
    async with bot_of(tmp_path / "cut", text) as bot:
        account = await bot.call(bot.client.get_account)
        assert float(account.cash) * 1e6 == bot.world.service.shell.state.ledger.books[2].cash_micro
        order = await bot.buy(900, client_order_id="cut")
        assert float(order.qty) <= largest
        smaller = float(order.qty)
        with pytest.raises(APIError) as again:
            await bot.buy(900, client_order_id="cut")
        assert again.value.code == 40010001
        await bot.world.go(2)
        filled = await bot.call(bot.client.get_order_by_client_id, "cut")
        assert (filled.status.value, float(filled.filled_qty), float(filled.qty)) == ("filled", smaller, smaller)
        assert [float(p.qty) for p in await bot.call(bot.client.get_all_positions)] == [smaller]
        with pytest.raises(APIError) as none:  # nothing more passes
            await bot.buy(900)
        assert (none.value.status_code, "at most 0 of" in none.value.message) == (403, True), none.value.message
        again_whole = await bot.buy(-1)
        assert float(again_whole.qty) == 1.0


async def test_two_orders_with_one_id_at_once_are_one_order(bot: Bot) -> None:
    body = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    answers = await asyncio.gather(*(bot.raw("POST", "/v2/orders", body | {"client_order_id": "x"}) for _ in range(8)))
    assert sorted(status for status, _ in answers) == [200] + [422] * 7
    assert {answer["code"] for status, answer in answers if status == 422} == {40010001}
    await bot.world.go(2)
    assert [float(p.qty) for p in await bot.call(bot.client.get_all_positions)] == [1.0]


async def test_the_sizing_lines_of_public_scripts_are_not_refused_for_the_collar(tmp_path: Path) -> None:
    async with bot_of(tmp_path, WIDE) as bot:
        account = await bot.call(bot.client.get_account)
        power, cash = float(account.buying_power), float(account.cash)
        sizes = [
            int(power / bot.mark),
            int(0.95 * power / bot.mark),
            int(cash / bot.mark),
            int(cash * 0.98 // bot.mark),
        ]
        for size in sizes:
            order = await bot.buy(size)
            await bot.call(bot.client.cancel_order_by_id, order.id)
            await bot.world.service.settled()
        spent = MarketOrderRequest(
            symbol="SPY", notional=round(power, 2), side=OrderSide.BUY, time_in_force=TimeInForce.DAY
        )
        order = await bot.call(bot.client.submit_order, spent)
        assert int(order.qty) == sizes[0]
        assert [t.status for t in bot.gateway.tickets.by_id.values()][:-1] == ["canceled"] * len(sizes)


async def test_a_limit_order_rests_is_listed_and_is_cancelled(bot: Bot) -> None:
    order = await bot.buy(2, limit=round(bot.mark * 0.8, 2))
    await bot.world.go(3)
    (listed,) = await bot.call(bot.client.get_orders, GetOrdersRequest(status=QueryOrderStatus.OPEN))
    assert (listed.id, listed.status.value, listed.limit_price) == (order.id, "new", order.limit_price)
    await bot.call(bot.client.cancel_order_by_id, order.id)
    await bot.world.go(1)
    ended = await bot.call(bot.client.get_order_by_id, order.id)
    assert ended.status.value == "canceled"
    assert await bot.call(bot.client.get_orders) == []
    with pytest.raises(APIError, match="it cannot be canceled"):
        await bot.call(bot.client.cancel_order_by_id, order.id)


async def test_a_used_client_id_never_makes_a_second_order(bot: Bot) -> None:
    first = await bot.buy(1, client_order_id="x")
    for qty in (1, 2):
        with pytest.raises(APIError) as again:
            await bot.buy(qty, client_order_id="x")
        assert (again.value.status_code, again.value.code) == (422, 40010001)
        assert str(first.id) in again.value.message
    await bot.world.go(2)
    assert [float(p.qty) for p in await bot.call(bot.client.get_all_positions)] == [1.0]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"type": "stop", "stop_price": "100000", "side": "sell"}, "is reached"),
    ({"trail_percent": "1"}, "trail_percent is not supported"),
    ({"order_class": "oco"}, "simple, oto, bracket are"),
    ({"extended_hours": True}, "regular hours"),
    ({"limit_price": "1"}, "market orders have no limit price"),
    ({"stop_price": "1"}, "market orders have no stop price"),
    ({"type": "stop"}, "stop orders require a stop price"),
    ({"type": "stop_limit", "stop_price": "9"}, "stop_limit orders require a limit price"),
    (
        {"type": "trailing_stop"},
        "not supported: market, limit, stop, stop_limit are; send a stop order, and replace its",
    ),
    ({"type": "trailing_stop", "trail_percent": "1"}, "send a stop order, and replace its stop_price"),
    ({"time_in_force": "ioc"}, "day and gtc are; send a day order, and cancel what is not filled"),
    ({"type": "limit"}, "limit orders require a limit price"),
    ({"qty": "0.5"}, "qty 0.5 is no multiple of 1"),
    ({"qty": "NaN"}, "qty"),
    ({"qty": "1e400"}, "qty"),
    ({"qty": "1_0"}, "'1_0' is not a valid qty"),
    ({"qty": "\u0661\u0660"}, "is not a valid qty"),
    ({"qty": "-1"}, "qty"),
    ({"qty": None}, "either qty or notional"),
    ({"notional": "5"}, "either qty or notional"),
    ({"qty": None, "notional": "5"}, "notional 5 is less than the smallest order, 1 at "),
    ({"side": "hold"}, "side must be buy or sell"),
    ({"symbol": "NOPE"}, "asset not found"),
    ({"symbol": "spy"}, "asset not found for 'spy'. Did you mean SPY?"),
    ({"type": "limit", "limit_price": "100000"}, "is beyond the collar"),
    ({"dry_run": True}, "dry_run is not supported"),
    ({"position_intent": "sell_to_close"}, "position_intent is not supported"),
    ({"client_order_id": "x" * 129}, "1 to 128 characters"),
    ({"client_order_id": 0}, "client_order_id 0 must be text"),
]
"""A change of an order, and words of its refusal."""


async def test_what_is_not_supported_is_refused_and_never_accepted_and_changed(bot: Bot) -> None:
    for change, words in REFUSED:
        body = {"symbol": "SPY", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"} | change
        status, answer = await bot.raw("POST", "/v2/orders", body)
        assert status in (403, 404, 422), (change, answer)
        assert words in answer["message"], (change, answer)
        assert answer["code"] // 100_000 == status, change
        assert not [work for work in bot.world.service.shell.state.working.values() if work.cause], change


async def test_a_body_that_is_no_order_is_refused(bot: Bot) -> None:
    for body in (b"", b"[]", b"{", b'{"qty":"1","qty":"2"}', b"\xff", b"[" * 5000):
        status, answer = await bot.raw("POST", "/v2/orders", body)
        assert (status, answer["code"]) in ((400, 40010000), (422, 42210000)), (body, answer)


async def test_a_filter_that_is_not_understood_is_refused(bot: Bot) -> None:
    for query in ("direction=up", "side=hold", "after=soon", "limit=0", "status=new"):
        status, answer = await bot.raw("GET", f"/v2/orders?{query}")
        assert (status, answer["code"]) == (422, 42210000), (query, answer)


async def test_a_parameter_that_nothing_reads_is_refused_and_changes_nothing(bot: Bot) -> None:
    """The cancel of one symbol's orders would else cancel all, and a part of a position would be the whole."""
    buy = {"symbol": "SPY", "qty": "3", "side": "buy", "type": "market", "time_in_force": "day"}
    rest = await bot.buy(3)
    await bot.world.go(2)
    for method, path, words in (
        ("POST", "orders?dry_run=true", "dry_run is not supported; this route has: none"),
        ("PATCH", f"orders/{rest.id}?qty=1", "qty is not supported"),
        ("DELETE", "orders?symbols=QQQ", "symbols is not supported"),
        ("DELETE", f"orders/{rest.id}?symbol=SPY", "symbol is not supported"),
        ("DELETE", "positions?symbols=QQQ", "this route has: cancel_orders"),
        ("DELETE", "positions?cancel_orders=yes", "cancel_orders must be true or false"),
        ("DELETE", "positions/SPY?quantity=1", "quantity is not supported; this route has: qty"),
        ("DELETE", "positions/SPY?percentage=50", "percentage is not supported; this route has: qty"),
        ("DELETE", "positions/SPY?qty=1&qty=2", "given twice"),
        ("GET", "positions?symbols=QQQ", "symbols is not supported"),
        ("GET", "orders?symbols=SPY,qqq", "invalid symbol: qqq is none of"),
        ("GET", "orders?nested=maybe", "nested must be true or false"),
        ("GET", "assets?exchange=NYSE", "this route has: asset_class, status"),
    ):
        status, answer = await bot.raw(method, f"/v2/{path}", buy if method == "POST" else None)
        assert (status, words in answer["message"]) == (422, True), (path, answer)
    assert (await bot.raw("GET", "/v2/assets?asset_class=crypto"))[1] == []
    assert len((await bot.raw("GET", "/v2/assets?asset_class=us_equity&status=active"))[1]) > 1
    (position,) = await bot.call(bot.client.get_all_positions)
    assert (float(position.qty), await bot.call(bot.client.get_orders)) == (3.0, [])


async def test_a_notional_is_the_most_that_the_order_is_worth_at_its_own_price(bot: Bot) -> None:
    for side, type, factor in (
        ("buy", "limit", 1.03),
        ("buy", "limit", 0.8),
        ("sell", "limit", 0.99),
        ("buy", "stop", 1.2),
    ):
        price = round(bot.mark * factor, 2)
        body = {"symbol": "SPY", "notional": "1000", "side": side, "type": type, "time_in_force": "day"}
        status, order = await bot.raw("POST", "/v2/orders", body | {f"{type}_price": str(price)})
        assert status == 200, order
        lots, worth = int(order["qty"]), max(price, bot.mark) if side == "sell" else price
        assert lots * worth <= 1000 < (lots + 1) * worth, (side, type, order["qty"])
        await bot.raw("DELETE", "/v2/orders")


async def test_a_wrong_key_and_a_token_of_another_scope_are_refused(bot: Bot) -> None:
    _, reader = created(bot.world.folder, "reader", "read")
    await asyncio.sleep(1.1)  # until the file of tokens is read again
    for key, secret in ((bot.key, "wrong"), ("wrong", bot.secret), ("reader", reader), ("", "")):
        client = TradingClient(key or "none", secret or "none", url_override=bot.url)
        with pytest.raises(APIError) as refused:
            await bot.call(client.get_account)
        assert (refused.value.status_code, refused.value.code) == (401, 40110000)


async def test_an_order_of_another_agent_is_not_found(bot: Bot) -> None:
    order = await bot.buy(1)
    bot.gateway.tickets.by_id[str(order.id)].agent = "other"
    with pytest.raises(APIError) as missing:
        await bot.call(bot.client.get_order_by_id, order.id)
    assert missing.value.status_code == 404


def name_of_event(update: Any) -> str:
    return str(getattr(update.event, "value", update.event))  # the client knows some events as text only


async def test_the_stream_tells_the_vendors_client_of_orders_fills_and_cancels(bot: Bot) -> None:
    told: list[Any] = []
    stream = TradingStream(bot.key, bot.secret, url_override=bot.url.replace("http", "ws") + "/stream")

    async def note(update: Any) -> None:
        told.append(update)

    stream.subscribe_trade_updates(note)
    running = asyncio.create_task(stream._run_forever())
    while not bot.gateway._streams:  # noqa: ASYNC110 - the client sets no event
        await asyncio.sleep(0.02)
    await bot.buy(2, client_order_id="filled")
    resting = await bot.buy(1, limit=round(bot.mark * 0.8, 2), client_order_id="rests")
    await bot.world.go(2)
    await bot.call(bot.client.cancel_order_by_id, resting.id)
    await bot.world.go(1)
    async with asyncio.timeout(20):
        while len(told) < 6:  # noqa: ASYNC110 - the client sets no event
            await asyncio.sleep(0.02)
    of = lambda name: [name_of_event(t) for t in told if t.order.client_order_id == name]  # noqa: E731
    assert of("filled") == ["pending_new", "new", "fill"]
    assert of("rests") == ["pending_new", "new", "canceled"]
    (fill,) = (t for t in told if name_of_event(t) == "fill")
    assert (fill.qty, fill.position_qty) == (2.0, 2.0)
    await stream.stop_ws()
    running.cancel()


async def test_tickets_are_the_same_from_the_journal(bot: Bot) -> None:
    await bot.buy(2, client_order_id="a")
    resting = await bot.buy(1, limit=round(bot.mark * 0.8, 2), client_order_id="b")
    await bot.world.go(2)
    await bot.call(bot.client.cancel_order_by_id, resting.id)
    with pytest.raises(APIError):
        await bot.buy(90_000, client_order_id="c")
    await bot.world.go(1)
    assert [order["client_order_id"] for order in bot.folded()] == ["a", "b"]


async def test_an_earlier_order_in_a_symbol_that_is_gone_keeps_its_id_used_and_is_not_shown(bot: Bot) -> None:
    for name, symbol in (("kept", "SPY"), ("gone", "QQQ")):
        await bot.buy(1, symbol=symbol, limit=round(bot.mark * 0.5, 2), client_order_id=name)
    await bot.world.go(1)
    then = bot.world.service.shell.state.universe
    earlier, now = bot.gateway.tickets, Tickets(bot.gateway.tickets.account)
    now.recall(earlier, then, structs.replace(then, instruments=then.instruments[:1]))
    assert [(ticket.client_id, ticket.status) for ticket in now.by_id.values()] == [("kept", "canceled")]
    assert [now.used("guest", name) for name in ("kept", "gone", "free")] == [True, True, False]
    assert now.find("guest", "gone") is None


async def test_a_halted_book_is_refused_with_its_reason_and_a_shadow_trades_nothing(tmp_path: Path) -> None:
    async with bot_of(tmp_path / "halted") as bot:
        bot.world.service.shell.state.agents[2].switch.state = RUN + 2
        with pytest.raises(APIError, match="halted"):
            await bot.buy(1)
    async with bot_of(tmp_path / "shadow", OUTSIDE) as bot:
        with pytest.raises(APIError, match="it is a shadow"):
            await bot.call(bot.client.get_account)


def test_a_fill_that_the_venue_takes_back_is_no_further_fill() -> None:
    tickets = Tickets("account")
    asked = Proposed(1, "guest", "x", THROUGH, "me", orders=(Wish(0, 5, 0, THE_DAY),), whole=True)
    later = Condition(3, "broker", True)
    told = [
        update.event
        for event, effect in (
            (asked, OrderBasket(2, 0, 2, [0], [5], [0], [0], cause="guest/x")),
            (later, Filled(2, 0, 3, [0], [5], [10], [0], [[(0, 5)]])),
            (later, Filled(2, 0, 4, [0], [-5], [10], [0], [[(0, -5)]])),
        )
        for update in tickets.take(event, [effect])
    ]
    (ticket,) = tickets.by_id.values()
    assert told == ["pending_new", "fill", "trade_bust"]
    assert (ticket.filled, ticket.value, ticket.status) == (0, 0, "filled")


CLIENT = "mine"


class Seen(Night):
    """A night whose steps are folded into tickets; `told` is what a stream would tell."""

    def __init__(self) -> None:
        self.tickets, self.told = Tickets("account"), list[str]()
        super().__init__()

    def add(self, event: Event, effects: Sequence[Effect]) -> None:
        super().add(event, effects)
        self.told += [update.event for update in self.tickets.take(event, effects)]  # type: ignore[arg-type]

    def order(self, agent: str = "a0") -> None:
        now = self.shell.state.now
        self.shell.run(Proposed(now, agent, CLIENT, THROUGH, "bot", orders=(buy(10),), whole=True))

    def tonight(self, act: Callable[[], object]) -> list[str]:
        self.until({LAST: lambda: (self.order(), act())})
        return self.told


def test_a_held_order_is_accepted_then_new_and_filled() -> None:
    night = Seen()
    assert night.tonight(lambda: None) == ["accepted", "new", "fill"]
    ticket = night.tickets.find("a0", CLIENT)
    assert ticket is not None
    assert (ticket.status, ticket.filled) == ("filled", 10)


def test_a_program_withdraws_its_held_order() -> None:
    night = Seen()
    cancel = lambda why: ProposalReviewed(night.shell.state.now, "a0", CLIENT, False, why, "bot")  # noqa: E731
    assert night.tonight(lambda: night.shell.run(cancel(WITHDRAWN))) == ["accepted", "canceled"]


def test_a_person_who_declines_rejects_it_and_a_halt_too() -> None:
    night = Seen()
    no = lambda: ProposalReviewed(night.shell.state.now, "a0", CLIENT, False, "no", "ann")  # noqa: E731
    assert night.tonight(lambda: night.shell.run(no())) == ["accepted", "rejected"]
    halted = Seen()
    halt = lambda: Operator(halted.shell.state.now, "halt", "a test", "ann")  # noqa: E731
    assert halted.tonight(lambda: halted.shell.run(halt())) == ["accepted", "rejected"]


def test_the_same_client_id_of_two_agents_is_two_tickets() -> None:
    tickets = Tickets("account")
    first = Proposed(1, "a0", CLIENT, THROUGH, "bot", orders=(buy(10),), whole=True)
    for event in (first, replace(first, agent="a1")):
        assert [update.event for update in tickets.take(event, [])] == ["pending_new"]
    own, other = tickets.find("a0", CLIENT), tickets.find("a1", CLIENT)
    assert own is not None
    assert other is not None
    assert (own.id != other.id, own.cause, other.cause) == (True, "a0/mine", "a1/mine")


async def test_an_approved_order_that_the_limits_refuse_is_rejected_with_the_reason(tmp_path: Path) -> None:
    text = TRADING.replace('policy = "external"', 'policy = "external"\napproval = "person"')
    async with bot_of(tmp_path, text.replace("max_position_weight = 0.25", "max_position_weight = 1.0")) as bot:
        state = bot.world.service.shell.state
        lots = int(0.4 * state.equity_of(2) / 1e6 / bot.mark)  # two of them are above the limit of 0.5
        first, second = [await bot.buy(lots, client_order_id=name) for name in ("first", "second")]
        for order in (first, second):
            review = ProposalReviewed(state.now, "guest", order.client_order_id, True, "yes", "ann")
            await bot.world.service.inbox.command(review)
        told = await bot.call(bot.client.get_order_by_id, second.id)
        ticket = bot.gateway.tickets.by_id[str(second.id)]
        assert (told.status, bool(told.failed_at)) == ("rejected", True)
        assert "max_position_weight" in ticket.note
        await bot.world.go(2)
        assert (await bot.call(bot.client.get_order_by_id, first.id)).status == "filled"
        await bot.gateway.rebuild()
        assert bot.gateway.tickets.by_id[str(second.id)].status == "rejected", "the same after a restart"
