"""Alpaca's own market data for programs that hold no key of it: their reads pass through under quantd's key.

What can go wrong: a program trades with the key that it was lent: so the key stays here, only GET of the paths below is
passed, and an answer never has it. A program in a loop uses up the account's requests, and the run's own feed gets
none: so equal requests are answered from memory for some seconds, the rate is half of the free plan, and a request that
would wait behind too many others is answered 429.
"""

import time
from typing import Final

from aiohttp import web

from quantd.adapters.feeds.source import SourceError
from quantd.adapters.feeds.sources.alpaca import DATA_URL
from quantd.adapters.feeds.sources.http_client import Web
from quantd.adapters.pace import Rate
from quantd.daemon.config import secret
from quantd.daemon.config.document import Config
from quantd.server.gateway.vendor_form import Fault, invalid

PATHS: Final = r"/v2/stocks/{path:([A-Z0-9.]{1,16}/)?((bars|quotes|trades)(/latest)?|snapshots?)}"
RATE: Final = Rate(100, 60.0)
WAITING: Final = 20
"""Most requests that wait for their turn."""

KEPT_S: Final = {"latest": 1.0, "": 15.0}
"""How long an answer is kept: the newest prices, and all others."""
MOST_BYTES: Final = 32 << 20


class VendorData:
    """The vendor's market data at an address, under one key. `plan` is the feed of stocks where none is asked for."""

    def __init__(self, key: str, secret: str, url: str = DATA_URL, plan: str = "iex", rate: Rate | None = RATE) -> None:
        self._headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
        self._url, self._plan, self._waiting = url.rstrip("/"), plan, 0
        self._web = Web("alpaca", rate=rate, hide=(key, secret))
        self._kept: dict[tuple[tuple[str, str], ...], tuple[float, bytes]] = {}

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the routes of reads."""
        router.add_get(PATHS, self._passed)

    async def close(self) -> None:
        """Close the connections to the vendor."""
        await self._web.close()

    async def _passed(self, request: web.Request) -> web.Response:
        """The vendor's answer, byte for byte. Raises Fault."""
        if len(request.query) != len(set(request.query)):
            raise invalid("a parameter is given twice")
        params = {"feed": self._plan} | {name: text for name, text in request.query.items() if text}
        asked, now = (("", request.path), *sorted(params.items())), time.monotonic()
        self._kept = {name: entry for name, entry in self._kept.items() if entry[0] > now}
        if asked not in self._kept:
            if self._waiting >= WAITING:
                raise Fault(429, 42910000, f"{WAITING} reads of market data wait already; ask less often")
            self._waiting += 1
            try:
                body = await self._web.get(self._url + request.path, params, self._headers)
            except SourceError as why:
                status = 502 if why.again else 422
                raise Fault(status, status * 100_000 + 10_000, f"the vendor of market data: {why}") from None
            finally:
                self._waiting -= 1
            if sum(len(kept) for _, kept in self._kept.values()) + len(body) > MOST_BYTES:
                self._kept.clear()
            latest = "latest" if "latest" in request.path or "snapshot" in request.path else ""
            self._kept[asked] = time.monotonic() + KEPT_S[latest], body
        else:
            body = self._kept[asked][1]
        return web.Response(body=body, content_type="application/json")


def vendor_data(config: Config) -> VendorData | None:
    """Return the vendor's data of a configuration with `data = "pass"`; None without it, and without a key."""
    table, feed = config.gateway, config.feed
    key, password = secret("alpaca_key"), secret("alpaca_secret")
    if table is None or table.data != "pass" or not key or not password:
        return None
    of_feed = feed.kind == "alpaca"
    return VendorData(key, password, (of_feed and feed.url) or DATA_URL, (of_feed and feed.plan) or "iex")
