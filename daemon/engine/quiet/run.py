"""Runs of quiet samples: found by the items of the market, computed by one kernel, applied to the state at once."""

from collections.abc import Sequence
from math import inf, sqrt
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.quiet import kernel
from quantd.daemon.engine.quiet.kernel import MARKS, QUIET
from quantd.daemon.engine.rounds import follow_ups
from quantd.daemon.engine.safety.monitor import KNOWN_SAMPLES, RECORD_SAMPLES, levels_of, watched
from quantd.daemon.engine.samples import agents_due, serve_tick
from quantd.daemon.engine.state import HOUSE, State
from quantd.daemon.engine.stops.exits import current_levels
from quantd.risk.limits.catalogue import DAY_NS, Limits
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.limits.tail_risk import var_of
from quantd.risk.measures.portfolio import tail_count
from quantd.risk.monitor.levels import NONE, band
from quantd.risk.monitor.levels import QUIET as QUIET_SHARE
from quantd.risk.pairs import joint_bound
from quantd.risk.switch import RUN, STATE_LIMITS, Switch, losses
from quantd.trading.effects import Assessed, Effect, Valued
from quantd.trading.events import Tick
from quantd.trading.instruments import MICRO, NANO, Universe
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
        or rules.borrow_bp_annual
        or any(state.owed)
        or len(state.orders_at) > 256
        or any(size != NANO for size in state.universe.lot_nano)
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
    if tables is None or not rows:
        return []
    close = block.close[first : first + rows]
    returns = _returns(state, tables.lookback, close)
    if returns is None:
        return []
    size, agents = state.universe.size, len(state.agents)
    accounts = (state.ledger.house, *state.ledger.books[:agents])
    marks, bounds, basis = _inputs(state)
    out = np.empty((rows, agents + 4), dtype=np.int64)
    lone = int(watched(state) == [HOUSE])
    done = QUIET.run(
        np.array([rows, size, agents, lone, max(state.history.synchronous.count - 1, 0)]),
        block.close_nano[first : first + rows].reshape(-1),
        (close * state.universe.lot_size).reshape(-1),
        np.array([tick.key // DAY_NS for tick in ticks[:rows]]),
        np.array([account.lots for account in accounts]).ravel(),
        np.array([account.cash_micro for account in accounts]),
        marks,
        bounds,
        QUIET_SHARE,
        basis,
        tables.measures,
        tables.labels,
        tables.counts,
        returns,
        tables.shocks,
        np.empty((1, max(tables.lookback, 1))),
        np.empty(2 * size + 2 + len(tables.counts)),
        out.reshape(-1),
    )
    if not done:
        return []
    found = out[:done]
    effects = _effects(state, block, first, ticks[:done], found, records)
    _apply(state, block, first, ticks[:done], found, marks, basis)
    last = ticks[done - 1]
    if last.due:
        follow_ups(state, frozenset(agents_due(state, last)))
        effects[-1] = list(serve_tick(state, last, effects[-1]))
    return effects


class Tables(NamedTuple):
    """The measures of the watched books, as `quiet_rows` takes them."""

    measures: Floats
    labels: Ints
    counts: Ints
    shocks: Floats
    lookback: int


def _tables(state: State) -> Tables | None:
    """The measures of the watched books at their levels; None where one of them is unknown here. Cached."""
    books = watched(state)
    key = tuple((book, id(_limits(state, book)), *levels_of(state, book).items()) for book in books)
    if state.quiet is None or state.quiet[0] != key:
        made = _Maker(state.universe)
        known = all(made.add(book, _limits(state, book), levels_of(state, book)) for book in books)
        state.quiet = key, made.tables() if known else None
    found: Tables | None = state.quiet[1]
    return found


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
                kind, rows = kernel.VAR if tail.measure is var_of else kernel.CVAR, tail.lookback
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

    def tables(self) -> Tables:
        # the deepest first: the losses of fewer scenarios are the last of them
        tails = (kernel.VAR, kernel.CVAR, kernel.VOLATILITY)
        self._measures.sort(key=lambda each: -each[4] if each[1] in tails else -inf)
        return Tables(
            np.array(self._measures, dtype=np.float64).ravel(),
            np.concatenate([*self._labels, np.zeros(1, dtype=np.int64)]),
            np.array([*self._counts, 1]),
            np.concatenate([*(each.ravel() for each in self._shocks), np.zeros(1)]),
            self._lookback,
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


def _returns(state: State, lookback: int, close: Floats) -> Floats | None:
    """float64[N, W] returns by symbol up to the sample before float64[T, N] closes, then those to each of them; None
    where one is unknown."""
    ring = state.history.synchronous
    if not ring.count:
        return None
    known = min(ring.count - 1, lookback)
    prices = np.concatenate([ring.prices[ring.end - 1 : ring.end], close])
    both = prices[1:] / prices[:-1] - 1.0
    if known:
        both = np.concatenate([ring.returns(known), both])
    return np.ascontiguousarray(both.T) if np.isfinite(both.sum()) else None


def _inputs(state: State) -> tuple[Ints, Floats, Floats]:
    """Switches with scratch of the same size, bounds of losses, and the basis of realised returns, of the house and of
    each agent."""
    marks: list[int] = []
    bounds: list[float] = []
    basis: list[float] = []
    for book in (HOUSE, *range(len(state.agents))):
        switch = state.switch_at(book)
        marks += [switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last]
        limits = _limits(state, book)
        bounds += [inf if (bound := getattr(limits, key)) is None else bound for key in STATE_LIMITS]
        basis += state.watch.realised[book + 1].basis(state.account(book).flows_micro)
    return np.array([*marks, *marks]), np.array(bounds), np.array(basis)


def _limits(state: State, book: int) -> Limits:
    return state.rules.house if book == HOUSE else state.rules.agents[book].limits


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
    state.equity_micro, *books = found[-1, : len(state.agents) + 1].tolist()
    state.books_micro = [*books, state.equity_micro - sum(books)]
    watch = state.watch
    watch.context = None
    for book, own in zip((HOUSE, *range(len(state.agents))), marks.reshape(-1, MARKS).tolist(), strict=False):
        switch = state.switch_at(book)
        switch.high_water, switch.day_open, switch.week_open, switch.day_key, switch.week_key, switch.last = own
    for book in watched(state):
        equity = found[:, book + 1].tolist()
        watch.realised[book + 1].extend(equity, state.account(book).flows_micro, float(basis[3 * (book + 1)]))
