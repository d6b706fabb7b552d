"""The circular block bootstrap of paired returns, without a random number of its own: what is drawn follows from a key.

Blocks of neighbouring samples, wrapped around the end, are drawn with replacement (D. Politis and J. Romano, 1992, 1994), the
same ones of both series, so that a resample keeps what depends within a block and between the two.
"""

from hashlib import shake_128
from math import ceil, log10, sqrt
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.trading.market import Floats, Ints
from quantd.trading.statistics import RiskFree

MOST_DRAWN: Final = 1 << 22
"""Block starts of one test at most: of very long series blocks are made longer, which loses nothing there."""

Measure = Literal["sharpe", "mean"]


class Gain(Struct, frozen=True):
    """What one series of returns has more of a measure than another, a year; `p` is the chance of so much or more, by its
    standard error, if it had none; `block` the samples that stayed together."""

    value: float
    p: float
    block: int


def drawn(key: bytes, below: int, rows: int, columns: int) -> Ints:
    """int64[rows, columns] from 0 to below - 1, uniform, the same for a key wherever and whenever it is asked."""
    found = np.frombuffer(shake_128(key).digest(8 * rows * columns), dtype="<u8") % np.uint64(below)
    return found.astype(np.int64).reshape(rows, columns)


def paired_gain(
    own: Floats,
    other: Floats,
    *,
    measure: Measure,
    periods: float,
    risk_free_annual: RiskFree,
    key: bytes,
    resamples: int,
    block: int = 0,
) -> Gain:
    """What simple returns float64[T] `own` have more than `other` of the Sharpe ratio or of the mean, with a one-sided test.

    The bootstrap of the difference over its standard error, of O. Ledoit and M. Wolf, Robust performance hypothesis testing with
    the Sharpe ratio (2008); standard errors from sums over blocks, in the sample from all of them. `block` 0: see
    `block_length`. Series that do not differ have p = 1. ValueError for two lengths.
    """
    if len(own) != len(other):
        raise ValueError(f"paired series have one length, not {len(own)} and {len(other)}")
    n, scale = len(own), sqrt(periods) if measure == "sharpe" else periods
    pair = [own - risk_free_annual / periods, other - risk_free_annual / periods]
    if measure == "sharpe":
        psi = influence(pair[0]) - influence(pair[1])
        value = _of_sample(pair[0]) - _of_sample(pair[1])
    else:
        psi = pair[0] - pair[1]
        value = float(psi.mean())
        psi = psi - value
    length = min(block or block_length(psi), max(1, n // 2))
    error = _error(block_sums(running_sums(psi, length)[1], np.arange(n)[:, None], length, length), length, n)
    if not error > 1e-12:
        return Gain(value * scale, 1.0, length)
    count = ceil(n / length)
    length += max(0, ceil(n / (MOST_DRAWN // resamples)) - length)
    starts = drawn(key, n, resamples, ceil(n / length))
    count = starts.shape[1]
    apart, errors = _resampled_gain(pair, starts, length, count, measure)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(errors > 1e-12, (apart - value) / errors, np.inf)
    p = (1 + int((ratios >= value / error).sum())) / (resamples + 1)
    return Gain(value * scale, p, length)


def _of_sample(excess: Floats) -> float:
    """Mean over standard deviation; 0 of returns that do not vary."""
    deviation = float(excess.std())
    return float(excess.mean()) / deviation if deviation > 1e-15 else 0.0


def _error(sums: Floats, block: int, n: int) -> float:
    """Standard error of a mean of n, from sums over blocks of its influences."""
    return sqrt(float((sums * sums).mean()) / block / n)


def _resampled_gain(
    pair: list[Floats], starts: Ints, block: int, count: int, measure: Measure
) -> tuple[Floats, Floats]:
    """(difference, its standard error), both float64[resamples], from sums over the blocks drawn."""
    m = count * block
    parts: list[Floats] = []
    values: list[Floats] = []
    for each in pair:
        centre, linear, square = running_sums(each, block)
        one = linear[starts + block] - linear[starts]
        mean = one.sum(axis=1) / m
        if measure == "mean":
            values.append(mean + centre)
            parts.append(one - block * mean[:, None])
            continue
        two = square[starts + block] - square[starts]
        variance = np.maximum(two.sum(axis=1) / m - mean * mean, 1e-30)
        deviation = np.sqrt(variance)
        ratio = (mean + centre) / deviation
        values.append(ratio)
        # sums over a block of z, and of z^2, in the resample's own moments
        z = (one - block * mean[:, None]) / deviation[:, None]
        zz = (two - 2.0 * mean[:, None] * one + block * (mean * mean)[:, None]) / variance[:, None]
        parts.append(z - 0.5 * ratio[:, None] * (zz - block))
    apart = parts[0] - parts[1]
    errors = np.sqrt((apart * apart).mean(axis=1) / block / m)
    return values[0] - values[1], errors


def influence(returns: Floats) -> Floats:
    """float64[T]: what each return contributes to the Sharpe ratio, whose error is the mean of these to first order.

    z - S (z^2 - 1) / 2 with z the standardised returns and S the ratio a sample (Lo 2002, by the delta method).
    Zeros where returns do not vary.
    """
    deviation = float(returns.std())
    if deviation <= 1e-15:
        return np.zeros_like(returns)
    mean = float(returns.mean())
    z = (returns - mean) / deviation
    return z - 0.5 * (mean / deviation) * (z * z - 1.0)


def block_length(series: Floats) -> int:
    """Optimal block of the circular bootstrap of the mean of float64[T], in samples; 1 where nothing depends on the past.

    Flat-top lag window; the bandwidth is twice the last lag before a run of insignificant autocorrelations.
    """
    n = len(series)
    deviations = series - series.mean()
    run = max(5, ceil(sqrt(log10(n))))
    lags = ceil(sqrt(n)) + run
    covariances = np.array([deviations[: n - k] @ deviations[k:] for k in range(min(lags, n - 1) + 1)]) / n
    if covariances[0] <= 1e-30:
        return 1
    significant = np.abs(covariances[1:] / covariances[0]) >= 2.0 * sqrt(log10(n) / n)
    bandwidth = min(2 * max(1, _last_before_quiet(significant, run)), len(covariances) - 1)
    k = np.arange(-bandwidth, bandwidth + 1)
    share = np.abs(k) / bandwidth
    window = np.where(share <= 0.5, 1.0, 2.0 * (1.0 - share)) * covariances[np.abs(k)]
    spectrum = float(window.sum())
    slope = float((np.abs(k) * window).sum())
    variance = 4.0 / 3.0 * spectrum**2
    if variance <= 1e-30:
        return 1
    length = (2.0 * slope**2 / variance) ** (1.0 / 3.0) * n ** (1.0 / 3.0)
    return max(1, min(ceil(length), ceil(min(3.0 * sqrt(n), n / 3.0))))


def _last_before_quiet(significant: np.ndarray, run: int) -> int:
    """The lag after which `run` lags in a row are insignificant; the last significant one where there is no such run."""
    quiet = 0
    for lag, loud in enumerate(significant.tolist(), 1):
        quiet = 0 if loud else quiet + 1
        if quiet == run:
            return lag - run
    return int(np.flatnonzero(significant)[-1]) + 1 if significant.any() else 0


def running_sums(values: Floats, block: int) -> tuple[float, Floats, Floats]:
    """(mean, running sums of deviations, of their squares), both float64[T + block], beyond the end from the start again."""
    centre = float(values.mean())
    around = np.concatenate([values, values[: block - 1]]) - centre
    zero = np.zeros(1)
    return centre, np.concatenate([zero, around.cumsum()]), np.concatenate([zero, (around * around).cumsum()])


def block_sums(running: Floats, starts: Ints, block: int, last: int) -> Floats:
    """float64[rows]: sums over whole blocks from `starts` int64[rows, count], the last one cut to `last` samples."""
    if block == 1:
        return np.take(np.diff(running), starts).sum(axis=1)
    whole = starts[:, :-1]
    sums = np.take(running[block:] - running[:-block], whole).sum(axis=1)
    return sums + running[starts[:, -1] + last] - running[starts[:, -1]]
