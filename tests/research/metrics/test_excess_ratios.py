"""Ratios beside those of other reports and at their edges; test_catalogue.py compares each with its references."""

import math

import numpy as np
import pytest

from quantd.research.metrics.catalogue import measure
from quantd.research.metrics.track_record import TrackRecord
from quantd.trading import statistics
from tests.support.metric_references import World, record_of, value_of, worlds


@pytest.mark.parametrize("world", worlds(), ids=str)
def test_the_sharpe_and_sortino_ratios_are_those_of_every_other_report(world: World) -> None:
    record = world.record
    assert value_of(record, "sharpe") == statistics.sharpe(record.returns, record.periods, record.risk_free_annual)
    assert value_of(record, "sortino") == statistics.sortino(record.returns, record.periods, record.risk_free_annual)


def test_positive_serial_correlation_lowers_the_annual_ratio() -> None:
    smooth = np.convolve(np.random.default_rng(5).normal(0.002, 0.01, 600), [0.5, 0.5], "valid")
    record = record_of(np.cumprod(np.append(100.0, 1.0 + smooth)).tolist())
    assert value_of(record, "serial_sharpe") < value_of(record, "sharpe")
    # two samples a year: the variance of their sum is 2 + 2 a variances
    twice = TrackRecord(record.equity, record.days_ns, 2.0, 0.0)
    by_hand = twice.returns.mean() / twice.returns.std(ddof=1) * 2.0
    by_hand /= math.sqrt(2.0 + 2.0 * value_of(twice, "serial_correlation"))
    assert value_of(twice, "serial_sharpe") == pytest.approx(by_hand, rel=1e-12)


def test_ratios_without_a_loss_or_without_risk_are_undefined() -> None:
    up = measure(record_of([100.0, 101.0, 103.0, 104.0], risk_free_annual=0.0))
    assert {up[name] for name in ("sortino", "omega", "gain_loss_ratio", "gain_to_pain", "kappa_3")} == {None}
    assert {up[name] for name in ("reward_to_var", "starr", "upside_potential", "common_sense_ratio")} == {None}
    flat = measure(record_of([100.0 * 1.001**k for k in range(20)]))
    names = ("sharpe", "serial_sharpe", "adjusted_sharpe", "probabilistic_sharpe", "kelly_leverage")
    assert {flat[name] for name in names} == {None}
