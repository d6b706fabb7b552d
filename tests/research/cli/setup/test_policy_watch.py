"""A policy is tested at each save: verdict and look-ahead, mistakes in one line, and the watch goes on."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from quantd.research.cli.setup.policy_check import Bench
from tests.support.command_line import environment, quantd, write

EVEN = "LOOKBACK = 1\n\n\ndef act(view):\n    return [1 / 3] * 3\n"
AHEAD = """import polars as pl

LOOKBACK = 1
MEAN = None


def act(view, *, path="data/us_daily.parquet"):
    global MEAN
    import inspect

    frame = inspect.currentframe()
    while frame and "assembly" not in frame.f_locals:
        frame = frame.f_back
    last = frame.f_locals["assembly"].feed.last_ts
    return [0.1 + last % 1_000_003 / 1e8] * 3
"""


def lines_of(bench: Bench) -> list[str]:
    return list(bench.lines())


@pytest.mark.long
def test_a_policy_has_its_verdict_and_its_look_ahead_and_the_market_is_loaded_once(tmp_path: Path) -> None:
    config, policy = write(tmp_path), tmp_path / "mine.py"
    policy.write_text(EVEN)
    bench = Bench(config, policy)
    headline, ahead = lines_of(bench)
    assert "equal weight" in headline
    assert "1 trial known" in headline
    assert ahead == "looks only backwards: 10 cuts, 0 differences"
    markets = dict(bench._markets)
    policy.write_text(EVEN.replace("1 / 3", "1 / 4"))
    again, _ = lines_of(bench)
    assert "2 trials known" in again
    assert bench._markets == markets
    assert again.split(";")[0] != headline.split(";")[0]
    assert "equal weight" + headline.split("equal weight")[1].split(";")[0] in again


@pytest.mark.long
def test_a_policy_that_reads_later_bars_is_accused(tmp_path: Path) -> None:
    config, policy = write(tmp_path), tmp_path / "mine.py"
    policy.write_text(AHEAD)
    _, verdict, *more = lines_of(Bench(config, policy))
    assert verdict.startswith("looks ahead: 10 cuts, ")
    assert more


@contextmanager
def watching(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    out = folder / "out.txt"
    with out.open("w") as file:
        begun = subprocess.Popen(
            [sys.executable, "-m", "quantd.daemon.cli", "init", "--policy", "mine.py", "--watch", *arguments],
            cwd=folder, env=environment(), stdout=file, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        try:
            yield begun, out
        finally:
            begun.send_signal(signal.SIGINT)
            assert begun.wait(20) == 130


def arrives(out: Path, words: str, after: int = 0, within_s: float = 90.0) -> int:
    """Wait until a text is printed after a place; return the place behind it."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        text = out.read_text()
        if (at := text.find(words, after)) >= 0:
            return at + len(words)
        time.sleep(0.02)
    raise AssertionError(f"{words!r} is not in {text[after:]!r}")


@pytest.mark.long
def test_each_save_is_tested_and_no_mistake_ends_the_watch(tmp_path: Path) -> None:
    write(tmp_path)
    policy = tmp_path / "mine.py"
    with watching(tmp_path) as (begun, out):
        at = arrives(out, "looks only backwards: 10 cuts, 0 differences\n")
        assert (tmp_path / "test_mine.py").is_file()
        good = policy.read_text()
        policy.write_text(good + "x = (\n")
        at = arrives(out, f"{policy}:{good.count(chr(10)) + 1}: '(' was never closed; correct that line\n", at)
        policy.write_text(EVEN.replace("    return", "    1 / 0\n    return"))
        at = arrives(out, "fails on 2019-01-02: ZeroDivisionError: division by zero at mine.py:5\n", at)
        policy.write_text("while True:\n    pass\n")
        at = arrives(out, " mine.py\n", at)
        time.sleep(1.0)
        policy.write_text("import os\n\nos._exit(3)\n")
        at = arrives(out, "the policy ended its process (exit code 3)", at)
        replaced = tmp_path / "mine.py.new"  # as an editor saves
        replaced.write_text(EVEN)
        os.replace(replaced, policy)
        at = arrives(out, "looks only backwards", at)
        config = tmp_path / "config.toml"
        config.write_text(config.read_text().replace("end = 2019-03-29", "end = 2019-02-28"))
        at = arrives(out, "over 40 samples. ", at)
        assert begun.poll() is None


def test_a_watch_without_a_policy_says_which_option_is_missing(tmp_path: Path) -> None:
    done = quantd(tmp_path, "init", "--watch")
    assert done.returncode == 2
    assert "--policy NAME.py" in done.stderr
