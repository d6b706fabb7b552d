"""Runs of quiet samples: found by the items of the market, computed by one kernel, applied to the state at once."""

from collections.abc import Sequence
from math import inf

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.quiet.kernel import MARKS, QUIET
from quantd.daemon.engine.safety.monitor import KNOWN_SAMPLES, RECORD_SAMPLES, watched
from quantd.daemon.engine.safety.monitor_state import Corridor
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.catalogue import DAY_NS, Limits
from quantd.risk.monitor.levels import QUIET as QUIET_SHARE
from quantd.risk.switch import RUN, STATE_LIMITS, Switch, losses
from quantd.trading.effects import Assessed, Effect, Valued
from quantd.trading.events import Tick
from quantd.trading.instruments import MICRO, NANO
from quantd.trading.market import Block, Floats, MarketSlice

Ints = NDArray[np.int64]


def plain(tick: Tick) -> bool:
    """Whether a tick is a sample whose row is complete, without an Ask, a job or a series."""
    return (
        tick.sample
        and not (tick.due or tick.jobs or tick.warmup or tick.macro)
        and tick.final <= tick.ts
        and tick.cash_rate is None
    )


def resting(state: State) -> bool:
    """Whether nothing but marks can change at a quiet sample."""
    watch, history = state.watch, state.history
    return (
        not (
            watch.corridor is None
            or watch.corridor.lots is not None
            or watch.changed
            or state.working
            or state.crosses
            or state.parents
            or state.stops
            or state.protecting
            or state.halted
            or state.limited
            or state.foreign
            or state.flattening
            or state.later
            or state.shadows
            or state.down
            or history.waiting
            or history.pending
            or history.sync_actions
            or history.known_actions
            or history.own_dates is not None
            or history.bars is not None
            or history.macro is not None
            or state.valuations.unclosed
            or state.round is not None
            or state.rules.live is not None
            or state.rules.borrow_bp_annual
            or any(state.owed)
            or len(state.orders_at) > 256
            or state.switch.state != RUN
            or state.switch.day_key < 0
        )
        and all(
            agent.switch.state == RUN
            and agent.follow_up is None
            and agent.switch.day_key >= 0
            and (agent.suspended or rules.scheduled)
            for agent, rules in zip(state.agents, state.rules.agents, strict=True)
        )
        and not any(
            limits.max_realised_volatility is not None or limits.min_sharpe is not None
            for limits in (state.rules.house, *(agent.limits for agent in state.rules.agents))
        )
        and not any(state.monitor.levels.get(key) for key in STATE_LIMITS)
        and not any(levels.get(key) for levels in state.watch.levels for key in STATE_LIMITS)
        and set(state.universe.lot_nano) == {NANO}
    )


def run_quiet(state: State, block: Block, first: int, ticks: Sequence[Tick], records: bool) -> list[list[Effect]]:
    """The effects of each of the first quiet samples, which are applied to the state: row `first` of `block` and the
    tick after it, the next row and the next tick, and so on.

    As many as `step` would find quiet; without `records` the records of limits are left out.
    """
    if not resting(state):
        return []
    rows = _rows(state, block, first, ticks, records)
    if not rows:
        return []
    corridor = state.watch.corridor
    assert corridor is not None
    size, agents = state.universe.size, len(state.agents)
    width = agents + 4
    sizes = np.array([rows, size, agents, width])
    books = (state.ledger.house, *state.ledger.books[:agents])
    arguments = (
        block.close_nano[first : first + rows].reshape(-1),
        np.array([tick.key // DAY_NS for tick in ticks[:rows]]),
        np.array([book.lots for book in books]).ravel(),
        np.array([book.cash_micro for book in books]),
    )
    marks, bounds, grown, flows = _inputs(state)
    before = marks.copy(), grown.copy(), flows.copy()
    out = np.empty((rows, width), dtype=np.int64)
    rest = np.empty_like(marks), bounds, QUIET_SHARE
    done = QUIET.run(sizes, *arguments, marks, *rest, grown, flows, out.reshape(-1))
    kept = _screened(corridor, block.close[first : first + done], out)
    if kept < done:
        sizes[0] = done = kept
        marks, grown, flows = before
        QUIET.run(sizes, *arguments, marks, *rest, grown, flows, out.reshape(-1))
    if not done:
        return []
    found = out[:done]
    effects = _effects(state, block, first, ticks[:done], found, records)
    corridor.rows += done
    _apply(state, block, first, ticks[:done], found, marks, grown)
    return effects


def _rows(state: State, block: Block, first: int, ticks: Sequence[Tick], records: bool) -> int:
    """Rows that may be quiet: full ones, each of the date of its tick, before the next record of all limits."""
    most = min(len(ticks), len(block) - first)
    if records:
        most = min(most, state.watch.recorded_no + RECORD_SAMPLES - 1 - state.sample_no)
    for k in range(most):
        row, tick = first + k, ticks[k]
        if not (block.full[row] and block.key[row] == tick.key and block.ts_event[row] <= tick.ts):
            return k
        if k + 1 < most and block.ts_event[row + 1] <= tick.ts:
            return k
    return max(most, 0)


def _inputs(state: State) -> tuple[Ints, Floats, Floats, Floats]:
    """Switches, bounds of losses, growth, and last equity with the deposits since, of the house and of each agent."""
    marks: list[int] = []
    bounds: list[float] = []
    basis: list[tuple[float, float, float]] = []
    for book in (HOUSE, *range(len(state.agents))):
        switch = state.switch_at(book)
        marks += [switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last]
        limits = _limits(state, book)
        bounds += [inf if (bound := getattr(limits, key)) is None else bound for key in STATE_LIMITS]
        basis.append(state.watch.realised[book + 1].basis(state.account(book).flows_micro))
    return (
        np.array(marks),
        np.array(bounds),
        np.array([grown for grown, _, _ in basis]),
        np.array([each for _, *both in basis for each in both]),
    )


def _limits(state: State, book: int) -> Limits:
    return state.rules.house if book == HOUSE else state.rules.agents[book].limits


def _screened(corridor: Corridor, close: Floats, equity: Ints) -> int:
    """The number of rows of float64[T, N] `close` at which every screen keeps its levels, with int64[T, A + 1] equity
    of the house and of each agent."""
    ratios = (close if corridor.columns is None else close[:, corridor.columns]) * corridor.inverse
    low = ratios.min(axis=1).tolist() if ratios.shape[1] else [1.0] * len(close)
    high = ratios.max(axis=1).tolist() if ratios.shape[1] else [1.0] * len(close)
    for row in range(len(close)):
        for book, one in corridor.screens:
            if not one.keeps(ratios[row], low[row], high[row], equity[row, book + 1] / MICRO):
                return row
    return len(close)


def _effects(
    state: State, block: Block, first: int, ticks: Sequence[Tick], found: Ints, records: bool
) -> list[list[Effect]]:
    """The records of each sample."""
    agents, effects = len(state.agents), []
    units = np.abs(state.lots(HOUSE) * state.universe.lot_size)
    cash, house = state.ledger.house.cash_micro, state.rules.house
    for k, (tick, row) in enumerate(zip(ticks, found.tolist(), strict=True)):
        own: list[Effect] = []
        equity, books = row[0], row[1 : agents + 1]
        high, day_open, week_open = row[agents + 1 :]
        if records and (state.sample_no + k + 1) % KNOWN_SAMPLES == 0:
            known = losses(Switch(high_water=high, day_open=day_open, week_open=week_open), equity, house)
            if known:
                own.append(Assessed(tick.ts, known))
        own.append(
            Valued(
                ts=tick.ts,
                equity_micro=equity,
                cash_micro=cash,
                books=[*books, equity - sum(books)],
                gross=float(units.dot(block.close[first + k])) * MICRO / equity,
                drawdown=max(0.0, 1.0 - equity / max(high, 1)),
            )
        )
        effects.append(own)
    return effects


def _apply(
    state: State, block: Block, first: int, ticks: Sequence[Tick], found: Ints, marks: Ints, grown: Floats
) -> None:
    """Move the state to the last of these samples."""
    history, last, tick = state.history, first + len(ticks) - 1, ticks[-1]
    for k, each in enumerate(ticks):
        market = MarketSlice(block, first + k)
        state.traded_volume(market)
        state.session_volume(each.ts)
        history.known.append(market.close)
        history.synchronous.append(market.close)
    state.marks, state.marks_nano = block.close[last], block.close_nano[last]
    state.mark_ts = np.full(state.universe.size, block.ts_event[last])
    state.now = max(state.now, block.ts_seen[last], tick.ts)
    state.sample, state.sample_key = tick.ts, tick.key
    state.sample_no += len(ticks)
    state.borrowed_key, state.earned = tick.key - tick.key % DAY_NS, None
    state.equity_micro, *books = found[-1, : len(state.agents) + 1].tolist()
    state.books_micro = [*books, state.equity_micro - sum(books)]
    state.watch.context, state.watch.busy = None, False
    for book, own in zip((HOUSE, *range(len(state.agents))), marks.reshape(-1, MARKS).tolist(), strict=True):
        switch = state.switch_at(book)
        switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last = own
    for book in watched(state):
        equity = found[:, book + 1].tolist()
        state.watch.realised[book + 1].extend(equity, state.account(book).flows_micro, float(grown[book + 1]))
