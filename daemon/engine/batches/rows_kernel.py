"""One row of the market: fills at the open, exact equity at the close, switches and levels.

A row is taken whole or not at all. Where anything happens that the kernel does not know, it leaves the row to `step`.
"""

from math import sqrt
from typing import Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches import layout as place
from quantd.daemon.engine.batches.digest_kernel import put_equity, put_order
from quantd.daemon.engine.batches.fills_kernel import fill_limits
from quantd.daemon.engine.batches.integers_kernel import ratio
from quantd.daemon.engine.batches.ledger_kernel import SINGLE, equity, post, trade
from quantd.daemon.engine.batches.levels_kernel import (
    DAY_OPEN,
    HIGH,
    MARKS,
    MEASURE,
    REALISED,
    SHARPE,
    WEEK_OPEN,
    levels_hold,
    observe,
)
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR
from quantd.risk.monitor.realised import KEPT, LEAST
from quantd.trading.execution import MOST
from quantd.trading.jit import inner
from quantd.trading.statistics import RISK_FREE_ANNUAL

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TIMES: Final = 4
"""Entries of a row in `A_TIMES`."""

YEAR: Final = sqrt(SAMPLES_PER_YEAR)


@inner
def orders_fill(ints: Ints, floats: Floats, row: int, bars: place.Bars) -> bool:
    """Whether every working order fills whole at the open of a row; writes the fills as `post` takes them."""
    n, rows = ints[place.SIZE], ints[place.ORDERS]
    if rows == 0:
        return True
    orders, made_at, left = ints[place.A_ORDERS], ints[place.A_MADE], ints[place.A_LEFT]
    times, terms, cells = ints[place.A_TIMES] + TIMES * row, ints[place.A_TERMS], n * (ints[place.FIRST] + row)
    columns = 7 if ints[place.LEAST] > 0 else 5
    for k in range(n):
        ints[left + k] = -1
    for k in range(rows):
        ints[orders + 4 * rows + k] = ints[place.AFTER]
        ints[orders + 5 * rows + k], ints[orders + 6 * rows + k] = 0, -1
    made = fill_limits(
        ints[orders : orders + columns * rows], rows, ints[times], ints[times + 1],
        bars.fresh[cells : cells + n], bars.open_nano[cells : cells + n], bars.low[cells : cells + n],
        bars.high[cells : cells + n], bars.volume[cells : cells + n], ints[terms:], ints[place.RATE], ints[place.ONE],
        ints[place.LEAST], ints[place.CAPPED] > 0, floats[0], ints[left:], ints[made_at:],
    )  # fmt: skip
    if made != rows or ints[made_at + 4 * rows] != rows:
        return False
    fills, pairs, agents = ints[place.A_FILLS], ints[place.A_PAIRS], ints[place.AGENTS]
    at, out = pairs + n, fills + 5 * rows
    for k in range(rows):
        lots = ints[orders + rows + k]
        ints[fills + k], ints[fills + rows + k] = ints[orders + k], lots
        ints[fills + 2 * rows + k], ints[fills + 3 * rows + k] = ints[made_at + rows + k], ints[made_at + 2 * rows + k]
        if agents == 1:
            continue
        count = ints[pairs + k]
        ints[fills + 4 * rows + k] = count
        for _ in range(count):
            ints[out] = ints[at]
            ints[out + 1] = ints[at + 1] if lots > 0 else -ints[at + 1]
            at += 2
            out += 2
    return True


@inner
def crosses_fit(ints: Ints, row: int, open_nano: Ints) -> bool:
    """Whether every cross can be booked at the open of a row; writes the amounts of each agent."""
    if ints[place.CROSSES] == 0:
        return True
    n, agents = ints[place.SIZE], ints[place.AGENTS]
    lots, worst, units = ints[place.A_CROSSED], ints[place.A_CROSS_WORST], ints[place.A_UNITS]
    amounts, cells = lots + agents * n, n * (ints[place.FIRST] + row)
    for k in range(n):
        left, last = 0, -1
        for agent in range(agents):
            if ints[lots + agent * n + k] != 0:
                last = agent
        if last < 0:
            continue
        price = open_nano[cells + k]
        if not ints[worst + n + k] <= price <= ints[worst + k]:
            return False
        for agent in range(last):
            change = ints[lots + agent * n + k]
            if change == 0:
                continue
            amount, rest = ratio(abs(change), price, ints[units + k], ints[units + n + k])
            if amount > MOST // 64:
                return False
            half = 2 * rest
            if half > ints[units + n + k] or (half == ints[units + n + k] and amount & 1):
                amount += 1
            amount = -amount if change > 0 else amount
            ints[amounts + agent * n + k] = amount
            left -= amount
        ints[amounts + last * n + k] = left
    return True


@inner
def book_crosses(ints: Ints, accounts: Ints) -> None:
    """Book the crosses between the agents."""
    n, agents = ints[place.SIZE], ints[place.AGENTS]
    lots, width = ints[place.A_CROSSED], 2 * n + SINGLE
    amounts = lots + agents * n
    for k in range(n):
        for agent in range(agents):
            change = ints[lots + agent * n + k]
            if change != 0:
                trade(accounts, (agent + 1) * width, n, k, change, ints[amounts + agent * n + k])
                ints[lots + agent * n + k] = 0
    ints[place.CROSSES] = 0


@inner
def take_lots(ints: Ints, floats: Floats, accounts: Ints) -> None:
    """Copy the lots of the watched books."""
    n = ints[place.SIZE]
    held, width = ints[place.F_HELD], 2 * n + SINGLE
    for book in range(ints[place.AGENTS] + 1):
        for k in range(n):
            floats[held + book * n + k] = float(accounts[book * width + k])


@inner
def add_prices(ints: Ints, floats: Floats, row: int, bars: place.Bars, rings: place.Rings) -> bool:
    """Write the closes of a row behind the newest of both rings; False without a price, now or before."""
    n, end, known_end = ints[place.SIZE], ints[place.END], ints[place.KNOWN_END]
    cells, close, columns = n * (ints[place.FIRST] + row), bars.close, rings.columns
    known, known_returns, by_date, date_returns = (
        rings.known, rings.known_returns, rings.by_date, rings.date_returns
    )  # fmt: skip
    adjusted, adjust = ints[place.ADJUSTED] > 0, ints[place.F_ADJUST]
    for k in range(n):
        price, before, known_before = close[cells + k], by_date[(end - 1) * n + k], known[(known_end - 1) * n + k]
        if not (price > 0.0 and before > 0.0 and known_before > 0.0):
            return False
        change, known_change = price / before - 1.0, price / known_before - 1.0
        if adjusted:
            at = adjust + k
            known_change = (price * floats[at] + floats[at + n]) / known_before - 1.0
            change = (price * floats[at + 2 * n] + floats[at + 3 * n]) / before - 1.0
        by_date[end * n + k], date_returns[end * n + k], columns[k, end] = price, change, change
        known[known_end * n + k], known_returns[known_end * n + k] = price, known_change
    return True


@inner
def book_holds(
    ints: Ints,
    floats: Floats,
    book: int,
    bars: place.Bars,
    cells: int,
    value: float,
    known: int,
    end: int,
    rings: place.Rings,
    gate: place.Gate,
    rising: bool,
) -> bool:
    """Whether the levels of a book of `value` currency hold with its lots in `F_SUMS`."""
    n = ints[place.SIZE]
    scratch, lots, size, close = ints[place.F_SCRATCH], ints[place.F_SUMS], ints[place.F_LOT_SIZE], bars.close
    for k in range(n):
        floats[scratch + k] = floats[lots + k] * (close[cells + k] * floats[size + k]) / value
    measures, shocks, labels, counts = (
        ints[place.F_MEASURES], ints[place.F_SHOCKS], ints[place.A_LABELS], ints[place.A_COUNTS]
    )  # fmt: skip
    return levels_hold(
        book, floats[scratch : scratch + n], n, floats[measures:shocks], ints[labels:counts],
        ints[counts : ints[place.A_SETS]], known, end, rings.columns, floats[shocks:scratch], gate.losses,
        floats[scratch + n : ints[place.F_PX]], floats[ints[place.F_SPREAD] : ints[place.F_SPREAD] + n], rising,
    )  # fmt: skip


@inner
def deviations(ints: Ints, floats: Floats, start: int, rows: int, returns: Floats, first: int, mean: bool) -> None:
    """Write the sample deviation of the newest returns of each symbol, and with `mean` the size of their mean."""
    n, sums = ints[place.SIZE], ints[place.F_SUMS]
    for k in range(2 * n):
        floats[sums + k] = 0.0
    for row in range(rows):
        at = (first + row) * n
        for k in range(n):
            value = returns[at + k]
            floats[sums + k] += value
            floats[sums + n + k] += value * value
    for k in range(n):
        total = floats[sums + k]
        squares = max(floats[sums + n + k] - total * total / rows, 0.0)
        floats[start + k] = sqrt(squares / max(rows - 1, 1))
        if mean:
            floats[start + n + k] = abs(total) * ((1.0 + 1e-9) / rows)


@inner
def realise(ints: Ints, floats: Floats, row: int, book: int, value: int) -> None:
    """Write the realised measures of a book with the return of a row."""
    rows = min(KEPT, ints[ints[place.A_REALISED] + book] + row + 1)
    end = ints[place.F_REALISED] + book * (KEPT + place.LONGEST) + KEPT + row
    basis = ints[place.F_BASIS] + 3 * book
    floats[end] = (float(value) - floats[basis + 2]) / floats[basis + 1] - 1.0
    mean = squares = 0.0
    for k in range(end - rows + 1, end + 1):
        mean += floats[k]
    mean = mean / rows
    for k in range(end - rows + 1, end + 1):
        squares += (floats[k] - mean) * (floats[k] - mean)
    found = sqrt(squares / (rows - 1)) if rows > 1 else 0.0
    for at in range(ints[place.F_MEASURES], ints[place.F_SHOCKS], MEASURE):
        if floats[at] == book and floats[at + 1] == REALISED:
            floats[at + 4], floats[at + 5] = found * YEAR, 1.0 if rows >= LEAST else 0.0
        elif floats[at] == book and floats[at + 1] == SHARPE:
            known = rows >= LEAST and found > 1e-15
            floats[at + 4] = (mean - RISK_FREE_ANNUAL / SAMPLES_PER_YEAR) / found * YEAR if known else 0.0
            floats[at + 5] = 1.0 if known else 0.0


@inner
def guarded(ints: Ints, floats: Floats, accounts: Ints, cells: int, close: Floats) -> bool:
    """Whether no close is at or beyond a protective level of an agent's position, or within rounding of it."""
    n, guards, size = ints[place.SIZE], ints[place.F_GUARDS], ints[place.F_LOT_SIZE]
    for agent in range(ints[place.AGENTS]):
        own = (agent + 1) * (2 * n + SINGLE)
        stop, target = floats[guards + 2 * agent], floats[guards + 2 * agent + 1]
        for k in range(n):
            lots, cost = accounts[own + k], accounts[own + n + k]
            if lots == 0 or (lots > 0) != (cost > 0) or cost == 0:
                continue
            entry = float(cost) / (float(lots) * floats[size + k] * 1e6)
            moved = close[cells + k] - entry if lots > 0 else entry - close[cells + k]
            near = 1e-9 * entry + 2e-9
            if moved <= near - stop * entry or moved >= target * entry - near:
                return False
    return True


@inner
def value_books(
    ints: Ints, floats: Floats, row: int, accounts: Ints, bars: place.Bars, rings: place.Rings, gate: place.Gate
) -> bool:
    """Write the equity of each book after a row, and its switch; False where the row is one for `step`."""
    n, agents = ints[place.SIZE], ints[place.AGENTS]
    books, cells, units = agents + 1, n * (ints[place.FIRST] + row), ints[place.A_UNITS]
    at, marks, bounds, held = (
        ints[place.A_EQUITY] + row * (agents + 5), ints[place.A_MARKS], ints[place.F_BOUNDS], ints[place.F_HELD]
    )  # fmt: skip
    out = ints[at : at + books + 1]
    if not equity(accounts, ints[units : units + 2 * n], bars.close_nano[cells : cells + n], out):
        return False
    day = ints[ints[place.A_TIMES] + TIMES * row + 3]
    if ints[place.SPREAD] > 0:
        known = min(ints[place.SPREAD], ints[place.COUNT])
        deviations(ints, floats, ints[place.F_SPREAD], known, rings.date_returns, ints[place.END] + 1 - known, False)
    for book in range(books):
        value = out[book]
        if not 0 < value < 9007199254740992:
            return False
        if not observe(
            ints[marks : marks + 2 * books * MARKS], book * MARKS, books * MARKS, value, day,
            floats[bounds : bounds + 6 * books], book * 6,
        ):  # fmt: skip
            return False
        if ints[place.BORROW] > 0 and book == 0:
            for k in range(n):
                if floats[held + k] < 0.0:
                    return False
        if book == 0 or ints[place.LONE] == 0:
            if ints[place.REALISED] > 0:
                realise(ints, floats, row, book, value)
            for k in range(n):
                floats[ints[place.F_SUMS] + k] = floats[held + book * n + k]
            if not book_holds(
                ints, floats, book, bars, cells, value / 1e6, ints[place.COUNT], ints[place.END] + 1, rings, gate, False
            ):
                ints[place.LEVELS] = 1
    return ints[place.LEVELS] == 0 or ints[place.CHECKED] > 0


@inner
def take_row(
    ints: Ints,
    floats: Floats,
    accounts: Ints,
    bars: place.Bars,
    rings: place.Rings,
    gate: place.Gate,
    encoded: place.Encoded,
) -> bool:
    """Take the next row; False, without any change of the books, where `step` must take it."""
    row, n, agents, rows = ints[place.ROW], ints[place.SIZE], ints[place.AGENTS], ints[place.ORDERS]
    times = ints[place.A_TIMES] + TIMES * row
    known_here = (
        ints[times] >= ints[place.LAST_TS]
        and orders_fill(ints, floats, row, bars)
        and crosses_fit(ints, row, bars.open_nano)
        and add_prices(ints, floats, row, bars, rings)
    )
    if not known_here:
        return False
    crosses = ints[place.CROSSES]
    crossing = crosses > 0
    trades = rows > 0 or crossing
    backup, room, fills = ints[place.A_BACKUP], ints[place.ROOM], ints[place.A_FILLS]
    lots, kept = ints[place.A_CROSSED], ints[place.A_WANTED]
    if trades:
        for k in range(len(accounts)):
            ints[backup + k] = accounts[k]
        if rows > 0:
            units, scratch = ints[place.A_UNITS], ints[place.A_POST]
            turnover = post(
                accounts, ints[units : units + 2 * n], ints[fills:], rows, 0 if agents == 1 else -1, ints[scratch:],
                float(room),
            )  # fmt: skip
            if turnover < 0.0:
                return False
            room -= int(turnover) + 1
        if crossing:
            for k in range(agents * n):
                ints[kept + k] = ints[lots + k]
            book_crosses(ints, accounts)
        take_lots(ints, floats, accounts)
    touched = ints[place.GUARDED] > 0 and not guarded(ints, floats, accounts, n * (ints[place.FIRST] + row), bars.close)
    if touched or not value_books(ints, floats, row, accounts, bars, rings, gate):
        if trades:
            for k in range(len(accounts)):
                accounts[k] = ints[backup + k]
            take_lots(ints, floats, accounts)
            if crossing:
                for k in range(agents * n):
                    ints[lots + k] = ints[kept + k]
                ints[place.CROSSES] = crosses
        return False
    ints[place.ROOM], ints[place.ORDERS], ints[place.FILLED] = room, 0, ints[place.FILLED] + rows
    settle_row(ints, floats, row, rows, encoded)
    return True


@inner
def settle_row(ints: Ints, floats: Floats, row: int, rows: int, encoded: place.Encoded) -> None:
    """Move the state behind a row, and write its rows of the digest."""
    n, agents = ints[place.SIZE], ints[place.AGENTS]
    books, marks, basis = agents + 1, ints[place.A_MARKS], ints[place.F_BASIS]
    times, at, fills = (
        ints[place.A_TIMES] + TIMES * row, ints[place.A_EQUITY] + row * (agents + 5), ints[place.A_FILLS]
    )  # fmt: skip
    for k in range(books * MARKS):
        ints[marks + k] = ints[marks + books * MARKS + k]
    for book in range(books):
        last, now = floats[basis + 3 * book + 1], float(ints[at + book])
        if last > 0.0:
            floats[basis + 3 * book] = floats[basis + 3 * book] * ((now - floats[basis + 3 * book + 2]) / last)
        floats[basis + 3 * book + 1], floats[basis + 3 * book + 2] = now, 0.0
    out = at + books + 1
    ints[out], ints[out + 1], ints[out + 2] = ints[marks + HIGH], ints[marks + DAY_OPEN], ints[marks + WEEK_OPEN]
    samples, used, name, ts = ints[place.SAMPLES] + 2 * row, ints[place.USED], ints[place.A_NAMES], ints[times + 2]
    buffer, names = encoded.buffer, encoded.names
    if rows > 0:
        rank, place_of = ints[place.A_RANK], ints[place.A_WORST] + n
        for k in range(n):
            ints[place_of + k] = -1
        for k in range(rows):
            ints[place_of + ints[fills + k]] = k
        for k in range(n):
            column = ints[rank + k]
            each = ints[place_of + column]
            if each >= 0:
                used = put_order(
                    buffer, used, names, ints[name + column], ints[name + column + 1], 0, ints[times],
                    ints[place.SENT_SAMPLE], ints[place.SENT_N], ints[fills + rows + each],
                    ints[fills + 2 * rows + each], ints[fills + 3 * rows + each],
                )  # fmt: skip
    ints[samples] = used
    used = put_equity(buffer, used, names, ints, books, name + n + 1, name + n + 1 + books + 1, at, ts)
    ints[samples + 1] = ints[place.USED] = used
    ints[place.ADJUSTED] = 0
    ints[place.END] += 1
    ints[place.KNOWN_END] += 1
    ints[place.COUNT] += 1
    ints[place.LAST_TS] = max(ts, ints[times + 1])
    ints[place.ROW] = row + 1
