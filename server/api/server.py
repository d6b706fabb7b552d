"""The HTTP server: one aiohttp application on one port. It reads the service between steps and never blocks trading."""

import asyncio
import contextlib
import errno
import json
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiohttp import web

from quantd.adapters.certificates import Certificate
from quantd.adapters.listener import ACCEPTS, Listener, descriptors, unix_listener
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.config import Config
from quantd.daemon.runtime.service import Service
from quantd.regular_file import remove, write_whole
from quantd.server.api.access.guard import DOOR_BYTES, DOOR_S, DOORS, KEEPALIVE_S, Connection, Guard, who
from quantd.server.api.access.origins import MAIN_PORT
from quantd.server.api.commits import OpenRequests, truthful
from quantd.server.api.documents import Query
from quantd.server.api.idempotency import Keys
from quantd.server.api.openapi import FOR_BROWSERS, document
from quantd.server.api.place import SOCKET
from quantd.server.api.route_groups import RouteContext, route_groups, routes_of
from quantd.server.api.route_records import (
    BODY_BYTES,
    Entry,
    Page,
    Post,
    Raw,
    Read,
    Route,
    body_of,
    file_of,
    query_of,
    reading,
)
from quantd.server.api.run_reader import RunReader
from quantd.trading.display_text import endpoint_text
from quantd.trading.exit_codes import CONFIG, ExplainedError

if TYPE_CHECKING:
    from quantd.adapters.bus.publisher import MqttBus
    from quantd.daemon.jobs.job_lanes import JobLanes
    from quantd.server.api.route_groups import RunsOfJobs

CONNECTIONS: Final = 256
"""Most open connections of the API, and at most a quarter of the file descriptors."""

DOOR_CONNECTIONS: Final = 64
"""Most open connections at the port for halts; the oldest is closed for a further one."""

log = structlog.get_logger("quantd.api")

STOP_S: Final = 2.0
"""Seconds that a stop waits for open connections, and then for unfinished requests."""

DOCS: Final = Path(__file__).resolve().parent / "docs_page"


class ApiUnavailable(ExplainedError):
    """The API could not start; the message names the key of config.toml and the remedy."""

    exit_code = CONFIG


def _session_handler(route: Entry) -> Raw:
    """The aiohttp handler of a sign-in or sign-out route: it checks the body and calls the route's handler."""

    async def post(request: web.Request) -> web.StreamResponse:
        return await route.handler(request, await body_of(request, route.body, route.example))

    return post


def _page_handler(route: Page) -> Raw:
    """The aiohttp handler of a page: a document of the API takes no parameters, and refuses them."""

    async def get(request: web.Request) -> web.StreamResponse:
        if route.content_type not in FOR_BROWSERS:
            query_of(request, Query)
        return await route.handler(request)

    return get


class Api:
    """The HTTP server of one running service. `url` is its address once `start` has returned."""

    def __init__(
        self,
        service: Service,
        parts: Parts,
        config: Config,
        folder: Path,
        bus: "MqttBus | None",
        bus_url: str = "",
        lanes: "JobLanes | None" = None,
        stored: "RunsOfJobs | None" = None,
    ) -> None:
        """`bus` is the publisher of the message bus, or None; `bus_url` is the address for its subscribers; `lanes`
        runs jobs.

        `stored` reads the runs of jobs in the store. With `stored` the instance is read-only: it refuses every request
        that would change something, and writes nothing into the state folder.
        """
        self.url = ""
        self._config = config
        self._folder = folder
        self._reads_only = stored is not None
        refusal = self._refusal_of_posts if self._reads_only else None
        self._guard = Guard(folder, config.api, service.alert, refusal)
        self._keys = Keys(service)
        self._open = OpenRequests()
        self._routes: tuple[Route, ...] = ()
        run = RunReader(service, parts, config, folder)
        runs = lanes.log if lanes is not None else stored
        self.context = RouteContext(run, self._guard, self._keys, bus, bus_url, lanes, runs, refusal)
        self.groups = {name: group.open(self.context) for name, group in route_groups().items()}
        self._service = service
        self._servers: list[asyncio.Server] = []
        self._runners: list[web.AppRunner] = []

    def application(self) -> web.Application:
        """The application with its routes; a test may use it without a port."""
        self._routes = (*routes_of(self.groups, self.context), *self._document_pages())
        self._guard.register(self._routes)
        return self._application(self._routes, BODY_BYTES)

    def _application(self, routes: Iterable[Route], most_bytes: int) -> web.Application:
        app = web.Application(middlewares=[self._guard.middleware], client_max_size=most_bytes)
        app.on_response_prepare.append(self._guard.origins.mark)
        for route in routes:
            match route:
                case Read():
                    app.router.add_get(route.path, reading(route))
                case Page():
                    app.router.add_get(route.path, _page_handler(route))
                case Post():
                    app.router.add_post(route.path, self._command_handler(route))
                case Entry():
                    app.router.add_post(route.path, _session_handler(route))
        return app

    def _command_handler(self, route: Post) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The aiohttp handler of a POST: it checks the body, and carries a request out once per idempotency key."""

        async def post(request: web.Request) -> web.StreamResponse:
            """Answer one POST; a repeated idempotency key gets an answer without a second execution."""
            body, sender = await body_of(request, route.body, route.example), who(request)

            async def carry_out() -> web.Response:
                answer = await truthful(request.path, route.handler(body, sender, **request.match_info))
                return web.Response(body=msgspec.json.encode(answer), content_type="application/json")

            def repeated_answer() -> bytes | None:
                """The body of the answer to an idempotency key that was used already; with None the first answer is
                sent again.
                """
                return None if route.again is None else msgspec.json.encode(route.again(body))

            content = msgspec.json.encode(body)
            return await self._open.answer(
                lambda: self._keys.once(request, sender, content, carry_out, repeated_answer)
            )

        return post

    def _document_pages(self) -> tuple[Page, ...]:
        """The OpenAPI document, and the files of the page that shows it."""

        encoded: list[bytes] = []

        async def openapi(request: web.Request) -> web.Response:
            if not encoded:  # in a thread: the schemas of all types take a tenth of a second
                api_document = await asyncio.to_thread(document, self._routes, self._config.quantd.name)
                encoded.append(msgspec.json.encode(api_document))
            return web.Response(body=encoded[0], content_type="application/json")

        files = (
            ("docs.html", "", "text/html"),
            ("docs.js", "/docs.js", "text/javascript"),
            ("swagger-ui-bundle.js", "/swagger-ui-bundle.js", "text/javascript"),
            ("swagger-ui.css", "/swagger-ui.css", "text/css"),
        )
        return (
            Page("/openapi.json", openapi, "This document.", "application/json"),
            *(
                Page(f"/docs{path}", file_of(DOCS / name, kind), "The pages of this document.", kind)
                for name, path, kind in files
            ),
        )

    async def start(self) -> None:
        """Listen, and write the address to `api.json`. Raises ApiUnavailable if the address is in use or unusable."""
        api, tls, origins = self._config.api, self._tls(), self._guard.origins
        key = "port"
        try:
            main = Listener(api.host, api.port, min(CONNECTIONS, descriptors() // 4))
            host, port = main.getsockname()[:2]
            self.context.server = await self._serve(self.application(), KEEPALIVE_S, tls, main)
            if not self._reads_only:
                key = "halt_port"
                door = Listener(api.host, api.door, DOOR_CONNECTIONS, cuts_oldest=True)
                origins.main, origins.door = port, door.getsockname()[1]
                app = self._application([route for route in self._routes if route.path in DOORS], DOOR_BYTES)
                app[MAIN_PORT] = port
                await self._serve(app, DOOR_S, tls, door, *self._unix_listeners())
        except OSError as why:
            await self._close()
            raise self._unavailable(why, key) from why
        scheme = "https" if api.tls is not None else "http"
        local_host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self.url = f"{scheme}://{endpoint_text(local_host, port)}/"
        if not self._reads_only:
            self._write_place(local_host, port)
        for begin in self.context.at_start:
            begin()

    def _unix_listeners(self) -> list[socket.socket]:
        """The Unix socket for halts, in the state folder; none where its file system has none."""
        try:
            return [unix_listener(self._folder / SOCKET)]
        except OSError as why:
            log.warning("api.no_socket", file=SOCKET, why=str(why), effect="quantd halt uses [api] halt_port")
            return []

    async def _serve(
        self, app: web.Application, keepalive_s: float, tls: ssl.SSLContext | None, *listeners: socket.socket
    ) -> web.Server:
        """Serve an application on sockets, with TLS on those that are no Unix sockets."""
        loop, runner = asyncio.get_running_loop(), web.AppRunner(app, access_log=None, handle_signals=False)
        self._runners.append(runner)
        await runner.setup()
        manager = runner.server
        assert manager is not None
        options: dict[str, Any] = {"loop": loop, "access_log": None, "keepalive_timeout": keepalive_s}
        connection = partial(Connection, manager, **options)
        for listener in listeners:
            if listener.family == socket.AF_UNIX:
                server = await loop.create_unix_server(connection, sock=listener, backlog=ACCEPTS)
            else:  # asyncio refuses the time-out without TLS
                handshake_s = None if tls is None else keepalive_s
                server = await loop.create_server(
                    connection, sock=listener, backlog=ACCEPTS, ssl=tls, ssl_handshake_timeout=handshake_s
                )
            self._servers.append(server)
        return manager

    def link(self) -> str:
        """The address of the dashboard with the code of a new one-time link, which signs in as the owner.

        The code is in the fragment (after #), which a browser does not send: no log of a proxy contains it.
        """
        return f"{self.url}#code={self._guard.sessions.link()}"

    async def stop(self) -> None:
        """Remove `api.json`, and close the ports and every connection."""
        if not self._reads_only:
            with contextlib.suppress(OSError):
                remove(self._folder / "api.json")
                (self._folder / SOCKET).unlink(missing_ok=True)
        for close in self.context.at_stop:
            close()
        await self._close()
        await self._open.end(STOP_S)
        await self._guard.sessions.close()

    async def _close(self) -> None:
        """Close the ports and every connection."""
        for server in self._servers:
            server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                for runner in self._runners:
                    await runner.cleanup()
        self._servers, self._runners = [], []

    def _refusal_of_posts(self) -> str:
        """The reason why a read-only instance refuses a request that would change something, with the remedy."""
        leader = self._service.leader
        if leader is None or not leader.alive:
            return "this instance only reads, and no trading daemon answers; start it with `quantd run`"
        return f"this instance only reads; send the request to the trading daemon at {leader.url}"

    def _tls(self) -> ssl.SSLContext | None:
        tls = self._config.api.tls
        if tls is None:
            return None
        return Certificate(self._config.at(tls.certificate), self._config.at(tls.key)).context

    def _unavailable(self, why: OSError, key: str) -> ApiUnavailable:
        """The error for an address on which the API cannot listen, with the remedy for its cause."""
        api = self._config.api
        host, port = api.host, api.port if key == "port" else api.door
        if why.errno == errno.EADDRINUSE:
            # another quantd has the port of the message bus, too
            bus = " --set bus.port=0" if self._config.bus.kind == "embedded" else ""
            return ApiUnavailable(
                f"[api] {key} = {port}: something already listens on {endpoint_text(host, port)}, perhaps another "
                f"quantd. Stop it, or set another port; any free one: --set api.{key}=0{bus}"
            )
        if why.errno == errno.EACCES:
            return ApiUnavailable(
                f"[api] {key} = {port} needs rights that quantd does not have; use a port above 1023."
            )
        return ApiUnavailable(
            f"the API cannot listen on {endpoint_text(host, port)}: {why}. Correct [api] host, {key} or tls."
        )

    def _write_place(self, host: str, port: int) -> None:
        """Write `api.json`, from which commands such as `quantd halt` read the address; only its owner may read it."""
        path = self._folder / "api.json"
        tls = self._config.api.tls is not None
        place = {"host": host, "port": port, "pid": os.getpid(), "tls": tls, "token": self._config.api.tokens}
        place["halt_port"] = self._guard.origins.door
        write_whole(path, json.dumps(place).encode() + b"\n", 0o600, durable=False)
