"""Exact equity, switches and levels at consecutive samples, as long as nothing happens."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.trading.jit import Entry, inner

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NANO_PER_MICRO: Final = 1_000

HIGH: Final = 0
DAY_OPEN: Final = 1
WEEK_OPEN: Final = 2
DAY: Final = 3
WEEK: Final = 4
LAST: Final = 5
MARKS: Final = 6
"""Numbers of one switch in `marks`: high-water mark, opening of day and week, their numbers, last equity."""


@inner
def equity_of(lots: Ints, at: int, close: Ints, row: int, size: int, cash: int) -> int:
    """Exact equity in micro of whole shares, rounded half-even."""
    whole, rest = cash, 0
    for k in range(size):
        held = lots[at + k]
        if held != 0:
            price = close[row + k]
            whole += held * (price // NANO_PER_MICRO)
            rest += held * (price % NANO_PER_MICRO)
    whole += rest // NANO_PER_MICRO
    rest = rest % NANO_PER_MICRO
    if 2 * rest > NANO_PER_MICRO or (2 * rest == NANO_PER_MICRO and whole % 2 != 0):
        whole += 1
    return whole


@inner
def observe(marks: Ints, at: int, new: Ints, equity: int, day: int, bounds: Floats, own: int, share: float) -> bool:
    """Write the switch after an equity into `new`; False where a loss may use `share` of its bound."""
    week = (day + 3) // 7
    last = marks[at + LAST]
    new[at + DAY_OPEN] = marks[at + DAY_OPEN] if day == marks[at + DAY] else last
    new[at + WEEK_OPEN] = marks[at + WEEK_OPEN] if week == marks[at + WEEK] else last
    new[at + DAY], new[at + WEEK], new[at + LAST] = day, week, equity
    high = marks[at + HIGH]
    high = equity if equity > high else high
    new[at + HIGH] = high
    if new[at + DAY_OPEN] <= 0 or new[at + WEEK_OPEN] <= 0:
        return False
    loss = high - equity
    if loss <= 0:
        return True
    least = share * high
    return loss < least * bounds[own] and loss < least * bounds[own + 1] and loss < least * bounds[own + 2]


@inner
def quiet_rows(
    sizes: Ints,
    close: Ints,
    days: Ints,
    lots: Ints,
    cash: Ints,
    marks: Ints,
    new: Ints,
    bounds: Floats,
    share: float,
    grown: Floats,
    flows: Floats,
    out: Ints,
) -> int:
    """The number of rows, from the first on, that are quiet.

    `sizes` are rows, symbols, agents and the width of a row of `out`. `close` int64[T x N] nano, `days` int64[T],
    `lots` int64[(A + 1) x N] and `cash` int64[A + 1] of the house and the agents; `marks` and the scratch `new`
    int64[(A + 1) x MARKS], `bounds` float64[(A + 1) x 3] of the losses. `grown` float64[A + 1] and `flows`
    float64[2 (A + 1)], last equity and deposits since, are of the realised returns. A row of `out` is the equity of the
    house and of each agent, then the house's high-water mark and openings.
    """
    rows, size, books, width = sizes[0], sizes[1], sizes[2] + 1, sizes[3]
    for row in range(rows):
        at = row * width
        for book in range(books):
            equity = equity_of(lots, book * size, close, row * size, size, cash[book])
            out[at + book] = equity
            if not equity > 0:
                return row
            if not observe(marks, book * MARKS, new, equity, days[row], bounds, book * 3, share):
                return row
        for k in range(books * MARKS):
            marks[k] = new[k]
        for book in range(books):
            before, now = flows[2 * book], float(out[at + book])
            if before > 0.0:
                grown[book] = grown[book] * ((now - flows[2 * book + 1]) / before)
            flows[2 * book], flows[2 * book + 1] = now, 0.0
        out[at + books], out[at + books + 1], out[at + books + 2] = marks[HIGH], marks[DAY_OPEN], marks[WEEK_OPEN]
    return rows


QUIET: Final = Entry(quiet_rows)
