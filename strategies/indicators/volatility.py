"""Volatility measures from closes and from bar ranges, per bar (not annualised)."""

from math import log

import numpy as np

from quantd.strategies.indicators import windows
from quantd.strategies.indicators.averages import Outputs
from quantd.strategies.indicators.bars import CLOSE, HIGH, LOW, OPEN, TRUE_RANGE
from quantd.strategies.indicators.nodes import (
    deviation,
    growth,
    highest,
    lag,
    logarithm,
    mean,
    negative,
    point,
    ratio,
    root,
    squared,
    wilder,
    window,
)


def average_true_range(period: int) -> Outputs:
    """Wilder's average true range (1978)."""
    average = wilder(TRUE_RANGE, period)
    return {"atr": average, "natr": 100.0 * ratio(average, CLOSE)}


def standard_deviation(period: int) -> Outputs:
    """Standard deviation of the closes of a period."""
    return {"stddev": deviation(CLOSE, period)}


def realised(period: int) -> Outputs:
    """Standard deviation (n - 1) of returns, per bar."""
    return {"volatility": deviation(growth(CLOSE), period, 1)}


def downside(period: int) -> Outputs:
    """Root mean square of the losses, per bar."""
    return {"downside": root(mean(squared(negative(growth(CLOSE))), period))}


def ewma(period: int) -> Outputs:
    """Root of Wilder's mean of squared returns."""
    return {"ewma_volatility": root(wilder(squared(growth(CLOSE)), period))}


_HL = squared(logarithm(ratio(HIGH, LOW)))  # squared log range
_CO = logarithm(ratio(CLOSE, OPEN))  # log return from open to close


def parkinson(period: int) -> Outputs:
    """Parkinson's range volatility (1980)."""
    return {"parkinson": root(mean(_HL, period) * (1.0 / (4.0 * log(2.0))))}


def garman_klass(period: int) -> Outputs:
    """Range volatility of Garman and Klass (1980)."""
    return {"garman_klass": root(mean(0.5 * _HL - (2.0 * log(2.0) - 1.0) * squared(_CO), period))}


_ROGERS = logarithm(ratio(HIGH, CLOSE)) * logarithm(ratio(HIGH, OPEN)) + logarithm(ratio(LOW, CLOSE)) * logarithm(
    ratio(LOW, OPEN)
)


def rogers_satchell(period: int) -> Outputs:
    """Rogers and Satchell (1991): unbiased for a price with a drift.

    The volatility per bar is estimated from open, high, low and close of `period` bars.
    """
    return {"rogers_satchell": root(mean(_ROGERS, period))}


def yang_zhang(period: int) -> Outputs:
    """Yang and Zhang (2000): overnight, open-to-close and range variance combined, with the authors' weight k."""
    k = 0.34 / (1.34 + (period + 1.0) / (period - 1.0))
    night = window(windows.SAMPLE_VARIANCE, period, logarithm(ratio(OPEN, lag(CLOSE, 1))))
    day = window(windows.SAMPLE_VARIANCE, period, _CO)
    return {"yang_zhang": root(night + k * day + (1.0 - k) * mean(_ROGERS, period))}


def ulcer(period: int) -> Outputs:
    """Martin (1987): root mean square of the falls from the window's high, in percent."""
    return {"ulcer": root(mean(squared(100.0 * (ratio(CLOSE, highest(CLOSE, period)) - 1.0)), period))}


def drawdown(period: int) -> Outputs:
    """The deepest fall inside the window, at most 0, and the close relative to the window's high."""
    return {
        "max_drawdown": window(windows.DRAWDOWN, period, CLOSE),
        "drawdown": ratio(CLOSE, highest(CLOSE, period)) - 1.0,
    }


def shape(period: int) -> Outputs:
    """Skewness and kurtosis (3 is normal) of returns."""
    return {
        "skewness": window(windows.SKEWNESS, period, growth(CLOSE)),
        "kurtosis": window(windows.KURTOSIS, period, growth(CLOSE)),
    }


def autocorrelation(period: int) -> Outputs:
    """Correlation of returns with the returns of the previous bar."""
    now, before = growth(CLOSE), lag(growth(CLOSE), 1)
    both = deviation(now, period) * deviation(before, period)
    return {"autocorrelation": ratio(window(windows.COVARIANCE, period, now, before), both)}


def sharpe(period: int) -> Outputs:
    """Mean return over its standard deviation (n - 1), per bar, without a risk-free rate."""
    return {"sharpe": ratio(mean(growth(CLOSE), period), deviation(growth(CLOSE), period, 1))}


def gap(period: int) -> Outputs:
    """Mean absolute gap from close to open, as a fraction."""
    return {"gap": mean(point("gap", lambda o, c: np.abs(o / c - 1.0), OPEN, lag(CLOSE, 1)), period)}
