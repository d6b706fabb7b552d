"""Runs of quiet samples: found by the items of the market, computed by one kernel, applied to the state at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.quiet import kernel
from quantd.daemon.engine.quiet.kernel import MARKS, QUIET
from quantd.daemon.engine.rounds import follow_ups
from quantd.daemon.engine.safety.monitor import KNOWN_SAMPLES, RECORD_SAMPLES, levels_of, watched
from quantd.daemon.engine.samples import agents_due, serve_tick
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.stops.exits import current_levels
from quantd.risk.limits.catalogue import DAY_NS, Limits
from quantd.risk.limits.correlation import joint_bound
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.measures.portfolio import tail_count
from quantd.risk.monitor.levels import NONE, band
from quantd.risk.monitor.levels import QUIET as QUIET_SHARE
from quantd.risk.switch import RUN, STATE_LIMITS, Switch, losses
from quantd.trading.effects import Assessed, Effect, Valued
from quantd.trading.events import Tick
from quantd.trading.instruments import MICRO, Universe
from quantd.trading.market import Block, Floats, MarketSlice

Ints = NDArray[np.int64]

KINDS: Final = {
    "max_position_weight": kernel.HEAVIEST, "max_concentration": kernel.HEAVIEST, "max_gross_exposure": kernel.GROSS,
    "max_net_exposure": kernel.NET, "max_leverage": kernel.LEVERAGE, "max_herfindahl": kernel.HERFINDAHL,
}  # fmt: skip
"""Limit on exposures -> its measure."""


def plain(tick: Tick) -> bool:
    """Whether a tick is a sample whose row is complete, without a job or a series."""
    return (
        tick.sample
        and not (tick.jobs or tick.warmup or tick.macro)
        and tick.final <= tick.ts
        and tick.cash_rate is None
    )


def resting(state: State) -> bool:
    """Whether nothing but marks can change at a quiet sample."""
    history, rules = state.history, state.rules
    if (
        state.working
        or state.crosses
        or state.parents
        or state.stops
        or state.halted
        or state.limited
        or state.foreign
        or state.flattening
        or state.later
        or state.shadows
        or state.down
        or state.round is not None
        or history.waiting
        or history.pending
        or history.sync_actions
        or history.known_actions
        or history.own_dates is not None
        or history.bars is not None
        or history.macro is not None
        or state.valuations.unclosed
        or rules.live is not None
        or (rules.borrow_bp_annual and any(lots < 0 for lots in state.ledger.house.lots))
        or any(state.owed)
        or len(state.orders_at) > 256
        or not _guarded_by_marks(state)
    ):
        return False
    for number, agent in enumerate(state.agents):
        if not (agent.suspended or rules.agents[number].scheduled):
            return False  # it is asked at every sample
    for book in (HOUSE, *range(len(state.agents))):
        switch, levels = state.switch_at(book), levels_of(state, book)
        if switch.state != RUN or switch.day_key < 0 or any(levels.get(key) for key in STATE_LIMITS):
            return False
    return True


def _guarded_by_marks(state: State) -> bool:
    """Whether protective levels, if any, stay the same from a bar to the next."""
    if not state.protecting:
        return True
    guards = state.guards
    trails_or_rests = guards is not None and (guards.trails or state.resting)
    return not (trails_or_rests or state.own or any(agent.exits or agent.blocked for agent in state.agents))


def run_quiet(state: State, block: Block, first: int, ticks: Sequence[Tick], records: bool) -> list[list[Effect]]:
    """The effects of each of the first quiet samples, which are applied to the state: row `first` of `block` and the
    tick after it, the next row and the next tick, and so on. The state is `resting`; the last tick may ask agents.

    As many as `step` would find quiet; without `records` the records of limits are left out.
    """
    tables = _tables(state)
    rows = 0 if tables is None else _rows(state, block, first, ticks, records)
    if tables is None or not rows or not _finite(state, tables):
        return []
    ring, size, agents = state.history.synchronous, state.universe.size, len(state.agents)
    marks, basis = _inputs(state)
    out = np.empty((rows, agents + 5), dtype=np.int64)
    done = QUIET.run(
        np.array([rows, size, agents, tables.lone, ring.count - 1, ring.end]),
        state.ledger.flat,
        state.ledger.units,
        block.close_nano[first : first + rows].reshape(-1),
        block.close[first : first + rows].reshape(-1),
        ring.prices[ring.end - 1],
        tables.lot_size,
        np.array([tick.key // DAY_NS for tick in ticks[:rows]]),
        marks,
        tables.bounds,
        QUIET_SHARE,
        basis,
        tables.measures,
        tables.labels,
        tables.counts,
        ring.columns(),
        np.empty((size, rows)),
        tables.shocks,
        tables.losses,
        tables.scratch,
        out.reshape(-1),
    )
    if not done:
        return []
    found = out[:done]
    effects = _effects(state, block, first, ticks[:done], found, records)
    _apply(state, block, first, ticks[:done], found, marks, basis)
    tables.finite = ring.count
    last = ticks[done - 1]
    if last.due:
        follow_ups(state, frozenset(agents_due(state, last)))
        effects[-1] = list(serve_tick(state, last, effects[-1]))
    return effects


@dataclass(slots=True)
class Tables:
    """The measures of the watched books and the bounds of losses of all, as `quiet_rows` takes them, and its scratch.

    `lone`: the last agent is the house. The returns of `lookback` samples were finite at `finite` samples."""

    measures: Floats
    labels: Ints
    counts: Ints
    shocks: Floats
    lookback: int
    bounds: Floats
    lone: int
    lot_size: Floats
    losses: Floats
    scratch: Floats
    finite: int = -1


def _tables(state: State) -> Tables | None:
    """The tables for the limits and levels of now; None where a measure is unknown here. Cached."""
    books = watched(state)
    levels = [levels_of(state, book) for book in books]
    key = state.rules, state.allowed, [dict(each) for each in levels]
    if state.quiet is None or state.quiet[0] != key or state.quiet[0][0] is not state.rules:
        made = _Maker(state.universe)
        known = all(made.add(book, limits_in_force(state, book), own) for book, own in zip(books, levels, strict=True))
        state.quiet = key, made.tables(state, int(books == [HOUSE])) if known else None
    found: Tables | None = state.quiet[1]
    return found


def _finite(state: State, tables: Tables) -> bool:
    """Whether the newest returns of every symbol are known."""
    ring = state.history.synchronous
    if not ring.count:
        return False
    if tables.finite != ring.count:
        columns, rows = ring.columns(), min(ring.count - 1, tables.lookback)
        if not np.isfinite(columns[:, ring.end - rows : ring.end].sum()):
            return False
        tables.finite = ring.count
    return True


class _Maker:
    """Collects the measures of books."""

    def __init__(self, universe: Universe) -> None:
        self._universe = universe
        self._measures: list[list[float]] = []
        self._labels: list[Ints] = []
        self._counts: list[int] = []
        self._shocks: list[Floats] = []
        self._lookback = 0

    def add(self, book: int, limits: Limits, levels: dict[str, int]) -> bool:
        """Add the measures of a book; False where it has one that is unknown here."""
        rules = rules_of(limits, self._universe)
        others = (limits.min_diversification, limits.max_realised_volatility, limits.min_sharpe)
        if any(each is not None for each in others) or rules.unmeasured:
            return False

        def measure(key: str, kind: int, bound: float, *own: float, least: int = 0) -> None:
            low, high = band(key, levels.get(key, NONE), bound)
            self._measures.append([book + 1, kind, low, high, *own, *[0.0] * (3 - len(own)), least])

        grouped, alone = {family.key for family in rules.families}, {key for key, _, _ in rules.held_measures}
        for key, bound, _ in rules.held_measures:
            if key not in KINDS:
                return False
            if key not in grouped:
                measure(key, KINDS[key], bound)
        for family in rules.families:
            measure(family.key, kernel.FAMILY, family.settled_bound, len(self._labels), float(family.key in alone))
            self._labels.append(family.labels)
        for tail in rules.tails:
            if tail.fixed is not None:
                measure(tail.key, kernel.STRESS, tail.bound, len(tail.fixed), sum(map(len, self._shocks)))
                self._shocks.append(tail.fixed.returns)
            elif tail.filtered:
                return False
            else:
                kind, rows = kernel.CVAR if tail.mean else kernel.VAR, tail.lookback
                measure(tail.key, kind, tail.bound, rows, len(self._counts), tail.scale, least=limits.min_history)
                self._counts += [tail_count(n, tail.confidence) for n in range(rows + 1)]
                self._lookback = max(self._lookback, rows)
        for quad in rules.quads:
            if quad.key == "max_volatility":
                rows = quad.lookback
                measure(
                    quad.key, kernel.VOLATILITY, quad.settled_bound, rows, sqrt(quad.scale), least=limits.min_history
                )
                self._lookback = max(self._lookback, rows)
            elif quad.spread is not None:
                return False
        spec = limits.correlation
        if spec is not None:
            own = spec.min_weight, spec.threshold, spec.lookback
            measure("correlation", kernel.PAIRS, joint_bound(spec), *own, least=limits.min_history)
            self._lookback = max(self._lookback, spec.lookback)
        return True

    def tables(self, state: State, lone: int) -> Tables:
        # the deepest first: the losses of fewer scenarios are the last of them
        tails = (kernel.VAR, kernel.CVAR, kernel.VOLATILITY)
        books = (HOUSE, *range(len(state.agents)))
        each_bound = [getattr(limits_in_force(state, book), key) for book in books for key in STATE_LIMITS]
        bounds = [inf if bound is None else bound for bound in each_bound]
        self._measures.sort(key=lambda each: -each[4] if each[1] in tails else -inf)
        return Tables(
            np.array(self._measures, dtype=np.float64).ravel(),
            np.concatenate([*self._labels, np.zeros(1, dtype=np.int64)]),
            np.array([*self._counts, 1]),
            np.concatenate([*(each.ravel() for each in self._shocks), np.zeros(1)]),
            self._lookback,
            np.array(bounds),
            lone,
            np.array(self._universe.lot_size),
            np.empty((2, max(self._lookback, 1))),
            np.empty(2 * self._universe.size + 2 + len(self._counts)),
        )


def _rows(state: State, block: Block, first: int, ticks: Sequence[Tick], records: bool) -> int:
    """Rows that may be quiet: full ones, each of the date of its tick, inside the protective levels, before the next
    record of all limits."""
    most = min(len(ticks), len(block) - first)
    waiting = [number for number, agent in enumerate(state.agents) if agent.follow_up is not None]
    if waiting:  # a new decision replaces the rest of an earlier one, which a sample without it would plan
        most = 1 if set(waiting) <= set(ticks[0].due) else 0
    if records:
        most = min(most, state.watch.recorded_no + RECORD_SAMPLES - 1 - state.sample_no)
    for k in range(most):
        row, tick = first + k, ticks[k]
        whole = block.full[row] and block.key[row] == tick.key and block.ts_event[row] <= tick.ts
        if not whole or (k + 1 < len(ticks) and block.ts_event[row + 1] <= tick.ts):
            most = k
            break
    if state.guards is not None and most > 0:
        state.levels = current_levels(state, state.guards)
        state.best = state.levels.best
        close = block.close[first : first + most]
        touched = (close <= state.levels.lower) | (close >= state.levels.upper)
        most = int(np.append(touched.any(axis=1), True).argmax())
    return max(most, 0)


def _inputs(state: State) -> tuple[Ints, Floats]:
    """Switches with scratch of the same size, and the basis of realised returns, of the house and of each agent."""
    marks: list[int] = []
    basis: list[float] = []
    for book in (HOUSE, *range(len(state.agents))):
        switch = state.switch_at(book)
        marks += (switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last)
        basis += state.watch.realised[book + 1].basis(state.account(book).flows_micro)
    return np.array([*marks, *marks]), np.array(basis)


def _effects(
    state: State, block: Block, first: int, ticks: Sequence[Tick], found: Ints, records: bool
) -> list[list[Effect]]:
    """The records of each sample."""
    agents = len(state.agents)
    effects: list[list[Effect]] = []
    units = np.abs(state.lots(HOUSE) * state.universe.lot_size)
    cash, house = state.ledger.house.cash_micro, state.rules.house
    for k, (tick, row) in enumerate(zip(ticks, found.tolist(), strict=True)):
        own: list[Effect] = []
        equity, books = row[0], row[1 : agents + 2]
        high, day_open, week_open = row[agents + 2 :]
        if records and (state.sample_no + k + 1) % KNOWN_SAMPLES == 0:
            known = losses(Switch(high_water=high, day_open=day_open, week_open=week_open), equity, house)
            if known:
                own.append(Assessed(tick.ts, known))
        own.append(
            Valued(
                ts=tick.ts,
                equity_micro=equity,
                cash_micro=cash,
                books=books,
                gross=float(units.dot(block.close[first + k])) * MICRO / equity,
                drawdown=max(0.0, 1.0 - equity / max(high, 1)),
            )
        )
        effects.append(own)
    return effects


def _apply(
    state: State, block: Block, first: int, ticks: Sequence[Tick], found: Ints, marks: Ints, basis: Floats
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
    state.equity_micro, *state.books_micro = found[-1, : len(state.agents) + 2].tolist()
    watch = state.watch
    watch.context = None
    for book, own in zip((HOUSE, *range(len(state.agents))), marks.reshape(-1, MARKS).tolist(), strict=False):
        switch = state.switch_at(book)
        switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last = own
    for book in watched(state):
        equity = found[:, book + 1].tolist()
        watch.realised[book + 1].extend(equity, state.account(book).flows_micro, float(basis[3 * (book + 1)]))
