"""Bars as vendors send them, number by number, turned into Rows: exact from the text, nothing filled in."""

from collections.abc import Iterable, Sequence
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

import numpy as np

from quantd.adapters.feeds.files import Rows
from quantd.trading.instruments import NANO

Number = Decimal | None
Bar = tuple[int, int, Number, Number, Number, Number, Number]
"""ts (ns UTC), column, open, high, low, close, volume."""

_LIMIT: Final = Decimal("9.2e9")
"""Beyond it a price in nano-units does not fit into int64."""


def number(value: object) -> Number:
    """The exact decimal of what a vendor's JSON holds: a Decimal, its text or an int; None for anything else."""
    if isinstance(value, Decimal):
        return value
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation:
        return None


def nano(price: Number) -> int:
    """Nano-currency, half-even at the ninth digit; 0 where there is no price that money can be counted in."""
    if price is None or not price.is_finite() or abs(price) >= _LIMIT:
        return 0
    return int((price * NANO).to_integral_value(ROUND_HALF_EVEN))


def rows_of(bars: Sequence[Bar], source: int = 0) -> Rows:
    """Columns of `bars`, in their order."""
    ts, column, opened, high, low, close, volume = zip(*bars, strict=True) if bars else ((),) * 7
    return Rows(
        ts=np.array(ts, dtype=np.int64),
        column=np.array(column, dtype=np.int64),
        open=_floats(opened),
        high=_floats(high),
        low=_floats(low),
        close=_floats(close),
        volume=_floats(volume),
        open_nano=np.array([nano(p) for p in opened], dtype=np.int64),
        close_nano=np.array([nano(p) for p in close], dtype=np.int64),
        source=np.full(len(ts), source, dtype=np.int64),
    )


def joined(parts: Iterable[Rows]) -> Rows:
    """One after the other."""
    several = [part for part in parts if len(part)]
    if not several:
        return rows_of(())
    if len(several) == 1:
        return several[0]
    return Rows(*(np.concatenate([getattr(p, name) for p in several]) for name in Rows.__slots__))


def within(rows: Rows, start_ns: int, end_ns: int) -> Rows:
    """Those stamped in [start_ns, end_ns)."""
    return rows.take((rows.ts >= start_ns) & (rows.ts < end_ns))


def from_source(rows: Rows, source: int) -> Rows:
    """The same bars, marked as given by source number `source`."""
    marked = {name: getattr(rows, name) for name in Rows.__slots__}
    return Rows(**{**marked, "source": np.full(len(rows), source, dtype=np.int64)})


def _floats(values: Iterable[Number]) -> np.ndarray:
    return np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
