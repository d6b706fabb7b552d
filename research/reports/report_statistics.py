"""Significance of a backtest's Sharpe ratio and of its difference to each benchmark."""

from collections.abc import Callable, Sequence
from math import isfinite, sqrt

import numpy as np

from quantd.research.metrics.catalogue import METRICS, measure
from quantd.research.metrics.excess_ratios import sample_sharpe
from quantd.research.metrics.metric import varies
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.reports.report_contents import Figure, PValue, Statistics, Versus
from quantd.research.significance.deflated_sharpe import minimum_track_record, moments, probabilistic_sharpe
from quantd.research.significance.multiple_tests import holm
from quantd.research.significance.paired_tests import kolmogorov_smirnov, paired_t, wilcoxon
from quantd.research.significance.sharpe_intervals import MIN_SAMPLES, Interval, sharpe_intervals
from quantd.research.significance.sharpe_tests import MIN_RETURNS, ledoit_wolf
from quantd.research.verdict import Verdict
from quantd.trading.market import Floats

RELATIVE = tuple(metric.name for metric in METRICS if metric.needs == "benchmark")
"""Names of the metrics that need a benchmark."""


def known(value: float | None) -> Figure:
    """Return the value, or None where it is not finite."""
    return float(value) if value is not None and isfinite(value) else None


def statistics_of(
    house: TrackRecord, benchmarks: Sequence[tuple[str, TrackRecord | None]], verdict: Verdict
) -> Statistics:
    """Return the significance of the house's (whole account's) Sharpe ratio, and of its difference to each benchmark.

    The interval, the trials and the deflated ratio are copied from the verdict, so that a page never shows two values
    of one figure.
    """
    performance = verdict.performance
    ratio = known(sample_sharpe(house))
    skewness, kurtosis = moments(house.excess)
    # tested against a ratio of 0; `known` gives None for a figure that is not finite
    minimum_samples = known(minimum_track_record(ratio, 0.0, skewness, kurtosis)) if ratio is not None else None
    probability = probabilistic_sharpe(ratio, 0.0, house.samples, skewness, kurtosis) if ratio is not None else None
    return Statistics(
        sharpe=None if ratio is None else ratio * sqrt(house.periods),
        low=performance.sharpe_low if performance else None,
        high=performance.sharpe_high if performance else None,
        probabilistic_sharpe=known(probability),
        deflated_sharpe=verdict.deflated_sharpe,
        trials=verdict.trials,
        withdrawn=verdict.withdrawn,
        minimum_samples=minimum_samples,
        minimum_years=None if minimum_samples is None else minimum_samples / house.periods,
        versus=versus_all(house, benchmarks),
    )


def versus_all(house: TrackRecord, benchmarks: Sequence[tuple[str, TrackRecord | None]]) -> tuple[Versus, ...]:
    """Compare the whole account with each benchmark that has a track record.

    The p-values of one test are adjusted for the number of benchmarks, not for the number of tests.
    """
    pairs = [(name, record) for name, record in benchmarks if record is not None]
    tests: dict[str, list[PValue]] = {
        "paired_t": _adjusted([_p(paired_t, house.returns, other.returns) for _, other in pairs]),
        "wilcoxon": _adjusted([_p(wilcoxon, house.returns, other.returns) for _, other in pairs]),
        "kolmogorov_smirnov": _adjusted([_p(kolmogorov_smirnov, house.returns, other.returns) for _, other in pairs]),
        "ledoit_wolf": _adjusted([_sharpe_p(house.excess, other.excess) for _, other in pairs]),
    }
    return tuple(
        _versus(house, name, other, {test: values[k] for test, values in tests.items()})
        for k, (name, other) in enumerate(pairs)
    )


def sharpe_gain(one: TrackRecord, other: TrackRecord) -> tuple[Figure, Interval | None]:
    """Return (annual Sharpe ratio of `one` less the ratio of `other`, paired bootstrap interval of this difference).

    Both are None where the difference is undefined. The interval is also None for too few samples.
    """
    intervals = sharpe_intervals(one.returns, other.returns, periods=one.periods, risk_free_annual=one.risk_free_annual)
    gain = known((sample_sharpe(one) - sample_sharpe(other)) * sqrt(one.periods))
    return gain, intervals.difference if intervals and gain is not None else None


def no_interval(versus: Versus, one: TrackRecord, other: TrackRecord, names: tuple[str, str]) -> str:
    """Return why the Sharpe difference in `versus` has no interval; empty where it has one.

    `one` and `other` are the compared records, and `names` their names in the text.
    """
    if versus.low is not None:
        return ""
    if one.samples < MIN_SAMPLES:
        return f"There are too few samples for an interval of the Sharpe difference: {one.samples} of {MIN_SAMPLES}"
    constant = [name for name, record in zip(names, (one, other), strict=True) if not varies(record.excess)]
    if constant:
        have, their = ("has", "its") if len(constant) == 1 else ("have", "their")
        return f"{' and '.join(constant)} {have} no Sharpe ratio: {their} returns do not vary"
    return "There is no interval of the Sharpe difference: some of its resamples do not vary"


def _versus(house: TrackRecord, name: str, other: TrackRecord, tests: dict[str, PValue]) -> Versus:
    """Return the comparison with the benchmark `name`, whose record is `other`; `tests` has the p-values by test."""
    against_benchmark = TrackRecord(
        house.equity, house.days_ns, house.periods, house.risk_free_annual, benchmark=other.equity,
        ruin=house.ruin or other.ruin,
    )  # fmt: skip
    gain, interval = sharpe_gain(house, other)
    return Versus(
        benchmark=name,
        sharpe_difference=gain,
        low=interval.low if interval else None,
        high=interval.high if interval else None,
        relative=measure(against_benchmark, RELATIVE),
        **tests,
    )


def _p(test: Callable[[Floats, Floats], object], returns: Floats, other: Floats) -> Figure:
    """Return the p-value of a paired test of two series of returns; None for fewer than two returns."""
    return known(getattr(test(returns, other), "p")) if len(returns) > 1 else None  # noqa: B009


def _sharpe_p(returns: Floats, other: Floats) -> Figure:
    """Return the p-value of equal Sharpe ratios of two series of excess returns; None for too few returns."""
    if len(returns) < MIN_RETURNS:
        return None
    with np.errstate(all="ignore"):
        return known(ledoit_wolf(returns, other).p)


def _adjusted(values: Sequence[Figure]) -> list[PValue]:
    """Return each p-value with its adjusted value. An undefined p-value stays None and is not counted as a test."""
    defined = [value for value in values if value is not None]
    adjusted = iter(holm(np.array(defined)).tolist() if defined else [])
    return [PValue(value, None if value is None else next(adjusted)) for value in values]
