"""Costs fitted to fills are those that the fills were made with, and a backtest with them charges them."""

import json

import numpy as np
import pytest

import quantd
from quantd.research.studies.cost_fit import Observations, TooFewFills, fit_costs
from quantd.trading.execution import FittedCost
from quantd.trading.instruments import Instrument, Universe
from tests.support.command_line import CONFIG, answer, write
from tests.support.command_line import quantd as command

UNIVERSE = Universe(tuple(Instrument(name) for name in ("A", "B", "C")))
CONFIGURED = FittedCost("", None, 2.0, 0.0)
COSTS = {"broker.spread_bp": "6", "broker.slippage_bp": "1", "broker.impact": "25"}


def drawn(count, fixed, impact, noise, seed=0):
    """Fills with costs by (column, hour), and noise in bp."""
    draw = np.random.default_rng(seed)
    column, hour = draw.integers(0, 3, count), draw.integers(9, 12, count)
    root = np.sqrt(draw.uniform(0.0, 0.05, count))
    level = np.array([fixed(c, h) for c, h in zip(column.tolist(), hour.tolist(), strict=True)])
    cost = level + np.array([impact(c) for c in column.tolist()]) * root + draw.normal(0.0, noise, count)
    return Observations(column, hour, cost, root)


def row_of(fit, symbol, hour=None):
    return next(row for row in fit.costs.rows if (row.symbol, row.hour) == (symbol, hour))


def test_costs_by_symbol_and_hour_are_found_within_their_errors():
    fills = drawn(6_000, lambda c, h: 2.0 + 3.0 * c + (5.0 if h == 9 else 0.0), lambda c: 40.0 + 20.0 * c, 3.0)
    fit = fit_costs("r", UNIVERSE, fills, CONFIGURED)
    for column, symbol in enumerate("ABC"):
        for hour in (9, 10, 11):
            row = row_of(fit, symbol, hour)
            true = 2.0 + 3.0 * column + (5.0 if hour == 9 else 0.0)
            assert row.fixed_bp == pytest.approx(true, abs=5 * row.error_bp + 0.6)
        assert row_of(fit, symbol).impact == pytest.approx(40.0 + 20.0 * column, abs=8.0)
    assert fit.error_bp == pytest.approx(3.0, rel=0.05)  # what the noise leaves
    assert fit.error_bp < fit.error_mean_bp < fit.error_configured_bp


def test_without_differences_the_hours_of_symbols_move_together():
    shares = []
    for seed in range(10):
        fills = drawn(300, lambda c, h: 4.0, lambda c: 0.0, 10.0, seed)
        fit = fit_costs("r", UNIVERSE, fills, CONFIGURED)
        fitted = [row.fixed_bp for row in fit.costs.rows if row.hour is not None]
        cells = [(c, h) for c in range(3) for h in (9, 10, 11)]
        means = [fills.cost_bp[(fills.column == c) & (fills.hour == h)].mean() for c, h in cells]
        shares.append(np.std(fitted) / np.std(means))
    assert np.mean(shares) < 0.6


def test_a_cost_is_never_negative_and_few_fills_are_refused():
    fit = fit_costs("r", UNIVERSE, drawn(100, lambda c, h: -5.0, lambda c: -30.0, 0.1), CONFIGURED)
    assert min(min(row.fixed_bp, row.impact) for row in fit.costs.rows) == 0.0
    with pytest.raises(TooFewFills, match="19 fills"):
        fit_costs("r", UNIVERSE, drawn(19, lambda c, h: 1.0, lambda c: 0.0, 1.0), CONFIGURED)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a configuration."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    return tmp_path


@pytest.fixture
def traded(tmp_path, monkeypatch):
    """A stored run at costs that its configuration does not know any more."""
    monkeypatch.chdir(tmp_path)
    text = CONFIG.replace("spread_bp = 0\nslippage_bp = 0\n", "").replace("start = 2019-01-02", "start = 2017-01-03")
    write(tmp_path, text)
    sets = [word for key, value in COSTS.items() for word in ("--set", f"{key}={value}")]
    run = answer(command(tmp_path, "backtest", "--journal", "--json", "--no-compare", *sets))
    return tmp_path, run


@pytest.mark.long
def test_a_run_gives_back_the_costs_that_it_was_made_with(traded):
    folder, run = traded
    document = answer(command(folder, "study", "costs", "--state", "state/backtests", "--out", "fitted.json", "--json"))
    assert 0 < document["fills"] <= run["fills"]
    general = document["costs"]["rows"][0]
    assert general["fixed_bp"] == pytest.approx(4.0, abs=0.01)  # half the spread and the slippage
    assert general["impact"] == pytest.approx(25.0, rel=0.01)
    assert {row["hour"] for row in document["costs"]["rows"]} == {None, 9}
    assert document["error_bp"] < 0.01 < document["error_configured_bp"]


@pytest.mark.long
def test_a_backtest_with_the_fitted_costs_is_the_run(traded):
    folder, run = traded
    assert command(folder, "study", "costs", "--state", "state/backtests", "--out", "fitted.json").returncode == 0
    with_file = quantd.backtest("config.toml", settings={"broker.costs": "fitted.json"}, compare=False)
    without = quantd.backtest("config.toml", compare=False)
    true = float(run["equity"])
    assert float(with_file.summary.equity) == pytest.approx(true, rel=1e-4)
    assert abs(float(with_file.summary.equity) - true) < abs(float(without.summary.equity) - true) / 5
    assert (with_file.verdict.trials, without.verdict.trials) == (2, 3)  # the run itself is the first


@pytest.mark.long
def test_another_cost_of_one_symbol_and_hour_is_charged_there_alone(folder):
    rows = [FittedCost("", None, 0.0, 0.0), FittedCost("SPY", 9, 50.0, 0.0), FittedCost("QQQ", 10, 50.0, 0.0)]
    table = [{"symbol": r.symbol, "hour": r.hour, "fixed_bp": r.fixed_bp, "impact": r.impact} for r in rows]
    (folder / "fitted.json").write_text(json.dumps({"costs": {"rows": table}}))
    fills = quantd.backtest("config.toml", settings={"broker.costs": "fitted.json"}, compare=False).fills
    free = quantd.backtest(
        "config.toml", settings={"broker.spread_bp": 0, "broker.slippage_bp": 0}, compare=False
    ).fills
    first = {symbol: fills.filter(fills["symbol"] == symbol)["price"][0] for symbol in ("SPY", "QQQ", "IWM")}
    base = {symbol: free.filter(free["symbol"] == symbol)["price"][0] for symbol in ("SPY", "QQQ", "IWM")}
    assert first["SPY"] / base["SPY"] == pytest.approx(1.005, abs=1e-6)
    assert (first["QQQ"], first["IWM"]) == (base["QQQ"], base["IWM"])


@pytest.mark.parametrize(
    "text", ["{", "{}", '{"costs": {"rows": [{"symbol": "A", "hour": 9, "fixed_bp": -1, "impact": 0}]}}']
)
def test_a_file_that_is_no_table_of_costs_is_refused_with_the_remedy(folder, text):
    (folder / "fitted.json").write_text(text)
    with pytest.raises(quantd.Error, match="study costs --out"):
        quantd.backtest("config.toml", settings={"broker.costs": "fitted.json"})
