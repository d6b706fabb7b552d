"""The truncation test over the whole procedure: five planted leaks are found, and the honest walk has none."""

from datetime import date

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace

import quantd
from quantd.research.studies import walk
from quantd.research.studies.walk_truncation import leaks
from tests.support.checkout import DATA

CUTS = (date(2013, 8, 30),)


@pytest.fixture(scope="module")
def bars():
    frame = pl.read_parquet(DATA / "us_daily.parquet")
    return frame.filter(pl.col("symbol").is_in(["SPY", "IWM"]) & pl.col("ts").dt.year().is_between(2012, 2013))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def rising(view, lookback=20):
    return np.where(view.returns(lookback).sum(axis=0) > 0, 0.5, 0.0)


def walked(bars, policy=rising, embargo=5, **settings):
    given = {"over": {"lookback": [10, 40]}, "refit": "3mo", "first": "9mo", "settings": settings, "compare": False}
    return quantd.walk_forward(policy, bars, embargo=embargo, **given).walk


@pytest.mark.long
def test_the_procedure_itself_has_none(bars):
    assert leaks(walked, bars, CUTS) == []


@pytest.mark.long
def test_a_scaler_of_the_whole_sample_is_found(bars):
    def procedure(given):
        spread = given.group_by("symbol", maintain_order=True).agg(pl.col("close").std())["close"].to_numpy()

        def scaled(view, lookback=20):
            return np.where(view.returns(lookback).sum(axis=0) > 0, spread / spread.sum(), 0.0)

        return walked(given, scaled)

    first = leaks(procedure, bars, CUTS)[0]
    assert first.what.startswith("refit")
    assert str(first).endswith("on bars to 2013-08-30")


@pytest.mark.long
def test_parameters_chosen_on_the_future_are_found(bars, monkeypatch):
    monkeypatch.setattr(walk, "base_at", lambda base, refit: base)
    assert leaks(walked, bars, CUTS)[0].what.startswith("refit")


@pytest.mark.long
def test_labels_that_overlap_the_refit_are_found(bars, monkeypatch):
    """Without an embargo the last rows of a fit have labels from after it: the returns of the next month."""
    honest = walk.base_at

    def overlapping(base, refit):
        month = (np.datetime64(refit.last, "D") + 31).item()
        return honest(base, replace(refit, last=month))

    monkeypatch.setattr(walk, "base_at", overlapping)
    cut = walked(bars, embargo=0).periods[-2].choice.refit.day
    differences = leaks(lambda given: walked(given, embargo=0), bars, [cut.replace(day=min(cut.day + 4, 28))])
    assert differences[0].what.startswith("refit")


@pytest.mark.long
def test_members_of_tomorrow_are_found(bars):
    """Members are the symbols above 110 on the last day, which IWM was not before November 2013."""

    def procedure(given):
        last = given.sort("ts").group_by("symbol").agg(pl.col("close").last())
        members = last.filter(pl.col("close") > 110.0)["symbol"].to_list()

        def act(view, lookback=20):
            rises = view.returns(lookback).sum(axis=0) > 0
            return {symbol: 0.45 * float(rises[view.universe.index[symbol]]) for symbol in members}

        return walked(given, act)

    assert leaks(procedure, bars, CUTS)


@pytest.mark.long
def test_costs_fitted_on_later_fills_are_found(bars):
    def procedure(given):
        later = float(given.filter(pl.col("symbol") == "SPY")["volume"].mean())
        return walked(given, **{"broker.slippage_bp": round(1e8 / later, 4)})

    differences = leaks(procedure, bars, CUTS)
    assert {difference.what.split()[0] for difference in differences} == {"refit", "return"}


@pytest.mark.long
def test_a_cut_before_the_first_period_is_refused(bars):
    with pytest.raises(quantd.Error, match="write a shorter window"):
        leaks(walked, bars, [date(2012, 9, 1)])
