"""Our account beside the venue's: on start, after the venue was lost, on a schedule and when somebody asks.

A venue's answer is of another instant than our books. It counts as a comparison only when nothing was filled or on its way
meanwhile, and a difference only when it is still there a moment later.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal

import structlog

from quantd.daemon.engine.planning.buying_power import counted
from quantd.daemon.engine.venue.account import difference, strays, told
from quantd.daemon.live.order_sender import Sender
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service, reason_of
from quantd.trading.events import Condition, Flow, ForeignFound, Reconciled
from quantd.trading.orders import ENDED, ForeignOrder, OrderState
from quantd.trading.ports import Broker
from quantd.trading.venue import VenueAccount

log = structlog.get_logger("quantd.reconcile")

AGAIN_S: Final = 2.0
"""A difference must be there again after so many seconds."""

MARGIN_NS: Final = 86_400_000_000_000
"""What a venue enters may carry an earlier date than the day it appears on."""

KINDS: Final[dict[str, Literal["flow", "dividend", "fee", "interest"]]] = {
    "dividend": "dividend", "fee": "fee", "interest": "interest",
}  # fmt: skip
"""What is profit or loss; everything else that moves cash is a flow."""

TRIES: Final = 5
"""Comparisons that something came between, before the next one waits for its turn."""

ON_ITS_WAY: Final = frozenset({OrderState.SENT, OrderState.CANCELLING, OrderState.UNKNOWN})


class Reconciler:
    """Asks the venue for its account and says what it found as an event."""

    def __init__(
        self, service: Service, broker: Broker, sender: Sender, began: int, now: Callable[[], int] = time.time_ns
    ) -> None:
        self._service = service
        self._broker = broker
        self._sender = sender
        self._now = now
        self._since = began
        self.wanted = asyncio.Event()
        """Set by whoever wants a comparison before its time."""
        self.last: VenueAccount | None = None
        self._one = asyncio.Lock()
        self._strays: list[ForeignOrder] = []

    async def run(self, period_s: float) -> None:
        """Until cancelled: each `period_s`, whenever the venue is back, and when it is wanted."""
        while True:
            waits = [asyncio.create_task(self._sender.up.wait()), asyncio.create_task(self.wanted.wait())]
            await asyncio.wait(waits, timeout=period_s, return_when=asyncio.FIRST_COMPLETED)
            for each in waits:
                each.cancel()
            self._sender.up.clear()
            self.wanted.clear()
            await self.once()

    async def compared(self) -> VenueAccount | None:
        """What the venue has, compared now; None when it could not be, or something was filled since."""
        filled = self._filled()
        return self.last if await self.once() and self._filled() == filled else None

    async def once(self) -> bool:
        """Ask for every open order and for the account, and compare; whether they could be compared. An adapter that
        fails itself is an alert: the next comparison comes in its time."""
        async with self._one:
            began = time.monotonic()
            try:
                return await self._once()
            except Exception as error:
                log.exception("reconcile.failed")
                self._service.alert(f"reconcile failed: {reason_of(error)}; the account is compared again in its time")
                return False
            finally:
                self._service.took.append(("reconcile", time.monotonic() - began))

    async def _once(self) -> bool:
        await self.open_orders()
        await self.flows()
        seen: tuple[str, ...] | None = None
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(AGAIN_S)
            before, heard = self._filled(), counted(self._service.shell.state)
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
                await self._say(account, heard)
                return True
            log.warning("reconcile.difference", found=list(found))
            seen = found
        log.warning("reconcile.busy", tries=TRIES)
        return False

    async def flows(self) -> None:
        """Take what was paid in and out at the venue since it was last asked, with a margin: each is taken once by its id."""
        asked = self._now()
        try:
            found = await self._broker.flows(self._since)
        except ConnectionError as error:
            log.warning("flows.unanswered", error=str(error))
            return
        index = self._service.shell.state.universe.index
        for each in found:
            kind = KINDS.get(each.kind, "flow")
            flow = Flow(
                each.ts, each.amount_micro, "venue", kind, each.id, index.get(each.symbol, -1) if each.symbol else -1
            )
            await self._service.inbox.command(flow)
        self._since = max(self._since, asked - MARGIN_NS)

    async def open_orders(self) -> None:
        """Ask what became of every order that is open here: news may have been missed."""
        working = self._service.shell.state.at_venue()
        self._sender.keep(working)
        for (sample, n), work in list(working.items()):
            rows = [row for row, at in enumerate(work.state) if at not in ENDED]
            if rows:
                await self._sender.ask(sample, n, rows)
        await self._settled()

    async def _settled(self) -> None:
        """Wait until what was told has been stepped."""
        while self._service.inbox.news_waiting:
            await self._service.changed(0.05)

    def _filled(self) -> int:
        return self._service.shell.tally.fills

    def _on_its_way(self) -> bool:
        working = self._service.shell.state.at_venue().values()
        return self._sender.busy or any(not ON_ITS_WAY.isdisjoint(work.state) for work in working)

    def _differences(self, account: VenueAccount) -> tuple[str, ...]:
        state = self._service.shell.state
        lots, cash = difference(state, Reconciled(account.ts, list(account.lots), account.cash_micro))
        return tuple(told(state, lots, cash))

    def _strays_again(self, account: VenueAccount) -> list[ForeignOrder]:
        """Orders of ours that are open there and ended here, now and when they were last compared: one that ends meanwhile is
        none."""
        before, self._strays = self._strays, strays(self._service.shell.state, account.ours)
        names = {each.venue_id for each in before}
        return [each for each in self._strays if each.venue_id in names]

    async def _say(self, account: VenueAccount, heard: tuple[tuple[int, int], ...]) -> None:
        """Put what the venue holds into the inbox: commands go before news, so no fill comes between this comparison
        and its event."""
        events: Sequence[Reconciled | ForeignFound | Condition] = [
            Reconciled(
                account.ts,
                list(account.lots),
                account.cash_micro,
                buying_power_micro=account.spendable_micro,
                others=account.others + account.odd,
                counted=heard,
                unlent=account.unlent,
            ),
            ForeignFound(account.ts, (*account.foreign, *self._strays_again(account))),
        ]
        for event in events:
            with suppress(InboxFull):
                await self._service.inbox.command(event)
