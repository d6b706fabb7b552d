"""Calibration of the ablation: p-values of noise are uniform, and a signal is found. The long form is a benchmark."""

import pytest
from scipy import stats

from quantd.research.studies.ablation.noise_groups import Simulation, noise_variant, p_values, rejected


@pytest.mark.long
@pytest.mark.requirement("R-255")
def test_a_group_of_noise_has_uniform_p_values_and_a_signal_small_ones() -> None:
    noise = [row.p for row in p_values(Simulation(strength=0.0), "noise", 30)]
    assert None not in noise
    assert stats.kstest(noise, "uniform").pvalue > 0.05
    assert rejected(noise) <= 0.15
    signal = p_values(Simulation(strength=0.12), "signal", 5)
    assert rejected([row.p for row in signal]) == 1.0
    assert stats.kstest([row.p for row in signal], "uniform").pvalue < 0.01


def test_a_simulated_variant_is_the_ablation_of_a_linear_ranker() -> None:
    row = noise_variant(Simulation(), "noise", 7)
    assert row == noise_variant(Simulation(), "noise", 7)
    assert (len(row.full), len(row.drops), row.width) == (5, 5, 3)
    assert row.full != noise_variant(Simulation(), "noise", 8).full
