"""`quantd evaluate` and `quantd backtest` agree, on one calendar and where a coin is beside shares."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from msgspec import structs

import quantd
from quantd.adapters.calendars import sessions
from quantd.training.export.writer import plain, write
from quantd.training.plans.plan import default
from quantd.training.runs.evaluation import evaluate
from tests.support.artifacts import UNIVERSE, learner_of, manifest_of, scaling_of

BEGINS, FIRST, LAST = date(2021, 1, 4), date(2022, 1, 3), date(2022, 12, 30)


def bars_of(symbols: tuple[str, ...], seed: int, *, weekends: bool) -> pl.DataFrame:
    """Random daily bars: shares on the sessions of New York; the coin on every day, or on those sessions only."""
    draw = np.random.default_rng(seed)
    days = np.array(sessions("XNYS", BEGINS, LAST).days, dtype="datetime64[ns]")
    every = np.arange(np.datetime64(BEGINS), np.datetime64(LAST) + 1).astype("datetime64[ns]")
    parts = []
    for symbol in symbols:
        coin = symbol.endswith("-USD")
        on = every if coin and weekends else days
        close = np.round(100.0 * np.cumprod(1.0 + draw.normal(0.0005, 0.008, len(on))), 2)
        opens = np.round(np.r_[close[0], close[:-1]] * (1.0 + draw.normal(0.0, 0.003, len(on))), 2)
        high, low = np.maximum(opens, close) + 0.5, np.minimum(opens, close) - 0.5
        columns = {"ts": on, "symbol": [symbol] * len(on), "open": opens, "high": high, "low": low, "close": close}
        parts.append(pl.DataFrame({**columns, "volume": np.full(len(on), 1e7)}))
    return pl.concat(parts).with_columns(pl.col("ts").dt.replace_time_zone("UTC")).sort("symbol", "ts")


def config_of(folder: Path, symbols: tuple[str, ...], artifact: Path) -> Path:
    """The account of `quantd evaluate` in a configuration: its costs and lots, and no limit that binds."""
    coins = "".join(
        f'[[universe.instruments]]\nsymbol = "{symbol}"\ncalendar = "24/7"\nlot = "0.00000001"\n'
        for symbol in symbols
        if symbol.endswith("-USD")
    )
    path = folder / "config.toml"
    path.write_text(
        f"""
[universe]
symbols = {list(symbols)}
calendar = "XNYS"
{coins}
[feed]
kind = "replay"
path = "{folder / "bars.parquet"}"
stamps = "session"
start = {FIRST}
end = {LAST}

[broker]
kind = "paper"
cash = "100000.00"
commission_bp = 10.0
slippage_bp = 5.0
spread_bp = 0.0
participation = 0.0

[risk]
profile = "research"

[[agents]]
name = "learned"
policy = "{artifact}"
capital = 1.0
profile = "research"
min_trade = 0.0
"""
    )
    return path


def artifact_of(out: Path, symbols: tuple[str, ...]) -> Path:
    """An untrained policy whose weights move with what it sees."""
    learner = learner_of("ppo simplex", universe=symbols)
    manifest = structs.replace(manifest_of(learner, universe=symbols), plan=plain(default("ppo")))
    write(out, manifest, learner, scaling_of(assets=len(symbols)), b"# a card\n")
    return out


@pytest.mark.long
@pytest.mark.requirement("F-17")
@pytest.mark.parametrize(
    ("symbols", "weekends", "tolerance"),
    [
        (UNIVERSE, False, 1e-5),
        (("AAA", "BBB", "BTC-USD"), True, 1e-5),
        # where a coin cannot be sold, the gate cuts purchases of shares for lack of cash; `evaluate` has no gate
        pytest.param(("AAA", "BBB", "BTC-USD"), False, 0.01, marks=pytest.mark.long),
    ],
    ids=["shares", "a coin on every day", "a coin on the sessions of the shares"],
)
def test_evaluate_and_backtest_have_the_same_returns(
    symbols: tuple[str, ...], weekends: bool, tolerance: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bars_of(symbols, 11, weekends=weekends).write_parquet(tmp_path / "bars.parquet")
    artifact = artifact_of(tmp_path / "artifact", symbols)
    run = quantd.backtest(config_of(tmp_path, symbols, artifact))
    # a backtest begins where orders may use the coin's price; `evaluate` has no age of prices
    begins = date.fromisoformat(run.verdict.begins)
    assert (begins == FIRST) == (weekends or symbols == UNIVERSE)
    words = "samples the newest bar of BTC-USD was older"
    assert (begins != FIRST) == any(words in doubt.text for doubt in run.verdict.doubts)
    evaluation = evaluate(artifact, begins, LAST, tmp_path / "bars.parquet", "", symbols)
    performance = run.verdict.performance
    equal = run.verdict.equal_weight
    assert performance is not None
    assert equal is not None
    assert performance.samples == evaluation.sessions
    assert performance.turnover_annual > 5.0, "the policy trades"
    for figures, run_figures in ((evaluation.policy, performance), (evaluation.equal_weight, equal)):
        assert figures.total_return == pytest.approx(run_figures.total_return, abs=tolerance)
        assert figures.sharpe == pytest.approx(run_figures.sharpe, abs=20.0 * tolerance)
        assert figures.max_drawdown == pytest.approx(run_figures.max_drawdown, abs=tolerance)
        assert figures.sortino == pytest.approx(run_figures.sortino, abs=40.0 * tolerance)
    reported = {row.name: row.values[0] for row in run.figures.metrics}
    assert evaluation.policy.sortino == pytest.approx(reported["sortino"], abs=40.0 * tolerance)
    assert evaluation.policy.calmar == pytest.approx(reported["calmar"], abs=200.0 * tolerance)
