"""GET /api/v1/log: the newest lines of the daemon's log, with a search."""

import asyncio
import logging
from typing import Annotated, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct

from quantd.daemon.monitoring.log_ring import RING, LogLine
from quantd.server.api.access.guard import TOKEN
from quantd.server.api.client_calls import read
from quantd.server.api.documents import PLAIN
from quantd.server.api.paging import Paged, before, cursor_of
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Read, Route
from quantd.server.api.run_reader import RunReader

Least = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class OfLog(Paged, frozen=True):
    """A page of lines; `since` is of the clock."""

    search: Annotated[str, Meta(pattern=PLAIN, description="Only lines that contain this text, in any case.")] = ""
    level: Annotated[Least, Meta(description="Only lines of this level or a worse one.")] = "DEBUG"


class Log(Struct, frozen=True):
    """Lines of the process since its start, the newest first; `total` is the number of all that the search finds."""

    run: str
    lines: list[LogLine]
    total: int
    next: str = ""


class LogRoutes:
    """The handler about the log. It needs a token of scope trade: a line may name what no other read has."""

    def __init__(self, run: RunReader) -> None:
        self._run = run

    def routes(self) -> tuple[Route, ...]:
        return (Read("/api/v1/log", self.log, Log, "The newest lines of the daemon's log.", OfLog, "trade"),)

    async def log(self, request: web.Request, query: OfLog) -> Log:
        token = request.get(TOKEN)  # also where every other read is open
        if token is None:
            raise Refused(401, "token", "the log needs a token of scope trade; send it, or sign in")
        if not token.grants("trade"):
            raise Refused(403, "scope", f"the log needs a token of scope trade, and {token.name} has {token.scope}")
        run, key = self._run.service.run, before(query, "log", self._run.service.run)
        least = logging.getLevelNamesMapping()[query.level]
        lines, total, more = await asyncio.to_thread(
            RING.page, query.search, least, query.limit, key[0] if key else 0, query.since
        )
        return Log(run, lines, total, cursor_of("log", run, [lines[-1].number]) if more else "")


ROUTES: Final = RouteGroup(
    "log",
    175,
    lambda context: LogRoutes(context.run),
    calls=(read("log", "/log", Log, "The newest lines of the daemon's log that contain a text.", OfLog),),
)
