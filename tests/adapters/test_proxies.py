"""The proxy of the environment is used for REST, WebSockets and downloads of names that only the proxy resolves."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from importlib.util import find_spec

import pytest

from quantd.adapters.brokers.alpaca.broker import Alpaca
from quantd.adapters.brokers.alpaca.connection import AlpacaSettings, NotSent, Rest
from quantd.adapters.brokers.ccxt.broker import Crypto
from quantd.adapters.brokers.ccxt.connection import CryptoSettings
from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.exchange.client import Access
from quantd.adapters.feeds.source import Unreachable
from quantd.adapters.feeds.sources.http_client import Web
from quantd.adapters.proxies import ProxyWrong, proxy_of
from quantd.adapters.sinks.http_post import HttpPost
from quantd.adapters.sinks.sink import SinkError
from quantd.daemon.cli.failures import Failure
from quantd.daemon.cli.setup.service_answers import _ask
from quantd.trading.instruments import Instrument, Universe
from tests.proofs.conformance.rigs.ccxt import CcxtRig
from tests.support.running_server import running_server
from tests.support.venues.alpaca import AlpacaServer, listed

NAMES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
SPY = Universe((Instrument("SPY"),))
crypto = pytest.mark.skipif(find_spec("ccxt") is None, reason="ccxt is not installed")

LOGIN = ":".join(("user", "secret"))


class Proxy:
    """An HTTP proxy that reaches one server, whatever name is asked for. `lines` are the first lines of requests."""

    def __init__(self, target: int) -> None:
        self.target, self.port, self.lines = target, 0, list[str]()
        self.refuses = False

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._joined, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _joined(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.partition(b"\r\n")
            self.lines.append(line.decode())
            method, url, version = line.split()
            if self.refuses:
                writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                writer.close()
                return
            back, out = await asyncio.open_connection("127.0.0.1", self.target)
            if method == b"CONNECT":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = b"/" + url.split(b"/", 3)[3]
                # one request a connection, so that each has its line
                close = b"" if b"pgrade" in rest else b"Connection: close\r\n"
                out.write(b" ".join((method, path, version)) + b"\r\n" + close + rest)
            await asyncio.gather(self._pass(reader, out), self._pass(back, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.close()

    def stop(self) -> None:
        self._server.close()


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Without proxies."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return monkeypatch


venue = running_server(lambda: listed(SPY="400.00"))


@pytest.fixture
async def proxy(venue: AlpacaServer, environ: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    proxy = Proxy(venue.port)
    await proxy.start()
    environ.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    yield proxy
    proxy.stop()


def settings(venue: AlpacaServer) -> AlpacaSettings:
    return AlpacaSettings(
        url="http://venue.invalid", stream_url="ws://venue.invalid/stream", key=venue.key, secret=venue.secret,
        timeout_s=2.0, patience_s=2.0, per_minute=100_000,
    )  # fmt: skip


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
def test_each_scheme_has_its_variable_and_all_proxy_counts_without_it(environ: pytest.MonkeyPatch, scheme: str) -> None:
    url = f"{scheme}://api.example.com/v2"
    assert proxy_of(url) is None
    environ.setenv("ALL_PROXY", "http://all:1")
    assert proxy_of(url) == "http://all:1"
    environ.setenv("HTTPS_PROXY" if scheme in ("https", "wss") else "HTTP_PROXY", "own:2")
    assert proxy_of(url) == "http://own:2", "an address without a scheme is of HTTP"
    assert proxy_of(f"{scheme}://127.0.0.1:8000/") is None
    environ.setenv("NO_PROXY", "example.com")
    assert proxy_of(url) is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY", "all_proxy"])
def test_a_proxy_of_another_kind_is_named_with_the_remedy(environ: pytest.MonkeyPatch, name: str) -> None:
    environ.setenv(name, f"socks5://{LOGIN}@host:1080")
    with pytest.raises(ProxyWrong, match=rf"{name.upper()} names a socks5 proxy.*Set HTTPS_PROXY.*NO_PROXY") as wrong:
        proxy_of("wss://api.example.com/")
    assert "secret" not in str(wrong.value)
    environ.setenv("NO_PROXY", "api.example.com")  # the remedy
    assert proxy_of("wss://api.example.com/") is None


async def test_requests_and_the_stream_of_alpaca_go_through_the_proxy(venue: AlpacaServer, proxy: Proxy) -> None:
    broker = Alpaca(settings(venue), SPY, "run00001")
    await broker.open()
    news = asyncio.create_task(anext(aiter(broker.news())))
    for _ in range(200):
        if any(line.startswith("GET http://venue.invalid/stream") for line in proxy.lines):
            break
        await asyncio.sleep(0.02)
    assert (await broker.account()).cash_micro
    news.cancel()
    await asyncio.gather(news, return_exceptions=True)
    await broker.close()
    assert any("/v2/account" in line for line in proxy.lines)
    assert any("/stream" in line for line in proxy.lines)


@crypto
async def test_kraken_goes_through_the_proxy(proxy: Proxy) -> None:
    rig = CcxtRig()
    await rig.start()
    try:
        proxy.target = rig.venue.port
        access = Access("kraken", rig.venue.key, rig.venue.secret, url="http://kraken.invalid", per_minute=0)
        broker = Crypto(CryptoSettings(access), rig.universe, "run00002")
        await broker.open()
        await broker.account()
        await broker.close()
    finally:
        await rig.stop()
    assert any("http://kraken.invalid/0/private/BalanceEx" in line for line in proxy.lines)


@crypto
async def test_kraken_names_a_proxy_of_another_kind(environ: pytest.MonkeyPatch) -> None:
    environ.setenv("ALL_PROXY", "socks5://host:1080")
    broker = Crypto(CryptoSettings(Access("kraken", "k", "c2VjcmV0")), SPY, "run00002")
    with pytest.raises(VenueError, match="ALL_PROXY names a socks5 proxy"):
        await broker.open()


async def test_downloads_alerts_and_checks_of_keys_go_through_the_proxy(venue: AlpacaServer, proxy: Proxy) -> None:
    client = Web("vendor", timeout_s=5.0, rate=None)
    headers = {"APCA-API-KEY-ID": venue.key, "APCA-API-SECRET-KEY": venue.secret}
    assert json.loads(await client.get("http://data.invalid/v2/clock", headers=headers))["timestamp"]
    await client.close()
    sink = HttpPost(5.0)
    assert (await sink.post("http://hook.invalid/v2/orders", b"{}", headers)).status == 422
    await sink.close()
    assert (await _ask("http://keys.invalid/v2/clock", headers, "quantd keys")).status == 200
    hosts = [line.split()[1].split("/")[2] for line in proxy.lines]
    assert hosts == ["data.invalid", "hook.invalid", "keys.invalid"]


async def test_a_proxy_that_is_away_is_named_by_each(venue: AlpacaServer, proxy: Proxy) -> None:
    proxy.stop()
    named = f"through the proxy 127.0.0.1:{proxy.port}"
    rest = Rest(settings(venue))
    with pytest.raises(NotSent, match=named):
        await rest.ask("GET", "v2/account", patience_s=0.2)
    await rest.close()
    client, sink = Web("vendor", timeout_s=5.0, rate=None), HttpPost(5.0)
    with pytest.raises(Unreachable, match=named):
        await client.get("http://data.invalid/v2/clock")
    with pytest.raises(SinkError, match=named):
        await sink.post("http://hook.invalid/", b"{}", {})
    with pytest.raises(Failure, match=named):
        await _ask("http://keys.invalid/v2/clock", {}, "quantd keys")
    await client.close()
    await sink.close()


async def test_an_order_whose_tunnel_the_proxy_refuses_was_not_sent(
    venue: AlpacaServer, proxy: Proxy, environ: pytest.MonkeyPatch
) -> None:
    proxy.refuses = True
    environ.setenv("HTTPS_PROXY", f"http://{LOGIN}@127.0.0.1:{proxy.port}")
    rest = Rest(AlpacaSettings(url="https://venue.invalid", stream_url="", key="k", secret="s", timeout_s=2.0))
    with pytest.raises(NotSent, match="the proxy answers 407") as refused:
        await rest.ask("POST", "v2/orders", body={}, patience_s=0.2)
    assert "secret" not in str(refused.value)
    await rest.close()
    client = Web("vendor", timeout_s=5.0, rate=None)
    with pytest.raises(Unreachable, match=f"the proxy 127.0.0.1:{proxy.port}: it answers 407"):
        await client.get("https://data.invalid/v2/clock")
    await client.close()
    assert {line.split()[0] for line in proxy.lines} == {"CONNECT"}
