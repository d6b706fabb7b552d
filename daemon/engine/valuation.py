"""The account at samples with each instrument at its own close of the date, beside its value at last known prices.

Figures of performance read it: returns of shares at 16:00 New York and of coins at a midnight before are of different
hours. Orders, limits and the digest stay at last known prices. There is nothing here where no bar of a date comes after
its sample.
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from msgspec import Struct

from quantd.risk.monitor.realised import Realised
from quantd.trading.instruments import MICRO

if TYPE_CHECKING:
    from quantd.daemon.engine.state import State
    from quantd.trading.events import Tick

KEPT: Final = 5_040
"""Samples kept: twenty years of sessions."""


class Unclosed(Struct, frozen=True):
    """A sample some of whose date's bars are still to come, known from `final` on; `number` counts samples. `marks` is
    float64[N], `units` float64[N] held by the house and by each book, as bytes."""

    ts: int
    number: int
    key: int
    final: int
    marks: bytes
    units: list[bytes]


class Gain(Struct, frozen=True):
    """What the house and each book (after it) are worth more at a sample, in micro-currency, with each instrument at
    its own close of the date."""

    ts: int
    number: int
    micro: list[int]


class Valuations(Struct):
    """Of samples whose date is complete, and of those that wait for it; oldest first."""

    closed: list[Gain] = []
    unclosed: list[Unclosed] = []


def note_sample(state: "State", tick: "Tick") -> None:
    """Remember what is held at a sample whose date is not complete."""
    if tick.final <= tick.ts:
        return
    accounts = (state.ledger.house, *state.ledger.books)
    units = [(np.array(each.lots) * state.universe.lot_size).tobytes() for each in accounts]
    state.valuations.unclosed.append(
        Unclosed(tick.ts, state.sample_no, tick.key, tick.final, state.marks.tobytes(), units)
    )


def close_dates(state: "State", ts: int) -> None:
    """Value the samples whose dates are complete at `ts`, before the history takes their closes."""
    kept = state.valuations
    while kept.unclosed and kept.unclosed[0].final <= ts:
        sample = kept.unclosed.pop(0)
        kept.closed.append(_gain(state, sample))
        del kept.closed[:-KEPT]


def gains(state: "State") -> list[Gain]:
    """Of every sample whose date is complete by now."""
    kept = state.valuations
    return [*kept.closed, *(_gain(state, each) for each in kept.unclosed if each.final <= state.now)]


def realised_by_date(state: "State", book: int) -> Realised:
    """The equity of the house (-1) or of a book at its last samples, at own closes where those are known."""
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
