"""Metrics at their edges; test_catalogue.py compares each with its references."""

import math

import numpy as np
import pytest

from quantd.research.metrics import benchmark_measures, book_measures, trade_measures
from quantd.research.metrics.catalogue import measure, metrics_in
from quantd.research.metrics.track_record import TrackRecord
from quantd.trading import statistics
from tests.support.metric_references import World, random_record, record_of, trip, value_of, worlds

RANDOM = random_record(17, 50).equity.tolist()
UP = [100.0, 101.0, 103.0, 104.0]
REGRESSED = "beta alpha correlation specific_risk treynor"


@pytest.mark.parametrize(
    ("record", "undefined"),
    [
        (record_of([100.0] * 50), "stability"),
        (record_of([100.0, 99.0, 98.0]), "average_gain"),
        (record_of([100.0, 80.0, 90.0]), "recovery"),
        (record_of(UP), "average_drawdown recovery calmar martin_ratio"),
        (record_of(UP, risk_free_annual=0.0), "sortino omega gain_to_pain"),
        (record_of([100.0 * 1.01**k for k in range(30)]), "skewness excess_kurtosis serial_correlation"),
        (record_of([100.0 * 1.001**k for k in range(20)]), "sharpe serial_sharpe probabilistic_sharpe"),
        (record_of(RANDOM, benchmark=np.full(51, 7.0)), REGRESSED),
        (record_of(RANDOM, benchmark=7.0 * 1.001 ** np.arange(51)), REGRESSED),  # its returns vary by rounding
        (record_of(RANDOM, benchmark=3.0 * np.array(RANDOM)), "information_ratio"),
        (record_of(UP, commission=0.0, slippage_paid=0.0, traded=0.0), "trading_cost"),
    ],
)
def test_a_metric_without_what_it_divides_by_is_undefined(record: TrackRecord, undefined: str) -> None:
    figures = measure(record)
    assert {figures[name] for name in undefined.split()} == {None}


@pytest.mark.parametrize(
    ("record", "figures"),
    [
        (record_of([100.0 * 1.01**k for k in range(50)]), {"stability": 1.0}),
        (record_of([100.0, 80.0, 90.0]), {"longest_drawdown": 2.0}),
        (record_of(UP), {"max_drawdown": 0.0, "longest_drawdown": 0.0, "time_under_water": 0.0}),
        (record_of(UP, commission=0.0, slippage_paid=0.0, traded=0.0), {"turnover": 0.0}),
        (
            record_of(RANDOM, benchmark=3.0 * np.array(RANDOM)),
            {"beta": 1.0, "correlation": 1.0, "up_capture": 1.0, "tracking_error": 0.0},
        ),
    ],
)
def test_a_metric_at_its_edge_has_its_limit(record: TrackRecord, figures: dict[str, float]) -> None:
    assert measure(record, list(figures)) == pytest.approx(figures, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("module", "record", "defined"),
    [
        (trade_measures, record_of(UP), set()),
        (trade_measures, record_of(UP, trips=()), {"trips"}),
        (benchmark_measures, record_of(RANDOM), set()),
        # costs that are not recorded are not taken as zero
        (book_measures, record_of(UP, commission=1.0, slippage_paid=1.0), set()),
    ],
)
def test_what_is_not_recorded_defines_no_metric(module: object, record: TrackRecord, defined: set[str]) -> None:
    figures = measure(record, [metric.name for metric in metrics_in(module)])
    assert {name for name, value in figures.items() if value is not None} == defined


def test_wins_only_leave_the_measures_of_losses_undefined() -> None:
    wins = measure(record_of(UP, trips=(trip(1.0), trip(2.0))), [metric.name for metric in metrics_in(trade_measures)])
    undefined = {"profit_factor", "payoff_ratio", "average_losing_trip", "largest_losing_trip"}
    assert {name for name, value in wins.items() if value is None} == undefined


@pytest.mark.requirement("R-239")
def test_tails_of_a_hundred_losses_by_hand() -> None:
    returns = np.random.default_rng(3).permutation(np.arange(1, 102) / -1000.0)  # losses 0.001 to 0.101
    figures = measure(record_of(np.cumprod(np.append(100.0, 1.0 + returns)).tolist()))
    # k = 101 - 95 = 6 and 101 - 99 = 2
    assert (figures["var_95"], figures["var_99"]) == pytest.approx((0.096, 0.100), rel=1e-9)
    assert (figures["cvar_95"], figures["cvar_99"]) == pytest.approx((0.0985, 0.1005), rel=1e-9)


def test_rounding_of_deposits_is_no_drawdown() -> None:
    flows = np.append(0.0, np.cumsum(np.random.default_rng(1).uniform(0.0, 30.0, 60)))
    record = record_of((100.0 + flows).tolist(), flows=flows)
    assert 0.0 < record.drawdowns.max() < 1e-12
    figures = measure(record)
    assert (figures["longest_drawdown"], figures["time_under_water"], figures["recovery"]) == (0.0, 0.0, None)


@pytest.mark.parametrize("world", worlds(), ids=str)
def test_the_sharpe_and_sortino_ratios_are_those_of_every_other_report(world: World) -> None:
    record = world.record
    assert value_of(record, "sharpe") == statistics.sharpe(record.returns, record.periods, record.risk_free_annual)
    assert value_of(record, "sortino") == statistics.sortino(record.returns, record.periods, record.risk_free_annual)


def test_two_correlated_samples_a_year_have_the_annual_ratio_by_hand() -> None:
    smooth = np.convolve(np.random.default_rng(5).normal(0.002, 0.01, 600), [0.5, 0.5], "valid")
    record = record_of(np.cumprod(np.append(100.0, 1.0 + smooth)).tolist())
    twice = TrackRecord(record.equity, record.days_ns, 2.0, 0.0)
    # the variance of the sum of both samples is 2 + 2 a variances
    by_hand = twice.returns.mean() / twice.returns.std(ddof=1) * 2.0
    by_hand /= math.sqrt(2.0 + 2.0 * value_of(twice, "serial_correlation"))
    assert value_of(twice, "serial_sharpe") == pytest.approx(by_hand, rel=1e-12)
