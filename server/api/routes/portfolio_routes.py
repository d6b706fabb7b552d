"""/api/v1/portfolios: portfolios that are opened, rebalanced and closed while the daemon runs.

What can go wrong: a request sends other orders than its preview showed. So a dry run applies the same event as the
execution, to a copy of the state, in a thread. The event of a rebalance has the digest of its plan, and the engine
compares it. An opening or closing with a digest is computed again before it is queued. If its first orders would
differ, nothing is opened, because a portfolio that is all in cash was not requested.

A place is the agent that config.toml holds ready for one portfolio. Openings run one at a time, so that each finds a
vacant place. Each POST is journalled with its sender, and is answered after the commit.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Annotated, ClassVar, Final, Literal, TypedDict

import numpy as np
from aiohttp import web
from msgspec import Meta, Struct
from msgspec.structs import replace

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.portfolios import not_closed, not_opened, place_of, vacant_places
from quantd.daemon.engine.agents.proposals import not_planned, plan_digest, skips_of
from quantd.daemon.engine.state import State
from quantd.daemon.views.preview import PlanNow
from quantd.risk.switch import HALT
from quantd.server.api.client_calls import change, read
from quantd.server.api.commits import committed
from quantd.server.api.documents import PLAIN, Query
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteContext, RouteGroup
from quantd.server.api.route_records import Post, Read, Route
from quantd.server.api.run_reader import RunReader, StateCopies, target_fault
from quantd.server.requests.control import AgentName, Because, check_portfolio_name, check_priced, check_ready
from quantd.server.requests.manual import Money, exact_amount, journal_reason, market_now
from quantd.server.requests.portfolio_answers import (
    Holding,
    PortfolioLine,
    PortfolioNow,
    Trades,
    closing_digest,
    holdings,
    portfolio_line,
    portfolio_now,
    traded_lots,
    trades_of,
)
from quantd.server.requests.portfolio_targets import (
    AT_THE_COLLAR,
    Expectation,
    agent_weights,
    expectation,
    given_weights,
    policy_weights,
)
from quantd.server.requests.transfer_limits import hand_over_fault
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Effect
from quantd.trading.events import Event, PortfolioClosed, PortfolioOpened, Proposed
from quantd.trading.instruments import MICRO
from quantd.trading.market import Floats

PLANS_KEPT: Final = 256
"""Most dry runs that can still be executed, the newest; a restart forgets all of them."""

PortfolioName = Annotated[
    str,
    Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}(?!\n)$", description="Lower case letters, digits, - and _; 32 at most."),
]
Weights = Annotated[
    dict[str, float], Meta(description="Fraction of equity by symbol; one left out is sold, the rest is cash.")
]
Symbols = Annotated[tuple[str, ...], Meta(description="Symbols for `policy`, or a restriction of `agent`.")]
PolicyName = Annotated[str, Meta(description="A policy that computes the weights from the run's history.")]
ProposalId = Annotated[
    str, Meta(pattern=PLAIN, description="An id that is executed once; the daemon makes one without it.")
]


class TargetsAsked(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The target weights: one of `weights`, `policy` with `symbols`, or `agent`."""

    instead: ClassVar[str] = AT_THE_COLLAR.format("the preview, or `dry_run` of a rebalance, shows the orders")
    weights: Weights = {}
    symbols: Symbols = ()
    policy: PolicyName = ""
    agent: AgentName = ""


class CreatePortfolio(TargetsAsked, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A new portfolio. `symbols` alone have equal weights. `capital` comes from the unallocated book.

    `as_planned` is the `plan` of a preview: if the first orders would differ now, nothing is opened.
    """

    name: PortfolioName
    reason: Because
    capital: Money = "1000000"
    as_planned: Annotated[str, Meta(pattern=PLAIN, description="`plan` of a preview of the same request.")] = ""


class Rebalance(TargetsAsked, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """New targets of a portfolio, or the plan `as_planned` of a dry run, which is executed exactly or refused."""

    reason: Because
    as_planned: Annotated[str, Meta(pattern=PLAIN, description="`plan` of a dry run; no other targets then.")] = ""
    dry_run: bool = False
    id: ProposalId = ""


class ClosePortfolio(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`flatten` sells the positions and returns the cash; `hand_over` gives lots and cash to the agent `to`.

    `as_planned` is the `plan` of a preview: if lots or orders would differ now, nothing is closed.
    """

    how: Literal["flatten", "hand_over"]
    reason: Because
    to: AgentName = ""
    as_planned: Annotated[str, Meta(pattern=PLAIN, description="`plan` of a preview of the same request.")] = ""


class PortfolioList(Struct, frozen=True):
    """The open portfolios, and the places in which more can be opened."""

    run: str
    places: int
    vacant: int
    portfolios: list[PortfolioLine]


class Rebalanced(Struct, frozen=True):
    """New targets with their orders, after the commit, or of a dry run.

    `allocations` is the portfolio once all orders are filled. `proposal` is the id of the targets. `decision` is the
    address of the plan in GET /api/v1/decisions and /api/v1/why; it is empty for a dry run and without trades. `plan`
    is the digest of targets and orders. `skipped` maps a symbol whose target is not traded now to the reason.
    """

    name: str
    agent: str
    dry_run: bool
    ts: int
    time: str
    basis: str
    capital: str
    allocations: list[Holding]
    expected: Expectation
    trades: Trades
    proposal: str
    plan: str
    decision: str
    skipped: dict[str, str] = {}


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
    """Handlers of portfolios; `plan` asks the running agents for their decisions on a copy of the state."""

    def __init__(self, run: RunReader, plan: Callable[[], Awaitable[PlanNow]]) -> None:
        self._run = run
        self._plan = plan
        self._copies = StateCopies(run.service)
        self._numbers = count(1)
        self._opening = asyncio.Lock()
        """Held from the choice of a place to the commit, so that two portfolios do not choose the same
        place."""
        self._plans: OrderedDict[str, tuple[str, bytes, str]] = OrderedDict()
        """Digest of a dry run -> (portfolio, weights float64[N] as bytes, basis: where the weights come from)."""

    def routes(self) -> tuple[Route, ...]:
        """All routes of portfolios. Opening and closing need scope admin: they move capital between books.

        A Post has its path, handler, types of the body and of the answer, summary, an example of the body, and the
        scope if that is not trade.
        """
        v1 = "/api/v1/portfolios"
        return (
            Read(v1, self.listed, PortfolioList, "The open portfolios."),
            Read(f"{v1}/{{name}}", self.shown, PortfolioNow, "One portfolio with its positions."),
            Post(
                v1, self.create, CreatePortfolio, Rebalanced, "Open a portfolio and buy its first weights.",
                '{"name": "core", "symbols": ["SPY", "TLT"], "capital": "1000000", "reason": ".."}', "admin",
            ),
            Post(
                f"{v1}/open/preview", self.preview, CreatePortfolio, Rebalanced,
                "The first orders of a portfolio; nothing is opened.",
                '{"name": "core", "symbols": ["SPY", "TLT"], "capital": "1000000", "reason": ".."}', "admin",
            ),
            Post(
                f"{v1}/{{name}}/rebalance", self.rebalance, Rebalance, Rebalanced,
                "Rebalance a portfolio, or show the orders of a rebalance.",
                '{"weights": {"SPY": 0.6, "TLT": 0.4}, "dry_run": true, "reason": ".."}',
            ),
            Post(
                f"{v1}/{{name}}/close", self.close, ClosePortfolio, PortfolioClosing,
                "Sell a portfolio, or hand it over to an agent.", '{"how": "flatten", "reason": ".."}', "admin",
            ),
            Post(
                f"{v1}/{{name}}/close/preview", self.close_preview, ClosePortfolio, PortfolioClosing,
                "The sales of a closing; nothing is sold.", '{"how": "flatten", "reason": ".."}', "admin",
            ),
        )  # fmt: skip

    @property
    def _state(self) -> State:
        return self._run.service.shell.state

    async def listed(self, request: web.Request, query: Query) -> PortfolioList:
        state = self._state
        state.revalue()
        places = sum(rules.place for rules in state.rules.agents)
        rows = [portfolio_line(state, place_index) for place_index in state.portfolios]
        return PortfolioList(self._run.service.run, places, len(vacant_places(state)), rows)

    async def shown(self, request: web.Request, query: Query) -> PortfolioNow:
        return portfolio_now(self._state, self._open(request.match_info["name"]))

    async def create(self, asked: CreatePortfolio, sender: str) -> Rebalanced:
        """Opens a portfolio and proposes its first weights."""
        async with self._opening:
            return await self._create(asked, sender)

    async def preview(self, asked: CreatePortfolio, sender: str) -> Rebalanced:
        """The first orders of a portfolio, computed on a copy of the state in which it is opened."""
        opened, proposal, place_index, weights = await self._prepared(asked, sender)
        return await self._dry_run(place_index, asked.name, proposal, weights, opened)

    async def _create(self, asked: CreatePortfolio, sender: str) -> Rebalanced:
        """Open a portfolio in a vacant place (an agent without capital), and commit its first weights.

        Raises Refused where the first orders would differ from the preview `as_planned`.
        """
        opened, proposal, place_index, weights = await self._prepared(asked, sender)
        if asked.as_planned:
            preview = await self._dry_run(place_index, asked.name, proposal, weights, opened)
            if preview.plan != asked.as_planned:
                text = (
                    f"the first orders of {asked.name} would differ from the preview; nothing was opened, preview again"
                )
                raise Refused(409, "conflict", text)
        partly = f"the portfolio {asked.name} is open and all in cash; rebalance or close it: "
        return await self._committed(place_index, weights, opened, proposal=proposal, partly=partly)

    async def _prepared(self, asked: CreatePortfolio, sender: str) -> tuple[PortfolioOpened, Proposed, int, Floats]:
        """Return the two events that open a portfolio, the index of its agent, and its target weights float64[N].

        N is the number of symbols of the universe. A place is an agent without capital until a portfolio is opened in
        it. The weights are computed on a copy of the state in which the portfolio is open.

        Raises Refused for a wrong name, capital, reason or target, and if no agent is vacant for a new portfolio.
        """
        service, state = self._run.service, self._state
        self._require_market()
        check_portfolio_name(service, asked.name)
        reason = journal_reason(asked.reason, "a portfolio")
        capital = exact_amount(asked.capital, MICRO, "capital", "1000000.00")
        place = next(iter(vacant_places(state)), "")
        opened = PortfolioOpened(market_now(service), place, asked.name, capital, reason, sender)
        if why := not_opened(state, opened):
            raise Refused(409, "conflict", why)
        targets: TargetsAsked = asked
        # symbols alone get equal weights
        if asked.symbols and not (asked.weights or asked.policy or asked.agent):
            targets = replace(asked, policy="equal_weight")
        place_index = [rules.name for rules in state.rules.agents].index(place)

        def opening(copy: State) -> None:
            step(copy, opened)

        weights, basis = await self._targets(targets, place_index, opening)
        now = market_now(service)
        id, packed = self._id(), weights.tobytes()
        proposal = Proposed(now, place, id, reason, sender, packed, basis=basis, portfolio=asked.name)
        return replace(opened, ts=now, basis=basis), proposal, place_index, weights

    async def rebalance(self, asked: Rebalance, sender: str, name: str) -> Rebalanced:
        """Trade new weights, or with `dry_run` return the orders that they would cause.

        `as_planned` is the digest of an earlier dry run, whose weights are then traded. `basis` says where the weights
        come from.
        """
        service = self._run.service
        place_index = self._open(name)
        self._require_market()
        reason = journal_reason(asked.reason, "a rebalance")
        if asked.as_planned:
            weights, basis = self._planned(asked, name)
        else:
            weights, basis = await self._targets(asked, place_index)
        agent = self._state.rules.agents[place_index].name
        now, id = market_now(service), asked.id or self._id()
        proposal = Proposed(now, agent, id, reason, sender, weights.tobytes(), basis=basis, portfolio=name)
        if asked.dry_run:
            return await self._dry_run(place_index, name, proposal, weights)
        return await self._committed(place_index, weights, proposal=replace(proposal, plan=asked.as_planned))

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
        self._open(name)
        reason = journal_reason(asked.reason, "closing a portfolio")
        closed = PortfolioClosed(market_now(service), name, asked.how, reason, sender, asked.to)
        if why := not_closed(state, closed):
            raise Refused(409, "conflict", why)
        if asked.how == "hand_over" and (why := await self._copies.result(lambda copy: hand_over_fault(copy, closed))):
            text = f"{asked.to} may not take over portfolio {name}: {why}; close it with flatten, or rebalance it first"
            raise Refused(409, "conflict", text)
        return closed

    def _open(self, name: str) -> int:
        """Return the index of the agent that holds an open portfolio. Raises Refused for an unknown name."""
        place_index = place_of(self._state, name)
        if place_index is None:
            names = ", ".join(sorted(portfolio.name for portfolio in self._state.portfolios.values())) or "none"
            raise Refused(404, "not_found", f"there is no portfolio {name[:40]!r}; open portfolios: {names}")
        return place_index

    def _require_market(self) -> None:
        """Raises Refused or NotDone while no targets can be planned."""
        check_ready(self._run.service)
        state = self._state
        check_priced(state)
        if state.switch.state == HALT or state.flattening:
            text = f"the house is halted ({state.switch.reason}); `quantd resume --reason R` sets its switch to RUN"
            raise Refused(409, "conflict", text)

    def _id(self) -> str:
        """A new id for target weights: the number of the newest journal entry, which grows across restarts, and a
        counter.
        """
        return f"{self._run.service.journal.seq}-{next(self._numbers)}"

    def _planned(self, asked: Rebalance, name: str) -> tuple[Floats, str]:
        """Return (target weights float64[N], their source) of an earlier dry run.

        N is the number of symbols of the universe. Raises Refused if the request also has targets of its own, and for
        an unknown dry run.
        """
        if asked.weights or asked.symbols or asked.policy or asked.agent or asked.dry_run:
            raise target_fault(
                "as_planned",
                "as_planned executes the targets of a dry run; send it without other targets and without dry_run",
            )
        plan = self._plans.get(asked.as_planned)
        if plan is None or plan[0] != name:
            text = f"there is no dry run {asked.as_planned!r} of portfolio {name} since the start; make a dry run first"
            raise Refused(409, "conflict", text)
        return np.frombuffer(plan[1]), plan[2]

    async def _targets(
        self, asked: TargetsAsked, place_index: int, before: Callable[[State], None] = lambda copy: None
    ) -> tuple[Floats, str]:
        """Return (weights float64[N] by symbol, basis), computed on a copy of the state; `before` changes the copy
        first.

        `basis` says where the weights come from: "weights", or the name of the policy or agent. Raises Refused unless
        the request has exactly one of weights, policy and agent, and if that source has no weights.
        """
        fields = [field for field in ("weights", "policy", "agent") if getattr(asked, field)]
        if len(fields) != 1:
            text = f"the targets are {' and '.join(fields) or 'missing'}; send one of weights, policy and agent"
            raise target_fault(fields[-1] if fields else "weights", text)
        if asked.weights and asked.symbols:
            raise target_fault(
                "symbols", "both weights and symbols were sent; weights name their symbols, so leave symbols out"
            )
        if asked.agent:
            answer = next(
                (candidate for candidate in (await self._plan()).answers if candidate.agent == asked.agent), None
            )
            names = [agent.name for agent in self._state.rules.agents if not agent.place]
            if answer is None and asked.agent not in names:
                raise Refused(
                    404, "agent", f"there is no agent {asked.agent[:40]!r}; the agents are {', '.join(names)}"
                )
            if answer is None or answer.failed or answer.held:
                why = "does not decide now" if answer is None else answer.failed or "holds its positions"
                raise Refused(409, "conflict", f"agent {asked.agent} has no weights now: {why}")
            weights = answer.weights
            return await self._copies.result(
                lambda copy: agent_weights(copy, place_index, weights, asked.symbols)
            ), asked.agent

        def compute(copy: State) -> tuple[Floats, str]:
            before(copy)
            if asked.weights:
                return given_weights(copy, place_index, asked.weights), "weights"
            return policy_weights(copy, place_index, asked.policy, asked.symbols), asked.policy

        return await self._copies.result(compute)

    async def _dry_run(
        self, place_index: int, name: str, proposal: Proposed, weights: Floats, *before: Event
    ) -> Rebalanced:
        """The answer to a request for target weights on a copy of the state, after the events `before`.

        The newest PLANS_KEPT plans are remembered, so that a later request can trade one of them. Raises Refused with
        the reason.
        """

        def work(copy: State) -> tuple[str, Rebalanced | None]:
            copy.now = max(copy.now, proposal.ts)
            for event in before:
                step(copy, event)
            if why := not_planned(copy, proposal):
                return why, None
            effects = step(copy, proposal)
            return "", self._rebalanced(copy, place_index, proposal, weights, effects, dry_run=True)

        why, rebalanced = await self._copies.result(work)
        if rebalanced is None:
            raise Refused(409, "conflict", f"the targets would be refused: {why}")
        self._plans[rebalanced.plan] = name, proposal.weights, proposal.basis
        while len(self._plans) > PLANS_KEPT:
            self._plans.popitem(last=False)
        return rebalanced

    async def _committed(
        self, place_index: int, weights: Floats, *before: Event, proposal: Proposed, partly: str = ""
    ) -> Rebalanced:
        """Commit target weights after the events `before`, and return the answer with the address of the plan that they
        became. `partly` begins the text of a refusal if an event of `before` was accepted."""
        commit = await committed(
            self._run.service,
            lambda state, effects: self._rebalanced(state, place_index, proposal, weights, effects, dry_run=False),
            *before,
            proposal,
            refused=f"the targets for {proposal.agent} were refused: ",
            partly=partly,
        )
        return replace(commit.answer, decision=commit.address)

    def _rebalanced(
        self,
        state: State,
        place_index: int,
        proposal: Proposed,
        weights: Floats,
        effects: Sequence[Effect],
        *,
        dry_run: bool,
    ) -> Rebalanced:
        """The answer to a request for target weights, from the effects of its event; `state` is the state after the
        event.
        """
        state.revalue()
        portfolio = state.portfolios[place_index]
        return Rebalanced(
            name=portfolio.name,
            agent=proposal.agent,
            dry_run=dry_run,
            ts=proposal.ts,
            time=instant_text(proposal.ts),
            basis=proposal.basis,
            capital=portfolio_line(state, place_index).capital,
            allocations=holdings(state, place_index, traded_lots(state, place_index, effects), weights),
            expected=expectation(state, place_index, weights, proposal.basis),
            trades=trades_of(state, effects, self._run.parts.costs, self._run.service.run),
            proposal=proposal.id,
            plan=plan_digest(proposal, effects),
            decision="",
            skipped={state.universe.symbols[k]: why for k, why in skips_of(state, place_index, proposal).items()},
        )


class Targets(TypedDict, total=False):
    """Target weights: one of `weights`, `policy` with `symbols`, and `agent`; `symbols` alone have equal weights."""

    weights: dict[str, float]
    symbols: tuple[str, ...]
    policy: str
    agent: str


def _opened(context: RouteContext) -> PortfolioRoutes:
    return PortfolioRoutes(context.run, lambda: context.explaining().plan())


ROUTES: Final = RouteGroup(
    "portfolios",
    130,
    _opened,
    calls=(
        read("portfolios", "/portfolios", PortfolioList),
        read("portfolio", "/portfolios/{name}", PortfolioNow),
        change(
            "open_portfolio",
            "/portfolios",
            CreatePortfolio,
            Rebalanced,
            "Open a portfolio with capital of the unallocated book.",
            spread=("targets", Targets),
        ),
        change(
            "preview_portfolio",
            "/portfolios/open/preview",
            CreatePortfolio,
            Rebalanced,
            "The first orders of a portfolio; nothing is opened.",
            spread=("targets", Targets),
            question=True,
        ),
        change(
            "rebalance_portfolio",
            "/portfolios/{name}/rebalance",
            Rebalance,
            Rebalanced,
            "Rebalance a portfolio, or show the orders of a rebalance: `as_planned=` its `plan` executes exactly "
            "those.",
            spread=("targets", Targets),
        ),
        change(
            "close_portfolio",
            "/portfolios/{name}/close",
            ClosePortfolio,
            PortfolioClosing,
            "Sell a portfolio, or hand it over to the agent `to`.",
        ),
        change(
            "preview_closing",
            "/portfolios/{name}/close/preview",
            ClosePortfolio,
            PortfolioClosing,
            "The sales of a closing; nothing is sold.",
            question=True,
        ),
    ),
)
