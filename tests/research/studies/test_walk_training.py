"""A plan is trained anew at each refit on the bars before it; a killed walk trains on to the same table."""

import signal
import subprocess
import sys
import time
from datetime import date, timedelta

import polars as pl
import pytest

import quantd
from quantd.models.artifacts.folder import read_manifest
from quantd.models.artifacts.manifest import MANIFEST, AgentManifest
from tests.support import training as world
from tests.support.command_line import answer
from tests.support.command_line import quantd as command

STEPS = {"refit": "6mo", "first": "1y"}


def market(folder, last=date(2017, 6, 30)):
    frame = pl.read_parquet(world.bars(folder)).filter(pl.col("ts").dt.date() <= last)
    prices = {"high": pl.max_horizontal("open", "close"), "low": pl.min_horizontal("open", "close")}
    frame.with_columns(**prices, volume=pl.lit(1e6)).write_parquet(folder / "bars.parquet")
    (folder / "plan.toml").write_text(world.PLAN)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walked")
    market(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return folder, quantd.walk_forward("plan.toml", compare=False, **STEPS)


@pytest.mark.long
@pytest.mark.requirement("R-098")
def test_each_policy_is_trained_on_the_bars_before_its_refit(done):
    folder, walk = done
    assert walk.table["refit"].to_list() == [date(2016, 7, 1), date(2017, 1, 1)]
    for row in walk.table.rows(named=True):
        manifest = read_manifest(folder / walk.folder / f"refit-{row['refit']}" / "artifact" / MANIFEST, AgentManifest)
        training = manifest.training
        assert training.windows["validation"].last < (row["refit"] - timedelta(days=5)).isoformat()
        assert row["fitted_to"] == (row["refit"] - timedelta(days=6)).isoformat()  # each day is a session
        assert (str(training.chosen_seed), str(training.chosen_iteration)) == (row["seed"], row["step"])
        assert training.test_looks == 1
    assert walk.backtest.verdict.trials > len(walk.table) + 1  # the trials behind each policy count


@pytest.mark.long
def test_later_bars_change_no_trained_policy(done, tmp_path, monkeypatch):
    _, walk = done
    monkeypatch.chdir(tmp_path)
    market(tmp_path, date(2016, 12, 20))
    cut = quantd.walk_forward("plan.toml", compare=False, **STEPS)
    same = ("refit", "fitted_from", "fitted_to", "seed", "step", "sharpe_in")
    assert cut.table.select(same).equals(walk.table.select(same)[:1])
    assert cut.returns.equals(walk.returns[: len(cut.returns)])
    assert len(cut.returns) > 150


@pytest.mark.long
def test_a_killed_training_continues_to_the_same_table(done, tmp_path):
    _, reference = done
    market(tmp_path)
    words = ("walk", "plan.toml", "--refit", "6mo", "--first", "1y", "--no-compare")
    process = subprocess.Popen(
        [sys.executable, "-m", "quantd.daemon.cli", *words], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    while process.poll() is None and not list(tmp_path.glob("state/walks/*/refit-2016-07-01/run/seed-2/*")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(tmp_path.glob("state/walks/*/*/done"))
    document = answer(command(tmp_path, *words, "--json"))
    table = pl.read_parquet(next(tmp_path.glob("state/walks/*/walk.parquet")))
    assert table.equals(reference.table)
    assert pl.read_parquet(next(tmp_path.glob("state/walks/*/returns.parquet"))).equals(reference.returns)
    assert document["sharpe_out"] == reference.walk.sharpe


@pytest.mark.long
def test_a_kill_before_the_end_of_a_refit_counts_no_second_look_at_its_test_part(done, monkeypatch):
    folder, walk = done
    monkeypatch.chdir(folder)
    place = walk.folder / f"refit-{walk.table['refit'][0]}"
    before = (place / "artifact" / MANIFEST).read_bytes()
    (place / "done").unlink()
    assert quantd.walk_forward("plan.toml", compare=False, **STEPS).table.equals(walk.table)
    assert (place / "artifact" / MANIFEST).read_bytes() == before


@pytest.mark.long
@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--over", "a.b=1"), "is a training plan: --over, --from and --to belong to a configuration"),
        (("--set", "learner.gama=1"), "learner.gama is not a key of a plan. Did you mean gamma?"),
        (("--refit", "9x"), "refit '9x' is not a period; write 3y, 6mo, 4w or 20d"),
        (("--window", "9y"), "the first refit would be 2024-07-01, after the last session 2017-06-30"),
    ],
)
def test_a_mistake_ends_with_its_remedy(done, words, text):
    folder, _ = done
    process = command(folder, "walk", "plan.toml", *words)
    assert process.returncode not in (0, 1)
    assert text in " ".join(process.stderr.split())
