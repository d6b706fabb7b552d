"""What takes more than a look: why an order was made, how much more could be traded, what would be traded now.

None of it holds up trading: the past is folded in a thread that rests as often as it works, sizes are asked between
steps a few at a time, and a plan is made on a copy of the state. Each is done for one asker at a time.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Final

from aiohttp import web

from quantd.adapters.store.queries import Decision, Reader
from quantd.daemon.api.guard import Refused
from quantd.daemon.assembly.parts import Parts, policies_of
from quantd.daemon.engine.planning.verdict_log import Judged
from quantd.daemon.engine.snapshot import freeze
from quantd.daemon.policies.deadline import Deadline
from quantd.daemon.policies.loading import PolicyError
from quantd.daemon.recovery.state_at import Refolder
from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.timeline import Item
from quantd.daemon.views.addresses import AddressWrong, find
from quantd.daemon.views.explanation import Explanation, explain
from quantd.daemon.views.headroom import Book, RiskNow, SymbolRoom, Unknown, named, risk_now
from quantd.daemon.views.preview import PlanNow, plan_now
from quantd.trading.clock_text import instant_text

REST_S: Final = 0.003
"""How long folding works, and then rests, so that the thread that trades gets its turn."""

BREATH_S: Final = 0.002
"""How long sizes are asked for before the loop gets its turn."""

KEPT: Final = 4
"""Decisions whose state is kept: somebody who looks at one order looks at the next of the same round."""


Read = Callable[[Callable[[Reader], Explanation]], Awaitable[Explanation]]
"""Asks the store, in a thread."""


class Explaining:
    """The three slow readings of one running service."""

    def __init__(self, service: Service, parts: Parts, where: str | Path, folder: Path) -> None:
        self._service = service
        self._parts = parts
        self._where = where
        self._folder = folder
        self._one = asyncio.Lock()
        self._judged: OrderedDict[tuple[int, int], list[Judged]] = OrderedDict()
        self._deadline: Deadline | None = None

    def close(self) -> None:
        """End the processes of policies that plans asked."""
        if self._deadline is not None:
            self._deadline.close()

    async def why(self, read: Read, request: web.Request) -> Explanation:
        """Explain what the path names; `read` asks the store in a thread. Raises Refused."""
        what, at = request.match_info["order"], request.query.get("at")
        if not (what.isascii() and what.isprintable() and len(what) <= 64):
            raise Refused(404, "not_found", "there is no order, decision or symbol of this name")
        judge = None if "recorded" in request.query else self._judge

        def work(reader: Reader) -> Explanation:
            try:
                return explain(self._where, reader, find(reader, what, at), judge, self._parts.slices)
            except AddressWrong as why:
                raise Refused(404, "not_found", str(why)) from None

        async with self._one:
            return await read(work)

    def _judge(self, decision: Decision) -> list[Judged]:
        """What the gates were asked for a decision; in the thread that explains."""
        key = decision.seq, decision.ordinal
        found = self._judged.get(key)
        if found is None:
            refolder = Refolder(
                self._service.store.records, self._service.run, self._folder, parts=self._parts, watched=rested
            )
            found = self._judged[key] = refolder(decision)
            while len(self._judged) > KEPT:
                self._judged.popitem(last=False)
        return found

    async def risk(self, request: web.Request) -> RiskNow:
        """How the limits of one book stand and how much more could be traded, all of one instant. Raises Refused."""
        state, service = self._service.shell.state, self._service
        agent = request.query.get("agent")
        try:
            number, columns = named(state, agent, request.query.get("symbol"))
        except Unknown as why:
            raise Refused(404, "not_found", str(why)) from None
        async with self._one:
            book = Book(state, number)
            ts = service.shell.ts
            now = risk_now(state, book, agent or "house", service.run, ts, instant_text(ts), [])
            room: list[SymbolRoom] = []
            began = time.monotonic()
            for each in book.rooms(columns):
                room.append(each)
                if time.monotonic() - began > BREATH_S:
                    await asyncio.sleep(0)
                    began = time.monotonic()
        now.room.extend(room)
        return now

    async def plan(self) -> PlanNow:
        """A round as it would be now, made in a thread on a copy. Raises Refused."""
        async with self._one:
            service = self._service
            await service.settled()
            state = service.shell.state
            frozen, rules, costs, run = freeze(state), state.rules, self._parts.costs, service.run

            def work() -> PlanNow:
                if self._deadline is None:
                    # ones of their own: what the running ones keep to themselves is not to change by a question
                    parts = self._parts
                    policies = policies_of(service.config, parts.universe, parts.interval_ns, parts.apart)
                    self._deadline = Deadline(policies)
                return plan_now(rules, frozen, self._deadline, costs, run)

            try:
                return await asyncio.to_thread(work)
            except PolicyError as why:
                raise Refused(503, "policy", str(why)) from None


def rested(market: Iterator[list[Item]]) -> Iterator[list[Item]]:
    """The market by instants, at half speed."""
    began = time.monotonic()
    for instant in market:
        yield instant
        now = time.monotonic()
        if now - began > REST_S:
            time.sleep(REST_S)
            began = time.monotonic()
