"""Figures of a factor: information coefficients, quantile returns, and the spread of a staggered portfolio after costs.

Sources: Grinold & Kahn 2000 (information coefficient), Newey & West 1987 (overlapping returns), Jegadeesh & Titman 1993
(staggered portfolios).
"""

from bisect import bisect_left, bisect_right, insort
from math import erfc, isfinite, sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.significance.long_run import long_run_error
from quantd.research.significance.sharpe_intervals import MIN_SAMPLES, Interval
from quantd.trading.bootstrap import STATIONARY_SEED, index_chunks, stationary_length
from quantd.trading.market import Floats, Ints

FEWEST: Final = 5
"""Minimum number of symbols of a cross-section; for fewer, a factor is measured over time."""

PAST: Final = 63
"""Minimum number of past values that rank a value over time."""

RESAMPLES: Final = 1_000

ZERO: Final = 1e-12
"""A coefficient up to this is rounding, and not positive."""


class Charges(Struct, frozen=True):
    """Costs of the long-short spread, as fractions.

    `rate` is the cost of trading per value traded, `borrow_annual` the borrow fee of a year per value sold short.
    `periods` is the number of samples a year.
    """

    rate: float
    borrow_annual: float
    periods: float


class Spread(Struct, frozen=True):
    """The return of the top quantile less the bottom quantile's, per year, for one unit of capital on each side.

    `low` and `high` are the 95 % interval of `annual`, None for too few samples. `turnover_annual` is the value traded
    on both sides. `break_even_bp` is the trading cost, in basis points of traded value, at which the profit is 0; it is
    None where there is no profit before costs. `net_annual` and `net_sharpe` are after costs.
    """

    annual: float
    low: float | None
    high: float | None
    turnover_annual: float
    break_even_bp: float | None
    net_annual: float
    net_sharpe: float


class Horizon(Struct, frozen=True):
    """The figures of a factor at one horizon, in samples.

    `rank_ic` and `pearson_ic` are mean information coefficients. `count` is the number of coefficients, `deviation`
    their standard deviation, and `ir` is `rank_ic` divided by `deviation`. `t` uses the standard error of Newey-West
    with horizon - 1 lags, `p` the larger of this error and Andrews' error. `positive` is the share of positive rank
    coefficients. `decay` is `rank_ic` divided by the `rank_ic` of the first horizon. `quantiles` are the mean annual
    returns of the quantiles, from the lowest values of the factor up. `autocorrelation` is the rank correlation of the
    factor's values with its values one horizon later.
    """

    horizon: int
    count: int
    rank_ic: float
    pearson_ic: float
    deviation: float
    ir: float
    t: float
    p: float
    positive: float
    decay: float
    quantiles: tuple[float, ...]
    autocorrelation: float
    spread: Spread


def ranked(values: Floats, axis: int) -> Floats:
    """Return the ranks of the finite values along an axis, in the shape of `values`: ties averaged, NaN elsewhere."""
    from scipy.stats import rankdata  # imported here, because it takes a tenth of a second, which only factors need

    ranks: Floats = rankdata(values, axis=axis, nan_policy="omit")
    return np.where(np.isfinite(values), ranks, np.nan)


def correlations(first: Floats, second: Floats, axis: int, fewest: int) -> Floats:
    """Return the Pearson correlation of the pairs along `axis`, in the shape of the arrays without that axis.

    The correlation is NaN for fewer than `fewest` pairs, and where one side is constant.
    """
    products = _standardised(first, second, axis, fewest)
    is_finite = np.isfinite(products)
    count = is_finite.sum(axis=axis)
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, np.where(is_finite, products, 0.0).sum(axis=axis) / np.maximum(count, 1), np.nan)


def _standardised(first: Floats, second: Floats, axis: int, fewest: int) -> Floats:
    """Return the products of the standardised values of each pair; their mean along the axis is the correlation."""
    paired = np.isfinite(first) & np.isfinite(second)
    count = paired.sum(axis=axis, keepdims=True)
    scores = []
    for side in (first, second):
        paired_values = np.where(paired, side, 0.0)
        deviations = np.where(
            paired, paired_values - paired_values.sum(axis=axis, keepdims=True) / np.maximum(count, 1), 0.0
        )
        variance = (deviations * deviations).sum(axis=axis, keepdims=True) / np.maximum(count, 1)
        # a side that varies by rounding only is constant
        scale = np.abs(paired_values).max(axis=axis, keepdims=True, initial=0.0)
        varies = (variance > (1e-12 * scale) ** 2) & (count >= fewest)
        scores.append(np.where(varies, deviations / np.sqrt(np.where(varies, variance, 1.0)), np.nan))
    return np.where(paired, scores[0] * scores[1], np.nan)


def rank_correlations(left_values: Floats, right_values: Floats, axis: int, fewest: int) -> Floats:
    """Return Spearman's correlation of the pairs along `axis`, in the shape of the arrays without that axis."""
    paired = np.isfinite(left_values) & np.isfinite(right_values)
    first, second = (ranked(np.where(paired, side, np.nan), axis) for side in (left_values, right_values))
    return correlations(first, second, axis, fewest)


def newey_west_error(series: Floats, lags: int) -> float:
    """Return the standard error of the mean of a series with Bartlett weights (Newey & West 1987). The variance is
    multiplied by T / (T - 1)."""
    count = len(series)
    if count < 2:
        return float("nan")
    deviations = series - series.mean()
    variance = float(deviations @ deviations)
    for lag in range(1, min(lags, count - 1) + 1):
        variance += 2.0 * (1.0 - lag / (lags + 1.0)) * float(deviations[lag:] @ deviations[:-lag])
    return sqrt(max(variance, 0.0) / (count * (count - 1)))


def forward_returns(wealth: Floats, worth: Floats, horizon: int) -> Floats:
    """Return the returns float64[T, N] of N symbols from the fill of a decision at each row to the fill of a decision
    `horizon` rows later.

    A return is NaN without the first fill, and where the later row has neither a fill nor a delisting payment. `wealth`
    is the price of fills with splits and dividends reinvested. `worth` is `wealth` carried over rows without a fill;
    from a delisting on, it is the delisting payment.
    """
    returns = np.full_like(wealth, np.nan)
    later = np.where(np.isfinite(wealth), wealth, _delisting_payments(wealth, worth))[horizon:]
    with np.errstate(divide="ignore", invalid="ignore"):
        returns[:-horizon] = later / wealth[:-horizon] - 1.0
    return returns


def _delisting_payments(wealth: Floats, worth: Floats) -> Floats:
    """Return float64[T, N]: `worth` from a delisting on, NaN elsewhere. A delisting shows in `worth`: the value differs
    from `wealth` at the last fill."""
    rows = np.arange(len(wealth))[:, None]
    last_fill = np.maximum.accumulate(np.where(np.isfinite(wealth), rows, -1), axis=0)
    last_fill_wealth = np.where(last_fill >= 0, np.take_along_axis(wealth, np.maximum(last_fill, 0), axis=0), np.nan)
    return np.where(worth != last_fill_wealth, worth, np.nan)


def cross_buckets(values: Floats, quantiles: int) -> Ints:
    """Return int64[T, N], the quantile from 0 of each value in its row, as pandas.qcut assigns it; -1 without a value
    or with fewer than FEWEST values in the row.

    Equal values share a quantile.
    """
    count = np.isfinite(values).sum(axis=1, keepdims=True)
    position = (ranked(values, 1) - 1.0) * quantiles / np.maximum(count - 1, 1)
    # less 1e-9, so that rounding does not lift a value at an edge into the next quantile
    buckets = np.maximum(np.ceil(position - 1e-9) - 1.0, 0.0)
    return np.where(np.isfinite(values) & (count >= FEWEST), buckets, -1.0).astype(np.int64)


def time_buckets(values: Floats, quantiles: int) -> Ints:
    """Return int64[T, N], the quantile from 0 of each value among the symbol's values up to that row; -1 for a symbol's
    first PAST values."""
    buckets = np.full(values.shape, -1, dtype=np.int64)
    for symbol in range(values.shape[1]):
        past: list[float] = []
        for row, value in enumerate(values[:, symbol].tolist()):
            if not isfinite(value):
                continue
            insort(past, value)
            if len(past) > PAST:
                mid_rank = (bisect_left(past, value) + bisect_right(past, value)) / 2.0
                buckets[row, symbol] = min(int(mid_rank / len(past) * quantiles), quantiles - 1)
    return buckets


def bucket_returns(buckets: Ints, returns: Floats, quantiles: int, *, over_time: bool) -> tuple[float, ...]:
    """Return the mean return of each quantile.

    In a cross-section this is the mean over rows (samples) of the row means; if `over_time`, the mean of all returns.
    """
    quantile_means = []
    for quantile in range(quantiles):
        in_quantile = np.where(buckets == quantile, returns, np.nan)
        is_finite = np.isfinite(in_quantile)
        if over_time:
            quantile_means.append(float(in_quantile[is_finite].mean()) if is_finite.any() else float("nan"))
            continue
        rows = is_finite.any(axis=1)
        means = np.where(is_finite, in_quantile, 0.0)[rows].sum(axis=1) / is_finite[rows].sum(axis=1)
        quantile_means.append(float(means.mean()) if len(means) else float("nan"))
    return tuple(quantile_means)


def leg_weights(buckets: Ints, quantiles: int, *, over_time: bool) -> Floats:
    """Return float64[T, N]: equal weights that add up to 1 in the top quantile and to -1 in the bottom one.

    A row with only one of the two sides has weights of 0. If `over_time`, each symbol has the weight 1 / N, positive in
    its top quantile and negative in its bottom one.
    """
    top, bottom = buckets == quantiles - 1, buckets == 0
    if over_time:
        return (top * 1.0 - bottom) / buckets.shape[1]
    tops, bottoms = top.sum(axis=1, keepdims=True), bottom.sum(axis=1, keepdims=True)
    both_sides = (tops > 0) & (bottoms > 0)
    return np.where(both_sides, top / np.maximum(tops, 1) - bottom / np.maximum(bottoms, 1), 0.0)


def spread_of(weights: Floats, wealth: Floats, worth: Floats, horizon: int, charges: Charges) -> Spread:
    """Return the spread of `horizon` staggered portfolios: at each row one portfolio is set to `weights` float64[T, N],
    and the remaining portfolios drift with prices.

    An order for a symbol without a next open does not fill. Costs are charged on the value traded from the drifted
    portfolio to the new one. `wealth` is the price of fills with splits and dividends reinvested, `worth` is `wealth`
    carried over rows without a fill.
    """
    filled = np.isfinite(wealth) & (wealth > 0.0)
    units = np.where(filled, weights / np.where(filled, wealth, 1.0), 0.0) / horizon
    value = np.where(np.isfinite(worth), worth, 0.0)
    # each row replaces the portfolio that was set `horizon` rows before
    replaced_units = np.vstack([np.zeros((horizon, units.shape[1])), units[:-horizon]])[: len(units)]
    total_units = np.cumsum(units - replaced_units, axis=0)
    value_changes = np.diff(value, axis=0, append=value[-1:])
    profit = (total_units * value_changes).sum(axis=1)[:-1]
    traded = np.abs((units - replaced_units) * value).sum(axis=1)[:-1]
    short_value = np.maximum(-total_units * value, 0.0).sum(axis=1)[:-1]
    traded_rows = np.flatnonzero(traded > 0.0)
    if not len(traded_rows):
        # nothing was traded: no interval, and no break-even cost
        return Spread(0.0, None, None, 0.0, None, 0.0, 0.0)
    profit, traded, short_value = (series[traded_rows[0] :] for series in (profit, traded, short_value))
    periods = charges.periods
    net = profit - charges.rate * traded - charges.borrow_annual / periods * short_value
    annual, turnover = float(profit.mean()) * periods, float(traded.mean()) * periods
    # after borrow fees and before the costs of trading: what a break-even cost may take
    earned = annual - charges.borrow_annual * float(short_value.mean())
    interval = None
    if len(profit) >= MIN_SAMPLES and float(profit.std()) > 0.0:
        length = max(float(horizon), stationary_length(profit))
        chunks = index_chunks(len(profit), length, RESAMPLES, np.random.default_rng(STATIONARY_SEED))
        interval = Interval.of_resamples(np.concatenate([profit[indices].mean(axis=1) for _, indices in chunks]))
    deviation = float(net.std(ddof=1)) if len(net) > 1 else 0.0
    return Spread(
        annual=annual,
        low=None if interval is None else interval.low * periods,
        high=None if interval is None else interval.high * periods,
        turnover_annual=turnover,
        break_even_bp=earned / turnover * 1e4 if earned > 0.0 else None,
        net_annual=float(net.mean()) * periods,
        net_sharpe=float(net.mean()) / deviation * sqrt(periods) if deviation > 1e-15 else 0.0,
    )


def coefficients(values: Floats, returns: Floats, *, over_time: bool) -> tuple[Floats, Floats, Floats]:
    """Return the rank coefficients, the Pearson coefficients, and the series whose mean is tested.

    In a cross-section (not `over_time`) there is a coefficient for each row, and the rank coefficients are tested. Over
    time there is a coefficient for each symbol, and the tested series has a value for each row: the mean product of
    standardised ranks. Its mean over all rows is about the mean coefficient.
    """
    axis, fewest = (0, PAST) if over_time else (1, FEWEST)
    rank, pearson = (correlation(values, returns, axis, fewest) for correlation in (rank_correlations, correlations))
    rank, pearson = rank[np.isfinite(rank)], pearson[np.isfinite(pearson)]
    if not over_time:
        return rank, pearson, rank
    paired = np.isfinite(values) & np.isfinite(returns)
    first, second = (ranked(np.where(paired, side, np.nan), 0) for side in (values, returns))
    products = _standardised(first, second, 0, fewest)
    is_finite = np.isfinite(products)
    rows = is_finite.any(axis=1)
    return rank, pearson, np.where(is_finite, products, 0.0)[rows].sum(axis=1) / is_finite[rows].sum(axis=1)


def horizon_of(
    values: Floats, wealth: Floats, worth: Floats, horizon: int, quantiles: int, charges: Charges, *, over_time: bool
) -> Horizon:
    """Return the figures of factor values float64[T, N] at one horizon.

    The field `decay` is set to 1. The caller sets its true value, which needs the figures of the first horizon.
    """
    returns = forward_returns(wealth, worth, horizon)
    rank, pearson, tested = coefficients(values, returns, over_time=over_time)
    buckets = (time_buckets if over_time else cross_buckets)(values, quantiles)
    scale = charges.periods / horizon
    means = bucket_returns(buckets, returns, quantiles, over_time=over_time)
    later = np.full_like(values, np.nan)
    later[:-horizon] = values[horizon:]
    axis, fewest = (0, PAST) if over_time else (1, FEWEST)
    rank_autocorrelations = rank_correlations(values, later, axis, fewest)
    rank_autocorrelations = rank_autocorrelations[np.isfinite(rank_autocorrelations)]
    mean = float(rank.mean()) if len(rank) else float("nan")
    deviation = float(tested.std(ddof=1)) if len(tested) > 1 else float("nan")
    error = newey_west_error(tested, horizon - 1)
    # with too few samples nothing is shown: p stays 1
    t, p = mean / error if error > 0.0 else float("nan"), 1.0
    if len(tested) >= MIN_SAMPLES and error > 0.0:
        robust = long_run_error((tested - tested.mean())[:, None], np.ones(1), "quadratic_spectral", prewhiten=False)
        p = erfc(abs(mean) / max(error, robust.error) / sqrt(2.0))
    return Horizon(
        horizon=horizon,
        count=len(tested),
        rank_ic=mean,
        pearson_ic=float(pearson.mean()) if len(pearson) else float("nan"),
        deviation=deviation,
        ir=mean / deviation if deviation > 0.0 else float("nan"),
        t=t,
        p=p,
        positive=float((rank > ZERO).mean()) if len(rank) else float("nan"),
        decay=1.0,
        quantiles=tuple(quantile_mean * scale for quantile_mean in means),
        autocorrelation=float(rank_autocorrelations.mean()) if len(rank_autocorrelations) else float("nan"),
        spread=spread_of(leg_weights(buckets, quantiles, over_time=over_time), wealth, worth, horizon, charges),
    )
