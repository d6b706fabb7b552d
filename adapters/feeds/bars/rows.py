"""Converts vendors' bars to Rows: numbers are exact from the text, and missing values are not filled."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from quantd.trading.instruments import NANO
from quantd.trading.market import Bools, Floats, Ints

_EXACT: Final = 9_007_199_254_740_992  # 2**53: below it every integer is a float64
PRICES: Final = ("open", "high", "low", "close")

BARS: Final = ("ts", "symbol", *PRICES, "volume")
"""The columns of a file of bars."""

NO_STAMP: Final = np.iinfo(np.int64).min
"""Marks a missing or unreadable stamp."""


class Table:
    """A table of arrays (columns) of one length; base class of Rows and BarTimes."""

    __slots__: tuple[str, ...] = ()

    def take(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """Return the rows that `which` selects; the table itself if a mask selects all of them."""
        if which.dtype == np.bool_ and which.all():
            return self
        return type(self)(*(getattr(self, name)[which] for name in self.__slots__))


T = TypeVar("T", bound=Table)


def concatenated(parts: Sequence[T]) -> T:
    """Concatenate tables; `parts` is not empty."""
    return type(parts[0])(*(np.concatenate([getattr(p, name) for p in parts]) for name in parts[0].__slots__))


@dataclass(frozen=True, slots=True)
class Rows(Table):
    """R bars of the universe's symbols, in the file's order.

    `ts` int64[R] is the stamp in the file, ns UTC (NO_STAMP where unreadable). `column` int64[R] is the index of the
    symbol in the universe, `source` int64[R] the index of the file. Prices and volume are float64[R], NaN where there
    is no number. `open_nano` and `close_nano` int64[R] are exact prices in nano-currency, 0 without a price.
    """

    ts: Ints
    column: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    open_nano: Ints
    close_nano: Ints
    source: Ints

    def __len__(self) -> int:
        return len(self.ts)


def repeats(rows: Rows) -> Bools:
    """Return bool[R], True for a row that equals an earlier one in symbol, stamp, prices and volume: it counts once."""
    repeated = np.zeros(len(rows), dtype=np.bool_)
    order = np.argsort(rows.column, kind="stable")
    if ((np.diff(rows.ts[order]) > 0) | (np.diff(rows.column[order]) > 0)).all():
        return repeated  # the stamps of each symbol ascend
    fields = (rows.column, rows.ts, rows.open, rows.high, rows.low, rows.close, rows.volume)
    order = np.lexsort(fields)
    ordered = [field[order] for field in fields]
    same = [(f[1:] == f[:-1]) | ((f[1:] != f[1:]) & (f[:-1] != f[:-1])) for f in ordered]  # NaN equals NaN
    repeated[order[1:]] = np.logical_and.reduce(same)
    return repeated


ActionKind = Literal["split", "dividend", "delisting"]

ORDER: Final[dict[ActionKind, int]] = {"dividend": 0, "split": 1, "delisting": 2}
"""The order of actions on one date: a dividend is paid on the shares before a split, a delisting on those after it."""


@dataclass(frozen=True, slots=True)
class ActionRow:
    """One line of an actions file: `day_ns` is the ex date (ns at 00:00 UTC), `column` the index of the symbol.

    A split gives `numerator` new shares for `denominator` old ones; `cash_nano` is per share, in nano-currency.
    """

    day_ns: int
    column: int
    kind: ActionKind
    numerator: int
    denominator: int
    cash_nano: int


def actions_within(actions: Iterable[ActionRow], start_ns: int, end_ns: int) -> list[ActionRow]:
    """Return the actions with an ex date in [start_ns, end_ns), sorted by date and column; a dividend precedes a split
    of the same date, and both precede a delisting."""
    selected = [action for action in actions if start_ns <= action.day_ns < end_ns]
    return sorted(selected, key=lambda action: (action.day_ns, action.column, ORDER[action.kind]))


def exact_nano(prices: Floats) -> Ints:
    """Convert float64 prices to int64 nano-currency of the decimal that each represents; NaN and infinities become 0.

    The float of a decimal with six or nine digits after the point gives that decimal exactly. Any other float is
    rounded half-even at 1e-9.
    """
    # larger prices have no nano-units in int64
    representable = np.where(np.isfinite(prices) & (np.abs(prices) < 9.2e9), prices, 0.0)
    # six digits first: float64 times 1e9 may miss a decimal that it hits times 1e6
    micro = np.rint(representable * 1e6)
    nanos = micro.astype(np.int64) * (NANO // 1_000_000)
    not_micro = (micro / 1e6 != representable) | (np.abs(micro) >= _EXACT)
    if not_micro.any():
        nanos[not_micro] = np.rint(representable[not_micro] * 1e9).astype(np.int64)
    return nanos


Number = Decimal | None
Bar = tuple[int, int, Number, Number, Number, Number, Number]
"""ts (ns UTC), column, open, high, low, close, volume."""

_LIMIT: Final = Decimal("9.2e9")
"""Upper bound of a price in int64 nano-units."""


def number(value: object) -> Number:
    """Return the exact decimal of a Decimal, of its text or of an int from JSON; None for anything else."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        return None


def nano(price: Number) -> int:
    """Convert to nano-currency, half-even at the ninth digit; 0 for a missing or unrepresentable price."""
    if price is None or not price.is_finite() or abs(price) >= _LIMIT:
        return 0
    return int((price * NANO).to_integral_value(ROUND_HALF_EVEN))


def rows_of(bars: Sequence[Bar], exact: Callable[[Number], int] = nano) -> Rows:
    """Convert `bars` to columns, in their order. `exact` converts an open or close to nano-currency."""
    ts, column, opened, high, low, close, volume = zip(*bars, strict=True) if bars else ((),) * 7
    return Rows(
        ts=np.array(ts, dtype=np.int64),
        column=np.array(column, dtype=np.int64),
        open=_floats(opened),
        high=_floats(high),
        low=_floats(low),
        close=_floats(close),
        volume=_floats(volume),
        open_nano=np.array([exact(price) for price in opened], dtype=np.int64),
        close_nano=np.array([exact(price) for price in close], dtype=np.int64),
        source=np.zeros(len(ts), dtype=np.int64),
    )


def joined(parts: Iterable[Rows]) -> Rows:
    """Concatenate tables of rows; the result is empty without any row."""
    with_rows = [part for part in parts if len(part)] or [rows_of(())]
    return with_rows[0] if len(with_rows) == 1 else concatenated(with_rows)


def within(rows: Rows, start_ns: int, end_ns: int) -> Rows:
    """Select the rows stamped in [start_ns, end_ns)."""
    return rows.take((rows.ts >= start_ns) & (rows.ts < end_ns))


def from_source(rows: Rows, source: int) -> Rows:
    """Return the same bars with `source` as the index of their file."""
    return replace(rows, source=np.full(len(rows), source, dtype=np.int64))


def _floats(values: Iterable[Number]) -> np.ndarray:
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
