"""Rolling figures against the loop over windows, also after returns of very different size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from quantd.research.metrics.catalogue import measure
from quantd.research.metrics.rolling import Rolling, rolling
from quantd.research.metrics.track_record import TrackRecord
from tests.support.examples import examples
from tests.support.metric_references import bars_record, random_record

Floats = NDArray[np.float64]
FIGURES = {"sharpe": "sharpe", "volatility": "volatility", "drawdown": "max_drawdown", "beta": "beta"}


def by_loop(record: TrackRecord, window: int) -> dict[str, list[float]]:
    out: dict[str, list[float]] = {name: [] for name in FIGURES}
    for end in range(window, record.samples + 1):
        rows = slice(end - window, end + 1)
        rate = record.risk_free_annual
        part = TrackRecord(
            record.equity[rows],
            record.days_ns[rows],
            record.periods,
            rate if isinstance(rate, float) else rate[end - window : end],
            benchmark=record.benchmark[rows] if record.benchmark is not None else None,
        )
        figures = measure(part, list(FIGURES.values()))
        for name, metric in FIGURES.items():
            value = figures[metric]
            out[name].append(np.nan if value is None else value)
    return out


def check(record: TrackRecord, window: int) -> Rolling:
    curves, expected = rolling(record, window), by_loop(record, window)
    for name in FIGURES:
        values: Floats = getattr(curves, name)
        assert values.shape == (record.samples,)
        assert np.isnan(values[: window - 1]).all()
        np.testing.assert_allclose(values[window - 1 :], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)
    return curves


@pytest.mark.requirement("R-242")
@given(seed=st.integers(0, 10_000), samples=st.integers(2, 90), window=st.integers(2, 90))
@settings(max_examples=examples(100), deadline=None)
def test_each_window_has_the_value_of_the_loop(seed: int, samples: int, window: int) -> None:
    if window <= samples:
        check(random_record(seed, samples), window)
    else:
        assert np.isnan(rolling(random_record(seed, samples), window).sharpe).all()


def test_recorded_bars_with_a_rate_that_varies() -> None:
    record = bars_record("SPY", "QQQ")
    rows = slice(0, 1200)
    rates = record.risk_free_annual
    assert not isinstance(rates, float)
    assert record.benchmark is not None
    part = TrackRecord(record.equity[rows], record.days_ns[rows], 252.0, rates[:1199], benchmark=record.benchmark[rows])
    check(part, 252)


def crashed(size: float, at: int = 300) -> TrackRecord:
    """A record in which one price was wrong by a factor for one sample, of the account and of the benchmark."""
    record = random_record(31, 900)
    equity, benchmark = record.equity.copy(), record.equity[::-1].copy()
    equity[at] *= size
    benchmark[at] *= size
    return TrackRecord(equity, record.days_ns, 252.0, 0.02, benchmark=benchmark)


@pytest.mark.parametrize("size", [1e6, 1e-6])
def test_a_crash_leaves_no_rounding_error_behind(size: float) -> None:
    check(crashed(size), 252)
    check(crashed(size), 20)


def test_a_sample_outside_a_window_does_not_enter_it() -> None:
    one, other = rolling(crashed(1e6), 100), rolling(crashed(3.0), 100)
    for name in FIGURES:
        values, other_values = getattr(one, name), getattr(other, name)
        outside = np.r_[99:299, 401:900]  # the price of sample 300 is in the returns 299 and 300
        assert (values[outside] == other_values[outside]).all(), name
        assert (values[300:400] != other_values[300:400]).any(), name


def test_wealth_that_does_not_move_has_no_ratio_and_no_beta_to_it() -> None:
    record = random_record(32, 40)
    flat = TrackRecord(np.full(41, 5.0), record.days_ns, 252.0, 0.02, benchmark=np.full(41, 3.0))
    curves = rolling(flat, 10)
    assert curves.beta is not None
    assert np.isnan(curves.sharpe).all()
    assert np.isnan(curves.beta).all()
    assert curves.volatility[9:] == pytest.approx(0.0, abs=1e-12)
    assert (curves.drawdown[9:] == 0.0).all()


def test_there_is_no_beta_without_a_benchmark_and_no_value_without_a_sample() -> None:
    record = random_record(33, 40)
    plain = TrackRecord(record.equity, record.days_ns, 252.0, 0.02)
    assert rolling(plain, 10).beta is None
    single = TrackRecord(record.equity[:1], record.days_ns[:1], 252.0, 0.02)
    assert rolling(single, 10).sharpe.shape == (0,)
    with pytest.raises(ValueError, match="at least two"):
        rolling(plain, 1)
