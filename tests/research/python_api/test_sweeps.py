"""`quantd.sweep`: a grid of a policy's parameters over a frame, or of a configuration's keys."""

import re
from datetime import timedelta
from threading import Lock

import numpy as np
import polars as pl
import pytest

import quantd
from tests.support.command_line import answer, write
from tests.support.command_line import quantd as command


def rising(view, lookback=20):
    return np.where(view.returns(lookback).sum(axis=0) > 0, 0.5, 0.0)


LOCK = Lock()


def locked(view, lookback=20):
    with LOCK:
        return rising(view, lookback)


def test_a_functions_parameters_are_swept(bars):
    sweep = quantd.sweep(rising, {"lookback": range(10, 40, 10)}, bars=bars)
    assert sweep.table["agents.policy.params.lookback"].to_list() == [10, 20, 30]
    one = quantd.backtest(rising, bars=bars, params={"lookback": 30}, compare=False)
    assert sweep.table["sharpe"][2] == pytest.approx(one.verdict.performance.sharpe, rel=1e-12)
    assert "trials known" in str(sweep)
    assert one.verdict.trials == 3  # the backtest repeats a point of the sweep


def test_a_parameter_without_a_default_is_swept(bars):
    mixes = [{"SPY": 0.4}, {"SPY": 0.8}]
    sweep = quantd.sweep("fixed_mix", {"weights": mixes}, bars=bars)
    one = quantd.backtest("fixed_mix", bars=bars, params={"weights": mixes[1]}, compare=False)
    assert sweep.table["sharpe"][1] == pytest.approx(one.verdict.performance.sharpe, rel=1e-12)
    assert (sweep.table["sharpe"].n_unique(), one.verdict.trials) == (2, 2)


@pytest.mark.long
def test_a_function_of_the_caller_comes_to_the_same_bits_in_processes(bars, folder):
    half = 0.5  # captured

    def captured(view, lookback=20):
        return np.where(rising(view, lookback) > 0, half, 0.0)

    over = {"lookback": [10, 20, 30, 40]}
    pool_sweep = quantd.sweep(captured, over, bars=bars, workers=2, settings={"quantd.state": str(folder / "apart")})
    here = quantd.sweep(captured, over, bars=bars, settings={"quantd.state": str(folder / "here")})
    assert pool_sweep.points == here.points
    assert here.table["sharpe"].n_unique() == 4


@pytest.mark.long
def test_a_heat_map_and_a_page(bars, folder):
    sweep = quantd.sweep(rising, {"lookback": [10, 20], "broker.commission_bp": [0, 5, 10]}, bars=bars)
    shown = sweep.heat_map("broker.commission_bp", "agents.policy.params.lookback")._repr_html_()
    assert shown.count("hsl(") == 6
    assert "://" not in sweep.report(folder / "s.html").read_text()
    with pytest.raises(ValueError, match="no key of this sweep"):
        sweep.heat_map("x", "y")
    with pytest.raises(ValueError, match=r"sharp is no metric of a sweep; choose one of .*sharpe"):
        sweep.heat_map("broker.commission_bp", "agents.policy.params.lookback", metric="sharp")


@pytest.mark.long
def test_a_file_has_the_points_of_the_command(folder):
    write(folder)
    over = {"agents.trend.params.lookback": [20, 60]}
    document = answer(command(folder, "sweep", "config.toml", "--over", "agents.trend.params.lookback=20,60", "--json"))
    sweep = quantd.sweep("config.toml", over)
    assert sweep.table.to_dicts() == document["points"]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda bars: quantd.sweep(rising, {"lookback": [1]}), "needs bars"),
        (lambda bars: quantd.sweep(rising, {}, bars=bars), "needs a key"),
        (lambda bars: quantd.sweep(locked, {"lookback": [5, 6]}, bars=bars, workers=2), "locked cannot be sent to a"),
        (lambda bars: quantd.sweep(rising, {"lookback": [5, 6]}, bars, points=0), "draw 1 point or more"),
        (lambda bars: quantd.sweep(rising, {"lookback": [5, 6]}, bars, seed=3), "give their number too, points=N, or"),
        (lambda bars: quantd.sweep("nowhere.toml", {"a.b": [1]}), "nowhere.toml"),
        (lambda bars: quantd.sweep(rising, {"lookback": [5]}, bars, params={"lookback": 9}), "in settings or params"),
        (lambda bars: quantd.sweep(rising, {"lookback": [5]}, bars, on="moon"), 'on = .moon. is not "local" or "ray"'),
        (lambda bars: quantd.sweep(rising, {"lookback": [5]}, bars, address="ray://a:1"), "write on ray, or leave"),
        (lambda bars: quantd.sweep(rising, {"lookback": [5]}, bars, workers=0), "workers must be 1 or more"),
        (
            lambda bars: quantd.walk_forward(rising, bars, over={"lookback": [5, 9]}, params={"lookback": 7}),
            "agents.policy.params.lookback is in over",
        ),
        (lambda bars: quantd.backtest(rising, bars, {"cash": 1}), "Did you mean broker.cash?"),
        (lambda bars: quantd.study_signal(rising, bars, cuts=0), "cuts=0: no earlier end"),
        (lambda bars: quantd.read_bars(bars, scale="0.01"), 'scale = .0.01. is not "1" or "1e-4"'),
        (lambda bars: quantd.read_bars(bars, dates="dayfirst"), 'is not "day-first" or "month-first"'),
    ],
)
def test_a_mistake_is_an_exception_with_a_remedy(bars, call, text):
    with pytest.raises((quantd.Error, OSError), match=text):
        call(bars)


def test_a_sweep_names_the_rows_of_a_table_of_weights_that_its_bars_do_not_reach(bars):
    first, last = bars["ts"].min(), bars["ts"].max()
    weights = pl.DataFrame({"date": [first.date(), last.date() + timedelta(days=400)], "SPY": [0.5, 0.6]})
    sweep = quantd.sweep(weights, {"broker.commission_bp": [0, 5]}, bars=bars)
    assert "Not used: 1 of 2 rows of the weights are after the bars" in str(sweep)
    with pytest.raises(quantd.Error, match="all 1 rows of the weights are after the bars"):
        quantd.sweep(weights[1:], {"broker.commission_bp": [0, 5]}, bars=bars)


def test_a_remedy_of_a_command_is_one_of_python_here(bars):
    with pytest.raises(quantd.Error, match=r'write over=\{"KEY": \[VALUE, VALUE\]\}'):
        quantd.sweep(rising, {}, bars=bars)
    with pytest.raises(quantd.Error, match=r'settings=\{"broker.commission_bp": VALUE\}'):
        quantd.walk_forward(rising, bars, over={"broker.commission_bp": [1, 2]})
    with pytest.raises(ValueError, match="they are fractions"):
        quantd.backtest({"SPY": 0.6}, bars, compare=False).brinson({"SPY": 60})


def test_a_notebooks_function_without_a_lookback_is_swept_after_the_named_remedy(bars):
    def steady(view, k=5):
        return (view.momentum(k) > 0) / len(view.prices)

    (needed,) = re.findall(
        r"k=10: .*\(Python: act\.lookback = (\d+)\)", str(quantd.sweep(steady, {"k": [5, 10]}, bars))
    )
    steady.lookback = int(needed)
    assert quantd.sweep(steady, {"k": [5, 10]}, bars).table["sharpe"].null_count() == 0
