"""Samples a year from dates, over calendars, intervals and time zones; irregular dates give a reason."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantd import example_bars
from quantd.research.metrics.sample_dates import first_disorder, sample_rate
from tests.support.examples import examples


def stamps(dates) -> np.ndarray:
    return pd.DatetimeIndex(dates).tz_localize("UTC").tz_localize(None).to_numpy().astype("M8[ns]").astype(np.int64)


def sessions(zone: str, opens: str, closes: str, step: str, days) -> pd.DatetimeIndex:
    """Bar ends of each day, in UTC without a zone."""
    bars = [
        pd.date_range(f"{day.date()} {opens}", f"{day.date()} {closes}", freq=step, tz=zone, inclusive="right")
        for day in days
    ]
    return pd.DatetimeIndex(
        np.concatenate([bar_ends.tz_convert("UTC").tz_localize(None).to_numpy() for bar_ends in bars])
    )


EXCHANGE = pd.DatetimeIndex(example_bars()["ts"].unique().sort().dt.replace_time_zone(None).to_numpy())
WEEKDAYS = pd.bdate_range("2020-01-01", "2020-12-31")
EVERY_DAY = pd.date_range("2020-01-01", "2020-12-31")
NEW_YORK = ("America/New_York", "09:30", "16:00")
HOURS = pd.date_range("2020-01-05 22:00", "2020-12-31", freq="h")
FOREX = HOURS[
    ~((HOURS.day_of_week == 5) | ((HOURS.day_of_week == 4) & (HOURS.hour >= 22)) | (
        (HOURS.day_of_week == 6) & (HOURS.hour < 22)))
]  # fmt: skip


@pytest.mark.parametrize(
    ("dates", "periods"),
    [
        (pd.date_range("2001-01-31", periods=200, freq="ME"), 12.0),
        (pd.date_range("2001-01-01", periods=6, freq="MS"), 12.0),
        (pd.date_range("2001-01-31", periods=50, freq="BME"), 12.0),
        (pd.date_range("2001-01-31", periods=2, freq="ME"), 12.0),
        (EXCHANGE.to_series().groupby(EXCHANGE.strftime("%Y-%m")).max(), 12.0),
        (pd.date_range("2001-01-31", periods=20, freq="QE"), 4.0),
        (pd.date_range("2001-01-31", periods=8, freq="YE"), 1.0),
        (pd.date_range("2001-01-31", periods=8, freq="6ME"), 2.0),
        (pd.date_range("2001-01-31", periods=80, freq="W-FRI"), 52.0),
        (EXCHANGE.to_series().groupby(EXCHANGE.to_period("W-SUN")).max(), 52.0),
        (pd.date_range("2001-01-31", periods=80, freq="2W"), 26.0),
        (pd.date_range("2001-01-31", periods=80, freq="SME"), 24.0),
        (pd.date_range("2001-01-31", periods=40, freq="28D"), 13.0),
        (EXCHANGE, 252.0),
        (EXCHANGE[:20], 252.0),
        (EXCHANGE[(EXCHANGE >= "2012-12-18") & (EXCHANGE <= "2013-01-05")], 252.0),
        (pd.bdate_range("2024-01-01", periods=5), 252.0),
        (pd.DatetimeIndex(["2024-01-04", "2024-01-05", "2024-01-08"]), 252.0),
        (EVERY_DAY[EVERY_DAY.day_of_week.isin([6, 0, 1, 2, 3])], 252.0),
        (EXCHANGE[:300].append(EXCHANGE[800:1200]), 252.0),
        (EXCHANGE[:300].append(EXCHANGE[[400, 500]]).append(EXCHANGE[800:1200]), 252.0),
        (EVERY_DAY, 365.0),
        (pd.date_range("2024-01-05", periods=3), 365.0),
        (pd.date_range("2020-01-01", periods=100, freq="3D"), 365.25 / 3.0),
        (WEEKDAYS[WEEKDAYS.day_of_week.isin([0, 2, 4])], 3.0 * 365.25 / 7.0),
        (sessions(*NEW_YORK, "1h", WEEKDAYS), 6 * 252.0),
        (sessions(*NEW_YORK, "30min", WEEKDAYS), 13 * 252.0),
        (sessions(*NEW_YORK, "1min", WEEKDAYS[40:43]), 390 * 252.0),
        (sessions("Australia/Sydney", "10:00", "16:00", "1h", WEEKDAYS), 6 * 252.0),
        (sessions("Asia/Tokyo", "09:00", "15:00", "30min", WEEKDAYS), 12 * 252.0),
        (pd.date_range("2020-01-01", periods=2_000, freq="h"), 24 * 365.0),
        (pd.date_range("2020-01-01", periods=500, freq="4h"), 6 * 365.0),
        (FOREX, 24 * 252.0),
    ],
)
def test_the_dates_of_a_calendar_have_its_samples_a_year(dates, periods):
    rate = sample_rate(stamps(dates))
    assert rate.periods == pytest.approx(periods)
    assert not rate.contradicts(periods * 1.15)
    assert rate.contradicts(periods * 1.25)
    assert rate.contradicts(periods / 1.25)


@given(st.sampled_from(["ME", "QE", "W-WED", "D"]), st.integers(3, 200), st.integers(0, 20_000), st.integers(0, 23))
@settings(max_examples=examples(200), deadline=None)
def test_a_regular_series_of_any_length_start_and_hour_has_the_rate_of_its_calendar(freq, count, first, hour):
    begin = pd.Timestamp("1970-01-01") + pd.Timedelta(days=first)
    dates = pd.date_range(begin, periods=count, freq=freq) + pd.Timedelta(hours=hour)
    expected = {"ME": 12.0, "QE": 4.0, "W-WED": 52.0, "D": 365.0}[freq]
    weekdays_only = freq == "D" and not dates.day_of_week.isin([5, 6]).any()
    assert sample_rate(stamps(dates)).periods == (252.0 if weekdays_only else expected)


@pytest.mark.parametrize(
    ("dates", "reason"),
    [
        (EXCHANGE[:1], "there is one date"),
        (EXCHANGE[np.random.default_rng(1).random(len(EXCHANGE)) < 0.6], "the dates are irregular, 1 day to"),
        (pd.Timestamp("2001-01-01") + pd.to_timedelta(np.random.default_rng(2).integers(1, 60, 99).cumsum(), "D"),
         "the dates are irregular"),
        (pd.Timestamp("2020-01-01") + pd.to_timedelta(np.random.default_rng(3).exponential(60, 2_000).cumsum(), "min"),
         "the times are irregular"),
        (EXCHANGE[:250].append(pd.date_range(EXCHANGE[250], periods=24, freq="ME")),
         "the dates are irregular, 1 day to"),
        (pd.date_range("2001-01-05", periods=200, freq="W-FRI")
         .append(pd.date_range("2005-01-31", periods=8, freq="ME")), "the dates are irregular, 7 days to"),
        (pd.date_range("2001-01-31", periods=120, freq="ME").append(pd.date_range("2012-01-31", periods=9, freq="QE")),
         "the dates are irregular, 28 days to"),
        (sessions(*NEW_YORK, "1min", WEEKDAYS[:1]), "all samples are of one day"),
        (pd.date_range("2020-01-06", periods=2_880, freq="min"), "no weekend is among the dates"),
    ],
)  # fmt: skip
def test_dates_that_support_no_inference_have_a_reason(dates, reason):
    rate = sample_rate(stamps(dates))
    assert rate.periods is None
    assert reason in rate.reason


def test_the_first_repeated_or_earlier_time_is_named():
    dates = stamps(pd.DatetimeIndex(["2020-01-01", "2020-01-03", "2020-01-02"]))
    assert first_disorder(dates) == "row 2 (2020-01-02) comes before row 1 (2020-01-03)"
    assert first_disorder(dates[[0, 1, 1]]) == "row 2 repeats the time of row 1 (2020-01-03)"
    assert first_disorder(dates[:2]) == ""
