"""Returns and equity of the caller, arrays or frames, as track records with the samples a year of their dates."""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

import numpy as np
import polars as pl

from quantd.adapters.feeds.table_files.moments import is_stamp
from quantd.adapters.feeds.table_files.roles import is_time
from quantd.research.metrics.percent import PERCENT, is_wealth, percent_shape
from quantd.research.metrics.sample_dates import SampleRate, first_disorder, sample_rate
from quantd.research.metrics.track_record import TrackRecord
from quantd.research.python_api.arguments import Misused
from quantd.research.python_api.bar_frame import dates_of, is_pandas, of_pandas
from quantd.trading.display_text import session_date
from quantd.trading.market import Floats, Ints
from quantd.trading.sessions import DAY_NS

REMEDY: Final = "give the result of quantd.backtest, an array of returns, or a frame with ts and return or equity"

HIGHEST_RATE: Final = 0.5
"""Largest annual risk-free rate, as in config.toml. A larger rate was written in percent."""

_MONTH: Final = r"(19|20)\d\d(0[1-9]|1[0-2])"
"""A month as an integer or text, 202401."""

_COLUMNS: Final = {"return": "return", "returns": "return", "equity": "equity"}
"""Title of a column in lower case -> what its values are."""


@dataclass(frozen=True, slots=True)
class ReturnSeries:
    """Returns or equity of the caller, not yet a track record. `column` is "return" or "equity".

    `stamps` int64[N] are the times (ns UTC) of the N values; None for an array.
    """

    name: str
    column: str
    values: Floats
    stamps: Ints | None

    @property
    def dated(self) -> bool:
        """True if the values have dates."""
        return self.stamps is not None

    def periods(self, stated: float | None) -> float | None:
        """Return the samples a year: `stated`, else the rate of the dates; None where both are missing.

        Raises Misused where `stated` contradicts the dates, and for irregular dates without `stated`.
        """
        if self.stamps is None:
            return stated
        rate = sample_rate(self.stamps)
        if stated is None:
            if rate.periods is None:
                raise Misused(
                    f"{self.name}: {rate.reason}, so the samples a year are unknown; give them, such as periods=12 for "
                    "months"
                )
            return rate.periods
        if rate.contradicts(stated):
            raise Misused(
                f"{self.name}: periods={stated:g} contradicts the dates: {self._rate_text(rate)}; omit periods"
            )
        return stated

    def _rate_text(self, rate: SampleRate) -> str:
        """Return the rate of the dates as a clause: "60 from 2019-01-31 to 2023-12-29 are 12 samples a year"."""
        assert self.stamps is not None
        first, last = session_date(int(self.stamps[0])), session_date(int(self.stamps[-1]))
        rate_text = f"{rate.periods:.6g}" if rate.periods is not None else f"about {rate.mean:.3g}"
        return f"{len(self.stamps):,} from {first} to {last} are {rate_text} samples a year"

    def track(self, periods: float, risk_free_annual: float) -> TrackRecord:
        """Return the track record of the series.

        Raises Misused for returns that are no fractions, and for values that are no equity.
        """
        values, stamps = self.values, self.stamps
        if self.column == "return":
            self._require_fractions(periods)
            # the growth of 1, which begins one sample before the first return
            values = np.concatenate([[1.0], np.cumprod(1.0 + values)])
            stamps = None if stamps is None else np.concatenate([stamps[:1], stamps])
        days = np.arange(len(values), dtype=np.int64) * DAY_NS if stamps is None else stamps // DAY_NS * DAY_NS
        try:
            # ruin: the series may lose everything
            return TrackRecord(values, days, periods, risk_free_annual, ruin=True)
        except ValueError as error:
            raise Misused(f"{self.name}: {error}; give positive periods, and rates as fractions") from None

    def _require_fractions(self, periods: float) -> None:
        """Raise Misused for returns that look like percent."""
        shape = percent_shape(self.values, periods)
        if shape:
            remedy = f"{PERCENT}; give a column equity for wealth"
            if is_wealth(self.values):
                remedy = (
                    "looks like wealth or prices: give its changes, series.pct_change().dropna(), or a column equity"
                )
            raise Misused(f"{self.name}: {shape}. It {remedy}")


def require_rates(periods: float | None, risk_free_annual: object) -> None:
    """Check both rates. Raises Misused for a risk-free rate in percent, and for samples a year of 0 or less."""
    try:
        rate = float(np.max(np.abs(np.asarray(risk_free_annual, dtype=np.float64))))
        samples_a_year = 1.0 if periods is None else float(periods)
    except (TypeError, ValueError):
        raise Misused("periods and risk_free_annual are numbers, such as periods=252, risk_free_annual=0.02") from None
    if not isfinite(rate):
        raise Misused(f"risk_free_annual is {rate:g}; give a finite rate, such as 0.02 for 2 %")
    if rate > HIGHEST_RATE:
        raise Misused(f"risk_free_annual={rate:g} is {rate:.0%} a year; it {PERCENT}, and 2 % is 0.02")
    if not (isfinite(samples_a_year) and samples_a_year > 0.0):
        raise Misused(f"periods is {samples_a_year:g}; give a positive number of samples a year, such as 252")


def series_of(data: object, name: str) -> ReturnSeries:
    """Return the caller's returns or equity; `name` names them in messages. Raises Misused.

    A frame, or a pandas series with dates as its index, has times. All other data are returns without times.
    """
    column, stamps = "return", None
    if _is_series(data):
        data = _series_frame(data)
    if is_pandas(data):
        data = of_pandas(data)
    if isinstance(data, pl.LazyFrame):
        data = data.collect()
    if isinstance(data, pl.DataFrame):
        column, stamps, data = _columns(data, name)
    if not isinstance(data, Sequence | np.ndarray | pl.Series):
        raise Misused(f"{name}: {type(data).__name__} has no returns; {REMEDY}")
    if isinstance(data, str):
        raise Misused(f"{name}: {data!r} is text; {REMEDY}")
    try:
        values: Floats = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise Misused(f"{name}: the values are no numbers ({error}); {REMEDY}") from None
    if values.ndim != 1 or not len(values):
        raise Misused(f"{name}: the shape is {values.shape}, not (T,) with T of 1 or more; {REMEDY}")
    _require_values(values, column, name)
    return ReturnSeries(name, column, values, stamps)


def _require_values(values: Floats, column: str, name: str) -> None:
    """Raise Misused for a value that is no return or no equity.

    A total loss (a return of -1, an equity of 0) is accepted if every later value is 0.
    """
    total_loss = -1.0 if column == "return" else 0.0
    wrong = ~np.isfinite(values) | (values < total_loss)
    if wrong.any():
        k = int(wrong.argmax())
        bound = "a finite fraction, -1 or more" if column == "return" else "finite and 0 or more"
        may_be_percent = column == "return" and isfinite(values[k])
        remedy = f"It {PERCENT}, or is wrong: correct it" if may_be_percent else "Remove or correct it"
        raise Misused(f"{name}: value {k} is {values[k]:g}; each {column} must be {bound}. {remedy}")
    loss_index = int((values == total_loss).argmax()) if (values == total_loss).any() else len(values)
    nonzero_after = np.flatnonzero(values[loss_index + 1 :] != 0.0)
    if len(nonzero_after):
        k = loss_index + 1 + int(nonzero_after[0])
        raise Misused(
            f"{name}: value {loss_index} loses everything, and value {k} is {values[k]:g}; cut the series after "
            "the loss, or correct it"
        )
    if column == "equity" and values[0] == 0.0:
        raise Misused(f"{name}: value 0 is 0; each equity must be positive until everything is lost. Correct it")


def _columns(frame: pl.DataFrame, name: str) -> tuple[str, Ints, pl.Series]:
    """Return ("return" or "equity", the times int64 in ns UTC, the values) of a frame.

    Raises Misused without these columns, for an unreadable time, and for rows out of order.
    """
    title_of: dict[str, str] = {}
    for title in frame.columns:
        lowered = title.strip().lower()
        title_of.setdefault(_COLUMNS.get(lowered, "ts" if is_time(lowered) else lowered), title)
    column = next((kind for kind in ("return", "equity") if kind in title_of), "")
    if "ts" not in title_of or not column:
        raise Misused(f"{name}: the frame has {', '.join(frame.columns)}, not ts and return or equity; {REMEDY}")
    stamps = dates_of(frame[title_of["ts"]], f"{name}, column {title_of['ts']}").dt.epoch("ns").to_numpy()
    if disorder := first_disorder(stamps):
        raise Misused(f"{name}: {disorder}; sort the rows by ts, one row for each time")
    return column, stamps, frame[title_of[column]]


def _is_series(data: object) -> bool:
    pandas = sys.modules.get("pandas")  # a series of pandas exists only where pandas is loaded
    return pandas is not None and isinstance(data, pandas.Series)


def _series_frame(series: Any) -> object:
    """Return a pandas series as a frame of ts and return if its index holds dates, else its values."""
    import pandas

    index, values = series.index, series.to_numpy()
    if isinstance(index, pandas.PeriodIndex):
        index = index.to_timestamp()
    if not isinstance(index, pandas.DatetimeIndex):
        labels = [f"{label}01" if re.fullmatch(_MONTH, str(label)) else label for label in index.tolist()]
        if labels and all(isinstance(label, str | int) and is_stamp(str(label)) for label in labels):
            labels = dates_of(pl.Series(map(str, labels)), "the index").to_list()
        if not labels or not all(hasattr(label, "isoformat") or isinstance(label, str) for label in labels):
            return values
        try:
            index = pandas.DatetimeIndex(pandas.to_datetime(labels, utc=True))
        except (TypeError, ValueError):
            return values
    return pandas.DataFrame({"return": values}, index=index.set_names("ts"))
