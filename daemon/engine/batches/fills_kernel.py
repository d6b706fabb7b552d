"""Fills of limit orders on one bar, for the kernels of batches."""

from typing import Final

from quantd.trading.execution import MOST
from quantd.trading.fill_prices import at_least, bounded_fee, bounded_share, fill_price, impact_rate, trades_through
from quantd.trading.instruments import NANO
from quantd.trading.number_types import Ints, ReadBytes, ReadFloats, ReadInts

_SAFE: Final = 4.6e18
"""A product whose estimate in float64 is below this fits 63 bits."""


FILLED: Final = 4
"""Columns of the report of `fill_limits`."""

_NEVER: Final = 2**63 - 1


def fill_limits(
    orders: Ints,
    rows: int,
    ts_open: int,
    ts_event: int,
    fresh: ReadBytes,
    open_nano: ReadInts,
    low: ReadFloats,
    high: ReadFloats,
    volume: ReadFloats,
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
    columns: int = len(open_nano)
    begun: bool = len(orders) > 5 * rows
    made: int = 0
    ended: int = 0
    for row in range(rows):
        column: int = orders[row]
        lots: int = orders[rows + row]
        limit: int = orders[2 * rows + row]
        until: int = orders[3 * rows + row]
        if ts_open < orders[4 * rows + row] or fresh[column] == 0:
            continue
        orders[4 * rows + row] = ts_event
        price: int = open_nano[column]
        buy: bool = lots > 0
        if ts_open >= until or price <= 0:
            continue
        if price > limit if buy else price < limit:
            if until < ts_event or not trades_through(limit, buy, low[column], high[column]):
                continue
            price = limit
        remaining: int = lots if buy else -lots
        if begun:
            remaining -= orders[5 * rows + row]
        wanted: int = remaining
        moved: int = rate
        if capped or impact_bp > 0.0:
            if not volume[column] * float(NANO) < _SAFE:
                return -1
            allowed: int = left[column]
            if allowed < 0:
                if capped:
                    numerator: int = terms[2 * columns + column]
                    denominator: int = terms[3 * columns + column]
                    allowed = (
                        bounded_share(volume[column] * float(NANO), numerator, denominator)
                        if volume[column] > 0.0
                        else 0
                    )
                else:
                    allowed = _NEVER if volume[column] > 0.0 else 0
            wanted = wanted if wanted <= allowed else allowed
            left[column] = allowed - wanted
            if wanted == 0:
                continue
            if impact_bp > 0.0:
                lot_nano: int = terms[4 * columns + column]
                if not float(wanted) * float(lot_nano) < _SAFE:
                    return -1
                moved += impact_rate(impact_bp, wanted, lot_nano, volume[column])
        if moved > 0:
            price = fill_price(price, limit, buy, moved, one)
        fee: int = bounded_fee(wanted, price, terms[column], terms[columns + column])
        if fee > MOST:
            return -1
        if least_micro > 0:
            charged: int = orders[6 * rows + row]
            orders[6 * rows + row] = (charged if charged > 0 else 0) + fee
            fee = at_least(least_micro, charged, fee)
        out[made], out[rows + made], out[2 * rows + made], out[3 * rows + made] = wanted, price, fee, row
        made += 1
        if wanted == remaining:
            ended += 1
    out[4 * rows] = ended
    return made
