"""Compares each announced dividend with the other dividends of its symbol.

A vendor lists a dividend twice, on two days of one week, or in another unit: in pence, or for each share after the
split of the same day. An amount of an ordinary size moves the price too little for a comparison with one day's move. A
comparison with the symbol's other dividends is more sensitive. Only plain relations count: nearly the same amount
within a week, or a hundredth of another amount to its last digit. A test for outliers was rejected: companies do pay a
tiny or a special dividend now and then (CALM 0.002 after 0.755, IBE 0.005 before 0.316). Of 2,727 dividends of 25 funds
in one vendor's list two are reported, QQQ on 2010-06-25 and TIP on 2008-04-03, each with the amount of an ex date in
the week before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Final, Literal

import numpy as np

from quantd.trading.events import Action
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS

Doubt = Literal["repeated", "unit"]

REPEATED_WITHIN_NS: Final = 7 * DAY_NS
"""A dividend that is listed twice has its two ex dates at most this far apart.

The ex dates of a fund that pays each month are at least 13 days apart (2018-12-03 and 2018-12-18 for example).
"""

REPEATED_RATIO: Final = 1.25
"""Largest ratio of two amounts that may be one dividend: a vendor may list one in another currency or before tax."""

UNIT: Final = 100
"""Pence in a pound, cents in a dollar."""

UNIT_TOLERANCE: Final = 0.005
"""Largest relative miss of UNIT between two amounts. TIP paid 0.004 and 0.389, a ratio of 97."""

NEIGHBOURS: Final = 8
"""A dividend is compared with this many on each side of it: two years of quarters."""


@dataclass(frozen=True, slots=True)
class DividendDoubt:
    """A dividend, `action`, that another dividend of the symbol, `other`, contradicts. `factor` times its amount is
    the likely amount."""

    action: Action
    kind: Doubt
    factor: Fraction
    other: Action


def dividend_doubts(dividends: Sequence[Action], splits: Sequence[Action]) -> list[DividendDoubt]:
    """Return the doubtful dividends of one symbol. Its dividends and its splits are in order of time."""
    cash = np.array([dividend.cash_nano for dividend in dividends], dtype=np.float64)
    return [
        *_repeated(dividends),
        *_in_another_unit(dividends, cash),
        *_after_the_split(dividends, cash, splits),
    ]


def _repeated(dividends: Sequence[Action]) -> list[DividendDoubt]:
    """Return dividends that repeat nearly the amount of the previous dividend within a week."""
    doubts = []
    for first, second in pairwise(dividends):
        gap_ns, ratio = second.key - first.key, second.cash_nano / first.cash_nano
        repeats = 0 < gap_ns <= REPEATED_WITHIN_NS and 1 / REPEATED_RATIO <= ratio <= REPEATED_RATIO
        if repeats or (gap_ns == 0 and ratio == 1.0):
            doubts.append(DividendDoubt(second, "repeated", Fraction(0), first))
    return doubts


def _in_another_unit(dividends: Sequence[Action], cash: Floats) -> list[DividendDoubt]:
    """Return dividends that are UNIT (100) times another dividend or a UNIT-th of it. Corrected by that factor, they
    must be nearer to the neighbouring dividends."""
    doubts = []
    for k, dividend in enumerate(dividends):
        neighbours = [*range(max(0, k - NEIGHBOURS), k), *range(k + 1, min(len(cash), k + 1 + NEIGHBOURS))]
        ratio = cash[neighbours] / cash[k]
        for factor in (Fraction(UNIT), Fraction(1, UNIT)):
            off_by_factor = np.abs(ratio / float(factor) - 1) <= UNIT_TOLERANCE
            if off_by_factor.any() and np.median(np.abs(np.log(ratio / float(factor)))) < np.median(
                np.abs(np.log(ratio))
            ):
                doubts.append(
                    DividendDoubt(dividend, "unit", factor, dividends[neighbours[int(off_by_factor.argmax())]])
                )
    return doubts


def _after_the_split(dividends: Sequence[Action], cash: Floats, splits: Sequence[Action]) -> list[DividendDoubt]:
    """Return dividends of the day of a split that fit the previous dividend only as an amount for each new share.

    Such an amount is wrong, because a dividend is paid on the shares before the split of its day.
    """
    ratio_of = {split.key: Fraction(split.numerator, split.denominator) for split in splits}
    doubts = []
    for k, dividend in enumerate(dividends):
        ratio = ratio_of.get(dividend.key, Fraction(1))
        if k and ratio != 1:
            change = np.log(cash[k] / cash[k - 1])
            if abs(change + np.log(float(ratio))) < abs(change) / 2:
                doubts.append(DividendDoubt(dividend, "unit", ratio, dividends[k - 1]))
    return doubts
