"""Size and power of the significance tests, on simulated returns: python -m tests.proofs.calibration --draws 2000

A test at 5 % rejects a true hypothesis in 5 % of the draws, and its p-values are uniform. Each row prints the share
that it rejects, the p-value of uniformity (Kolmogorov-Smirnov), and the power against the alternative. The returns are
of 500 samples, from three laws. `normal`: independent and normal. `fat`: GARCH(1, 1) with Student's t of 5 degrees of
freedom. `memory`: the same with an autocorrelation of 0.15. `tails`, for large ratios: independent draws of that t.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from math import sqrt
from typing import Final, NamedTuple

import numpy as np
from scipy import stats

from quantd.research.significance.deflated_sharpe import (
    deflated_sharpe,
    highest_hurdle,
    moments,
    prefixes,
    probabilistic_sharpe,
)
from quantd.research.significance.multiple_tests import benjamini_hochberg, holm
from quantd.research.significance.overfitting import BLOCKS, overfitting
from quantd.research.significance.paired_tests import kolmogorov_smirnov, paired_t, wilcoxon
from quantd.research.significance.sharpe_intervals import sharpe_intervals
from quantd.research.significance.sharpe_tests import ledoit_wolf

LEVEL: Final = 0.05
SAMPLES: Final = 500
RESAMPLES: Final = 499
SEED: Final = 20_260_101

SHARPE: Final = 0.1
"""True ratio per sample of the normal law: 1.6 a year."""

EDGE: Final = 0.1
"""The alternative: a ratio per sample that is higher by this."""

MEMORY: Final = 0.15
"""Autocorrelation of the law `memory`."""

TRIALS: Final = 20
LAWS: Final = ("normal", "fat", "memory")

LARGE: Final = 1.0
"""A ratio per sample at which fat tails matter: that of a smooth hedge fund in monthly returns."""

LARGE_LAWS: Final = ("tails", "fat")

FAMILIES: Final = 10
"""Families of hypotheses for each draw; they cost little."""

Series = np.ndarray


class Size(NamedTuple):
    """The size and power of one test under one law."""

    test: str
    law: str
    size: float
    uniform_p: float
    power: float


class Figure(NamedTuple):
    """Another figure of calibration, with its goal."""

    name: str
    law: str
    value: float
    goal: str


def innovations(draw: np.random.Generator, law: str, shape: tuple[int, int, int], rho: float) -> Series:
    """float64[draws, T, K] of mean 0 and variance 1, with correlation `rho` between any two columns."""
    draws, samples, columns = shape
    mixed = sqrt(1.0 - rho) * draw.standard_normal((draws, samples, columns))
    mixed += sqrt(rho) * draw.standard_normal((draws, samples, 1))
    if law == "normal":
        return mixed
    return mixed / np.sqrt(draw.chisquare(5, (draws, samples, 1)) / 3.0)


def simulated(
    draw: np.random.Generator, law: str, draws: int, columns: int = 2, *, rho: float = 0.5, ratio: float = SHARPE
) -> Series:
    """float64[draws, SAMPLES, columns] of deviation 1, whose true ratio per sample is `ratio` for each column."""
    if law in ("normal", "tails"):
        return innovations(draw, law, (draws, SAMPLES, columns), rho) + ratio
    before = 100
    shocks = innovations(draw, law, (draws, SAMPLES + before, columns), rho)
    phi = MEMORY if law == "memory" else 0.0
    variance = np.ones((draws, columns))
    shock = np.zeros((draws, columns))
    value = np.zeros((draws, columns))
    out = np.empty((draws, SAMPLES, columns))
    for t in range(SAMPLES + before):
        variance = 0.05 + 0.10 * shock**2 + 0.85 * variance
        shock = np.sqrt(variance) * shocks[:, t]
        value = phi * value + sqrt(1.0 - phi**2) * shock
        if t >= before:
            out[:, t - before] = value + ratio
    return out


def measured(test: str, law: str, null: Series, alternative: Series) -> Size:
    """The row of p-values float64[draws] under the hypothesis and under the alternative."""
    uniform = float(stats.kstest(null, "uniform").pvalue)
    return Size(test, law, float((null <= LEVEL).mean()), uniform, float((alternative <= LEVEL).mean()))


PAIRED: Final = {"paired t": paired_t, "Wilcoxon": wilcoxon, "Kolmogorov-Smirnov": kolmogorov_smirnov}


def paired(draws: int, seed: int = SEED, laws: Sequence[str] = LAWS) -> Iterator[Size]:
    """Paired tests; of Kolmogorov-Smirnov also on independent series, as it assumes."""
    for law in laws:
        for rho, names in ((0.5, list(PAIRED)), (0.0, ["Kolmogorov-Smirnov"])):
            series = simulated(np.random.default_rng(seed), law, draws, rho=rho)
            for name in names:
                test = PAIRED[name]
                null = np.array([test(pair[:, 0], pair[:, 1]).p for pair in series])
                alternative = np.array([test(pair[:, 0] + EDGE, pair[:, 1]).p for pair in series])
                yield measured(name if rho else f"{name}, independent", law, null, alternative)


def equal_sharpe(draws: int, seed: int = SEED, laws: Sequence[str] = LAWS) -> Iterator[Size]:
    """The test of equal ratios, on two series of correlation 0.5; with fat tails, also of large ratios."""
    for law, ratio in [(law, SHARPE) for law in laws] + [(law, LARGE) for law in LARGE_LAWS if "fat" in laws]:
        series = simulated(np.random.default_rng(seed + 1), law, draws, ratio=ratio)
        null = np.array([ledoit_wolf(pair[:, 0], pair[:, 1]).p for pair in series])
        alternative = np.array([ledoit_wolf(pair[:, 0] + EDGE, pair[:, 1]).p for pair in series])
        name = law if ratio == SHARPE else f"{law}, ratio {ratio:g}"
        yield measured("Ledoit-Wolf, Parzen, prewhitened", name, null, alternative)


def probabilistic(draws: int, seed: int = SEED, laws: Sequence[str] = LAWS) -> Iterator[Size]:
    """The probabilistic ratio against the true one: p is 1 less the probability, one-sided."""

    def p(returns: Series) -> float:
        ratio = float(returns.mean() / returns.std(ddof=1))
        return 1.0 - probabilistic_sharpe(ratio, SHARPE, len(returns), *moments(returns))

    for law in laws:
        series = simulated(np.random.default_rng(seed + 2), law, draws, 1)[:, :, 0]
        null, alternative = (np.array([p(returns + edge) for returns in series]) for edge in (0.0, EDGE))
        yield measured("probabilistic Sharpe", law, null, alternative)


def deflated(draws: int, seed: int = SEED, laws: Sequence[str] = LAWS) -> Iterator[Figure]:
    """How often the best of 20 trials has a deflated ratio above 0.95."""
    for law in laws:
        for edge, what, goal in ((0.0, "no skill", "up to 5 %"), (0.2, "one of ratio 0.2", "high")):
            series = simulated(np.random.default_rng(seed + 4), law, draws, TRIALS, rho=0.0, ratio=0.0)
            series[:, :, 0] += edge
            hits = [believed(returns) for returns in series]
            name = f"deflated Sharpe above 0.95, best of {TRIALS}, correlation 0, {what}"
            yield Figure(name, law, float(np.mean(hits)), goal)


def believed(returns: Series) -> bool:
    """Whether the best trial of float64[T, K] has a deflated ratio above 0.95."""
    ratios = returns.mean(axis=0) / returns.std(axis=0, ddof=1)
    best = int(ratios.argmax())
    hurdle = highest_hurdle(prefixes(ratios), len(returns))
    return deflated_sharpe(returns[:, best], float(ratios[best]), hurdle) > 1.0 - LEVEL


def overfit(draws: int, seed: int = SEED, laws: Sequence[str] = LAWS, blocks: int = BLOCKS) -> Iterator[Figure]:
    """The mean probability of overfitting over trials without skill, and where one has skill."""
    for law in laws:
        for edge, what, goal in ((0.0, "no skill", "0.45 to 0.55"), (0.2, "one of ratio 0.2", "low")):
            series = simulated(np.random.default_rng(seed + 5), law, draws, TRIALS, rho=0.0, ratio=0.0)
            series[:, :, 0] += edge
            probabilities = np.array([overfitting(returns, blocks=blocks).probability for returns in series])
            name = f"probability of overfitting of {TRIALS} trials, {what}"
            yield Figure(f"{name}, mean", law, float(probabilities.mean()), goal)
            yield Figure(f"{name}, deviation over draws", law, float(probabilities.std()), "")


def coverage(draws: int, seed: int = SEED, laws: Sequence[str] = LAWS) -> Iterator[Figure]:
    """How often a 95 % interval of the ratio holds the true one."""
    for law in laws:
        series = simulated(np.random.default_rng(seed + 6), law, draws, 1)[:, :, 0]
        intervals = [
            sharpe_intervals(returns, periods=1.0, risk_free_annual=0.0, resamples=RESAMPLES) for returns in series
        ]
        share = np.mean([interval.own.holds(SHARPE) for interval in intervals])
        yield Figure("coverage of the 95 % interval, circular bootstrap", law, float(share), "94 to 96 %")


ADJUSTED: Final = (
    ("Holm", holm, "family-wise error"),
    ("Benjamini-Hochberg", benjamini_hochberg, "false discovery rate"),
)


def families(draws: int, seed: int = SEED) -> Iterator[Figure]:
    """Errors of adjusted p-values of 20 one-sided normal tests, of which the first ten may have a mean of 3."""
    count, draws = 20, FAMILIES * draws
    for rho in (0.0, 0.5):
        for false in (0, 10):
            draw = np.random.default_rng(seed + 7)
            z = sqrt(1.0 - rho) * draw.standard_normal((draws, count)) + sqrt(rho) * draw.standard_normal((draws, 1))
            z[:, :false] += 3.0
            p = stats.norm.sf(z)
            law = f"correlation {rho:g}"
            for name, adjust, error in ADJUSTED:
                rejected = np.array([adjust(p_values) <= LEVEL for p_values in p])
                wrong, right = rejected[:, false:].sum(axis=1), rejected[:, :false].sum(axis=1)
                value = (wrong > 0).mean() if name == "Holm" else (wrong / np.maximum(wrong + right, 1)).mean()
                yield Figure(f"{name}, {error}, {false} of {count} false", law, float(value), "up to 5 %")
                if false:
                    yield Figure(f"{name}, power", law, float(right.mean() / false), "high")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=SEED)
    given = parser.parse_args()
    began = time.perf_counter()
    print(f"{given.draws:,} draws of {SAMPLES} returns, {RESAMPLES} resamples, seed {given.seed}\n")
    print("| test | returns | size at 5 % | p of uniformity | power |")
    print("|---|---|---|---|---|")
    for experiment in (paired, equal_sharpe, probabilistic):
        for row in experiment(given.draws, given.seed):
            print(f"| {row.test} | {row.law} | {row.size:.1%} | {row.uniform_p:.3f} | {row.power:.1%} |", flush=True)
    print("\n| figure | returns | value | goal |")
    print("|---|---|---|---|")
    for other in (deflated, overfit, coverage, families):
        for figure in other(given.draws, given.seed):
            print(f"| {figure.name} | {figure.law} | {figure.value:.3f} | {figure.goal} |", flush=True)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
