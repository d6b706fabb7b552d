"""/api/v1/agents/NAME: proposals of targets from outside, for the book of a portfolio or of an outside agent.

What can go wrong: the orders that are sent differ from those that a person saw. So a preview applies the same event to
a copy of the state, and returns a digest of targets and orders. The proposal's event contains this digest, and the
engine compares the digest when it handles the event: nothing can happen between comparison and execution.

One sender could also propose targets and approve them. So a second token must approve; the token that proposed may only
decline.

A proposal is journalled with its verdict, also when it is refused, and is answered after the commit. Of two requests
with the same id, the second waits for the verdict of the first. Malformed targets are refused before they become an
event.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from math import ceil
from typing import Annotated, Final, TypedDict

from aiohttp import web
from msgspec import UNSET, Meta, Struct
from msgspec.structs import replace

from quantd.daemon.engine import step
from quantd.daemon.engine.agents.proposals import held_text, unsigned
from quantd.daemon.engine.safety.pending_limits import digest_of
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.proposal_log import VERDICTS_KEPT
from quantd.daemon.engine.state.snapshot import limits_from
from quantd.daemon.views.headroom import Book, SymbolRoom, least_room
from quantd.daemon.views.preview import PlanNow
from quantd.server.api.access.rate_limits import MINUTE_S, Buckets
from quantd.server.api.commits import committed, of_request
from quantd.server.api.documents import NAMES, Query
from quantd.server.api.problems import Refused
from quantd.server.api.route_groups import RouteContext, RouteGroup
from quantd.server.api.route_records import Post, Read
from quantd.server.api.run_reader import RunReader, StateCopies
from quantd.server.requests.control import Because, NotDone, check_ready, journal_reason, market_now
from quantd.server.requests.proposal_answers import (
    AgentStanding,
    ProposalAnswer,
    VerdictLine,
    Waiting,
    proposal_answer,
    standing_of,
    verdict_line,
    waiting_of,
)
from quantd.server.requests.proposals import (
    Id,
    PlanDigest,
    Propose,
    Targets,
    columns_of,
    earlier_verdict,
    known_place,
    proposed,
    proposer,
    refused_text,
    waiting_proposal,
)
from quantd.trading.display_text import instant_text
from quantd.trading.effects import Effect
from quantd.trading.effects import Refused as NotCarriedOut
from quantd.trading.events import DeviceSignature, Event, ProposalReviewed, Proposed

SHOWN: Final = 64
"""Most plans of waiting proposals that are remembered, for the text of a refusal."""

SEE: Final = "`quantd review {} --id {}` shows the orders and their plan"
SIGN: Final = "sign on the machine of the key: quantd review {} --id {} --approve --plan PLAN --key FILE"


class Proposals(Struct, frozen=True):
    """The newest proposals of an agent or for a portfolio with their verdicts, newest first."""

    agent: str
    proposals: list[VerdictLine]


class ReviewPreview(Struct, frozen=True, forbid_unknown_fields=True):
    """Names a proposal that waits for a person."""

    id: Id


class Review(Struct, frozen=True, forbid_unknown_fields=True):
    """A person's decision on a proposal that waits.

    An approval needs the `plan` of a preview, and is refused if the orders would differ now. `signed` is the signature
    of a device, which an agent with `approval = "device"` needs.
    """

    id: Id
    approve: bool
    reason: Because
    plan: PlanDigest = ""
    signed: DeviceSignature | None = None


class LimitsWaiting(Struct, frozen=True):
    """Looser limits that wait since an instant (ns UTC), and the digest that an approval names.

    `devices` has the public keys that are in force then, by name."""

    looser: list[str]
    devices: dict[str, str]
    digest: str
    since: int
    due: str


class Reviews(Struct, frozen=True):
    """The proposals that wait for a person, and the orders that are held until the first price of their market, oldest
    first. For those `until` says what they wait for; `quantd cancel ID` ends one. `now` is the market time, ns UTC;
    `limits` are the looser limits that wait, `devices` the public keys in force by name."""

    waiting: list[Waiting]
    held: list[Waiting]
    now: int
    devices: dict[str, str]
    limits: LimitsWaiting | None = None


class NewestProposals(Query, frozen=True):
    """The newest proposals."""

    limit: Annotated[int, Meta(ge=1, le=VERDICTS_KEPT, description="Number of proposals, the newest ones.")] = 20


class OfSymbols(Query, frozen=True):
    """The symbols whose room is computed."""

    symbols: Annotated[str, Meta(pattern=NAMES, description="Symbols, separated by commas; all without it.")] = ""


Rooms = Callable[[Book, Sequence[int]], Awaitable[list[SymbolRoom]]]


class ProposalRoutes:
    """Handlers of proposals. Neither of the two functions blocks the event loop.

    `rooms` computes the room up to each limit, per symbol. `plan` asks the running agents for their decisions on a copy
    of the state.
    """

    def __init__(self, run: RunReader, rooms: Rooms, plan: Callable[[], Awaitable[PlanNow]]) -> None:
        self._run = run
        self._rooms = rooms
        self._plan = plan
        self._copies = StateCopies(run.service)
        self._turn = asyncio.Lock()
        self._shown: OrderedDict[str, str] = OrderedDict()
        """The newest plans of proposals that were shown -> the id with the orders."""
        self._a_minute = run.config.api.rate.proposals
        # a third of a minute's proposals may come at once
        self._buckets = Buckets(self._a_minute / MINUTE_S, max(1, self._a_minute // 3))

    @property
    def _state(self) -> State:
        return self._run.service.shell.state

    async def standing(self, request: web.Request, query: OfSymbols) -> AgentStanding:
        """The standing of a portfolio or an outside agent: its book, its limits and the room of each symbol, or of
        those in `query`. Raises Refused."""
        name, service = request.match_info["name"], self._run.service
        try:
            asked = columns_of(self._state, names_of(query.symbols), "symbols") if query.symbols else None
        except NotDone as why:
            raise Refused(404, "symbol", str(why)) from None
        known_place(self._state, name)  # a wrong name is refused before the store is read
        promotions = await self._run.read(lambda reader: reader.promotions())
        # a second time: the book may have changed during the read
        house, book_index, shadow = known_place(self._state, name)
        book, account = Book(house, book_index), Book(house)
        standing = standing_of(
            self._state, name, service.run, market_now(service), book.standing(), promotions, self._a_minute
        )
        columns = asked or range(house.universe.size)
        rooms = await self._rooms(book, columns)
        if shadow is None:  # the limits of the account apply as well
            of_account = await self._rooms(account, columns)
            rooms = [least_room(own, house_room, name) for own, house_room in zip(rooms, of_account, strict=True)]
        standing.room.extend(rooms)
        return standing

    async def proposals(self, request: web.Request, query: NewestProposals) -> Proposals:
        name = request.match_info["name"]
        known_place(self._state, name)
        log = self._state.outside.get(proposer(self._state, name))
        newest = log.verdicts[-query.limit :][::-1] if log is not None else []
        return Proposals(name, [verdict_line(self._state.universe, verdict) for verdict in newest])

    async def preview(self, asked: Targets, sender: str, name: str) -> ProposalAnswer:
        """The verdict on a copy of the state, in which the engine handles the proposal (`step`); nothing changes."""
        self._check_rate(f"preview {sender}")
        return await self.dry_run(name, await self.proposal(asked, name, sender), named=asked.weights)

    async def propose(self, asked: Propose, sender: str, name: str) -> ProposalAnswer:
        """The verdict on a proposal for the book of `name`, after the commit; `sender` names the token.

        Raises Refused and NotDone for a proposal that is refused as a whole.
        """
        state = self._state
        self._check_rate(f"propose {sender}")
        async with self._turn:
            await self._run.service.settled()
            proposal = await self.proposal(asked, name, sender)
            of_request().receipt = partial(self._run.service.receipts.find, proposal.agent, proposal.id)
            if (earlier := earlier_verdict(state, proposal)) is not None:
                line = verdict_line(state.universe, earlier, asked.weights)
                return ProposalAnswer(name, preview=False, repeated=True, verdict=line)
            return await self.trade(name, proposal, named=asked.weights)

    async def proposal(self, asked: Targets, name: str, sender: str, *before: Event) -> Proposed:
        """The event of targets for the book of `name`, which the events `before` may open. Raises Refused and NotDone.

        The weights of a policy, and of a book that is not open yet, are computed on a copy of the state.
        """
        service = self._run.service
        decided = await self._decided(asked.agent) if asked.agent else {}
        if not before and (asked.weights or asked.orders or asked.agent):
            return proposed(service, self._state, name, asked, sender, decided)

        def work(copy: State) -> Proposed:
            for event in before:
                step(copy, event)
            return proposed(service, copy, name, asked, sender, decided)

        return await self._copies.result(work)

    async def dry_run(self, name: str, proposal: Proposed, *before: Event, named: Iterable[str] = ()) -> ProposalAnswer:
        """The answer to a proposal on a copy of the state, after the events `before`; nothing changes.

        Raises NotDone where targets of a book that `before` opens are refused as a whole.
        """

        def work(copy: State) -> ProposalAnswer:
            copy.now = max(copy.now, proposal.ts)
            for event in before:
                step(copy, event)
            effects = step(copy, proposal)
            if before and (why := _refusal_text(effects)):
                raise NotDone("conflict", f"the targets would be refused: {why}")
            if proposal in copy.reviews:  # it would wait for a person: show the verdict of an approval
                effects = step(copy, _review_of(copy, proposal))
            return self._answer(name, proposal, named, preview=True)(copy, effects)

        return await self._copies.result(work)

    async def trade(
        self, name: str, proposal: Proposed, *before: Event, named: Iterable[str] = (), partly: str = ""
    ) -> ProposalAnswer:
        """Commit a proposal after the events `before`, and return the answer with the address of its plan.

        `partly` begins the text of a refusal if an event of `before` was accepted. Raises Refused.
        """
        service, answer = self._run.service, self._answer(name, proposal, named, preview=False)
        refused = refused_text(proposal.id) if before else refused_text(proposal.id, service, name)
        commit = await committed(service, answer, *before, proposal, refused=refused, partly=partly)
        return replace(commit.answer, decision=commit.address)

    async def reviews(self, request: web.Request, query: Query) -> Reviews:
        state = self._state
        held = [replace(waiting_of(state, proposal), until=held_text(state, proposal)) for proposal in state.awaiting]
        limits = None
        if (later := state.loosening) is not None:
            new = limits_from(later.limits).approvals
            keys = {} if new is UNSET else new.devices
            limits = LimitsWaiting(list(later.looser), keys, digest_of(later), later.since, instant_text(later.due))
        waiting = [waiting_of(state, proposal) for proposal in state.reviews]
        approvals = state.rules.approvals
        devices = {} if approvals is None else approvals.devices
        return Reviews(waiting, held, market_now(self._run.service), devices, limits)

    async def preview_review(self, asked: ReviewPreview, sender: str, name: str) -> ProposalAnswer:
        """The verdict that an approval would have now; nothing changes. Raises NotDone.

        The engine handles the approval (`step`) on a copy of the state, and its effects have the orders and refusals.
        """
        check_ready(self._run.service)

        def work(copy: State) -> ProposalAnswer:
            proposal = waiting_proposal(copy, name, asked.id)
            copy.now = max(copy.now, self._state.now)
            effects = step(copy, _review_of(copy, proposal))
            if why := _refusal_text(effects):
                raise NotDone("conflict", why)
            return self._answer(name, proposal, preview=True)(copy, effects)

        answer = await self._copies.result(work)
        self._shown[answer.plan] = f"{asked.id}: {_orders_text(answer)}"
        while len(self._shown) > SHOWN:
            self._shown.popitem(last=False)
        return answer

    async def review(self, asked: Review, sender: str, name: str) -> ProposalAnswer:
        """Approves or declines a proposal that waits. Raises Refused and NotDone.

        An approval needs another sender than the proposal had. `asked.plan` binds it to the orders that were shown.
        """
        if asked.approve and not asked.plan:
            text = f"an approval needs the plan of the orders that were seen: {SEE.format(name, asked.id)}"
            raise NotDone("conflict", text, "plan")
        service = self._run.service
        check_ready(service)
        reason = journal_reason(asked.reason, "the review of a proposal")
        async with self._turn:
            await service.settled()
            proposal = waiting_proposal(self._state, name, asked.id)
            of_request().receipt = partial(service.receipts.find, name, asked.id)
            if asked.approve:
                _check_second(proposal, sender)
                now = market_now(service)
                if why := unsigned(self._state, proposal, asked.signed, asked.plan, now):
                    text = f"the proposal {asked.id} was not approved: {why}; {SIGN.format(name, asked.id)}"
                    raise Refused(403, "device", text)
                await self._check_seen(name, asked)
            event = ProposalReviewed(
                market_now(service), name, asked.id, asked.approve, reason, sender, asked.plan, asked.signed
            )
            commit = await committed(service, self._answer(name, proposal, preview=False), event)
        return replace(commit.answer, decision=commit.address if asked.approve else "")

    async def _check_seen(self, name: str, asked: Review) -> None:
        """Raises Refused, with what changed, where an approval is of other orders than it would send now."""
        before = self._shown.get(asked.plan, "no orders that were shown since the start of the daemon")
        now = await self.preview_review(ReviewPreview(asked.id), "", name)
        if now.plan != asked.plan:
            text = f"the plan {asked.plan} is of {before}; now {asked.id} is of {_orders_text(now)}"
            see = SEE.format(name, asked.id)
            raise Refused(409, "conflict", f"the proposal {asked.id} was not approved: {text}; {see}")

    def _check_rate(self, key: str) -> None:
        """Raises Refused for too many requests; requests with the same `key` count together."""
        if wait_s := self._buckets.wait_s(key, time.monotonic()):
            seconds = str(ceil(wait_s))
            at_once = max(1, self._a_minute // 3)
            text = (
                f"more than {self._a_minute} {key.split()[0]} requests a minute, or {at_once} at once, by [api.rate] "
                f"proposals; wait {seconds} s"
            )
            raise Refused(429, "rate", text, {"Retry-After": seconds})

    async def _decided(self, agent: str) -> dict[str, float]:
        """The present weights of an agent by symbol. Raises NotDone for an unknown agent, and where it decides none."""
        answer = next((candidate for candidate in (await self._plan()).answers if candidate.agent == agent), None)
        names = [rules.name for rules in self._state.rules.agents if not rules.place]
        if answer is None and agent not in names:
            raise NotDone("agent", f"there is no agent {agent[:40]!r}; the agents are {', '.join(names)}")
        if answer is None or answer.failed or answer.held:
            why = "does not decide now" if answer is None else answer.failed or "holds its positions"
            raise NotDone("conflict", f"agent {agent} has no weights now: {why}")
        return answer.weights

    def _answer(
        self, name: str, proposal: Proposed, named: Iterable[str] = (), *, preview: bool
    ) -> Callable[[State, Sequence[Effect]], ProposalAnswer]:
        """The function that makes the answer to a proposal from the state after its event, and the event's effects."""
        costs, run = self._run.parts.costs, self._run.service.run
        return partial(proposal_answer, name, proposal, costs, run, preview=preview, named=named)


def names_of(text: str) -> tuple[str, ...]:
    """The names in a text, which commas separate."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _orders_text(answer: ProposalAnswer) -> str:
    """The orders of an answer as text, the first eight."""
    orders = answer.trades.orders if answer.trades is not None else []
    texts = [f"{order.side} {order.qty} {order.symbol} at {order.limit or 'any price'}" for order in orders]
    return ", ".join([*texts[:8], *([f"{len(texts) - 8} more"] if len(texts) > 8 else [])]) or "no order"


def _refusal_text(effects: Sequence[Effect]) -> str:
    """The reason why the engine refused an event, from its effects; empty where it did not."""
    return next((effect.text for effect in effects if isinstance(effect, NotCarriedOut)), "")


def _check_second(proposal: Proposed, sender: str) -> None:
    """Raises Refused if the sender of a proposal approves it."""
    # "api:NAME:ID" without the id: a new secret of the same token is the same sender
    if proposal.who.split(":")[:2] == sender.split(":")[:2]:
        text = f"{sender} sent the proposal {proposal.id}, and may only decline it; another token must approve it"
        raise Refused(403, "second", f"{text}; `quantd token create NAME --scope trade` makes one")


def _review_of(copy: State, proposal: Proposed) -> ProposalReviewed:
    """The event of an approval, to preview its effects on a copy of the state, which needs no signature from now on."""
    copy.govern(replace(copy.rules, approvals=None))
    return ProposalReviewed(copy.now, proposal.agent, proposal.id, True, "preview", "preview")


class Wanted(TypedDict, total=False):
    """Targets: one of `weights`, `orders` in signed units as text, `policy` with `symbols`, and `agent`.

    `symbols` alone have equal weights.
    """

    weights: dict[str, float]
    orders: dict[str, str]
    policy: str
    agent: str
    symbols: tuple[str, ...]


def proposals_of(context: RouteContext) -> ProposalRoutes:
    """The handlers of proposals for one running service."""
    return ProposalRoutes(
        context.run,
        lambda book, columns: context.explaining().rooms(book, columns),
        lambda: context.explaining().plan(),
    )


ROUTES: Final = RouteGroup(
    "proposals",
    180,
    proposals_of,
    routes=(
        Read("/api/v1/reviews", ProposalRoutes.reviews, "The proposals that wait for a person.", call="reviews"),
        Read(
            "/api/v1/agents/{name}/standing", ProposalRoutes.standing,
            "Book, limits and headroom of a portfolio or an outside agent.", call="agent_standing",
        ),
        Read(
            "/api/v1/agents/{name}/proposals", ProposalRoutes.proposals, "Its newest proposals with verdicts.",
            call="agent_proposals",
        ),
        Post(
            "/api/v1/agents/{name}/preview", ProposalRoutes.preview,
            "The verdict and costs of targets, without an order.", '{"weights": {"SPY": 0.6}}', "propose",
            call="preview", form={"spread": ("wanted", Wanted)},
        ),
        Post(
            "/api/v1/agents/{name}/propose", ProposalRoutes.propose, "Trade targets, through the gate.",
            '{"weights": {"SPY": 0.6}, "id": "2019-03-29.1", "reason": ".."}', "propose", call="propose",
            form={"spread": ("wanted", Wanted)},
        ),
        Post(
            "/api/v1/agents/{name}/review/preview", ProposalRoutes.preview_review,
            "The verdict and costs of a proposal that waits, if it were approved now.", '{"id": "2019-03-29.1"}',
            call="preview_review", form={"keyed": False},
        ),
        Post(
            "/api/v1/agents/{name}/review", ProposalRoutes.review, "Approve or decline a proposal that waits.",
            '{"id": "2019-03-29.1", "approve": false, "reason": ".."}', call="review",
            form={"about": "Approve, with the `plan` of a preview, or decline a proposal that waits.",
                  "keywords": ("approve",)},
        ),
    ),
)  # fmt: skip
