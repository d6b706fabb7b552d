"""A sweep gives each point what a backtest of it gives, continues where it stopped, and counts every trial."""

import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import polars as pl
import pytest

from quantd.daemon.assembly.parts import assemble
from quantd.daemon.cli.configuration import read
from quantd.daemon.views.report import rendering
from quantd.research.metrics.catalogue import measure
from quantd.research.metrics.run_track import track_record_of
from quantd.research.runs.backtest import drive
from quantd.research.runs.looks import read_looks
from quantd.research.runs.run_record import Record
from quantd.research.runs.trials import Known, Look
from quantd.research.studies.grid import Grid
from quantd.research.studies.heat_map import heat_map, heat_map_table, sweep_page
from quantd.research.studies.sweep import Sweep, identity_of, sweep
from quantd.research.studies.sweep_points import METRICS, Point, base_of, run_points
from quantd.training.runs.workers import executor
from tests.support.checkout import ROOT
from tests.support.command_line import answer, quantd, write

GRID = {"agents.trend.params.lookback": ("20", "40", "60"), "risk.max_position_weight": ("0.1", "0.25")}


def swept(folder, grid=None, *, run=run_points, where=None, sets=()):
    path = write(folder) if not (folder / "config.toml").exists() else folder / "config.toml"
    config = read(path, sets)
    base = base_of(config, path.read_text(), sets, folder / "cache")
    grid = Grid(GRID if grid is None else grid)
    identity = identity_of(base, grid, assemble(config).market)
    return sweep(base, grid, identity, folder / "sweep", folder / "state", where or executor("local", 1), run=run)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return folder, swept(folder)


@pytest.mark.long
def test_each_point_has_the_figures_of_its_backtest(done):
    folder, grid_sweep = done
    for point in grid_sweep.points:
        sets = tuple(f"{key}={value}" for key, value in zip(grid_sweep.keys, point.values, strict=True))
        config = read(folder / "config.toml", sets)
        assembly = assemble(config)
        record = Record(assembly.universe)
        record.end(drive(assembly, config, "x", record, None, lambda share: None)[0].state)
        track = track_record_of(assembly, record, trips=False)
        assert point.metrics == pytest.approx(measure(track, METRICS), rel=1e-12)
        np.testing.assert_array_equal(point.series(), track.returns)


def test_points_are_in_the_order_of_the_grid_and_the_table_is_typed(done):
    _, grid_sweep = done
    assert [point.values for point in grid_sweep.points] == list(Grid(GRID))
    assert grid_sweep.table.schema["agents.trend.params.lookback"] == pl.Int64
    assert grid_sweep.table.schema["risk.max_position_weight"] == pl.Float64
    assert grid_sweep.table["sharpe"].n_unique() >= 4  # a lookback changes nothing where the limit binds


def test_a_key_that_changes_no_result_is_named_and_none_of_its_values_overfits(tmp_path):
    equal = swept(tmp_path, {"log.level": ("info", "debug")})
    assert equal.without_effect == ("log.level",)
    assert equal.overfitting is None
    assert equal.verdict().startswith("log.level changes nothing here: points that differ in it alone are equal. ")
    mixed = swept(tmp_path, {"log.level": ("info", "debug"), "broker.commission_bp": ("0", "90")})
    assert mixed.without_effect == ("log.level",)


def test_files_hold_every_point_and_its_returns(done):
    folder, grid_sweep = done
    assert pl.read_parquet(folder / "sweep" / "sweep.parquet").equals(grid_sweep.table)
    returns = pl.read_parquet(folder / "sweep" / "returns.parquet")
    assert returns.columns == ["ts", *(str(k) for k in range(6))]
    assert returns.equals(grid_sweep.returns)
    np.testing.assert_array_equal(returns["3"].to_numpy(), grid_sweep.points[3].series())
    assert returns["ts"].is_sorted()
    assert str(returns["ts"][-1].date()) == grid_sweep.points[3].look.last


def test_every_point_is_a_look_and_the_best_is_deflated_by_all(done):
    folder, grid_sweep = done
    ledger = read_looks(folder / "state")
    assert {look.kind for look in ledger.looks} == {"sweep"}
    assert ledger.trials == grid_sweep.known.trials == 6
    assert grid_sweep.best.look.sharpe == max(point.look.sharpe for point in grid_sweep.points)
    assert 0.0 <= grid_sweep.deflated <= 1.0
    assert grid_sweep.overfitting is not None
    assert "6 trials known" in grid_sweep.verdict()


def test_a_second_call_runs_nothing(done, tmp_path):
    folder, grid_sweep = done

    def never(work, tell):
        raise AssertionError("a point was run again")

    assert swept(folder, run=never).points == grid_sweep.points
    assert swept(folder).known.trials == 6


@pytest.mark.long
def test_drawn_points_are_those_of_the_whole_grid_and_another_draw_in_the_same_folder_begins_anew(done, tmp_path):
    _, full = done
    write(tmp_path)
    words = [word for key, values in GRID.items() for word in ("--over", f"{key}={','.join(values)}")]

    def drawn(*options):
        command = quantd(tmp_path, "sweep", "config.toml", *words, "--out", "drawn", "--json", *options)
        return answer(command)

    first = drawn("--points", "4")
    assert "These are 4 of 6 points of the grid, drawn with seed 0." in first["verdict"]
    assert first["trials"] == 4
    rows = full.table.to_dicts()
    assert [row for row in rows if row in first["points"]] == first["points"] != rows
    other = drawn("--points", "4", "--seed", "1")
    assert [row for row in rows if row in other["points"]] == other["points"] != first["points"]
    assert other["trials"] == len({tuple(row.values()) for row in (*first["points"], *other["points"])})
    everything = drawn("--points", "9")
    assert (everything["points"], everything["trials"]) == (rows, 6)
    assert "These are all 6 points of the grid, because 9 were to be drawn." in everything["verdict"]
    refused = quantd(tmp_path, "sweep", "config.toml", *words, "--seed", "1")
    assert (refused.returncode, "--points N" in refused.stderr) == (2, True)


def test_the_values_of_a_heat_map_of_drawn_points_are_in_the_order_of_the_grid():
    grid = Grid({"a.b": ("1", "2"), "c.d": ("10", "5", "1")}, 3, 2)
    points = tuple(point_of(k, values, 1.0) for k, values in enumerate([("1", "1"), ("2", "10"), ("2", "5")]))
    assert heat_map(Sweep(("a.b", "c.d"), points, Known(), grid=grid), "c.d", "a.b")[0] == ["10", "5", "1"]


def test_other_values_bars_or_costs_are_another_sweep(tmp_path):
    path = write(tmp_path)

    def identity(grid=GRID, *sets):
        config = read(path, sets)
        base = base_of(config, path.read_text(), sets, tmp_path)
        return identity_of(base, Grid(grid), assemble(config).market)

    names = {
        identity(), identity({"broker.commission_bp": ("1", "2")}), identity(GRID, "broker.commission_bp=9"),
        identity(GRID, "feed.end=2019-03-01"),
    }  # fmt: skip
    assert len(names) == 4
    assert identity() in names


def test_a_point_with_a_mistake_has_a_fault_and_the_others_results(tmp_path):
    grid_sweep = swept(tmp_path, {"risk.max_position_weight": ("0.2", "20", "x")})
    assert [bool(point.fault) for point in grid_sweep.points] == [False, True, True]
    assert "20 is a percentage" in grid_sweep.points[1].fault
    assert grid_sweep.best.values == ("0.2",)
    assert len(grid_sweep.faults) == 2
    assert all(line.startswith("  without a result: ") for line in grid_sweep.fault_lines)


def test_a_grid_may_change_the_market_itself(tmp_path):
    grid_sweep = swept(tmp_path, {"feed.end": ("2019-02-28", "2019-03-29")})
    assert len(grid_sweep.points[0].series()) < len(grid_sweep.points[1].series())
    assert grid_sweep.returns.columns == ["ts", "1"]  # samples differ: one column is left
    assert grid_sweep.overfitting is None


def planted(count, best=0.0, samples=500):
    draw = np.random.default_rng(3)
    returns = draw.normal(0.0, 0.01, (samples, count))
    returns[:, 0] += best
    points = tuple(Point(k, (str(k),), {"sharpe": 1.0}, None, returns[:, k].copy().tobytes()) for k in range(count))
    looked = swept_look(points)
    return Sweep(("a.b",), looked, Known(tuple(point.look for point in looked)))


def swept_look(points):
    def ratio(point):
        returns = point.series()
        return float(returns.mean() / returns.std(ddof=1) * np.sqrt(252))

    return tuple(
        Point(p.number, p.values, p.metrics, Look("sweep", "x", str(p.number), "m", "a", "b", ratio(p), 252), p.returns)
        for p in points
    )


def test_noise_is_overfit_and_skill_is_not():
    noise, skill = planted(40), planted(40, best=0.004)
    assert 0.2 < noise.overfitting.probability < 0.8
    assert skill.overfitting.probability < 0.05
    assert noise.deflated < 0.9 < skill.deflated
    assert "It may be luck" in noise.verdict()
    assert "It may be luck" not in skill.verdict()


@pytest.mark.long
def test_the_command_prints_the_best_and_writes_heat_maps(tmp_path):
    write(tmp_path)
    words = [word for key, values in GRID.items() for word in ("--over", f"{key}={','.join(values)}")]
    document = answer(
        quantd(tmp_path, "sweep", "config.toml", *words, "--workers", "1", "--report", "h.html", "--json")
    )
    assert len(document["points"]) == 6
    assert (document["trials"], document["fault"]) == (6, "")
    best = max(document["points"], key=lambda row: row["sharpe"])
    assert document["best"] == {key: f"{best[key]:g}" for key in GRID}
    page = (tmp_path / "h.html").read_text()
    assert page.count("hsl(") == 6
    assert "://" not in page
    process = quantd(tmp_path, "sweep", "config.toml", *words, "--workers", "1", "--to", "2090-01-02")
    assert "The best of 6 points" in process.stdout
    assert "after the last bar, of " in process.stdout
    assert quantd(tmp_path, "sweep", "config.toml", "--over", "risk.max_drawdown=5:1:1").returncode == 2
    twice = quantd(
        tmp_path, "sweep", "config.toml", "--over", "feed.start=2019-01-02,2019-02-01", "--from", "2019-01-02"
    )
    assert (twice.returncode, "feed.start=2019-01-02 sets a key that --over varies" in twice.stderr) == (2, True)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("over", "said"),
    [
        (["risk.max_position_weight=0.2,20"], "no point can take risk.max_position_weight=20: "),
        (["agents.trend.rebalance.when=calendar,sample", "risk.max_drawdown=0.1,0.2"], "rebalance.when=sample: "),
        (["agents.trend.params.lookbak=7:60:1"], "no point can take agents.trend.params.lookbak=7: "),
    ],
)
def test_a_value_that_no_point_can_take_is_refused_before_the_first_point(tmp_path, over, said):
    write(tmp_path)
    words = [word for axis in over for word in ("--over", axis)]
    done = quantd(tmp_path, "sweep", "config.toml", *words, "--workers", "1")
    assert done.returncode == 2
    assert said in done.stderr
    assert re.search(r"[^.]\. Leave the value out; no point ran\n$", done.stderr)
    assert not (tmp_path / "state/sweeps").exists()


@pytest.mark.long
def test_a_killed_sweep_loses_no_point(tmp_path):
    write(tmp_path)
    command = [
        sys.executable, "-m", "quantd.daemon.cli", "sweep", "config.toml", "--workers", "2",
        "--over", "agents.trend.params.lookback=20:59:1",
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (files := list(tmp_path.glob("state/sweeps/*/points.bin"))) or files[0].stat().st_size < 4_000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = files[0].stat().st_size
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=250, check=True)
    assert "The best of 40 points" in done.stdout
    assert files[0].stat().st_size > kept
    assert read_looks(tmp_path / "state").trials == 40


def point_of(number, values, sharpe, fault=""):
    look = Look("sweep", "x", f"{number}", "m", "2019-01-02", "2019-03-29", sharpe, 252.0)
    metrics = {} if fault else dict.fromkeys(METRICS, 1.0) | {"sharpe": sharpe}
    returns = np.random.default_rng(number).normal(size=60)
    return Point(number, values, metrics, look, returns.tobytes(), np.arange(60).tobytes(), fault)


def test_a_sweep_over_a_cost_names_no_best_cost(tmp_path):
    points = tuple(point_of(k, (cost, look), 2.0 - k / 10) for k, (cost, look) in enumerate(
        (c, n) for c in ("0", "5", "20") for n in ("20", "60")
    ))  # fmt: skip
    grid_sweep = Sweep(("broker.commission_bp", "agents.trend.params.lookback"), points, Known())
    assert grid_sweep.best is grid_sweep.deflated is grid_sweep.overfitting is None
    text = grid_sweep.verdict()
    assert text.startswith("broker.commission_bp is a cost, which nobody chooses, so no cost is called the best.")
    assert "At broker.commission_bp 5 the best of 2 points is agents.trend.params.lookback 20: Sharpe 1.80." in text
    assert "The best of 6" not in text
    assert "Best points" not in sweep_page(grid_sweep, "x")
    alone = Sweep(("broker.spread_bp",), tuple(point_of(k, (f"{k}",), 1.0 - k) for k in range(3)), Known())
    assert "At broker.spread_bp 2 Sharpe -1.00." in alone.verdict()
    assert "<h2>sharpe by broker.spread_bp</h2><svg" in sweep_page(alone, "x")
    write(tmp_path)
    done = quantd(tmp_path, "sweep", "config.toml", "--over", "broker.commission_bp=0,20")
    assert done.returncode == 0
    assert "The best" not in done.stdout
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["0", "20"], "the order of the grid"


def test_a_heat_map_does_not_colour_small_differences_from_red_to_green():
    def hues(*ratios):
        points = tuple(point_of(k, (f"{k}", "1"), ratio) for k, ratio in enumerate(ratios))
        html = rendering.html([heat_map_table(Sweep(("a.b", "c.d"), points, Known()), "a.b", "c.d")])
        return [int(hue) for hue in re.findall(r"hsl\((\d+)", html)]

    near, far = hues(1.70, 1.72, 1.75), hues(-1.0, 0.0, 2.0)
    assert max(near) - min(near) < 15
    assert (min(far), max(far)) == (10, 140)
    assert near == sorted(near)
