"""`quantd.walk_forward`: what is chosen knows no bar after its refit, and the account trades on through all of them."""

import signal
import subprocess
import sys
import time
from threading import Lock

import numpy as np
import polars as pl
import pytest

import quantd
from quantd.research.runs.looks import read_looks
from tests.support.command_line import answer, one_agent
from tests.support.command_line import quantd as command

OVER = {"lookback": [10, 30, 60]}
STEPS = {"refit": "3mo", "first": "6mo"}


@pytest.fixture(scope="module")
def done(bars, tmp_path_factory):
    folder = tmp_path_factory.mktemp("walk")
    return folder, quantd.walk_forward("momentum", bars, over=OVER, settings=at(folder), **STEPS)


def at(folder):
    return {"quantd.state": str(folder / "state")}


@pytest.mark.long
def test_each_refit_chooses_the_best_of_a_sweep_over_the_bars_before_it(done, bars):
    _, walk = done
    for row in walk.table.rows(named=True)[::3]:
        before = bars.filter(pl.col("ts").dt.date() <= pl.lit(row["fitted_to"]).str.to_date())
        swept = quantd.sweep("momentum", OVER, before)
        assert (row["agents.policy.params.lookback"],) == swept.best.values
        assert row["sharpe_in"] == swept.best.look.sharpe
        sessions = bars.filter((pl.col("ts") > before["ts"].max()) & (pl.col("ts").dt.date() < row["refit"]))
        assert sessions["ts"].n_unique() == 5  # the embargo


@pytest.mark.long
def test_the_whole_procedure_is_the_same_on_truncated_bars(done, bars, folder):
    _, walk = done
    for refit in walk.table["refit"][2:4]:
        cut = quantd.walk_forward(
            "momentum", bars.filter(pl.col("ts").dt.date() <= refit), over=OVER, compare=False, **STEPS
        )
        rows = len(cut.table) - 1  # the last period is shorter
        assert rows >= 1
        assert cut.table[:rows].equals(walk.table[:rows])
        assert cut.returns.equals(walk.returns[: len(cut.returns)])


@pytest.mark.long
def test_one_point_is_one_backtest_through_all_refits(bars):
    one = quantd.walk_forward("momentum", bars, over={"lookback": [30]}, window="1y", refit="2mo", compare=False)
    start = one.table["refit"][0].isoformat()
    backtest = quantd.backtest("momentum", bars, {"feed.start": start}, params={"lookback": 30}, compare=False)
    returns = backtest.equity["equity"].pct_change()[1:]
    np.testing.assert_allclose(one.returns["return"], returns, rtol=1e-9, atol=1e-12)
    assert one.stability == 1.0
    assert one.efficiency == pytest.approx(backtest.verdict.performance.sharpe / one.table["sharpe_in"].mean())


@pytest.mark.requirement("R-246")
def test_each_refit_is_one_trial_and_the_walk_is_another(done):
    folder, walk = done
    looks = read_looks(folder / "state").looks
    assert [look.kind for look in looks] == ["walk"] * (len(walk.table) + 1)
    assert [look.values["agents.policy.params.lookback"] for look in looks[:-1]] == (
        walk.table["agents.policy.params.lookback"].to_list()
    )
    assert walk.backtest.verdict.trials == len(looks)
    assert f"{len(walk.table)} refits: Sharpe" in str(walk)


def test_the_returns_are_those_of_the_run_and_of_the_periods(done):
    _, walk = done
    equity = walk.backtest.equity["equity"]
    np.testing.assert_allclose(walk.returns["return"], equity.pct_change()[1:], rtol=1e-9, atol=1e-12)
    total = (1.0 + walk.table["return_out"]).product()
    assert total == pytest.approx(equity[-1] / equity[0])
    assert walk.table["samples"].sum() == len(walk.returns)
    assert pl.read_parquet(walk.folder / "returns.parquet").equals(walk.returns)
    assert pl.read_parquet(walk.folder / "walk.parquet").equals(walk.table)


@pytest.mark.long
def test_the_result_of_a_sweep_is_walked_over_its_own_grid_and_bars(done, bars):
    _, walk = done
    swept = quantd.sweep("momentum", {"lookback": iter([10, 30, 60])}, bars)
    again = quantd.walk_forward(swept, compare=False, **STEPS)
    assert again.table.equals(walk.table)
    drawn = quantd.sweep("momentum", {"lookback": range(10, 70, 10)}, bars, points=2, seed=1)
    assert drawn.table["agents.policy.params.lookback"].to_list() == [20, 50]
    chosen = quantd.walk_forward(drawn, compare=False, **STEPS).table["agents.policy.params.lookback"]
    assert set(chosen) <= {"20", "50"}
    with pytest.raises(quantd.Error, match="given beside a sweep"):
        quantd.walk_forward(swept, over=OVER)


LOCK = Lock()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"over": None}, "nothing is fitted"),
        ({"bars": None}, "needs bars"),
        ({"over": {"broker.commission_bp": [0, 5]}}, "broker.commission_bp is a cost, which nobody chooses"),
        ({"over": {"risk.max_drawdown": [0.1, 0.2]}}, "belongs to the account"),
        ({"refit": "soon"}, "write 3y, 6mo, 4w or 20d"),
        ({"over": {"lookback": [9000]}}, "no point can take .*lookback=9000: .*expected int <= 5000"),
        ({"what": lambda view, lookback=5: LOCK, "workers": 2}, "cannot be sent to a worker process"),
    ],
)
def test_a_mistake_is_an_error_with_a_remedy(bars, changes, text):
    given = {"what": "momentum", "bars": bars, "over": OVER, **STEPS, **changes}
    with pytest.raises(quantd.Error, match=text):
        quantd.walk_forward(**given)


CONFIG = one_agent(["SPY", "IWM"], "momentum")
WALK = (
    "walk", "config.toml", "--over", "agents.even.params.lookback=10,30,60", "--refit", "3mo", "--first", "6mo",
    "--no-compare",
)  # fmt: skip


@pytest.mark.long
def test_a_killed_walk_continues_to_the_same_table(done, bars, folder):
    _, reference = done
    bars.write_parquet(folder / "bars.parquet")
    (folder / "config.toml").write_text(CONFIG)
    points = folder / "state" / "walks"
    sizes = []
    for least in (1, 2_000):
        process = subprocess.Popen([sys.executable, "-m", "quantd.daemon.cli", *WALK], stdout=subprocess.DEVNULL)
        while process.poll() is None and sum(file.stat().st_size for file in points.glob("*/points.bin")) < least:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        sizes.append(next(points.glob("*/points.bin")).stat().st_size)
    before = next(points.glob("*/points.bin")).read_bytes()
    document = answer(command(folder, *WALK, "--workers", "2", "--json"))
    after = next(points.glob("*/points.bin")).read_bytes()
    assert after.startswith(before)  # nothing that was finished ran again
    assert sizes[0] < sizes[1] < len(after)
    table = pl.read_parquet(next(points.glob("*/walk.parquet")))
    assert table.rows() == reference.table.rows()
    assert pl.read_parquet(next(points.glob("*/returns.parquet"))).equals(reference.returns)
    assert document["efficiency"] == reference.efficiency


def test_a_configuration_without_a_grid_is_refused(folder):
    (folder / "config.toml").write_text(CONFIG)
    process = command(folder, "walk", "config.toml")
    assert process.returncode == 2
    assert "config.toml is a configuration, and nothing is fitted: name a grid with --over KEY=VALUES" in process.stderr
