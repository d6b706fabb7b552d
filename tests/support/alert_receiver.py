"""A webhook of alerts on 127.0.0.1: a real HTTP server, which can go away and come back."""

import asyncio
import hashlib
import hmac

import msgspec
from aiohttp import web

from quantd.adapters.bus.payloads import Alert

KEY = "the key of the webhook"


class Receiver:
    """Takes alerts at `url`, with a good signature only. `answers` are the next statuses, then 200."""

    def __init__(self) -> None:
        self.taken: list[Alert] = []
        self.answers: list[int] = []
        self.requests = 0
        self.silent = False
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/alerts"

    @property
    def ids(self) -> list[str]:
        return [alert.id for alert in self.taken]

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/alerts", self._take)
        return app

    async def start(self) -> None:
        """Listen in the loop of the test, at the port of the first start."""
        self._runner = web.AppRunner(self.application(), access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        self.requests += 1
        body = await request.read()
        if self.silent:
            await asyncio.sleep(60)
        expected = hmac.new(KEY.encode(), body, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(request.headers["X-Quantd-Signature"], f"sha256={expected}"):
            return web.Response(status=401)
        status = self.answers.pop(0) if self.answers else 200
        if status == 200:
            self.taken.append(msgspec.json.decode(body, type=Alert))
        return web.Response(status=status, headers={"Location": self.url} if status == 307 else None)
