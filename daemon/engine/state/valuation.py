"""Values the account at samples with each instrument's own close of the date, for figures of performance.

At last prices, returns of stocks at 16:00 New York and of coins at midnight are of different hours. Orders, limits and
the digest use last prices. Nothing is recorded where no bar of a date follows its sample.
"""

from typing import TYPE_CHECKING

import numpy as np

from quantd.daemon.engine.state.valuations import KEPT, Gain, Unclosed
from quantd.risk.monitor.realised import Realised
from quantd.trading.instruments import MICRO

if TYPE_CHECKING:
    from quantd.daemon.engine.state.engine_state import State
    from quantd.trading.events import Tick


def note_sample(state: "State", tick: "Tick") -> None:
    """Record the positions at a sample whose date is not complete."""
    if tick.final <= tick.ts:
        return
    accounts = (state.ledger.house, *state.ledger.books)
    units = [(np.array(each.lots) * state.universe.lot_size).tobytes() for each in accounts]
    marks = state.marks
    if state.restrictions.jumped:  # no close of theirs is known to be right
        marks = marks.copy()
        marks[list(state.restrictions.jumped)] = np.nan
    state.valuations.unclosed.append(Unclosed(tick.ts, state.sample_no, tick.key, tick.final, marks.tobytes(), units))


def close_dates(state: "State", ts: int) -> None:
    """Value the samples whose dates are complete at `ts`, before the history takes their closes."""
    known = state.valuations
    while known.unclosed and known.unclosed[0].final <= ts:
        known.closed.append(_gain(state, known.unclosed.pop(0)))
        del known.closed[:-KEPT]


def gains(state: "State") -> list[Gain]:
    """Gains of every sample whose date is complete now."""
    known = state.valuations
    return [*known.closed, *(_gain(state, each) for each in known.unclosed if each.final <= state.now)]


def realised_by_date(state: "State", book: int) -> Realised:
    """The equity of the house (-1) or of a book at its last samples, at own closes where known."""
    known = state.watch.realised[book + 1]
    found = {state.sample_no - each.number: each.micro[book + 1] for each in gains(state)}
    return known.with_gains(found) if found else known


def _gain(state: "State", sample: Unclosed) -> Gain:
    closes = state.history.pending.get(sample.key)
    if closes is None:
        return Gain(sample.ts, sample.number, [0] * len(sample.units))
    change = np.nan_to_num(closes - np.frombuffer(sample.marks))
    return Gain(
        sample.ts, sample.number, [round(float(np.frombuffer(units).dot(change)) * MICRO) for units in sample.units]
    )
