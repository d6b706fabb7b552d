"""Formulas of the papers as loops, and random series for them."""

import itertools
import math

import numpy as np
from scipy import stats


def looped_overfitting(returns: np.ndarray, blocks: int) -> tuple[float, float]:
    """The steps of Bailey et al. 2015: one division at a time, with the ranks of scipy."""
    samples, trials = returns.shape
    edges = [samples * k // blocks for k in range(blocks + 1)]
    logits, outside = [], []
    for chosen in itertools.combinations(range(blocks), blocks // 2):
        mask = np.zeros(samples, dtype=bool)
        for k in chosen:
            mask[edges[k] : edges[k + 1]] = True
        performance = []
        for half in (returns[mask], returns[~mask]):
            performance.append(half.mean(axis=0) / half.std(axis=0, ddof=1))
        best = int(np.argmax(performance[0]))
        share = stats.rankdata(performance[1])[best] / (trials + 1)
        logits.append(math.log(share / (1 - share)))
        outside.append(performance[1][best])
    low = sum(logit <= 1e-12 for logit in logits) / len(logits)
    return low, sum(figure < 0 for figure in outside) / len(outside)


def pair(seed: int = 1, n: int = 120, rho: float = 0.5, edge: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    common, one, two = np.random.default_rng(seed).normal(size=(3, n))
    mix = math.sqrt(1.0 - rho)
    returns, other = (0.1 + math.sqrt(rho) * common + mix * noise for noise in (one, two))
    return 0.01 * (returns + edge), 0.01 * other


def parzen_error(returns: np.ndarray, other: np.ndarray) -> float:
    """Ledoit & Wolf 2008, section 3.1, one matrix and one lag at a time."""
    n = len(returns)
    columns = [returns, other, returns**2, other**2]
    v = np.column_stack([moment - moment.mean() for moment in columns])
    gradient = np.zeros(4)
    for k, (series, sign) in enumerate(((returns, 1.0), (other, -1.0))):
        mean, second = series.mean(), (series**2).mean()
        gradient[k] = sign * second / (second - mean**2) ** 1.5
        gradient[k + 2] = -sign * 0.5 * mean / (second - mean**2) ** 1.5
    a = np.array([np.linalg.lstsq(v[:-1], v[1:, j], rcond=None)[0] for j in range(4)])
    left_vectors, sizes, right_vectors = np.linalg.svd(a)
    a = left_vectors @ np.diag([min(size, 0.97) for size in sizes]) @ right_vectors
    recolour = np.linalg.inv(np.eye(4) - a)
    v = np.array([v[t] - a @ v[t - 1] for t in range(1, n)])
    m = len(v)
    above = below = 0.0
    for column in v.T:
        x, y = column[:-1] - column[:-1].mean(), column[1:] - column[1:].mean()
        rho = (x @ y) / (x @ x)
        variance = ((y - rho * x) ** 2).mean()
        above += 4 * rho**2 * variance**2 / (1 - rho) ** 8
        below += variance**2 / (1 - rho) ** 4
    bandwidth = min(2.6614 * (above / below * m) ** 0.2, m - 1)
    psi = v.T @ v / m
    lag = 1
    while lag < bandwidth:
        x = lag / bandwidth
        weight = 1 - 6 * x**2 + 6 * x**3 if x <= 0.5 else 2 * (1 - x) ** 3
        gamma = sum(np.outer(v[t], v[t - lag]) for t in range(lag, m)) / m
        psi = psi + weight * (gamma + gamma.T)
        lag += 1
    psi = recolour @ (psi * m / (m - 4)) @ recolour.T
    return math.sqrt(gradient @ psi @ gradient / n)


def autoregressive(n: int, phi: float, seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed).normal(size=n + 100)
    for k in range(1, n + 100):
        draw[k] += phi * draw[k - 1]
    return 0.01 * draw[100:]


def looped_length(series: np.ndarray, constant: float) -> float:
    """Politis & White 2004, with the constant of the correction: 2 for the stationary bootstrap."""
    n = len(series)
    x = series - series.mean()
    gamma = [float(x[: n - k] @ x[k:]) / n for k in range(n // 2)]
    band = 2 * math.sqrt(math.log10(n) / n)
    quiet = next(m for m in range(n) if all(abs(gamma[m + k] / gamma[0]) < band for k in range(1, 6)))
    bandwidth = 2 * max(quiet, 1)
    g = spectrum = 0.0
    for k in range(-bandwidth, bandwidth + 1):
        share = abs(k) / bandwidth
        window = 1.0 if share <= 0.5 else 2 * (1 - share)
        g += window * abs(k) * gamma[abs(k)]
        spectrum += window * gamma[abs(k)]
    return float((2 * g**2 / (constant * spectrum**2)) ** (1 / 3) * n ** (1 / 3))
