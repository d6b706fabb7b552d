"""Values the account at samples with each instrument's own close of the date, for figures of performance.

The last prices of stocks are from 16:00 New York, last prices of coins from another hour: returns from last prices
would compare different hours. Orders, limits and the digest still use last prices. A sample that comes after
every close of its date needs no record.
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
    """Record the positions at a sample whose date still lacks closes of some calendar."""
    if tick.final <= tick.ts:
        return
    accounts = (state.ledger.house, *state.ledger.books)
    units = [(np.array(account.lots) * state.universe.lot_size).tobytes() for account in accounts]
    marks = state.marks
    if state.restrictions.jumped:  # a close of a symbol held after a price jump may be wrong
        marks = marks.copy()
        marks[list(state.restrictions.jumped)] = np.nan
    state.valuations.unclosed.append(Unclosed(tick.ts, state.sample_no, tick.key, tick.final, marks.tobytes(), units))


def close_dates(state: "State", ts: int) -> None:
    """Value the samples whose dates are complete at `ts`.

    The function is called before the history moves the closes of these dates out of its `pending` rows, which are read
    here.
    """
    valuations = state.valuations
    while valuations.unclosed and valuations.unclosed[0].final <= ts:
        valuations.closed.append(_gain(state, valuations.unclosed.pop(0)))
        del valuations.closed[:-KEPT]


def gains(state: "State") -> list[Gain]:
    """For each stored sample whose date has all its closes: what to add to its values so that they are at these closes.
    The oldest is first."""
    valuations = state.valuations
    return [*valuations.closed, *(_gain(state, sample) for sample in valuations.unclosed if sample.final <= state.now)]


def realised_by_date(state: "State", book: int) -> Realised:
    """The equity of the account (-1) or of the book with this index, at its last samples (253 at most).

    Once the date of a sample is complete, its equity is at each instrument's own close of the date; until then, and for
    samples for which nothing was recorded, it is at the last prices that were known at the sample.
    """
    realised = state.watch.realised[book + 1]
    gains_by_sample = {state.sample_no - gain.number: gain.micro[book + 1] for gain in gains(state)}
    return realised.with_gains(gains_by_sample) if gains_by_sample else realised


def _gain(state: "State", sample: Unclosed) -> Gain:
    """The gain of a sample from its marks to the pending closes of its date; 0 where no closes are pending."""
    closes = state.history.pending.get(sample.key)
    if closes is None:
        return Gain(sample.ts, sample.number, [0] * len(sample.units))
    change = np.nan_to_num(closes - np.frombuffer(sample.marks))
    return Gain(
        sample.ts, sample.number, [round(float(np.frombuffer(units).dot(change)) * MICRO) for units in sample.units]
    )
