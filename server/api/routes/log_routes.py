"""GET /api/v1/log: the newest lines of the daemon's log, with a search."""

import asyncio
import logging
from typing import Annotated, Final, Literal

from aiohttp import web
from msgspec import Meta, Struct

from quantd.daemon.monitoring.log_ring import RING, LogLine
from quantd.server.api.access.guard import TOKEN
from quantd.server.api.documents import PLAIN
from quantd.server.api.paging import Paged, before, cursor_of
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Read
from quantd.server.api.run_reader import RunReader

Least = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


class OfLog(Paged, frozen=True):
    """A page of lines; `since` is an instant of the wall clock, not of the market."""

    search: Annotated[str, Meta(pattern=PLAIN, description="Only lines that contain this text, in any case.")] = ""
    level: Annotated[Least, Meta(description="Only lines of this level or a worse one.")] = "DEBUG"


class Log(Struct, frozen=True):
    """Lines of the process since its start, the newest first; `total` is the number of all matching lines."""

    run: str
    lines: list[LogLine]
    total: int
    next: str = ""


class LogRoutes:
    """The handler of GET /api/v1/log.

    The route needs a token of scope trade, since a line may have data that no other read shows.
    """

    def __init__(self, run: RunReader) -> None:
        self._run = run

    async def log(self, request: web.Request, query: OfLog) -> Log:
        """The newest lines of the log that have the level and contain a text.

        Raises Refused without a token of scope trade.
        """
        token = request.get(TOKEN)  # needed even if [api] open_reads allows other reads without a token
        if token is None:
            raise Refused(401, "token", "this request for the log has no token; send one of scope trade, or sign in")
        if not token.grants("trade"):
            raise Refused(
                403,
                "scope",
                f"the log needs scope trade, and the token {token.name} has {token.scope}; send another token",
            )
        run, key = self._run.service.run, before(query, "log", self._run.service.run)
        least_level = logging.getLevelNamesMapping()[query.level]
        lines, total, has_more = await asyncio.to_thread(
            RING.page, query.search, least_level, query.limit, key[0] if key else 0, query.since
        )
        return Log(run, lines, total, cursor_of("log", run, [lines[-1].number]) if has_more else "")


ROUTES: Final = RouteGroup(
    "log",
    175,
    lambda context: LogRoutes(context.run),
    routes=(
        Read("/api/v1/log", LogRoutes.log, "The newest lines of the daemon's log.", "trade", call="log"),
    ),
)  # fmt: skip
