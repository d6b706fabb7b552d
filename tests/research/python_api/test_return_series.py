"""Returns of a user: the dates of a frame decide the samples a year, and percent, disorder and ruin are seen."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

import quantd

MONTHS = pd.date_range("2001-01-31", periods=200, freq="ME")
R = np.random.default_rng(7).normal(0.006, 0.04, 200)
TRUE = (R.mean() - 0.02 / 12.0) / R.std(ddof=1) * np.sqrt(12.0)
INDEXED = pd.DataFrame({"return": R}, index=MONTHS)

FORMS = {
    "polars": pl.DataFrame({"ts": MONTHS.to_numpy(), "return": R}),
    "lazy": pl.DataFrame({"ts": MONTHS.to_numpy(), "return": R}).lazy(),
    "dates as text, other names": pl.DataFrame({"Date": MONTHS.strftime("%Y-%m-%d").to_list(), "Returns": R}),
    "equity": pl.DataFrame({"ts": pd.date_range("2000-12-31", periods=201, freq="ME").to_numpy(),
                            "equity": np.concatenate([[1.0], np.cumprod(1.0 + R)])}),
    "pandas": INDEXED.rename_axis("ts").reset_index(),
    "pandas, dates as index": INDEXED,
    "pandas, a zone": INDEXED.tz_localize("America/New_York"),
    "pandas, months as index": INDEXED.to_period("M"),
    "series": INDEXED["return"],
    "series, months as index": INDEXED["return"].to_period("M"),
    "series, dates as index": pd.Series(R, index=[month.date() for month in MONTHS]),
    "series, text as index": pd.Series(R, index=MONTHS.strftime("%Y-%m-%d")),
    "series, days as integers": pd.Series(R, index=MONTHS.strftime("%Y%m%d").astype(int)),
    "series, months as integers": pd.Series(R, index=MONTHS.strftime("%Y%m").astype(int)),
    "series, day first": pd.Series(R, index=MONTHS.strftime("%d/%m/%Y")),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_monthly_returns_of_any_dated_form_have_twelve_samples_a_year(form):
    metrics = quantd.metrics(FORMS[form])
    assert metrics["sharpe"] == pytest.approx(TRUE, rel=1e-9)
    assert metrics.periods == 12.0
    assert quantd.metrics(FORMS[form], periods=12)["cagr"] == pytest.approx(metrics["cagr"], rel=1e-9)
    tested = quantd.significance(FORMS[form], FORMS[form])
    assert tested.sharpe_difference == 0.0


def test_the_difference_of_two_monthly_frames_is_that_of_months():
    other = FORMS["polars"].with_columns(pl.Series("return", np.roll(R, 3) * 0.5))
    beside = other["return"].to_numpy()
    expected = TRUE - (beside.mean() - 0.02 / 12.0) / beside.std(ddof=1) * np.sqrt(12.0)
    assert quantd.significance(FORMS["polars"], other).sharpe_difference == pytest.approx(expected, rel=1e-9)
    # an array beside a frame has the samples of the frame, in either order
    assert quantd.significance(FORMS["polars"], beside).sharpe_difference == pytest.approx(expected, rel=1e-9)
    assert quantd.significance(beside, FORMS["polars"]).sharpe_difference == pytest.approx(-expected, rel=1e-9)
    assert quantd.metrics(FORMS["polars"], other)["tracking_error"] == pytest.approx(
        (R - beside).std(ddof=1) * np.sqrt(12.0), rel=1e-9
    )


def test_an_array_has_252_samples_a_year_unless_given():
    assert quantd.metrics(R).periods == 252.0
    assert quantd.metrics(R, periods=12)["sharpe"] == pytest.approx(TRUE, rel=1e-9)
    assert quantd.metrics(pd.Series(R)).periods == 252.0
    assert quantd.metrics(pl.Series(R)).periods == 252.0


DAILY = pl.DataFrame({"ts": pd.date_range("2020-01-01", periods=200).to_numpy(), "return": R / 5.0})
UNEVEN = FORMS["polars"].with_columns(
    ts=pl.Series((MONTHS + pd.to_timedelta(np.random.default_rng(1).integers(-14, 14, 200), "D")).to_numpy())
)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: quantd.metrics(FORMS["polars"], periods=252),
         r"returns: periods=252 contradicts the dates: 200 from 2001-01-31 to 2017-08-31 are 12 samples a year; omit"),
        (lambda: quantd.metrics(DAILY, periods=252), "are 365 samples a year"),
        (lambda: quantd.significance(FORMS["series"], R, periods=252), "a: periods=252 contradicts the dates"),
        (lambda: quantd.significance(R, FORMS["series"], periods=252), "b: periods=252 contradicts the dates"),
        (lambda: quantd.metrics(UNEVEN), r"the dates are irregular, .* give them, such as periods=12 for months"),
        (lambda: quantd.metrics(UNEVEN, periods=252), "are about 12 samples a year"),
        (lambda: quantd.metrics(FORMS["polars"][::-1]), r"row 1 \(2017-07-31\) comes before row 0 .*sort the rows"),
        (lambda: quantd.metrics(pl.concat([FORMS["polars"], FORMS["polars"]]).sort("ts")),
         r"row 1 repeats the time of row 0 \(2001-01-31\)"),
        (lambda: quantd.metrics(FORMS["polars"].with_columns(ts=pl.lit("soon"))), "\"soon\" is not read as a time"),
        (lambda: quantd.metrics(FORMS["polars"].with_columns(ts=pl.lit(1))), "the number 1 is no date.*Write it as"),
        (lambda: quantd.metrics(R * 100.0), r"value 3 is -2\.96237; each .* It looks like percent: divide by"),
        (lambda: quantd.metrics(np.abs(R) * 100.0), "looks like percent"),
        (lambda: quantd.metrics(100.0 * np.cumprod(1.0 + R)), "looks like wealth or prices: give its changes"),
        (lambda: quantd.metrics(FORMS["polars"].with_columns(pl.col("return").abs() * 100.0)), "looks like percent"),
        (lambda: quantd.metrics(R, np.abs(R) * 100.0), "benchmark: .*looks like percent"),
        (lambda: quantd.metrics(R, risk_free_annual=2), "risk_free_annual=2 is 200% a year; it looks like percent"),
        (lambda: quantd.significance(R, R, risk_free_annual=5.0), "risk_free_annual=5 .*2 % is 0.02"),
        (lambda: quantd.metrics(R, risk_free_annual=float("nan")), "risk_free_annual = nan is not a number or None"),
        (lambda: quantd.metrics(R, periods=0), "periods is 0; give a positive number"),
        (lambda: quantd.metrics(R, periods=float("inf")), "periods = inf is not a number or None; correct it"),
        (lambda: quantd.metrics(R, periods="monthly"), "periods = 'monthly' is not a number or None; correct it"),
        (lambda: quantd.metrics([0.1, -1.0, 0.2]), "value 1 loses everything, and value 2 is 0.2; cut the series"),
        (lambda: quantd.metrics(FORMS["equity"].with_columns(pl.col("equity") * 0.0)), "value 0 is 0"),
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused_with_its_remedy(call, text):
    with pytest.raises(quantd.Error, match=text):
        call()


def test_irregular_dates_have_the_periods_that_are_given():
    assert quantd.metrics(UNEVEN, periods=12)["sharpe"] == pytest.approx(TRUE, rel=1e-9)


def test_annual_figures_of_less_than_a_year_are_marked():
    short = FORMS["polars"][:4]
    metrics = quantd.metrics(short)
    assert metrics.annualised == "annualised from 4 months"
    lines = dict(line.split(maxsplit=1) for line in str(metrics).splitlines()[1:])
    assert str(metrics).startswith("4 samples, 12 a year, annualised from 4 months\n")
    assert lines["cagr"].endswith(", annualised from 4 months")
    assert "annualised" not in lines["total_return"]
    assert json.loads(json.dumps(metrics))["total_return"] == metrics["total_return"]
    other = short.with_columns(pl.Series("return", R[4:8]))
    assert "annualised from 4 months" in str(quantd.significance(short, other))
    assert quantd.metrics(FORMS["polars"][:12]).annualised == ""
    assert quantd.metrics(R[:9] / 5.0).annualised == "annualised from 13 days"
    day = quantd.significance(R[:63] / 5.0, R[63:126] / 5.0)
    assert "], annualised from 3 months, over 63 samples" in str(day)


def test_a_result_of_less_than_a_year_is_marked(bars):
    window = {"feed.start": "2012-04-03", "feed.end": "2012-09-28"}
    runs = [quantd.backtest(name, bars, window) for name in ("equal_weight", "inverse_volatility")]
    assert runs[0].metrics.annualised == "annualised from 6 months"
    assert "annualised from 6 months" in str(quantd.compare(*runs))
    assert "annualised from 6 months" in str(quantd.significance(*runs))


def test_a_total_loss_ends_the_series():
    metrics = quantd.metrics([0.1, -0.05, -1.0])
    assert (metrics["total_return"], metrics["cagr"], metrics["max_drawdown"]) == (-1.0, -1.0, 1.0)
    assert metrics["sharpe"] == quantd.metrics([0.1, -0.05, -1.0, 0.0][:3])["sharpe"] < 0.0
    longer = quantd.metrics([0.1, -0.05, -1.0, 0.0, 0.0])
    assert longer["total_return"] == -1.0
    assert longer["worst_sample"] == -1.0
    monthly = FORMS["equity"][:5].with_columns(equity=pl.Series([1.0, 1.1, 1.0, 0.0, 0.0]))
    assert quantd.metrics(monthly)["worst_month"] == -1.0
    beside = quantd.metrics([0.1, -0.05, 0.02], [0.1, -0.05, -1.0])
    assert beside["batting_average"] == pytest.approx(1.0 / 3.0)
    assert "Sharpe difference" in str(quantd.significance(np.append(R / 5.0, -1.0), np.append(R / 5.0, 0.0)))


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        (R, np.full(200, 0.001), "b has no Sharpe ratio: its returns do not vary over 200 samples"),
        (np.zeros(200), R, "a has no Sharpe ratio"),
        (np.zeros(200), np.full(200, 0.001), "a and b have no Sharpe ratio: their returns do not vary"),
        (R[:39], R[1:40], "without an interval (There are too few samples"),
        (R[:39], R[1:40], "39 of 40"),
        (R, np.append(np.zeros(199), 0.01), "some of its resamples do not vary"),
    ],
)
def test_a_missing_interval_has_its_true_reason(a, b, text):
    assert text in str(quantd.significance(a, b))


def test_factors_in_percent_or_with_a_repeated_date_are_refused(bars):
    result = quantd.backtest("equal_weight", bars, compare=False)
    market = result.equity["equity"].pct_change().fill_null(0.0)
    frame = result.equity.select("ts").with_columns(market=market)
    assert result.factors(frame).betas["market"].value == pytest.approx(1.0)
    with pytest.raises(quantd.Error, match=r"factors: market: .*looks like percent: divide by 100"):
        result.factors(frame.with_columns(pl.col("market") * 100.0))
    with pytest.raises(quantd.Error, match="1 dates are repeated"):
        result.factors(pl.concat([frame, frame[-1:]]))
