"""Without `--workers` the cores of the process run points, and the results do not depend on how many do."""

import os

import pytest

from quantd.research.cli.trade.shared_options import MOST_WORKERS, workers_of
from tests.support.command_line import quantd, write


def test_the_default_is_the_usable_cores_within_bounds() -> None:
    usable = os.sched_getaffinity(0)
    assert workers_of(None, "local") == min(len(usable), MOST_WORKERS)
    assert [workers_of(None, "local", 0), workers_of(None, "ray"), workers_of(12, "local", 0)] == [1, 1, 12]
    try:
        os.sched_setaffinity(0, {min(usable)})
        assert workers_of(None, "local") == 1
    finally:
        os.sched_setaffinity(0, usable)


@pytest.mark.long
def test_a_sweep_has_the_same_bits_with_any_number_of_workers(tmp_path) -> None:
    write(tmp_path)
    words = ("sweep", "config.toml", "--over", "agents.trend.params.lookback=20:58:2", "--out")
    files = []
    for out, *options in (("default",), ("one", "-j", "1"), ("two", "-j", "2"), ("three", "-j", "3")):
        done = quantd(tmp_path, *words, out, *options, "--state", f"state-{out}")
        assert done.returncode == 0, done.stderr
        files.append(tuple((tmp_path / out / name).read_bytes() for name in ("sweep.parquet", "returns.parquet")))
    assert len(set(files)) == 1
