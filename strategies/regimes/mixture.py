"""Gaussian mixtures by expectation maximisation (Dempster, Laird and Rubin 1977), from deterministic starts.

What can go wrong: a fit ends in a poor local maximum, or differs between two runs. So the starts are computed from the
samples, not drawn at random, and the likeliest fit is chosen. A floor under the variances keeps a state from collapsing
to one sample.

Arrays: samples float64[T, D] of T times and D observed figures; K states with means float64[K, D], covariances
float64[K, D, D] and shares float64[K], their fractions of the samples.
"""

from typing import Final, NamedTuple

import numpy as np

from quantd.trading.market import Floats

FLOOR: Final = 1e-4
"""Added to each covariance's diagonal, as a share of the samples' variance, so that no state shrinks onto one
sample.
"""

TOLERANCE: Final = 1e-6
"""Gain of log-likelihood per sample at which a fit ends."""

LOG_TWO_PI: Final = float(np.log(2.0 * np.pi))


class States(NamedTuple):
    """K Gaussian states with D figures each: means float64[K, D] and covariances float64[K, D, D]."""

    means: Floats
    covariances: Floats


class Mixture(NamedTuple):
    """A fitted mixture. `score` is the log-likelihood of its training samples."""

    shares: Floats
    states: States
    score: float


def log_densities(samples: Floats, states: States) -> Floats:
    """Return float64[T, K], the log density of each sample in each state."""
    size = samples.shape[1]
    lower = np.linalg.cholesky(states.covariances)
    scaled = np.linalg.solve(lower, samples.T[None] - states.means[:, :, None])
    log_determinant = 2.0 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    return (-0.5 * (np.einsum("kdt,kdt->kt", scaled, scaled) + (size * LOG_TWO_PI + log_determinant)[:, None])).T


def starts(samples: Floats, count: int) -> list[States]:
    """Return two or three starts: the samples are sorted, and split into `count` equal parts, one for each state.

    The starts differ in the order of the samples: by the first column (the mean), by the distance from the centre (the
    volatility), and, with several columns, by the last column.
    """
    scale = samples.std(axis=0)
    centred = (samples - samples.mean(axis=0)) / np.where(scale > 0.0, scale, 1.0)
    orderings = (samples[:, 0], (centred**2).sum(axis=1), samples[:, -1])
    candidates = []
    for ordering in orderings if samples.shape[1] > 1 else orderings[:2]:
        order = np.argsort(ordering, kind="stable")
        weight = np.zeros((len(samples), count))
        for state, rows in enumerate(np.array_split(order, count)):
            weight[rows, state] = 1.0
        candidates.append(states_from(samples, weight))
    return candidates


def states_from(samples: Floats, weight: Floats, floor: float = FLOOR) -> States:
    """Return the maximum-likelihood states; `weight` float64[T, K] is the probability of each state at each sample.

    `floor`, a fraction of the samples' variance, is added to each variance.
    """
    mass = np.maximum(weight.sum(axis=0), 1e-12)
    means = (weight.T @ samples) / mass[:, None]
    deviations = samples[:, None, :] - means
    covariances = np.einsum("tk,tkd,tke->kde", weight, deviations, deviations) / mass[:, None, None]
    size = samples.shape[1]
    # on the diagonal of each covariance; 1e-18 keeps it above 0 also for a column that does not vary
    covariances.reshape(len(means), -1)[:, :: size + 1] += floor * samples.var(axis=0) + 1e-18
    return States(means, covariances)


def responsibilities(samples: Floats, shares: Floats, states: States) -> tuple[Floats, float]:
    """Return (float64[T, K] probability of each state given each sample alone, log-likelihood)."""
    joint = log_densities(samples, states) + np.log(np.maximum(shares, 1e-300))
    peak = joint.max(axis=1, keepdims=True)
    likely = np.exp(joint - peak)
    total = likely.sum(axis=1, keepdims=True)
    return likely / total, float((np.log(total) + peak).sum())


def fit_mixture(samples: Floats, count: int, iterations: int) -> Mixture:
    """Fit `count` states from each start, and return the likeliest mixture. Equal samples give bit-identical
    results."""
    return max((_refined(samples, states, iterations) for states in starts(samples, count)), key=lambda fit: fit.score)


def _refined(samples: Floats, states: States, iterations: int) -> Mixture:
    """Improve `states` by at most `iterations` rounds, until the gain is negligible."""
    shares = np.full(len(states.means), 1.0 / len(states.means))
    score = -np.inf
    for _ in range(iterations):
        weight, likelihood = responsibilities(samples, shares, states)
        if likelihood - score < TOLERANCE * len(samples):
            break
        score = likelihood
        shares, states = weight.mean(axis=0), states_from(samples, weight)
    return Mixture(shares, states, responsibilities(samples, shares, states)[1])
