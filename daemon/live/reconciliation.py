"""Reconciles the books with the venue's account: at the start, after a reconnect, on a schedule and on request.

The venue's answer and the books are of different instants. A comparison counts only when nothing was filled or being
sent meanwhile. A difference counts only after READINGS readings in a row that show it. They take 12 s, because a
venue's lists may be 10 s old, each by another delay; orders and deposits are queried again before each of them.

A split that the vendor lists is known before both the books and the venue have it. Lots that only differ by such a
split are left out of the comparison until it is in both.

Every field of the venue's account is compared, acted on, or left out for a written reason (`VenueAccount`). An account
that may not trade, and keys that the venue refuses, are reported at once as the condition "account". The condition
"comparison" reports that no comparison has succeeded for LATE_PERIODS periods.

The sequence of one comparison: open orders are queried, so that missed fills are booked. Then deposits and fees are
booked, and only then the account is read. An account that is read first would differ by each missed fill or deposit,
and a difference stops new risk. The first PATIENT attempts wait for orders without an answer. Later attempts do not
wait, because one such order would otherwise stop every comparison; a change that the order explains is no difference.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Final

import structlog
from msgspec.structs import replace

from quantd.adapters.brokers.venue_errors import VenueError
from quantd.adapters.feeds.source import Announced, Announces, SourceError
from quantd.daemon.engine.planning.buying_power import counted
from quantd.daemon.engine.state import State
from quantd.daemon.engine.state.open_orders import UNCONFIRMED
from quantd.daemon.engine.venue.account import (
    account_difference,
    closable_lots,
    compared_lots,
    differences_text,
    strays,
)
from quantd.daemon.engine.venue.coin_fees import unlisted_fees
from quantd.daemon.engine.venue.order_comparison import order_differences
from quantd.daemon.engine.venue.settlements import settled_orders
from quantd.daemon.engine.venue.unanswered import all_late
from quantd.daemon.live.deposits import Deposits
from quantd.daemon.live.order_sender import Sender
from quantd.daemon.runtime.inbox import InboxFull
from quantd.daemon.runtime.service import Service, reason_of
from quantd.trading.events import Condition, Flow, ForeignFound, Reconciled
from quantd.trading.instruments import NANO
from quantd.trading.orders import ENDED, ForeignOrder, OrderState
from quantd.trading.ports import Broker, VenueAccount

log = structlog.get_logger("quantd.reconcile")

AGAIN_S: Final = 2.0
"""Seconds between the first two readings of a difference. Each further pause is longer by this time."""

READINGS: Final = 4
"""Readings in a row that must show the same difference."""

BOOKED_LATE_NS: Final = 3_600_000_000_000
"""Time after an open within which a venue books the split of that open."""

MARGIN_NS: Final = 86_400_000_000_000
"""Time by which queries of bookings overlap, because a booking may have an earlier date than its first appearance."""

LATE_PERIODS: Final = 3
"""Periods without a comparison after which new risk stops: an account that nobody compares may be another one."""

BUSY_S: Final = 0.5
"""Seconds until the next attempt of a comparison that an order or a fill interrupted."""

PATIENT: Final = 4
"""Number of attempts of a comparison that wait for orders without an answer."""

TRIES: Final = 10
"""Number of attempts after which a comparison is given up until the next scheduled one."""

REPEATS: Final = 5
"""Maximum number of comparisons for an operator's request; each is repeated if a fill follows it."""


class Reconciler:
    """Queries the venue's account and puts the result into the inbox as an event."""

    def __init__(
        self,
        service: Service,
        broker: Broker,
        sender: Sender,
        began: int,
        now: Callable[[], int] = time.time_ns,
        deposits: Deposits | None = None,
        feed: object = None,
    ) -> None:
        """The first query asks for deposits and withdrawals since `began` (ns UTC); `deposits` are expected ones.
        `feed` is queried for announced splits if it has them."""
        self._feed = feed
        self._deposits = deposits
        self._service = service
        self._broker = broker
        self._sender = sender
        self._now = now
        self._since = began
        """Instant (ns UTC) since which the next query asks for deposits and withdrawals."""
        self.wanted = asyncio.Event()
        """Set to request a comparison ahead of the schedule."""
        self.last: VenueAccount | None = None
        self._compared_fills = 0
        """Number of fills in the books with which `last` was compared."""
        self._lock = asyncio.Lock()
        """One comparison at a time."""
        self._strays: list[ForeignOrder] = []
        """Orders of this run that are open at the venue, but have ended in the books."""
        self._newest = time.monotonic()
        """The end of the newest comparison that succeeded."""

    async def watch(self, period_s: float) -> None:
        """Reports when no comparison succeeds for LATE_PERIODS periods and when one does again, until cancelled."""
        while True:
            await asyncio.sleep(period_s / 4)
            late_s, down = self.late_s(period_s), "comparison" in self._service.shell.state.down
            if late_s and not down:
                why = self._service.compare_failure or "orders were being filled or sent at every attempt"
                text = f"the account was not compared for {late_s / 60:.0f} min: {why}; try `quantd reconcile`"
                # False: the comparison fails, True: it succeeds again
                await self._report_condition(Condition(self._service.shell.state.now, "comparison", False, text))
            elif down and not late_s:
                await self._report_condition(
                    Condition(self._service.shell.state.now, "comparison", True, "the account was compared")
                )

    def late_s(self, period_s: float) -> float:
        """Seconds since the newest successful comparison if they are more than LATE_PERIODS periods, else 0."""
        since = time.monotonic() - self._newest
        return since if since > LATE_PERIODS * period_s else 0.0

    async def run(self, period_s: float) -> None:
        """Compares account and books every `period_s` seconds, after each reconnect and on request, until cancelled."""
        while True:
            waits = [asyncio.create_task(self._sender.up.wait()), asyncio.create_task(self.wanted.wait())]
            await asyncio.wait(waits, timeout=period_s, return_when=asyncio.FIRST_COMPLETED)
            for task in waits:
                task.cancel()
            self._sender.up.clear()
            self.wanted.clear()
            await self.once()

    async def compared(self) -> VenueAccount | None:
        """The venue's account, compared now with the present books; None when that failed.

        If a fill follows a comparison, the comparison is repeated, at most REPEATS times in all.
        """
        for _ in range(REPEATS):
            if not await self.once():
                return None
            if self._filled() == self._compared_fills:
                return self.last
        return None

    async def once(self) -> bool:
        """Queries every open order and the account, and compares them; returns whether that succeeded.

        An exception in the adapter raises an alert; the next comparison comes at its scheduled time.
        """
        async with self._lock:
            began = time.monotonic()
            try:
                succeeded = await self._compare()
                if succeeded:
                    self._newest, self._service.compare_failure = time.monotonic(), ""
                return succeeded
            except VenueError as refused:
                self._service.compare_failure = str(refused)
                await self._report_permission(str(refused))
                return False
            except Exception as error:
                self._service.compare_failure = reason_of(error)
                log.exception("reconcile.failed")
                self._service.measured.task_failures["reconcile"] += 1
                self._service.alert(f"reconcile failed: {reason_of(error)}; the account is compared again in its time")
                return False
            finally:
                self._service.measured.tasks.append(("reconcile", time.monotonic() - began))

    async def _compare(self) -> bool:
        """Compare the account with the books, at most TRIES times. Returns whether a comparison succeeded.

        An attempt counts if no order was filled or is being sent. It succeeds without a difference, or with the same
        differences as the READINGS - 1 attempts before it that counted: a difference that is only late has then had
        time to vanish.
        """
        last_differences: tuple[str, ...] = ()  # the differences of the last attempt without a fill in between
        readings = 0  # number of attempts in a row with these differences
        pause_s = 0.0
        for attempt in range(TRIES):
            await asyncio.sleep(pause_s)
            if not attempt or last_differences:
                await self.open_orders()
                await self.flows()
            # the pause after an attempt with a fill or with an order on its way
            pause_s = min(BUSY_S, AGAIN_S)
            # `received`: the baskets whose orders the venue's figures contain
            fills_before, received = self._filled(), counted(self._service.shell.state)
            try:
                account = await self._broker.account()
            except ConnectionError as error:
                log.warning("reconcile.unanswered", error=str(error))
                self._service.compare_failure = f"the venue does not answer: {error}"
                return False
            await self._report_permission(why_not(self._service.shell.state, account))
            await self._settled()
            if self._filled() != fills_before or self._on_its_way(
                patient=attempt < PATIENT and not all_late(self._service.shell.state)
            ):
                continue
            account = self.last = await self._without_splits(account)
            differences = self._differences(account) + self._changed_orders(account)
            readings = readings + 1 if differences == last_differences else 1
            last_differences, pause_s = differences, AGAIN_S * readings
            if differences and readings >= READINGS and await self._unlisted(account):
                last_differences, readings, pause_s = (), 0, 0.0
                continue
            if not differences or readings >= READINGS:
                self._compared_fills = fills_before
                await self._report(account, received)
                return True
            log.warning("reconcile.difference", found=list(differences))
        log.warning("reconcile.busy", tries=TRIES)
        self._service.compare_failure = "orders were being filled or sent at every attempt"
        return False

    async def _without_splits(self, account: VenueAccount) -> VenueAccount:
        """The account without the holdings that differ by an announced split: they count as unreadable until the split
        is in the books and at the venue."""
        lots, _ = account_difference(self._state, account)
        if not any(lots) or not isinstance(self._feed, Announces):
            return account
        try:
            announced = await self._feed.announced(self._service.shell.ts)
        except SourceError as error:
            log.warning("reconcile.announcements", error=str(error))
            return account
        splits = split_columns(self._state, account, announced)
        if splits:
            log.info("reconcile.split", symbols=[self._state.universe.symbols[column] for column in splits])
        return replace(account, unread=(*account.unread, *splits))

    async def _report_permission(self, why: str) -> None:
        """Reports that the account may not trade, for the reason `why`, or may trade again.

        Nothing is reported without a change.
        """
        if (condition := permission(self._service.shell.state, why)) is not None:
            await self._report_condition(condition)

    async def _report_condition(self, condition: Condition) -> None:
        with suppress(InboxFull):
            await self._service.inbox.command(condition)

    async def flows(self) -> None:
        """Books deposits and withdrawals at the venue since MARGIN_NS before the last query; each id is booked once."""
        queried = self._now()
        try:
            entries = await self._broker.flows(self._since)
        except ConnectionError as error:
            log.warning("flows.unanswered", error=str(error))
            return
        index = self._service.shell.state.universe.index
        for entry in entries:
            column = index.get(entry.symbol, -1) if entry.symbol else -1  # -1: no symbol of the universe
            ts = min(entry.ts, queried)  # an entry that has only a date is at the end of its day, maybe in the future
            flow = Flow(ts, entry.amount_micro, "venue", entry.booking, entry.id, column, units_nano=entry.units_nano)
            await self._book([flow] if self._deposits is None else [*self._deposits.booked(self._state, flow)])
        self._since = max(self._since, queried - MARGIN_NS)
        if self._deposits is not None:
            await self._book([*self._deposits.late(self._state, queried)])

    async def _unlisted(self, account: VenueAccount) -> bool:
        """Books fees and an expected deposit that the venue has booked and does not list; returns whether there is
        any."""
        fees = list(unlisted_fees(self._state, account))
        for fee in fees:
            await self._service.inbox.command(fee)
        if fees:
            return True
        lots, cash = account_difference(self._state, account)
        if self._deposits is None or self._changed_orders(account):
            return False
        return await self._book([*self._deposits.seen(self._state, lots, cash, self._now())])

    async def _book(self, events: Sequence[Flow | Condition]) -> bool:
        """Puts events into the inbox together, so that one commit has them; returns whether money was among them."""
        for command in (commands := self._service.inbox.commands(events) if events else []):
            await command.done
        return any(isinstance(command.event, Flow) and command.event.amount_micro for command in commands)

    async def open_orders(self) -> None:
        """Queries every order that is open in the books: a report may have been missed."""
        state = self._service.shell.state
        rows = {
            key: [row for row, order_state in enumerate(work.state) if order_state not in ENDED]
            for key, work in state.at_venue().items()
        }
        for settlement in state.venue.waits.settled:  # settled by an operator, not yet confirmed by the venue
            rows.setdefault((settlement.sample, settlement.n), []).append(settlement.row)
        self._sender.keep(rows)
        await asyncio.gather(*(self._sender.ask(*key, open_rows) for key, open_rows in rows.items() if open_rows))
        await self._settled()

    async def queried(self, sample: int, n: int, row: int) -> None:
        """Queries one order; on return its answer is in the books."""
        await self._sender.ask(sample, n, [row])
        await self._settled()

    async def _settled(self) -> None:
        """Waits until the engine has stepped all reports of the venue."""
        while self._service.inbox.news_waiting:
            await self._service.changed(0.05)

    def _filled(self) -> int:
        return self._service.shell.tally.fills

    def _on_its_way(self, patient: bool) -> bool:
        """Whether an order is being sent, so that the comparison must be repeated.

        With `patient`, requests and orders without an answer count too. Without it they do not count: the comparison
        then ignores what they may have changed at the venue.
        """
        working = self._service.shell.state.at_venue().values()
        if not patient:
            return self._sender.sending or any(OrderState.SENT in work.state for work in working)
        return self._sender.busy or any(not UNCONFIRMED.isdisjoint(work.state) for work in working)

    @property
    def _state(self) -> State:
        return self._service.shell.state

    def _differences(self, account: VenueAccount) -> tuple[str, ...]:
        return tuple(differences_text(self._state, *account_difference(self._state, account)))

    def _changed_orders(self, account: VenueAccount) -> tuple[str, ...]:
        return tuple(differing.text for differing in order_differences(self._service.shell.state, account.ours))

    def _strays_again(self, account: VenueAccount) -> list[ForeignOrder]:
        """Orders of this run that are open at the venue but ended in the books, now and at the last comparison.

        The second condition excludes orders that end during a comparison.
        """
        before, self._strays = self._strays, strays(self._service.shell.state, account.ours)
        names = {stray.venue_id for stray in before}
        return [stray for stray in self._strays if stray.venue_id in names]

    async def _report(self, account: VenueAccount, received: tuple[tuple[int, int], ...]) -> None:
        """Puts the venue's account into the inbox.

        Commands precede reports there, so that no fill comes between the comparison and its event.
        """
        for event in events_of(
            self._service.shell.state, self._service.run, account, received, self._strays_again(account)
        ):
            with suppress(InboxFull):
                await self._service.inbox.command(event)


def split_columns(state: State, account: VenueAccount, announced: Announced) -> tuple[int, ...]:
    """The columns whose lots at the venue differ from the books, and only by an announced split or delisting.

    A coming action is not in the books yet, but may be at the venue. A given one is in the books, and may not be at the
    venue for BOOKED_LATE_NS. A venue rounds to whole shares, and pays the rest in cash.
    """
    ratios: dict[tuple[int, bool], Fraction] = {}
    late = [action for action in announced.given if action.ts > account.ts - BOOKED_LATE_NS]
    for action in (*announced.coming, *late):
        if action.kind != "dividend":
            key = action.symbol, action in announced.coming
            ratio = Fraction(0) if action.kind == "delisting" else Fraction(action.numerator, action.denominator)
            ratios[key] = ratios.get(key, Fraction(1)) * ratio
    found = []
    for (column, ahead), ratio in ratios.items():
        ours = state.ledger.house.lots[column] + state.venue.fenced[0][column]
        venue, share = account.lots[column], max(1, NANO // state.universe.lot_nano[column])
        off = venue - ours * ratio if ahead else venue * ratio - ours
        if column not in account.unread and venue != ours and abs(off) < share:
            found.append(column)
    return tuple(found)


def why_not(state: State, account: VenueAccount) -> str:
    """The reason why the account at the venue may not trade; empty if it may."""
    if account.currency != state.universe.currency:
        return f"the account is in {account.currency}, and the books are in {state.universe.currency}"
    if account.blocked:
        return f"{account.blocked}: no order is accepted; resolve that with the venue"
    return ""


def permission(state: State, why: str) -> Condition | None:
    """The condition "account" if it changes: down for the reason `why`, up if `why` is empty; None without a change."""
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
    """The events of a comparison: the account as the venue has it, and open orders there that quantd does not track.

    `received` are the baskets (sample, number) that the venue has counted in its buying power. `stray` are orders of
    this run that are open at the venue although they have ended in the books.
    """
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
