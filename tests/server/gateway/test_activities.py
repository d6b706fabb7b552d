"""The activities and the equity of a book, as the vendor's client and quantd's own adapter read them."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.models import NonTradeActivity, PortfolioHistory, TradeActivity
from alpaca.trading.requests import GetPortfolioHistoryRequest

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings
from quantd.adapters.store.queries import Reader
from quantd.server.requests.control import market_now
from quantd.trading.events import Action, Flow
from quantd.trading.sessions import DAY_NS
from tests.server.gateway.gateway_bot import WIDE, Bot, bot_of
from tests.support.api_world import RUN


@pytest.fixture(name="bot")
async def wide_bot(tmp_path: Path) -> AsyncIterator[Bot]:
    async with bot_of(tmp_path, WIDE) as bot:
        yield bot


async def lived(bot: Bot) -> None:
    """Trades of two symbols, a deposit and a withdrawal, a split, and the dividend of March 15."""
    state = bot.world.service.shell.state
    for n, (qty, symbol) in enumerate([(7, "SPY"), (5, "QQQ"), (-3, "SPY"), (11, "IWM")]):
        await bot.buy(qty, symbol=symbol, client_order_id=f"order {n}")
        await bot.world.go(2)
    now = market_now(bot.world.service)
    for name, amount in (("in", 1_234_567_891), ("out", -500_000_000)):
        bot.world.service.inbox.command(Flow(now, amount, "venue", id=name, agent="guest"))
    split = Action(now, now - now % DAY_NS, state.universe.index["QQQ"], "split", 3, 2)
    await bot.world.service.inbox.command(split)
    await bot.world.go(26)


def cash_of(rows: list[dict[str, Any]]) -> Decimal:
    total = Decimal(0)
    for row in rows:
        if row["activity_type"] == "FILL":
            worth = Decimal(row["qty"]) * Decimal(row["price"])
            total += worth if row["side"].startswith("sell") else -worth
        else:
            total += Decimal(row["net_amount"])
    return total


async def test_activities_add_up_to_the_cash_and_lots_of_the_book(bot: Bot) -> None:
    state = bot.world.service.shell.state
    before = state.ledger.books[2].cash_micro
    await lived(bot)
    rows = await bot.call(bot.client.get, "/account/activities")
    assert {row["activity_type"] for row in rows} >= {"FILL", "FEE", "DIV", "CSD", "CSW", "SPLIT"}
    moved = Decimal(state.ledger.books[2].cash_micro - before) / 10**6
    assert abs(cash_of(rows) - moved) < Decimal("0.00001")  # each row of the ledger is rounded to a millionth
    assert moved
    held = dict.fromkeys(state.universe.symbols, Decimal(0))
    for row in rows:
        if row["activity_type"] == "FILL":
            held[row["symbol"]] += Decimal(row["qty"]) * (1 if row["side"] == "buy" else -1)
        elif row["activity_type"] == "SPLIT":
            held[row["symbol"]] += Decimal(row["qty"])
    lots = [
        Decimal(lots) * lot / 10**9 for lots, lot in zip(state.lots(2).tolist(), state.universe.lot_nano, strict=True)
    ]
    assert list(held.values()) == lots
    for row in rows:  # the client's own parsers
        (TradeActivity if row["activity_type"] == "FILL" else NonTradeActivity)(
            account_id=str(uuid5(NAMESPACE_URL, "account")), **row
        )


async def test_an_execution_names_its_order_and_what_is_left_of_it(bot: Bot) -> None:
    await lived(bot)
    rows = await bot.call(bot.client.get, "/account/activities/FILL", {"direction": "asc"})
    assert [(row["side"], row["qty"], row["symbol"], row["leaves_qty"]) for row in rows] == [
        ("buy", "7", "SPY", "0"), ("buy", "5", "QQQ", "0"), ("sell", "3", "SPY", "0"), ("buy", "11", "IWM", "0"),
    ]  # fmt: skip
    for n, row in enumerate(rows):
        order = await bot.call(bot.client.get_order_by_client_id, f"order {n}")
        assert (str(order.id), order.filled_avg_price) == (row["order_id"], row["price"])


async def test_pages_spans_types_and_directions_list_each_activity_once(bot: Bot) -> None:
    await lived(bot)
    every = await bot.call(bot.client.get, "/account/activities", {"direction": "asc"})
    paged: list[dict[str, Any]] = []
    for _ in range(len(every)):
        more = {"page_token": paged[-1]["id"]} if paged else {}
        paged += await bot.call(bot.client.get, "/account/activities", {"direction": "asc", "page_size": 3} | more)
    assert paged == every
    assert len({row["id"] for row in every}) == len(every)
    newest = await bot.call(bot.client.get, "/account/activities", {"page_size": 1})
    assert newest == [row for row in every if row["id"] == newest[0]["id"]]
    assert newest[0]["id"][:17] == every[-1]["id"][:17]
    fills = [row for row in every if row["activity_type"] == "FILL"]
    day, middle = fills[1]["transaction_time"][:10], fills[1]["transaction_time"]
    path = "/account/activities/FILL"
    assert await bot.call(bot.client.get, path, {"date": day, "direction": "asc"}) == fills[1:2]
    assert await bot.call(bot.client.get, path, {"after": middle, "direction": "asc"}) == fills[2:]
    assert await bot.call(bot.client.get, path, {"until": middle, "direction": "asc"}) == fills[:2]
    trans = await bot.call(bot.client.get, "/account/activities/TRANS")
    assert {row["net_amount"] for row in trans} == {"1234.567891", "-500.00"}
    assert trans == await bot.call(bot.client.get, "/account/activities", {"activity_types": "CSD,CSW"})
    orders = await bot.call(bot.client.get, "/orders", {"status": "all", "direction": "asc"})
    submitted = [order["submitted_at"] for order in orders]
    span = {"status": "all", "after": submitted[0], "until": submitted[2]}
    some = await bot.call(bot.client.get, "/orders", span)
    assert {order["id"] for order in some} == {
        order["id"] for order, at in zip(orders, submitted, strict=True) if submitted[0] < at <= submitted[2]
    }
    assert 0 < len(some) < len(orders)
    others = await bot.call(bot.client.get, "/account/activities", {"category": "non_trade_activity"})
    assert len(others) == len(every) - len(fills)


async def test_a_request_for_activities_that_is_not_understood_is_refused(bot: Bot) -> None:
    for words in (
        "/OPASN?", "?page_size=101", "?page_size=x", "?direction=up", "?after=soon",
        "?date=2019-01-01&after=2019-01-01", "?page_token=x", "?category=x", "?qty=1", "?direction=asc&direction=asc",
    ):  # fmt: skip
        status, answer = await bot.raw("GET", f"/v2/account/activities{words}")
        assert (status, answer["code"]) == (422, 42210000), (words, answer)


@pytest.mark.parametrize(
    "asked",
    [
        "account/activities?after=2019-03-02&until=2019-03-01",
        "orders?status=all&after=2019-03-02&until=2019-03-01",
        "account/portfolio/history?start=2019-03-05&end=2019-03-01",
        "calendar?start=2019-03-02&end=2019-03-01",
        "stocks/bars?symbols=SPY&timeframe=1Day&start=2019-03-02&end=2019-03-01",
    ],
)
async def test_a_period_that_ends_before_its_start_is_refused(bot: Bot, asked: str) -> None:
    status, answer = await bot.raw("GET", f"/v2/{asked}")
    assert (status, "exchange them" in answer["message"]) == (422, True), answer


async def test_quantds_own_adapter_reads_executions_fees_dividends_and_deposits(bot: Bot) -> None:
    """The adapter, unchanged, books the same cash as the book behind the gateway."""
    service = bot.world.service
    state = service.shell.state
    before = state.ledger.books[2].cash_micro
    await lived(bot)
    settings = AlpacaSettings(bot.url, bot.url.replace("http", "ws") + "/stream", bot.key, bot.secret)
    adapter = Alpaca(settings, state.universe, "outer001", lambda: market_now(service))
    await adapter.open()
    trades, flows = await adapter.trades(0), await adapter.flows(0)
    assert adapter.set_aside() == []
    await adapter.close()
    assert [(trade.symbol, trade.units_nano // 10**9) for trade in trades] == [
        ("SPY", 7), ("QQQ", 5), ("SPY", -3), ("IWM", 11),
    ]  # fmt: skip
    kinds = [flow.kind for flow in flows]
    assert (kinds.count("fee"), kinds.count("deposit"), kinds.count("withdrawal")) == (4, 1, 1)
    assert "dividend" in kinds
    paid = sum(trade.units_nano * trade.price_nano // 10**12 for trade in trades)
    assert state.ledger.books[2].cash_micro - before == pytest.approx(sum(f.amount_micro for f in flows) - paid, abs=10)


async def test_activities_have_the_same_ids_when_they_are_read_again(bot: Bot) -> None:
    await lived(bot)
    first = await bot.call(bot.client.get, "/account/activities")
    bot.gateway._lists.clear()
    assert await bot.call(bot.client.get, "/account/activities") == first


@pytest.fixture
async def traded(bot: Bot) -> Bot:
    """A bot that buys, and gets a deposit ten sessions later."""
    await bot.buy(70, client_order_id="order")
    await bot.world.go(20)
    bot.world.service.inbox.command(Flow(market_now(bot.world.service), 5_000_000_000, "venue", id="in", agent="guest"))
    await bot.world.go(20)
    return bot


async def history(bot: Bot, **asked: Any) -> PortfolioHistory:
    answer: PortfolioHistory = await bot.call(
        bot.client.get_portfolio_history, GetPortfolioHistoryRequest(**asked) if asked else None
    )
    return answer


def valuations(bot: Bot) -> dict[date, float]:
    """Date of a session -> the equity of the book, from the store."""
    book = bot.world.service.shell.state.ledger.names.index("guest")
    samples = Reader.open(bot.world.folder, RUN).equity()
    return {datetime.fromtimestamp(v.ts / 1e9 - 1, UTC).date(): v.books[book] / 10**6 for v in samples}


def dates(answer: PortfolioHistory) -> list[date]:
    return [datetime.fromtimestamp(second, UTC).date() for second in answer.timestamp]


async def test_the_history_is_the_stored_equity_of_the_book_and_a_deposit_is_no_profit(traded: Bot) -> None:
    answer = await history(traded, period="1A", timeframe="1D")
    stored = valuations(traded)
    assert dict(zip(dates(answer), answer.equity, strict=True)) == {
        day: worth for day, worth in stored.items() if day in set(dates(answer))
    }
    assert len(answer.equity) > 40
    assert answer.timeframe == "1D"
    assert answer.base_value is not None
    grown = answer.equity[-1] - answer.base_value
    assert answer.profit_loss[-1] == pytest.approx(grown - 5_000, abs=1e-6)
    assert answer.profit_loss_pct[-1] == pytest.approx(answer.profit_loss[-1] / answer.base_value)
    steps = [b - a for a, b in zip(answer.profit_loss, answer.profit_loss[1:], strict=False)]
    assert max(map(abs, steps)) < 2_000, "no step has the deposit"
    assert any(steps), "the book traded"


async def test_periods_and_ends_choose_the_sessions_that_the_client_names(traded: Bot) -> None:
    days = sorted(valuations(traded))
    last = days[-1]
    assert dates(await history(traded, period="1D")) == [last]
    assert dates(await history(traded, period="5D")) == days[-5:]
    assert dates(await history(traded, period="1W")) == [day for day in days if day > last - timedelta(days=7)]
    month = await history(traded)
    assert dates(month) == dates(await history(traded, period="1M", timeframe="1D"))
    assert 18 <= len(month.equity) <= 23
    begun = datetime(last.year, last.month, 1, 12, tzinfo=UTC)
    since = dates(await history(traded, start=begun, end=datetime.combine(days[-3], datetime.max.time(), UTC)))
    assert since == [day for day in days if begun.date() <= day <= days[-3]]
    assert dates(await history(traded, start=begun, period="2D")) == since[:2]
    assert dates(await history(traded, period="3D", date_end=days[-2])) == days[-4:-1]
    full = await history(traded, period="90A")
    assert len(full.equity) == len(days)
    assert full.base_value is not None


REFUSED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"timeframe": "1Min"}, "1D of the valuations of the run are"),
    ({"timeframe": "2D"}, "timeframe '2D' is not served"),
    ({"period": "3Q"}, "a number with D, W, M or A is"),
    ({"period": "0D"}, "a number with D, W, M or A is"),
    ({"intraday_reporting": "continuous"}, "market_hours is"),
    ({"pnl_reset": "weekly"}, "per_day, no_reset is"),
    ({"extended_hours": True}, "extended_hours"),
    ({"cashflow_types": "ALL"}, "cashflow_types 'ALL' is not served"),
    ({"period": "1D", "start": datetime(2019, 1, 2), "end": datetime(2019, 1, 3)}, "leave one out"),
    ({"end": datetime(2019, 1, 3), "date_end": date(2019, 1, 3)}, "leave one out"),
)


async def test_what_cannot_be_given_is_refused_with_what_is_supported(traded: Bot) -> None:
    for asked, text in REFUSED:
        with pytest.raises(APIError) as refused:
            await history(traded, **asked)
        assert (refused.value.status_code, text in str(refused.value)) == (422, True), str(refused.value)
