"""Standard error of a mean under serial dependence: kernel estimates with Andrews' automatic bandwidth.

What can go wrong: neighbouring samples depend on each other, and the error of independent samples is then wrong. So
autocovariances are added, with weights of a kernel.

The steps have the order of the sources named below. Prewhitening comes first, and the bandwidth is estimated from
the filtered moments. The weights then undo the filter. Each autoregressive coefficient is bounded before it is used,
because a trend would have no finite bandwidth.

Sources: Andrews 1991 (kernels, bandwidth), Andrews & Monahan 1992 (prewhitening), Ledoit & Wolf 2008 (their use for a
difference of Sharpe ratios).
"""

from math import pi, sqrt
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from quantd.trading.market import Floats

Kernel = Literal["parzen", "quadratic_spectral"]

LARGEST_ROOT: Final = 0.97
"""Bound of an autoregressive coefficient, and of the singular values of a coefficient matrix (Andrews & Monahan
1992)."""


class LongRun(Struct, frozen=True):
    """A long-run standard error: `error` of the combined mean, and the kernel's `bandwidth` in samples."""

    error: float
    bandwidth: float


def long_run_error(moments: Floats, gradient: Floats, kernel: Kernel, *, prewhiten: bool) -> LongRun:
    """Return the standard error of `gradient` float64[P] times the mean of `moments` float64[T, P].

    T is the number of samples, P the number of estimated moments. The columns of `moments` have mean 0. The factor T /
    (T - P) corrects for the estimated means. `prewhiten` filters the moments by a vector autoregression of order 1
    first.
    """
    samples, width = moments.shape
    weights = gradient
    filtered = moments
    if prewhiten:
        lag, lead = moments[:-1], moments[1:]
        coefficients = np.linalg.lstsq(lag, lead, rcond=None)[0].T
        # the singular values are bounded below 1, so that the autoregression is stationary
        left_vectors, sizes, right_vectors = np.linalg.svd(coefficients)
        matrix = (left_vectors * np.minimum(sizes, LARGEST_ROOT)) @ right_vectors
        filtered = lead - lag @ matrix.T
        # recolouring: the filter changed the long-run variance, and these weights undo it
        weights = np.linalg.solve((np.eye(width) - matrix).T, gradient)
    bandwidth = automatic_bandwidth(filtered, kernel)
    combined = filtered @ weights
    count = len(combined)
    lags = np.arange(1, count if kernel == "quadratic_spectral" else min(count, int(np.ceil(bandwidth))))
    variance = float(combined @ combined) / count
    if len(lags) and bandwidth > 0.0:
        covariances = _autocovariances(combined, int(lags[-1]))
        variance += 2.0 * float(kernel_weights(lags / bandwidth, kernel) @ covariances[1:])
    variance *= count / max(1, count - width)
    return LongRun(sqrt(max(variance, 0.0) / samples), bandwidth)


def automatic_bandwidth(moments: Floats, kernel: Kernel) -> float:
    """Return the bandwidth in samples, at most T - 1, from an autoregression of order 1 of each moment float64[T, P].
    Source: Andrews 1991, eq. 6.2 and 6.4, with equal weights."""
    lag, lead = moments[:-1], moments[1:]
    lag, lead = lag - lag.mean(axis=0), lead - lead.mean(axis=0)
    squares = (lag * lag).sum(axis=0)
    varies = squares > 1e-30
    rho = np.where(varies, (lag * lead).sum(axis=0) / np.where(varies, squares, 1.0), 0.0)
    rho = np.clip(rho, -LARGEST_ROOT, LARGEST_ROOT)  # below 1, so that no divisor is 0
    variances = ((lead - lag * rho) ** 2).mean(axis=0)
    denominator = float((variances**2 / (1.0 - rho) ** 4).sum())
    if denominator <= 0.0:
        return 0.0
    alpha = float((4.0 * rho**2 * variances**2 / (1.0 - rho) ** 8).sum()) / denominator
    factor = 2.6614 if kernel == "parzen" else 1.3221  # the constants of eq. 6.2
    return min(factor * (alpha * len(moments)) ** 0.2, len(moments) - 1.0)


def kernel_weights(share: Floats, kernel: Kernel) -> Floats:
    """Return the kernel's weights in the shape of `share`, which has positive lags divided by the bandwidth (Andrews
    1991, eq. 2.7)."""
    if kernel == "parzen":
        inner = 1.0 - 6.0 * share**2 + 6.0 * share**3
        return np.where(share <= 0.5, inner, np.where(share <= 1.0, 2.0 * (1.0 - share) ** 3, 0.0))
    angle = 6.0 * pi * share / 5.0
    weights: Floats = 25.0 / (12.0 * pi**2 * share**2) * (np.sin(angle) / angle - np.cos(angle))
    return weights


def _autocovariances(series: Floats, lags: int) -> Floats:
    """Return float64[lags + 1], the autocovariance at each lag from 0 (divisor T), by a Fourier transform."""
    count = len(series)
    # padded with zeros to a power of two above count + lags: else the end of the series would be paired with its start
    size = 1 << (count + lags).bit_length()
    spectrum = np.fft.rfft(series, size)
    sums: Floats = np.fft.irfft(spectrum * spectrum.conj(), size)[: lags + 1] / count
    return sums
