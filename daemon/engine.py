"""The pure core: `step(state, event) -> effects`. It reads no clock, draws no number and opens nothing.

The same snapshot and the same events give the same effects and the same state, in a backtest, a paper run,
a live run and a replay. `daemon.loop` carries the effects out.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final

import numpy as np

from daemon.planning import asks_allowed, follow_ups, open_round, plan, watch_limits
from daemon.state import HOUSE, AgentState, Row, State, Working, with_limits
from risk.switch import HALT, REDUCE, RUN, Switch, flow, losses, observe, rearm, trip
from trading.books import LedgerBroken, share
from trading.effects import (
    Ask,
    Booked,
    Cancel,
    Crossed,
    Effect,
    Ended,
    Filled,
    Level,
    Publish,
    Query,
    Snapshot,
    Stop,
    Switched,
    Valued,
)
from trading.events import (
    Action,
    CancelReported,
    Condition,
    Decided,
    Event,
    Flow,
    ForeignFound,
    NotFound,
    Operator,
    Reconciled,
    Reloaded,
    Started,
    Stopping,
    Tick,
    Unknown,
)
from trading.execution import split_row
from trading.instruments import MICRO
from trading.market import MarketSlice
from trading.orders import ENDED, TRANSITIONS, Cause, OrderState, Reports
from trading.sessions import DAY_NS
from trading.view import View

SWITCH_NAMES: Final = ("RUN", "REDUCE", "HALT")
UNCONFIRMED: Final = frozenset({OrderState.SENT, OrderState.CANCELLING, OrderState.UNKNOWN})
ENDING: Final = frozenset({Cause.LAST_FILL, Cause.CANCELLED, Cause.REJECTED, Cause.EXPIRED})
TO_HALT: Final = frozenset({"store", "ledger"})
"""Conditions that stop all trading; the others leave only reducing orders."""


def step(state: State, event: Event) -> Sequence[Effect]:
    """Take one event into `state` and say what must be done about it, in order; () when nothing."""
    return HANDLERS[type(event)](state, event)


def _alert(
    state: State, level: Level, kind: str, text: str, *, agent: int = HOUSE, symbol: int = -1, **measured: float
) -> Publish:
    return Publish(
        ts=state.now,
        level=level,
        kind=kind,
        text=text,
        symbol="" if symbol < 0 else state.universe.symbols[symbol],
        agent="" if agent == HOUSE else state.rules.agents[agent].name,
        value=measured.get("value"),
        bound=measured.get("bound"),
    )


# The market


def _slice(state: State, market: MarketSlice) -> Sequence[Effect]:
    """Crosses at the open, then the marks."""
    state.now = ts = market.ts_event
    effects = _book_crosses(state, market) if state.crosses else ()
    if market.full:
        state.marks, state.marks_nano, state.volume = market.close, market.close_nano, market.volume
        state.mark_ts = np.empty(state.universe.size, dtype=np.int64)
        state.mark_ts.fill(ts)
    else:
        fresh = market.fresh
        state.marks = np.where(fresh, market.close, state.marks)
        state.marks_nano = np.where(fresh, market.close_nano, state.marks_nano)
        state.volume = np.where(fresh, market.volume, state.volume)
        state.mark_ts = np.where(fresh, ts, state.mark_ts)
    state.history.bar(market.key, market.fresh, market.full, market.close)
    return effects


def _book_crosses(state: State, market: MarketSlice) -> list[Effect]:
    """Exchange what agents crossed, at the first open within both worst prices; what has ended lapses."""
    effects: list[Effect] = []
    kept = []
    for cross in state.crosses:
        eligible = market.fresh[cross.symbol] and market.ts_open >= cross.ts
        price = int(market.open_nano[cross.symbol])
        if eligible and cross.sell_worst_nano <= price <= cross.buy_worst_nano:
            state.ledger.cross(cross.symbol, price, cross.shares)
            state.booked()
            effects.append(Crossed(cross.sample, market.ts_open, cross.symbol, price, cross.shares))
        elif not (cross.end and cross.end <= market.ts_event):
            kept.append(cross)
    state.crosses = kept
    return effects


def _action(state: State, action: Action) -> Sequence[Effect]:
    """A split or a dividend at the ex date's open, on what was held at the previous close."""
    state.now = action.ts
    symbol = action.symbol
    if action.kind == "dividend":
        state.history.action(action.key, symbol, 1.0, action.cash_nano / 1e9)
        amount = state.ledger.dividend(symbol, action.cash_nano)
        state.booked()
        return (Booked(action.ts, "dividend", symbol, amount),) if amount else ()
    numerator, denominator = action.numerator, action.denominator
    state.history.action(action.key, symbol, numerator / denominator, 0.0)
    # marks stay raw: from the ex date on a share is worth that much less
    marks, marks_nano = state.marks.copy(), state.marks_nano.copy()
    marks[symbol] *= denominator / numerator
    marks_nano[symbol] = int(marks_nano[symbol]) * denominator // numerator
    state.marks, state.marks_nano = marks, marks_nano
    lieu = state.ledger.split(symbol, numerator, denominator, int(marks_nano[symbol]))
    state.booked()
    for work in state.working.values():
        for row, column in enumerate(work.basket.sym):
            if column == symbol and work.state[row] not in ENDED:
                _split_working(work, row, numerator, denominator)
    for cross in [c for c in state.crosses if c.symbol == symbol]:
        state.crosses.remove(cross)  # a cross is between two books; the next decision makes it again
    effects: list[Effect] = [
        _alert(state, "INFO", "action", f"{numerator}:{denominator} split of {state.universe.symbols[symbol]}")
    ]
    if lieu:
        effects.append(Booked(action.ts, "cash_in_lieu", symbol, lieu))
    return effects


def _split_working(work: Working, row: int, numerator: int, denominator: int) -> None:
    """Rescale one resting order, exactly as the venue does."""
    work.lots[row], work.filled[row], work.worst_nano[row] = split_row(
        work.lots[row], work.filled[row], work.worst_nano[row], numerator, denominator
    )
    left = abs(work.lots[row]) - work.filled[row]
    work.shares[row] = share(left, work.shares[row])
    work.odd.pop(row, None)


# Time


def _tick(state: State, tick: Tick) -> Sequence[Effect]:
    """A sample is appended and valued; then what earlier decisions left; then every Ask of the round."""
    state.now = tick.ts
    effects: list[Effect] = []
    if tick.sample:
        state.history.sample(tick.ts, tick.key, tick.final, state.marks)
        if tick.warmup:
            return ()
        effects.extend(_sample(state, tick))
    elif tick.due or state.flattening:
        state.revalue()
    if state.working:
        effects.extend(_overdue(state))
        if state.switch.state != RUN:
            effects.extend(_cancel_open(state, adding_only=state.switch.state == REDUCE or state.flattening))
    if state.flattening and not state.working:
        effects.extend(_flatten(state))
    rules = state.rules.agents
    due = [
        number
        for number, agent in enumerate(state.agents)
        if not agent.suspended and (number in tick.due or (tick.sample and not rules[number].scheduled))
    ]
    if tick.sample:
        effects.extend(follow_ups(state, frozenset(due)))
    if due and asks_allowed(state) and state.sample:
        effects.extend(_ask(state, due, tick.ts))
    if "snapshot" in tick.jobs:
        effects.append(Snapshot(tick.ts))
    if "flatten" in tick.jobs:
        effects.extend(_operator(state, Operator(tick.ts, "flatten", "schedule", "schedule")))
    return effects


def _overdue(state: State) -> list[Effect]:
    """Ask for orders whose time is over, whose outcome is unknown, or that have no time: their last report may be
    lost."""
    effects: list[Effect] = []
    for (sample, n), work in state.working.items():
        rows = [
            row
            for row, now in enumerate(work.state)
            if now not in ENDED and (now == OrderState.UNKNOWN or work.basket.end[row] < state.now)
        ]
        if rows:
            effects.append(Query(sample, n, rows))
    return effects


def _sample(state: State, tick: Tick) -> list[Effect]:
    """Borrow cost, valuation, and the limits that move the switch."""
    effects: list[Effect] = []
    rate = state.rules.borrow_bp_annual
    if rate and state.borrowed_key and any(lots < 0 for lots in state.ledger.house.lots):
        days = (tick.key - state.borrowed_key) // DAY_NS
        if days > 0:
            change = state.ledger.borrow(state.marks_nano.tolist(), rate, int(days))
            state.booked()
            effects.append(Booked(tick.ts, "borrow", -1, change))
    state.borrowed_key = tick.key - tick.key % DAY_NS
    state.sample, state.sample_key = tick.ts, tick.key
    state.sample_no += 1
    if len(state.orders_at) > 256:
        state.orders_at = dict(list(state.orders_at.items())[-128:])
    state.revalue()
    equity = state.equity_micro
    effects.extend(_watch(state, HOUSE, state.switch, equity, tick))
    for number, agent in enumerate(state.agents):
        effects.extend(_watch(state, number, agent.switch, state.books_micro[number], tick))
    effects.extend(watch_limits(state, losses(state.switch, equity, state.rules.house)))
    high = max(state.switch.high_water, 1)
    effects.append(
        Valued(
            ts=tick.ts,
            equity_micro=equity,
            cash_micro=state.ledger.house.cash_micro,
            books=state.books_micro,
            gross=state.exposure() * MICRO / equity if equity > 0 else 0.0,
            drawdown=max(0.0, 1.0 - equity / high),
        )
    )
    return effects


def _watch(state: State, who: int, switch: Switch, equity_micro: int, tick: Tick) -> list[Effect]:
    """Move one switch by its state limits, or re-arm it after its time on a replayed feed."""
    rules = state.rules
    limits = rules.house if who == HOUSE else rules.agents[who].limits
    waited = state.sample_no - switch.since_sample
    by_limit = switch.reason in STATE_LIMITS
    if switch.state == REDUCE and by_limit and rules.rearm_samples and waited >= rules.rearm_samples:
        rearm(switch, equity_micro, tick.key)
        if who == HOUSE:
            state.flattening = False
        text = f"re-armed after {waited} samples; high-water mark is the equity now"
        return [
            Switched(tick.ts, who, REDUCE, RUN, "rearm"),
            _alert(state, "INFO", "switch", text, agent=who),
        ]
    reason = observe(switch, equity_micro, tick.key, limits).removeprefix("max_")
    if not reason:
        return []
    return _move(state, who, REDUCE, reason, f"{reason.replace('_', ' ')} limit reached")


STATE_LIMITS: Final = frozenset({"drawdown", "daily_loss", "weekly_loss"})


def _move(state: State, who: int, to: int, reason: str, text: str) -> list[Effect]:
    """Move a switch one way, from RUN towards HALT; open orders follow."""
    switch = state.switch if who == HOUSE else state.agents[who].switch
    before = switch.state
    if not trip(switch, to, reason, state.sample_no):
        return []
    effects: list[Effect] = [
        Switched(state.now, who, before, to, reason),
        _alert(state, "CRITICAL", "switch", f"{SWITCH_NAMES[before]} to {SWITCH_NAMES[to]}: {text}", agent=who),
    ]
    if who == HOUSE:
        effects.extend(_cancel_open(state, adding_only=to == REDUCE))
        state.crosses = []
        if reason in state.rules.flatten_on:
            state.flattening = True
            effects.extend(_flatten(state))
    return effects


def _cancel_open(state: State, *, adding_only: bool) -> list[Effect]:
    """Cancel every working order, or those that add risk. Asked again at each tick: a cancel can be lost or refused."""
    effects: list[Effect] = []
    held = state.ledger.house.lots
    for (sample, n), work in state.working.items():
        for row, symbol in enumerate(work.basket.sym):
            if work.state[row] in ENDED or work.state[row] == OrderState.CANCELLING:
                continue
            if adding_only and held[symbol] * work.lots[row] < 0:
                continue
            # UNKNOWN rows are cancelled too: the venue may hold them
            work.state[row] = TRANSITIONS[work.state[row]][Cause.CANCEL_ASKED]
            effects.append(Cancel(sample, n, row, state.now))
    return effects


def _flatten(state: State) -> Sequence[Effect]:
    """Sell everything held; asked again at each tick until nothing is."""
    if not any(state.ledger.house.lots) and not any(any(b.lots) for b in state.ledger.books):
        state.flattening = False
        return ()
    nothing = np.zeros(state.universe.size).tobytes()
    state.revalue()
    return plan(state, dict.fromkeys(range(len(state.agents)), nothing), sample=state.sample, flatten=True)


# Deciding


def _ask(state: State, due: list[int], ts: int) -> list[Effect]:
    """One Ask for each agent that is due, on the last sample and the newest marks."""
    round_ = open_round(state, due)
    prices = state.marks.view()
    prices.flags.writeable = False
    px = state.marks * state.universe.lot_size
    asks: list[Effect] = []
    for number in due:
        equity = state.books_micro[number]
        held = state.lots(number) * px
        if not isfinite(np.add.reduce(held)):
            held = np.nan_to_num(held)
        weights = held * (MICRO / equity) if equity > 0 else np.zeros_like(held)
        weights.flags.writeable = False
        view = View(
            universe=state.universe,
            ring=state.history.known,
            prices=prices,
            weights=weights,
            cash=state.ledger.books[number].cash_micro / equity if equity > 0 else 0.0,
            equity=equity / MICRO,
            time=ts,
            sample=state.sample,
        )
        asks.append(Ask(round_.number, number, view, state.agents[number].memory))
    return asks


def _decided(state: State, answer: Decided) -> Sequence[Effect]:
    """Take an answer; when the last of its round is in, plan."""
    round_ = state.round
    if round_ is None or round_.number != answer.round or answer.agent not in round_.waiting:
        return ()  # too late: its round was planned without it
    round_.waiting.remove(answer.agent)
    agent = state.agents[answer.agent]
    effects: list[Effect] = []
    failed = answer.failed or _unfit(state, answer.weights)
    if failed:
        effects.extend(_failure(state, answer.agent, agent, failed))
    else:
        agent.failures = 0
        if answer.memory:
            agent.memory = {name: np.frombuffer(data).reshape(shape) for name, (shape, data) in answer.memory.items()}
        if answer.weights is not None:
            round_.answers[answer.agent] = answer.weights
        agent.follow_up = None
    if not round_.waiting:
        state.round = None
        effects.extend(plan(state, round_.answers, sample=state.sample))
    return effects


def _unfit(state: State, weights: bytes | None) -> str:
    if weights is None:
        return ""
    if len(weights) != 8 * state.universe.size:
        return f"{len(weights) // 8} weights for {state.universe.size} symbols"
    return "" if all(map(isfinite, np.frombuffer(weights).tolist())) else "a weight is not finite"


def _failure(state: State, number: int, agent: AgentState, failed: str) -> list[Effect]:
    """The agent holds; after repeated failures it is suspended. Nobody else is touched."""
    agent.failures += 1
    effects: list[Effect] = [
        _alert(state, "WARNING", "policy", f"policy failed, the agent holds: {failed}", agent=number)
    ]
    if agent.failures >= state.rules.max_failures:
        agent.suspended = True
        agent.follow_up = None
        effects.extend(_move(state, number, REDUCE, "suspended", f"suspended after {agent.failures} failures in a row"))
    return effects


# The venue


def _find(state: State, key: tuple[int, int]) -> Working | None:
    found = state.working.get(key)
    if found is None:
        found = next((work for ended, work in state.ended if ended == key), None)
    return found


def _reports(state: State, reports: Reports) -> Sequence[Effect]:
    """Post each fill exactly once and move each order by the table. Duplicates change nothing, reordered and
    late reports are posted when they come, a missing one is asked for."""
    state.now = max(state.now, reports.ts)
    key = (reports.sample, reports.n)
    work = _find(state, key)
    if work is None:
        return (_alert(state, "WARNING", "broker", f"a report about basket {key}, which is not ours; reconcile"),)
    if _all_accepted(work, reports):
        return ()
    news = News(state, work, reports)
    if not news.all_filled():
        news.row_by_row()
    effects = news.effects
    if news.sym:
        state.ledger.fills(news.sym, news.lots, news.price_nano, news.fee_micro, news.shares)
        state.booked()
        effects.append(
            Filled(
                reports.sample, reports.n, reports.ts,
                news.sym, news.lots, news.price_nano, news.fee_micro, news.shares,
            )
        )  # fmt: skip
    if news.ended:
        effects.extend(_ended(state, work, reports, news.ended))
    if news.missing:
        effects.append(Query(reports.sample, reports.n, news.missing))
    if work.live == 0 and key in state.working:
        del state.working[key]
        state.ended.append((key, work))
    return effects


class News:
    """What a report changes: fills to post (columns), rows that ended without being filled, rows to ask about."""

    __slots__ = (
        "effects", "ended", "fee_micro", "lots", "missing", "price_nano", "reports", "shares", "state", "sym", "work",
    )  # fmt: skip

    def __init__(self, state: State, work: Working, reports: Reports) -> None:
        self.state, self.work, self.reports = state, work, reports
        self.sym: list[int] = []
        self.lots: list[int] = []
        self.price_nano: list[int] = []
        self.fee_micro: list[int] = []
        self.shares: list[list[tuple[int, int]]] = []
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
        for row, cum, new, at, fee, cause in zip(r.row, r.cum, r.lots, r.price_nano, r.fee_micro, r.cause, strict=True):
            if not new or self._fill(row, cum, new, at, fee):
                self._move(row, cum, cause)

    def _fill(self, row: int, cum: int, new: int, price_nano: int, fee_micro: int) -> bool:
        """Note a fill that is news; False when it contradicts what is known."""
        work = self.work
        asked, symbol = work.lots[row], work.basket.sym[row]
        if cum > abs(asked) or cum < new:
            self.effects.extend(_contradiction(self.state, symbol, f"filled {cum} of {abs(asked)} lots"))
            return False
        fresh = _cover(work, row, cum - new, cum)
        if fresh < 0:
            self.effects.extend(_contradiction(self.state, symbol, "fills that overlap"))
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
            self.effects.extend(_contradiction(self.state, work.basket.sym[row], text))
            return
        odd = work.odd.get(row) if work.odd else None
        if cause in ENDING and work.filled[row] < cum and before not in ENDED:
            # it has ended, but a fill on the way there has not arrived: keep the risk and ask
            work.odd.setdefault(row, odd or Row(covered=[(0, work.filled[row])])).final = cum
            work.odd[row].cause = cause
            self.missing.append(row)
            return
        if odd is not None and odd.final >= 0 and before not in ENDED:
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


def _cover(work: Working, row: int, low: int, high: int) -> int:
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


def _contradiction(state: State, symbol: int, text: str) -> list[Effect]:
    """The venue contradicts itself or us: only a person can say who is right."""
    said = f"the venue reports {text}; reconcile by hand"
    return [
        _alert(state, "CRITICAL", "broker", said, symbol=symbol),
        *_move(state, HOUSE, REDUCE, "broker", said),
    ]


def _ended(state: State, work: Working, reports: Reports, rows: list[int]) -> list[Effect]:
    effects: list[Effect] = [
        Ended(reports.sample, reports.n, reports.ts, rows, [int(work.state[r]) for r in rows], reports.reason)
    ]
    for row in rows:
        symbol, ended = work.basket.sym[row], work.state[row]
        left = abs(work.lots[row]) - work.filled[row]
        if ended == OrderState.EXPIRED and left:
            effects.append(
                _alert(state, "WARNING", "order", f"expired with {left} of {abs(work.lots[row])} lots unfilled",
                       symbol=symbol)
            )  # fmt: skip
        elif ended == OrderState.REJECTED:
            effects.append(
                _alert(state, "WARNING", "order", f"rejected by the venue: {reports.reason or 'no reason given'}",
                       symbol=symbol)
            )  # fmt: skip
    return effects


def _cancel_reported(state: State, report: CancelReported) -> Sequence[Effect]:
    """A cancel that the venue refused: the order is as it was, and its truth is asked for."""
    state.now = max(state.now, report.ts)
    work = _find(state, (report.sample, report.n))
    if work is None or work.state[report.row] in ENDED:
        return ()
    return (Query(report.sample, report.n, [report.row]),)


def _unknown(state: State, unknown: Unknown) -> Sequence[Effect]:
    """Neither filled nor rejected: the risk stays reserved and the venue is asked by client id."""
    state.now = max(state.now, unknown.ts)
    work = _find(state, (unknown.sample, unknown.n))
    if work is None:
        return ()
    rows = [r for r in unknown.row if work.state[r] not in ENDED]
    # what was unknown before has been asked for, and is again at the next tick: a venue that does not know either
    # must not be asked in circles
    rows = [r for r in rows if work.state[r] != OrderState.UNKNOWN]
    for row in rows:
        work.state[row] = TRANSITIONS[work.state[row]][Cause.TIMED_OUT]
    if not rows:
        return ()
    names = ", ".join(state.universe.symbols[work.basket.sym[r]] for r in rows)
    return (
        Query(unknown.sample, unknown.n, rows),
        _alert(state, "WARNING", "order", f"outcome unknown ({unknown.reason}): {names}; asking the venue"),
    )


def _not_found(state: State, found: NotFound) -> Sequence[Effect]:
    """The venue never had it. Planned orders belong to their decision's moment: it ends as expired, never sent."""
    work = state.working.get((found.sample, found.n))
    if work is None:
        return ()
    # a cancel may have been asked for, or the answer to the submit not yet missed, when the venue says so
    rows = [r for r in found.row if work.state[r] in UNCONFIRMED and not work.filled[r]]
    for row in rows:
        work.state[row] = OrderState.UNKNOWN
    return _reports(
        state,
        Reports(
            sample=found.sample,
            n=found.n,
            ts=found.ts,
            row=rows,
            cum=[0] * len(rows),
            lots=[0] * len(rows),
            price_nano=[0] * len(rows),
            fee_micro=[0] * len(rows),
            cause=[int(Cause.NOT_FOUND)] * len(rows),
            reason="never sent",
        ),
    )


def _reconciled(state: State, venue: Reconciled) -> Sequence[Effect]:
    """Compare the venue's account with ours; a difference leaves only reducing orders."""
    state.now = max(state.now, venue.ts)
    differences = [
        f"{state.universe.symbols[k]} {theirs} there, {ours} here"
        for k, (theirs, ours) in enumerate(zip(venue.lots, state.ledger.house.lots, strict=True))
        if theirs != ours
    ]
    cash = state.ledger.house.cash_micro
    if venue.cash_micro is not None and venue.cash_micro != cash:
        differences.append(f"cash {venue.cash_micro / MICRO} there, {cash / MICRO} here")
    if not differences:
        return ()
    text = "reconciliation: " + "; ".join(differences)
    return [_alert(state, "CRITICAL", "reconciliation", text), *_move(state, HOUSE, REDUCE, "reconciliation", text)]


def _foreign(state: State, found: ForeignFound) -> Sequence[Effect]:
    """Orders that are not ours reserve risk; they are never touched."""
    state.now = max(state.now, found.ts)
    state.foreign = [(o.symbol, o.lots, o.limit_nano) for o in found.orders]
    return tuple(
        _alert(state, "WARNING", "foreign", f"order {o.venue_id} at the venue is not ours", symbol=o.symbol)
        for o in found.orders
    )


# People and the world


def _flow(state: State, moved: Flow) -> Sequence[Effect]:
    """A deposit or a withdrawal: no profit, and the high-water mark moves with it."""
    state.now = max(state.now, moved.ts)
    state.ledger.deposit(moved.amount_micro)
    flow(state.switch, moved.amount_micro)
    state.booked()
    state.revalue()
    return (Booked(moved.ts, "flow", -1, moved.amount_micro),)


def _operator(state: State, order: Operator) -> Sequence[Effect]:
    """A person's command, with its reason in the journal."""
    state.now = max(state.now, order.ts)
    said = f"{order.who}: {order.reason}"
    who = HOUSE
    if order.agent:
        names = [a.name for a in state.rules.agents]
        if order.agent not in names:
            return (_alert(state, "WARNING", "operator", f"no agent named {order.agent!r}"),)
        who = names.index(order.agent)
    if order.command == "resume":
        return _resume(state, who, said)
    if order.command == "flatten":
        state.flattening = True
        effects = _move(state, HOUSE, HALT, "operator", said)
        return [*effects, *_flatten(state)]
    return _move(state, who, HALT if order.command == "halt" else REDUCE, "operator", said)


def _resume(state: State, who: int, said: str) -> Sequence[Effect]:
    switch = state.switch if who == HOUSE else state.agents[who].switch
    before = switch.state
    if state.down and who == HOUSE:
        what = ", ".join(sorted(state.down))
        return (_alert(state, "WARNING", "operator", f"not resumed: {what} still down"),)
    if who == HOUSE:
        state.flattening = False
    else:
        state.agents[who].suspended, state.agents[who].failures = False, 0
    if before == RUN:
        return ()
    state.revalue()  # the equity now, not at the last sample
    equity = state.equity_micro if who == HOUSE else state.books_micro[who]
    rearm(switch, equity, state.sample_key)
    return (
        Switched(state.now, who, before, RUN, said),
        _alert(state, "WARNING", "switch", f"{SWITCH_NAMES[before]} to RUN: {said}", agent=who),
    )


def _condition(state: State, condition: Condition) -> Sequence[Effect]:
    """Something the daemon stands on went down or came back. Only a person re-arms."""
    state.now = max(state.now, condition.ts)
    text = f"{condition.what} {'is back' if condition.up else 'is down'}: {condition.detail}"
    if condition.what == "bars":
        return (_alert(state, "WARNING", "bars", condition.detail),)
    if condition.up:
        state.down.discard(condition.what)
        return (_alert(state, "INFO", condition.what, text),)
    state.down.add(condition.what)
    to = HALT if condition.what in TO_HALT else REDUCE
    return [_alert(state, "CRITICAL", condition.what, text), *_move(state, HOUSE, to, condition.what, text)]


def _started(state: State, started: Started) -> Sequence[Effect]:
    state.now = max(state.now, started.ts)
    return ()


def _reloaded(state: State, reloaded: Reloaded) -> Sequence[Effect]:
    """New limits hold from the next decision on; what is open keeps the verdict it had."""
    state.now = max(state.now, reloaded.ts)
    if reloaded.limits:
        state.rules = with_limits(state.rules, reloaded.limits)
    if not reloaded.changed:
        return ()
    return (_alert(state, "INFO", "config", f"configuration changed: {', '.join(reloaded.changed)}"),)


def _stopping(state: State, stopping: Stopping) -> Sequence[Effect]:
    """Leave in order: cancel what is open when asked to, check the ledger, keep a snapshot, stop."""
    state.now = max(state.now, stopping.ts)
    effects: list[Effect] = []
    if stopping.cancel_open:
        effects = _cancel_open(state, adding_only=False)
        state.crosses = []
    return [*effects, Snapshot(state.now), Stop(stopping.reason)]


def check(state: State) -> str:
    """ "" when books and house agree to the unit, else what differs."""
    try:
        state.ledger.check()
    except LedgerBroken as broken:
        return str(broken)
    return ""


# `Any`: each handler takes its own member of the union; a test checks that every member has one.
HANDLERS: Final[dict[type, Callable[[State, Any], Sequence[Effect]]]] = {
    MarketSlice: _slice,
    Tick: _tick,
    Decided: _decided,
    Reports: _reports,
    Action: _action,
    CancelReported: _cancel_reported,
    Unknown: _unknown,
    NotFound: _not_found,
    Reconciled: _reconciled,
    ForeignFound: _foreign,
    Flow: _flow,
    Operator: _operator,
    Condition: _condition,
    Started: _started,
    Reloaded: _reloaded,
    Stopping: _stopping,
}
