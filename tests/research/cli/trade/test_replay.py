"""`quantd replay` from outside."""

import pytest

from quantd.engine_build.state import label
from quantd.trading.exit_codes import CONFIG
from tests.support.command_line import CONFIG as CONFIG_TEXT
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


CRISIS = CONFIG_TEXT.replace("2019-01-02", "2019-12-02").replace("2019-03-29", "2020-04-30")
"""The small configuration over the fall of March 2020, in which its limit on the drawdown is never reached."""


@pytest.mark.long
def test_a_run_under_another_limit_halts_where_that_limit_is_reached_and_its_own_limit_changes_nothing(tmp_path):
    write(tmp_path, CRISIS)
    quantd(tmp_path, "run", "--quiet")
    line = ("replay", "--json", "--limit")
    tight = answer(quantd(tmp_path, *line, "risk.max_drawdown=0.05"))
    assert tight["exact"], "the run taken again under its own limits must give its recorded equity"
    assert tight["recorded"]["turns"] == []
    turn = tight["other"]["turns"][0]
    assert (turn["who"], turn["switch"], turn["reason"]) == ("the account", "REDUCE", "drawdown")
    assert turn["time"][:10] in tight["sentence"]
    assert tight["recorded"]["equity"] != tight["other"]["equity"]
    # the same configuration, traded from the start: the other course is that of a backtest with the limit
    write(tmp_path, CRISIS.replace("max_drawdown = 0.25", "max_drawdown = 0.05"))
    tested = answer(quantd(tmp_path, "backtest", "--json"))
    assert float(tested["equity"]) == pytest.approx(float(tight["other"]["equity"]), abs=0.01)
    write(tmp_path, CRISIS)
    own = answer(quantd(tmp_path, *line, "risk.max_drawdown=0.25"))
    assert own["recorded"] == own["other"]
    assert "the same course" in own["sentence"]
    agent = answer(quantd(tmp_path, *line, "agents.even.limits.max_drawdown=0.05"))
    assert agent["other"]["turns"][0]["who"] == "even"


@pytest.mark.long
def test_what_is_no_limit_is_refused_with_a_remedy(tmp_path):
    write(tmp_path)
    quantd(tmp_path, "run", "--quiet")
    for limit, word in (
        ("feed.path=/etc/passwd", "feed.path is no limit"),
        ("risk.profile=aggressive", "risk.profile is no limit"),
        ("risk.max_drawdown=15", "risk.max_drawdown"),
        ("agents.nobody.limits.max_drawdown=0.1", "nobody"),
        ("risk.max_drawdown", "risk.max_drawdown"),
    ):
        done = quantd(tmp_path, "replay", "--limit", limit)
        assert done.returncode != 0
        assert word in done.stderr
        assert "Traceback" not in done.stderr
