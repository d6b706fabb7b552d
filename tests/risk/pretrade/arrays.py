"""The arrays of the gate's kernel, by the names of their parts, for tests that call one of its functions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantd.risk.pretrade import kernel
from quantd.risk.pretrade.kernel import BASE, HEAD, STATE

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
        value = self.part(kernel.SIZE) * self.px
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
