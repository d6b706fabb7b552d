"""Calibration of the significance tests in short form. The bounds are three standard errors wide or more."""

import numpy as np
import pytest

from tests.proofs import calibration
from tests.proofs.calibration import Figure, Size

NORMAL = ("normal",)


def size_of(rows: list[Size], test: str) -> Size:
    return next(row for row in rows if row.test == test)


def value_of(rows: list[Figure], start: str, law: str = "normal") -> float:
    return next(row.value for row in rows if row.name.startswith(start) and row.law == law)


def test_paired_tests_reject_one_in_twenty_and_are_conservative_where_their_assumption_fails() -> None:
    rows = list(calibration.paired(200, laws=NORMAL))
    for name in ("paired t", "Wilcoxon", "Kolmogorov-Smirnov, independent"):
        assert 0.005 <= size_of(rows, name).size <= 0.10, name
    assert size_of(rows, "Kolmogorov-Smirnov").size <= 0.05
    assert size_of(rows, "paired t").uniform_p > 0.001
    assert size_of(rows, "paired t").power > 0.5


@pytest.mark.long
@pytest.mark.requirement("R-252")
def test_the_test_of_equal_ratios_rejects_one_in_twenty_of_normal_returns() -> None:
    (row,) = calibration.equal_sharpe(100, laws=NORMAL)
    assert row.size <= 0.12
    assert row.uniform_p > 0.001
    assert row.power > 0.4


def test_the_probabilistic_ratio_is_a_probability() -> None:
    (row,) = calibration.probabilistic(400, laws=NORMAL)
    assert 0.02 <= row.size <= 0.085
    assert row.uniform_p > 0.001


@pytest.mark.long
def test_the_best_of_twenty_is_believed_seldom_without_skill() -> None:
    rows = list(calibration.deflated(300, laws=NORMAL))
    assert value_of(rows, "deflated Sharpe above 0.95, best of 20, correlation 0, no skill") <= 0.02
    assert value_of(rows, "deflated Sharpe above 0.95, best of 20, correlation 0, one of ratio 0.2") > 0.4


def test_noise_is_overfit_with_probability_one_half() -> None:
    rows = list(calibration.overfit(200, laws=NORMAL, blocks=8))
    noise = value_of(rows, "probability of overfitting of 20 trials, no skill, mean")
    assert 0.45 <= noise <= 0.55
    assert value_of(rows, "probability of overfitting of 20 trials, one of ratio 0.2, mean") < noise - 0.1


@pytest.mark.long
def test_intervals_hold_the_true_ratio_nineteen_times_in_twenty() -> None:
    for row in calibration.coverage(150, laws=NORMAL):
        assert 0.89 <= row.value <= 0.99, row


@pytest.mark.long
def test_adjusted_p_values_keep_their_errors() -> None:
    for row in calibration.families(400):
        if "power" in row.name:
            assert row.value > 0.5, row
        else:
            assert row.value <= 0.085, row


def test_simulated_returns_have_the_ratio_and_the_correlation_that_they_are_made_with() -> None:
    for law, deviation in (("normal", 0.01), ("fat", 0.05), ("memory", 0.05)):
        draws = calibration.simulated(np.random.default_rng(1), law, 400)
        assert np.abs(draws.mean(axis=(0, 1)) - calibration.SHARPE).max() < 0.01
        assert np.abs(draws.std(axis=(0, 1)) - 1.0).max() < deviation
        flat = draws.reshape(-1, 2)
        assert abs(float(np.corrcoef(flat.T)[0, 1]) - 0.5) < 0.03
        memory = float((draws[:, 1:] * draws[:, :-1]).mean() - calibration.SHARPE**2)
        assert abs(memory - (calibration.MEMORY if law == "memory" else 0.0)) < 0.02
