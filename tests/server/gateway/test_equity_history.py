"""The portfolio history of a book through the vendor's client: equity at its valuations, profit without deposits."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.trading.models import PortfolioHistory
from alpaca.trading.requests import GetPortfolioHistoryRequest

from quantd.adapters.store.queries import Reader
from quantd.server.requests.control import market_now
from quantd.trading.events import Flow
from tests.server.gateway.gateway_bot import WIDE, Bot, bot_of
from tests.support.api_world import RUN


@pytest.fixture(name="bot")
async def traded_bot(tmp_path: Path) -> AsyncIterator[Bot]:
    """A bot that buys, and gets a deposit ten sessions later."""
    async with bot_of(tmp_path, WIDE) as bot:
        await bot.buy(70, client_order_id="order")
        await bot.world.go(20)
        bot.world.service.inbox.command(
            Flow(market_now(bot.world.service), 5_000_000_000, "venue", id="in", agent="guest")
        )
        await bot.world.go(20)
        yield bot


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


async def test_the_history_is_the_stored_equity_of_the_book_and_a_deposit_is_no_profit(bot: Bot) -> None:
    answer = await history(bot, period="1A", timeframe="1D")
    stored = valuations(bot)
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


async def test_periods_and_ends_choose_the_sessions_that_the_client_names(bot: Bot) -> None:
    days = sorted(valuations(bot))
    last = days[-1]
    assert dates(await history(bot, period="1D")) == [last]
    assert dates(await history(bot, period="5D")) == days[-5:]
    assert dates(await history(bot, period="1W")) == [day for day in days if day > last - timedelta(days=7)]
    month = await history(bot)
    assert dates(month) == dates(await history(bot, period="1M", timeframe="1D"))
    assert 18 <= len(month.equity) <= 23
    begun = datetime(last.year, last.month, 1, 12, tzinfo=UTC)
    since = dates(await history(bot, start=begun, end=datetime.combine(days[-3], datetime.max.time(), UTC)))
    assert since == [day for day in days if begun.date() <= day <= days[-3]]
    assert dates(await history(bot, start=begun, period="2D")) == since[:2]
    assert dates(await history(bot, period="3D", date_end=days[-2])) == days[-4:-1]
    full = await history(bot, period="90A")
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


async def test_what_cannot_be_given_is_refused_with_what_is_supported(bot: Bot) -> None:
    for asked, text in REFUSED:
        with pytest.raises(APIError) as refused:
            await history(bot, **asked)
        assert (refused.value.status_code, text in str(refused.value)) == (422, True), str(refused.value)
