"""Alpaca's stream against a venue that the official stream client accepts: bars as they come, corrections, and every
way out."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from quantd.adapters.feeds.bars.rows import Rows
from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.sources.alpaca_stream import AlpacaStream
from quantd.trading.instruments import Instrument, Universe
from tests.support.mqtt import until
from tests.support.venues.alpaca_data import KEY, SECRET, AlpacaData, Bar
from tests.support.venues.served import served

PAIR = Universe((Instrument("AAPL"), Instrument("MSFT")))
BAR: Bar = ("2024-01-03T14:30:00Z", "187.15", "187.2", "187.1", "187.123456789", "1200")
OPEN_NS = 1_704_292_200_000_000_000


@contextmanager
def alpaca(venue: AlpacaData) -> Iterator[str]:
    with served(venue.app()) as port:
        yield f"ws://127.0.0.1:{port}"


def stream(url: str, universe: Universe = PAIR, **settings: Any) -> AlpacaStream:
    return AlpacaStream(universe, **{"key": KEY, "secret": SECRET, "url": url, "timeout_s": 2.0, **settings})


async def _next(bars: AsyncIterator[Rows]) -> Rows:
    async with asyncio.timeout(60):
        return await anext(bars)


async def test_bars_and_their_corrections_come_exact_and_dated_by_their_open() -> None:
    venue = AlpacaData()
    with alpaca(venue) as url:
        ours = stream(url)
        bars = ours.bars()
        first = asyncio.create_task(_next(bars))
        await until(lambda: venue.subscribed == {"AAPL", "MSFT"})
        await asyncio.to_thread(venue.send, "b", "MSFT", BAR)
        rows = await first
        assert rows.ts.tolist() == [OPEN_NS]
        assert rows.column.tolist() == [1]
        assert rows.close_nano.tolist() == [187_123_456_789]
        second = asyncio.create_task(_next(bars))
        await asyncio.to_thread(venue.send, "u", "MSFT", (*BAR[:5], "1300"))
        assert (await second).volume.tolist() == [1300.0]
        await ours.close()


def client_takes(venue: AlpacaData, subscription: str, ready: Callable[[], object], send: Callable[[], None]) -> Any:
    """What the vendor's own client takes of one message."""
    from alpaca.data.live import StockDataStream

    got: list[Any] = []
    with alpaca(venue) as url:
        client = StockDataStream(KEY, SECRET, url_override=f"{url}/v2/iex")

        async def take(message: Any) -> None:
            got.append(message)
            await client.stop_ws()

        getattr(client, subscription)(take, "AAPL")
        thread = threading.Thread(target=client.run, daemon=True)
        thread.start()
        asyncio.run(until(ready))
        send()
        thread.join(8)
    (message,) = got
    return message


def test_the_official_client_takes_the_same_stream() -> None:
    venue = AlpacaData()
    subscribed = lambda: venue.subscribed == {"AAPL"}  # noqa: E731
    bar = client_takes(venue, "subscribe_bars", subscribed, lambda: venue.send("b", "AAPL", BAR))
    assert (bar.symbol, bar.open, bar.volume) == ("AAPL", 187.15, 1200.0)
    assert bar.timestamp.timestamp() == OPEN_NS / 1e9


async def test_a_connection_that_is_cut_is_an_error_and_the_next_call_connects_anew() -> None:
    venue = AlpacaData()
    with alpaca(venue) as url:
        ours = stream(url)
        waiting = asyncio.create_task(_next(ours.bars()))
        await until(lambda: venue.subscribed)
        await asyncio.to_thread(venue.drop)
        with pytest.raises(SourceError) as caught:
            await waiting
        assert caught.value.again
        await until(lambda: not venue.sockets)
        again = asyncio.create_task(_next(ours.bars()))
        await until(lambda: venue.subscribed)
        await asyncio.to_thread(venue.send, "b", "AAPL", BAR)
        assert len(await again) == 1
        await ours.close()


async def test_a_second_connection_of_an_account_is_refused_with_what_to_do() -> None:
    venue = AlpacaData()
    with alpaca(venue) as url:
        first = stream(url)
        waiting = asyncio.create_task(_next(first.bars()))
        await until(lambda: venue.subscribed)
        with pytest.raises(SourceError, match="406") as caught:
            await _next(stream(url).bars())
        assert "Stop the other program" in str(caught.value)
        assert caught.value.again
        assert caught.value.after_s > 0
        await first.close()
        with pytest.raises(SourceError, match="ended"):
            await waiting


@pytest.mark.parametrize(
    ("code", "again"), [(402, False), (405, False), (407, True), (409, False), (500, True), (499, True)]
)
async def test_every_error_code_says_whether_asking_again_helps(code: int, again: bool) -> None:
    venue = AlpacaData()
    with alpaca(venue) as url:
        waiting = asyncio.create_task(_next(stream(url).bars()))
        await until(lambda: venue.subscribed)
        await asyncio.to_thread(venue.error, code, "as it says")
        with pytest.raises(SourceError, match=f"{code}: as it says") as caught:
            await waiting
    assert caught.value.again is again


async def test_a_wrong_key_too_many_symbols_and_a_dead_address_are_errors() -> None:
    many = Universe(tuple(Instrument(f"S{k}") for k in range(31)))
    with alpaca(AlpacaData()) as url:
        with pytest.raises(SourceError, match="402") as caught:
            await _next(stream(url, secret="other").bars())
        assert not caught.value.again
        assert "other" not in str(caught.value)
        with pytest.raises(SourceError, match="405"):
            await _next(stream(url, many).bars())
        with pytest.raises(SourceError, match="HTTP 404"):
            await _next(stream(url, feed="sip").bars())
    with pytest.raises(SourceError, match="cannot be reached"):
        await _next(stream("ws://127.0.0.1:9").bars())
    with pytest.raises(SourceError, match="QUANTD_ALPACA_SECRET"):
        stream("ws://127.0.0.1:9", secret="")


async def _said(notices: list[Any], count: int) -> list[Any]:
    await until(lambda: len(notices) >= count)
    return notices


AT = "2024-01-03T14:35:00.5Z"
AT_NS = OPEN_NS + 300_500_000_000


async def test_halts_and_what_ends_them_are_told_as_they_come() -> None:
    venue, halts = AlpacaData(), list[Any]()
    with alpaca(venue) as url:
        ours = stream(url)
        ours.tell_halts(halts.append)
        reading = asyncio.create_task(_next(ours.bars()))
        await until(lambda: venue.sockets and venue.sockets[0].tape == {"AAPL", "MSFT"})
        for code, text, reason in (
            ("H", "Trading Halt", "News Pending"), ("Q", "Quotation Resumption", ""), ("T", "Trading Resumption", ""),
            ("P", "Volatility Trading Pause", ""), ("3", "Resume", ""), ("2", "Trading Halt", ""),
            ("E", "Short Sale Restriction", ""),
        ):  # fmt: skip
            await asyncio.to_thread(venue.status, "MSFT", code, text, AT, reason)
        await asyncio.to_thread(venue.send, "b", "AAPL", BAR)
        await reading
        assert [(h.symbol, h.halted, h.detail) for h in halts] == [
            (1, True, "Trading Halt News Pending"), (1, False, "Trading Resumption"),
            (1, True, "Volatility Trading Pause"),
            (1, False, "Resume"), (1, True, "Trading Halt"),
        ]  # fmt: skip
        assert {h.ts for h in halts} == {AT_NS}
        assert all(h.announced and not h.who for h in halts)
        await ours.close()


async def test_a_price_that_comes_to_a_limit_is_told_once_and_again_when_the_limit_moves() -> None:
    venue, limits = AlpacaData(), list[Any]()
    with alpaca(venue) as url:
        ours = stream(url)
        ours.tell_halts(limits.append)
        bars = ours.bars()
        reading = asyncio.create_task(_next(bars))
        await until(lambda: venue.sockets and venue.sockets[0].tape)
        await asyncio.to_thread(venue.limits, "AAPL", "170.5", "190", AT)
        await asyncio.to_thread(venue.send, "b", "AAPL", BAR)
        await reading
        assert limits == []
        for close in ("190", "190.5", "180", "170.5"):
            reading = asyncio.create_task(_next(bars))
            await asyncio.to_thread(venue.send, "b", "AAPL", ("2024-01-03T14:31:00Z", "187", "191", "170", close, "9"))
            await reading
        assert [(x.symbol, x.down_nano, x.up_nano) for x in limits] == [(0, 170_500_000_000, 190_000_000_000)] * 2
        await asyncio.to_thread(venue.limits, "AAPL", "165", "185", AT)
        await asyncio.to_thread(venue.limits, "AAPL", "172", "192", AT)
        reading = asyncio.create_task(_next(bars))
        await asyncio.to_thread(venue.send, "b", "AAPL", BAR)
        await reading
        assert [(x.down_nano, x.up_nano) for x in limits[2:]] == [(172_000_000_000, 192_000_000_000)]
        await ours.close()


async def test_a_plan_without_halts_still_has_its_bars() -> None:
    venue, notices = AlpacaData(tape=False), list[Any]()
    with alpaca(venue) as url:
        ours = stream(url)
        ours.tell_halts(notices.append)
        reading = asyncio.create_task(_next(ours.bars()))
        await until(lambda: venue.subscribed)
        await asyncio.sleep(0.05)
        await asyncio.to_thread(venue.send, "b", "AAPL", BAR)
        assert len(await reading) == 1
        assert notices == []
        await ours.close()


async def test_pairs_are_never_asked_about_halts() -> None:
    venue = AlpacaData()
    pairs = Universe((Instrument("BTC/USD"),))
    with alpaca(venue) as url:
        ours = stream(url, pairs, crypto=True)
        ours.tell_halts(lambda news: None)
        reading = asyncio.create_task(_next(ours.bars()))
        await until(lambda: venue.subscribed)
        (socket,) = venue.sockets
        await asyncio.to_thread(venue.send, "b", "BTC/USD", BAR)
        await reading
        assert socket.tape == set()
        await ours.close()


def test_the_official_client_takes_the_same_halts_and_limits() -> None:
    venue = AlpacaData()
    subscribed = lambda: venue.sockets and venue.sockets[0].tape == {"AAPL"}  # noqa: E731
    halt = lambda: venue.status("AAPL", "H", "Trading Halt", AT)  # noqa: E731
    status = client_takes(venue, "subscribe_trading_statuses", subscribed, halt)
    assert (status.symbol, status.status_code, status.status_message) == ("AAPL", "H", "Trading Halt")
