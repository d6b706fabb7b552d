"""Dispersion against empyrical, scipy and numpy. Where a definition differs, the difference is converted away."""

import math

import empyrical
import numpy as np
import pytest
import quantstats.stats as qs
from scipy import stats

from quantd.research.metrics import dispersion
from quantd.research.metrics.catalogue import measure, metrics_in
from tests.support.metric_references import World, largest_differences, random_record, record_of, worlds


@pytest.mark.requirement("R-237")
@pytest.mark.parametrize("name", [metric.name for metric in metrics_in(dispersion)])
def test_a_metric_of_dispersion_equals_its_references(name: str) -> None:
    assert largest_differences()[name] <= 1e-9


def test_dispersion_by_hand() -> None:
    # returns 0.1, -0.1, 0.1, -0.1
    figures = measure(record_of([100.0, 110.0, 99.0, 108.9, 98.01], risk_free_annual=0.0))
    assert figures["volatility"] == pytest.approx(math.sqrt(4 * 0.01 / 3 * 252), rel=1e-12)
    assert figures["downside_deviation"] == pytest.approx(math.sqrt(2 * 0.01 / 4 * 252), rel=1e-12)
    assert figures["semideviation"] == pytest.approx(math.sqrt(2 * 0.01 / 4 * 252), rel=1e-12)
    assert figures["mean_absolute_deviation"] == pytest.approx(0.1, rel=1e-12)
    assert figures["serial_correlation"] == pytest.approx(-0.75, rel=1e-12)
    assert figures["skewness"] == pytest.approx(0.0, abs=1e-12)
    assert figures["excess_kurtosis"] == pytest.approx(-2.0, rel=1e-12)
    assert figures["jarque_bera"] == pytest.approx(4.0 * 4.0 / 24.0, rel=1e-12)
    assert figures["var_95"] == pytest.approx(0.1, rel=1e-12)
    assert figures["rachev_ratio"] == pytest.approx(1.0, rel=1e-12)


@pytest.mark.requirement("R-239")
def test_tails_of_a_hundred_losses_by_hand() -> None:
    returns = np.random.default_rng(3).permutation(np.arange(1, 102) / -1000.0)  # losses 0.001 to 0.101
    figures = measure(record_of(np.cumprod(np.append(100.0, 1.0 + returns)).tolist()))
    # k = 101 - 95 = 6 and 101 - 99 = 2
    assert (figures["var_95"], figures["var_99"]) == pytest.approx((0.096, 0.100), rel=1e-9)
    assert (figures["cvar_95"], figures["cvar_99"]) == pytest.approx((0.0985, 0.1005), rel=1e-9)


@pytest.mark.parametrize("world", worlds()[:4], ids=str)
def test_the_percentile_of_empyrical_lies_between_our_loss_and_the_next_smaller_one(world: World) -> None:
    """empyrical interpolates between two losses; VaR here is the larger, so that it is a loss that occurred."""
    place = 0.05 * (len(world.r) - 1)
    next_smaller = np.sort(world.r)[math.floor(place) + 1]
    loss = measure(world.record, ["var_95"])["var_95"]
    assert loss is not None
    interpolated = -loss + (place - math.floor(place)) * (next_smaller + loss)
    assert interpolated == pytest.approx(float(empyrical.value_at_risk(world.r, 0.05)), rel=1e-9)


def test_the_value_at_risk_of_quantstats_is_that_of_a_normal_law() -> None:
    world = World(random_record(11, 500))
    normal = stats.norm.ppf(0.05, world.r.mean(), world.r.std(ddof=1))
    assert float(qs.value_at_risk(world.r)) == pytest.approx(normal, rel=1e-9)
    assert measure(world.record)["var_95"] != pytest.approx(-normal, rel=1e-3)


def test_the_moments_of_quantstats_are_ours_corrected_for_bias() -> None:
    world = World(random_record(12, 60))
    n, figures = len(world.r), measure(world.record)
    skew, kurtosis = figures["skewness"], figures["excess_kurtosis"]
    assert skew is not None
    assert kurtosis is not None
    assert qs.skew(world.r) == pytest.approx(skew * math.sqrt(n * (n - 1)) / (n - 2), rel=1e-9)
    corrected = (n - 1) / ((n - 2) * (n - 3)) * ((n + 1) * kurtosis + 6.0)
    assert qs.kurtosis(world.r) == pytest.approx(corrected, rel=1e-9)


def test_the_autocorrelation_of_pandas_has_two_means() -> None:
    """pandas takes the mean and deviation of each of the two series of T - 1; Box and Jenkins take those of all T."""
    world = World(random_record(13, 60))
    r = world.r.to_numpy()
    one, other = r[1:] - r[1:].mean(), r[:-1] - r[:-1].mean()
    assert world.r.autocorr(1) == pytest.approx(one @ other / math.sqrt(one @ one * (other @ other)), rel=1e-9)
    deviations = r - r.mean()
    correlation = measure(world.record)["serial_correlation"]
    assert correlation == pytest.approx(deviations[1:] @ deviations[:-1] / (deviations @ deviations), rel=1e-9)
    assert correlation != pytest.approx(world.r.autocorr(1), rel=1e-6)


def test_constant_returns_have_no_shape() -> None:
    figures = measure(record_of([100.0 * 1.01**k for k in range(30)]))
    names = ("skewness", "excess_kurtosis", "jarque_bera", "serial_correlation")
    assert {figures[name] for name in names} == {None}
