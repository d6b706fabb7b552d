"""`quantd bench`: real times of real parts, and whether those of parts are within their limits."""

import json

import pytest

from quantd.daemon.assembly.names import known_names
from quantd.daemon.assembly.parts import assemble
from quantd.daemon.config import load
from quantd.research.cli.learn.bench import ALLOWED_MS, measure, timed
from quantd.server.cli.setup import bench_api
from tests.support.command_line import CONFIG, answer, quantd, running, write


@pytest.mark.requirement("R-160", "F-40")
def test_every_part_is_timed_as_often_as_it_happens(tmp_path):
    write(tmp_path, CONFIG)
    assembly = assemble(load(tmp_path / "config.toml", known_names()))
    shell = assembly.shell()
    for item in assembly.items():
        shell.take(item)
    times = measure(assembly, lambda share: None)
    assert set(times) == set(ALLOWED_MS)
    assert 0 < len(times["asset update"]) <= shell.tally.slices
    assert len(times["allocation"]) >= len(times["risk"]) > 0
    assert all(took > 0 for part in times.values() for took in part)


@pytest.mark.requirement("R-160", "F-40")
def test_a_part_is_within_its_limit_up_to_the_limit():
    at = int(ALLOWED_MS["risk"] * 1e6)
    assert timed("risk", [at] * 5, ALLOWED_MS["risk"]).within
    assert not timed("risk", [at + 1] * 5, ALLOWED_MS["risk"]).within
    assert timed("risk", [1_000_000, 3_000_000], None).p50_ms == 2.0


@pytest.mark.requirement("R-230")
def test_the_memory_of_a_run_is_measured(tmp_path):
    write(tmp_path, CONFIG)
    used = json.loads(quantd(tmp_path, "bench", "--json").stdout)["memory"]
    assert used["peak_mib"] > 40
    assert 0 <= used["of_market_mib"] < used["peak_mib"]


def test_the_command_prints_a_row_for_each_part_and_names_what_is_wrong(tmp_path):
    write(tmp_path, CONFIG)
    said = quantd(tmp_path, "bench")
    assert "asset update" in said.stdout
    assert "allowed ms" in said.stdout
    assert "memory: " in said.stdout
    wrong = quantd(tmp_path, "bench", "--set", "risk.max_drawdwon=0.1")
    assert wrong.returncode == 78
    assert "max_drawdown" in wrong.stderr


@pytest.mark.requirement("R-205")
@pytest.mark.long
def test_the_api_is_timed_on_a_daemon_of_its_own_that_leaves_nothing(tmp_path):
    rows = answer(quantd(tmp_path, "bench", "--part", "api", "--seconds", "0.2", "--json"))["parts"]
    assert [row["part"] for row in rows] == list(bench_api.PATHS)
    assert all(row["count"] >= 1 and 0 < row["p50_ms"] <= row["p99_ms"] and row["per_s"] > 0 for row in rows)
    assert [path for path in tmp_path.iterdir() if path.name != ".cache"] == []


def test_without_a_daemon_the_running_one_cannot_be_timed(tmp_path):
    write(tmp_path)
    refused = quantd(tmp_path, "bench", "--part", "api", "--running")
    assert refused.returncode == 75
    assert "no daemon runs" in refused.stderr


@pytest.mark.long
def test_requests_beyond_the_rate_of_a_running_daemon_are_refused_with_the_key(tmp_path):
    write(tmp_path, CONFIG.replace('at_end = "stop"', 'at_end = "wait"') + "rate = { reads = 1, reads_burst = 20 }\n")
    with running(tmp_path):
        refused = quantd(tmp_path, "bench", "--part", "api", "--running", "--seconds", "60")
    assert refused.returncode == 75
    assert "beyond [api] rate.reads" in refused.stderr
