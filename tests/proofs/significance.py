"""Largest differences of the significance tests to their references: python -m tests.proofs.significance

Each reference is a library, a closed form, a published number, or a loop over the formulas of the paper (`loop`).
"""

import argparse
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from arch.bootstrap import optimal_block_length
from scipy import stats
from statsmodels.stats.multitest import multipletests

from quantd.research.significance.deflated_sharpe import expected_maximum, minimum_track_record, probabilistic_sharpe
from quantd.research.significance.multiple_tests import benjamini_hochberg, holm
from quantd.research.significance.overfitting import overfitting
from quantd.research.significance.paired_tests import paired_t
from quantd.research.significance.sharpe_tests import ledoit_wolf
from quantd.trading.bootstrap import stationary_length
from tests.proofs.significance_loops import (
    autoregressive,
    looped_length,
    looped_overfitting,
    pair,
    parzen_error,
)

LENGTH = 5.0
PUBLISHED_YEARS = ((252, 0.0, 3.0, 2.73), (52, 0.0, 3.0, 2.83), (12, 0.0, 3.0, 3.24), (12, -0.72, 5.78, 4.99))
PUBLISHED_DEFLATED = ((100, -3.0, 10.0, 0.9004), (46, -3.0, 10.0, 0.9505), (88, 0.0, 3.0, 0.9505))


class Difference(NamedTuple):
    """The largest difference of a figure to its reference, absolute or relative, over a number of cases."""

    figure: str
    reference: str
    largest: float
    kind: str
    cases: int


def largest(figure: str, reference: str, kind: str, of: Callable[[int], float], cases: int) -> Difference:
    return Difference(figure, reference, max(of(case) for case in range(cases)), kind, cases)


def of_t(seed: int) -> float:
    returns, other = pair(seed)
    d = returns - other
    t = d.mean() / (d.std(ddof=1) / math.sqrt(len(d)))
    return abs(paired_t(returns, other).p - 2.0 * float(stats.t.sf(abs(t), len(d) - 1)))


def of_kernel(seed: int) -> float:
    returns, other = pair(seed)
    return abs(ledoit_wolf(returns, other).error / parzen_error(returns, other) - 1.0)


def of_adjusted(adjust: Callable[[np.ndarray], np.ndarray], method: str) -> Callable[[int], float]:
    def of(seed: int) -> float:
        p = np.random.default_rng(seed).random(30) ** 3
        return float(np.abs(adjust(p) - multipletests(p, method=method)[1]).max())

    return of


def of_overfitting(seed: int) -> float:
    returns = np.random.default_rng(seed).normal(0.0003, 0.01, (60 + seed, 5))
    estimate, (probability, loss) = overfitting(returns, blocks=6), looped_overfitting(returns, 6)
    return max(abs(estimate.probability - probability), abs(estimate.loss - loss))


def of_length(phi: float) -> Callable[[int], float]:
    def of(seed: int) -> float:
        series = autoregressive(1_000, phi, seed)
        return abs(stationary_length(series) / max(1.0, looped_length(series, 2.0)) - 1.0)

    return of


def of_arch_length(phi: float) -> Callable[[int], float]:
    def of(seed: int) -> float:
        series = autoregressive(1_000, phi, seed)
        return abs(stationary_length(series) / max(1.0, float(optimal_block_length(series)["stationary"].iloc[0])) - 1)

    return of


def of_years(case: int) -> float:
    periods, skewness, kurtosis, years = PUBLISHED_YEARS[case]
    root = math.sqrt(periods)
    return abs(minimum_track_record(2.0 / root, 1.0 / root, skewness, kurtosis) / periods - years)


def of_deflated(case: int) -> float:
    trials, skewness, kurtosis, published = PUBLISHED_DEFLATED[case]
    hurdle = expected_maximum(trials, 0.5 / 250)
    return abs(probabilistic_sharpe(2.5 / math.sqrt(250), hurdle, 1250, skewness, kurtosis) - published)


def differences() -> Iterator[Difference]:
    yield largest("paired t, p", "closed form", "absolute", of_t, 20)
    yield largest("Ledoit-Wolf, standard error", "loop", "relative", of_kernel, 20)
    yield largest("mean block length", "loop", "relative", of_length(0.5), 100)
    yield largest("mean block length, no memory", "arch 8.0", "relative", of_arch_length(0.0), 100)
    yield largest("mean block length, memory 0.5", "arch 8.0", "relative", of_arch_length(0.5), 100)
    yield largest("overfitting, two figures", "loop with ranks of scipy", "absolute", of_overfitting, 30)
    yield largest("Holm", "statsmodels 0.15", "absolute", of_adjusted(holm, "holm"), 200)
    yield largest("Benjamini-Hochberg", "statsmodels 0.15", "absolute", of_adjusted(benjamini_hochberg, "fdr_bh"), 200)
    yield largest("minimum track record, years", "paper of 2012, two decimals", "absolute", of_years, 4)
    yield largest("deflated Sharpe", "paper of 2014, four decimals", "absolute", of_deflated, 3)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print("| figure | reference | largest difference | kind | cases |")
    print("|---|---|---|---|---|")
    for row in differences():
        print(f"| {row.figure} | {row.reference} | {row.largest:.1e} | {row.kind} | {row.cases} |", flush=True)


if __name__ == "__main__":
    main()
