"""/api/v1/portfolios: portfolios that are opened and closed while the daemon runs.

An open portfolio trades by proposals, as an outside agent does (`proposal_routes`).

What can go wrong: a request sends other orders than its preview showed. So a preview applies the same events as the
execution, to a copy of the state, in a thread. An opening is always computed there first: if its first orders would
differ from the preview, or be refused, nothing is opened, because a portfolio that is all in cash was not requested. A
closing with the digest of a preview is computed again before it is queued.

A place is the agent that config.toml holds ready for one portfolio. Openings run one at a time, so that each finds a
vacant place. Each POST is journalled with its sender, and is answered after the commit.
"""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Annotated, Final, Literal

import numpy as np
from aiohttp import web
from msgspec import Meta, Struct
from msgspec.structs import replace

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.portfolios import not_closed, not_opened, place_of, vacant_places
from quantd.daemon.engine.state import State
from quantd.server.api.commits import committed
from quantd.server.api.documents import PLAIN, Query
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteGroup
from quantd.server.api.route_records import Post, Read
from quantd.server.api.routes.proposal_routes import ProposalRoutes, Wanted, proposals_of
from quantd.server.api.run_reader import RunReader, StateCopies
from quantd.server.requests.control import (
    AgentName,
    Because,
    check_portfolio_name,
    check_priced,
    check_ready,
    exact_amount,
    journal_reason,
    market_now,
)
from quantd.server.requests.manual import Money
from quantd.server.requests.proposal_answers import (
    PortfolioLine,
    ProposalAnswer,
    Trades,
    closing_digest,
    portfolio_line,
    trades_of,
)
from quantd.server.requests.proposals import Targets
from quantd.server.requests.transfer_limits import hand_over_fault
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Effect
from quantd.trading.events import PortfolioClosed, PortfolioOpened, Proposed
from quantd.trading.instruments import MICRO
from quantd.trading.orders import money_text

PortfolioName = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}(?!\n)$", description="Lower case letters, digits, - and _; 32 at most."),
]
AsPlanned = Annotated[str, Meta(pattern=PLAIN, description="`plan` of a preview of the same request.")]


class CreatePortfolio(Targets, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new portfolio with its first targets. `capital` comes from the unallocated book.

    `as_planned` is the `plan` of a preview: if the first orders would differ now, nothing is opened.
    """

    name: PortfolioName
    reason: Because
    capital: Money = "1000000"
    as_planned: AsPlanned = ""


class ClosePortfolio(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`flatten` sells the positions and returns the cash; `hand_over` gives lots and cash to the agent `to`.

    `as_planned` is the `plan` of a preview: if lots or orders would differ now, nothing is closed.
    """

    how: Literal["flatten", "hand_over"]
    reason: Because
    to: AgentName = ""
    as_planned: AsPlanned = ""


class PortfolioList(Struct, frozen=True):
    """The open portfolios, and the places in which more can be opened."""

    run: str
    places: int
    vacant: int
    portfolios: list[PortfolioLine]


class PortfolioClosing(Struct, frozen=True):
    """A portfolio that is closed, or is closing until `trades` are carried out. The agent `to` receives lots and cash.

    `plan` is the digest of the lots before the closing, and of the orders.
    """

    name: str
    state: Literal["closing", "closed"]
    how: str
    to: str
    ts: int
    time: str
    trades: Trades
    plan: str


class PortfolioRoutes:
    """Handlers of portfolios; `proposals` handles their first targets."""

    def __init__(self, run: RunReader, proposals: ProposalRoutes) -> None:
        self._run = run
        self._proposals = proposals
        self._copies = StateCopies(run.service)
        self._numbers = count(1)
        self._opening = asyncio.Lock()
        """Held from the choice of a place to the commit, so that two portfolios do not choose the same
        place."""

    @property
    def _state(self) -> State:
        return self._run.service.shell.state

    async def listed(self, request: web.Request, query: Query) -> PortfolioList:
        state = self._state
        state.revalue()
        places = sum(rules.place for rules in state.rules.agents)
        rows = [portfolio_line(state, place_index) for place_index in state.portfolios]
        return PortfolioList(self._run.service.run, places, len(vacant_places(state)), rows)

    async def create(self, asked: CreatePortfolio, sender: str) -> ProposalAnswer:
        """Opens a portfolio and proposes its first weights, if that would not be refused now.

        Raises Refused where the first orders would differ from the preview `as_planned`.
        """
        async with self._opening:
            opened, proposal = await self._prepared(asked, sender)
            would = await self._proposals.dry_run(asked.name, proposal, opened)
            if asked.as_planned and would.plan != asked.as_planned:
                text = (
                    f"the first orders of {asked.name} would differ from the preview; nothing was opened, preview again"
                )
                raise Refused(409, "conflict", text)
            partly = f"the portfolio {asked.name} is open and all in cash; propose targets or close it: "
            return await self._proposals.trade(asked.name, proposal, opened, partly=partly)

    async def preview(self, asked: CreatePortfolio, sender: str) -> ProposalAnswer:
        """The first orders of a portfolio, computed on a copy of the state in which it is opened."""
        opened, proposal = await self._prepared(asked, sender)
        return await self._proposals.dry_run(asked.name, proposal, opened)

    async def _prepared(self, asked: CreatePortfolio, sender: str) -> tuple[PortfolioOpened, Proposed]:
        """Return the two events that open a portfolio in a vacant place (an agent without capital).

        Raises Refused for a wrong name, capital, reason or target, and if no agent is vacant for a new portfolio.
        """
        service, state = self._run.service, self._state
        check_ready(service)
        check_priced(state)
        check_portfolio_name(service, asked.name)
        reason = journal_reason(asked.reason, "a portfolio")
        capital = exact_amount(asked.capital, MICRO, "capital", "1000000.00")
        place = next(iter(vacant_places(state)), "")
        opened = PortfolioOpened(market_now(service), place, asked.name, capital, reason, sender)
        if why := not_opened(state, opened):
            raise Refused(409, "conflict", why)
        proposal = await self._proposals.proposal(asked, asked.name, sender, opened)
        check_buys(state, proposal, opened)
        # the number of the newest journal entry grows across restarts
        id = f"{service.journal.seq}-{next(self._numbers)}"
        opened = replace(opened, ts=proposal.ts, basis=proposal.basis)
        return opened, replace(proposal, id=id, reason=reason)

    async def close(self, asked: ClosePortfolio, sender: str, name: str) -> PortfolioClosing:
        """Close a portfolio; its sales are sent after the commit. With `as_planned`, the digest of a preview, it is
        closed only if the preview would be the same now."""
        closed = await self._closing(asked, sender, name)
        if asked.as_planned and (await self._would_close(closed)).plan != asked.as_planned:
            text = f"closing {name} would now differ from the preview; nothing was closed, preview it again"
            raise Refused(409, "conflict", text)
        lots = self._lots(self._state, name)
        refused = f"portfolio {name} was not closed: "
        return (
            await committed(
                self._run.service,
                lambda after, effects: self._closed(after, effects, closed, lots),
                closed,
                refused=refused,
            )
        ).answer

    async def close_preview(self, asked: ClosePortfolio, sender: str, name: str) -> PortfolioClosing:
        """The sales of a closing, computed on a copy of the state; nothing is sold."""
        return await self._would_close(await self._closing(asked, sender, name))

    async def _would_close(self, closed: PortfolioClosed) -> PortfolioClosing:
        """The answer to a closing, from the effects of its event on a copy of the state."""

        def work(copy: State) -> PortfolioClosing:
            copy.now = max(copy.now, closed.ts)
            lots = self._lots(copy, closed.name)
            return self._closed(copy, step(copy, closed), closed, lots)

        return await self._copies.result(work)

    def _lots(self, state: State, name: str) -> list[int]:
        """The lots of an open portfolio by column of the universe; empty if no portfolio has this name."""
        place_index = place_of(state, name)
        return [] if place_index is None else list(state.ledger.books[place_index].held)

    def _closed(
        self, after: State, effects: Sequence[Effect], closed: PortfolioClosed, lots: list[int]
    ) -> PortfolioClosing:
        """The answer to a closing of a portfolio: `after` is the state after the event, `effects` what the engine
        returned for it, and `lots` the lots before the event.
        """
        trades = trades_of(after, effects, self._run.parts.costs, self._run.service.run)
        state: Literal["closing", "closed"] = "closed" if place_of(after, closed.name) is None else "closing"
        return PortfolioClosing(
            closed.name, state, closed.how, closed.to, closed.ts, instant_text(closed.ts), trades,
            closing_digest(closed, lots, trades),
        )  # fmt: skip

    async def _closing(self, asked: ClosePortfolio, sender: str, name: str) -> PortfolioClosed:
        """Return the event of a closing that the engine would carry out now.

        Raises Refused for an unknown portfolio, without a reason, and for a closing that the engine refuses.
        """
        service, state = self._run.service, self._state
        check_ready(service)
        if place_of(state, name) is None:
            names = ", ".join(sorted(portfolio.name for portfolio in state.portfolios.values())) or "none"
            raise Refused(404, "not_found", f"there is no portfolio {name[:40]!r}; open portfolios: {names}")
        if asked.to and asked.how == "flatten":
            text = f"flatten sells, and {asked.to[:40]!r} gets nothing; close by hand_over, or leave out the agent"
            raise Refused(409, "conflict", text)
        reason = journal_reason(asked.reason, "closing a portfolio")
        closed = PortfolioClosed(market_now(service), name, asked.how, reason, sender, asked.to)
        if why := not_closed(state, closed):
            raise Refused(409, "conflict", why)
        if asked.how == "hand_over" and (why := await self._copies.result(lambda copy: hand_over_fault(copy, closed))):
            text = f"{asked.to} may not take over portfolio {name}: {why}; close it with flatten, or rebalance it first"
            raise Refused(409, "conflict", text)
        return closed


def check_buys(state: State, proposal: Proposed, opened: PortfolioOpened) -> None:
    """Raises Refused for a capital that buys no lot of any target: a fraction was written, or too little."""
    weights = np.abs(np.frombuffer(proposal.weights))
    wanted = np.flatnonzero(weights)
    if not len(wanted):
        return
    least = float((state.lot_values()[wanted] / weights[wanted]).min())
    if opened.capital_micro < least * MICRO:
        symbols, currency = ", ".join(state.universe.symbols[k] for k in wanted[:4].tolist()), state.universe.currency
        text = (
            f"capital = {money_text(opened.capital_micro)} {currency} buys no lot of {symbols}, which takes {least:.2f}"
        )
        raise Refused(409, "conflict", f"{text} at least; send an amount of money, no fraction of the account")


ROUTES: Final = RouteGroup(
    "portfolios",
    130,
    lambda context: PortfolioRoutes(context.run, proposals_of(context)),
    routes=(
        Read("/api/v1/portfolios", PortfolioRoutes.listed, "The open portfolios.", call="portfolios"),
        Post(
            "/api/v1/portfolios", PortfolioRoutes.create, "Open a portfolio and buy its first weights.",
            '{"name": "core", "symbols": ["SPY", "TLT"], "capital": "1000000", "reason": ".."}', "admin",
            call="open_portfolio", form={"spread": ("wanted", Wanted)},
        ),
        Post(
            "/api/v1/portfolios/open/preview", PortfolioRoutes.preview,
            "The first orders of a portfolio; nothing is opened.",
            '{"name": "core", "symbols": ["SPY", "TLT"], "capital": "1000000", "reason": ".."}', "admin",
            call="preview_portfolio", form={"spread": ("wanted", Wanted), "question": True},
        ),
        Post(
            "/api/v1/portfolios/{name}/close", PortfolioRoutes.close, "Sell a portfolio, or hand it over to an agent.",
            '{"how": "flatten", "reason": ".."}', "admin", call="close_portfolio",
        ),
        Post(
            "/api/v1/portfolios/{name}/close/preview", PortfolioRoutes.close_preview,
            "The sales of a closing; nothing is sold.", '{"how": "flatten", "reason": ".."}', "admin",
            call="preview_closing", form={"question": True},
        ),
    ),
)  # fmt: skip
