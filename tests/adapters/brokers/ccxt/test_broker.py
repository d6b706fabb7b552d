"""The crypto broker over the wire, where the conformance suite does not look: paging, lag, order of executions,
deadlines, and what it refuses to trade at all."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from importlib.util import find_spec

import pytest

from quantd.adapters.brokers.ccxt import broker as broker_module
from quantd.adapters.brokers.ccxt import connection as connection_module
from quantd.adapters.brokers.ccxt.broker import Crypto
from quantd.adapters.brokers.ccxt.connection import CryptoSettings
from quantd.adapters.brokers.ccxt.wire import Unsupported, execution_of, read_execution
from quantd.adapters.brokers.unreadable import Unreadable
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.exchange.client import Access
from quantd.trading.events import Condition, Unknown
from quantd.trading.instruments import NANO, Instrument, Universe
from quantd.trading.orders import Cause, Kind, OrderBasket, Reports
from quantd.trading.ports import BrokerNews, TradeRecord
from tests.proofs.conformance.rig import Row
from tests.proofs.conformance.rigs.bybit import BybitRig
from tests.proofs.conformance.rigs.ccxt import CcxtRig
from tests.support.running_server import running_server
from tests.support.venues.kraken import Order, Refused

pytestmark = pytest.mark.skipif(find_spec("ccxt") is None, reason="the extra ccxt is not installed")


rig = running_server(CcxtRig)


def order_of(rig: CcxtRig, basket: OrderBasket, row: int = 0) -> Order:
    (order,) = rig.venue.by_client(rig._id(basket, row))
    return order


def only(news: object) -> Reports:
    (report,) = news  # type: ignore[misc]
    assert isinstance(report, Reports)
    return report


async def heard(rig: CcxtRig, news: list[BrokerNews]) -> asyncio.Task[None]:
    async def listen() -> None:
        async for report in rig.broker.news():
            news.append(report)

    return asyncio.create_task(listen())


async def until(news: list[BrokerNews], happened: Callable[[BrokerNews], bool], timeout_s: float = 60.0) -> None:
    """Wait for news of that kind."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not any(happened(report) for report in news):
        assert asyncio.get_running_loop().time() < deadline, news
        await asyncio.sleep(0.01)


# what an order becomes


async def test_an_order_carries_its_client_id_its_end_and_the_wish_for_fees_in_the_quote_currency(rig: CcxtRig) -> None:
    basket = rig.basket(Row(0, 7, worst_nano=150_129_999_999))
    await rig.broker.submit(basket)
    order = order_of(rig, basket)
    assert (order.oflags, order.timeinforce, order.expiretm) == ("fciq", "GTD", basket.end[0] // NANO)
    assert (order.price, order.vol) == ("150.12", Decimal(7))


async def test_an_order_that_arrives_after_its_deadline_is_refused_by_the_matching_engine(rig: CcxtRig) -> None:
    await rig.skew(30.0)
    report = only(await rig.broker.submit(rig.basket(Row(0, 7))))
    assert report.cause == [Cause.REJECTED]
    assert "Deadline elapsed" in report.reason


async def test_sizes_and_prices_of_many_digits_arrive_as_they_were_decided(rig: CcxtRig) -> None:
    basket = rig.basket(Row(4, 123_456_789, worst_nano=81_234_567_890_123), Row(3, 1_234_567, worst_nano=81_234_567))
    await rig.broker.submit(basket)
    assert order_of(rig, basket, 0).vol == Decimal("1.23456789")
    assert order_of(rig, basket, 0).price == "81234.5"
    assert order_of(rig, basket, 1).vol == Decimal(1_234_567)
    assert order_of(rig, basket, 1).price == "0.0812345"


async def test_a_stop_off_its_tick_wakes_a_tick_early_and_its_limit_is_never_worse(rig: CcxtRig) -> None:
    await rig.hold(0, 10)
    sale = Row(0, -10, kind=Kind.STOP, stop_nano=140_001_000_000, worst_nano=133_001_000_000)
    basket = rig.basket(sale)
    await rig.broker.submit(basket)
    order = order_of(rig, basket)
    assert (order.ordertype, order.price, order.price2) == ("stop-loss-limit", "140.01", "133.01")


async def test_what_is_promised_to_one_sale_is_not_sold_by_another(rig: CcxtRig) -> None:
    await rig.hold(0, 10)
    await rig.broker.submit(rig.basket(Row(0, -7)))
    sent = rig.requests("submit")
    report = only(await rig.broker.submit(rig.basket(Row(0, -4))))
    assert report.cause == [Cause.REJECTED]
    assert "3 are free" in report.reason
    assert rig.requests("submit") == sent, "it was not even sent"
    assert only(await rig.broker.submit(rig.basket(Row(0, -3)))).cause == [Cause.ACCEPTED]


async def test_sales_of_which_nothing_is_known_are_not_sent(rig: CcxtRig) -> None:
    await rig.hold(0, 10)
    await rig.misbehave("500", "account", 1)
    basket = rig.basket(Row(0, -7), Row(1, 5))
    news = list(await rig.broker.submit(basket))
    assert [type(report) for report in news] == [Unknown, Reports]
    assert rig.has(basket, 0) == []
    assert len(rig.has(basket, 1)) == 1


async def test_an_order_whose_end_has_passed_is_not_sent(rig: CcxtRig) -> None:
    basket = rig.basket(Row(0, 7, end=rig.now() - NANO))
    assert only(await rig.broker.submit(basket)).cause == [Cause.EXPIRED]
    assert rig.requests("submit") == 0


# what became of it


async def test_executions_of_one_instant_over_several_pages_get_the_same_intervals_in_every_process(
    rig: CcxtRig,
) -> None:
    basket = rig.basket(Row(0, 120))
    await rig.broker.submit(basket)
    order, at = order_of(rig, basket), rig.now()
    rig.venue.now = lambda: at
    for k in range(120):
        rig.venue.fill(order, Decimal(1), Decimal("149.00") + Decimal(k) / 100)
    rig.venue.now = rig.now
    report = only(await rig.broker.query(basket.sample, basket.n, [0]))
    assert report.cum == list(range(1, 121))
    assert report.price_nano == [149 * NANO + k * NANO // 100 for k in range(120)]
    assert report.cause == [Cause.PART_FILL] * 119 + [Cause.LAST_FILL]
    second = rig.adapter()
    await second.open()
    try:
        second.remember(basket)
        again = only(await second.query(basket.sample, basket.n, [0]))
        assert (again.cum, again.lots, again.price_nano, again.fee_micro) == (
            report.cum, report.lots, report.price_nano, report.fee_micro,
        )  # fmt: skip
    finally:
        await second.close()


@pytest.mark.parametrize("make", [CcxtRig, BybitRig])
async def test_a_history_with_more_pages_than_are_read_is_an_error(
    make: type[CcxtRig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "PAGES", 1)
    rig = make()
    await rig.start()
    try:
        since, basket = rig.now() - NANO, rig.basket(Row(0, 120))
        await rig.broker.submit(basket)
        for _ in range(120):  # a page has 100 at most
            await rig.fill(basket, 0, 1, rig.price_nano(0))
        with pytest.raises(ConnectionError, match="more than 1 pages, and the rest was not read"):
            await rig.broker.trades(since)
    finally:
        await rig.stop()


async def test_every_page_of_a_history_is_read() -> None:
    """At Bybit, whose pages hold 50 executions and name the next page: an order of 120, and the list of trades."""
    rig = BybitRig()
    await rig.start()
    try:
        since, basket = rig.now() - NANO, rig.basket(Row(0, 120))
        await rig.broker.submit(basket)
        for _ in range(120):
            await rig.fill(basket, 0, 1, rig.price_nano(0))
        assert len(await rig.broker.trades(since)) == 120
        assert only(await rig.broker.query(basket.sample, basket.n, [0])).lots == [1] * 120
    finally:
        await rig.stop()


@pytest.mark.long
async def test_an_order_on_a_page_that_is_not_read_is_not_absent(rig: CcxtRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PAGES", 1)
    baskets = [rig.basket(Row(0, 1)) for _ in range(60)]  # a page has 50, the newest first
    for basket in baskets:
        await rig.broker.submit(basket)
        await rig.end(basket, 0, "cancelled")
    await rig.settle()
    (report,) = await rig.broker.query(baskets[0].sample, baskets[0].n, [0])
    assert isinstance(report, Unknown), report
    assert "more than 1 pages" in report.reason


async def test_open_orders_on_more_pages_than_are_read_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PAGES", 1)
    rig = BybitRig()
    await rig.start()
    try:
        for _ in range(21):  # a page has 20
            await rig.broker.submit(rig.basket(Row(0, 1)))
        with pytest.raises(ConnectionError, match="more than 1 pages"):
            await rig.broker.account()
    finally:
        await rig.stop()


async def test_an_end_before_its_executions_says_how_much_was_filled(rig: CcxtRig) -> None:
    basket = rig.basket(Row(0, 10))
    await rig.broker.submit(basket)
    rig.venue.trades_lag = 1
    rig.venue.fill(order_of(rig, basket), Decimal(4), Decimal(150))
    await rig.end(basket, 0, "cancelled")
    report = only(await rig.broker.query(basket.sample, basket.n, [0]))
    assert (report.cause, report.cum, report.lots) == ([Cause.CANCELLED], [4], [0])
    rig.venue.trades_lag = 0
    report = only(await rig.broker.query(basket.sample, basket.n, [0]))
    assert (report.cause, report.cum, report.lots) == ([Cause.PART_FILL, Cause.CANCELLED], [4, 4], [4, 0])


async def test_an_ended_order_behind_a_hundred_newer_ones_is_found(rig: CcxtRig) -> None:
    basket = rig.basket(Row(0, 10))
    await rig.broker.submit(basket)
    await rig.end(basket, 0, "expired")
    for _ in range(120):
        txid = await rig.foreign_order(0, 1, 100 * NANO)
        rig.venue.close(rig.venue.orders[txid], "canceled", "User requested")
    await rig.settle()
    assert only(await rig.broker.query(basket.sample, basket.n, [0])).cause == [Cause.EXPIRED]


@pytest.mark.long
async def test_an_order_decided_before_we_came_is_sent_once_nobody_else_s_can_be_on_its_way(rig: CcxtRig) -> None:
    basket = rig.basket(Row(0, 10))
    await asyncio.sleep(0.005)
    second = rig.adapter()
    await second.open()
    try:
        began = asyncio.get_running_loop().time()
        assert only(await second.submit(basket)).cause == [Cause.ACCEPTED]
        assert asyncio.get_running_loop().time() - began > 1.5, "the other's deadline has passed"
        assert only(await second.submit(basket)).cause == [Cause.ACCEPTED]
        assert len(rig.has(basket, 0)) == 1
    finally:
        await second.close()


async def test_without_a_stream_each_execution_is_found_once_by_looking(rig: CcxtRig) -> None:
    settings = CryptoSettings(
        Access("kraken", rig.venue.key, rig.venue.secret, url=rig.venue.url, per_minute=0), poll_s=0.05, stream=False
    )
    await rig.broker.close()
    rig.broker = Crypto(settings, rig.universe, rig.run, rig.now)
    await rig.broker.open()
    news: list[BrokerNews] = []
    listening = await heard(rig, news)
    basket = rig.basket(Row(0, 10))
    await rig.broker.submit(basket)
    for lots in (3, 7):
        await rig.fill(basket, 0, lots, 150 * NANO)
        await asyncio.sleep(0.15)
    assert "GetWebSocketsToken" not in rig.venue.calls
    reports = [report for report in news if isinstance(report, Reports)]
    assert [(report.cum, report.lots) for report in reports] == [([3], [3]), ([3, 10], [3, 7])]
    listening.cancel()


async def test_who_stops_listening_while_the_stream_is_being_opened_can_listen_again(rig: CcxtRig) -> None:
    rig.venue.misbehave("time-out before", ("GetWebSocketsToken",), 1)
    first = await heard(rig, [])
    for _ in range(12_000):
        await asyncio.sleep(0.005)
        if "GetWebSocketsToken" in rig.venue.calls:
            break
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = await heard(rig, [])
    await asyncio.wait_for(rig.listened(), 60.0)
    assert not second.done()
    second.cancel()


async def test_a_key_that_is_revoked_while_the_stream_is_down_is_named_once(rig: CcxtRig) -> None:
    news: list[BrokerNews] = []
    listening = await heard(rig, news)
    await rig.listened()
    await rig.stream("down")
    await until(news, lambda report: isinstance(report, Condition) and report.what == "broker" and not report.up)
    await rig.revoke()
    await rig.stream("up")
    await until(news, lambda report: isinstance(report, Condition) and "refuses the keys" in report.detail)
    await asyncio.sleep(1.0)  # several attempts
    assert [(report.what, report.up) for report in news if isinstance(report, Condition)] == [
        ("broker", False), ("account", False)
    ]  # fmt: skip
    listening.cancel()


async def test_a_key_that_may_not_trade_is_refused_at_the_start_and_the_check_places_nothing(rig: CcxtRig) -> None:
    broker = rig.adapter()
    await broker.open()
    await broker.close()
    assert not rig.venue.orders
    rig.venue.permissions.discard("modify")
    with pytest.raises(VenueError, match=r"the key may not create orders .*Permission denied"):
        await rig.adapter().open()


async def test_markets_are_read_again_by_the_hour_and_a_coarser_step_ends_its_trading(
    rig: CcxtRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "MARKETS_NS", 0)
    pair = rig.venue.pairs["SOLUSD"]
    pair.pair_decimals -= 1
    pair.ordermin = "8"
    await rig.broker.account()
    assert "less than the venue's least order" in only(await rig.broker.submit(rig.basket(Row(0, 7)))).reason
    pair.lot_decimals += 1
    await rig.broker.account()
    assert 'lot = "' in rig.broker.untradable[0]
    pair.lot_decimals -= 1
    await rig.broker.account()
    assert rig.broker.untradable == {}


async def test_a_nonce_of_another_program_says_what_to_do(rig: CcxtRig) -> None:
    rig.venue._nonces[rig.venue.key] = 10**30  # the other program counts further
    with pytest.raises(ConnectionError, match=r"Another program uses the same key.*a key of its own"):
        await rig.broker.account()


# what it will not trade at all


def trade(**other: object) -> dict[str, object]:
    fields = {
        "id": "T1",
        "timestamp": 1,
        "amount": "2",
        "price": "1.5",
        "fee": {"cost": "0.01", "currency": "USD"},
        "info": {},
    }
    return fields | other


def test_an_execution_is_taken_exactly_and_numbered_as_the_matching_engine_counts() -> None:
    execution = execution_of(trade(info={"trade_id": 42}), NANO, "USD", "BTC")
    assert (execution.id, execution.ts, execution.size_nano, execution.price_nano, execution.fee_micro) == (
        "00000000000000000042", 1_000_000, 2 * NANO, 1_500_000_000, 10_000,
    )  # fmt: skip


@pytest.mark.parametrize(
    "odd",
    [{"amount": "2.5"}, {"amount": 2.0}, {"price": "0.0000000001"}, {"fee": {"cost": 0.1, "currency": "BNB"}}],
    ids=["a part of a lot", "a float", "a price finer than a nano", "a fee that is a float"],
)
def test_an_execution_that_our_books_cannot_hold_is_refused(odd: dict[str, object]) -> None:
    with pytest.raises(Unsupported):
        execution_of(trade(**odd), NANO, "USD", "BTC")


@pytest.mark.parametrize(
    ("fees", "fee_micro", "fee_nano", "named"),
    [
        ({"fee": {"cost": "0.001", "currency": "BNB"}}, 0, 0, ["0.001 BNB"]),
        ({"fee": {"cost": "0.002", "currency": "KFEE"}}, 0, 0, ["0.002 KFEE"]),
        ({"fee": {"cost": "0", "currency": "BNB"}}, 0, 0, []),
        ({"fee": None, "fees": [{"cost": "0.5", "currency": "USD"}, {"cost": "0.25", "currency": "BNB"}]},
         500_000, 0, ["0.25 BNB"]),
        ({"fee": None, "fees": [{"cost": "0.5", "currency": "USD"}, {"cost": "0.25", "currency": "BTC"}]},
         500_000, NANO // 4, []),
        ({"fee": None, "fees": [{"cost": "1", "currency": "OKB"}, {"cost": "2", "currency": "BNB"}]},
         0, 0, ["1 OKB", "2 BNB"]),
    ],
)  # fmt: skip
def test_a_fee_in_a_third_asset_is_named_once_with_a_way_out_and_its_fill_is_booked(
    fees: dict[str, object], fee_micro: int, fee_nano: int, named: list[str]
) -> None:
    unreadable = Unreadable()
    for _ in range(2):
        execution = read_execution(unreadable, trade(**fees), NANO, "USD", "BTC")
        assert execution is not None
        assert (execution.size_nano, execution.fee_micro, execution.fee_nano) == (2 * NANO, fee_micro, fee_nano)
    texts = unreadable.taken()
    assert len(texts) == len(named)
    for text, fee in zip(texts, named, strict=True):
        assert f"took a fee of {fee} for the execution T1; the fill is booked without it" in text
        assert "`quantd reconcile --adopt AGENT --reason REASON`" in text
    assert unreadable.count == 0


async def test_opening_names_every_mistake_at_once(rig: CcxtRig) -> None:
    universe = Universe(
        (
            Instrument("SOL/USD", lot_nano=NANO // 2),
            Instrument("NOPE/USD"),
            Instrument("BTC/USD", lot_nano=NANO // 100_000_000),
        )
    )
    await rig.skew(60.0)
    rig.venue.permissions.discard("ledger")
    broker = rig.adapter(universe=universe)
    with pytest.raises(VenueError) as wrong:
        await broker.open()
    for part in ("a lot of SOL/USD is 0.5", "NOPE/USD is no market", "differs by", "may not read the ledger"):
        assert part in wrong.value.wrong
    assert 'Set lot = "1" for SOL/USD' in wrong.value.remedy
    assert "BTC/USD is" not in wrong.value.wrong


@pytest.mark.parametrize(
    ("venue", "why"),
    [
        ("mexc", "symbol by symbol"),
        ("gemini", "ledger|deposits"),
        ("bitstamp", "ended orders"),
        ("okx", "no record of okx"),
    ],
)
async def test_an_exchange_that_lacks_what_our_rules_need_is_refused_before_it_is_asked(venue: str, why: str) -> None:
    broker = Crypto(CryptoSettings(Access(venue, "k" * 8, "s" * 8, url="http://127.0.0.1:1")), Universe(()), "run")
    with pytest.raises(VenueError, match=why) as wrong:
        await broker.open()
    assert "kraken" in wrong.value.remedy


async def test_a_settling_time_shorter_than_an_order_can_be_on_its_way_is_refused() -> None:
    broker = Crypto(CryptoSettings(Access("kraken", timeout_s=10.0), settle_s=5.0), Universe(()), "run")
    with pytest.raises(VenueError, match="at least 10 s"):
        await broker.open()


def test_a_fee_in_what_is_bought_is_told_in_its_own_units_as_a_real_client_reads_it() -> None:
    """Binance's documented answer to `myTrades`, read by ccxt: `commissionAsset` is what was bought."""
    import ccxt

    exchange = ccxt.binance()
    exchange.number = str
    market = exchange.safe_market("BTCUSDT", None, None, "spot") | {
        "symbol": "BTC/USDT",
        "base": "BTC",
        "quote": "USDT",
    }
    answer = {
        "symbol": "BTCUSDT", "id": 28457, "orderId": 100234, "price": "60000.10", "qty": "0.12000000",
        "commission": "0.00012345",
        "commissionAsset": "BTC", "time": 1499865549590, "isBuyer": True, "isMaker": False, "isBestMatch": True,
    }  # fmt: skip
    lot = NANO // 10**5
    fee_execution = execution_of(exchange.parse_trade(answer, market), lot, "USDT", "BTC")
    assert (fee_execution.size_nano, fee_execution.fee_micro, fee_execution.fee_nano) == (12_000 * lot, 0, 123_450)
    quoted = exchange.parse_trade(answer | {"commission": "7.2", "commissionAsset": "USDT"}, market)
    assert execution_of(quoted, lot, "USDT", "BTC").fee_micro == 7_200_000
    unreadable, other = Unreadable(), exchange.parse_trade(answer | {"commissionAsset": "BNB"}, market)
    execution = read_execution(unreadable, other, lot, "USDT", "BTC")
    assert execution is not None
    assert (execution.size_nano, execution.fee_micro, execution.fee_nano) == (12_000 * lot, 0, 0)
    (text,) = unreadable.taken()
    assert text.startswith("the venue took a fee of 0.00012345 BNB for the execution 28457;")


async def test_the_venues_own_record_of_trades_has_each_execution_with_its_fee(rig: CcxtRig) -> None:
    assert isinstance(rig.broker, TradeRecord)
    basket = rig.basket(Row(0, 10))
    began = rig.now() - NANO
    await rig.broker.submit(basket)
    for lots, price in ((4, 149), (6, 148)):
        await rig.fill(basket, 0, lots, price * NANO)
    lot = rig.universe.lot_nano[0]
    trades = await rig.broker.trades(began)
    assert [(t.symbol, t.units_nano // lot, t.price_nano) for t in trades] == [
        (rig.universe.symbols[0], 4, 149 * NANO), (rig.universe.symbols[0], 6, 148 * NANO),
    ]  # fmt: skip
    assert [t.fee_micro for t in trades] == [int(venue_trade.fee * 10**6) for venue_trade in rig.venue.trades]


# words that no document has


@pytest.mark.parametrize(
    "words", ["EService:Timeout", "EService:Throttled: 17", "EAuth:Too many requests", "EFoo:Bar", "EOrder:Invisible"]
)
async def test_an_order_that_was_taken_with_an_unknown_error_is_found(rig: CcxtRig, words: str) -> None:
    add = rig.venue._private_addorder

    def taken(fields: dict[str, str]) -> object:
        rig.venue._private_addorder = add  # type: ignore[method-assign]
        add(fields)
        raise Refused(words)

    rig.venue._private_addorder = taken  # type: ignore[assignment, method-assign]
    basket = rig.basket(Row(0, 7))
    (report,) = await rig.broker.submit(basket)
    assert isinstance(report, Unknown)
    assert words in report.reason
    report = only(await rig.broker.query(basket.sample, basket.n, [0]))
    assert report.cause == [Cause.ACCEPTED]
    assert len(rig.venue.by_client(rig._id(basket, 0))) == 1


@pytest.mark.parametrize("words", ["EFoo:Bar", "EOrder:Invisible"])
async def test_strange_words_are_a_refusal_once_the_venue_has_no_such_order(rig: CcxtRig, words: str) -> None:
    rig.venue.reject_next.append(words)
    basket = rig.basket(Row(0, 7))
    (report,) = await rig.broker.submit(basket)
    assert isinstance(report, Unknown)
    await rig.settle()
    report = only(await rig.broker.query(basket.sample, basket.n, [0]))
    assert report.cause == [Cause.REJECTED]
    assert words in report.reason
