"""Each request to Alpaca has one clear outcome: an answer, surely not sent, or lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from quantd.adapters.brokers.alpaca.connection import AlpacaSettings, Lost, NotSent, Rest
from quantd.adapters.brokers.alpaca.stream import Connected, Stream
from tests.support.venues.alpaca import AlpacaServer

ORDER = {
    "symbol": "SPY", "qty": "1", "side": "buy", "type": "limit", "time_in_force": "day", "limit_price": "400.00",
}  # fmt: skip


@pytest.fixture
async def venue() -> AsyncIterator[AlpacaServer]:
    server = await AlpacaServer().start()
    server.list("SPY", "400.00")
    yield server
    await server.stop()


def settings(venue: AlpacaServer, **how: object) -> AlpacaSettings:
    how = {"timeout_s": 0.4, "patience_s": 2.0, "per_minute": 60_000, "backoff_s": (0.01, 0.05)} | how
    return AlpacaSettings(venue.url, venue.stream_url, venue.key, venue.secret, **how)  # type: ignore[arg-type]


@pytest.fixture
async def api(venue: AlpacaServer) -> AsyncIterator[Rest]:
    api = Rest(settings(venue))
    yield api
    await api.close()


@pytest.mark.parametrize(
    "fault", ["500", "500 after", "502 html", "503", "time-out before", "time-out after", "answer lost", "reset before"]
)
async def test_what_may_have_been_taken_is_lost_and_asked_for_once(venue: AlpacaServer, api: Rest, fault: str) -> None:
    venue.misbehave(fault, "submit")
    with pytest.raises(Lost):
        await api.ask("POST", "v2/orders", body=ORDER)
    assert venue.requests["submit"] == 1


async def test_an_answer_that_cannot_be_read_is_lost(venue: AlpacaServer, api: Rest) -> None:
    venue.misbehave("malformed", "account")
    answer = await api.ask("GET", "v2/account")
    with pytest.raises(Lost):
        answer.decode(dict)


async def test_a_refusal_has_status_words_and_code(venue: AlpacaServer, api: Rest) -> None:
    answer = await api.ask("POST", "v2/orders", body=ORDER | {"qty": "100000"})
    assert not answer.ok
    assert (answer.status, answer.words, answer.code) == (403, "insufficient buying power", 40310000)


@pytest.mark.long
async def test_a_venue_that_nobody_reaches_is_tried_until_patience_ends_and_was_sent_nothing(
    venue: AlpacaServer, api: Rest
) -> None:
    await venue.down()
    with pytest.raises(NotSent, match="127"):
        await api.ask("POST", "v2/orders", body=ORDER, patience_s=0.6)
    back = asyncio.create_task(api.ask("POST", "v2/orders", body=ORDER))
    await asyncio.sleep(0.1)
    await venue.up()
    assert (await back).ok
    assert venue.requests["submit"] == 1


@pytest.mark.long
async def test_too_many_requests_are_sent_again_when_the_venue_says(venue: AlpacaServer, api: Rest) -> None:
    venue.misbehave("429", "submit", 2)
    assert (await api.ask("POST", "v2/orders", body=ORDER)).ok
    assert venue.requests["submit"] == 3
    venue.misbehave("429 bare", "submit", 100)
    with pytest.raises(NotSent, match="429"):
        await api.ask("POST", "v2/orders", body=ORDER, patience_s=0.3)


@pytest.mark.long
async def test_of_requests_that_wait_for_the_rate_a_cancel_goes_first(venue: AlpacaServer) -> None:
    slow = Rest(settings(venue, per_minute=600))  # 150 at once, then 7.5 a second
    await asyncio.gather(*(slow.ask("GET", "v2/clock") for _ in range(150)))
    order: list[str] = []

    async def ask(method: str, path: str) -> None:
        await slow.ask(method, path)
        order.append(method)

    waiting = [asyncio.create_task(ask("GET", "v2/clock")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(ask("DELETE", "v2/orders/none")))
    await asyncio.gather(*waiting)
    await slow.close()
    assert order.index("DELETE") <= 1


async def test_a_rate_that_is_used_up_is_waited_for_no_longer_than_patience(venue: AlpacaServer) -> None:
    slow = Rest(settings(venue, per_minute=8))  # two at once
    await slow.ask("GET", "v2/clock")
    with pytest.raises(NotSent, match="rate limit"):
        await slow.ask("GET", "v2/clock", patience_s=0.2)
    await slow.close()


async def test_an_endless_answer_is_not_read_to_its_end() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * (1 << 20))

    app = web.Application()
    app.add_routes([web.get("/v2/clock", endless)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    api = Rest(AlpacaSettings(f"http://127.0.0.1:{runner.addresses[0][1]}", timeout_s=10.0))
    with pytest.raises(Lost):
        await api.ask("GET", "v2/clock")
    await api.close()
    await runner.cleanup()


async def test_a_stream_that_refuses_the_key_says_so_without_it(venue: AlpacaServer) -> None:
    wrong = AlpacaSettings(venue.url, venue.stream_url, venue.key, "not-the-secret", backoff_s=(0.01, 0.02))
    api = Rest(wrong)
    stream = Stream(wrong, api)
    async for news in stream.items():
        assert isinstance(news, Lost)
        assert "unauthorized" in str(news)
        assert "not-the-secret" not in str(news)
        await stream.close()
    await api.close()


async def test_a_stream_that_is_lost_is_there_again(venue: AlpacaServer, api: Rest) -> None:
    stream = Stream(settings(venue), api)
    heard: list[type] = []
    async for news in stream.items():
        heard.append(type(news))
        if heard == [Connected]:
            venue.cut()
        if heard[-2:] == [Lost, Connected]:
            await stream.close()
    assert heard == [Connected, Lost, Connected]


@pytest.mark.long
async def test_a_connection_that_nobody_reads_does_not_keep_an_adapter_from_closing() -> None:
    heard = asyncio.Event()

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        heard.set()
        await asyncio.sleep(300)

    server = await asyncio.start_server(deaf, "127.0.0.1", 0, limit=1)
    api = Rest(AlpacaSettings(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=300.0))
    asking = asyncio.create_task(api.ask("POST", "v2/orders", body={"much": "x" * (32 << 20)}))
    await heard.wait()
    begun = asyncio.get_running_loop().time()
    await api.close()
    assert asyncio.get_running_loop().time() - begun < 60.0
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    server.close()
