"""The expensive reads of the API: why an order was made, the headroom of a book (the room up to each limit), and the
plan of a decision round now.

What can go wrong: a read delays trading, or changes it. So the journal is replayed in a thread that sleeps as long as
it works. Headroom is computed between steps, a few symbols at a time. A plan is computed on a copy of the state by
separate instances of the policies, so that a preview does not change the hidden state of the policies that trade.

One request for an expensive read runs at a time.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import Decision
from quantd.daemon.assembly.parts import Parts, limits_of_config, policies_of
from quantd.daemon.cli.configuration import read as read_config
from quantd.daemon.config import ConfigError, digest
from quantd.daemon.engine.agents.shadows import place_of_book
from quantd.daemon.engine.state.snapshot import freeze, in_force, limits_from
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.recovery.replay import saved_sets
from quantd.daemon.recovery.state_at import Redecided, Refolder
from quantd.daemon.recovery.tightening import tightened
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.addresses import AddressWrong, Found, find
from quantd.daemon.views.explanation import Explanation, explain
from quantd.daemon.views.headroom import Book, RiskNow, SymbolRoom, Unknown, named, risk_now
from quantd.daemon.views.other_limits import NoOtherCourse, limit_place, with_limit
from quantd.daemon.views.preview import PlanNow, WhatIf, plan_now
from quantd.server.api.documents import OneBook, WhatIfAsked, Why
from quantd.server.api.problems import FieldFault, Refused
from quantd.server.requests.control import check_agent, check_priced, check_ready
from quantd.server.requests.proposals import given_weights
from quantd.server.requests.shares import share_events
from quantd.trading.events import Event, Reloaded

T = TypeVar("T")

REST_S: Final = 0.003
"""The replaying thread works for this many seconds and then sleeps as long, so that the trading thread can run."""

BREATH_S: Final = 0.002
"""Seconds of headroom computation before control returns to the event loop."""

KEPT: Final = 4
"""Number of decisions that are cached: the next request is often about the same round."""


Read = Callable[[Callable[[Reader], Explanation]], Awaitable[Explanation]]
"""Runs a query of the store in a thread."""


class Explaining:
    """The expensive reads of one running service: `why`, `risk`, `plan` and `what_if`."""

    def __init__(self, service: Service, parts: Parts, folder: Path) -> None:
        self._service = service
        self._parts = parts
        self._folder = folder
        self._turn = asyncio.Lock()
        self._judged: OrderedDict[tuple[int, int, str], Redecided] = OrderedDict()
        self._deadline: Deadline | None = None

    def close(self) -> None:
        """End the policy processes that `plan` has started."""
        if self._deadline is not None:
            self._deadline.close()

    async def why(self, read: Read, what: str, query: Why, own: str = "") -> Explanation:
        """Explain `what`: an order, a decision or a symbol. `read` queries the store in a thread. Raises Refused.

        Unless the query asks for the recorded text alone, the decision is decided again. The search in the store runs
        at half speed, so that the event loop can run. Of a symbol, a decision of the agent `own` comes first, and of
        a decision its own part alone. A later proposal that skipped the symbol is no decision: its reason is the text
        of the refusal.
        """
        if not (what.isascii() and what.isprintable() and len(what) <= 64):
            text = "the path names no order, decision or symbol; `quantd orders` lists the orders"
            raise Refused(404, "not_found", text)
        judge = None if query.recorded is not None else self._judge

        skipped_ts, skipped = (0, "") if query.at is not None else self._skipped(what, own)
        book = self._book_of(own)

        def work(reader: Reader) -> Explanation:
            try:
                found = find(reader, what, query.at, rested, book)
            except AddressWrong as why:
                raise Refused(404, "not_found", skipped or str(why)) from None
            # a proposal arrives after the decisions of the others at its instant
            if book and found.decision.plan.ts < skipped_ts + (not _is_of(found, book)):
                address = found.decision.of(what)
                raise Refused(404, "not_found", f"{skipped}; `quantd why {address}` explains the decision before it")
            explanation = explain(found, judge, self._parts.slices)
            if not own:
                return explanation
            mine = [part for part in explanation.agents if part.agent == book]
            if not mine:
                text = f"{own} has no part in {what}; `why` explains to its token its own decisions alone"
                raise Refused(404, "not_found", text)
            return msgspec.structs.replace(explanation, agents=mine)

        async with self._turn:
            return await read(work)

    def _book_of(self, own: str) -> str:
        """The agent or shadow whose book the outside agent `own` trades: a promotion exchanges the books."""
        place = place_of_book(self._service.shell.state, own)
        return own if place is None else place[0].rules.agents[place[1]].name

    def _skipped(self, symbol: str, own: str) -> tuple[int, str]:
        """(instant, sentence) of the newest proposal that skipped a symbol; (0, "") without one.

        With `own` only the proposals of this agent count.
        """
        state = self._service.shell.state
        column = state.universe.index.get(symbol)
        return max(
            (
                (verdict.ts, f"the proposal {verdict.id} of {name} did not trade {symbol}: {line.why}")
                for name, log in state.outside.items()
                for verdict in log.verdicts
                for line in verdict.symbols
                if line.symbol == column and line.outcome == "skipped" and own in ("", name)
            ),
            default=(0, ""),
        )

    def _judge(self, decision: Decision) -> Redecided:
        """Return the recorded decision, decided again by a replay in the calling thread; the last KEPT results are
        cached.

        Raises Unavailable where the journal cannot be replayed.
        """
        key = decision.seq, decision.ordinal, decision.shadow
        judgement = self._judged.get(key)
        if judgement is None:
            refolder = Refolder(self._service.store, self._service.run, self._folder, parts=self._parts, watched=rested)
            judgement = self._judged[key] = refolder(decision)
            while len(self._judged) > KEPT:
                self._judged.popitem(last=False)
        return judgement

    async def risk(self, query: OneBook) -> RiskNow:
        """Return value, bound and headroom (room up to the bound) of each limit of one book at one instant.

        Raises Refused for an unknown agent or symbol.
        """
        state, service = self._service.shell.state, self._service
        try:
            book_index, columns = named(state, query.agent, query.symbol, query.search)
        except Unknown as why:
            raise Refused(404, "not_found", str(why)) from None
        async with self._turn:
            book = Book(state, book_index)
            # []: the headroom by symbol is added below
            risk = risk_now(state, book, service.run, service.shell.ts, [], len(columns))
            risk.room.extend(await _rooms(book, columns[: query.limit]))
        return risk

    async def rooms(self, book: Book, columns: Sequence[int]) -> list[SymbolRoom]:
        """The headroom (room up to each limit) of one book in the symbols at `columns`, indices into the universe."""
        async with self._turn:
            return await _rooms(book, columns)

    async def what_if(self, asked: WhatIfAsked) -> WhatIf:
        """Return the plan now, and with other limits, weights and shares. Raises Refused and NotDone."""
        service = self._service
        state = service.shell.state
        check_ready(service)
        check_priced(state)
        events, looser = await asyncio.to_thread(self._limit_events, asked.limits)
        events += share_events(state, asked.shares, state.now, "what if")
        weights = {}
        if asked.weights or asked.agent:
            if not asked.agent:
                text = "weights are of an agent, and none is named; add agent"
                raise Refused(422, "command", text, errors=[FieldFault("agent", text)])
            check_agent(service, asked.agent)
            index = [agent.name for agent in state.rules.agents].index(asked.agent)
            weights[index] = given_weights(state, index, asked.weights).tobytes()
        return WhatIf(await self.plan(), await self.plan(events, weights=weights), looser)

    def _limit_events(self, limits: Sequence[str]) -> tuple[list[Event], list[str]]:
        """(the event that brings KEY=VALUE of each limit, names of those that may be looser). Raises Refused."""
        if not limits:
            return [], []
        keys = [limit.partition("=")[0].strip() for limit in limits]
        if twice := [key for k, key in enumerate(keys) if key in keys[:k]]:
            text = f"{twice[0]} is there twice; write one value of it"
            raise Refused(422, "command", text, errors=[FieldFault("limits", text)])
        service, config = self._service, self._parts.config
        state, present = service.shell.state, in_force(service.shell.unsettled.rules)
        after = present
        try:
            file, sets = config.source.folder / Path(config.source.file).name, saved_sets(self._folder, digest(config))
            places = [limit_place(state.rules, key) for key in keys]
            rules = limits_of_config(self._parts, read_config(file, (*sets, *limits)))
            for place in places:
                after = with_limit(place, rules, after)
        except (ConfigError, NoOtherCourse) as why:
            text = str(why)
            raise Refused(422, "command", text[:1000], errors=[FieldFault("limits", text[:1000])]) from None
        names = [agent.name for agent in state.rules.agents]
        looser = tightened((limits_from(present), names), (limits_from(after), names))[1]
        return [Reloaded(state.now, service.shell.config, (), after)], list(looser)

    async def plan(self, after: Sequence[Event] = (), agent: str = "", weights: Mapping[int, bytes] = {}) -> PlanNow:
        """Return the orders that the agents' decisions would cause now, computed in a thread on a copy of the state.

        The events `after` are first applied to the copy. With `agent`, only this agent is asked for its decision. An
        agent in `weights`, by index, is not asked: it has these target weights. The policies are separate instances,
        made at the first call; a loaded model decides in place of the configured policy. Raises Refused if a policy
        cannot be loaded.
        """
        async with self._turn:
            service = self._service
            await service.settled()
            state = service.shell.state
            # frozen on the event loop, between two steps: the thread must not read a state that changes
            frozen, rules, costs, run = freeze(state, ended=False), state.rules, self._parts.costs, service.run
            first = self._parts.first_sample(time.time_ns())

            def work() -> PlanNow:
                if self._deadline is None:
                    # separate instances: a preview must not change the hidden state of the running policies
                    parts = self._parts
                    policies = policies_of(service.config, parts.universe, parts.interval_ns, parts.isolation)
                    separate_parts = replace(parts, policies=policies)
                    seats = separate_parts.seats(lambda: service.shell.unsettled.loaded)  # read in threads
                    self._deadline = Deadline(policies, seated=seats)
                return plan_now(rules, frozen, self._deadline, costs, run, after, agent, first, weights)

            try:
                return await asyncio.to_thread(work)
            except PolicyError as why:
                raise Refused(503, "policy", str(why)) from None


def _is_of(found: Found, agent: str) -> bool:
    """Whether an agent, or its shadow, takes part in a decision."""
    decision = found.decision
    return agent in (found.reader.of_shadow, *(decision.agents[part.agent] for part in decision.plan.agents))


async def _rooms(book: Book, columns: Sequence[int]) -> list[SymbolRoom]:
    """The headroom (room up to each limit) of a book in the symbols at `columns`; control returns to the event loop
    every BREATH_S seconds.
    """
    symbol_rooms: list[SymbolRoom] = []
    began_s = time.monotonic()
    for symbol_room in book.rooms(columns):
        symbol_rooms.append(symbol_room)
        if time.monotonic() - began_s > BREATH_S:
            await asyncio.sleep(0)
            began_s = time.monotonic()
    return symbol_rooms


def rested(items: Iterator[T]) -> Iterator[T]:
    """Yield the items at half speed: after each stretch of work this generator sleeps as long as the stretch took."""
    began_s = time.monotonic()
    for item in items:
        yield item
        now_s = time.monotonic()
        if now_s - began_s > REST_S:
            time.sleep(REST_S)
            began_s = time.monotonic()
