"""Reconciles the books with the venue's account: at the start, after a reconnect, on a schedule and on request.

The venue's answer and the books are of different instants. A comparison counts only when nothing was filled or in
flight meanwhile. A difference counts only when it is still there AGAIN_S later.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from quantd.daemon.engine.planning.buying_power import counted
from quantd.daemon.engine.venue.account import closable_lots, compared_lots, difference, differences_text, strays
from quantd.daemon.engine.venue.open_orders import UNCONFIRMED
from quantd.daemon.live.order_sender import Sender
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service, reason_of
from quantd.trading.events import Condition, Flow, ForeignFound, Reconciled
from quantd.trading.orders import ENDED, ForeignOrder
from quantd.trading.ports import Broker, VenueAccount

log = structlog.get_logger("quantd.reconcile")

AGAIN_S: Final = 2.0
"""Seconds after which a difference must still be there."""

MARGIN_NS: Final = 86_400_000_000_000
"""A venue's booking may have an earlier date than the day on which it appears."""

TRIES: Final = 5
"""Interrupted comparisons after which the reconciler waits for its next turn."""


class Reconciler:
    """Queries the venue's account and puts the result into the inbox as an event."""

    def __init__(
        self, service: Service, broker: Broker, sender: Sender, began: int, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._service = service
        self._broker = broker
        self._sender = sender
        self._now = now
        self._since = began
        self.wanted = asyncio.Event()
        """Set to request a comparison ahead of the schedule."""
        self.last: VenueAccount | None = None
        self._compared_fills = 0
        """Fills in the books that `last` was compared with."""
        self._one = asyncio.Lock()
        self._strays: list[ForeignOrder] = []

    async def run(self, period_s: float) -> None:
        """Compares every `period_s`, after each reconnect and on request, until cancelled."""
        while True:
            waits = [asyncio.create_task(self._sender.up.wait()), asyncio.create_task(self.wanted.wait())]
            await asyncio.wait(waits, timeout=period_s, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            self._sender.up.clear()
            self.wanted.clear()
            await self.once()

    async def compared(self) -> VenueAccount | None:
        """The venue's account, compared now with the books as they are; None when that failed.

        A fill during the comparison, or after it, is followed by another comparison, TRIES at most.
        """
        for _ in range(TRIES):
            if not await self.once():
                return None
            if self._filled() == self._compared_fills:
                return self.last
        return None

    async def once(self) -> bool:
        """Queries every open order and the account and compares; returns whether that succeeded.

        An exception in the adapter raises an alert; the next comparison is as scheduled.
        """
        async with self._one:
            began = time.monotonic()
            try:
                return await self._once()
            except Exception as error:
                log.exception("reconcile.failed")
                self._service.measured.task_failures["reconcile"] += 1
                self._service.alert(f"reconcile failed: {reason_of(error)}; the account is compared again in its time")
                return False
            finally:
                self._service.measured.tasks.append(("reconcile", time.monotonic() - began))

    async def _once(self) -> bool:
        await self.open_orders()
        await self.flows()
        seen: tuple[str, ...] | None = None
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(AGAIN_S)
            before, received = self._filled(), counted(self._service.shell.state)
            try:
                account = await self._broker.account()
            except ConnectionError as error:
                log.warning("reconcile.unanswered", error=str(error))
                return False
            self.last = account
            await self._settled()
            if self._filled() != before or self._on_its_way():
                seen = None
                continue
            found = self._differences(account)
            if not found or found == seen:
                self._compared_fills = before
                await self._report(account, received)
                return True
            log.warning("reconcile.difference", found=list(found))
            seen = found
        log.warning("reconcile.busy", tries=TRIES)
        return False

    async def flows(self) -> None:
        """Books deposits and withdrawals at the venue since the last query, with a margin; each id is booked once."""
        queried = self._now()
        try:
            found = await self._broker.flows(self._since)
        except ConnectionError as error:
            log.warning("flows.unanswered", error=str(error))
            return
        index = self._service.shell.state.universe.index
        for each in found:
            column = index.get(each.symbol, -1) if each.symbol else -1
            ts = min(each.ts, queried)  # an entry with a date only is of the end of its day, which may be ahead
            flow = Flow(ts, each.amount_micro, "venue", each.booking, each.id, column)
            await self._service.inbox.command(flow)
        self._since = max(self._since, queried - MARGIN_NS)

    async def open_orders(self) -> None:
        """Queries every order that is open in the books: a report may have been missed."""
        working = self._service.shell.state.at_venue()
        self._sender.keep(working)
        for (sample, n), work in list(working.items()):
            rows = [row for row, at in enumerate(work.state) if at not in ENDED]
            if rows:
                await self._sender.ask(sample, n, rows)
        await self._settled()

    async def _settled(self) -> None:
        """Waits until the reported events have been processed."""
        while self._service.inbox.news_waiting:
            await self._service.changed(0.05)

    def _filled(self) -> int:
        return self._service.shell.tally.fills

    def _on_its_way(self) -> bool:
        working = self._service.shell.state.at_venue().values()
        return self._sender.busy or any(not UNCONFIRMED.isdisjoint(work.state) for work in working)

    def _differences(self, account: VenueAccount) -> tuple[str, ...]:
        state = self._service.shell.state
        lots, cash = difference(state, Reconciled(account.ts, compared_lots(state, account), account.cash_micro))
        return tuple(differences_text(state, lots, cash))

    def _strays_again(self, account: VenueAccount) -> list[ForeignOrder]:
        """Own orders that are open at the venue but ended in the books, now and at the last comparison.

        The second condition excludes orders that end during a comparison.
        """
        before, self._strays = self._strays, strays(self._service.shell.state, account.ours)
        names = {each.venue_id for each in before}
        return [each for each in self._strays if each.venue_id in names]

    async def _report(self, account: VenueAccount, received: tuple[tuple[int, int], ...]) -> None:
        """Puts the venue's account into the inbox. Commands precede reports, so no fill comes between the comparison
        and its event."""
        events: Sequence[Reconciled | ForeignFound | Condition] = [
            Reconciled(
                account.ts,
                compared_lots(self._service.shell.state, account),
                account.cash_micro,
                buying_power_micro=account.spendable_micro,
                others=account.others + account.odd,
                counted=received,
                unlent=account.unlent,
                available=closable_lots(self._service.shell.state, account),
            ),
            ForeignFound(account.ts, (*account.foreign, *self._strays_again(account))),
        ]
        for event in events:
            with suppress(InboxFull):
                await self._service.inbox.command(event)
