"""Rules for when and how far to trade towards a target: calendars, drifts, events, and the no-trade region.

What can go wrong: cash that lies idle, a debt, and a trade each day for a target that cannot be reached. With costs a
trade ends at the boundary of the no-trade region. The price of cash is then searched so that sales pay for purchases,
and none of what a full rebalance would invest is left over. A shortfall of the last rebalance does not count as drift.
With shorts the cut of the gross could leave a book worse than either end; the least costly of the three is returned.

Pure functions of arrays: `held` and `target` are float64[N] weights, and every result lies between them, symbol by
symbol.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

from quantd.strategies.weights.sizing import within
from quantd.trading.market import Floats

SHRINK: Final = 0.1
"""Weight of the diagonal in the covariance's shrinkage, so that no combination of symbols appears riskless."""

SWEEPS: Final = 400
HALVINGS: Final = 60
EXACT: Final = 1e-13


def _months(count: int) -> Callable[[int], int]:
    def period(day: int) -> int:
        return int(np.datetime64(day, "D").astype("datetime64[M]").astype(int)) // count

    return period


PERIODS: Final[dict[str, Callable[[int], int]]] = {
    "day": lambda day: day,
    # Weeks begin on a Friday (day 1 of 1970 was one). The first session of a week is thus Friday's, or the next one.
    "week": lambda day: (day - 1) // 7,
    "two_weeks": lambda day: (day - 1) // 14,
    "month": _months(1),
    "quarter": _months(3),
    "half_year": _months(6),
    "year": _months(12),
}
"""Calendar period of a rule -> function from a day (since 1970-01-01) to its period number."""


def drift_of(held: Floats, target: Floats) -> float:
    """Return the largest absolute difference of a weight."""
    return float(np.abs(held - target).max(initial=0.0))


def reachable(target: Floats, held: Floats, short: Floats) -> Floats:
    """Return float64[N], `target` less the last rebalance's shortfall `short` (float64[N], asked - held). A target that
    a limit or a missing market prevented does not count as drift again."""
    gap = target - held
    distance = np.where(gap * short > 0.0, np.maximum(np.abs(gap) - np.abs(short), 0.0), np.abs(gap))
    return held + np.sign(gap) * distance


def risk_shares(weights: Floats, covariance: Floats) -> Floats:
    """Return float64[N], each symbol's share of the variance of `weights`, summing to 1; zeros without variance."""
    contributions = weights * (covariance @ weights)
    total = float(contributions.sum())
    return contributions / total if total > 0.0 else np.zeros_like(contributions)


def risk_drift_of(held: Floats, target: Floats, covariance: Floats) -> float:
    """Return the largest difference of a symbol's share of the variance."""
    return drift_of(risk_shares(held, covariance), risk_shares(target, covariance))


def covariance_of(returns: Floats) -> Floats:
    """Return the covariance float64[N, N] per sample of float64[k, N], shrunk to its diagonal by SHRINK. Entries of a
    symbol with a missing return are zero."""
    complete = np.isfinite(returns).all(axis=0) & (len(returns) > 1)
    centred = np.where(complete, returns - returns.mean(axis=0), 0.0)
    covariance: Floats = (centred.T @ centred) * ((1.0 - SHRINK) / max(1, len(returns) - 1))
    covariance.reshape(-1)[:: len(covariance) + 1] /= 1.0 - SHRINK
    return covariance


def volatility_ratio(market: Floats, short: int) -> float:
    """Return the volatility of the last `short` returns of float64[k] over that of the earlier ones; 0 if unknown."""
    if len(market) < 3 * short:
        return 0.0
    usual = float(market[:-short].std(ddof=1))
    return float(market[-short:].std(ddof=1)) / usual if usual > 1e-9 else 0.0


def correlation_change(returns: Floats, short: int) -> float:
    """Return the mean absolute change of pairwise correlations, between the last `short` rows of float64[k, N] and the
    earlier ones. It covers pairs with known, varying returns in both parts, and is 0 without such a pair."""
    now, before = returns[-short:], returns[:-short]
    if len(before) < 2 * short:
        return 0.0
    with np.errstate(invalid="ignore"):
        usable = (now.std(axis=0) > 1e-12) & (before.std(axis=0) > 1e-12)  # a gap gives NaN, which compares as constant
    if np.count_nonzero(usable) < 2:
        return 0.0
    change = np.abs(np.corrcoef(now[:, usable].T) - np.corrcoef(before[:, usable].T))
    return float(change[np.triu_indices(len(change), 1)].mean())


def net_cost(weights: Floats, target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float = 0.0) -> float:
    """Return the total loss of a book at `weights`, as a fraction of the book. It is half of (w - target)' risk (w -
    target), the utility lost by the distance from the target, plus the cost of trading there from `held`."""
    gap, moved = weights - target, np.abs(weights - held)
    return float(0.5 * gap @ risk @ gap + cost @ moved + fixed * np.count_nonzero(moved > EXACT))


def worth_trading(target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float = 0.0) -> Floats:
    """Return the weights float64[N] between `held` and `target` with the smallest loss (`net_cost`).

    This is the no-trade region of proportional costs: trades go to its boundary and no further. `risk` is float64[N,
    N], risk aversion x covariance over the holding period. `cost` float64[N] is the cost per unit of weight traded,
    `fixed` the cost per trade. Sources: Magill and Constantinides (1976) for the region, Leland (2000) for the form
    with a target to track. The convex problem in a box is solved by coordinate descent, which is exact for separable
    costs (Tseng 2001). The invested sum stays between the sums of `held` and `target`, by a search for the price of
    cash. Thus no cash is borrowed, and none remains that a full rebalance would invest. With shorts the gross also
    stays below the larger of the two, and that cut changes the sum. A symbol without measured risk goes to its target.
    """
    side = np.sign(target - held)
    cost = np.where(risk.diagonal() > 0.0, cost, 0.0)
    least, most = sorted((float(held.sum()), float(target.sum())))

    def solved(price: float, start: Floats) -> Floats:
        return _coordinates(target, held, risk, side * cost + price, start)

    weights = solved(0.0, target)
    invested = float(weights.sum())
    if invested > most + EXACT:
        weights = _at_price(solved, weights, 1.0, lambda invested: invested <= most)
    elif invested < least - EXACT:
        weights = _at_price(solved, weights, -1.0, lambda invested: invested >= least)
    weights = within(weights, held, max(float(np.abs(held).sum()), float(np.abs(target).sum())))
    # after the sum is right: a trade that does not earn its fixed cost is judged at its final size
    if fixed > 0.0:
        weights = _without_small(weights, target, held, risk, cost, fixed)
    # the cut of the gross may leave a book with shorts worse than at either end
    return min(weights, held.copy(), target.copy(), key=lambda w: net_cost(w, target, held, risk, cost, fixed))


def _at_price(
    solved: Callable[[float, Floats], Floats], weights: Floats, sign: float, fits: Callable[[float], bool]
) -> Floats:
    """Return the weights at the smallest price of cash, of this `sign`, at which the invested sum fits."""
    low, high = 0.0, 1e-4
    while not fits(float(solved(sign * high, weights).sum())) and high < 1e6:
        low, high = high, 2.0 * high
    fitting = weights = solved(sign * high, weights)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        weights = solved(sign * middle, weights)
        if fits(float(weights.sum())):
            high, fitting = middle, weights  # these, not a later result at the same price, which may differ
        else:
            low = middle
        if high - low < 1e-13:
            break
    return fitting


def _coordinates(target: Floats, held: Floats, risk: Floats, slope: Floats, start: Floats) -> Floats:
    """Return the minimum of half of d' risk d + slope . w, d = w - target, with each w between held and target."""
    low, high = np.minimum(held, target).tolist(), np.maximum(held, target).tolist()
    gap = start - target
    diagonal, slopes, goal = risk.diagonal().tolist(), slope.tolist(), target.tolist()
    free = [k for k in range(len(goal)) if high[k] > low[k]]
    for _ in range(SWEEPS):
        moved = 0.0
        for k in free:
            variance = diagonal[k]
            now = float(gap[k])
            if variance > 0.0:
                best = goal[k] - (float(risk[k] @ gap) - variance * now + slopes[k]) / variance
            else:
                best = goal[k] if slopes[k] == 0.0 else low[k] if slopes[k] > 0.0 else high[k]
            new = min(max(best, low[k]), high[k]) - goal[k]
            if new != now:
                gap[k] = new
                moved = max(moved, abs(new - now))
        if moved < EXACT:
            break
    return target + gap


def _without_small(weights: Floats, target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float) -> Floats:
    """Return `weights` without the trades that do not recover their fixed cost, the least useful removed first."""
    weights = weights.copy()
    while True:
        now = net_cost(weights, target, held, risk, cost, fixed)
        gains = []
        for k in np.flatnonzero(np.abs(weights - held) > EXACT).tolist():
            without = weights.copy()
            without[k] = held[k]
            if float(without.sum()) <= max(float(weights.sum()), float(held.sum())) + EXACT:
                gains.append((net_cost(without, target, held, risk, cost, fixed) - now, k))
        if not gains or min(gains)[0] >= 0.0:
            return weights
        _, worst = min(gains)
        weights[worst] = held[worst]


def limited(
    weights: Floats, held: Floats, *, band: float, max_change: float, max_trades: int, max_turnover: float, least: float
) -> Floats:
    """Return float64[N]: the change from `held` to `weights` within the rules, in this order.

    A change of at most `band`, or less than `least`, is omitted, except to zero. No weight changes by more than
    `max_change`. Of more than `max_trades` changes only the largest remain. All are shortened proportionally to a
    turnover (sum of absolute changes) of `max_turnover`. Purchases that sales no longer fund are reduced
    proportionally.
    """
    change = weights - held
    size = np.abs(change)
    closes = (weights == 0.0) & (held != 0.0)
    change = np.where(((size > band) & (size >= least)) | closes, change, 0.0)
    change = np.clip(change, -max_change, max_change)
    if np.count_nonzero(change) > max_trades:
        change[np.argsort(-np.abs(change), kind="stable")[max_trades:]] = 0.0
    turnover = float(np.abs(change).sum())
    if turnover > max_turnover:
        change = change * (max_turnover / turnover)
    return within(held + change, held, max(float(np.abs(held).sum()), float(np.abs(weights).sum())))
