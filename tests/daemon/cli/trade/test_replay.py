"""`quantd replay` from outside."""

from tests.support.command_line import answer, quantd, write


def test_a_kept_backtest_replays_and_a_policy_that_changed_is_listed(tmp_path):
    write(tmp_path)
    kept = answer(quantd(tmp_path, "backtest", "--journal", "--json"))
    state = ("--state", "state/backtests")
    assert answer(quantd(tmp_path, "replay", kept["run"], *state, "--json"))["digest"] == kept["digest"]
    other = quantd(tmp_path, "replay", "--policies", "--json", *state, "--set", "agents.trend.params.lookback=20")
    assert answer(other)["policy_differences"] > 0
