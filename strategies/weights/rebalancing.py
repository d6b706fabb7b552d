"""When it pays to trade towards a target, and how far: calendars, drifts, events, and the region of no trade. Pure arrays:
`held` and `target` are float64[N] weights, and every answer lies between them, symbol by symbol."""

from collections.abc import Callable
from typing import Final

import numpy as np

from quantd.strategies.weights.sizing import within
from quantd.trading.market import Floats

SHRINK: Final = 0.1
"""Share of a sample covariance that is put back onto its diagonal: with it no mix of symbols looks free of risk."""

SWEEPS: Final = 400
HALVINGS: Final = 60
EXACT: Final = 1e-13


def _months(count: int) -> Callable[[int], int]:
    def period(day: int) -> int:
        return int(np.datetime64(day, "D").astype("datetime64[M]").astype(int)) // count

    return period


PERIODS: Final[dict[str, Callable[[int], int]]] = {
    "day": lambda day: day,
    # weeks begin on a Friday (day 1 of 1970 was one), so the first session of one is the Friday's, or the next there is
    "week": lambda day: (day - 1) // 7,
    "two_weeks": lambda day: (day - 1) // 14,
    "month": _months(1),
    "quarter": _months(3),
    "half_year": _months(6),
    "year": _months(12),
}
"""What a calendar rule calls a period -> the number of the period that a day (since 1970-01-01) is in."""


def drift_of(held: Floats, target: Floats) -> float:
    """The largest difference of a weight."""
    return float(np.abs(held - target).max(initial=0.0))


def reachable(target: Floats, held: Floats, short: Floats) -> Floats:
    """float64[N], `target` less what the last rebalance fell `short` of (float64[N], asked - held): what a limit or a missing
    market keeps from its target is not drift again."""
    gap = target - held
    left = np.where(gap * short > 0.0, np.maximum(np.abs(gap) - np.abs(short), 0.0), np.abs(gap))
    return held + np.sign(gap) * left


def risk_shares(weights: Floats, covariance: Floats) -> Floats:
    """float64[N], each symbol's share of the variance of `weights`, summing to 1; zeros where there is none."""
    each = weights * (covariance @ weights)
    total = float(each.sum())
    return each / total if total > 0.0 else np.zeros_like(each)


def risk_drift_of(held: Floats, target: Floats, covariance: Floats) -> float:
    """The largest difference of a symbol's share of the variance."""
    return drift_of(risk_shares(held, covariance), risk_shares(target, covariance))


def covariance_of(returns: Floats) -> Floats:
    """float64[N, N] a sample, shrunk to its diagonal by SHRINK, of float64[k, N]; zero where a return is missing."""
    known = np.isfinite(returns).all(axis=0) & (len(returns) > 1)
    centred = np.where(known, returns - returns.mean(axis=0), 0.0)
    covariance: Floats = (centred.T @ centred) * ((1.0 - SHRINK) / max(1, len(returns) - 1))
    covariance.reshape(-1)[:: len(covariance) + 1] /= 1.0 - SHRINK
    return covariance


def volatility_ratio(market: Floats, short: int) -> float:
    """How many times as volatile the last `short` returns of the market are as those of float64[k] before them; 0 where
    there are too few, or where they did not move."""
    if len(market) < 3 * short:
        return 0.0
    usual = float(market[:-short].std(ddof=1))
    return float(market[-short:].std(ddof=1)) / usual if usual > 1e-9 else 0.0


def correlation_change(returns: Floats, short: int) -> float:
    """Mean absolute change of the correlation of two symbols, between the last `short` rows of float64[k, N] and those
    before them; over pairs that are known and move in both. 0 where there is no such pair."""
    now, before = returns[-short:], returns[:-short]
    if len(before) < 2 * short:
        return 0.0
    with np.errstate(invalid="ignore"):
        usable = (now.std(axis=0) > 1e-12) & (before.std(axis=0) > 1e-12)  # of a gap it is NaN, which is no movement
    if np.count_nonzero(usable) < 2:
        return 0.0
    change = np.abs(np.corrcoef(now[:, usable].T) - np.corrcoef(before[:, usable].T))
    return float(change[np.triu_indices(len(change), 1)].mean())


def net_cost(weights: Floats, target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float = 0.0) -> float:
    """What a book loses by being at `weights`: half of (w - target)' risk (w - target), the utility lost to not being at
    the target, and what it costs to come there from `held`; fractions of the book."""
    apart, moved = weights - target, np.abs(weights - held)
    return float(0.5 * apart @ risk @ apart + cost @ moved + fixed * np.count_nonzero(moved > EXACT))


def worth_trading(target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float = 0.0) -> Floats:
    """float64[N] weights between `held` and `target` that lose the least (`net_cost`): the region of no trade of
    proportional costs, traded to its boundary and no further.

    `risk` is float64[N, N], risk aversion x covariance over the time the holding is for; `cost` float64[N] what a unit of
    weight traded costs, `fixed` what each trade does. Magill and Constantinides (1976) have the region, Leland (2000) the
    form with a target to track. It is a convex problem in a box: coordinates are set to their minimum in turn, which is
    exact for separable costs (Tseng 2001). What is invested stays between the sums of `held` and `target`, by a price of cash
    that is searched: no cash is borrowed, and none left over that a full rebalance would not leave. With shorts the gross is
    kept below the larger of the two besides, and what that cuts moves the sum. A symbol without risk measured goes to its
    target.
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
    if fixed > 0.0:
        weights = _without_small(weights, target, held, risk, cost, fixed)
    worth = net_cost(weights, target, held, risk, cost, fixed) <= net_cost(held, target, held, risk, cost, fixed)
    return weights if worth else held.copy()


def _at_price(
    solved: Callable[[float, Floats], Floats], weights: Floats, sign: float, fits: Callable[[float], bool]
) -> Floats:
    """The weights at the least price of cash, of this `sign`, at which what is invested fits."""
    low, high = 0.0, 1e-4
    while not fits(float(solved(sign * high, weights).sum())) and high < 1e6:
        low, high = high, 2.0 * high
    fitting = weights = solved(sign * high, weights)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        weights = solved(sign * middle, weights)
        if fits(float(weights.sum())):
            high, fitting = middle, weights  # these, not a later answer to the same price: it may stop elsewhere
        else:
            low = middle
        if high - low < 1e-13:
            break
    return fitting


def _coordinates(target: Floats, held: Floats, risk: Floats, slope: Floats, start: Floats) -> Floats:
    """The minimum of half of d' risk d + slope . w, d = w - target, with each w between held and target."""
    low, high = np.minimum(held, target).tolist(), np.maximum(held, target).tolist()
    apart = start - target
    diagonal, slopes, goal = risk.diagonal().tolist(), slope.tolist(), target.tolist()
    free = [k for k in range(len(goal)) if high[k] > low[k]]
    for _ in range(SWEEPS):
        moved = 0.0
        for k in free:
            own = diagonal[k]
            now = float(apart[k])
            if own > 0.0:
                wish = goal[k] - (float(risk[k] @ apart) - own * now + slopes[k]) / own
            else:
                wish = goal[k] if slopes[k] == 0.0 else low[k] if slopes[k] > 0.0 else high[k]
            new = min(max(wish, low[k]), high[k]) - goal[k]
            if new != now:
                apart[k] = new
                moved = max(moved, abs(new - now))
        if moved < EXACT:
            break
    return target + apart


def _without_small(weights: Floats, target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float) -> Floats:
    """`weights` without the trades that do not earn their fixed cost, the least useful first."""
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
    """float64[N]: the way from `held` to `weights` within the rules, in this order.

    A change of at most `band`, or less than `least`, is not made, except to zero; no weight changes by more than
    `max_change`; of more than `max_trades` changes the largest are made; and all are shortened alike to a turnover (sum
    of absolute changes) of `max_turnover`. Purchases that sales no longer pay for are cut evenly.
    """
    change = weights - held
    size = np.abs(change)
    closes = (weights == 0.0) & (held != 0.0)
    change = np.where(((size > band) & (size >= least)) | closes, change, 0.0)
    change = np.clip(change, -max_change, max_change)
    if np.count_nonzero(change) > max_trades:
        order = np.argsort(-np.abs(change), kind="stable")
        change[order[max_trades:]] = 0.0
    turnover = float(np.abs(change).sum())
    if turnover > max_turnover:
        change = change * (max_turnover / turnover)
    return within(held + change, held, max(float(np.abs(held).sum()), float(np.abs(weights).sum())))
