"""The arrays of the gate's kernel, by the names of their parts, for tests that call one of its functions."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from quantd.daemon.engine.batches.gate_kernel import BASE, HEAD, STATE
from quantd.trading.jit import interpreted

from quantd.daemon.engine.batches import gate_kernel as kernel

Floats = NDArray[np.float64]


class Arrays:
    """Every number is NaN, and every code 0, until a test gives it: what a function reads unasked shows."""

    def __init__(self, n: int, counts: int = 0) -> None:
        self.n = n
        self.work = np.full(BASE + kernel.ROOMS * n + counts, np.nan)
        self.market = np.full(HEAD + 2 * n, np.nan)
        self.numbers = np.full(kernel.NUMBERS, np.nan)
        self.codes = np.zeros(kernel.CODES, dtype=np.int64)
        self.links = np.full(n * n, np.nan)
        self.reason = np.zeros(n, dtype=np.int8)
        self.out = np.full(n, np.nan)

    def part(self, place: int, length: int = 1) -> Floats:
        """Some arrays of `work`, of one number for each symbol."""
        return self.work[BASE + place * self.n :][: length * self.n]

    def range(self, e: int) -> Floats:
        """[-lowest | highest] exposure of a state."""
        return self.part(kernel.RANGE + 2 * e, 2)

    def outer(self, e: int) -> Floats:
        """The positive part of the range of a state."""
        return self.part(kernel.OUTER + 2 * e, 2)

    def state(self, e: int) -> Floats:
        """The sums of a state."""
        return self.work[e * STATE :][:STATE]

    @property
    def px(self) -> Floats:
        """Prices."""
        return self.market[HEAD:][: self.n]

    @property
    def barred(self) -> Floats:
        """Reasons why no order may reduce."""
        return self.market[HEAD + self.n :][: self.n]

    def put(self, values: Any) -> int:
        """The place of more numbers behind `numbers`."""
        place = len(self.numbers)
        self.numbers = np.concatenate((self.numbers, np.ravel(values)))
        return place

    def put_codes(self, values: Any) -> int:
        """The place of more codes behind `codes`."""
        place = len(self.codes)
        self.codes = np.concatenate((self.codes, np.ravel(values).astype(np.int64)))
        return place

    def put_market(self, values: Any) -> int:
        """The place of more numbers behind `market`."""
        place = len(self.market)
        self.market = np.concatenate((self.market, np.ravel(values)))
        return place

    def added(self) -> Floats:
        """The value of the adding orders by side, short | long."""
        value = np.where(self.part(kernel.SIZE) > 0.0, self.part(kernel.SIZE) * self.px, 0.0)
        buys = self.part(kernel.ASKED) > 0.0
        return np.concatenate((np.where(buys, 0.0, value), np.where(buys, value, 0.0)))

    def stand(self, e: int, held: Any) -> None:
        """Sets what a state stands at: exposures that are multiples of the prices."""
        if e == 0:
            self.part(kernel.LOTS)[:] = held / self.px
        else:
            self.part(kernel.RANGE + 3)[:] = held


def drawn(rng: np.random.Generator, n: int, counts: int = 0) -> Arrays:
    """Prices and adding orders, some of no lots, in small whole numbers."""
    found = Arrays(n, counts)
    found.px[:] = rng.choice([1.0, 2.0, 4.0], n)
    found.part(kernel.SIZE)[:] = rng.integers(0, 4, n)
    found.part(kernel.ASKED)[:] = (found.part(kernel.SIZE) + rng.integers(0, 2, n)) * rng.choice([-1.0, 1.0], n)
    return found


def stated(rng: np.random.Generator, n: int, e: int) -> Arrays:
    """One state of a book with adding orders: what it holds, a range around that, equity and what orders take of it."""
    book = drawn(rng, n)
    # what is read from a wrong place is either no number or nothing
    book.work[np.isnan(book.work)] = rng.choice([np.nan, 0.0])
    unit = float(rng.choice([0.125, 1.0]))
    book.px[:] *= unit
    held = rng.integers(-3, 4, n) * book.px
    wide = np.zeros(2 * n) if e == 1 else rng.choice([0.0, 0.0, 1.0, 3.0], 2 * n)
    book.stand(e, held)
    book.range(e)[:] = np.concatenate((-held, held)) + wide * unit
    interpreted(kernel._sums)(n, e, book.work)
    if e == 1:
        book.outer(e)[:] += rng.choice([0.0, 0.0, 1.0], 2 * n) * unit
        book.state(e)[[kernel.SHORT, kernel.LONG]] = book.outer(e).reshape(2, n).sum(axis=1)
    equity = float(rng.integers(13, 60))
    given = {
        kernel.EQUITY: equity, kernel.BEFORE: equity + float(rng.integers(-12, 9)),
        kernel.CASH_USED: float(rng.integers(-20, 10)), kernel.TURNOVER: float(rng.integers(0, 20)),
        kernel.NOW: equity + float(rng.integers(-12, 9)),
    }  # fmt: skip
    for place, value in given.items():
        book.state(e)[place] = value * unit
    book.state(e)[[kernel.SLIP, kernel.WIDER]] = rng.choice([0.0, 0.25]), rng.choice([1.0, 1.5])
    start = {
        kernel.TOLERANCE: rng.choice([0.0, 0.5]) * unit, kernel.FRESH: -1.0, kernel.HEAVY: 0.0, kernel.PAIRED: 0.0,
        kernel.FACTOR: 1.0, kernel.FACTOR_CODE: 0.0, kernel.CAPPED: 0.0,
    }  # fmt: skip
    for place, value in start.items():
        book.work[place] = value
    interpreted(kernel.reach)(n, e, book.work, book.market)
    return book


def unpriced(book: Arrays) -> None:
    """Takes away the prices of what has no order: the state after all fills is known in money."""
    book.px[book.part(kernel.SIZE) == 0.0] = np.nan


class Found:
    """What some limits leave of adding orders, one limit at a time: a factor of all, or ceilings of single orders."""

    def __init__(self, book: Arrays, e: int) -> None:
        self.book, self.state = book, book.state(e)
        self.near = float(book.work[kernel.TOLERANCE])
        self.equity, self.left, self.now = self.state[[kernel.EQUITY, kernel.LEFT, kernel.NOW]].tolist()
        self.factor, self.code = 1.0, 0
        self.ceiling: Floats | None = None
        self.barred = 0

    def take(self, factor: float, code: int) -> None:
        """A factor; the first of equal ones is the reason."""
        if max(factor, 0.0) < self.factor:
            self.factor, self.code = max(factor, 0.0), code

    def cap(self, ceiling: Floats, code: int) -> bool:
        """Ceilings; whether one cuts an order."""
        size = self.book.part(kernel.SIZE)
        cuts = bool((ceiling < size).any())
        self.ceiling, self.barred = np.where(size > 0.0, ceiling, np.inf) if cuts else None, code
        return cuts

    def check(self) -> None:
        """Compares with what the kernel found."""
        work = self.book.work
        assert work[kernel.CAPPED] == (self.ceiling is not None)
        if self.ceiling is None:
            assert work[kernel.FACTOR] == pytest.approx(self.factor, rel=1e-9, abs=1e-12)
            assert work[kernel.FACTOR_CODE] == self.code
        else:
            assert work[kernel.CAPPED_CODE] == self.barred
            assert self.book.part(kernel.CEILING).tolist() == pytest.approx(self.ceiling.tolist())


def one_order(value: float, side: float = 1.0) -> Arrays:
    """A book with nothing but one order of this value, of an equity of 16, of which an order takes nothing."""
    book = Arrays(1)
    book.px[:], book.part(kernel.SIZE)[:], book.part(kernel.ASKED)[:] = value, 1.0, side
    book.stand(0, np.zeros(1))
    book.range(0)[:], book.outer(0)[:] = 0.0, 0.0
    for place in (kernel.EQUITY, kernel.NOW, kernel.BEFORE):
        book.state(0)[place] = 16.0
    book.state(0)[[kernel.SLIP, kernel.WIDER, kernel.SHORT, kernel.LONG]] = 0.0, 1.0, 0.0, 0.0
    book.work[[kernel.FRESH, kernel.TOLERANCE, kernel.FACTOR, kernel.FACTOR_CODE, kernel.CAPPED]] = -1, 0, 1, 0, 0
    interpreted(kernel.reach)(1, 0, book.work, book.market)
    return book
