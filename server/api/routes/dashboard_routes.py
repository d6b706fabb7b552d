"""The dashboard, the link that keeps it current and carries its acts, and the event stream for programs.

What can go wrong: a commit falls between two reads of the state and is never sent. So a stream subscribes to commits
before it reads the state, and clears its flag of news before each read. A commit during the read then causes the next
event.

A browser has six connections for a host, so six tabs with a stream each would leave none for a halt. It counts
WebSockets apart. So a tab has one WebSocket, the link, for events and for acts. A request of the link passes the whole
server like any other: the same checks of host, origin, session, CSRF token, scope and rate, and the same idempotency
key. Each runs in a task of its own, so an act waits for no other request.

Streams could also take all connections, or delay a stop of the daemon. So the number of streams is limited, two streams
are reserved for tokens of scope `trade`, and a stop ends all streams.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from aiohttp import StreamReader, WSMsgType, web
from aiohttp.http import RawRequestMessage
from msgspec import Meta, Struct
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from quantd.daemon.views.rows import decided, newest_plans
from quantd.server.api.access.guard import EVENTS, HEADERS, LINK
from quantd.server.api.access.sessions import CSRF
from quantd.server.api.documents import Live, ShownAlert
from quantd.server.api.idempotency import HEADER
from quantd.server.api.problems import Refused, error
from quantd.server.api.route_groups import RouteContext, RouteGroup
from quantd.server.api.route_records import BODY_BYTES, Page, Post, Read, content_of, file_of

STREAMS: Final = 48
"""Maximum of open event streams and links."""

STREAM_S: Final = 0.25
"""Shortest time between two events of one stream."""

KEEPALIVE_S: Final = 15.0
"""Seconds without news after which a stream sends a comment, so that the client sees that it lives."""

LINK_BYTES: Final = 2 * BODY_BYTES
"""Largest message of a link in bytes."""

LINK_TASKS: Final = 16
"""Most requests of one link at a time. A halt is not counted."""

PING_S: Final = 30.0
"""Seconds after which a link is pinged; it ends if its browser does not answer."""

FORWARDED: Final = frozenset({"host", "origin", "cookie", "authorization"})
"""Headers of the upgrade that count for each request of the link."""

FOLDER: Final = Path(__file__).resolve().parents[1] / "dashboard"
UPLOT: Final = Path(__file__).parents[3] / "daemon" / "views" / "report" / "vendor"
"""Folder of the chart library, which the reports use too."""

FILES: Final = "/dashboard"
"""URL path below which the files of the page are served."""

SCRIPT: Final = "text/javascript"
TYPES: Final = {
    ".js": SCRIPT, ".mjs": SCRIPT, ".css": "text/css", ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}  # fmt: skip
"""Ending of a file's name -> its content type."""


def _served(folder: Path) -> dict[str, str]:
    """Return name -> content type of the files of a folder that the page may load; others are not served."""
    return {path.name: TYPES[path.suffix] for path in sorted(folder.iterdir()) if path.suffix in TYPES}


FOLDERS: Final[dict[Path, dict[str, str]]] = {
    folder: _served(folder) for folder in (FOLDER, FOLDER / "panels", FOLDER / "vendor", UPLOT)
}
"""Folder -> names of its files that the page loads -> content type."""


class Hello(Struct, frozen=True, forbid_unknown_fields=True):
    """First message of a link: the CSRF token of the session, empty for a page that only reads."""

    csrf: Annotated[str, Meta(max_length=200)] = ""


class Asked(Struct, frozen=True, forbid_unknown_fields=True):
    """Further message of a link: a request. `id` is the page's number for its answer; `key` its idempotency key."""

    id: int
    method: Literal["GET", "POST"]
    path: Annotated[str, Meta(pattern=r"^/[!-~]{1,2000}$")]
    key: Annotated[str, Meta(max_length=200)] = ""
    body: msgspec.Raw = msgspec.Raw(b"{}")


class Answered(Struct, frozen=True):
    """The answer to a message `Asked`, with the status and the body that the same HTTP request would get."""

    id: int
    status: int
    body: msgspec.Raw


class Dashboard:
    """The handlers of the dashboard page, its links, and the event streams."""

    def __init__(self, context: RouteContext) -> None:
        self._run = context.run
        self._context = context
        context.at_stop.append(self.close)
        self._closed = asyncio.Event()
        self._plans: tuple[int, dict[str, str]] | None = None
        self._newest: tuple[Live, bytes] | None = None

    async def page(self, request: web.Request) -> web.StreamResponse:
        """The page, whose files are of the version of this daemon, so that a browser asks for each of them once."""
        version = await asyncio.to_thread(_version)
        text = (await content_of(FOLDER / "index.html")).plain.decode()
        headers = {"Cache-Control": "no-cache", "ETag": f'"{version}"'}
        if headers["ETag"] in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        text = re.sub(rf'="{FILES}/([\w.-]+\.(?:m?js|css))"', rf'="{FILES}/{version}/\1"', text)
        return web.Response(text=text, content_type="text/html", headers=headers)

    async def file(self, request: web.Request) -> web.StreamResponse:
        """A file of the page, which a browser may keep for ever if it is of the present version."""
        version, name = request.match_info.get("version", ""), request.path.rpartition("/")[2]
        found = next(((folder / name, names[name]) for folder, names in FOLDERS.items() if name in names), None)
        if found is None:
            raise Refused(404, "not_found", f"the dashboard has no file {name!r:.60}")
        response = await file_of(*found)(request)
        if version and version == await asyncio.to_thread(_version):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    def close(self) -> None:
        """End the event streams, so that a stop of the daemon does not wait for them."""
        self._closed.set()

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the overview after each commit, at most four in a second."""
        async with self._place(request) as news:
            response = web.StreamResponse(headers={**HEADERS, "Content-Type": EVENTS})
            await response.prepare(request)
            while not self._closed.is_set():
                # cleared before the state is read: if it were cleared after, a commit in between would be lost
                news.clear()
                await response.write(b"event: overview\ndata: " + await self._encoded() + b"\n\n")
                await asyncio.sleep(STREAM_S)
                while not await self._news(news):
                    await response.write(b": still here\n\n")
            return response

    async def link(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket of one tab: events as they happen, and the answers to the requests that it sends.

        Raises Refused for a page of another origin, also of one in [api] cors: the browser sends it the cookie.
        """
        if not self._context.guard.origins.own(request):
            raise Refused(403, "origin", "a link is for the daemon's own page; send requests with a token instead")
        socket = web.WebSocketResponse(heartbeat=PING_S, max_msg_size=LINK_BYTES, compress=False)
        if not socket.can_prepare(request):
            text = "this address is a WebSocket; a program reads /api/v1/events or /api/v1/status"
            raise Refused(426, "upgrade", text, {"Upgrade": "websocket", "Connection": "Upgrade"})
        async with self._place(request) as news:
            socket.headers.update(HEADERS)
            await socket.prepare(request)
            pushing = asyncio.ensure_future(self._push(socket, news))
            tasks: set[asyncio.Task[None]] = set()
            try:
                await self._obey(request, socket, tasks)
            finally:
                pushing.cancel()
                await asyncio.wait({pushing, *tasks})
        return socket

    async def _push(self, socket: web.WebSocketResponse, news: asyncio.Event) -> None:
        """Send the overview after each commit, at most four in a second, until the daemon stops."""
        while not self._closed.is_set():
            news.clear()
            await socket.send_str((b'{"live":' + await self._encoded() + b"}").decode())
            await asyncio.sleep(STREAM_S)
            while not await self._news(news):
                pass
        await socket.close(code=1001)

    async def _obey(self, request: web.Request, socket: web.WebSocketResponse, tasks: set[asyncio.Task[None]]) -> None:
        """Answer the messages of a link, each in a task of its own, until it ends. A malformed message ends it."""
        hello: Hello | None = None
        async for message in socket:
            try:
                if message.type is not WSMsgType.TEXT:
                    raise msgspec.DecodeError("a message of a link is text")
                if hello is None:
                    hello = msgspec.json.decode(message.data, type=Hello)
                    continue
                asked = msgspec.json.decode(message.data, type=Asked)
            except msgspec.DecodeError as why:
                await socket.close(code=1008, message=str(why).encode()[:120])
                return
            task = asyncio.create_task(self._answer(request, socket, hello, asked, len(tasks) >= LINK_TASKS))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _answer(
        self, request: web.Request, socket: web.WebSocketResponse, hello: Hello, asked: Asked, full: bool
    ) -> None:
        """Let the server answer a request of a link, and send its answer."""
        server = self._context.server
        inner = None if server is None else _request_of(request, server, hello, asked)
        route = None if inner is None else self._context.guard.route_of(await request.app.router.resolve(inner), inner)
        if server is None or inner is None or not isinstance(route, Read | Post):
            response: web.StreamResponse = error(404, "not_found", "a link has no such request; send it by HTTP")
        elif full and not (isinstance(route, Post) and not route.rate):
            response = error(429, "connections", f"{LINK_TASKS} requests of this link are at work; wait 1 s")
        else:
            response = await server.request_handler(inner)
        body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b"null"
        answer = msgspec.json.encode(Answered(asked.id, response.status, msgspec.Raw(body)))
        if not socket.closed:
            try:
                await socket.send_str(answer.decode())
            except ConnectionResetError:
                return  # the tab is gone: nobody reads the answer

    @asynccontextmanager
    async def _place(self, request: web.Request) -> AsyncIterator[asyncio.Event]:
        """A place among the streams, with the flag of news. Raises Refused where all places are taken."""
        if self._context.streams >= STREAMS:
            text = f"{self._context.streams} event streams are already open; close one, or try again in 5 s"
            raise Refused(503, "streams", text, {"Retry-After": "5"})
        self._context.streams += 1
        # subscribed before the first read: a commit during a send is not missed
        news = asyncio.Event()
        self._run.service.listeners.add(news)
        try:
            yield news
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

    async def _encoded(self) -> bytes:
        """One event as JSON: the overview, the eight newest alerts and the last decisions; encoded once for all."""
        last_decisions = await self._last_decisions()
        alerts = [
            ShownAlert(**{k: getattr(a, k) for k in ShownAlert.__struct_fields__})
            for a in self._run.service.recent[-8:]
        ]
        live, newest = Live(self._run.now(), alerts, last_decisions), self._newest
        # the overview of one step is one object
        if newest is None or newest[0].overview is not live.overview or newest[0] != live:
            newest = self._newest = live, msgspec.json.encode(live)
        return newest[1]


@cache
def _version() -> str:
    """The digest of the page and of all its files; it changes with each of them."""
    digest = blake2b(digest_size=8)
    for folder, names in ((FOLDER, ("index.html",)), *FOLDERS.items()):
        for name in names:
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _request_of(request: web.Request, server: web.Server, hello: Hello, asked: Asked) -> web.Request:
    """The HTTP request that a message of a link stands for, with the headers of its upgrade that identify the page."""
    headers = CIMultiDict((name, text) for name, text in request.headers.items() if name.lower() in FORWARDED)
    headers["Content-Type"] = "application/json"
    if hello.csrf:
        headers[CSRF] = hello.csrf
    if asked.key:
        headers[HEADER] = asked.key
    raw = tuple((name.encode(), text.encode("utf-8", "surrogateescape")) for name, text in headers.items())
    path, _, query = asked.path.partition("?")
    url = URL.build(path=path, query_string=query, encoded=True)
    message = RawRequestMessage(
        asked.method, asked.path, request.version, CIMultiDictProxy(headers), raw, False, None, False, False, url
    )
    content = StreamReader(request.protocol, LINK_BYTES, loop=asyncio.get_running_loop())
    if asked.method == "POST":
        content.feed_data(bytes(asked.body))
    content.feed_eof()
    made = server.request_factory(message, content, request.protocol, request.writer, request.task)
    assert isinstance(made, web.Request)  # the factory of an application makes this type
    return made


ROUTES: Final = RouteGroup(
    "dashboard",
    10,
    Dashboard,
    routes=(
        Page("/", Dashboard.page, "The dashboard.", "text/html", "open"),
        Page(f"{FILES}/{{version}}/{{name}}", Dashboard.file, "A file of it, of one version.", SCRIPT, "open"),
        *(
            Page(f"{FILES}/{name}", Dashboard.file, "A file of it.", kind, "open")
            for names in FOLDERS.values()
            for name, kind in names.items()
        ),
        Page("/api/v1/events", Dashboard.events, "Events of the type Live, as they happen.", EVENTS),
        Page("/api/v1/link", Dashboard.link, "The WebSocket of a tab of the dashboard.", LINK),
    ),
)
"""The page with its files, which hold no figures and need no token, and the stream."""
