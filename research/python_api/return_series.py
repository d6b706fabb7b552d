"""Returns and equity of the caller, arrays or frames, as track records with the samples a year of their dates."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.bars.rows import NO_STAMP
from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import nanoseconds
from quantd.adapters.feeds.tables.roles import is_time
from quantd.research.metrics.percent import PERCENT, percent_shape
from quantd.research.metrics.sample_dates import SampleRate, first_disorder, sample_rate
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.python_api.backtests import Misused
from quantd.research.python_api.bar_frame import is_pandas, of_pandas
from quantd.trading.display_text import session_date
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

REMEDY: Final = "give the result of quantd.backtest, an array of returns, or a frame with ts and return or equity"

HIGHEST_RATE: Final = 0.5
"""Largest annual risk-free rate, as in config.toml. A larger one is in percent."""

_COLUMNS: Final = {"return": "return", "returns": "return", "equity": "equity"}


@dataclass(frozen=True, slots=True)
class ReturnSeries:
    """Returns or equity of the caller, not yet a track record. `column` is "return" or "equity".

    `stamps` int64[N] ns are the times of the N values, None for an array.
    """

    name: str
    column: str
    values: Floats
    stamps: Ints | None

    @property
    def dated(self) -> bool:
        """Whether the values have dates."""
        return self.stamps is not None

    def periods(self, given: float | None) -> float | None:
        """Return the samples a year: `given`, or those of the dates; None for neither. Raises Misused for `given` that
        contradicts the dates, and for irregular dates without it."""
        if self.stamps is None:
            return given
        rate = sample_rate(self.stamps)
        if given is None:
            if rate.periods is None:
                raise Misused(
                    f"{self.name}: {rate.reason}, so the samples a year are unknown; give them, such as periods=12 for "
                    "months"
                )
            return rate.periods
        if rate.contradicts(given):
            raise Misused(f"{self.name}: periods={given:g} contradicts the dates: {self._dates(rate)}; leave it out")
        return given

    def _dates(self, rate: SampleRate) -> str:
        assert self.stamps is not None
        first, last = session_date(int(self.stamps[0])), session_date(int(self.stamps[-1]))
        about = f"{rate.periods:.6g}" if rate.periods is not None else f"about {rate.mean:.3g}"
        return f"{len(self.stamps):,} from {first} to {last} are {about} samples a year"

    def track(self, periods: float, risk_free_annual: float) -> TrackRecord:
        """Return the track record. Raises Misused for values that are no fractions, or no equity."""
        values, stamps = self.values, self.stamps
        if self.column == "return":
            self._require_fractions(periods)
            values = np.concatenate([[1.0], np.cumprod(1.0 + values)])
            stamps = None if stamps is None else np.concatenate([stamps[:1], stamps])
        days = np.arange(len(values), dtype=np.int64) * DAY_NS if stamps is None else stamps // DAY_NS * DAY_NS
        try:
            return TrackRecord(values, days, periods, risk_free_annual, ruin=True)
        except ValueError as error:
            raise Misused(f"{self.name}: {error}; give positive periods, and rates as fractions") from None

    def _require_fractions(self, periods: float) -> None:
        shape = percent_shape(self.values, periods)
        if shape:
            raise Misused(f"{self.name}: {shape}. It {PERCENT}; give a column equity for wealth")


def require_rates(periods: float | None, risk_free_annual: object) -> None:
    """Check both keywords. Raises Misused for a rate in percent, and for periods that are not positive."""
    try:
        rate = float(np.max(np.abs(np.asarray(risk_free_annual, dtype=np.float64))))
        count = 1.0 if periods is None else float(periods)
    except (TypeError, ValueError):
        raise Misused("periods and risk_free_annual are numbers, such as periods=252, risk_free_annual=0.02") from None
    if not isfinite(rate):
        raise Misused(f"risk_free_annual is {rate:g}; give a finite rate, such as 0.02 for 2 %")
    if rate > HIGHEST_RATE:
        raise Misused(f"risk_free_annual={rate:g} is {rate:.0%} a year; it {PERCENT}, and 2 % is 0.02")
    if not (isfinite(count) and count > 0.0):
        raise Misused(f"periods is {count:g}; give a positive number of samples a year, such as 252")


def series_of(given: object, name: str) -> ReturnSeries:
    """Return the caller's returns or equity. Raises Misused, which names `name`."""
    column, stamps = "return", None
    if _is_series(given):
        given = _series_frame(given)
    if is_pandas(given):
        given = of_pandas(given)
    if isinstance(given, pl.LazyFrame):
        given = given.collect()
    if isinstance(given, pl.DataFrame):
        column, stamps, given = _columns(given, name)
    if not isinstance(given, Sequence | np.ndarray | pl.Series):
        raise Misused(f"{name}: {type(given).__name__} has no returns; {REMEDY}")
    if isinstance(given, str):
        raise Misused(f"{name}: {given!r} is text; {REMEDY}")
    try:
        values: Floats = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Misused(f"{name}: these are no numbers ({error}); {REMEDY}") from None
    if values.ndim != 1 or not len(values):
        raise Misused(f"{name}: the shape is {values.shape}, not (T,) with T of 1 or more; {REMEDY}")
    _require_values(values, column, name)
    return ReturnSeries(name, column, values, stamps)


def _require_values(values: Floats, column: str, name: str) -> None:
    """Raise Misused for a value that is no return or no equity. A total loss is one, if nothing follows it."""
    least = -1.0 if column == "return" else 0.0
    wrong = ~np.isfinite(values) | (values < least)
    if wrong.any():
        k = int(wrong.argmax())
        bound = "a finite fraction, -1 or more" if column == "return" else "finite and 0 or more"
        percent = column == "return" and isfinite(values[k])
        remedy = f"It {PERCENT}, or is wrong: correct it" if percent else "Remove or correct it"
        raise Misused(f"{name}: value {k} is {values[k]:g}; each {column} must be {bound}. {remedy}")
    lost = int((values == least).argmax()) if (values == least).any() else len(values)
    after = np.flatnonzero(values[lost + 1 :] != 0.0)
    if len(after):
        k = lost + 1 + int(after[0])
        raise Misused(
            f"{name}: value {lost} loses everything, and value {k} is {values[k]:g}; cut the series after the loss, or "
            "correct it"
        )
    if column == "equity" and values[0] == 0.0:
        raise Misused(f"{name}: value 0 is 0; each equity must be positive until everything is lost. Correct it")


def _columns(frame: pl.DataFrame, name: str) -> tuple[str, Ints, pl.Series]:
    """Return ("return" or "equity", the times int64 in ns UTC, the values) of a frame.

    Raises Misused without these columns, for an unreadable time, and for rows out of order.
    """
    names: dict[str, str] = {}
    for title in frame.columns:
        plain = title.strip().lower()
        names.setdefault(_COLUMNS.get(plain, "ts" if is_time(plain) else plain), title)
    column = next((kind for kind in ("return", "equity") if kind in names), "")
    if "ts" not in names or not column:
        raise Misused(f"{name}: the frame has {', '.join(frame.columns)}, not ts and return or equity; {REMEDY}")
    try:
        stamps = nanoseconds(frame[names["ts"]])
    except FeedError as error:
        raise Misused(f"{name}: {error}") from None
    if (stamps == NO_STAMP).any():
        k = int((stamps == NO_STAMP).argmax())
        raise Misused(f"{name}: row {k} has no readable time; write it as 2024-07-03 or 2024-07-03T17:00:00Z")
    if text := first_disorder(stamps):
        raise Misused(f"{name}: {text}; sort the rows by ts, one row for each time")
    return column, stamps, frame[names[column]]


def _is_series(given: object) -> bool:
    pandas = sys.modules.get("pandas")  # a series of pandas exists only where pandas is loaded
    return pandas is not None and isinstance(given, pandas.Series)


def _series_frame(series: Any) -> object:
    """Return a pandas series as a frame of ts and return if its index holds dates, else its values."""
    import pandas

    index, values = series.index, series.to_numpy()
    if isinstance(index, pandas.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pandas.DatetimeIndex):
        labels = index.tolist()
        if not labels or not all(hasattr(label, "isoformat") or isinstance(label, str) for label in labels):
            return values
        try:
            index = pandas.DatetimeIndex(pandas.to_datetime(labels, utc=True))
        except (TypeError, ValueError):
            return values
    return pandas.DataFrame({"return": values}, index=index.set_names("ts"))
