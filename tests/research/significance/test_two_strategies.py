"""Two strategies compared on the same bars: the form to copy for your own, run with `pytest -m significance`."""

import numpy as np
import polars as pl
import pytest

import quantd

pytestmark = [pytest.mark.significance, pytest.mark.requirement("R-252")]


def late(view, lookback=126):
    risen = view.returns(lookback).sum(axis=0) > 0.0
    return np.where(risen, 1.0 / len(risen), 0.0)


def spread(view, lookback=126):
    return np.full(view.returns(lookback).shape[1], 1.0 / view.returns(lookback).shape[1])


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    bars = quantd.example_bars().filter(pl.col("ts").dt.year() >= 2018)
    state = {"quantd.state": str(tmp_path_factory.mktemp("state"))}
    return [quantd.backtest(policy, bars, state, compare=False) for policy in (late, spread)]


@pytest.mark.long
def test_the_rule_is_not_proven_better_than_owning_everything(results):
    significance = quantd.significance(*results)
    low, high = significance.interval
    assert low < significance.sharpe_difference < high
    assert low <= 0.0, "its Sharpe ratio would be proven better: say so in the document of the rule"
    assert significance.p["ledoit_wolf"] > 0.05


def test_a_strategy_that_earns_more_each_day_is_found_better(results):
    returns = results[1].equity["equity"].pct_change().drop_nulls().to_numpy()
    edge = np.random.default_rng(1).normal(0.001, 0.003, len(returns))
    significance = quantd.significance(returns + edge, returns)
    assert significance.interval[0] > 0.0
    assert max(significance.p["ledoit_wolf"], significance.p["paired_t"]) < 0.01


def test_a_strategy_does_not_differ_from_itself(results):
    significance = quantd.significance(results[0], results[0])
    assert significance.sharpe_difference == 0.0
    assert min(significance.p.values()) == 1.0
