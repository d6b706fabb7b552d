"""GET /api/v1/refusals: requested trades that a limit cut or refused, as `quantd orders --refused` lists them."""

from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from quantd.daemon.api.documents import PLAIN, Query
from quantd.daemon.api.route_records import Read, Route
from quantd.daemon.api.run_reader import RunReader
from quantd.daemon.views.addresses import AskedLine, refused_lines

MOST_ROUNDS: Final = 400
"""Rounds that one request looks back; `quantd orders --refused` looks back over all."""


class OfRefusals(Query, frozen=True):
    """A number of rows, and a symbol."""

    limit: Annotated[int, Meta(ge=1, le=500, description="Most rows.")] = 100
    symbol: Annotated[str, Meta(pattern=PLAIN, description="Only rows of this symbol.")] | None = None


class Refusals(Struct, frozen=True):
    """The newest rows, the newest first. `who` is the owner of the limit; `allowed` "0" is a refusal."""

    run: str
    refusals: list[AskedLine]


class RefusalRoutes:
    """The handler about refused orders."""

    def __init__(self, run: RunReader) -> None:
        self._run = run

    def routes(self) -> tuple[Route, ...]:
        """The route of this module."""
        return (Read("/api/v1/refusals", self.refusals, Refusals, "Trades that limits cut or refused.", OfRefusals),)

    async def refusals(self, request: web.Request, query: OfRefusals) -> Refusals:
        """The newest rows within MOST_ROUNDS rounds."""
        found = await self._run.read(
            lambda reader: refused_lines(reader, last=query.limit, symbol=query.symbol, rounds=MOST_ROUNDS)
        )
        return Refusals(self._run.service.run, found[::-1])
