"""Rules for when and how far to trade towards a target: calendars, drifts, events, and the no-trade region.

What can go wrong: cash stays idle, a debt arises, or the rules trade each day for a target that cannot be reached. With
costs a trade ends at the boundary of the no-trade region, where sales may not pay for purchases. So the code searches
for a price of cash (a cost added to each unit of invested weight) at which the invested sum is as required. A shortfall
of the last rebalance does not count as drift. With short positions, reducing the gross (the sum of absolute weights)
could give a worse book than `held` or `target`; the least costly of the three books is returned.

Pure functions of arrays: `held` and `target` are float64[N] weights, and every result lies between them, symbol by
symbol.
"""

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np

from quantd.strategies.weights.sizing_rules import within
from quantd.trading.market import Floats

SHRINK: Final = 0.1
"""Weight of the diagonal in the covariance's shrinkage, so that no combination of symbols appears riskless."""

SWEEPS: Final = 400
"""Maximum number of passes over all symbols in the coordinate descent."""

HALVINGS: Final = 60
"""Maximum number of halvings in the search for the price of cash."""

EXACT: Final = 1e-13
"""Change of a weight that counts as zero."""


def _period_of_months(count: int) -> Callable[[int], int]:
    """Return a function from a day (since 1970-01-01) to the number of its period of `count` months."""

    @cache
    def period(day: int) -> int:
        return int(np.datetime64(day, "D").astype("datetime64[M]").astype(int)) // count

    return period


PERIODS: Final[dict[str, Callable[[int], int]]] = {
    "day": lambda day: day,
    # Weeks begin on a Friday (day 1 of 1970 was one). The first session of a week is thus Friday's, or the next one.
    "week": lambda day: (day - 1) // 7,
    "two_weeks": lambda day: (day - 1) // 14,
    "month": _period_of_months(1),
    "quarter": _period_of_months(3),
    "half_year": _period_of_months(6),
    "year": _period_of_months(12),
}
"""Calendar period of a rule -> function from a day (since 1970-01-01) to its period number."""


def drift_of(held: Floats, target: Floats) -> float:
    """Return the largest absolute difference between a weight held and its target."""
    return float(np.abs(held - target).max(initial=0.0))


def reachable(target: Floats, held: Floats, short: Floats) -> Floats:
    """Return float64[N], `target` moved towards `held` by the shortfall `short` of the last rebalance.

    `short` is float64[N], the weights requested at that rebalance less the weights held after it. So a trade that a
    limit or a closed market prevented does not count as drift again.
    """
    gap = target - held
    distance = np.where(gap * short > 0.0, np.maximum(np.abs(gap) - np.abs(short), 0.0), np.abs(gap))
    return held + np.sign(gap) * distance


def risk_shares(weights: Floats, covariance: Floats) -> Floats:
    """Return float64[N], each symbol's share of the variance of `weights`, summing to 1; zeros without variance."""
    contributions = weights * (covariance @ weights)
    total = float(contributions.sum())
    return contributions / total if total > 0.0 else np.zeros_like(contributions)


def risk_drift_of(held: Floats, target: Floats, covariance: Floats) -> float:
    """Return the largest absolute difference between a symbol's shares of the variance of `held` and of `target`."""
    return drift_of(risk_shares(held, covariance), risk_shares(target, covariance))


def covariance_of(returns: Floats) -> Floats:
    """Return the covariance float64[N, N] per sample of `returns` float64[k, N], shrunk towards its diagonal by SHRINK.

    Entries of a symbol with a missing return are zero.
    """
    complete = np.isfinite(returns).all(axis=0) & (len(returns) > 1)
    centred = np.where(complete, returns - returns.mean(axis=0), 0.0)
    covariance: Floats = (centred.T @ centred) * ((1.0 - SHRINK) / max(1, len(returns) - 1))
    covariance.reshape(-1)[:: len(covariance) + 1] /= 1.0 - SHRINK  # the diagonal is not shrunk
    return covariance


def volatility_ratio(market: Floats, short: int) -> float:
    """Return the volatility of the last `short` of the returns `market` over the volatility of the earlier ones.

    The ratio is 0 for fewer than 3 x `short` returns, and for earlier returns that do not vary.
    """
    if len(market) < 3 * short:
        return 0.0
    usual = float(market[:-short].std(ddof=1))
    return float(market[-short:].std(ddof=1)) / usual if usual > 1e-9 else 0.0


def correlation_change(returns: Floats, short: int) -> float:
    """Return the mean absolute change of pairwise correlations, between the last `short` rows of float64[k, N] and the
    earlier ones.

    The mean covers pairs of symbols with known, varying returns in both parts, and is 0 without such a pair, and also
    where the earlier rows are fewer than twice `short`.
    """
    newest, earlier = returns[-short:], returns[:-short]
    if len(earlier) < 2 * short:
        return 0.0
    with np.errstate(invalid="ignore"):
        usable = (newest.std(axis=0) > 1e-12) & (
            earlier.std(axis=0) > 1e-12
        )  # a gap gives NaN, which compares as constant
    if np.count_nonzero(usable) < 2:
        return 0.0
    change = np.abs(np.corrcoef(newest[:, usable].T) - np.corrcoef(earlier[:, usable].T))
    return float(change[np.triu_indices(len(change), 1)].mean())


def net_cost(weights: Floats, target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float = 0.0) -> float:
    """Return the total loss of a book at `weights`, as a fraction of the book.

    The loss is the utility lost by the distance from the target, half of (w - target)' risk (w - target), plus the cost
    of trading from `held` to w. `risk` is float64[N, N], risk aversion x covariance over the holding period. `cost`
    float64[N] is the cost per unit of weight traded, and `fixed` the cost of one trade.
    """
    gap, moved = weights - target, np.abs(weights - held)
    return float(0.5 * gap @ risk @ gap + cost @ moved + fixed * np.count_nonzero(moved > EXACT))


def worth_trading(target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float = 0.0) -> Floats:
    """Return the weights float64[N] between `held` and `target` with the smallest loss (`net_cost`).

    This is the no-trade region of proportional costs: trades go to its boundary and no further. `risk` is float64[N,
    N], risk aversion x covariance over the holding period. `cost` float64[N] is the cost per unit of weight traded,
    `fixed` the cost per trade. Sources: Magill and Constantinides (1976) for the region, Leland (2000) for the form
    with a target to track. The convex problem in a box is solved by coordinate descent, which is exact for separable
    costs (Tseng 2001). The invested sum stays between the sums of `held` and `target`, by a search for a price of cash
    (a cost added to each unit of invested weight). Thus no cash is borrowed, and none remains that a full rebalance
    would invest. With short positions the gross (the sum of absolute weights) is also reduced to the larger gross of
    `held` and `target`, which may change the sum. A symbol without measured risk goes to its target.
    """
    direction = np.sign(target - held)
    cost = np.where(risk.diagonal() > 0.0, cost, 0.0)
    smallest_sum, largest_sum = sorted((float(held.sum()), float(target.sum())))

    def solved(price: float, start: Floats) -> Floats:
        # a positive price makes purchases dearer and sales cheaper
        return _minimum_by_coordinates(target, held, risk, direction * cost + price, start)

    weights = solved(0.0, target)
    invested = float(weights.sum())
    if invested > largest_sum + EXACT:
        weights = _at_smallest_price(solved, weights, 1.0, lambda invested: invested <= largest_sum)
    elif invested < smallest_sum - EXACT:
        weights = _at_smallest_price(solved, weights, -1.0, lambda invested: invested >= smallest_sum)
    weights = within(weights, held, max(float(np.abs(held).sum()), float(np.abs(target).sum())))
    # after the sum is right: a trade that does not earn its fixed cost is judged at its final size
    if fixed > 0.0:
        weights = _without_small(weights, target, held, risk, cost, fixed)
    # the cut of the gross may leave a book with shorts worse than at either end
    return min(
        weights, held.copy(), target.copy(), key=lambda candidate: net_cost(candidate, target, held, risk, cost, fixed)
    )


def _at_smallest_price(
    solved: Callable[[float, Floats], Floats], weights: Floats, sign: float, fits: Callable[[float], bool]
) -> Floats:
    """Return the weights at the price of cash nearest to 0, with this `sign`, at which `fits` accepts the invested sum.

    The price of cash is a cost added to each unit of invested weight: with `sign` 1 less is invested, with -1 more.
    `solved` returns the weights at a price, from a starting point. The price is doubled until the sum fits, then the
    interval is halved.
    """
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


def _minimum_by_coordinates(target: Floats, held: Floats, risk: Floats, slope: Floats, start: Floats) -> Floats:
    """Return float64[N], the w with the smallest d' risk d / 2 + slope . w, where d = w - target.

    Each weight stays between `held` and `target`. The search begins at `start`.
    """
    low, high = np.minimum(held, target).tolist(), np.maximum(held, target).tolist()
    gap = start - target
    diagonal, slopes, target_list = risk.diagonal().tolist(), slope.tolist(), target.tolist()
    free = [k for k in range(len(target_list)) if high[k] > low[k]]
    for _ in range(SWEEPS):
        largest_move = 0.0
        for k in free:
            variance = diagonal[k]
            old_gap = float(gap[k])
            # the minimum along this coordinate; without variance the slope alone decides
            if variance > 0.0:
                best_weight = target_list[k] - (float(risk[k] @ gap) - variance * old_gap + slopes[k]) / variance
            else:
                best_weight = target_list[k] if slopes[k] == 0.0 else low[k] if slopes[k] > 0.0 else high[k]
            new_gap = min(max(best_weight, low[k]), high[k]) - target_list[k]
            if new_gap != old_gap:
                gap[k] = new_gap
                largest_move = max(largest_move, abs(new_gap - old_gap))
        if largest_move < EXACT:
            break
    return target + gap


def _without_small(weights: Floats, target: Floats, held: Floats, risk: Floats, cost: Floats, fixed: float) -> Floats:
    """Return `weights` without the trades that do not recover their fixed cost, the least useful removed first.

    A trade is the change of one symbol from `held`; `fixed` is the cost of one trade. `risk` is risk aversion x
    covariance, and `cost` the cost per unit of weight traded.
    """
    weights = weights.copy()
    while True:
        current_cost = net_cost(weights, target, held, risk, cost, fixed)
        gains = []
        for k in np.flatnonzero(np.abs(weights - held) > EXACT).tolist():
            without = weights.copy()
            without[k] = held[k]
            # a sale that is left out needs cash, which must be there
            if float(without.sum()) <= max(float(weights.sum()), float(held.sum())) + EXACT:
                gains.append((net_cost(without, target, held, risk, cost, fixed) - current_cost, k))
        if not gains or min(gains)[0] >= 0.0:
            return weights
        _, least_useful = min(gains)
        weights[least_useful] = held[least_useful]


def limited(
    weights: Floats, held: Floats, *, band: float, max_change: float, max_trades: int, max_turnover: float, least: float
) -> Floats:
    """Return float64[N], weights with the change from `held` to `weights` limited by these rules, in this order.

    A change of at most `band`, or of less than `least`, is omitted; a change that closes a position is kept. No weight
    changes by more than `max_change`. Of more than `max_trades` changes only the largest remain. All changes are scaled
    down to a turnover (sum of absolute changes) of `max_turnover`. Purchases that sales no longer fund are reduced
    proportionally.
    """
    change = weights - held
    change_size = np.abs(change)
    closes = (weights == 0.0) & (held != 0.0)
    change = np.where(((change_size > band) & (change_size >= least)) | closes, change, 0.0)
    change = np.clip(change, -max_change, max_change)
    if np.count_nonzero(change) > max_trades:
        change[np.argsort(-np.abs(change), kind="stable")[max_trades:]] = 0.0
    turnover = float(np.abs(change).sum())
    if turnover > max_turnover:
        change = change * (max_turnover / turnover)
    return within(held + change, held, max(float(np.abs(held).sum()), float(np.abs(weights).sum())))
