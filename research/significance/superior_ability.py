"""Tests whether the best of several trials beats a benchmark: White's reality check, Hansen's superior ability (SPA).

What can go wrong: trials that are poor or volatile raise White's p-value. Hansen therefore divides each mean by its
standard error, and does not recentre trials far below the benchmark. Correlated trials are no problem, because both
tests resample all trials at once by the stationary bootstrap.

Constant trials are removed first, because their standard error is 0. The observed statistic counts as one of the draws,
so that p is never 0. `excess` is float64[T, K]: the returns of K trials less the returns of the benchmark.
"""

from math import log, sqrt
from typing import Final

import numpy as np
from msgspec import Struct

from quantd.research.significance.samples import SMALLEST_DEVIATION, require_trials
from quantd.research.significance.stationary_bootstrap import stationary_weights
from quantd.trading.bootstrap import stationary_length
from quantd.trading.market import Floats

RESAMPLES: Final = 1_999
SEED: Final = 20_050_101

MIN_RETURNS: Final = 20
"""Minimum number of returns: the threshold of Hansen uses log log T, and a few blocks are not informative."""


class SuperiorAbility(Struct, frozen=True):
    """The result of Hansen's test of superior predictive ability.

    `statistic` is the largest studentised mean excess, at least 0, and `best` the column index of its trial.
    `consistent` is the p-value of the test, and `lower` and `upper` are Hansen's bounds of the p-value. `length` is the
    mean block length in samples.
    """

    statistic: float
    lower: float
    consistent: float
    upper: float
    best: int
    length: float


class RealityCheck(Struct, frozen=True):
    """The result of White's reality check.

    `statistic` is the largest mean excess times the square root of T, `p` its p-value, `best` the column index of its
    trial, and `length` the mean block length in samples.
    """

    statistic: float
    p: float
    best: int
    length: float


def superior_ability(
    excess: Floats, *, length: float = 0.0, resamples: int = RESAMPLES, seed: int = SEED
) -> SuperiorAbility | None:
    """Test the hypothesis that no trial has a positive mean excess, by Hansen 2005.

    `excess` float64[T, K] are returns of K trials less the benchmark's. `length` is the mean block length in samples; 0
    selects the median of the trials' optimal lengths (`stationary_length`). Constant trials are left out. Returns None
    where all trials are constant. Raises ValueError for fewer than MIN_RETURNS samples, no trial or non-finite returns.
    """
    columns, varied = _varying_trials(excess)
    if not len(columns):
        return None
    samples = len(varied)
    mean_length = length or _typical_length(varied)
    means = varied.mean(axis=0)  # of the trials that vary, whose columns in `excess` are `columns`
    errors = np.sqrt(stationary_variances(varied, mean_length))
    scaled = sqrt(samples) * means / errors
    statistic = max(float(scaled.max()), 0.0)
    weights = stationary_weights(samples, mean_length, resamples, np.random.default_rng(seed))
    drawn = sqrt(samples) * (weights @ varied) / errors
    # Trials far below the benchmark are not recentred: in truth they are not the best. The three centres give the
    # p-values `lower`, `consistent` and `upper`.
    threshold = -sqrt(2.0 * log(log(samples)))
    centres = (np.maximum(scaled, 0.0), np.where(scaled >= threshold, scaled, 0.0), scaled)
    lower, consistent, upper = (
        _p_value(np.maximum((drawn - centre).max(axis=1), 0.0), statistic) for centre in centres
    )
    return SuperiorAbility(statistic, lower, consistent, upper, int(columns[int(scaled.argmax())]), mean_length)


def reality_check(
    excess: Floats, *, length: float = 0.0, resamples: int = RESAMPLES, seed: int = SEED
) -> RealityCheck | None:
    """Test the hypothesis that no trial has a positive mean excess, by White 2000.

    Poor or volatile trials raise the p-value, which `superior_ability` avoids. `excess` float64[T, K] are returns of K
    trials less the benchmark's. `length` is the mean block length in samples; 0 selects it from the data. Returns None
    where all trials are constant. Raises ValueError for fewer than MIN_RETURNS samples, no trial or non-finite returns.
    """
    columns, varied = _varying_trials(excess)
    if not len(columns):
        return None
    samples = len(varied)
    mean_length = length or _typical_length(varied)
    means = varied.mean(axis=0)
    weights = stationary_weights(samples, mean_length, resamples, np.random.default_rng(seed))
    best = int(means.argmax())
    p = _p_value((weights @ varied - means).max(axis=1), float(means[best]))
    return RealityCheck(sqrt(samples) * float(means[best]), p, int(columns[best]), mean_length)


def stationary_variances(returns: Floats, length: float) -> Floats:
    """Return float64[K]: T times the variance of the mean of each column of float64[T, K] under the stationary
    bootstrap with mean block length `length`. Source: Politis & Romano 1994; Hansen 2005."""
    samples = len(returns)
    deviations = returns - returns.mean(axis=0)
    lags = np.arange(1, samples)
    continuation = 1.0 - 1.0 / length
    kappa = (1.0 - lags / samples) * continuation**lags + lags / samples * continuation ** (samples - lags)
    # padded with zeros to twice the length: else the end of the series would be paired with its start
    size = 1 << (2 * samples).bit_length()
    spectra = np.fft.rfft(deviations, size, axis=0)
    covariances = np.fft.irfft(spectra * spectra.conj(), size, axis=0)[:samples] / samples
    variances = covariances[0] + 2.0 * (kappa @ covariances[1:])
    return np.maximum(variances, 1e-30)


def _varying_trials(excess: Floats) -> tuple[np.ndarray, Floats]:
    """Return the column indices of the trials that are not constant, and their excess returns."""
    require_trials(excess, MIN_RETURNS, 1)
    scale = np.maximum(1.0, np.abs(excess).max(axis=0))
    columns = np.flatnonzero(excess.std(axis=0) > SMALLEST_DEVIATION * scale)
    return columns, excess[:, columns]


def _typical_length(excess: Floats) -> float:
    return float(np.median([stationary_length(column) for column in excess.T]))


def _p_value(drawn: Floats, statistic: float) -> float:
    """Return the share of resampled statistics `drawn` that reach the observed one, which counts as a draw itself."""
    return (1 + int((drawn >= statistic).sum())) / (len(drawn) + 1)
