"""The HTTP server: one aiohttp application on one port. It reads the service between steps and never blocks trading."""

import asyncio
import contextlib
import errno
import json
import os
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aiohttp import web

from quantd.adapters.listener import Listener, descriptors
from quantd.daemon.api import manual_routes
from quantd.daemon.api.certificates import Certificate
from quantd.daemon.api.command_routes import Handler, command, refused
from quantd.daemon.api.guard import BODY_BYTES, CONNECTIONS, HEADER_S, KEEPALIVE_S, Guard, Patience, scope_of
from quantd.daemon.api.read_routes import Readings, answer, dashboard
from quantd.daemon.assembly.parts import Parts
from quantd.daemon.commands.control import NotDone
from quantd.daemon.config import Config
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service
from quantd.trading.exit_codes import CONFIG, ExplainedError

if TYPE_CHECKING:
    from quantd.adapters.bus.publisher import MqttBus

STOP_S: Final = 2.0


class ApiUnavailable(ExplainedError):
    """The API could not start; the message names the place and the remedy."""

    exit_code = CONFIG


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
    ) -> None:
        """`bus` is the publisher, or None; `bus_url` is the address for subscribers."""
        self.url = ""
        self._config = config
        self._folder = folder
        self._guard = Guard(folder, config.api)
        self._readings = Readings(service, parts, config, folder, bus, bus_url)
        self._service = service
        self._server: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        """The application with its routes; tests call it without a port."""
        app = web.Application(middlewares=[self._guard.middleware], client_max_size=BODY_BYTES)
        app.on_response_prepare.append(self._guard.origins.mark)
        read = self._readings

        def obeying(handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
            async def post(request: web.Request) -> web.StreamResponse:
                self._guard.authorise(request, scope_of(request))
                try:
                    return answer(await handler(request, self._service))
                except (NotDone, InboxFull) as why:
                    raise refused(why) from None

            return post

        routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            "/": read.page,
            "/dashboard.js": dashboard("dashboard.js", "text/javascript"),
            "/dashboard.css": dashboard("dashboard.css", "text/css"),
            "/health": read.health,
            "/metrics": read.metrics,
            "/api/v1": read.about,
            "/api/v1/status": read.status,
            "/api/v1/positions": read.positions,
            "/api/v1/risk": read.risk,
            "/api/v1/plan": read.plan,
            "/api/v1/risk/history": read.risk_history,
            "/api/v1/risk/metrics": read.risk_metrics,
            "/api/v1/risk/standing": read.standing,
            "/api/v1/portfolio/history": read.portfolio_history,
            "/api/v1/house": read.house,
            "/api/v1/allocations": read.allocations,
            "/api/v1/orders": read.orders,
            "/api/v1/fills": read.fills,
            "/api/v1/equity": read.equity,
            "/api/v1/decisions": read.decisions,
            "/api/v1/alerts": read.alerts,
            "/api/v1/why/{order}": read.why,
            "/api/v1/events": read.events,
        }
        for path, handler in routes.items():
            app.router.add_get(path, handler)
        for path, obeyed in {"/api/v1/commands": command, **manual_routes.ROUTES}.items():
            app.router.add_post(path, obeying(obeyed))
        return app

    async def start(self) -> None:
        """Listens, and writes the address to `api.json`. Raises ApiUnavailable."""
        loop = asyncio.get_running_loop()
        api = self._config.api
        runner = self._runner = web.AppRunner(self.application(), access_log=None, handle_signals=False)
        await runner.setup()
        manager = runner.server
        assert manager is not None

        def connection() -> Patience:
            return Patience(manager, loop=loop, access_log=None, keepalive_timeout=KEEPALIVE_S)

        tls = self._tls()
        most = min(CONNECTIONS, descriptors() // 4)
        try:
            self._server = await loop.create_server(
                connection,
                sock=Listener(api.host, api.port, most),
                ssl=tls,
                ssl_handshake_timeout=HEADER_S if tls is not None else None,
            )
        except OSError as why:
            await runner.cleanup()
            raise self._refusal(why) from why
        host, port = self._server.sockets[0].getsockname()[:2]
        scheme = "https" if api.tls is not None else "http"
        shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self.url = f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}/"
        self._write_place(shown, port)

    async def stop(self) -> None:
        """Closes the port and every connection, and removes `api.json`."""
        with contextlib.suppress(OSError):
            (self._folder / "api.json").unlink()
        self._readings.close()
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._runner.cleanup()
        self._server = self._runner = None

    def _tls(self) -> ssl.SSLContext | None:
        tls = self._config.api.tls
        if tls is None:
            return None
        return Certificate(self._config.at(tls.certificate), self._config.at(tls.key)).context

    def _refusal(self, why: OSError) -> ApiUnavailable:
        host, port = self._config.api.host, self._config.api.port
        if why.errno == errno.EADDRINUSE:
            return ApiUnavailable(
                f"[api] port = {port}: something already listens on {host}:{port}, perhaps another quantd. "
                "Stop it, or set another port (0 chooses any free one)."
            )
        if why.errno == errno.EACCES:
            return ApiUnavailable(f"[api] port = {port} needs more rights than quantd has; use a port above 1023.")
        return ApiUnavailable(f"the API cannot listen on {host}:{port}: {why}. Correct [api] host, port or tls.")

    def _write_place(self, host: str, port: int) -> None:
        """Writes the address for commands such as `quantd halt`, readable by the owner of the state folder."""
        path = self._folder / "api.json"
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        tls = self._config.api.tls is not None
        with os.fdopen(handle, "w") as file:
            place = {"host": host, "port": port, "pid": os.getpid(), "tls": tls, "token": self._config.api.tokens}
            file.write(json.dumps(place) + "\n")
