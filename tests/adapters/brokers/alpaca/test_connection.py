"""Each request to Alpaca has one clear outcome: an answer, surely not sent, or lost."""

import asyncio

import pytest
from aiohttp import web

from quantd.adapters.brokers.alpaca.connection import AlpacaSettings, Lost, NotSent, Rest
from tests.support.running_server import running_server
from tests.support.venues.alpaca import AlpacaServer, listed

venue = running_server(lambda: listed(SPY="400.00"))


def settings(venue: AlpacaServer, **how: object) -> AlpacaSettings:
    return AlpacaSettings(venue.url, venue.stream_url, venue.key, venue.secret, **how)  # type: ignore[arg-type]


@pytest.mark.long
async def test_of_requests_that_wait_for_the_rate_a_cancel_goes_first(venue: AlpacaServer) -> None:
    slow = Rest(settings(venue, per_minute=160))  # 40 at once, then 2 a second
    await asyncio.gather(*(slow.ask("GET", "v2/clock") for _ in range(40)))
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
