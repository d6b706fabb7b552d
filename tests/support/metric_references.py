"""References of the metrics (libraries and plain loops), the worlds they are compared on, and the documented table.

`python -m tests.support.metric_references docs/research/metrics.md` writes the table of that page.
"""

import math
import re
import statistics
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final

import empyrical
import numpy as np
import pandas as pd
import polars as pl
import quantstats.stats as qs
from numpy.typing import NDArray
from scipy import stats

from quantd.research.metrics.catalogue import METRICS, measure
from quantd.research.metrics.round_trips import Fills, RoundTrip, round_trips
from quantd.research.metrics.track_record import TrackRecord
from tests.support.checkout import DATA

Floats = NDArray[np.float64]
DAY_NS: Final = 86_400 * 10**9


@dataclass(frozen=True)
class World:
    """A track record and its series in pandas."""

    record: TrackRecord

    def __str__(self) -> str:
        return f"{self.record.samples} samples to {self.record.equity[-1]:.0f}"

    @property
    def p(self) -> float:
        return self.record.periods

    @cached_property
    def index(self) -> pd.DatetimeIndex:
        return pd.DatetimeIndex(self.record.days_ns[1:])

    def series(self, values: Floats) -> pd.Series:
        return pd.Series(np.asarray(values, dtype=np.float64), self.index)

    @cached_property
    def r(self) -> pd.Series:
        return self.series(plain_returns(self.record.equity))

    @cached_property
    def f(self) -> Floats:
        """The risk-free rate of each sample."""
        return np.broadcast_to(np.asarray(self.record.risk_free_annual) / self.p, len(self.r)).astype(np.float64)

    @property
    def rate(self) -> float:
        return statistics.fmean(self.f.tolist()) * self.p

    @cached_property
    def e(self) -> pd.Series:
        return self.r - self.f

    @cached_property
    def b(self) -> pd.Series:
        assert self.record.benchmark is not None
        return self.series(plain_returns(self.record.benchmark))

    @cached_property
    def x(self) -> pd.Series:
        return self.b - self.f

    @cached_property
    def d(self) -> pd.Series:
        """Drawdowns after each return, negative."""
        return qs.to_drawdown_series(self.r)

    @cached_property
    def episodes(self) -> Floats:
        # quantstats overlooks an episode that starts at the first sample
        first = pd.Series([0.0], pd.DatetimeIndex(self.record.days_ns[:1]))
        table = qs.drawdown_details(pd.concat([first, self.d]))
        return -table["max drawdown"].to_numpy(dtype=np.float64) / 100.0

    @cached_property
    def g(self) -> pd.Series:
        """Profits of trips."""
        return pd.Series([trip.profit for trip in self.record.trips or ()], dtype=np.float64)

    def by(self, rule: str) -> pd.Series:
        return (1.0 + self.r).resample(rule).prod()[lambda s: self.r.resample(rule).count() > 0] - 1.0

    @cached_property
    def line(self) -> tuple[float, float, float]:
        """Slope, intercept and standard error of residuals, by least squares."""
        design = np.column_stack([self.x, np.ones(len(self.x))])
        (slope, intercept), *_ = np.linalg.lstsq(design, self.e.to_numpy())
        residuals = self.e.to_numpy() - design @ np.array([slope, intercept])
        return float(slope), float(intercept), math.sqrt(math.fsum(residuals * residuals) / (len(residuals) - 2))

    @property
    def growth(self) -> float:
        return float(empyrical.annual_return(self.r, annualization=self.p)) - self.rate

    @property
    def ulcer(self) -> float:
        # quantstats divides by T - 1
        return float(qs.ulcer_index(self.r)) * math.sqrt((len(self.r) - 1) / len(self.r))

    @property
    def sample_sharpe(self) -> float:
        return float(empyrical.sharpe_ratio(self.e, 0, annualization=1))

    @property
    def years(self) -> float:
        return len(self.r) / self.p


def plain_returns(equity: Floats) -> Floats:
    return np.array([b / a - 1.0 for a, b in pairwise(equity.tolist())])


def plain_autocorrelation(values: Sequence[float]) -> float:
    middle = statistics.fmean(values)
    centred = [value - middle for value in values]
    return math.fsum(a * b for a, b in zip(centred[1:], centred[:-1], strict=True)) / math.fsum(a * a for a in centred)


def serial_sharpe(w: World) -> float:
    rho, q = plain_autocorrelation(w.e.tolist()), int(w.p)
    return w.sample_sharpe * q / math.sqrt(q + 2.0 * math.fsum((q - k) * rho**k for k in range(1, q)))


def probabilistic_sharpe(w: World) -> float:
    s, skew, kurtosis = w.sample_sharpe, float(stats.skew(w.e)), float(stats.kurtosis(w.e))
    deviation = math.sqrt(1.0 - skew * s + (kurtosis + 2.0) / 4.0 * s * s)
    return float(stats.norm.cdf(s * math.sqrt(len(w.e) - 1) / deviation))


def longest_drawdown(w: World) -> float:
    longest = length = 0
    high = value = w.record.equity[0]
    for value in w.record.equity[1:]:
        length = length + 1 if value < high else 0
        high, longest = max(high, value), max(longest, length)
    return longest


def recovery(w: World) -> float | None:
    high = worst = 0.0
    since: int | None = None
    lasted: int | None = None
    goal = 0.0
    for row, value in enumerate(w.record.equity):
        if since is not None and lasted is None and value >= goal:
            lasted = row - since
        high = max(high, value)
        if 1.0 - value / high > worst:
            worst, since, lasted, goal = 1.0 - value / high, row, None, high
    return lasted


def plain_mean(values: pd.Series) -> float:
    return math.fsum(values) / len(values)


def of_capture(w: World, select: Callable[..., float]) -> float:
    return float(select(w.r, w.b, function=lambda returns, benchmark: returns.mean() / benchmark.mean()))


def annual_share(w: World, *amounts: float | None) -> float:
    assert None not in amounts
    return math.fsum(amounts) / plain_mean(w.record.equity) / w.years


def quantile(values: pd.Series, share: float) -> float:
    return float(np.quantile(values, share, method="lower"))


def annual(w: World, function: Callable[..., float], *series: pd.Series) -> float:
    return float(function(*series, annualization=w.p))


Reference = Callable[[World], float | None]
REFERENCES: Final[Mapping[str, tuple[tuple[str, Reference], ...]]] = {
    "total_return": (("empyrical", lambda w: empyrical.cum_returns_final(w.r)), ("quantstats", lambda w: qs.comp(w.r))),
    "cagr": (
        ("empyrical", lambda w: annual(w, empyrical.annual_return, w.r)),
        ("quantstats", lambda w: qs.cagr(w.r, periods=w.p)),
    ),
    "mean_return": (("statistics.fmean", lambda w: statistics.fmean(w.r.tolist())),),
    "best_sample": (("quantstats", lambda w: qs.best(w.r)),),
    "worst_sample": (("quantstats", lambda w: qs.worst(w.r)),),
    "positive_samples": (("quantstats, times the share of r ≠ 0", lambda w: qs.win_rate(w.r) * (w.r != 0).mean()),),
    "average_gain": (("quantstats", lambda w: qs.avg_win(w.r)),),
    "average_loss": (("quantstats", lambda w: -qs.avg_loss(w.r)),),
    "best_month": (("quantstats", lambda w: qs.best(w.r, "ME")), ("pandas.resample", lambda w: w.by("ME").max())),
    "worst_month": (("quantstats", lambda w: qs.worst(w.r, "ME")), ("pandas.resample", lambda w: w.by("ME").min())),
    "positive_months": (("pandas.resample", lambda w: (w.by("ME") > 0).mean()),),
    "best_year": (("quantstats", lambda w: qs.best(w.r, "YE")), ("pandas.resample", lambda w: w.by("YE").max())),
    "worst_year": (("quantstats", lambda w: qs.worst(w.r, "YE")), ("pandas.resample", lambda w: w.by("YE").min())),
    "stability": (
        ("empyrical, with a return of 0 first", lambda w: empyrical.stability_of_timeseries(np.append(0.0, w.r))),
    ),
    "volatility": (
        ("empyrical", lambda w: annual(w, empyrical.annual_volatility, w.r)),
        ("quantstats", lambda w: qs.volatility(w.r, periods=w.p)),
    ),
    "downside_deviation": (("empyrical", lambda w: annual(w, empyrical.downside_risk, w.e)),),
    "skewness": (("scipy.stats.skew", lambda w: stats.skew(w.r)),),
    "excess_kurtosis": (("scipy.stats.kurtosis", lambda w: stats.kurtosis(w.r)),),
    "serial_correlation": (("loop", lambda w: plain_autocorrelation(w.r.tolist())),),
    "var_95": (("numpy.quantile, lower", lambda w: -quantile(w.r, 0.05)),),
    "cvar_95": (("empyrical", lambda w: -empyrical.conditional_value_at_risk(w.r, 0.05)),),
    "var_99": (("numpy.quantile, lower", lambda w: -quantile(w.r, 0.01)),),
    "cvar_99": (("empyrical", lambda w: -empyrical.conditional_value_at_risk(w.r, 0.01)),),
    "sharpe": (
        ("empyrical", lambda w: annual(w, empyrical.sharpe_ratio, w.e)),
        ("quantstats", lambda w: qs.sharpe(w.e, periods=w.p)),
    ),
    "serial_sharpe": (("loop over k", serial_sharpe),),
    "probabilistic_sharpe": (("scipy.stats moments and normal law", probabilistic_sharpe),),
    "sortino": (
        ("empyrical", lambda w: annual(w, empyrical.sortino_ratio, w.e)),
        ("quantstats", lambda w: qs.sortino(w.e, periods=w.p)),
    ),
    "omega": (("empyrical", lambda w: empyrical.omega_ratio(w.e)), ("quantstats", lambda w: qs.omega(w.e))),
    "gain_to_pain": (("quantstats", lambda w: qs.gain_to_pain_ratio(w.r)),),
    "max_drawdown": (
        ("empyrical", lambda w: -empyrical.max_drawdown(w.r)),
        ("quantstats", lambda w: -qs.max_drawdown(w.r)),
    ),
    "average_drawdown": (("quantstats drawdown_details", lambda w: plain_mean(w.episodes)),),
    "current_drawdown": (("quantstats to_drawdown_series", lambda w: -w.d.iloc[-1]),),
    "longest_drawdown": (("loop", longest_drawdown),),
    "recovery": (("loop", recovery),),
    "time_under_water": (("quantstats to_drawdown_series", lambda w: (w.d < -1e-12).mean()),),
    "ulcer_index": (("quantstats, divisor T", lambda w: w.ulcer),),
    "calmar": (
        ("empyrical", lambda w: annual(w, empyrical.calmar_ratio, w.r)),
        ("quantstats", lambda w: qs.calmar(w.r, periods=w.p)),
    ),
    "martin_ratio": (("empyrical growth, quantstats ulcer", lambda w: w.growth / w.ulcer),),
    "beta": (
        ("empyrical", lambda w: empyrical.beta_aligned(w.e, w.x)),
        ("quantstats", lambda w: qs.greeks(w.e, w.x)["beta"]),
    ),
    "alpha": (("quantstats", lambda w: qs.greeks(w.e, w.x, periods=w.p)["alpha"]),),
    "correlation": (("scipy.stats.pearsonr", lambda w: stats.pearsonr(w.e, w.x).statistic),),
    "specific_risk": (("numpy.linalg.lstsq", lambda w: w.line[2] * math.sqrt(w.p)),),
    "treynor": (("empyrical beta", lambda w: plain_mean(w.e) * w.p / empyrical.beta_aligned(w.e, w.x)),),
    "active_return_annual": (("loop", lambda w: w.p * plain_mean(w.r - w.b)),),
    "tracking_error": (("empyrical", lambda w: annual(w, empyrical.annual_volatility, w.r - w.b)),),
    "information_ratio": (
        ("empyrical, times sqrt(p)", lambda w: empyrical.excess_sharpe(w.r, w.b) * math.sqrt(w.p)),
        ("quantstats, times sqrt(p)", lambda w: qs.information_ratio(w.r, w.b) * math.sqrt(w.p)),
    ),
    "batting_average": (("empyrical", lambda w: empyrical.batting_average(w.r, w.b)["batting average"]),),
    "up_capture": (("empyrical.utils.up, of means", lambda w: of_capture(w, empyrical.utils.up)),),
    "down_capture": (("empyrical.utils.down, of means", lambda w: of_capture(w, empyrical.utils.down)),),
    "trips": (("loop", lambda w: len(w.g)),),
    "win_rate": (("quantstats", lambda w: qs.win_rate(w.g, prepare_returns=False)),),
    "profit_factor": (("quantstats", lambda w: qs.profit_factor(w.g)),),
    "payoff_ratio": (("quantstats", lambda w: qs.payoff_ratio(w.g)),),
    "expectancy": (("statistics.fmean", lambda w: statistics.fmean(w.g.tolist())),),
    "average_win": (("quantstats", lambda w: qs.avg_win(w.g, prepare_returns=False)),),
    "average_losing_trip": (("quantstats", lambda w: -qs.avg_loss(w.g, prepare_returns=False)),),
    "largest_losing_trip": (("quantstats", lambda w: -qs.worst(w.g, prepare_returns=False)),),
    "average_holding": (("loop", lambda w: statistics.fmean([trip.samples for trip in w.record.trips or ()])),),
    "turnover": (("loop", lambda w: annual_share(w, w.record.traded)),),
    "cost_drag": (("loop", lambda w: annual_share(w, w.record.commission, w.record.slippage_paid, w.record.borrow)),),
    "trading_cost": (("loop", lambda w: (w.record.commission + w.record.slippage_paid) / w.record.traded * 10_000.0),),
    "average_gross": (("statistics.fmean", lambda w: statistics.fmean(w.record.gross.tolist())),),
    "largest_gross": (("max", lambda w: max(w.record.gross.tolist())),),
    "average_net": (("statistics.fmean", lambda w: statistics.fmean(w.record.net.tolist())),),
}


def random_record(seed: int, samples: int, *, tail: float = 3.0, drift: float = 0.0004, **more: object) -> TrackRecord:
    """A record of fat-tailed returns with everything known; no total loss."""
    draw = np.random.default_rng(seed)
    common = draw.standard_t(tail, samples)
    returns = np.maximum(drift + 0.006 * common + 0.006 * draw.standard_t(tail, samples), -0.9)
    other = np.maximum(drift + 0.009 * common, -0.9)
    days = pd.bdate_range("2015-01-05", periods=samples + 1).to_numpy().astype("datetime64[ns]").astype(np.int64)
    return filled_record(draw, returns, other, days, **more)


def filled_record(
    draw: np.random.Generator, returns: Floats, other: Floats, days_ns: NDArray[np.int64], **more: object
) -> TrackRecord:
    """A record of returns whose fills, costs and exposure are drawn."""
    equity = 100_000.0 * np.cumprod(np.append(1.0, 1.0 + returns))
    count = max(len(returns), 20)
    fills = Fills(
        np.sort(draw.choice(days_ns, count)),
        draw.integers(0, 4, count),
        draw.choice([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0], count),
        draw.uniform(50.0, 150.0, count),
        draw.uniform(0.0, 1.0, count),
    )
    fields: dict[str, object] = {
        "risk_free_annual": 0.02,
        "benchmark": 50.0 * np.cumprod(np.append(1.0, 1.0 + other)),
        "gross": draw.uniform(0.0, 1.5, len(equity)),
        "net": draw.uniform(-0.5, 1.0, len(equity)),
        "traded": float(draw.uniform(1e5, 1e6)),
        "commission": float(draw.uniform(10.0, 500.0)),
        "slippage_paid": float(draw.uniform(10.0, 500.0)),
        "borrow": float(draw.uniform(0.0, 100.0)),
        "trips": round_trips(fills, ("AAA", "BBB", "CCC", "DDD"), days_ns),
    }
    return TrackRecord(equity, days_ns, 252.0, **{**fields, **more})  # type: ignore[arg-type]


def record_of(
    equity: Sequence[float], days: pd.DatetimeIndex | None = None, risk_free_annual: float = 0.02, **more: object
) -> TrackRecord:
    """A record of the given equity, on business days of 2024 unless set."""
    days = pd.bdate_range("2024-01-01", periods=len(equity)) if days is None else days
    days_ns = days.to_numpy().astype("datetime64[ns]").astype(np.int64)
    return TrackRecord(np.array(equity), days_ns, 252.0, risk_free_annual, **more)  # type: ignore[arg-type]


def trip(profit: float, samples: int = 1) -> RoundTrip:
    return RoundTrip("AAA", "long", 1.0, 0, 100.0, samples, 100.0 + profit, 0.0, profit, samples)


def value_of(record: TrackRecord, name: str) -> float:
    """The value of a metric that is defined."""
    measurement = measure(record, [name])[name]
    assert measurement is not None, name
    return measurement


def bars_record(symbol: str, other: str) -> TrackRecord:
    """Recorded closes of one symbol against those of another, on their common dates."""
    table = pl.read_parquet(DATA / "us_daily.parquet", columns=["ts", "symbol", "close"])
    wide = (
        table.filter(pl.col("symbol").is_in([symbol, other]))
        .pivot(on="symbol", index="ts", values="close")
        .drop_nulls()
    )
    wide = wide.sort("ts")
    days = wide["ts"].dt.truncate("1d").dt.epoch("ns").to_numpy()
    closes = {name: wide[name].to_numpy() for name in (symbol, other)}
    returns, benchmark = (closes[name][1:] / closes[name][:-1] - 1.0 for name in (symbol, other))
    rates = 0.02 + 0.015 * np.sin(np.arange(len(returns)) / 300.0)
    return filled_record(np.random.default_rng(7), returns, benchmark, days, risk_free_annual=rates)


def worlds() -> list[World]:
    """The worlds of the documented differences: drawn ones, and recorded bars of three symbols."""
    drawn = [
        random_record(seed, samples, tail=tail, drift=drift)
        for seed, samples, tail, drift in (
            (1, 40, 3.0, 0.0),
            (2, 253, 5.0, 0.001),
            (3, 1000, 2.5, -0.001),
            (4, 2520, 4.0, 0.0005),
        )
    ]
    rates = np.random.default_rng(9).uniform(-0.01, 0.06, 700)
    drawn.append(random_record(5, 700, tail=3.0, drift=0.0008, risk_free_annual=rates))
    return [
        World(record)
        for record in (*drawn, *(bars_record(*pair) for pair in (("SPY", "QQQ"), ("IWM", "SPY"), ("QQQ", "IWM"))))
    ]


SMALL: Final = 1e-6
"""Size below which a reference counts as this size, so that a zero can be compared."""


def difference(measurement: float | None, reference: float | None) -> float:
    """Return the relative difference; infinite where only one is defined."""
    defined = reference is not None and math.isfinite(reference)
    if measurement is None or not defined:
        return 0.0 if measurement is None and not defined else math.inf
    assert reference is not None
    return abs(measurement - float(reference)) / max(SMALL, abs(float(reference)))


def differences(cases: Sequence[World]) -> dict[str, float]:
    """Return the largest difference of each metric from any of its references, over worlds."""
    out = dict.fromkeys(REFERENCES, 0.0)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for world in cases:
            measurements = measure(world.record)
            for name, references in REFERENCES.items():
                out[name] = max(
                    out[name], *(difference(measurements[name], reference(world)) for _, reference in references)
                )
    return out


HEAD: Final = (
    "| name | unit | formula | source |",
    "|---|---|---|---|",
)


def with_table(page: str) -> str:
    """A page with the number of metrics, their table and the data that they need."""
    lines = page.splitlines(keepends=True)
    first = lines.index(f"{HEAD[0]}\n")
    last = next(at for at in range(first, len(lines)) if not lines[at].startswith("|"))
    text = "".join([*lines[:first], *(f"{line}\n" for line in table()), *lines[last:]])
    text = re.sub(r"^The metrics up to .*\n.*\n", f"{needs()}\n", text, count=1, flags=re.MULTILINE)
    return re.sub(r"\d+ metrics\.", f"{len(METRICS)} metrics.", text, count=1)


def needs() -> str:
    """The sentence of docs/research/metrics.md on the data that metrics read: the last metric of each kind but one."""
    equity, benchmark, trips, _ = ([*group][-1].name for _, group in groupby(METRICS, key=lambda metric: metric.needs))
    return (
        f"The first metrics of the table, to `{equity}`, need the equity alone. The next, to `{benchmark}`, also need "
        f"a\nbenchmark, and those to `{trips}` round trips. The last need positions, fills and costs."
    )


def table() -> list[str]:
    """The rows of docs/research/metrics.md."""
    cells = [(f"`{metric.name}`", metric.unit, metric.formula.replace("|", "\\|"), metric.source) for metric in METRICS]
    return [*HEAD, *(f"| {' | '.join(row)} |" for row in cells)]


if __name__ == "__main__":
    file = Path(sys.argv[1])
    file.write_text(with_table(file.read_text(encoding="utf-8")), encoding="utf-8")
