"""The dashboard, and the event stream that keeps it current."""

import asyncio
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from quantd.daemon.api.access.guard import EVENTS, HEADERS, TOKEN
from quantd.daemon.api.documents import Live, ShownAlert
from quantd.daemon.api.problems import Refused
from quantd.daemon.api.route_records import Page, Route, content_of, file_of
from quantd.daemon.api.run_reader import RunReader
from quantd.daemon.views.rows import decided, equity_line, newest_plans, order_line, thinned

STREAMS: Final = 32
"""Maximum of open event streams."""

KEPT: Final = 2
"""Streams among them that only a token of scope trade may open."""

STREAM_S: Final = 0.25
"""Shortest time between two events of one stream."""

KEEPALIVE_S: Final = 15.0

FOLDER: Final = Path(__file__).resolve().parents[1] / "dashboard"


class Dashboard:
    """The page and its streams."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self.streams = 0
        self._closed = asyncio.Event()
        self._plans: tuple[int, dict[str, str]] | None = None

    def routes(self) -> tuple[Route, ...]:
        """The page with its files, and the stream."""
        script = file_of(FOLDER / "dashboard.js", "text/javascript")
        return (
            Page("/", self.page, "The dashboard.", "text/html"),
            Page("/dashboard.js", script, "Its script.", "text/javascript"),
            Page("/dashboard.css", file_of(FOLDER / "dashboard.css", "text/css"), "Its style.", "text/css"),
            Page("/api/v1/events", self.events, "Events of the type Live, as they happen.", EVENTS),
        )

    def close(self) -> None:
        """Ends the streams, so that a stop does not wait for them."""
        self._closed.set()

    async def page(self, request: web.Request) -> web.Response:
        """The dashboard page with the present figures in it, so that it shows them before its first request."""
        rows = await self._run.read(lambda r: (r.equity(), r.order_page(12, ()), self._run.beside(r)))
        known = msgspec.structs.asdict(self._live(await self._said())) | {
            "equity": [equity_line(p, self._run.names, rows[2]) for p in thinned(rows[0], 800)],
            "orders": list(map(order_line, rows[1].rows)),
            "use": self._use(),
        }
        # only "<" could end a script element: escaped, no text of a policy or a venue becomes markup
        data = msgspec.json.encode(known).decode().replace("<", "\\u003c")
        text = (await content_of(FOLDER / "index.html")).decode().replace("FIRST", data, 1)
        return web.Response(text=text, content_type="text/html")

    def _use(self) -> dict[str, object]:
        """Use of one limit over time: VaR when it is limited, else volatility or drawdown."""
        points = self._run.service.histories.risk.newest(2_000)
        for key in ("var", "cvar", "max_volatility", "max_gross_exposure", "max_drawdown"):
            rows = [(p.ts, *p.measures[key]) for p in points if key in p.measures]
            used = [(ts, value / bound) for ts, value, bound in rows if value is not None and bound]
            if used:
                return {"limit": key, "points": used[:: max(1, len(used) // 400)]}
        return {"limit": "var", "points": []}

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the overview after each commit, at most four in a second."""
        token = request.get(TOKEN)
        most = STREAMS if token is not None and token.grants("trade") else STREAMS - KEPT
        if self.streams >= most:
            text = f"{self.streams} event streams are already open; close one, or try again in 5 s"
            raise Refused(503, "streams", text, {"Retry-After": "5"})
        self.streams += 1
        # it listens before it looks: a commit while it sends is not missed
        news = asyncio.Event()
        self._run.service.listeners.add(news)
        try:
            response = web.StreamResponse(headers={**HEADERS, "Content-Type": EVENTS})
            await response.prepare(request)
            while not self._closed.is_set():
                news.clear()
                data = msgspec.json.encode(self._live(await self._said()))
                await response.write(b"event: overview\ndata: " + data + b"\n\n")
                await asyncio.sleep(STREAM_S)
                while not await self._news(news):
                    await response.write(b": still here\n\n")
            return response
        finally:
            self._run.service.listeners.discard(news)
            self.streams -= 1

    async def _news(self, news: asyncio.Event) -> bool:
        """Wait for a commit or for the end; False when nothing came for a while."""
        waiting = [asyncio.ensure_future(news.wait()), asyncio.ensure_future(self._closed.wait())]
        try:
            done, _ = await asyncio.wait(waiting, timeout=KEEPALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            return bool(done)
        finally:
            for each in waiting:
                each.cancel()

    async def _said(self) -> dict[str, str]:
        """Agent -> its last decision; read once for each commit however many look."""
        progress = self._run.service.progress
        if self._plans is None or self._plans[0] != progress:
            plans = await asyncio.to_thread(newest_plans, self._run.service.store, self._run.service.run)
            self._plans = progress, decided(plans, self._run.parts)
        return self._plans[1]

    def _live(self, said: dict[str, str]) -> Live:
        alerts = [
            ShownAlert(**{k: getattr(a, k) for k in ShownAlert.__struct_fields__})
            for a in self._run.service.recent[-8:]
        ]
        return Live(self._run.now(), alerts, said)
