"""GET /api/v1/refusals: requested trades that a limit cut or refused, as `quantd orders --refused` lists them."""

from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import Page
from quantd.daemon.views.addresses import AskedLine
from quantd.daemon.views.cut_trades import CutGroup, CutTrades, TradeQuery
from quantd.server.api.documents import PLAIN
from quantd.server.api.paging import PagedBySymbol, Searched, Totals, before, following
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Read
from quantd.server.api.run_reader import RunReader

SEARCHED = (
    "Only trades whose symbol, owner, side or limit contains this text, or those of an address such as d4812:SPY."
)


class OfRefusals(PagedBySymbol, frozen=True):
    """A page of trades of one group."""

    group: Annotated[CutGroup, Meta(description="Only trades of which nothing passed the limits, or a part.")] = "all"
    search: Annotated[str, Meta(pattern=PLAIN, description=SEARCHED)] = ""
    totals: Totals = "no"


class Refusals(Struct, frozen=True):
    """A page of trades, the newest first. `who` is the owner of the limit; `allowed` "0" is a refusal.

    With `totals=yes`, `totals` has the number of all trades of each group.
    """

    run: str
    refusals: list[AskedLine]
    next: str = ""
    totals: dict[str, int] = {}


class RefusalRoutes:
    """The handler of trades that limits cut or refused."""

    def __init__(self, run: RunReader) -> None:
        self._run = run
        self._trades = CutTrades()

    async def refusals(self, request: web.Request, query: OfRefusals) -> Refusals:
        """A page of all trades since the start of the run. Raises Refused."""
        self._run.check_symbol(query.symbol)
        run, asked = self._run.service.run, TradeQuery(query.since, query.symbol, query.search, query.until)
        key = before(query, "refusals", run)

        def work(reader: Reader) -> tuple[Page[AskedLine], dict[str, int]]:
            page = self._trades.page(reader, query.group, asked, query.limit, key)
            return page, {} if query.totals == "no" else self._trades.totals(reader, asked)

        page, totals = await self._run.read(work)
        return Refusals(run, page.rows, following(page, "refusals", run), totals)


ROUTES: Final = RouteGroup(
    "refusals",
    50,
    lambda context: RefusalRoutes(context.run),
    routes=(
        Read(
            "/api/v1/refusals", RefusalRoutes.refusals, "Trades that limits cut or refused.", call="refusals",
            form={"about": "Trades that limits cut or refused; with `totals`, their number by group.",
                  "spread": ("of", Searched)},
        ),
    ),
)  # fmt: skip
