"""Fingerprints of return series, which recognise an instrument under another name.

A fingerprint has the total return of one day in each week. Which day is chosen depends on the week alone, so that
series that begin on different dates have the same returns in common weeks. A return does not change with the scale of
prices, and two returns within 1 bp count as equal, so that rounded prices still agree.

Independent series agree in about 2 % of the weeks. The probability that half of 50 weeks agree by chance is below
1e-28.
"""

from collections.abc import Collection, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.market import Bools, Floats, Ints
from quantd.trading.sessions import DAY_NS

EQUAL_DATES: Final = 250
"""Number of common dates with equal returns from which on two series count as the same."""

EDGE_WEEKS: Final = 2
"""Number of weeks that may be incomplete, and have another date: the first and the last of a series."""

UNIT: Final = 0.5e-4
"""Resolution of a return: half a basis point."""

TOLERANCE: Final = 2
"""Largest difference of equal returns, in UNIT."""

CYCLE: Final = 255
"""Returns are stored as one byte, in UNIT modulo this number."""

NONE: Final = 255
"""The byte of a week without a return."""

MOST_WEEKS: Final = 2_600
"""Maximum number of weeks of a fingerprint, the newest ones: 50 years."""

MONDAY: Final = 4 * DAY_NS
"""The first Monday after the epoch, in ns."""


class Fingerprint(Struct, frozen=True):
    """A byte for each week: the return of one day in units of UNIT, modulo CYCLE, or NONE for no return. The first byte
    is of week number `week`.

    Weeks count from Monday, 1970-01-05. `days` is the usual number of dates of a week, 1 to 7.
    """

    week: int
    days: int
    returns: bytes


def fingerprints(symbols: Sequence[str], day_ns: Ints, wealth: Floats) -> dict[str, Fingerprint]:
    """Return the fingerprint of each symbol with a return.

    `wealth` float64[T, N] is an index with splits and dividends reinvested, NaN without a bar. `day_ns` int64[T] are
    the dates; where several rows have the same date, the last bar counts.
    """
    by_symbol = {symbol: _fingerprint(day_ns, wealth[:, k]) for k, symbol in enumerate(symbols)}
    return {symbol: fingerprint for symbol, fingerprint in by_symbol.items() if fingerprint is not None}


def _fingerprint(day_ns: Ints, wealth: Floats) -> Fingerprint | None:
    """Return the fingerprint of one series: the return of one date in each week, in units of UNIT modulo CYCLE.

    `wealth` float64[T] is an index with splits and dividends reinvested, NaN without a bar. The result is None for
    fewer than two dates. Of the weeks, only the newest MOST_WEEKS count.
    """
    has_bar = np.isfinite(wealth) & (wealth > 0.0)
    day, value = day_ns[has_bar] // DAY_NS, wealth[has_bar]
    is_last_of_day = np.r_[day[1:] != day[:-1], True] if len(day) else np.zeros(0, dtype=np.bool_)
    day, value = day[is_last_of_day], value[is_last_of_day]
    if len(day) < 2:
        return None
    day, returns = day[1:], value[1:] / value[:-1] - 1.0
    week, weekday = np.divmod(day - MONDAY // DAY_NS, 7)
    # the first date on or after a weekday that the week's number chooses; after Sunday comes Monday of the same week
    rank = (weekday - _scattered(week)) % 7
    order = np.lexsort((rank, week))
    weeks, first_of_week = np.unique(week[order], return_index=True)
    units = np.rint(returns[order[first_of_week]] / UNIT).astype(np.int64) % CYCLE
    begin = max(int(weeks[0]), int(weeks[-1]) - MOST_WEEKS + 1)
    returns_by_week = np.full(int(weeks[-1]) - begin + 1, NONE, dtype=np.uint8)
    is_recent = weeks >= begin
    returns_by_week[weeks[is_recent] - begin] = units[is_recent]
    return Fingerprint(begin, max(1, round(len(day) / len(weeks))), returns_by_week.tobytes())


def _scattered(week: Ints) -> Ints:
    """Return a weekday, 0 to 6, for the number of each week: the high bits of a multiplicative hash (Knuth)."""
    return (
        (week.astype(np.uint64) * np.uint64(2_654_435_761) % np.uint64(1 << 32)) * np.uint64(7) >> np.uint64(32)
    ).astype(np.int64)


def share_series(one: Collection[Fingerprint], other: Collection[Fingerprint]) -> bool:
    """Return True when a series of `one` and a series of `other` have equal returns on EQUAL_DATES common dates.

    In some stretch of 2 x EQUAL_DATES common weeks, half of the weeks must have equal returns. Half of these returns
    must exceed 1 bp in absolute value: prices that do not move are no evidence.
    """
    if not one or not other:
        return False
    begin = max(min(fingerprint.week for fingerprint in group) for group in (one, other))
    end = min(max(fingerprint.week + len(fingerprint.returns) for fingerprint in group) for group in (one, other))
    if end <= begin:
        return False
    other_returns, days = _table(other, begin, end), np.array([fingerprint.days for fingerprint in other])
    for fingerprint, own_returns in zip(one, _table(one, begin, end), strict=True):
        # the weeks that have EQUAL_DATES dates: an equal return stands for the dates of its week
        least_equal = np.ceil(EQUAL_DATES / np.minimum(days, fingerprint.days)).astype(np.int64) - EDGE_WEEKS
        common = (own_returns != NONE) & (other_returns != NONE)
        equal = common & (_distance(other_returns - own_returns) <= TOLERANCE)
        for k in np.flatnonzero(equal.sum(axis=1) >= least_equal).tolist():
            shared = common[k]
            is_equal, is_moving = equal[k, shared], (equal[k] & (_distance(own_returns) > TOLERANCE))[shared]
            if _dense(is_equal, is_moving, int(least_equal[k])):
                return True
    return False


def _dense(equal: Bools, moved: Bools, least: int) -> bool:
    """Return True when 2 x `least` weeks in a row have `least` or more `equal` ones, half or more of these `moved`.

    If there are fewer weeks, all of them are examined together.
    """
    span = min(2 * least, len(equal))
    sums = (np.cumsum(np.r_[0, flags], dtype=np.int64) for flags in (equal, moved))
    count, moves = (total[span:] - total[:-span] for total in sums)
    return bool(((count >= least) & (2 * moves >= count)).any())


def _table(group: Collection[Fingerprint], begin: int, end: int) -> NDArray[np.int16]:
    """Return int16[N, W]: the bytes of each of N series in the W weeks [begin, end)."""
    table = np.full((len(group), end - begin), NONE, dtype=np.int16)
    for row, fingerprint in zip(table, group, strict=True):
        first, last = max(begin, fingerprint.week), min(end, fingerprint.week + len(fingerprint.returns))
        if first < last:
            row[first - begin : last - begin] = np.frombuffer(fingerprint.returns, np.uint8)[
                first - fingerprint.week : last - fingerprint.week
            ]
    return table


def _distance(units: NDArray[np.int16]) -> NDArray[np.int16]:
    """Return the distance from zero of returns modulo CYCLE, in units of UNIT."""
    remainder = units % CYCLE
    return np.minimum(remainder, CYCLE - remainder)
