"""Volume measures, and co-movement with the benchmark. An unknown volume counts as 0."""

import numpy as np

from quantd.strategies.indicators import windows
from quantd.strategies.indicators.averages import Outputs
from quantd.strategies.indicators.bars import BENCHMARK, CLOSE, HIGH, LOW, MEDIAN, RANGE, VOLUME, share
from quantd.strategies.indicators.nodes import (
    absolute,
    change,
    deviation,
    ema,
    growth,
    mean,
    point,
    ratio,
    root,
    sign,
    window,
)


def force(period: int) -> Outputs:
    """Elder's force index (1993): an exponential mean of change times volume."""
    return {"force": ema(change(CLOSE) * VOLUME, period)}


def ease_of_movement(period: int) -> Outputs:
    """Arms (1983): change of the middle price relative to volume, in mean volumes.

    The change of (high + low) / 2 is multiplied by the bar's range, and divided by the volume as a multiple of its mean
    over `period` bars. The result is the mean of these figures.
    """
    return {"ease": mean(ratio(change(MEDIAN) * RANGE, ratio(VOLUME, mean(VOLUME, period))), period)}


def volume_oscillator(fast: int, slow: int) -> Outputs:
    """The distance of two exponential means of the volume, in percent of the slow one.

    The distance is the mean over `fast` bars less the mean over `slow` bars.
    """
    long = ema(VOLUME, slow)
    return {"pvo": 100.0 * ratio(ema(VOLUME, fast) - long, long)}


def signed_volume(period: int) -> Outputs:
    """Volume of rising bars less volume of falling bars, as a fraction of all: windowed on-balance volume."""
    return {"signed_volume": share(sign(change(CLOSE)) * VOLUME, VOLUME, period)}


def illiquidity(period: int) -> Outputs:
    """Amihud (2002): absolute return relative to volume, in mean volumes."""
    return {"illiquidity": mean(ratio(absolute(growth(CLOSE)), ratio(VOLUME, mean(VOLUME, period))), period)}


def price_volume(period: int) -> Outputs:
    """Correlation of returns with changes of volume."""
    moved, traded = growth(CLOSE), growth(VOLUME)
    both = deviation(moved, period) * deviation(traded, period)
    return {"price_volume": ratio(window(windows.COVARIANCE, period, moved, traded), both)}


def high_low_volume(period: int) -> Outputs:
    """Range relative to volume, as a fraction of the price."""
    return {"range_share": mean(ratio(HIGH - LOW, CLOSE), period)}


_OWN, _MARKET = growth(CLOSE), growth(BENCHMARK)  # returns of the instrument and of the benchmark


def beta(period: int) -> Outputs:
    """Slope of returns on the benchmark's, over the instrument's own bars."""
    shared = window(windows.COVARIANCE, period, _OWN, _MARKET)
    return {"beta": ratio(shared, window(windows.VARIANCE, period, _MARKET))}


def correlation(period: int) -> Outputs:
    """Pearson correlation of returns with the benchmark's."""
    shared = window(windows.COVARIANCE, period, _OWN, _MARKET)
    return {"correlation": ratio(shared, deviation(_OWN, period) * deviation(_MARKET, period))}


def residual_volatility(period: int) -> Outputs:
    """Standard deviation of the returns that beta to the benchmark does not explain, per bar."""
    covariance, market_variance = (
        window(windows.COVARIANCE, period, _OWN, _MARKET),
        window(windows.VARIANCE, period, _MARKET),
    )
    variance = window(windows.VARIANCE, period, _OWN)
    explained = ratio(covariance * covariance, market_variance)
    # rounding leaves a residual where beta explains everything, such as for the benchmark itself
    unexplained = point(
        f"unexplained({period})",
        lambda variances, explained_part: np.where(
            variances - explained_part <= windows.STILL * variances, 0.0, variances - explained_part
        ),
        variance,
        explained,
    )
    return {"residual_volatility": root(unexplained)}


def relative_strength(period: int) -> Outputs:
    """Growth less that of the benchmark."""
    return {"relative_strength": growth(CLOSE, period) - growth(BENCHMARK, period)}
