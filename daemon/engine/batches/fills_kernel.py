"""Fills of limit orders on one bar, for the kernels of batches."""

from math import ceil, isfinite, sqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from quantd.daemon.engine.batches.integers_kernel import ratio
from quantd.trading.execution import MOST, RATE_ONE
from quantd.trading.instruments import NANO
from quantd.trading.jit import Floats, inner

Ints = NDArray[np.int64]


_SAFE: Final = 4.6e18
"""A product whose estimate in float64 is below this fits 63 bits."""


@inner
def fill_price(open_nano: int, limit_nano: int, buy: bool, rate: int, one: int = RATE_ONE) -> int:
    """Return the open moved by rate / one to the adverse side, rounded adversely to a nano, and capped at the limit.
    The open itself must not be beyond the limit (see `trades_through`)."""
    if buy:
        price, rest = ratio(open_nano, one + rate, 1, one)
        if rest:
            price += 1
        return price if price < limit_nano else limit_nano
    price, _ = ratio(open_nano, one - rate if rate < one else 0, 1, one)
    return price if price > limit_nano else limit_nano


@inner
def trades_through(limit_nano: int, buy: bool, low: float, high: float) -> bool:
    """Whether a bar traded strictly beyond the limit, so that a limit order there certainly filled."""
    extreme = _nano(low if buy else high)
    return 0 < extreme < limit_nano if buy else extreme > limit_nano


@inner
def _nano(price: float) -> int:
    """Round a price to six decimals, as `quantd.trading.market.nano` does; 0 where it is not finite."""
    return round(price * 1e6) * (NANO // 1_000_000) if isfinite(price) else 0


@inner
def at_least(least_micro: int, charged_micro: int, fee_micro: int) -> int:
    """Return the fee of a fill, with which its order has paid at least `least_micro` from its first fill on.
    `charged_micro` are the order's commissions before the minimum so far, -1 before the first fill."""
    before = least_micro if least_micro > charged_micro else charged_micro
    after = (charged_micro if charged_micro > 0 else 0) + fee_micro
    return (after if after > least_micro else least_micro) - (before if charged_micro >= 0 else 0)


@inner
def impact_rate(impact_bp: float, lots: int, lot_nano: int, volume: float) -> int:
    """Return the square-root impact of unsigned `lots` on a bar of `volume` units > 0. The result is an integer rate,
    rounded up."""
    rate = impact_bp * sqrt(lots * lot_nano / (volume * NANO)) * (RATE_ONE // 10_000)
    return ceil(rate) if rate < _SAFE else MOST


@inner
def lots_to_be_had(volume: float, numerator: int, denominator: int) -> int:
    """Return the whole lots that a participation cap permits of a bar's volume; 0 for zero or unknown volume. The
    fraction is `Costs.participation_ratio`."""
    volume_nano = volume * NANO
    if not (volume_nano > 0.0 and isfinite(volume_nano)):
        return 0
    return ratio(int(volume_nano), numerator, 1, denominator)[0]


@inner
def commission_micro(lots: int, price_nano: int, numerator: int, denominator: int) -> int:
    """Return the commission on unsigned lots in whole micro, rounded half-even. The fraction is `commission_ratio`."""
    whole, rest = ratio(lots, price_nano, numerator, denominator)
    left = denominator - rest
    return whole + 1 if rest > left or (rest == left and whole & 1) else whole


FILLED: Final = 4
"""Columns of the report of `fill_limits`."""

_NEVER: Final = 2**63 - 1


@inner
def fill_limits(
    orders: Ints,
    rows: int,
    ts_open: int,
    ts_event: int,
    fresh: Any,
    open_nano: Ints,
    low: Floats,
    high: Floats,
    volume: Floats,
    terms: Ints,
    rate: int,
    one: int,
    least_micro: int,
    capped: bool,
    impact_bp: float,
    left: Ints,
    out: Ints,
) -> int:
    """Fill limit orders on one bar. Returns the number of fills; -1 where an amount is beyond 64 bits.

    `orders` are columns of `rows` integers: the symbols' columns, signed lots, limit prices, ends and starts of the
    windows; and, unless no order has a fill or a minimum commission, filled lots and charged commissions. Starts and
    commissions are written. `fresh`, `open_nano`, `low`, `high` and `volume` are the bar's, by column. `terms` are the
    numerators, then the denominators of `commission_ratio`, the same of `Costs.participation_ratio`, and the lot sizes
    in nano-units. A fill costs `rate` / `one`, and the impact of its lots. `left` are the lots left of the bar's volume
    by column, -1 where no order has asked. `out` are columns of `rows` integers, by fill: new lots, price, fee, the
    order's row; and at the end the number of orders that are filled whole.
    """
    columns, begun = len(open_nano), len(orders) > 5 * rows
    made = ended = 0
    for row in range(rows):
        column, lots, limit, until = orders[row], orders[rows + row], orders[2 * rows + row], orders[3 * rows + row]
        if ts_open < orders[4 * rows + row] or not fresh[column]:
            continue
        orders[4 * rows + row] = ts_event
        price, buy = open_nano[column], lots > 0
        if ts_open >= until or price <= 0:
            continue
        if price > limit if buy else price < limit:
            if until < ts_event or not trades_through(limit, buy, low[column], high[column]):
                continue
            price = limit
        remaining = lots if buy else -lots
        if begun:
            remaining -= orders[5 * rows + row]
        wanted, moved = remaining, rate
        if capped or impact_bp > 0.0:
            if not float(volume[column]) * NANO < _SAFE:
                return -1
            allowed = left[column]
            if allowed < 0:
                if capped:
                    numerator, denominator = terms[2 * columns + column], terms[3 * columns + column]
                    allowed = lots_to_be_had(volume[column], numerator, denominator)
                else:
                    allowed = _NEVER if volume[column] > 0.0 else 0
            wanted = wanted if wanted <= allowed else allowed
            left[column] = allowed - wanted
            if wanted == 0:
                continue
            if impact_bp > 0.0:
                lot_nano = terms[4 * columns + column]
                if not float(wanted) * float(lot_nano) < _SAFE:
                    return -1
                moved += impact_rate(impact_bp, wanted, lot_nano, volume[column])
        if moved > 0:
            price = fill_price(price, limit, buy, moved, one)
        fee = commission_micro(wanted, price, terms[column], terms[columns + column])
        if fee > MOST:
            return -1
        if least_micro > 0:
            charged = orders[6 * rows + row]
            orders[6 * rows + row] = (charged if charged > 0 else 0) + fee
            fee = at_least(least_micro, charged, fee)
        out[made], out[rows + made], out[2 * rows + made], out[3 * rows + made] = wanted, price, fee, row
        made += 1
        if wanted == remaining:
            ended += 1
    out[4 * rows] = ended
    return made
