"""Reconciles the books with the venue's account: at the start, after a reconnect, on a schedule and on request.

The venue's answer and the books are of different instants. A comparison counts only when nothing was filled or being
sent meanwhile. A difference counts only when it is still there AGAIN_S later.

Every field of the venue's account is compared, acted on, or left out for a written reason (`VenueAccount`). An account
that may not trade, and keys that the venue refuses, are reported at once as the condition "account". An account that is
not compared for LATE_PERIODS periods is the condition "comparison".

The order of one comparison: open orders are queried, so that missed fills are booked. Then deposits and fees are
booked, and only then the account is read. Read first, it would differ by each missed fill or deposit, and a
difference stops new risk. The first PATIENT attempts wait for orders without an answer. Later ones go on beside them,
because one such order would otherwise stop every comparison: what it explains is no difference.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from quantd.adapters.brokers.errors import VenueError
from quantd.daemon.engine.planning.buying_power import counted
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import UNCONFIRMED
from quantd.daemon.engine.venue.account import closable_lots, compared_lots, difference, differences_text, strays
from quantd.daemon.engine.venue.coin_fees import unlisted_fees
from quantd.daemon.engine.venue.order_comparison import order_differences
from quantd.daemon.engine.venue.settlements import settled_orders
from quantd.daemon.engine.venue.unanswered import all_late
from quantd.daemon.live.order_sender import Sender
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service, reason_of
from quantd.trading.events import Condition, Flow, ForeignFound, Reconciled
from quantd.trading.orders import ENDED, ForeignOrder, OrderState
from quantd.trading.ports import Broker, VenueAccount

log = structlog.get_logger("quantd.reconcile")

AGAIN_S: Final = 2.0
"""Seconds after which a difference must still be there."""

MARGIN_NS: Final = 86_400_000_000_000
"""A venue's booking may have an earlier date than the day on which it appears."""

LATE_PERIODS: Final = 3
"""Periods without a comparison after which new risk stops: an account that nobody compares may be another one."""

BUSY_S: Final = 0.5
"""Seconds until the next attempt of a comparison that an order or a fill interrupted."""

PATIENT: Final = 4
"""Attempts of a comparison that wait for orders without an answer."""

TRIES: Final = 10
"""Attempts after which the reconciler waits for its next turn."""

REPEATS: Final = 5
"""Comparisons that an operator's request makes while fills follow them."""


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
        self._newest = time.monotonic()
        """The end of the newest comparison that succeeded."""

    async def watch(self, period_s: float) -> None:
        """Reports when no comparison succeeds for LATE_PERIODS periods, and when one does again, until cancelled."""
        while True:
            await asyncio.sleep(period_s / 4)
            late, down = self.late_s(period_s), "comparison" in self._service.shell.state.down
            if late and not down:
                why = self._service.compare_failure or "orders were being filled or sent at every attempt"
                text = f"the account was not compared for {late / 60:.0f} min: {why}; try `quantd reconcile`"
                await self._tell(Condition(self._service.shell.state.now, "comparison", False, text))
            elif down and not late:
                await self._tell(
                    Condition(self._service.shell.state.now, "comparison", True, "the account was compared")
                )

    def late_s(self, period_s: float) -> float:
        """Seconds since the newest comparison where that is later than LATE_PERIODS periods, else 0."""
        since = time.monotonic() - self._newest
        return since if since > LATE_PERIODS * period_s else 0.0

    async def run(self, period_s: float) -> None:
        """Compares every `period_s`, after each reconnect and on request, until cancelled."""
        while True:
            waits = [asyncio.create_task(self._sender.up.wait()), asyncio.create_task(self.wanted.wait())]
            await asyncio.wait(waits, timeout=period_s, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()
            self._sender.up.clear()
            self.wanted.clear()
            await self.once()

    async def compared(self) -> VenueAccount | None:
        """The venue's account, compared now with the books as they are; None when that failed.

        A fill during the comparison, or after it, is followed by another comparison, REPEATS at most.
        """
        for _ in range(REPEATS):
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
                succeeded = await self._once()
                if succeeded:
                    self._newest, self._service.compare_failure = time.monotonic(), ""
                return succeeded
            except VenueError as refused:
                self._service.compare_failure = str(refused)
                await self._account_word(str(refused))
                return False
            except Exception as error:
                self._service.compare_failure = reason_of(error)
                log.exception("reconcile.failed")
                self._service.measured.task_failures["reconcile"] += 1
                self._service.alert(f"reconcile failed: {reason_of(error)}; the account is compared again in its time")
                return False
            finally:
                self._service.measured.tasks.append(("reconcile", time.monotonic() - began))

    async def _once(self) -> bool:
        await self.open_orders()
        await self.flows()
        seen: tuple[str, ...] | None = None  # at a quiet moment; what is filled in between changes both sides
        pause_s = AGAIN_S
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(pause_s)
            pause_s = min(BUSY_S, AGAIN_S)
            before, received = self._filled(), counted(self._service.shell.state)
            try:
                account = await self._broker.account()
            except ConnectionError as error:
                log.warning("reconcile.unanswered", error=str(error))
                self._service.compare_failure = f"the venue does not answer: {error}"
                return False
            self.last = account
            await self._account_word(why_not(self._service.shell.state, account))
            await self._settled()
            if self._filled() != before or self._on_its_way(
                patient=attempt < PATIENT and not all_late(self._service.shell.state)
            ):
                continue
            for fee in unlisted_fees(self._service.shell.state, account):
                await self._service.inbox.command(fee)
            await self._settled()
            differences = self._differences(account) + self._changed_orders(account)
            if not differences or differences == seen:
                self._compared_fills = before
                await self._report(account, received)
                return True
            log.warning("reconcile.difference", found=list(differences))
            seen, pause_s = differences, AGAIN_S
        log.warning("reconcile.busy", tries=TRIES)
        self._service.compare_failure = "orders were being filled or sent at every attempt"
        return False

    async def _account_word(self, why: str) -> None:
        """Reports that the account may not trade, or that it may again; nothing where that is known."""
        if (condition := permission(self._service.shell.state, why)) is not None:
            await self._tell(condition)

    async def _tell(self, condition: Condition) -> None:
        with suppress(InboxFull):
            await self._service.inbox.command(condition)

    async def flows(self) -> None:
        """Books deposits and withdrawals at the venue since the last query, with a margin; each id is booked once."""
        queried = self._now()
        try:
            entries = await self._broker.flows(self._since)
        except ConnectionError as error:
            log.warning("flows.unanswered", error=str(error))
            return
        index = self._service.shell.state.universe.index
        for entry in entries:
            column = index.get(entry.symbol, -1) if entry.symbol else -1
            ts = min(entry.ts, queried)  # an entry with a date only is of the end of its day, which may be ahead
            flow = Flow(ts, entry.amount_micro, "venue", entry.booking, entry.id, column, units_nano=entry.units_nano)
            await self._service.inbox.command(flow)
        self._since = max(self._since, queried - MARGIN_NS)

    async def open_orders(self) -> None:
        """Queries every order that is open in the books: a report may have been missed."""
        state = self._service.shell.state
        rows = {
            key: [row for row, at in enumerate(work.state) if at not in ENDED] for key, work in state.at_venue().items()
        }
        for settlement in state.venue.waits.settled:  # an operator's word on them waits for the venue's
            rows.setdefault((settlement.sample, settlement.n), []).append(settlement.row)
        self._sender.keep(rows)
        await asyncio.gather(*(self._sender.ask(*key, open_rows) for key, open_rows in rows.items() if open_rows))
        await self._settled()

    async def queried(self, sample: int, n: int, row: int) -> None:
        """Queries one order; on return its answer is in the books."""
        await self._sender.ask(sample, n, [row])
        await self._settled()

    async def _settled(self) -> None:
        """Waits until the reported events have been processed."""
        while self._service.inbox.news_waiting:
            await self._service.changed(0.05)

    def _filled(self) -> int:
        return self._service.shell.tally.fills

    def _on_its_way(self, patient: bool) -> bool:
        """Whether an order is being sent; a `patient` comparison also waits for requests and orders without an answer.

        A later one goes on beside them: what they may have changed is no difference.
        """
        working = self._service.shell.state.at_venue().values()
        if not patient:
            return self._sender.sending or any(OrderState.SENT in work.state for work in working)
        return self._sender.busy or any(not UNCONFIRMED.isdisjoint(work.state) for work in working)

    def _differences(self, account: VenueAccount) -> tuple[str, ...]:
        state = self._service.shell.state
        lots, cash = difference(state, Reconciled(account.ts, compared_lots(state, account), account.cash_micro))
        return tuple(differences_text(state, lots, cash))

    def _changed_orders(self, account: VenueAccount) -> tuple[str, ...]:
        return tuple(differing.text for differing in order_differences(self._service.shell.state, account.ours))

    def _strays_again(self, account: VenueAccount) -> list[ForeignOrder]:
        """Own orders that are open at the venue but ended in the books, now and at the last comparison.

        The second condition excludes orders that end during a comparison.
        """
        before, self._strays = self._strays, strays(self._service.shell.state, account.ours)
        names = {stray.venue_id for stray in before}
        return [stray for stray in self._strays if stray.venue_id in names]

    async def _report(self, account: VenueAccount, received: tuple[tuple[int, int], ...]) -> None:
        """Puts the venue's account into the inbox. Commands precede reports, so no fill comes between the comparison
        and its event."""
        for event in events_of(
            self._service.shell.state, self._service.run, account, received, self._strays_again(account)
        ):
            with suppress(InboxFull):
                await self._service.inbox.command(event)


def why_not(state: State, account: VenueAccount) -> str:
    """Why the account may not trade as it is; empty if it may."""
    if account.currency != state.universe.currency:
        return f"the account is in {account.currency}, and the books are in {state.universe.currency}"
    if account.blocked:
        return f"{account.blocked}: no order is accepted; resolve that with the venue"
    return ""


def permission(state: State, why: str) -> Condition | None:
    """The condition of an account that may not trade for the reason `why`, or may again; None where that is known."""
    if why:
        return None if why == state.venue.waits.account else Condition(state.now, "account", False, why)
    if "account" in state.down:
        return Condition(state.now, "account", True, "the account may trade again at the venue")
    return None


def events_of(
    state: State,
    run: str,
    account: VenueAccount,
    received: tuple[tuple[int, int], ...],
    stray: Sequence[ForeignOrder] = (),
) -> list[Reconciled | ForeignFound]:
    """The events of a comparison. `received` are the baskets that the buying power includes, `stray` our orders that
    are open at the venue and ended here."""
    return [
        Reconciled(
            account.ts,
            compared_lots(state, account),
            account.cash_micro,
            buying_power_micro=account.spendable_micro,
            others=account.others + account.odd,
            counted=received,
            unlent=account.unlent,
            available=closable_lots(state, account),
            orders=(
                *(differing.order for differing in order_differences(state, account.ours)),
                *settled_orders(state, account.ours),
            ),
            run=run,
        ),
        ForeignFound(account.ts, (*account.foreign, *stray)),
    ]
