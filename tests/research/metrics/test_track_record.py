"""A track record: what follows from equity, flows and rates, and what is refused."""

import numpy as np
import pytest

from quantd.research.metrics.catalogue import measure
from quantd.research.metrics.track_record import TrackRecord
from tests.support.metric_references import random_record, record_of


def test_returns_excess_and_drawdowns_follow_from_equity() -> None:
    record = record_of([100.0, 110.0, 99.0], risk_free_annual=0.0252, benchmark=np.array([1.0, 1.1, 1.1]))
    assert record.returns == pytest.approx([0.1, -0.1], rel=1e-12)
    assert record.excess == pytest.approx([0.0999, -0.1001], rel=1e-12)
    assert record.drawdowns == pytest.approx([0.0, 0.0, 0.1], rel=1e-12)
    assert record.wealth.tolist() == [100.0, 110.0, 99.0]
    assert record.benchmark_returns == pytest.approx([0.1, 0.0], rel=1e-12)
    assert record.benchmark_excess == pytest.approx([0.0999, -0.0001], rel=1e-12)
    assert (record.samples, record.years, record.mean_risk_free) == (2, 2 / 252, 0.0252)


def test_a_rate_for_each_return_is_that_of_its_sample() -> None:
    rates = np.array([0.0, 0.252])
    record = TrackRecord(np.array([100.0, 110.0, 99.0]), np.zeros(3, dtype=np.int64), 252.0, rates)
    assert record.excess == pytest.approx([0.1, -0.101], rel=1e-12)
    assert record.mean_risk_free == 0.126


def test_a_record_with_flows_measures_as_one_that_was_managed_without_them() -> None:
    plain = random_record(21, 400)
    deposits = np.cumsum(np.random.default_rng(22).choice([0.0, 0.0, 0.0, 500.0, -300.0], 401))
    deposits -= deposits[0]
    equity = [float(plain.equity[0])]
    for growth, flow in zip(1.0 + plain.returns, np.diff(deposits), strict=True):
        equity.append(equity[-1] * growth + flow)
    flowing = TrackRecord(np.array(equity), plain.days_ns, 252.0, 0.02, flows=deposits, benchmark=plain.benchmark)
    names = [name for name, value in measure(flowing).items() if value is not None]
    assert len(names) > 40
    figures, expected = measure(flowing, names), measure(plain, names)
    assert figures == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_ruined_record_falls_to_nothing_and_stays_there() -> None:
    record = record_of([100.0, 110.0, 0.0, 0.0], ruin=True)
    assert record.returns == pytest.approx([0.1, -1.0, 0.0], rel=1e-12)
    assert record.drawdowns[-1] == 1.0
    for equity in ([100.0, 0.0, 99.0], [0.0, 0.0], [100.0, -1.0]):
        with pytest.raises(ValueError, match="equity must be finite and positive"):
            record_of(equity, ruin=True)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"equity": np.array([100.0, 0.0, 99.0])}, "equity must be finite and positive"),
        ({"equity": np.array([100.0, np.nan, 99.0])}, "equity must be finite and positive"),
        ({"benchmark": np.array([1.0, -1.0, 1.0])}, "benchmark must be finite and positive"),
        ({"benchmark": np.ones(2)}, "benchmark has no values, or not as many as equity"),
        ({"gross": np.ones(4), "net": np.ones(2)}, "gross, net has no values, or not as many as equity"),
        ({"equity": np.zeros(0), "days_ns": np.zeros(0, dtype=np.int64)}, "at least one sample"),
        ({"risk_free_annual": np.zeros(3)}, "one rate for each return"),
        ({"periods": 0.0}, "periods"),
        ({"days_ns": np.array([0, 2, 1])}, "ascend"),
        ({"flows": np.array([0.0, 500.0, 500.0])}, "flows and equity do not agree"),
    ],
)
def test_a_record_that_cannot_be_is_refused(changed: dict[str, object], words: str) -> None:
    fields = {
        "equity": np.array([100.0, 110.0, 99.0]),
        "days_ns": np.array([0, 1, 2]),
        "periods": 252.0,
        "risk_free_annual": 0.02,
    }
    with pytest.raises(ValueError, match=words):
        TrackRecord(**{**fields, **changed})  # type: ignore[arg-type]
