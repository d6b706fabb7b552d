"""`quantd replay` from outside."""

import pytest

from quantd.engine_build.state import label
from quantd.trading.exit_codes import CONFIG
from tests.support.command_line import answer, program, quantd, write


def test_a_kept_backtest_replays_and_a_policy_that_changed_is_listed(tmp_path):
    write(tmp_path)
    kept = answer(quantd(tmp_path, "backtest", "--journal", "--json"))
    state = ("--state", "state/backtests")
    assert answer(quantd(tmp_path, "replay", kept["run"], *state, "--json"))["digest"] == kept["digest"]
    other = quantd(tmp_path, "replay", "--policies", "--json", *state, "--set", "agents.trend.params.lookback=20")
    assert answer(other)["policy_differences"] > 0


@pytest.mark.long
def test_the_interpreted_engine_repeats_a_run_of_the_loaded_one_and_both_say_which_they_are(tmp_path):
    write(tmp_path)
    kept = answer(quantd(tmp_path, "backtest", "--journal", "--json"))
    line = ("replay", kept["run"], "--state", "state/backtests")
    loaded, other = (answer(program(tmp_path, *line, *words, "--json")) for words in ((), ("--uncompiled",)))
    assert loaded["engine"].split()[0] == label().split()[0]
    assert other["engine"].startswith("uncompiled")
    assert other["same"]
    assert (other["digest"], other["compared"]) == (kept["digest"], loaded["compared"])
    assert program(tmp_path, *line, "--uncompiled").stdout.splitlines()[0].endswith(f" s, engine {other['engine']}")


@pytest.mark.long
def test_the_exit_code_is_that_of_the_interpreted_engine(tmp_path):
    write(tmp_path)
    kept = answer(quantd(tmp_path, "backtest", "--journal", "--json"))
    line = ("replay", kept["run"], "--state", "state/backtests", "--uncompiled")
    done = program(tmp_path, *line, "--set", "feed.start=2018-06-01")
    assert (done.returncode, done.stdout) == (CONFIG, "")
