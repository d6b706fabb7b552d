"""Metrics of returns, comparisons of backtests and tests of their difference, with the code of `quantd report`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Any, Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.recorded.bar_files import nanoseconds
from quantd.research.doubts import doubt_lines
from quantd.research.metrics.catalogue import measure
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.python_api.backtests import Backtest, Misused
from quantd.research.python_api.bar_frame import is_pandas, of_pandas
from quantd.research.python_api.frames import Frame
from quantd.research.python_api.walks import WalkForward
from quantd.research.reports.page_sections import SUMMARY
from quantd.research.reports.report_contents import Versus
from quantd.research.reports.report_statistics import versus_all
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
from quantd.trading.market import Floats
from quantd.trading.sessions import DAY_NS
from quantd.trading.statistics import PERIODS_PER_YEAR, RISK_FREE_ANNUAL

REMEDY: Final = "give the result of quantd.backtest, an array of returns, or a frame with ts and return or equity"


def metrics(
    returns: object,
    benchmark: object = None,
    *,
    periods: float = PERIODS_PER_YEAR,
    risk_free_annual: float = RISK_FREE_ANNUAL,
) -> dict[str, float | None]:
    """Return every metric of the catalogue by name, those of a report.

    `returns` is the result of a backtest or of a walk-forward; float64[T], simple returns a sample as fractions; or
    a polars or pandas frame of T rows with `ts` and `return`, or with `ts` and `equity`. `benchmark` has the same
    samples, in any of these forms. `periods` is the number of samples a year, and `risk_free_annual` the risk-free
    rate a year; a result has its own. A result without a `benchmark` has equal weight beside it, if it was
    compared.

    None stands for a metric that is undefined, or whose input is missing, such as the trades of an array. Raises
    Misused, which is an Error, for other shapes, other dates or values that are not finite.
    """
    given = _backtest(returns)
    if given is not None and benchmark is None:
        return given.metrics
    own = track_of(returns, "returns", periods, risk_free_annual)
    if benchmark is None:
        return measure(own)
    other = track_of(benchmark, "benchmark", periods, risk_free_annual)
    _require_same(own, other, ("returns", "benchmark"), returns, benchmark)
    return measure(replace(own, benchmark=other.equity))


def compare(*results: object, names: Sequence[str] = ()) -> "Comparison":
    """Compare the first backtest with each of the others: metrics, differences, intervals and tests.

    A result is that of `quantd.backtest` or of `quantd.walk_forward`; two or more. `names` are theirs in the same
    order, by default the policies. The p-values of each test are adjusted for the number of comparisons (Holm, 1979).
    Each figure is that of `quantd report --compare`. Raises NotComparable, which is an Error, where bars, symbols,
    dates, costs, capital or formulas differ; Misused for fewer than two results; TooShort for fewer than two samples.
    """
    if len(results) < 2:
        raise Misused(f"quantd.compare needs two results or more, and {len(results)} is given: quantd.compare(a, b)")
    found = [_backtest(each) for each in results]
    for each, run in zip(results, found, strict=True):
        if run is None:
            raise Misused(
                f"{type(each).__name__} is no result of a backtest; run quantd.backtest(policy, bars=frame) first. "
                "quantd.significance(a, b) compares arrays of returns"
            )
    if names and len(names) != len(results):
        raise Misused(f"{len(names)} names for {len(results)} results; give one name for each")
    runs = [each for each in found if each is not None]
    called = tuple(names) or _names(runs)
    figures = [each.figures for each in runs]
    pairs = [side_by_side(figures[0], other, (called[0], name)) for other, name in
             zip(figures[1:], called[1:], strict=True)]  # fmt: skip
    return Comparison(called, tuple(pairs))


@dataclass(frozen=True, repr=False)
class Comparison:
    """The first of several backtests beside each other one. `str()` has the lines of `quantd report --compare`."""

    names: tuple[str, ...]
    pairs: tuple[SideBySide, ...]
    """The first beside each other one, in the order of the call."""

    @cached_property
    def table(self) -> pl.DataFrame:
        """One row per metric: its name, and a column with the value of each result; fractions, undefined ones null."""
        first = self.pairs[0].metrics
        columns = {"metric": [each.name for each in first], self.names[0]: [each.one for each in first]}
        for name, pair in zip(self.names[1:], self.pairs, strict=True):
            columns[name] = [each.other for each in pair.metrics]
        return Frame(columns, schema={"metric": pl.String, **dict.fromkeys(self.names, pl.Float64)})

    @cached_property
    def tests(self) -> pl.DataFrame:
        """One row per pair and test: one, other, test, p, adjusted (Holm over the pairs)."""
        rows: list[tuple[str, str, str, float | None, float | None]] = []
        for _, test in TESTS:
            values = [getattr(pair.versus, test).p for pair in self.pairs]
            defined = [each for each in values if each is not None]
            adjusted = iter(holm(np.array(defined)).tolist() if defined else [])
            rows += [
                (pair.one, pair.other, test, p, None if p is None else next(adjusted))
                for pair, p in zip(self.pairs, values, strict=True)
            ]
        kinds = {"one": pl.String, "other": pl.String, "test": pl.String, "p": pl.Float64, "adjusted": pl.Float64}
        return Frame(rows, schema=kinds, orient="row")

    def __str__(self) -> str:
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
    a: object, b: object, *, periods: float = PERIODS_PER_YEAR, risk_free_annual: float = RISK_FREE_ANNUAL
) -> "Significance":
    """Test whether two strategies differ, on the same samples.

    `a` and `b` are results of backtests, or returns as for `quantd.metrics`: float64[T], the same T and dates. Results
    have their own `periods` and risk-free rate. The tests are those of `quantd report --compare`: paired t, Wilcoxon,
    Kolmogorov-Smirnov, and Ledoit-Wolf for the Sharpe ratios. Raises NotComparable for results with other bars, dates,
    costs or capital, and Misused for other samples; both are Errors.
    """
    one, other = _backtest(a), _backtest(b)
    if one is not None and other is not None:
        pair = compare(one, other).pairs[0]
        return Significance(pair.versus, pair.samples)
    own = track_of(a, "a", periods, risk_free_annual)
    beside = track_of(b, "b", own.periods, risk_free_annual)
    _require_same(own, beside, ("a", "b"), a, b)
    return Significance(versus_all(own, [("b", beside)])[0], own.samples)


@dataclass(frozen=True, repr=False)
class Significance:
    """Whether two strategies differ: a's Sharpe ratio less b's, a year, its 95 % interval, and p-values of four tests.

    A value is None where there are too few samples for it.
    """

    versus: Versus
    samples: int
    """Number of returns, or of samples of a backtest."""

    @property
    def sharpe_difference(self) -> float | None:
        """The annual Sharpe ratio of a less that of b."""
        return self.versus.sharpe_difference

    @property
    def interval(self) -> tuple[float, float] | None:
        """The paired 95 % bootstrap interval of the difference."""
        low, high = self.versus.low, self.versus.high
        return None if low is None or high is None else (low, high)

    @property
    def p(self) -> dict[str, float | None]:
        """The p-value of each test by name: paired_t, wilcoxon, kolmogorov_smirnov, ledoit_wolf."""
        return {name: getattr(self.versus, name).p for _, name in TESTS}

    def __str__(self) -> str:
        if self.interval is None or self.sharpe_difference is None:
            head = "There are too few samples for an interval of the Sharpe difference"
        else:
            low, high = self.interval
            head = f"Sharpe difference {self.sharpe_difference:+.2f} [{low:.2f}, {high:.2f}]"
        values = self.p
        texts = [f"{title} {'undefined' if (p := values[name]) is None else f'{p:.3f}'}" for title, name in TESTS]
        return f"{head} over {self.samples:,} samples; p-values: {', '.join(texts)}"

    def __repr__(self) -> str:
        return str(self)


def _backtest(given: object) -> Backtest | None:
    if isinstance(given, WalkForward):
        return given.backtest
    return given if isinstance(given, Backtest) else None


def _names(runs: Sequence[Backtest]) -> tuple[str, ...]:
    """Return the policies of the runs; a repeated one with a number."""
    taken: dict[str, None] = {}
    for run in runs:
        name = ", ".join(agent.policy for agent in run.config.agents)
        every = (name if k == 1 else f"{name} {k}" for k in count(1))
        taken[next(each for each in every if each not in taken)] = None
    return tuple(taken)


def track_of(given: object, name: str, periods: float, risk_free_annual: float) -> TrackRecord:
    """Return the track record of a result, of returns or of a frame. Raises Misused, which names `name`."""
    run = _backtest(given)
    if run is not None:
        return run.track
    days: np.ndarray[Any, np.dtype[np.int64]] | None = None
    column = "return"
    if is_pandas(given):
        given = of_pandas(given)
    if isinstance(given, pl.DataFrame):
        frame, columns = given, given.columns
        column = next((each for each in ("return", "equity") if each in columns), "")
        if "ts" not in columns or not column:
            raise Misused(f"{name}: the frame has {', '.join(columns)}, not ts and return or equity; {REMEDY}")
        days, given = nanoseconds(frame["ts"]) // DAY_NS * DAY_NS, frame[column]
    if not isinstance(given, Sequence | np.ndarray | pl.Series) and not _is_series(given):
        raise Misused(f"{name}: {type(given).__name__} has no returns; {REMEDY}")
    if isinstance(given, str):
        raise Misused(f"{name}: {given!r} is text; {REMEDY}")
    try:
        values: Floats = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Misused(f"{name}: these are no numbers ({error}); {REMEDY}") from None
    if values.ndim != 1 or not len(values):
        raise Misused(f"{name}: the shape is {values.shape}, not (T,) with T of 1 or more; {REMEDY}")
    wrong = ~np.isfinite(values) | (values <= (-1.0 if column == "return" else 0.0))
    if wrong.any():
        k = int(wrong.argmax())
        bound = "a finite fraction above -1" if column == "return" else "finite and positive"
        raise Misused(f"{name}: value {k} is {values[k]:g}; each {column} must be {bound}. Remove or correct it")
    if column == "return":
        values = np.concatenate([[1.0], np.cumprod(1.0 + values)])
        days = None if days is None else np.concatenate([days[:1], days])
    if days is None:
        days = np.arange(len(values), dtype=np.int64) * DAY_NS
    try:
        return TrackRecord(values, days, periods, risk_free_annual)
    except ValueError as error:
        raise Misused(f"{name}: {error}; sort the rows by ts, and give a positive number of periods") from None


def _is_series(given: object) -> bool:
    pandas = sys.modules.get("pandas")  # a series of pandas exists only where pandas is loaded
    return pandas is not None and isinstance(given, pandas.Series)


def _require_same(one: TrackRecord, other: TrackRecord, names: tuple[str, str], first: object, second: object) -> None:
    """Raise Misused where two tracks have another number of samples, or other dates."""
    if one.samples != other.samples:
        text = f"{names[0]} has {one.samples:,} returns and {names[1]} {other.samples:,}; "
        raise Misused(f"{text}give both on the same dates")
    dated = [not isinstance(each, Sequence | np.ndarray | pl.Series) and not _is_series(each)
             for each in (first, second)]  # fmt: skip
    if all(dated) and not np.array_equal(one.days_ns, other.days_ns):
        raise Misused(f"{names[0]} and {names[1]} have other dates; give both on the same dates")
