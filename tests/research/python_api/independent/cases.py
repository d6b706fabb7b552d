"""Five policies as pure functions of dates and closes, for the product and for an independent engine."""

from collections.abc import Callable
from datetime import date
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Case = Callable[[list[date], Floats], Floats | None]
"""(dates, closes) -> target weights float64[N] of the equity; None sends no order.

`dates` are the T sessions up to and with the one of the decision, `closes` float64[T, N] the last closes known then: a
session without a bar repeats the close before it, NaN before a symbol's first bar. Columns are in order of the symbols.
"""

MOMENTUM_SESSIONS: Final = 126
SEED: Final = 20_250_117
TABLE_ROWS: Final = 4_096


def _priced(closes: Floats) -> NDArray[np.bool_]:
    """bool[N]: symbols with a close."""
    return np.isfinite(closes[-1])


def equal_monthly(dates: list[date], closes: Floats) -> Floats | None:
    """Equal weights of all symbols with a price, at the first session of each month; else hold."""
    if len(dates) > 1 and dates[-1].month == dates[-2].month:
        return None
    mask = _priced(closes)
    return np.where(mask, 1.0 / max(int(mask.sum()), 1), 0.0)


def fixed_daily(dates: list[date], closes: Floats) -> Floats | None:
    """60 % in the first symbol and 40 % in the last one, every session."""
    weights = np.zeros(closes.shape[1])
    weights[0], weights[-1] = 0.6, 0.4
    return weights


def momentum(dates: list[date], closes: Floats) -> Floats | None:
    """A quarter of the equity in each of the four symbols that rose most over 126 sessions, if they rose; else cash.

    Equal returns are taken in the order of the symbols. Cash until 127 sessions are known.
    """
    weights = np.zeros(closes.shape[1])
    if len(dates) <= MOMENTUM_SESSIONS:
        return weights
    rise = closes[-1] / closes[-1 - MOMENTUM_SESSIONS] - 1.0
    rise = np.where(np.isfinite(rise), rise, -1.0)
    best = np.argsort(-rise, kind="stable")[:4]
    weights[best] = np.where(rise[best] > 0.0, 0.25, 0.0)
    return weights


def pair(dates: list[date], closes: Floats) -> Floats | None:
    """20 % long in the weaker and 20 % short in the stronger of the first two symbols over 5 sessions, changed weekly.

    It decides at each fifth session and holds between. The sides change, so positions pass through zero.
    """
    if len(dates) % 5 != 1:
        return None
    weights = np.zeros(closes.shape[1])
    if len(dates) < 6 or not np.isfinite(closes[-6, :2]).all():
        return weights
    rise = closes[-1, :2] / closes[-6, :2]
    weak = 0 if rise[0] <= rise[1] else 1
    weights[weak], weights[1 - weak] = 0.2, -0.2
    return weights


def random_weights(dates: list[date], closes: Floats) -> Floats | None:
    """Random weights between -0.3 and 0.7 from a table with a fixed seed, one row a session, scaled to a sum of sizes
    between 0.2 and 1.8; so purchases are often cut for lack of cash."""
    row, width = (len(dates) - 1) % TABLE_ROWS, closes.shape[1]
    drawn = np.random.Generator(np.random.PCG64([SEED, row])).random(width + 1)
    raw = drawn[:width] - 0.3
    scaled: Floats = raw / np.abs(raw).sum() * (0.2 + 1.6 * drawn[width])
    return np.where(_priced(closes), scaled, 0.0)


CASES: Final[dict[str, Case]] = {
    "equal_monthly": equal_monthly,
    "fixed_daily": fixed_daily,
    "momentum": momentum,
    "pair": pair,
    "random_weights": random_weights,
}


def answers(case: Case, dates: list[date], closes: Floats) -> dict[date, Floats | None]:
    """Return the answer of a case at each session; `closes` float64[T, N] are the last closes of all sessions."""
    return {day: case(dates[: t + 1], closes[: t + 1]) for t, day in enumerate(dates)}
