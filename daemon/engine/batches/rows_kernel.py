"""One row of the market: fills at the open, exact equity at the close, switches and levels.

A row is taken whole or not at all. Where anything happens that the kernel does not know, it leaves the row to `step`.
"""

from math import sqrt
from typing import Final

from quantd.daemon.engine.batches.columns import Bars, Encoded, Rings, Sets
from quantd.daemon.engine.batches.digest_kernel import put_equity, put_order
from quantd.daemon.engine.batches.layout import (
    A_CROSS_WORST,
    A_CROSSED,
    A_EQUITY,
    A_FILLS,
    A_MARKS,
    A_NAMES,
    A_ORDERS,
    A_PAIRS,
    A_RANK,
    A_REALISED,
    A_TIMES,
    A_WANTED,
    A_WORST,
    AFTER,
    AGENTS,
    BORROW,
    CHECKED,
    CROSSES,
    F_BANDS,
    F_BASIS,
    F_BOUNDS,
    F_GUARDS,
    F_HELD,
    F_LOT_SIZE,
    F_PX,
    F_REALISED,
    FILLED,
    FIRST,
    GUARDED,
    HASHED,
    LAST_TS,
    LEVELS,
    LONE,
    LONGEST,
    ORDERS,
    REALISED,
    ROW,
    SAMPLES,
    SENT_N,
    SENT_SAMPLE,
    SIZE,
    USED,
)  # fmt: skip
from quantd.risk.measures.portfolio import SAMPLES_PER_YEAR
from quantd.risk.monitor.realised import KEPT, LEAST
from quantd.trading.execution import MOST
from quantd.trading.fill_prices import LimitFills
from quantd.trading.history.rings import Ring
from quantd.trading.ledger.book import Book, Postings
from quantd.trading.ledger.errors import LedgerFull
from quantd.trading.number_types import Bytes, Floats, Ints, ReadFloats, ReadIntRows
from quantd.trading.statistics import RISK_FREE_ANNUAL

TIMES: Final = 4
"""Entries of a row in `A_TIMES`."""

YEAR: Final = sqrt(SAMPLES_PER_YEAR)

HIGH: Final = 0
DAY_OPEN: Final = 1
WEEK_OPEN: Final = 2
DAY: Final = 3
WEEK: Final = 4
LAST: Final = 5
MARKS: Final = 6
"""Numbers of one switch in `marks`: high-water mark, opening of day and week, their numbers, last equity."""


def observe(marks: Ints, at: int, half: int, equity: int, day: int, bands: Floats, own: int) -> bool:
    """Write the switch after an equity into the second half of `marks`; False where a loss leaves its band.

    `bands` are low and high of drawdown, daily and weekly loss of each book, from `own` on.
    """
    week: int = (day + 3) // 7
    new: int = at + half
    last: int = marks[at + LAST]
    opened: int = marks[at + DAY_OPEN] if day == marks[at + DAY] else last
    began: int = marks[at + WEEK_OPEN] if week == marks[at + WEEK] else last
    high: int = max(marks[at + HIGH], equity)
    marks[new + HIGH], marks[new + DAY_OPEN], marks[new + WEEK_OPEN] = high, opened, began
    marks[new + DAY], marks[new + WEEK], marks[new + LAST] = day, week, equity
    if opened <= 0 or began <= 0:
        return False
    for k in range(3):
        reference: int = high if k == 0 else opened if k == 1 else began
        loss: float = max(1.0 - float(equity) / float(reference), 0.0)
        if not bands[own + 2 * k] < loss < bands[own + 2 * k + 1]:
            return False
    return True


def orders_fill(ints: Ints, row: int, bars: Bars, fills: LimitFills) -> bool:
    """Whether every working order fills whole at the open of a row; writes the fills as `Postings.post` takes them, and
    the orders' commissions before the minimum."""
    rows: int = ints[ORDERS]
    if rows == 0:
        return True
    n: int = ints[SIZE]
    orders: int = ints[A_ORDERS]
    times: int = ints[A_TIMES] + TIMES * row
    out: int = ints[A_FILLS]
    if ints[times] < ints[AFTER]:
        return False
    fills.begin(bars.columns, ints[FIRST] + row, ints[times], ints[times + 1])
    for k in range(rows):
        column: int = ints[orders + k]
        lots: int = ints[orders + rows + k]
        limit: int = ints[orders + 2 * rows + k]
        until: int = ints[orders + 3 * rows + k]
        price: int = fills.opens(column, until)
        if price > 0:
            price = fills.inside(column, price, limit, lots > 0, until)
        if price == 0 or fills.take(column, abs(lots)) != abs(lots):
            return False
        price = fills.moved(price, limit, lots > 0, fills.rate(column, abs(lots)))
        fee: int = fills.fee(column, abs(lots), price)
        if fee > MOST:
            return False
        ints[orders + 4 * rows + k] = fee
        ints[out + k], ints[out + rows + k], ints[out + 2 * rows + k] = column, lots, price
        ints[out + 3 * rows + k] = fills.least(-1, fee)
    if ints[AGENTS] > 1:
        write_parts(ints, rows, n)
    return True


def write_parts(ints: Ints, rows: int, n: int) -> None:
    """Write the agents' signed lots of each fill."""
    fills: int = ints[A_FILLS]
    pairs: int = ints[A_PAIRS]
    at: int = pairs + n
    out: int = fills + 5 * rows
    for k in range(rows):
        count: int = ints[pairs + k]
        ints[fills + 4 * rows + k] = count
        for _ in range(count):
            ints[out] = ints[at]
            ints[out + 1] = ints[at + 1] if ints[fills + rows + k] > 0 else -ints[at + 1]
            at += 2
            out += 2


def crosses_fit(ints: Ints, row: int, ledger: Postings, open_nano: ReadIntRows) -> bool:
    """Whether every cross can be booked at the open of a row; writes the amounts of each agent."""
    if ints[CROSSES] == 0:
        return True
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    lots: int = ints[A_CROSSED]
    worst: int = ints[A_CROSS_WORST]
    amounts: int = lots + agents * n
    t: int = ints[FIRST] + row
    for k in range(n):
        left: int = 0
        last: int = -1
        for agent in range(agents):
            if ints[lots + agent * n + k] != 0:
                last = agent
        if last < 0:
            continue
        price: int = open_nano[t, k]
        if not ints[worst + n + k] <= price <= ints[worst + k]:
            return False
        for agent in range(last):
            change: int = ints[lots + agent * n + k]
            if change == 0:
                continue
            amount: int = 0
            try:
                amount = ledger.amount(k, change, price)
            except OverflowError:
                return False
            if abs(amount) > MOST // 64:
                return False
            ints[amounts + agent * n + k] = amount
            left -= amount
        ints[amounts + last * n + k] = left
    return True


def book_crosses(ints: Ints, ledger: Postings) -> None:
    """Book the crosses between the agents."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    lots: int = ints[A_CROSSED]
    amounts: int = lots + agents * n
    for k in range(n):
        for agent in range(agents):
            change: int = ints[lots + agent * n + k]
            if change != 0:
                book: Book = ledger.books[agent]
                book.trade(k, change, ints[amounts + agent * n + k])
                ints[lots + agent * n + k] = 0
    ints[CROSSES] = 0


def watched_book(ledger: Postings, number: int) -> Book:
    """The house's book, then those of the agents."""
    found: Book = ledger.house if number == 0 else ledger.books[number - 1]
    return found


def take_lots(ints: Ints, floats: Floats, ledger: Postings) -> None:
    """Copy the lots of the watched books."""
    n: int = ints[SIZE]
    held: int = ints[F_HELD]
    for number in range(ints[AGENTS] + 1):
        book: Book = watched_book(ledger, number)
        for k in range(n):
            floats[held + number * n + k] = float(book.held[k])


def realise(ints: Ints, floats: Floats, row: int, book: int, value: int) -> bool:
    """Whether the realised measures of a book, with the return of a row, stay inside the bands of their levels."""
    rows: int = min(KEPT, ints[ints[A_REALISED] + book] + row + 1)
    end: int = ints[F_REALISED] + book * (KEPT + LONGEST) + KEPT + row
    basis: int = ints[F_BASIS] + 3 * book
    floats[end] = (float(value) - floats[basis + 2]) / floats[basis + 1] - 1.0
    if rows < LEAST:
        return True
    mean: float = 0.0
    squares: float = 0.0
    for k in range(end - rows + 1, end + 1):
        mean += floats[k]
    mean = mean / rows
    for k in range(end - rows + 1, end + 1):
        squares += (floats[k] - mean) * (floats[k] - mean)
    found: float = sqrt(squares / (rows - 1))
    bands: int = ints[F_BANDS] + 4 * book
    if not floats[bands] < found * YEAR < floats[bands + 1]:
        return False
    if not found > 1e-15:
        return True
    return floats[bands + 2] < (mean - RISK_FREE_ANNUAL / SAMPLES_PER_YEAR) / found * YEAR < floats[bands + 3]


def guarded(ints: Ints, floats: Floats, ledger: Postings, cells: int, close: ReadFloats) -> bool:
    """Whether no close is at or beyond a protective level of an agent's position, or within rounding of it."""
    n: int = ints[SIZE]
    guards: int = ints[F_GUARDS]
    size: int = ints[F_LOT_SIZE]
    for agent in range(ints[AGENTS]):
        own: Book = ledger.books[agent]
        stop: float = floats[guards + 2 * agent]
        target: float = floats[guards + 2 * agent + 1]
        for k in range(n):
            lots: int = own.held[k]
            cost: int = own.cost[k]
            if lots == 0 or (lots > 0) != (cost > 0) or cost == 0:
                continue
            entry: float = float(cost) / (float(lots) * floats[size + k] * 1e6)
            moved: float = close[cells + k] - entry if lots > 0 else entry - close[cells + k]
            near: float = 1e-9 * entry + 2e-9
            if moved <= near - stop * entry or moved >= target * entry - near:
                return False
    return True


def value_books(ints: Ints, floats: Floats, row: int, ledger: Postings, bars: Bars, ring: Ring, sets: Sets) -> bool:
    """Write the equity of each book after a row, and its switch; False where the row is one for `step`."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    books: int = agents + 1
    cells: int = n * (ints[FIRST] + row)
    at: int = ints[A_EQUITY] + row * (agents + 5)
    marks: int = ints[A_MARKS]
    bounds: int = ints[F_BOUNDS]
    held: int = ints[F_HELD]
    out: Ints = ints[at : at + books + 1]
    try:
        ledger.write_values(bars.close_nano[cells : cells + n], out)
    except OverflowError:
        return False
    day: int = ints[ints[A_TIMES] + TIMES * row + 3]
    px: int = ints[F_PX]
    size: int = ints[F_LOT_SIZE]
    close: ReadFloats = bars.close
    for k in range(n):
        floats[px + k] = close[cells + k] * floats[size + k]
    for book in range(books):
        value: int = out[book]
        if not 0 < value < 9007199254740992:
            return False
        if not observe(
            ints[marks : marks + 2 * books * MARKS], book * MARKS, books * MARKS, value, day,
            floats[bounds : bounds + 6 * books], book * 6,
        ):  # fmt: skip
            return False
        if ints[BORROW] > 0 and book == 0:
            for k in range(n):
                if floats[held + k] < 0.0:
                    return False
        if book == 0 or ints[LONE] == 0:
            if ints[REALISED] > 0 and not realise(ints, floats, row, book, value):
                ints[LEVELS] = 1
            own: int = held + book * n
            if not sets.watched.keep(book, floats[own : own + n], floats[px : px + n], value / 1e6, ring, False):
                ints[LEVELS] = 1
    return ints[LEVELS] == 0 or ints[CHECKED] > 0


def take_row(
    ints: Ints,
    floats: Floats,
    ledger: Postings,
    bars: Bars,
    rings: Rings,
    sets: Sets,
    encoded: Encoded,
    fills: LimitFills,
) -> bool:
    """Take the next row; False, without any change of the books, where `step` must take it."""
    row: int = ints[ROW]
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    rows: int = ints[ORDERS]
    times: int = ints[A_TIMES] + TIMES * row
    known_here: bool = (
        ints[times] >= ints[LAST_TS]
        and orders_fill(ints, row, bars, fills)
        and crosses_fit(ints, row, ledger, bars.columns.open_nano)
        and rings.put(bars.rows, ints[FIRST] + row)
    )
    if not known_here:
        return False
    crosses: int = ints[CROSSES]
    crossing: bool = crosses > 0
    trades: bool = rows > 0 or crossing
    lots: int = ints[A_CROSSED]
    kept: int = ints[A_WANTED]
    if trades:
        ledger.keep()
        if rows > 0:
            try:
                ledger.post(ints[ints[A_FILLS] :], rows, 0 if agents == 1 else -1)
            except (OverflowError, LedgerFull):
                rings.withdraw()
                return False
        if crossing:
            for k in range(agents * n):
                ints[kept + k] = ints[lots + k]
            book_crosses(ints, ledger)
        take_lots(ints, floats, ledger)
    touched: bool = ints[GUARDED] > 0 and not guarded(ints, floats, ledger, n * (ints[FIRST] + row), bars.close)
    if touched or not value_books(ints, floats, row, ledger, bars, rings.by_date, sets):
        rings.withdraw()
        if trades:
            ledger.undo()
            take_lots(ints, floats, ledger)
            if crossing:
                for k in range(agents * n):
                    ints[lots + k] = ints[kept + k]
                ints[CROSSES] = crosses
        return False
    ints[ORDERS], ints[FILLED] = 0, ints[FILLED] + rows
    settle_row(ints, floats, row, rows, encoded)
    return True


def settle_row(ints: Ints, floats: Floats, row: int, rows: int, encoded: Encoded) -> None:
    """Move the state behind a row, and write its rows of the digest."""
    n: int = ints[SIZE]
    agents: int = ints[AGENTS]
    books: int = agents + 1
    marks: int = ints[A_MARKS]
    basis: int = ints[F_BASIS]
    times: int = ints[A_TIMES] + TIMES * row
    at: int = ints[A_EQUITY] + row * (agents + 5)
    fills: int = ints[A_FILLS]
    for k in range(books * MARKS):
        ints[marks + k] = ints[marks + books * MARKS + k]
    for book in range(books):
        last: float = floats[basis + 3 * book + 1]
        now: float = float(ints[at + book])
        if last > 0.0:
            floats[basis + 3 * book] = floats[basis + 3 * book] * ((now - floats[basis + 3 * book + 2]) / last)
        floats[basis + 3 * book + 1], floats[basis + 3 * book + 2] = now, 0.0
    out: int = at + books + 1
    ints[out], ints[out + 1], ints[out + 2] = ints[marks + HIGH], ints[marks + DAY_OPEN], ints[marks + WEEK_OPEN]
    samples: int = ints[SAMPLES] + 2 * row
    used: int = ints[USED]
    name: int = ints[A_NAMES]
    ts: int = ints[times + 2]
    buffer: Bytes = encoded.buffer
    names: Bytes = encoded.names
    hashed: bool = ints[HASHED] > 0
    if hashed and rows > 0:
        rank: int = ints[A_RANK]
        place_of: int = ints[A_WORST] + n
        for k in range(n):
            ints[place_of + k] = -1
        for k in range(rows):
            ints[place_of + ints[fills + k]] = k
        for k in range(n):
            column: int = ints[rank + k]
            each: int = ints[place_of + column]
            if each >= 0:
                used = put_order(
                    buffer, used, names, ints[name + column], ints[name + column + 1], 0, ints[times],
                    ints[SENT_SAMPLE], ints[SENT_N], ints[fills + rows + each],
                    ints[fills + 2 * rows + each], ints[fills + 3 * rows + each],
                )  # fmt: skip
    ints[samples] = used
    if hashed:
        used = put_equity(buffer, used, names, ints, books, name + n + 1, name + n + 1 + books + 1, at, ts)
    ints[samples + 1] = ints[USED] = used
    ints[LAST_TS] = max(ts, ints[times + 1])
    ints[ROW] = row + 1
