"""What a trade costs and at which price it fills, once, for the paper broker, the ledger and the simulator.

Every amount is a Python int; a rate in basis points is turned into an int once, at `RATE_ONE` to the unit.
"""

from fractions import Fraction
from functools import cached_property, lru_cache
from math import ceil, gcd, isfinite, sqrt
from typing import Final

from msgspec import Struct

from quantd.trading.instruments import ATTO_PER_MICRO, NANO

RATE_ONE: Final = 10**13
"""A rate of 1 (10,000 bp); one unit is 1e-9 bp."""

YEAR_DAYS: Final = 365
"""Borrow is charged, and cash earns interest, by calendar days over 365, as brokers do (Actual/365 Fixed)."""

_HALF_MICRO: Final = ATTO_PER_MICRO // 2


@lru_cache(maxsize=256)
def rate_of_bp(bp: float) -> int:
    """Basis points as an int, RATE_ONE to the unit: the float is taken as the decimal it prints as, so that
    0.1 is one tenth; exact up to nine decimals of a basis point, half-even beyond."""
    return round(Fraction(repr(float(bp))) * (RATE_ONE // 10_000))


class Costs(Struct, frozen=True, dict=True):
    """What trading costs and how much of a bar can be had. All zero: no cost, no cap.

    `spread_bp` is the whole spread (half is paid), `slippage_bp` comes on top; `slippage_noise` (0 to 1) makes
    each fill's slippage uniform in slippage x (1 ± noise), drawn from (`seed`, decision, n). `impact` is the
    square-root law's coefficient in bp at participation 1: impact x sqrt(lots / bar volume in lots) (Almgren et al.
    2005; Tóth et al. 2011). `participation` is the most that fills may take of a bar's volume, as a fraction; 0 is
    no cap. With `impact` or `participation`, a bar of no or unknown volume fills nothing. `commission_min_micro` is the
    least commission of an *order* that filled at all. Raises ValueError for a negative or non-finite value.
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

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name != "seed" and not (isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value}: a cost is a finite number, 0 or more")
        for name in ("participation", "slippage_noise"):
            if getattr(self, name) > 1:
                raise ValueError(f"{name} = {getattr(self, name)}: a fraction, 1 at most")

    @cached_property
    def slippage_rate(self) -> int:
        return rate_of_bp(self.slippage_bp)

    @cached_property
    def fixed_rate(self) -> int:
        """Half spread and slippage, what every fill at the open pays; an odd last digit is rounded up."""
        return -(-rate_of_bp(self.spread_bp) // 2) + self.slippage_rate

    @cached_property
    def commission_rate(self) -> int:
        return rate_of_bp(self.commission_bp)

    def participation_ratio(self, lot_nano: int) -> tuple[int, int]:
        """The cap as a fraction in lowest terms: a bar's volume in nano-units x this are lots; exact for nine
        decimals of `participation`."""
        return lowest(round(Fraction(repr(float(self.participation))) * NANO), NANO * lot_nano)

    @property
    def needs_volume(self) -> bool:
        """Whether a fill depends on the bar's volume."""
        return self.participation > 0 or self.impact > 0


def lowest(numerator: int, denominator: int) -> tuple[int, int]:
    """A fraction in lowest terms, for quick exact arithmetic with small ints."""
    common = gcd(numerator, denominator)
    return numerator // common, denominator // common


def divide_half_even(numerator: int, denominator: int) -> int:
    """numerator / denominator to the nearest int, ties to even. ZeroDivisionError for 0."""
    if denominator < 0:
        numerator, denominator = -numerator, -denominator
    quotient, rest = divmod(numerator, denominator)
    rest *= 2
    if rest > denominator or (rest == denominator and quotient & 1):
        return quotient + 1
    return quotient


def notional_atto(lots: int, lot_nano: int, price_nano: int) -> int:
    """Value of signed lots, exact in atto (1e-18). Python ints only: int64 would overflow silently."""
    return lots * lot_nano * price_nano


def round_micro(atto: int) -> tuple[int, int]:
    """atto -> (micro, half-even; residue in atto, at most half a micro either way): micro x 1e12 + residue = atto."""
    micro, rest = divmod(atto, ATTO_PER_MICRO)
    if rest > _HALF_MICRO or (rest == _HALF_MICRO and micro & 1):
        return micro + 1, rest - ATTO_PER_MICRO
    return micro, rest


def fill_price(open_nano: int, limit_nano: int, buy: bool, rate: int, one: int = RATE_ONE) -> int:
    """The open with rate / one on the adverse side, rounded adversely to a nano, but never beyond the limit.

    The open must not be beyond the limit itself (see `trades_through`).
    """
    if buy:
        price = -(-open_nano * (one + rate) // one)
        return price if price < limit_nano else limit_nano
    price = open_nano * (one - rate) // one
    return price if price > limit_nano else limit_nano


def trades_through(limit_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar went strictly beyond the limit, so that an order resting there surely filled.

    Low and high count to six decimals, as `quantd.trading.market.nano` reads prices; False when they are not finite.
    """
    extreme = low if buy else high
    if not isfinite(extreme):
        return False
    extreme_nano = round(extreme * 1e6) * (NANO // 1_000_000)
    return 0 < extreme_nano < limit_nano if buy else extreme_nano > limit_nano


def reaches(stop_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar traded at a stop or beyond it: a sale's from above, a purchase's from below.

    Low and high count to six decimals, as in `trades_through`; False when they are not finite.
    """
    extreme = high if buy else low
    if not isfinite(extreme):
        return False
    extreme_nano = round(extreme * 1e6) * (NANO // 1_000_000)
    return extreme_nano >= stop_nano if buy else 0 < extreme_nano <= stop_nano


def impact_rate(impact_bp: float, lots: int, lot_nano: int, volume: float) -> int:
    """Square-root impact of `lots` (unsigned) on a bar of `volume` units > 0, as a rate rounded up."""
    return ceil(impact_bp * sqrt(lots * lot_nano / (volume * NANO)) * (RATE_ONE // 10_000))


def lots_to_be_had(volume: float, ratio: tuple[int, int]) -> int:
    """Whole lots that a participation cap (see `Costs.participation_ratio`) leaves of a bar's volume; 0 for no or
    unknown volume."""
    volume_nano = volume * NANO
    if not (volume_nano > 0 and isfinite(volume_nano)):
        return 0
    return int(volume_nano) * ratio[0] // ratio[1]


def commission_ratio(lot_nano: int, rate: int) -> tuple[int, int]:
    """(numerator, denominator) in lowest terms: lots x price_nano x this is the commission in micro.

    Small numbers are quick: one basis point on whole shares is 1 / 10,000,000.
    """
    return lowest(lot_nano * rate, RATE_ONE * ATTO_PER_MICRO)


def commission_micro(lots: int, price_nano: int, ratio: tuple[int, int]) -> int:
    """Commission on unsigned lots, rounded half-even to micro: what a venue charges is whole micro."""
    numerator, denominator = ratio
    fee, rest = divmod(lots * price_nano * numerator, denominator)
    if rest and (2 * rest > denominator or (2 * rest == denominator and fee & 1)):
        return fee + 1
    return fee


def borrow_micro(short_atto: int, rate_annual: int, days: int) -> int:
    """Borrow fee on the value of a short position over calendar days, rounded half-even to micro."""
    return divide_half_even(abs(short_atto) * rate_annual * days, RATE_ONE * YEAR_DAYS * ATTO_PER_MICRO)


def interest_micro(cash_micro: int, rate_annual: int, days: int) -> int:
    """Interest on cash over calendar days, rounded half-even to micro; negative where the cash or the rate is."""
    return divide_half_even(cash_micro * rate_annual * days, RATE_ONE * YEAR_DAYS)


def truncate(value: int, numerator: int, denominator: int) -> int:
    """value x numerator / denominator, floored towards zero."""
    whole = abs(value) * numerator // denominator
    return whole if value >= 0 else -whole


def split_row(lots: int, filled: int, worst_nano: int, numerator: int, denominator: int) -> tuple[int, int, int]:
    """A resting order after a split into `numerator` new shares for `denominator` old: signed lots, unsigned
    filled lots and limit.

    Lots are floored towards zero; the limit is rounded so that it never gets worse (a buy's down, a sell's up).
    Nothing remains when filled == abs(lots).
    """
    scaled = worst_nano * denominator
    worst = scaled // numerator if lots > 0 else -(-scaled // numerator)
    return truncate(lots, numerator, denominator), filled * numerator // denominator, worst


def split_stop(stop_nano: int, buy: bool, numerator: int, denominator: int) -> int:
    """The trigger of a stop after a split into `numerator` new shares for `denominator` old: rounded so that it never
    sleeps longer (a sale's up, a purchase's down)."""
    scaled = stop_nano * denominator
    return scaled // numerator if buy else -(-scaled // numerator)
