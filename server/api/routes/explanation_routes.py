"""The expensive reads of the API: why an order was made, the headroom of a book, and the plan of a round now.

What can go wrong: a read delays trading, or changes it. The journal is replayed in a thread that sleeps as long as it
works. Headroom is computed between steps, a few symbols at a time. A plan is computed on a copy of the state, by
separate instances of the policies. A preview must not change the hidden state of those that trade.

One request runs at a time.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from quantd.adapters.store.queries import Reader
from quantd.adapters.store.read_models import Decision
from quantd.daemon.assembly.parts import Parts, policies_of
from quantd.daemon.engine.state.snapshot import freeze
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.recovery.state_at import Redecided, Refolder
from quantd.daemon.runtime.service import Service
from quantd.daemon.views.addresses import AddressWrong, find
from quantd.daemon.views.explanation import Explanation, explain
from quantd.daemon.views.headroom import Book, RiskNow, SymbolRoom, Unknown, named, risk_now
from quantd.daemon.views.preview import PlanNow, plan_now
from quantd.server.api.documents import OneBook, Why
from quantd.server.api.problems import Refused
from quantd.trading.events import Event

T = TypeVar("T")

REST_S: Final = 0.003
"""Seconds of work, and then of sleep, of the replaying thread, so that the trading thread can run."""

BREATH_S: Final = 0.002
"""Seconds of headroom computation before control returns to the event loop."""

KEPT: Final = 4
"""Decisions that are cached: the next request is often about the same round."""


Read = Callable[[Callable[[Reader], Explanation]], Awaitable[Explanation]]
"""Runs a query of the store in a thread."""


class Explaining:
    """The three expensive reads of one running service."""

    def __init__(self, service: Service, parts: Parts, folder: Path) -> None:
        self._service = service
        self._parts = parts
        self._folder = folder
        self._one = asyncio.Lock()
        self._judged: OrderedDict[tuple[int, int, str], Redecided] = OrderedDict()
        self._deadline: Deadline | None = None

    def close(self) -> None:
        """Ends the policy processes that plans started."""
        if self._deadline is not None:
            self._deadline.close()

    async def why(self, read: Read, what: str, query: Why) -> Explanation:
        """Explains an order, decision or symbol; `read` queries the store in a thread. Raises Refused."""
        if not (what.isascii() and what.isprintable() and len(what) <= 64):
            text = "the path names no order, decision or symbol; `quantd orders` lists the orders"
            raise Refused(404, "not_found", text)
        judge = None if query.recorded is not None else self._judge

        def work(reader: Reader) -> Explanation:
            try:
                return explain(find(reader, what, query.at, rested), judge, self._parts.slices)
            except AddressWrong as why:
                raise Refused(404, "not_found", str(why)) from None

        async with self._one:
            return await read(work)

    def _judge(self, decision: Decision) -> Redecided:
        """Return the plan of a decision, computed again in the thread that explains.

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
        """Return value, bound and headroom of each limit of one book at one instant.

        Raises Refused for an unknown agent or symbol.
        """
        state, service = self._service.shell.state, self._service
        try:
            number, columns = named(state, query.agent, query.symbol, query.search)
        except Unknown as why:
            raise Refused(404, "not_found", str(why)) from None
        async with self._one:
            book = Book(state, number)
            now = risk_now(state, book, service.run, service.shell.ts, [], len(columns))
            now.room.extend(await _rooms(book, columns[: query.limit]))
        return now

    async def rooms(self, book: Book, columns: Sequence[int]) -> list[SymbolRoom]:
        """The headroom of symbols of one book."""
        async with self._one:
            return await _rooms(book, columns)

    async def plan(self, after: Sequence[Event] = (), agent: str = "") -> PlanNow:
        """Return the plan of a round at this instant, computed in a thread on a copy of the state.

        The plan follows the events `after`, and is that of `agent` alone where one is named. Raises Refused where a
        policy cannot be loaded.
        """
        async with self._one:
            service = self._service
            await service.settled()
            state = service.shell.state
            frozen, rules, costs, run = freeze(state, ended=False), state.rules, self._parts.costs, service.run

            def work() -> PlanNow:
                if self._deadline is None:
                    # separate instances: a preview must not change the hidden state of the running policies
                    parts = self._parts
                    policies = policies_of(service.config, parts.universe, parts.interval_ns, parts.isolation)
                    separate_parts = replace(parts, policies=policies)
                    seats = separate_parts.seats(lambda: service.shell.unsettled.loaded)  # read in threads
                    self._deadline = Deadline(policies, seated=seats)
                return plan_now(rules, frozen, self._deadline, costs, run, after, agent)

            try:
                return await asyncio.to_thread(work)
            except PolicyError as why:
                raise Refused(503, "policy", str(why)) from None


async def _rooms(book: Book, columns: Sequence[int]) -> list[SymbolRoom]:
    """The headroom of symbols; control returns to the event loop every BREATH_S."""
    room: list[SymbolRoom] = []
    began = time.monotonic()
    for symbol_room in book.rooms(columns):
        room.append(symbol_room)
        if time.monotonic() - began > BREATH_S:
            await asyncio.sleep(0)
            began = time.monotonic()
    return room


def rested(items: Iterator[T]) -> Iterator[T]:
    """Yield the items at half speed: after each stretch of work this generator sleeps as long as the stretch took."""
    began = time.monotonic()
    for item in items:
        yield item
        now = time.monotonic()
        if now - began > REST_S:
            time.sleep(REST_S)
            began = time.monotonic()
