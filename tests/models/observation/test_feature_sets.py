"""The declared sets as observations: the same figures whatever the scale, from the past alone, more than 200
of them."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from quantd.models.history.panel import MacroSource, SeriesSource
from quantd.models.history.panel_files import read_panel
from quantd.models.history.series_files import SeriesError, macro_at, series_at
from quantd.models.observation.feature_sets import adjusted_bars, declared
from quantd.models.observation.table import observe
from quantd.strategies.features import Inputs, compute, shipped, spec_of
from quantd.training.market.environments import Portfolio
from tests.support.checkout import DATA

BARS, ACTIONS = DATA / "us_daily.parquet", DATA / "us_actions.csv"
SYMBOLS = ("SPY", "AAPL")


def panel(last: date = date(2014, 12, 31)):
    return read_panel(BARS, ACTIONS, SYMBOLS, date(2011, 6, 1), last)


def test_splits_and_dividends_leave_no_jump_and_the_last_close_none_of_the_scale():
    given = panel()
    bars = adjusted_bars(given)
    np.testing.assert_allclose(bars["close"][1:] / bars["close"][:-1] - 1.0, given.returns()[1:], rtol=1e-9)
    assert (bars["high"] >= bars["close"] - 1e-9).all()
    assert (bars["low"] <= bars["open"] + 1e-9).all()
    split = int(np.flatnonzero(given.split[:, 1] != 1.0)[0])
    assert 0.2 < bars["volume"][split, 1] / bars["volume"][split - 1, 1] < 5.0


@pytest.mark.parametrize("name", ["default", "full"])
def test_the_sets_do_not_depend_on_the_scale_that_history_begins_with(name):
    given = panel()
    bars = adjusted_bars(given)
    other = {field: values * (1.0 if field == "volume" else 7.3) for field, values in bars.items()}
    one, two = (compute(shipped(name), Inputs(given.day_ns, b, 0), rows=5) for b in (bars, other))
    np.testing.assert_allclose(one, two, rtol=1e-6, atol=1e-9)


@pytest.mark.long
@pytest.mark.requirement("R-035")
def test_the_full_observation_has_more_than_200_named_entries():
    env = Portfolio(
        BARS, SYMBOLS, "2013-06-03", "2014-12-31", features=declared("full", "SPY"), warmup_days=2200, length=20
    )  # fmt: skip
    observation, _ = env.reset(seed=1)
    assert env.observation_space.shape[0] == len(env.state_names) == len(observation) >= 200
    shown = dict(zip(env.state_names, observation.tolist(), strict=True))
    assert shown["AAPL.known"] == 1.0
    assert 0.0 <= shown["SPY.rsi_14"] <= 100.0


def test_a_set_that_needs_more_than_bars_is_refused_by_name():
    with pytest.raises(ValueError, match="weight"):
        declared("observation", "SPY")
    with pytest.raises(ValueError, match="benchmark"):
        declared("full")
    with pytest.raises(ValueError, match="QQQ"):
        observe(panel(), declared("full", "QQQ"))
    with pytest.raises(ValueError, match="vix"):
        observe(panel(), declared(spec_of(["vix_z_60"])))
    with pytest.raises(ValueError, match="high, low, volume"):
        observe(replace(panel(), bars={}), declared())


def test_a_macro_series_is_known_from_the_next_open_or_from_its_close(tmp_path):
    path = tmp_path / "vix.csv"
    path.write_text("ts,value\n2014-07-28,15.0\n2014-07-30,\n2014-07-29,16.0\n2014-08-02,17.0\n")
    days = np.array(["2014-07-25", "2014-07-28", "2014-07-29", "2014-07-31", "2014-08-01", "2014-08-04"])
    at = days.astype("datetime64[ns]").astype(np.int64)
    nan = np.nan
    after = macro_at(at, MacroSource("vix", str(path)), ["A"])
    np.testing.assert_array_equal(after, [nan, nan, 15.0, 16.0, 16.0, 17.0])
    same = macro_at(at, MacroSource("vix", str(path), "close"), ["A"])
    np.testing.assert_array_equal(same, [nan, 15.0, 16.0, 16.0, 16.0, 17.0])


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("day,value\n2014-07-28,15.0\n", "columns day, value; name one of them ts"),
        ("ts,value\n2014-07-28,15.0\n2014-07-28,16.0\n", "2014-07-28 has two values"),
        ("ts,value\nMonday,15.0\n", "column ts has no dates"),
        ("ts,value\n,15.0\n", "column ts has an empty date"),
        ("ts,value\n2014-07-28,high\n", '"high" is not a number'),
        ("ts,value\n2014-07-28,\n", "no row"),
    ],
)
def test_a_file_that_is_no_series_is_refused(tmp_path, text, word):
    path = tmp_path / "vix.csv"
    path.write_text(text)
    with pytest.raises(SeriesError, match=word):
        macro_at(np.array([0]), MacroSource("vix", str(path)), ["A"])
    with pytest.raises(SeriesError, match="no such file"):
        macro_at(np.array([0]), MacroSource("vix", str(tmp_path / "absent.csv")), ["A"])


def test_a_series_per_symbol_is_known_from_its_publication_and_for_its_days(tmp_path):
    path = tmp_path / "esg.csv"
    rows = ("2014-07-25,A,1.0,2014-07-28", "2014-07-25,B,2.0,2014-07-25", "2014-07-29,A,3.0,2014-07-30",
            "2014-07-25,Z,9.0,2014-07-25", "2014-07-24,A,8.0,2014-08-01")  # fmt: skip
    path.write_text("ts,symbol,score,available\n" + "\n".join(rows) + "\n")
    days = np.array(["2014-07-25", "2014-07-28", "2014-07-29", "2014-07-31", "2014-08-01", "2014-08-04"])
    at = days.astype("datetime64[ns]").astype(np.int64)
    nan = np.nan
    scores = series_at(at, SeriesSource("esg", str(path), column="score"), ["B", "A", "C"])
    np.testing.assert_array_equal(scores[:, 0], [nan, 2.0, 2.0, 2.0, 2.0, 2.0])
    np.testing.assert_array_equal(scores[:, 1], [nan, nan, 1.0, 3.0, 3.0, 3.0])
    assert np.isnan(scores[:, 2]).all()
    brief = series_at(at, SeriesSource("esg", str(path), column="score", valid_days=3), ["B", "A"])
    np.testing.assert_array_equal(brief[:, 0], [nan, 2.0, 2.0, 2.0, nan, nan])
    with pytest.raises(SeriesError, match="column value is missing"):
        series_at(at, SeriesSource("esg", str(path)), ["A"])


def test_what_comes_after_a_row_does_not_change_it():
    reference, part = (observe(p, declared()) for p in (panel(), panel(date(2014, 7, 31))))
    rows = len(part.table)
    assert part.warm < rows - 300
    np.testing.assert_array_equal(reference.table[:rows], part.table)
