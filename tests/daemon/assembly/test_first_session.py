"""All rows of a result begin to decide at the same session, after the longest lookback."""

import json
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.adapters.calendars import sessions
from tests.support.command_line import ROOT, one_agent, write
from tests.support.command_line import quantd as command
from tests.support.market_frames import random_frame

LOOKBACK = 252


def after_252(view):
    """Equal weight once 252 returns are known, cash before."""
    is_known = np.isfinite(view.returns(252)).all()
    return np.full(len(view.prices), (1.0 / len(view.prices)) if is_known else 0.0)


SOURCE = """import numpy as np
{head}
def act(view):
    known = np.isfinite(view.returns(252)).all()
    return np.full(len(view.prices), 1.0 / len(view.prices) if known else 0.0)
"""


@pytest.fixture(scope="module")
def bars() -> pl.DataFrame:
    """Three symbols on 700 sessions of New York."""
    frame = random_frame(7, 3, 700)
    days = np.array(sessions("XNYS", date(2020, 1, 2), date(2023, 12, 29)).days[:700]).astype("datetime64[ns]")
    return frame.with_columns(pl.Series("ts", np.tile(days, 3)).cast(pl.Datetime("us")))


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_equal_weight_after_a_lookback_does_not_differ_from_equal_weight(bars: pl.DataFrame) -> None:
    result = quantd.backtest(after_252, bars=bars)
    verdict = result.verdict
    assert verdict.difference is not None
    assert verdict.difference.sharpe == pytest.approx(0.0, abs=1e-9)
    assert verdict.performance.samples == 700 - LOOKBACK
    assert verdict.first_fills["this run"] == verdict.first_fills["equal weight"] > verdict.begins
    assert f"first fills: this run {verdict.first_fills['this run']}, equal weight" in str(result)
    assert any("after the longest lookback of 252 samples" in note for note in verdict.notes)


def config_of(folder: Path, bars: pl.DataFrame, start: str, more: str = "") -> Path:
    bars.write_parquet(folder / "bars.parquet")
    (folder / "act.py").write_text(SOURCE.format(head="LOOKBACK = 252"))
    symbols = bars["symbol"].unique().sort().to_list()
    return write(folder, one_agent(symbols, "act.py:act", start, more))


@pytest.mark.long
def test_the_lookback_is_taken_from_the_bars_before_the_start(bars: pl.DataFrame, tmp_path: Path) -> None:
    """[feed] warmup is shorter than the lookback: more bars are read, and the start stays."""
    days = bars["ts"].unique().sort()
    start = days[400].date()
    config = config_of(tmp_path, bars, f"start = {start}\nwarmup = 10")
    backtest = json.loads(command(tmp_path, "backtest", "-c", str(config), "--json").stdout)
    assert backtest["begins"] == start.isoformat()
    assert backtest["difference"]["sharpe"] == pytest.approx(0.0, abs=1e-9)
    assert backtest["performance"]["samples"] == 300


@pytest.mark.long
def test_a_start_without_bars_before_it_moves_and_says_so(bars: pl.DataFrame, tmp_path: Path) -> None:
    config = config_of(tmp_path, bars, "")
    out = command(tmp_path, "backtest", "-c", str(config)).stdout
    assert "after the longest lookback of 252 samples" in out
    assert "Sharpe difference     +0.00" in out


@pytest.mark.long
def test_a_period_beyond_the_bars_is_named_and_one_before_them_refused(bars: pl.DataFrame, tmp_path: Path) -> None:
    config = config_of(tmp_path, bars, "")
    first, last = bars["ts"].min().date(), bars["ts"].max().date()  # type: ignore[union-attr]
    out = command(tmp_path, "backtest", "-c", str(config), "--from", "2001-01-02", "--to", "2090-01-02").stdout
    assert f"[feed] start = 2001-01-02 is before the first bar, of {first}: the result begins there" in out
    assert f"[feed] end = 2090-01-02 is after the last bar, of {last}: the result ends there" in out
    out = command(tmp_path, "backtest", "-c", str(config), "--from", f"{first}", "--to", f"{last}").stdout
    assert "the result" not in out
    refused = command(tmp_path, "backtest", "-c", str(config), "--to", "2001-01-02")
    assert (refused.returncode, f"begins on {first}, after [feed] end = 2001-01-02" in refused.stderr) == (78, True)


@pytest.mark.long
@pytest.mark.parametrize(
    ("start", "begins"), [("2017-07-17", "2017-07-18"), ("2019-01-02", "2019-01-03"), ("2017-07-19", "2017-07-19")]
)
def test_a_run_begins_where_a_coin_without_weekend_bars_has_a_price(tmp_path: Path, start: str, begins: str) -> None:
    """Otherwise to buy and hold would mean to hold cash in place of the coin, for years."""
    text = (ROOT / "examples/allocators-seed4.toml").read_text()
    text = text.replace("start = 2016-01-06", f"start = {start}\nend = 2019-06-28").replace("../state", "state")
    (tmp_path / "config.toml").write_text(text.replace('policy = "equal_weight"', 'policy = "buy_and_hold"'))
    out = command(tmp_path, "backtest", "-c", "config.toml").stdout
    assert ", 4 fills" in out
    assert " BTC-USD\n" in out
    said = f"Trading begins on {begins}: at the close of {start} the newest bar of BTC-USD is older than orders allow"
    assert (said in out) == (begins != start)
    assert "samples the newest bar of BTC-USD was older than orders allow" in out, "of each Monday, too"
    assert f"equal weight {begins[:8]}" in out


@pytest.mark.long
def test_benchmarks_of_a_report_begin_with_the_longest_lookback_of_any(bars: pl.DataFrame, tmp_path: Path) -> None:
    more = '[study]\nbenchmarks = ["equal_weight", "S00", "momentum"]\n'
    config = config_of(tmp_path, bars, "", more).read_text().replace("LOOKBACK = 252", "")
    (tmp_path / "config.toml").write_text(config.replace('policy = "act.py:act"', 'policy = "equal_weight"'))
    command(tmp_path, "backtest", "--report", "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["header"]["samples"] == 700 - 126, "momentum reads 126 samples"
    (fills,) = [note for note in report["notes"] if note.startswith("First fills: ")]
    assert all(f"{name} " in fills for name in ("house", "equal_weight", "S00"))
    dates = {part.strip(" .").rsplit(" ", 1)[1] for part in fills.removeprefix("First fills: ").split(",")[:3]}
    assert len(dates) == 1


def test_points_of_a_sweep_share_the_start_of_the_longest_lookback(bars: pl.DataFrame) -> None:
    sweep = quantd.sweep("momentum", bars=bars, over={"lookback": [21, 252]})
    assert not sweep.faults
    lengths = {len(point.series()) for point in sweep.points}
    assert lengths == {700 - 252 - 1}


def test_a_policy_that_never_has_its_lookback_is_not_compared(bars: pl.DataFrame) -> None:
    verdict = quantd.backtest(
        "momentum", params={"lookback": 252}, bars=bars.filter(pl.col("ts") < bars["ts"][200])
    ).verdict
    assert verdict.equal_weight is None
    assert verdict.begins == ""
    assert any("is not compared" in note for note in verdict.notes)


@pytest.mark.parametrize("count", [127, 128])
@pytest.mark.parametrize("symbol", ["BTC-USD", "KO"])
def test_one_symbol_alone_is_compared_once_two_samples_follow_its_lookback(symbol: str, count: int) -> None:
    """A coin's session opens at the close of the one before: a start at that open had one sample too many."""
    frame = random_frame(7, 1, count).with_columns(symbol=pl.lit(symbol))
    days = np.datetime64("2023-01-01", "ns") + np.arange(count) * np.timedelta64(1, "D")
    if symbol == "KO":
        days = np.array(sessions("XNYS", date(2020, 1, 2), date(2023, 12, 29)).days[:count]).astype("datetime64[ns]")
    frame = frame.with_columns(pl.Series("ts", days).cast(pl.Datetime("us")))
    verdict = quantd.backtest("momentum", params={"lookback": 126}, bars=frame).verdict
    assert (verdict.equal_weight is not None) == (count >= 128)
    assert verdict.performance.samples == (count if count < 128 else count - 126)
