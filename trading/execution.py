"""Trading costs for the paper broker, the ledger and the simulator.

What can go wrong: a cost that differs by a rounding between paper broker, ledger and simulator, and an int64 that
overflows without an error. Every amount is therefore a Python integer or bounded by `MOST`. A rate in basis points is
converted once to an integer, with `RATE_ONE` as 100 %. The float is read as its printed decimal, because 0.1 is stored
as a little more than a tenth.

Rounding is half-even. An amount that is shared is rounded once, and the last part takes the remainder. A stock split
rounds an open order in its owner's favour: never more lots, never a worse limit, and a stop never triggers later.
"""

from fractions import Fraction
from functools import cached_property, lru_cache
from math import gcd, isfinite
from typing import Final

from msgspec import Struct

from quantd.trading.instruments import ATTO_PER_MICRO, NANO

MOST: Final = 2**62 - 1
"""The largest size of an amount in micro-currency, of a number of lots and of a price in nano, in ledger and fills.

In currency: 4.6e12 of money, 4.6e9 for the price of a unit.
"""

ANY_SALE, ANY_BUY = UNLIMITED = 1, MOST
"""Limit prices in nano of orders without a collar: a sale and a purchase that fill at any price."""

RATE_ONE: Final = 10**13
"""The integer for 100 % (10,000 bp); one unit is 1e-9 bp."""

YEAR_DAYS: Final = 365
"""Borrow fees and cash interest accrue by calendar days over 365, as at brokers (Actual/365 Fixed)."""

_HALF_MICRO: Final = ATTO_PER_MICRO // 2


@lru_cache(maxsize=256)
def rate_of_bp(bp: float) -> int:
    """Convert basis points to an integer rate, with RATE_ONE as 100 %.

    The float is read as its printed decimal, so that 0.1 is exactly one tenth. The result is exact up to nine decimals
    of a basis point and rounded half-even beyond.
    """
    return round(Fraction(repr(float(bp))) * (RATE_ONE // 10_000))


class FittedCost(Struct, frozen=True):
    """Costs estimated from fills, of one symbol (empty: of all) in one hour of its exchange's clock (None: at all
    hours).

    `fixed_bp` is half the spread plus slippage, and `error_bp` its standard error (None if unknown). `impact` is the
    coefficient of the square-root law in bp. `fills` is the number of fills behind the estimate.
    """

    symbol: str
    hour: int | None
    fixed_bp: float
    impact: float
    fills: int = 0
    error_bp: float | None = None


class CostTable(Struct, frozen=True, dict=True):
    """Costs by symbol and hour, fitted to fills."""

    rows: tuple[FittedCost, ...]

    @cached_property
    def _known(self) -> dict[tuple[str, int | None], FittedCost]:
        return {(row.symbol, row.hour): row for row in self.rows}

    def at(self, symbol: str, hour: int) -> FittedCost | None:
        """Return the fitted costs of a symbol in an hour; without these the costs of the symbol at all hours, then of
        all symbols, then None.
        """
        keys = (symbol, hour), (symbol, None), ("", None)
        return next((row for key in keys if (row := self._known.get(key)) is not None), None)


class Costs(Struct, frozen=True, dict=True):
    """Cost and liquidity model of fills; all zero means no cost and no volume cap.

    `spread_bp` is the full spread (half is paid), and `slippage_bp` is added to it. `slippage_noise` (0 to 1) makes
    each fill's slippage uniform in slippage x (1 ± noise), derived from `seed`, the order and its filled lots. `impact`
    is the coefficient of the square-root law in bp at participation 1: impact x sqrt(lots / bar volume in lots)
    (Almgren et al. 2005; Tóth et al. 2011). `participation` caps fills at a fraction of a bar's volume; 0 is no cap.
    With `impact` or `participation`, a bar of zero or unknown volume fills nothing. `commission_min_micro` is the
    minimum commission of an *order* with at least one fill. `table` replaces spread, slippage and impact of the symbols
    and hours that it has. Raises ValueError for a negative or non-finite value.
    """

    commission_bp: float = 0.0
    slippage_bp: float = 0.0
    spread_bp: float = 0.0
    impact: float = 0.0
    participation: float = 0.0
    borrow_bp_annual: float = 0.0
    latency_ns: int = 0
    seed: int = 0
    commission_min_micro: int = 0
    slippage_noise: float = 0.0
    table: CostTable | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name not in ("seed", "table") and not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value}: a cost must be a finite number, 0 or more")
        for name in ("participation", "slippage_noise"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} = {getattr(self, name)}: a fraction must be at most 1")

    @cached_property
    def slippage_rate(self) -> int:
        """Slippage as an integer rate, with RATE_ONE as 100 %."""
        return rate_of_bp(self.slippage_bp)

    @cached_property
    def fixed_rate(self) -> int:
        """Half spread plus slippage as an integer rate, charged on fills at the open; half the spread is rounded up."""
        return -(-rate_of_bp(self.spread_bp) // 2) + self.slippage_rate

    @cached_property
    def commission_rate(self) -> int:
        """Commission as an integer rate, with RATE_ONE as 100 %."""
        return rate_of_bp(self.commission_bp)

    def participation_ratio(self, lot_nano: int) -> tuple[int, int]:
        """Return the participation cap as (numerator, denominator) in lowest terms: a bar's volume in nano-units times
        this fraction is the cap in lots.

        The result is exact for up to nine decimals of `participation`.
        """
        return lowest(round(Fraction(repr(float(self.participation))) * NANO), NANO * lot_nano)

    @property
    def needs_volume(self) -> bool:
        """Whether a fill depends on the bar's volume."""
        table = self.table
        return self.participation > 0 or self.impact > 0 or (table is not None and any(r.impact for r in table.rows))


def lowest(numerator: int, denominator: int) -> tuple[int, int]:
    """Reduce a fraction to lowest terms, because arithmetic with small integers is fast."""
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def divide_half_even(numerator: int, denominator: int) -> int:
    """Return numerator / denominator rounded to the nearest integer, ties to even.

    Raises ZeroDivisionError for a denominator of 0.
    """
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, remainder = divmod(numerator, denominator)
    remainder *= 2
    if remainder > denominator or (remainder == denominator and quotient & 1):
        return quotient + 1
    return quotient


def with_remainder(total: int, parts: list[int]) -> list[int]:
    """Return `parts` with one more part, so that all add up to `total`: the last part takes the rounding error."""
    return [*parts, total - sum(parts)]


def notional_atto(lots: int, lot_nano: int, price_nano: int) -> int:
    """Return the value of signed lots, exact in atto (1e-18). Pass Python integers: int64 would overflow silently."""
    return lots * lot_nano * price_nano


def round_micro(atto: int) -> tuple[int, int]:
    """Round atto to micro, half-even: (micro, residue in atto) with micro x 1e12 + residue = atto. The residue is at
    most half a micro in either direction."""
    micro, remainder = divmod(atto, ATTO_PER_MICRO)
    if remainder > _HALF_MICRO or (remainder == _HALF_MICRO and micro & 1):
        return micro + 1, remainder - ATTO_PER_MICRO
    return micro, remainder


def commission_ratio(lot_nano: int, rate: int) -> tuple[int, int]:
    """Return a commission rate as (numerator, denominator), in lowest terms, because small numbers are fast.

    The product lots x price_nano x ratio is the commission in micro-currency. One basis point on whole shares is
    1 / 10,000,000.
    """
    return lowest(lot_nano * rate, RATE_ONE * ATTO_PER_MICRO)


def borrow_micro(short_atto: int, rate_annual: int, days: int) -> int:
    """Return the borrow fee on a short position's value over calendar days, in micro-currency, rounded half-even."""
    return divide_half_even(abs(short_atto) * rate_annual * days, RATE_ONE * YEAR_DAYS * ATTO_PER_MICRO)


def interest_micro(cash_micro: int, rate_annual: int, days: int) -> int:
    """Return the interest on cash over calendar days, in micro-currency, rounded half-even.

    The interest is negative if either the cash or the rate is negative.
    """
    return divide_half_even(cash_micro * rate_annual * days, RATE_ONE * YEAR_DAYS)


def truncate(value: int, numerator: int, denominator: int) -> int:
    magnitude = abs(value) * numerator // denominator
    return magnitude if value >= 0 else -magnitude


def split_row(lots: int, filled: int, worst_nano: int, numerator: int, denominator: int) -> tuple[int, int, int]:
    """Adjust an open order for a split into `numerator` new shares for `denominator` old ones.

    Returns signed lots, unsigned filled lots and the limit price. Lots are truncated towards zero. The limit is rounded
    in the owner's favour: down for a buy, up for a sell. A `worst_nano` that stands for no limit (no collar) stays. If
    the returned filled lots equal abs(lots), nothing remains open.
    """
    scaled = worst_nano * denominator
    worst = scaled // numerator if lots > 0 else -(-scaled // numerator)
    worst = worst_nano if worst_nano == UNLIMITED[lots > 0] else worst
    return truncate(lots, numerator, denominator), filled * numerator // denominator, worst


def split_stop(stop_nano: int, buy: bool, numerator: int, denominator: int) -> int:
    """Adjust a stop's trigger price for a split into `numerator` new shares for `denominator` old ones. The price is
    rounded so that the stop never triggers later: up for a sale, down for a purchase."""
    scaled = stop_nano * denominator
    return scaled // numerator if buy else -(-scaled // numerator)
