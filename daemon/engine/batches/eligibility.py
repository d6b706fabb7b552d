"""The start of a batch: which rows of the market it may take, and whether it may plan."""

from collections.abc import Sequence

import numpy as np

from quantd.daemon.engine.batches.arrays import Arrays, arrays_of
from quantd.daemon.engine.batches.batch import Batch
from quantd.daemon.engine.batches.declarations import undeclared
from quantd.daemon.engine.batches.inputs import write_orders
from quantd.daemon.engine.batches.layout import HASHED, LONGEST, REALISED
from quantd.daemon.engine.planning.gate_account import limits_in_force
from quantd.daemon.engine.safety.monitor import RECORD_SAMPLES
from quantd.daemon.engine.state import HOUSE, State
from quantd.risk.limits.ruleset import rules_of
from quantd.risk.switch import RUN
from quantd.trading.events import Tick
from quantd.trading.market import Block
from quantd.trading.ports import KernelVenue


def plain(tick: Tick) -> bool:
    """Whether a tick is a sample whose row is complete, without a job or a series."""
    return (
        tick.sample
        and not (tick.jobs or tick.warmup or tick.macro or tick.opened)
        and tick.final <= tick.ts
        and tick.cash_rate is None
    )


def steady(state: State) -> bool:
    """Whether nothing but marks, fills of its orders and decisions can change the state at a plain sample."""
    history, rules = state.history, state.rules
    if (
        state.parents
        or state.stops
        or state.retries
        or state.halted
        or state.limited
        or state.jumped
        or state.foreign
        or state.flattening
        or state.waits.compared
        or state.later
        or state.shadows
        or state.down
        or state.round is not None
        or state.judged is not None
        or history.waiting
        or history.pending
        or history.own_dates is not None
        or history.bars is not None
        or history.macro is not None
        or state.valuations.unclosed
        or rules.live is not None
        or rules.notices is not None
        or rules.regime is not None
        or any(state.owed)
        or state.portfolios
        or state.reviews
        or state.loosening is not None
        or not history.synchronous.count
        or not _guarded_by_marks(state)
    ):
        return False
    for book in (HOUSE, *range(len(state.agents))):
        switch = state.switch_at(book)
        if switch.state != RUN or switch.day_key < 0:
            return False
    return True


def _guarded_by_marks(state: State) -> bool:
    """Whether protective levels, if any, stay the same from a bar to the next."""
    if not state.protecting:
        return True
    guards = state.guards
    trails_or_rests = guards is not None and (guards.trails or state.resting)
    return not (trails_or_rests or state.own or any(agent.exits for agent in state.agents))


def _plans(state: State) -> bool:
    """Whether orders are limit orders of a day, nothing counts them, and protective levels follow from costs."""
    rules, guards = state.rules, state.guards
    return (
        rules.execution.style == "marketable"
        and (guards is None or not (guards.trails or any(guards.rests) or state.own))
        and not (state.counting or rules.counts_refusals)
        and state.buying_power_micro is None
        and not state.unlent
    )


def begin_batch(
    state: State,
    block: Block,
    first: int,
    ticks: Sequence[Tick],
    venue: KernelVenue | None,
    records: bool,
    hashed: bool = True,
) -> Batch | None:
    """A batch of row `first` of `block` and the tick after it, the next row and the next tick, and so on; None where
    the first is one for `step`. Without a `venue`, plans are left to the engine.

    With `records`, it ends before a record of all limits is due. `hashed`: a digest reads its rows.
    """
    if not steady(state) or undeclared(state):
        return None
    plans = venue is not None and _plans(state)
    arrays = arrays_of(state, venue.fill_terms() if venue is not None and plans else None, records)
    if arrays is None or ((state.working or state.crosses) and not arrays.gated):
        return None
    ring, known = state.history.synchronous, state.history.known
    most = min(len(ticks), len(block) - first, LONGEST, ring.room(), known.room())
    most = _rows(state, block, first, ticks, most, records, arrays.gated)
    ring.fill()
    known.fill()
    if not most or not _finite(state, arrays):
        return None
    if arrays.ints[REALISED] and not all(realised.whole for realised in state.watch.realised):
        return None
    if state.ledger.room <= 0:
        state.ledger.measure()
    if any(key > ticks[0].key for key, *_ in state.history.sync_actions):
        return None
    arrays.ints[HASHED] = hashed
    batch = Batch(state, block, first, ticks[:most], arrays)
    waiting = bool(state.working or state.crosses)
    if waiting and (venue is None or not write_orders(state, arrays, venue, block.ts_open[first])):
        return None
    return batch


def _finite(state: State, arrays: Arrays) -> bool:
    """Whether the newest returns of every symbol are known."""
    ring = state.history.synchronous
    if arrays.finite != ring.count:
        lookbacks = [limits_in_force(state, book) for book in (HOUSE, *range(len(state.agents)))]
        most = max((k for each in lookbacks for k in rules_of(each, state.universe).lookbacks), default=0)
        rows = min(ring.count - 1, most)
        if not np.isfinite(ring.filled_returns[ring.end - rows : ring.end].sum()):
            return False
        arrays.finite = ring.count
    return True


def _rows(state: State, block: Block, first: int, ticks: Sequence[Tick], most: int, records: bool, gated: bool) -> int:
    """Rows that may be taken: full ones, each of the date of its tick, before the next record of all limits."""
    waiting = [number for number, agent in enumerate(state.agents) if agent.follow_up is not None]
    if waiting and not gated:  # a new decision replaces the rest of an earlier one, which the engine would plan
        most = min(most, 1) if set(waiting) <= set(ticks[0].due) else 0
    if records:
        most = min(most, state.watch.recorded_no + RECORD_SAMPLES - 1 - state.sample_no)
    for k in range(most):
        row, tick = first + k, ticks[k]
        whole = block.full[row] and block.key[row] == tick.key and block.ts_seen[row] <= tick.ts
        if not whole or (k + 1 < len(ticks) and block.ts_event[row + 1] <= tick.ts):
            most = k
            break
    return max(most, 0)
