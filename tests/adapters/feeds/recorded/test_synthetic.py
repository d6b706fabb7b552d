"""Generated bars are good, repeatable, like a market in kind, and marked in every artefact."""

import tomllib

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.adapters.feeds.recorded.synthetic import SyntheticPlan, synthetic_bars
from quantd.models.artifacts.card import made
from quantd.trading.instruments import MARK, synthetic_note
from quantd.trading.sessions import DAY_NS, Sessions
from tests.support.command_line import answer
from tests.support.command_line import quantd as command

DAYS = tuple(range(0, 4_000 * DAY_NS, DAY_NS))
CALENDAR = Sessions("X", "UTC", DAYS, tuple(d + 1 for d in DAYS), tuple(d + 2 for d in DAYS))
DAYS_AND_FILE = ("--from", "2018-01-02", "--to", "2019-12-31", "--out", "s.parquet")
ARGUMENTS = ("data", "fetch", "--synthetic", "5", *DAYS_AND_FILE)


def returns_of(plan):
    close = synthetic_bars(plan, CALENDAR).pivot(on="symbol", index="ts", values="close").drop("ts").to_numpy()
    return np.diff(np.log(close), axis=0)


def test_the_same_seed_gives_the_same_bars_and_another_seed_others():
    first, again, other = (synthetic_bars(SyntheticPlan(seed=s), CALENDAR) for s in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)
    assert set(first["symbol"]) == {f"{MARK}{k:03d}" for k in range(1, 6)}


def test_prices_are_consistent_and_in_cents():
    bars = synthetic_bars(SyntheticPlan(symbols=20, volatility_annual=1.0), CALENDAR)
    top, bottom = pl.max_horizontal("open", "close"), pl.min_horizontal("open", "close")
    assert bars.filter((pl.col("high") < top) | (pl.col("low") > bottom) | (pl.col("low") <= 0)).is_empty()
    for name in ("open", "high", "low", "close"):
        np.testing.assert_allclose(bars[name] * 100, (bars[name] * 100).round(), atol=1e-6)
    assert bars.null_count().sum_horizontal().item() == 0


def test_each_parameter_changes_what_it_names():
    calm = SyntheticPlan(symbols=8, wild_starts=0.0)
    base = returns_of(calm)
    assert base.std() * np.sqrt(252) == pytest.approx(0.20, rel=0.1)
    pairs = np.corrcoef(base.T)[np.triu_indices(8, 1)]
    assert pairs.mean() == pytest.approx(0.4, abs=0.08)
    double = returns_of(SyntheticPlan(symbols=8, wild_starts=0.0, volatility_annual=0.40))
    assert double.std() / base.std() == pytest.approx(2.0, rel=0.05)
    alone = returns_of(SyntheticPlan(symbols=8, wild_starts=0.0, correlation=0.0))
    assert np.corrcoef(alone.T)[np.triu_indices(8, 1)].mean() == pytest.approx(0.0, abs=0.05)
    up = returns_of(SyntheticPlan(symbols=8, wild_starts=0.0, drift_annual=0.50))
    assert (up.mean() - base.mean()) * 252 == pytest.approx(0.44, abs=0.02)


def test_tails_are_fat_and_volatility_clusters():
    returns = returns_of(SyntheticPlan(symbols=8))
    centred = returns - returns.mean(axis=0)
    assert (centred**4).mean() / (centred**2).mean() ** 2 > 4.0
    size = np.abs(centred)
    assert np.mean([np.corrcoef(series[1:], series[:-1])[0, 1] for series in size.T]) > 0.1


@pytest.mark.long
@pytest.mark.requirement("R-020")
def test_the_command_writes_bars_that_pass_the_checks_and_trade_with_the_mark(tmp_path, monkeypatch):
    many = answer(command(tmp_path, "data", "fetch", "--synthetic", "50", *DAYS_AND_FILE, "--json"))["config"]
    assert max(map(len, many.splitlines())) <= 100
    assert tomllib.loads(many)["universe"]["symbols"][-1] == "SYNTHETIC-050"
    reply = answer(command(tmp_path, *ARGUMENTS, "--json"))
    assert reply["symbols"][0] == "SYNTHETIC-001"
    assert command(tmp_path, "data", "check", "s.parquet").returncode == 0
    more = '\n[broker]\ncash = "100000.00"\n[[agents]]\nname = "even"\npolicy = "equal_weight"\ncapital = 1.0\n'
    (tmp_path / "config.toml").write_text(reply["config"] + more)
    monkeypatch.chdir(tmp_path)
    result = quantd.backtest("config.toml")
    assert result.rejected == 0
    assert "SYNTHETIC: bars of" in str(result)
    assert "SYNTHETIC: bars of" in result.report("r.html").read_text()
    assert all(symbol.startswith(MARK) for symbol in result.fills["symbol"])
    assert command(tmp_path, *ARGUMENTS[:5], "--to", "2017-01-01", "--out", "x.parquet").returncode == 2


@pytest.mark.requirement("R-020")
def test_the_note_is_there_for_generated_symbols_alone():
    assert synthetic_note(["SPY", "QQQ"]) == ""
    assert synthetic_note(["SPY", f"{MARK}001"]).startswith(f"SYNTHETIC: bars of {MARK}001 are")
    assert "and 2 more" in synthetic_note([f"{MARK}{k}" for k in range(5)])
    assert any("SYNTHETIC: bars" in line for line in made("x", [f"{MARK}001"], {}))
    assert not any("SYNTHETIC" in line for line in made("x", ["SPY"], {}))


def test_an_option_of_a_download_and_one_of_generated_bars_do_not_go_together(tmp_path):
    for words, text in (
        ((*ARGUMENTS, "--interval", "1h"), "--interval has no effect beside --synthetic N"),
        (("data", "fetch", "SPY", "--from", "2020-01-02", "--drift", "0.3"), "--drift has no effect without --synth"),
    ):
        done = command(tmp_path, *words)
        assert (done.returncode, text in done.stderr) == (2, True)
    assert not list(tmp_path.iterdir())
