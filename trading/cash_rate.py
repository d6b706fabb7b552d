"""The interest rate on cash by date, and the interest and risk-free returns derived from it."""

from bisect import bisect_left
from collections.abc import Sequence
from datetime import date
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from quantd.trading.display_text import session_date
from quantd.trading.execution import RATE_ONE, YEAR_DAYS, rate_of_bp
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS

LOWEST: Final = -0.05
HIGHEST: Final = 0.5
"""Bounds of an annual rate, as fractions."""

EXAMPLE: Final = "Write a date and a fraction a year, 2024-01-02,0.0521"

_EPOCH: Final = date(1970, 1, 1)


class CashRateError(ValueError):
    """An invalid rate series: `where` is file and line, `what` the mistake, `remedy` the correction."""

    def __init__(self, where: str, what: str, remedy: str) -> None:
        super().__init__(where, what, remedy)

    def __str__(self) -> str:
        where, what, remedy = self.args
        return f"{where}: {what}. {remedy}"


class CashRate(Struct, frozen=True):
    """Annual interest rates by date.

    `days_ns` are dates (00:00 UTC), ascending. `rates` are integers with RATE_ONE as 100 %. A rate applies to sessions
    after its date, until the next date. `source` is the configured number or the file name.
    """

    days_ns: tuple[int, ...]
    rates: tuple[int, ...]
    source: str

    def before(self, day_ns: int) -> int:
        """Return the newest rate (RATE_ONE is 100 %) with a date earlier than `day_ns`; 0 if there is none."""
        row = bisect_left(self.days_ns, day_ns) - 1
        return self.rates[row] if row >= 0 else 0

    def earned(self, days_ns: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Return float64[T]: the interest on 1 unit of cash from the previous date to each of `days_ns` (ascending);
        0 at the first."""
        days = np.asarray(days_ns, dtype=np.int64) // DAY_NS
        row = np.searchsorted(np.array(self.days_ns, dtype=np.int64), days * DAY_NS, side="left") - 1
        rates = np.where(row >= 0, np.array(self.rates, dtype=np.float64)[row], 0.0)
        interest: Floats = rates * np.diff(days, prepend=days[:1]) / (RATE_ONE * YEAR_DAYS)
        return interest

    def begins(self, first_ns: int) -> None:
        """Raise CashRateError if the first session, dated `first_ns`, is earlier than the first rate."""
        if self.days_ns[0] > first_ns:
            first, session = session_date(self.days_ns[0]), session_date(first_ns)
            raise CashRateError(
                f"{self.source}:2",
                f"the first rate is of {first}, and the first session is of {session}",
                "Add a rate dated before the first session, or begin the run later",
            )

    @property
    def words(self) -> str:
        """The text that describes the risk-free rate beside a printed Sharpe ratio."""
        return f"risk-free: cash_rate = {self.source}, a year, by calendar days over {YEAR_DAYS}"


def constant(fraction: float) -> CashRate:
    """Build a series with the same rate on every date."""
    return CashRate((-(2**62),), (rate_of_bp(fraction * 10_000),), f"{fraction:g}")


def parsed(text: str, name: str) -> CashRate:
    """Parse CSV text with the columns date and rate ("2024-01-02,0.0521"), dates ascending, rates as fractions per
    year.

    `name` is the file name in error messages. Raises CashRateError with the line for missing columns or rows, a field
    that cannot be read, a rate outside LOWEST to HIGHEST, and a date that does not follow the previous one.
    """
    lines = text.splitlines()
    columns = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if "date" not in columns or "rate" not in columns:
        raise CashRateError(f"{name}:1", f"it has the columns {', '.join(columns) or 'none'}", "Name them date,rate")
    date_column, rate_column = columns.index("date"), columns.index("rate")
    days: list[int] = []
    rates: list[int] = []
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split(",")]
        try:
            day = (date.fromisoformat(cells[date_column]) - _EPOCH).days * DAY_NS
            fraction = float(cells[rate_column])
        except (ValueError, IndexError):
            raise CashRateError(f"{name}:{number}", f"{line[:60]!r} is no date and rate", EXAMPLE) from None
        if not LOWEST <= fraction <= HIGHEST:
            remedy = (
                f"Write {fraction / 100:g}" if LOWEST <= fraction / 100 <= HIGHEST else "A rate is a fraction a year"
            )
            raise CashRateError(
                f"{name}:{number}", f"rate {fraction:g} is not within {LOWEST:g} to {HIGHEST:g}", remedy
            )
        if days and day <= days[-1]:
            raise CashRateError(
                f"{name}:{number}", f"{cells[date_column]} does not follow {session_date(days[-1])}", "Sort it by date"
            )
        days.append(day)
        rates.append(rate_of_bp(fraction * 10_000))
    if not days:
        raise CashRateError(f"{name}:2", "there is no rate", EXAMPLE)
    return CashRate(tuple(days), tuple(rates), name)


def earned(rate: int, days: int) -> float:
    """Return the interest on cash over `days` calendar days at the integer `rate` (RATE_ONE is 100 %), as a fraction
    (Actual/365 Fixed)."""
    return rate * days / (RATE_ONE * YEAR_DAYS)
