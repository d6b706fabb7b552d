"""`quantd.metrics`, `quantd.compare` and `quantd.significance` have the figures of `quantd report`, to the bit."""

import json

import numpy as np
import polars as pl
import pytest

import quantd
from tests.support.command_line import answer, write
from tests.support.command_line import quantd as command


@pytest.fixture(scope="module")
def pair(bars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    where = {"quantd.state": str(folder / "state")}
    return [quantd.backtest(name, bars, where, params={"lookback": 60}) for name in ("momentum", "inverse_volatility")]


def test_a_named_risk_free_rate_is_that_of_every_figure(pair):
    """Of a backtest too, which has a rate of its own without it."""
    first, second = pair
    returns = [np.diff(run.equity["equity"]) / run.equity["equity"][:-1] for run in (first, second)]
    sharpe = [(row.mean() - 0.1 / 252) / row.std(ddof=1) * 252**0.5 for row in map(np.asarray, returns)]
    assert quantd.metrics(first, risk_free_annual=0.1)["sharpe"] == pytest.approx(sharpe[0])
    assert quantd.metrics(first, second, risk_free_annual=0.1)["sharpe"] == pytest.approx(sharpe[0])
    difference = quantd.significance(first, second, risk_free_annual=0.1).sharpe_difference
    assert difference == pytest.approx(sharpe[0] - sharpe[1])


@pytest.mark.long
def test_the_figures_are_those_of_the_command(folder):
    """Two configurations, each as a report and as a result: the command compares the reports."""
    write(folder)
    for name, more in (("a", ()), ("b", ("--set", "risk.max_position_weight=0.2"))):
        answer(command(folder, "backtest", "--json", "--report", f"{name}.json", *more))
    document = answer(command(folder, "report", "--compare", "a.json", "b.json", "--json"))
    runs = [quantd.backtest("config.toml", settings=settings) for settings in (None, {"risk.max_position_weight": 0.2})]
    comparison = quantd.compare(*runs, names=("a", "b"))
    assert dict(zip(comparison.table["metric"], comparison.table["a"], strict=True)) == {
        metric["name"]: metric["one"] for metric in document["metrics"]
    }
    assert dict(zip(comparison.table["metric"], comparison.table["b"], strict=True)) == {
        metric["name"]: metric["other"] for metric in document["metrics"]
    }
    report = json.loads((folder / "a.json").read_text())
    house = {metric["name"]: metric["values"][0] for metric in report["metrics"] if metric["needs"] != "benchmark"}
    figures = quantd.metrics(runs[0])
    assert {name: figures[name] for name in house if house[name] is not None and name != "average_net"} == {
        name: value for name, value in house.items() if value is not None and name != "average_net"
    }
    tested = quantd.significance(*runs)
    assert tested.p == {name: document["versus"][name]["p"] for name in tested.p}
    assert tested.interval == (document["versus"]["low"], document["versus"]["high"])
    assert tested.sharpe_difference == document["versus"]["sharpe_difference"] != 0.0


def test_returns_of_every_form_have_the_metrics_of_the_result(pair):
    result, other = pair
    exact = quantd.metrics(result.equity)
    assert exact["sharpe"] == result.metrics["sharpe"]
    assert exact["max_drawdown"] == result.metrics["max_drawdown"]
    assert exact["turnover"] is None, "a frame has no trades"
    simple = result.equity["equity"].pct_change().drop_nulls()
    for form in (simple, simple.to_numpy(), simple.to_list(), simple.to_frame("return").with_columns(
        ts=result.equity["ts"][1:]), result.equity.to_pandas()):  # fmt: skip
        assert quantd.metrics(form)["sharpe"] == pytest.approx(exact["sharpe"], rel=1e-9)
    beside = quantd.metrics(result, other)
    assert beside["beta"] == quantd.metrics(result.equity, other.equity)["beta"]
    assert beside["beta"] != quantd.metrics(result)["beta"], "which is that beside equal weight"


@pytest.mark.long
def test_more_results_are_compared_with_the_first_and_adjusted(pair, bars):
    third = quantd.backtest(
        "momentum", bars, params={"lookback": 60}, compare=False, settings={"feed.start": "2012-03-30"}
    )
    first, second = pair
    comparison = quantd.compare(first, second, first)
    assert comparison.names == ("momentum", "inverse_volatility", "momentum 2")
    rows = comparison.tests.filter(pl.col("test") == "ledoit_wolf")
    raw, adjusted = rows["p"].to_list(), rows["adjusted"].to_list()
    assert adjusted[0] == pytest.approx(min(1.0, 2.0 * raw[0]))
    assert "Sharpe difference" in str(comparison)
    assert "by its ratio momentum" in str(comparison)
    with pytest.raises(quantd.Error, match="differ in "):
        quantd.compare(first, third)
    # another lookback begins later; the remedy is a first session for both
    short, long = (quantd.backtest("momentum", bars, params={"lookback": n}, compare=False) for n in (5, 126))
    with pytest.raises(quantd.Error, match=r"; give both \[feed\] start = (\d{4}-\d\d-\d\d)$") as caught:
        quantd.significance(short, long)
    begin = {"feed.start": str(caught.value).rsplit(" ", 1)[1]}
    short, long = (quantd.backtest("momentum", bars, begin, params={"lookback": n}, compare=False) for n in (5, 126))
    assert "Sharpe difference" in str(quantd.significance(short, long))


def test_equal_returns_do_not_differ_and_a_daily_gain_does():
    draw = np.random.default_rng(3).normal(0.0, 0.01, 500)
    assert quantd.significance(draw, draw).p["paired_t"] == 1.0
    noise = np.random.default_rng(4).normal(0.002, 0.005, 500)
    gain = quantd.significance(draw + noise, draw)
    assert gain.p["paired_t"] < 0.001
    assert gain.interval[0] > 0.0
    assert "Sharpe difference +" in str(gain)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: quantd.metrics([0.1, float("nan")]), "value 1 is nan.*Remove or correct"),
        (lambda: quantd.metrics([0.1, -1.5]), "value 1 is -1.5; each return must be a finite fraction, -1 or more"),
        (lambda: quantd.metrics([[0.1]]), r"the shape is \(1, 1\)"),
        (lambda: quantd.metrics("momentum"), "'momentum' is text; give the result of quantd.backtest"),
        (lambda: quantd.metrics(7), "int has no returns"),
        (lambda: quantd.metrics(pl.DataFrame({"ts": [1], "x": [1.0]})), "the frame has ts, x, not ts and return"),
        (lambda: quantd.metrics([0.1, 0.2], [0.1]), "returns has 2 returns and benchmark 1"),
        (lambda: quantd.significance([0.1, 0.2], [0.1]), "a has 2 returns and b 1"),
        (lambda: quantd.compare([0.1], [0.2]), "list is not the result of a backtest; run quantd.backtest"),
        (lambda: quantd.compare(), "needs two or more results and got 0"),
    ],
)
def test_what_is_missing_is_named_with_its_remedy(call, text):
    with pytest.raises(quantd.Error, match=text):
        call()


def test_other_dates_are_refused(pair):
    equity = pair[0].equity
    with pytest.raises(quantd.Error, match="different dates"):
        quantd.significance(equity[:-1], equity[1:])


def test_a_number_of_samples_that_a_backtest_does_not_have_is_refused(pair):
    text = r": periods=12, but the backtest has 252 samples a year; omit periods"
    with pytest.raises(quantd.Error, match="returns" + text):
        quantd.metrics(pair[0], periods=12)
    with pytest.raises(quantd.Error, match="returns" + text):
        quantd.metrics(pair[0], pair[1], periods=12)
    with pytest.raises(quantd.Error, match="a" + text):
        quantd.significance(*pair, periods=12)
    assert quantd.metrics(pair[0], periods=252).periods == 252.0
