"""The dashboard, and the event stream that keeps it current.

What can go wrong: a commit falls between two reads of the state and is never sent. So a stream subscribes to commits
before it reads the state, and clears its flag of news before each read. A commit during the read then causes the next
event.

Streams could also take all connections, or delay a stop of the daemon. So the number of streams is limited, two streams
are reserved for tokens of scope `trade`, and a stop ends all streams.
"""

import asyncio
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import web

from quantd.daemon.views.rows import decided, newest_plans
from quantd.server.api.access.guard import EVENTS, HEADERS, TOKEN
from quantd.server.api.documents import Live, ShownAlert
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteContext, RouteGroup
from quantd.server.api.route_records import Page, Route, file_of

STREAMS: Final = 32
"""Maximum of open event streams."""

KEPT: Final = 2
"""How many of the STREAMS only a token of scope `trade` may open."""

STREAM_S: Final = 0.25
"""Shortest time between two events of one stream."""

KEEPALIVE_S: Final = 15.0
"""Seconds without news after which a stream sends a comment, so that the client sees that it lives."""

FOLDER: Final = Path(__file__).resolve().parents[1] / "dashboard"
UPLOT: Final = Path(__file__).parents[3] / "research" / "reports" / "vendor"
"""Folder of the chart library, which the reports use too."""

FILES: Final = "/dashboard"
"""URL path below which the files of the page are served."""

SCRIPT, STYLE = "text/javascript", "text/css"
MANIFEST, ICON = "application/manifest+json", "image/svg+xml"

FOLDERS: Final[dict[Path, dict[str, str]]] = {
    FOLDER: {
        "dashboard.css": STYLE,
        "icon.svg": ICON,
        "quantd.webmanifest": MANIFEST,
        "dashboard.js": SCRIPT,
        "acts.js": SCRIPT,
        "agents.js": SCRIPT,
        "daemon.js": SCRIPT,
        "daemons.js": SCRIPT,
        "reviews.js": SCRIPT,
        "figures.js": SCRIPT,
        "portfolios.js": SCRIPT,
        "reads.js": SCRIPT,
        "research.js": SCRIPT,
        "risk.js": SCRIPT,
        "standing.js": SCRIPT,
        "system.js": SCRIPT,
        "incidents.js": SCRIPT,
        "market.js": SCRIPT,
        "now.js": SCRIPT,
        "order.js": SCRIPT,
        "orders.js": SCRIPT,
    },
    FOLDER / "panels": {
        "address.js": SCRIPT,
        "calendar.js": SCRIPT,
        "chart.js": SCRIPT,
        "curve.js": SCRIPT,
        "export.js": SCRIPT,
        "fleet.js": SCRIPT,
        "halts.js": SCRIPT,
        "indicators.js": SCRIPT,
        "lab.js": SCRIPT,
        "pages.js": SCRIPT,
        "parts.js": SCRIPT,
        "period.js": SCRIPT,
        "settings.js": SCRIPT,
        "terms.js": SCRIPT,
        "why.js": SCRIPT,
    },
    FOLDER / "vendor": {"htm-preact-standalone.mjs": SCRIPT, "lightweight-charts.mjs": SCRIPT},
    UPLOT: {"uPlot.iife.min.js": SCRIPT, "uPlot.min.css": STYLE},
}
"""Folder -> names of its files that the page loads -> content type."""


class Dashboard:
    """The handlers of the dashboard page and its event streams."""

    def __init__(self, context: RouteContext) -> None:
        self._run = context.run
        self._context = context
        context.at_stop.append(self.close)
        self._closed = asyncio.Event()
        self._plans: tuple[int, dict[str, str]] | None = None

    def routes(self) -> tuple[Route, ...]:
        """The page with its files, which hold no figures and need no token, and the stream."""
        return (
            Page("/", file_of(FOLDER / "index.html", "text/html"), "The dashboard.", "text/html", "open"),
            *(
                Page(f"{FILES}/{name}", file_of(folder / name, kind), "A file of it.", kind, "open")
                for folder, names in FOLDERS.items()
                for name, kind in names.items()
            ),
            Page("/api/v1/events", self.events, "Events of the type Live, as they happen.", EVENTS),
        )

    def close(self) -> None:
        """End the event streams, so that a stop of the daemon does not wait for them."""
        self._closed.set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the overview after each commit, at most four in a second."""
        token = request.get(TOKEN)
        # the last KEPT streams are for tokens with the scope `trade`
        most_streams = STREAMS if token is not None and token.grants("trade") else STREAMS - KEPT
        if self._context.streams >= most_streams:
            text = f"{self._context.streams} event streams are already open; close one, or try again in 5 s"
            raise Refused(503, "streams", text, {"Retry-After": "5"})
        self._context.streams += 1
        # subscribed before the first read: a commit during a send is not missed
        news = asyncio.Event()
        self._run.service.listeners.add(news)
        try:
            response = web.StreamResponse(headers={**HEADERS, "Content-Type": EVENTS})
            await response.prepare(request)
            while not self._closed.is_set():
                # cleared before the state is read: if it were cleared after, a commit in between would be lost
                news.clear()
                data = msgspec.json.encode(self._live(await self._last_decisions()))
                await response.write(b"event: overview\ndata: " + data + b"\n\n")
                await asyncio.sleep(STREAM_S)
                while not await self._news(news):
                    await response.write(b": still here\n\n")
            return response
        finally:
            self._run.service.listeners.discard(news)
            self._context.streams -= 1

    async def _news(self, news: asyncio.Event) -> bool:
        """Wait for a commit or the end of the streams. Returns False if neither happened within KEEPALIVE_S seconds."""
        waiting = [asyncio.ensure_future(news.wait()), asyncio.ensure_future(self._closed.wait())]
        try:
            done, _ = await asyncio.wait(waiting, timeout=KEEPALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            return bool(done)
        finally:
            for task in waiting:
                task.cancel()

    async def _last_decisions(self) -> dict[str, str]:
        """The text of each agent's last decision, by the agent's name; read once per commit for all streams."""
        progress = self._run.service.progress
        if self._plans is None or self._plans[0] != progress:
            plans = await asyncio.to_thread(newest_plans, self._run.service.store, self._run.service.run)
            self._plans = progress, decided(plans, self._run.parts)
        return self._plans[1]

    def _live(self, last_decisions: dict[str, str]) -> Live:
        """One event of the stream: the overview, the eight newest alerts and the last decisions."""
        alerts = [
            ShownAlert(**{k: getattr(a, k) for k in ShownAlert.__struct_fields__})
            for a in self._run.service.recent[-8:]
        ]
        return Live(self._run.now(), alerts, last_decisions)


ROUTES: Final = RouteGroup("dashboard", 10, Dashboard)
