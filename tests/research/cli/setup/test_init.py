"""`quantd init` from outside."""

from tests.support.command_line import answer, quantd, write


def test_a_new_policy_runs_as_it_is(tmp_path):
    write(tmp_path)
    wrote = answer(quantd(tmp_path, "init", "--policy", "value", "--json"))
    with (tmp_path / "config.toml").open("a") as file:
        file.write("\n" + wrote["config"].replace("0.2 ", "0.1 "))
    assert answer(quantd(tmp_path, "backtest", "--json"))["fills"] > 0
    again = quantd(tmp_path, "init", "--policy", "value")
    assert again.returncode == 1
    assert "value.py exists" in again.stderr
