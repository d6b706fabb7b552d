"""From prices that a vendor has divided by later splits back to the prices that were paid.

What cannot be undone: splits and spin-offs that the vendor folded into its prices without listing them, and digits lost
where a vendor keeps single precision (seven digits, at any size of price).
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import Final

import numpy as np

from quantd.adapters.feeds.files import ActionRow, exact_nano
from quantd.trading.instruments import NANO
from quantd.trading.market import Floats, Ints

_DECIMALS: Final = 9
_LARGEST: Final = 9.2e9


def factors(day_ns: Ints, splits: Sequence[ActionRow]) -> Floats:
    """float64[R]: new shares to one share of each bar's day, by the splits (of one symbol) with a later ex date.

    `day_ns` int64[R] is each bar's session date. A price times its factor is what was paid, a volume divided by it what was traded.
    """
    out = np.ones(len(day_ns))
    total = Fraction(1)
    for split in sorted((s for s in splits if s.kind == "split"), key=lambda s: -s.day_ns):
        total *= Fraction(split.numerator, split.denominator)
        out[day_ns < split.day_ns] = float(total)
    return out


def paid(prices: Floats, factor: Floats, rounded_by: float = 0.0) -> Ints:
    """int64[R] nano: the simplest decimal that is `prices` x `factor` to within single precision.

    Vendors that keep float32 send 124.80750274658203 for 124.8075, a quarter of 499.23. A price that is neither a widened
    float32 nor split is kept to its last digit. `rounded_by` is how far the vendor may have rounded what it sends, where that
    is coarser (half of its last decimal). 0 where there is no price.
    """
    product = prices * factor
    clean = np.where(np.isfinite(product) & (np.abs(product) < _LARGEST), product, 0.0)
    single = np.where(np.isfinite(prices), prices, 0.0).astype(np.float32)
    rough = (single.astype(np.float64) == prices) | (factor != 1.0)
    slack = np.maximum(np.spacing(np.abs(single)).astype(np.float64) * 0.51, rounded_by * 1.01) * factor
    out = exact_nano(clean)
    left = rough & (clean != 0.0)
    for decimals in range(_DECIMALS + 1):
        if not left.any():
            break
        rounded = np.round(clean, decimals)
        fits = left & (np.abs(rounded - clean) <= slack)
        out[fits] = np.rint(rounded[fits] * 10**decimals).astype(np.int64) * 10 ** (_DECIMALS - decimals)
        left &= ~fits
    return out


def currency(nano: Ints) -> Floats:
    """float64[R] of nano-currency; NaN for 0, which stands for no price."""
    return np.where(nano == 0, np.nan, nano / NANO)
