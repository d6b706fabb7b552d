"""What a venue reports about baskets: each fill posted once, each order moved by the table."""

from collections.abc import Sequence
from typing import Final

from quantd.daemon.engine.alerts import alert
from quantd.daemon.engine.planning.execution import count_fills
from quantd.daemon.engine.safety.switch import move_switch
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.stops.venue_stops import stops_ended, stops_filled
from quantd.daemon.engine.venue.coin_fees import pay_in_coin
from quantd.daemon.engine.venue.halts import refused_as_halted
from quantd.daemon.engine.venue.open_orders import Row, Working
from quantd.risk.switch import REDUCE
from quantd.trading.effects import Effect, Ended, Filled, Query
from quantd.trading.netting import share
from quantd.trading.orders import ENDED, TRANSITIONS, Cause, OrderState, Reports

ENDING: Final = frozenset({Cause.LAST_FILL, Cause.CANCELLED, Cause.REJECTED, Cause.EXPIRED})


def find_basket(state: State, key: tuple[int, int]) -> Working | None:
    found = state.working.get(key) or state.stops.get(key)
    if found is None:
        found = next((work for ended, work in state.ended if ended == key), None)
    return found


def on_reports(state: State, reports: Reports) -> Sequence[Effect]:
    """Post each fill exactly once and move each order by the table. Duplicates change nothing, reordered and
    late reports are posted when they come, a missing one is asked for."""
    return post(state, reports)


def post(state: State, reports: Reports) -> Sequence[Effect]:
    """Book the fills of a report and move its orders."""
    key = (reports.sample, reports.n)
    work = find_basket(state, key)
    if work is None:
        return (alert(state, "WARNING", "broker", f"a report about basket {key}, which is not ours; reconcile"),)
    if _all_accepted(work, reports):
        return ()
    rests = key in state.stops
    news = News(state, work, reports)
    if not news.all_filled():
        news.row_by_row()
    effects = news.effects
    if news.sym:
        state.ledger.fills(news.sym, news.lots, news.price_nano, news.fee_micro, news.shares)
        state.booked()
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
    if rests:
        effects.extend(stops_filled(state, key, work, news.sym, news.lots, news.price_nano))
        stops_ended(state, key, work, news.ended)
    if news.ended:
        effects.extend(tell_ended(state, work, reports, news.ended))
        effects.extend(refused_as_halted(state, work, reports, news.ended))
    if news.missing:
        effects.append(Query(reports.sample, reports.n, news.missing))
    if work.live == 0 and (rests or key in state.working):
        state.working.pop(key, None)
        if rests:
            del state.stops[key], state.rests[key]
        state.ended.append((key, work))
    return effects


class News:
    """What a report changes: fills to post (columns), rows that ended without being filled, rows to ask about."""

    __slots__ = (
        "effects", "ended", "fee_micro", "in_coin", "lots", "missing", "price_nano", "reports", "shares", "state",
        "sym", "work",
    )  # fmt: skip

    def __init__(self, state: State, work: Working, reports: Reports) -> None:
        self.state, self.work, self.reports = state, work, reports
        self.sym: list[int] = []
        self.lots: list[int] = []
        self.price_nano: list[int] = []
        self.fee_micro: list[int] = []
        self.shares: list[list[tuple[int, int]]] = []
        self.in_coin: list[tuple[int, int]] = []
        """(which fill, nano-units) of fees that were taken in the instrument itself."""
        self.ended: list[int] = []
        self.missing: list[int] = []
        self.effects: list[Effect] = []

    def all_filled(self) -> bool:
        """Take the usual report of a liquid market at once: every row of the basket, each filled whole by its first
        fill; False, and nothing changed, when this is another one."""
        work, reports = self.work, self.reports
        size = len(work.state)
        if (
            reports.cause != [Cause.LAST_FILL] * size
            or work.state != [OrderState.WORKING] * size
            or reports.row != list(range(size))
            or work.odd
            or reports.fee_nano
            or any(work.filled)
            or 0 in reports.lots
            or reports.cum != reports.lots
            or reports.lots != [abs(lots) for lots in work.lots]
        ):
            return False
        self.sym, self.lots = work.basket.sym, list(work.lots)
        self.price_nano, self.fee_micro = reports.price_nano, reports.fee_micro
        self.shares = [
            [(shares[0][0], lots)] if len(shares) == 1 else _signed(shares, lots)
            for lots, shares in zip(work.lots, work.shares, strict=True)
        ]
        work.shares = [
            [(shares[0][0], 0)] if len(shares) == 1 else [(who, 0) for who, _ in shares] for shares in work.shares
        ]
        work.filled = list(reports.lots)
        work.state = [int(OrderState.FILLED)] * size
        work.live = 0
        return True

    def row_by_row(self) -> None:
        """Take any report."""
        r = self.reports
        for k, (row, cum, new, at, fee, cause) in enumerate(
            zip(r.row, r.cum, r.lots, r.price_nano, r.fee_micro, r.cause, strict=True)
        ):
            before = len(self.sym)
            if not new or self._fill(row, cum, new, at, fee):
                if r.fee_nano and r.fee_nano[k] and len(self.sym) > before:
                    self.in_coin.append((before, r.fee_nano[k]))
                self._move(row, cum, cause)

    def _fill(self, row: int, cum: int, new: int, price_nano: int, fee_micro: int) -> bool:
        """Note a fill that is news; False when it contradicts what is known."""
        work = self.work
        asked, symbol = work.lots[row], work.basket.sym[row]
        if cum > abs(asked) or cum < new:
            self.effects.extend(contradiction(self.state, symbol, f"filled {cum} of {abs(asked)} lots"))
            return False
        fresh = cover(work, row, cum - new, cum)
        if fresh < 0:
            self.effects.extend(contradiction(self.state, symbol, "fills that overlap"))
            return False
        if not fresh:
            return True
        work.filled[row] += new
        left = work.shares[row]
        took = share(new, left)
        if len(left) == 1:
            work.shares[row] = [(left[0][0], left[0][1] - new)]
        else:
            parts = dict(took)
            work.shares[row] = [(who, rest - parts.get(who, 0)) for who, rest in left]
        side = 1 if asked > 0 else -1
        self.sym.append(symbol)
        self.lots.append(side * new)
        self.price_nano.append(price_nano)
        self.fee_micro.append(fee_micro)
        self.shares.append([(who, side * part) for who, part in took])
        return True

    def _move(self, row: int, cum: int, cause: int) -> None:
        """Move one order by the table, once all its fills have arrived."""
        work, states = self.work, self.work.state
        before = states[row]
        after = TRANSITIONS[before][cause]
        if after < 0:
            text = f"{OrderState(before).name} then {Cause(cause).name}"
            self.effects.extend(contradiction(self.state, work.basket.sym[row], text))
            return
        odd = work.odd.get(row) if work.odd else None
        if cause in ENDING and work.filled[row] < cum and before not in ENDED:
            # it has ended, but a fill on the way there has not arrived: keep the risk and ask
            work.odd.setdefault(row, odd or Row(covered=[(0, work.filled[row])])).final = cum
            work.odd[row].cause = cause
            self.missing.append(row)
            return
        if odd is not None and odd.final >= 0 and before not in ENDED:
            if cause in ENDING:
                # said again: an end told before a split, and heard after it, named other lots
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


def _signed(shares: list[tuple[int, int]], lots: int) -> list[tuple[int, int]]:
    """Agents' unsigned parts with the sign of the order's lots."""
    return [(who, left if lots > 0 else -left) for who, left in shares if left]


def _all_accepted(work: Working, reports: Reports) -> bool:
    """Take the usual acknowledgement of a whole basket at once; False when this is another report."""
    size = len(work.state)
    if reports.cause != [Cause.ACCEPTED] * size or work.state != [OrderState.SENT] * size or any(reports.lots):
        return False
    work.state = [int(OrderState.WORKING)] * size
    return True


def cover(work: Working, row: int, low: int, high: int) -> int:
    """1 when (low, high] is news, 0 when it was posted before, -1 when it overlaps what was."""
    odd = work.odd.get(row)
    if odd is None:
        if low == work.filled[row]:
            return 1
        odd = work.odd[row] = Row(covered=[(0, work.filled[row])] if work.filled[row] else [])
        # contiguous fills posted so far are one interval: a duplicate lies inside it
    for start, end in odd.covered:
        if start <= low and high <= end:
            return 0
        if low < end and start < high:
            return -1
    odd.covered.append((low, high))
    return 1


def contradiction(state: State, symbol: int, text: str) -> list[Effect]:
    """The venue contradicts itself or us: only a person can say who is right."""
    said = f"the venue reports {text}; reconcile by hand"
    return [alert(state, "CRITICAL", "broker", said, symbol=symbol), *move_switch(state, HOUSE, REDUCE, "broker", said)]


def tell_ended(state: State, work: Working, reports: Reports, rows: list[int]) -> list[Effect]:
    effects: list[Effect] = [
        Ended(
            reports.sample, reports.n, reports.ts, rows, [int(work.state[r]) for r in rows], reports.reason,
            sym=[work.basket.sym[r] for r in rows],
            mark_nano=[int(state.marks_nano[work.basket.sym[r]]) for r in rows],
        )
    ]  # fmt: skip
    for row in rows:
        symbol, ended = work.basket.sym[row], work.state[row]
        left = abs(work.lots[row]) - work.filled[row]
        if ended == OrderState.EXPIRED and left:
            effects.append(
                alert(state, "WARNING", "order", f"expired with {left} of {abs(work.lots[row])} lots unfilled",
                       symbol=symbol)
            )  # fmt: skip
        elif ended == OrderState.REJECTED:
            effects.append(
                alert(state, "WARNING", "order", f"rejected by the venue: {reports.reason or 'no reason given'}",
                       symbol=symbol)
            )  # fmt: skip
    return effects
