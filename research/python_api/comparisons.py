"""Metrics of returns, comparisons of backtests and tests of their difference, computed as for `quantd report`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count

import numpy as np
import polars as pl

from quantd.research.doubts import doubt_lines
from quantd.research.metrics.catalogue import Measures
from quantd.research.metrics.sample_dates import SampleRate
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.backtests import Backtest
from quantd.research.python_api.frames import Frame
from quantd.research.python_api.return_series import require_rates, series_of
from quantd.research.python_api.walks import WalkForward
from quantd.research.reports.report_contents import Versus
from quantd.research.reports.report_statistics import no_interval, versus_all
from quantd.research.reports.sections.results import SUMMARY
from quantd.research.reports.side_by_side import (
    TESTS,
    SideBySide,
    first_lines,
    rows_of,
    sentence,
    sentences_of_tests,
    settings_text,
    side_by_side,
)
from quantd.research.significance.multiple_tests import holm
from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL


def metrics(
    returns: object,
    benchmark: object = None,
    *,
    periods: float | None = None,
    risk_free_annual: float | None = None,
) -> Measures:
    """Return every metric of the catalogue by name, as a report has them.

    `returns` is the result of a backtest or of a walk-forward; float64[T], simple returns a sample as fractions; a
    pandas series of them with dates as its index; or a polars or pandas frame of T rows with `ts` and `return`, or
    with `ts` and `equity`. `benchmark` has the same samples, in any of these forms. A return of -1 is a total loss, and
    ends the series. The metrics of a backtest without `benchmark` use equal weight, if it was compared.

    `periods` is the number of samples a year: by default that of the dates (12 for months, 252 for an exchange's days),
    and 252 for an array. `risk_free_annual` is the risk-free rate a year as a fraction: by default that of a backtest,
    and 0.02 for other returns. A backtest uses its own number of samples.

    None stands for a metric that is undefined, or whose input is missing, such as the trades of an array. Raises
    Misused, which is an Error, for other shapes, other dates, values that are not finite or in percent, irregular dates
    without `periods`, and `periods` that contradicts the dates or the number of samples a year of a backtest.
    """
    result = _backtest_of(returns)
    if result is not None and benchmark is None:
        _refuse_other_periods("returns", result, periods)
        return result.metrics if risk_free_annual is None else Measures(_at_rate(result.track, risk_free_annual))
    if benchmark is None:
        return Measures(_tracks([returns], ["returns"], periods, risk_free_annual)[0])
    track, benchmark_track = _tracks([returns, benchmark], ["returns", "benchmark"], periods, risk_free_annual)
    return Measures(replace(track, benchmark=benchmark_track.equity, ruin=track.ruin or benchmark_track.ruin))


def compare(*results: object, names: Sequence[str] = ()) -> "Comparison":
    """Compare the first backtest with each of the others: metrics, differences, intervals and tests.

    `results` are two or more results of `quantd.backtest` or `quantd.walk_forward`. `names` has a name for each, in the
    same order; the default is the policies. The p-values of each test are adjusted for the number of comparisons (Holm,
    1979). The figures equal those of `quantd report --compare`. Raises NotComparable, which is an Error, where bars,
    symbols, dates, costs, capital or formulas differ; Misused for fewer than two results; TooShort for fewer than two
    samples.
    """
    if len(results) < 2:
        raise Misused(f"quantd.compare needs two or more results and got {len(results)}: quantd.compare(a, b)")
    backtests = [_backtest_of(argument) for argument in results]
    for result, run in zip(results, backtests, strict=True):
        if run is None:
            raise Misused(
                f"{type(result).__name__} is not the result of a backtest; run quantd.backtest(policy, bars=frame) "
                "first. quantd.significance(a, b) compares arrays of returns"
            )
    if names and len(names) != len(results):
        raise Misused(f"{len(names)} names for {len(results)} results; give one name for each")
    # the loop above has refused None: this tells the type checker
    runs = [backtest for backtest in backtests if backtest is not None]
    labels = tuple(names) or _labels(runs)
    run_figures = [backtest.figures for backtest in runs]
    pairs = [side_by_side(run_figures[0], figures, (labels[0], name)) for figures, name in
             zip(run_figures[1:], labels[1:], strict=True)]  # fmt: skip
    return Comparison(labels, tuple(pairs))


@dataclass(frozen=True, repr=False)
class Comparison:
    """The comparison of the first of several backtests with each of the others. `str()` is the text of `quantd report
    --compare`.
    """

    names: tuple[str, ...]
    pairs: tuple[SideBySide, ...]
    """The first backtest with each of the other ones, in the order of the call."""

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per metric: its name and its value in each result, as a fraction; null where it is undefined."""
        first = self.pairs[0].metrics
        columns = {"metric": [metric.name for metric in first], self.names[0]: [metric.one for metric in first]}
        for name, pair in zip(self.names[1:], self.pairs, strict=True):
            columns[name] = [metric.other for metric in pair.metrics]
        return Frame(columns, schema={"metric": pl.String, **dict.fromkeys(self.names, pl.Float64)})

    @cached_property
    def tests(self) -> pl.DataFrame:
        """One row per pair and test: one, other, test, p, adjusted (Holm over the pairs)."""
        rows: list[tuple[str, str, str, float | None, float | None]] = []
        for _, test in TESTS:
            values = [getattr(pair.versus, test).p for pair in self.pairs]
            defined = [p for p in values if p is not None]
            # one adjusted p-value for each defined one, in the order of the pairs
            adjusted = iter(holm(np.array(defined)).tolist() if defined else [])
            rows += [
                (pair.one, pair.other, test, p, None if p is None else next(adjusted))
                for pair, p in zip(self.pairs, values, strict=True)
            ]
        kinds = {"one": pl.String, "other": pl.String, "test": pl.String, "p": pl.Float64, "adjusted": pl.Float64}
        return Frame(rows, schema=kinds, orient="row")

    def __str__(self) -> str:
        """Return for each pair of runs the table of figures, the tests and the reasons for doubt, as text."""
        lines: list[str] = []
        for pair in self.pairs:
            lines += first_lines(pair)
            rows = [("", pair.one, pair.other, "difference"), *rows_of(pair, SUMMARY)]
            widths = [max(len(row[k]) for row in rows) for k in range(4)]
            for row in rows:
                lines.append("  ".join((row[0].ljust(widths[0]), *(row[k].rjust(widths[k]) for k in (1, 2, 3)))))
            lines += [f"  {text}" for text in sentences_of_tests(pair)]
            lines += [sentence(pair), settings_text(pair), *doubt_lines(pair.doubts)]
        return "\n".join([*lines, self.pairs[0].sharpe_definition])

    def __repr__(self) -> str:
        return str(self)


def significance(
    a: object, b: object, *, periods: float | None = None, risk_free_annual: float | None = None
) -> "Significance":
    """Test whether two strategies differ, on the same samples.

    `a` and `b` are results of backtests, or returns as for `quantd.metrics`: float64[T], the same T and dates, and
    `periods` and `risk_free_annual` are as there. The tests are those of `quantd report --compare`: paired t, Wilcoxon,
    Kolmogorov-Smirnov, and Ledoit-Wolf for the Sharpe ratios. Raises NotComparable for results with other bars, dates,
    costs or capital, and Misused for other shapes or dates; both are Errors.
    """
    first, second = _backtest_of(a), _backtest_of(b)
    if first is not None and second is not None:
        _refuse_other_periods("a", first, periods)
        pair = compare(first, second, names=("a", "b")).pairs[0]
        if risk_free_annual is None:
            return Significance(pair.versus, pair.samples, pair.annualised, pair.no_interval)
    track, other_track = _tracks([a, b], ["a", "b"], periods, risk_free_annual)
    versus = versus_all(track, [("b", other_track)])[0]
    undefined = no_interval(versus, track, other_track, ("a", "b"))
    return Significance(versus, track.samples, track.annualised, undefined, track.overlap or other_track.overlap)


@dataclass(frozen=True, repr=False)
class Significance:
    """Whether strategies `a` and `b` differ: annual Sharpe ratio of `a` less `b`'s, its 95 % interval, four p-values.

    A value is None where there are too few samples for it, or where returns do not vary.
    """

    versus: Versus
    samples: int
    """Number of returns, or of samples of a backtest."""

    annualised: str = ""
    """ "annualised from 4 months" for less than a year, else empty."""

    undefined: str = ""
    """Why there is no interval of the Sharpe difference; empty where there is one."""

    overlap: str = ""
    """A reason for doubt where the windows of the returns overlap; else empty."""

    @property
    def sharpe_difference(self) -> float | None:
        """The annual Sharpe ratio of strategy `a` less the ratio of strategy `b`; None where it is undefined."""
        return self.versus.sharpe_difference

    @property
    def interval(self) -> tuple[float, float] | None:
        """The paired 95 % bootstrap interval of the difference of the annual Sharpe ratios; None where undefined."""
        low, high = self.versus.low, self.versus.high
        return None if low is None or high is None else (low, high)

    @property
    def p(self) -> dict[str, float | None]:
        """The p-value of each test of the difference by name: paired_t, wilcoxon, kolmogorov_smirnov, ledoit_wolf."""
        return {name: getattr(self.versus, name).p for _, name in TESTS}

    def __str__(self) -> str:
        """Return the difference of the Sharpe ratios, or why it is undefined, then the p-values, as text."""
        difference, period_note = self.sharpe_difference, f", {self.annualised}," if self.annualised else ""
        if self.interval is not None and difference is not None:
            low, high = self.interval
            head = f"Sharpe difference {difference:+.2f} [{low:.2f}, {high:.2f}]{period_note}"
        else:
            head = (
                self.undefined
                if difference is None
                else f"Sharpe difference {difference:+.2f}{period_note} without an interval"
            )
            head += "" if difference is None else f" ({self.undefined})"
        values = self.p
        texts = [f"{title} {'undefined' if (p := values[name]) is None else f'{p:.3f}'}" for title, name in TESTS]
        head = f"{self.overlap} {head}" if self.overlap else head
        return f"{head} over {self.samples:,} samples; p-values: {', '.join(texts)}"

    def __repr__(self) -> str:
        return str(self)


def _backtest_of(result: object) -> Backtest | None:
    """Return the Backtest in a result of `quantd.backtest` or `quantd.walk_forward`; None for any other object."""
    if isinstance(result, WalkForward):
        return result.backtest
    return result if isinstance(result, Backtest) else None


def _labels(runs: Sequence[Backtest]) -> tuple[str, ...]:
    """Return a label for each run: its policies' names. A label that repeats gets a number, from 2 on."""
    labels: dict[str, None] = {}
    for run in runs:
        name = ", ".join(agent.policy for agent in run.config.agents)
        candidates = (name if k == 1 else f"{name} {k}" for k in count(1))
        labels[next(label for label in candidates if label not in labels)] = None
    return tuple(labels)


def _refuse_other_periods(name: str, run: Backtest, periods: float | None) -> None:
    """Raise Misused where `periods` differs from the samples a year that a backtest's own figures use."""
    own_periods = run.track.periods
    if periods is not None and SampleRate(own_periods, own_periods).contradicts(periods):
        raise Misused(f"{name}: periods={periods:g}, but the backtest has {own_periods:g} samples a year; omit periods")


def _tracks(
    results: Sequence[object], names: Sequence[str], periods: float | None, risk_free_annual: float | None
) -> tuple[TrackRecord, ...]:
    """Return the track records of results, arrays and frames, on the same dates. Raises Misused for other dates or
    shapes.

    The samples a year are a result's own, else `periods`, else the rate of the dates, else 252.
    """
    annual = RISK_FREE_ANNUAL if risk_free_annual is None else risk_free_annual
    require_rates(periods, annual)
    runs = [_backtest_of(result) for result in results]
    series = [None if run is not None else series_of(result, name)
              for run, result, name in zip(runs, results, names, strict=True)]  # fmt: skip
    for run, name in zip(runs, names, strict=True):
        if run is not None:
            _refuse_other_periods(name, run, periods)
    # the samples a year of the results, else those of the arrays and frames
    rates = [run.track.periods for run in runs if run is not None]
    rates += (
        []
        if rates
        else [per_year for returns in series if returns is not None and (per_year := returns.periods(periods))]
    )
    rate = rates[0] if rates else float(PERIODS_PER_YEAR)
    records = [
        _at_rate(run.track, risk_free_annual) if run else returns.track(rate, annual) if returns else None
        for run, returns in zip(runs, series, strict=True)
    ]
    tracks = tuple(track for track in records if track is not None)
    dated = [returns is None or returns.dated for returns in series]
    for name, other, has_dates in zip(names[1:], tracks[1:], dated[1:], strict=True):
        _require_same(tracks[0], other, (names[0], name), dated=dated[0] and has_dates)
    return tracks


def _at_rate(track: TrackRecord, risk_free_annual: float | None) -> TrackRecord:
    """Return the track record of a backtest at the risk-free rate that a caller names, by default at its own."""
    if risk_free_annual is None:
        return track
    require_rates(None, risk_free_annual)
    return replace(track, risk_free_annual=risk_free_annual)


def _require_same(one: TrackRecord, other: TrackRecord, names: tuple[str, str], *, dated: bool) -> None:
    """Raise Misused where two tracks differ in the number of samples, or in the dates if `dated`."""
    if one.samples != other.samples:
        counts = f"{names[0]} has {one.samples:,} returns and {names[1]} {other.samples:,}; "
        raise Misused(f"{counts}give both on the same dates")
    if dated and not np.array_equal(one.days_ns, other.days_ns):
        raise Misused(f"{names[0]} and {names[1]} have different dates; give both on the same dates")
