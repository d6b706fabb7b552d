"""Execution reports: each fill is posted once, each order moves by the table of states.

What can go wrong: reports are repeated, reordered, late or lost, also across a restart. A fill is known by the interval
of the order's lots that it covers, (cum - lots, cum]. An interval that was posted changes nothing. An interval that
overlaps a posted one is a contradiction, which only an operator can resolve: until then the whole account
only reduces.

An order that has ended while an earlier fill is missing keeps its risk and is queried. It ends once the intervals are
complete. To believe the end at once would free risk that the venue has filled.

What the sequence in `post` guarantees. An operator's settlement of an order is booked back before the venue's own
report is posted, so that an execution is in the books once. Pauses end before the fill is booked: whether an order adds
or reduces is decided by the position before its fill. The fill is booked before a fee in the coin is paid from it.
Parent orders and stops count fills that are booked. The basket leaves the open orders last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from quantd.daemon.engine.planning.execution import count_fills
from quantd.daemon.engine.planning.pauses import pausing_book, side_of
from quantd.daemon.engine.safety.alerts import alert
from quantd.daemon.engine.safety.switch import move_switch
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.state.open_orders import Row, Working
from quantd.daemon.engine.stops.venue_stops import stops_ended, stops_filled
from quantd.daemon.engine.venue.coin_fees import count_uncharged, pay_in_coin
from quantd.daemon.engine.venue.halts import refused_as_halted
from quantd.daemon.engine.venue.refusals import refused, taken
from quantd.daemon.engine.venue.settlements import take_word
from quantd.daemon.engine.venue.unanswered import check_clocks, exit_refused
from quantd.risk.switch import REDUCE
from quantd.trading.effects import Effect, Ended, Filled, Query
from quantd.trading.ledger.shares import share
from quantd.trading.orders import ENDED, TRANSITIONS, Cause, OrderState, Reports

ENDING: Final = frozenset({Cause.LAST_FILL, Cause.CANCELLED, Cause.REJECTED, Cause.EXPIRED})
"""Causes that end an order."""


def on_reports(state: State, reports: Reports) -> Sequence[Effect]:
    """Post each fill exactly once and move each order by the table of order states.

    Duplicates change nothing, reordered and late reports are posted on arrival, a missing one is queried.
    """
    return post(state, reports)


def post(state: State, reports: Reports) -> Sequence[Effect]:
    """Book the fills of a venue's report and move its orders to their new states; returns the effects.

    A report about a basket that is not ours gives an alert only.
    """
    key = (reports.sample, reports.n)
    work = state.basket(key)
    if work is None:
        return (alert(state, "WARNING", "broker", f"a report about basket {key}, which is not ours; reconcile"),)
    if _all_accepted(work, reports):
        return ()
    before: list[Effect] = []
    if state.venue.waits.settled:  # orders that an operator settled: the venue's word replaces the settlement
        reports, before = take_word(state, key, work, reports)
    stops = key in state.protection.stops  # a basket of protective stops at the venue, which belong to one agent
    news = News(state, work, reports)
    news.effects.extend(before)
    if not news.all_filled():
        news.row_by_row()
    effects = news.effects
    if news.sym:
        if state.protection.retries:
            # before the booking: whether a fill adds or reduces is decided by the position that it met
            effects.extend(_end_pauses(state, news, state.protection.rests[key].agent if stops else None))
        state.ledger.fills(news.sym, news.lots, news.price_nano, news.fee_micro, news.shares)
        state.booked()
        count_uncharged(state, reports.ts, news.sym, news.lots, news.price_nano)
        if state.counting:
            state.activity.roll(reports.ts, state.rules.house_sessions())
            state.activity.fill(news.sym, news.price_nano, news.shares, state.universe.lot_size)
        effects.append(
            Filled(
                reports.sample, reports.n, reports.ts,
                news.sym, news.lots, news.price_nano, news.fee_micro, news.shares,
            )
        )  # fmt: skip
        for k, fee_nano in news.in_coin:
            effects.extend(
                pay_in_coin(state, key, reports.ts, news.sym[k], news.price_nano[k], fee_nano, news.shares[k])
            )
        if state.parents:
            count_fills(state, reports.sample, reports.n, news.sym, news.shares)
    if stops:
        effects.extend(stops_filled(state, key, work, news.sym, news.lots, news.price_nano))
        stops_ended(state, key, work, news.ended)
    if news.ended:  # orders that ended with unfilled lots
        effects.extend(
            _end_rows(state, work, reports, news.ended, state.protection.rests[key].agent if stops else None)
        )
        effects.extend(refused_as_halted(state, work, reports, news.ended))
    if news.missing:
        effects.append(Query(reports.sample, reports.n, news.missing))
    if work.live == 0 and (stops or key in state.working):  # all orders of the basket have ended
        state.working.pop(key, None)
        if stops:
            del state.protection.stops[key], state.protection.rests[key]
        state.ended.append(key, work)
    if news.missing or state.venue.waits.unanswered:
        effects.extend(check_clocks(state))
    return effects


def _end_pauses(state: State, news: "News", stops_of: int | None) -> list[Effect]:
    """End the pauses of orders that the venue carried out; the fills of `news` are not booked yet."""
    books = sorted({HOUSE, pausing_book(news.work, 0)}) if stops_of is None else [stops_of]
    effects: list[Effect] = []
    for symbol, lots in zip(news.sym, news.lots, strict=True):
        side = side_of(state, symbol, lots) if stops_of is None else "stop"
        effects.extend(effect for book in books for effect in taken(state, book, symbol, side))
    return effects


@dataclass(slots=True)
class News:
    """The changes by a report: fills to post, in columns, then rows that `ended` unfilled and rows to query
    (`missing`)."""

    state: State
    work: Working
    reports: Reports
    sym: list[int] = field(default_factory=list)
    lots: list[int] = field(default_factory=list)
    price_nano: list[int] = field(default_factory=list)
    fee_micro: list[int] = field(default_factory=list)
    shares: list[list[tuple[int, int]]] = field(default_factory=list)
    in_coin: list[tuple[int, int]] = field(default_factory=list)
    """(index of the fill, nano-units) of fees in the instrument itself."""
    ended: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)

    def all_filled(self) -> bool:
        """Post the usual report at once: every row filled whole by its first fill.

        Returns False, with nothing changed, for any other report: the caller then uses `row_by_row`.
        """
        work, reports = self.work, self.reports
        size = work.rows
        if (
            reports.cause != [Cause.LAST_FILL] * size
            or reports.row != list(range(size))
            or reports.fee_nano
            or reports.cum != reports.lots
            or not work.fills_whole(reports.lots)
        ):
            return False
        self.sym, self.lots, self.shares = work.basket.sym, list(work.basket.lots), work.signed_shares()
        self.price_nano, self.fee_micro = reports.price_nano, reports.fee_micro
        work.fill_whole()
        return True

    def row_by_row(self) -> None:
        """Post any report of the venue, one row (order) after the other.

        The state of an order does not move on a fill that contradicts earlier reports. A fee in the coin is noted only
        where the row added a fill: a duplicate must not charge it twice.
        """
        reports = self.reports
        for k, (row, cum, new, price_nano, fee_micro, cause) in enumerate(
            zip(
                reports.row,
                reports.cum,
                reports.lots,
                reports.price_nano,
                reports.fee_micro,
                reports.cause,
                strict=True,
            )
        ):
            fills_before = len(self.sym)
            if not new or self._fill(row, cum, new, price_nano, fee_micro):
                if reports.fee_nano and reports.fee_nano[k] and len(self.sym) > fills_before:
                    self.in_coin.append((fills_before, reports.fee_nano[k]))
                self._move(row, cum, cause)

    def _fill(self, row: int, cum: int, new: int, price_nano: int, fee_micro: int) -> bool:
        """Record a fill of `new` lots, after which `cum` lots of the order are filled (both unsigned).

        Returns False when the fill contradicts earlier reports; True when it is recorded, or a duplicate of a recorded
        one. The lots are shared out to the agents of the order in proportion to what remains of their parts.
        """
        work = self.work
        ordered, symbol = work.lots[row], work.basket.sym[row]
        if cum > abs(ordered) or cum < new:
            self.effects.extend(contradiction(self.state, symbol, f"filled {cum} of {abs(ordered)} lots"))
            return False
        is_new = cover(work, row, cum - new, cum)
        if is_new < 0:
            self.effects.extend(contradiction(self.state, symbol, "fills that overlap"))
            return False
        if not is_new:
            return True
        work.filled[row] += new
        shares = work.shares_of(row)
        fill_shares = share(new, shares)
        if len(shares) == 1:
            work.put_shares(row, [(shares[0][0], shares[0][1] - new)])
        else:
            parts = dict(fill_shares)
            work.put_shares(row, [(who, lots - parts.get(who, 0)) for who, lots in shares])
        side = 1 if ordered > 0 else -1
        self.sym.append(symbol)
        self.lots.append(side * new)
        self.price_nano.append(price_nano)
        self.fee_micro.append(fee_micro)
        self.shares.append([(who, side * part) for who, part in fill_shares])
        return True

    def _move(self, row: int, cum: int, cause: int) -> None:
        """Move one order from its state by the report's `cause`; `cum` is its filled lots after the report.

        A cause that the table of order states does not allow (a negative entry) raises an alert and moves nothing. An
        order that ended while fills are missing keeps its state until they arrive; `work.odd` holds its end until then.
        """
        work, states = self.work, self.work.state
        before = states[row]
        after = TRANSITIONS[before][cause]
        if after < 0:
            text = f"{OrderState(before).name} then {Cause(cause).name}"
            self.effects.extend(contradiction(self.state, work.basket.sym[row], text))
            return
        odd = work.odd.get(row) if work.odd else None
        if cause in ENDING and work.filled[row] < cum and before not in ENDED:
            # the order has ended, but an earlier fill is missing: its risk stays reserved, and it is queried
            work.odd.setdefault(row, odd or Row(covered=[(0, work.filled[row])])).final = cum
            work.odd[row].cause = cause
            self.missing.append(row)
            return
        # the end was reported before, while fills were missing (`final` is -1 before any end)
        if odd is not None and odd.final >= 0 and before not in ENDED:
            if cause in ENDING:
                # repeated: the first report of the end may have been before a split
                odd.final, odd.cause = cum, cause
            if work.filled[row] < odd.final:
                return
            after = TRANSITIONS[before][odd.cause]
        if after != before:
            states[row] = after
            if after in ENDED:
                work.live -= 1
                if after != OrderState.FILLED:
                    self.ended.append(row)


def _all_accepted(work: Working, reports: Reports) -> bool:
    """Apply the usual report: the venue accepted all orders of a basket. Returns False, with nothing changed, for any
    other report."""
    return reports.cause == [Cause.ACCEPTED] * work.rows and not any(reports.lots) and work.accept()


def cover(work: Working, row: int, low: int, high: int) -> int:
    """1 when the fill (low, high] is new, 0 when it was posted before, -1 when it overlaps posted ones.

    `low` and `high` are cumulative filled lots of the order, before and after the fill. Fills that arrive in order need
    no list of intervals: the list (`work.odd`) begins with the first fill that does not.
    """
    odd = work.odd.get(row)
    if odd is None:
        if low == work.filled[row]:
            return 1
        odd = work.odd[row] = Row(covered=[(0, work.filled[row])] if work.filled[row] else [])
        # the fills posted so far are one interval, which contains any duplicate
    for start, end in odd.covered:
        if start <= low and high <= end:
            return 0
        if low < end and start < high:
            return -1
    odd.covered.append((low, high))
    return 1


def contradiction(state: State, symbol: int, text: str) -> list[Effect]:
    """The effects of a contradiction in the venue's reports, which only an operator can resolve."""
    text = f"the venue reports {text}; reconcile by hand"
    return [alert(state, "CRITICAL", "broker", text, symbol=symbol), *move_switch(state, HOUSE, REDUCE, "broker", text)]


def _end_rows(state: State, work: Working, reports: Reports, rows: list[int], stops_of: int | None) -> list[Effect]:
    """The record of rows that ended unfilled, and alerts; `stops_of` is the agent whose protective stops the rows are,
    else None."""
    effects: list[Effect] = [
        Ended(
            reports.sample, reports.n, reports.ts, rows, [int(work.state[row]) for row in rows], reports.reason,
            sym=[work.basket.sym[row] for row in rows],
            mark_nano=[int(state.marks_nano[work.basket.sym[row]]) for row in rows],
        )
    ]  # fmt: skip
    for row in rows:
        symbol, ended = work.basket.sym[row], work.state[row]
        unfilled = abs(work.lots[row]) - work.filled[row]
        if ended == OrderState.EXPIRED and unfilled:
            text = f"expired with {unfilled} of {abs(work.lots[row])} lots unfilled"
            effects.append(alert(state, "WARNING", "order", text, symbol=symbol))
        elif ended == OrderState.REJECTED:
            side = side_of(state, symbol, work.lots[row]) if stops_of is None else "stop"
            book = pausing_book(work, row) if stops_of is None else stops_of
            effects.extend(refused(state, book, symbol, side, reports.reason))
            effects.extend(exit_refused(state, symbol, reports.reason))
    return effects
