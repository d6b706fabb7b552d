"""`quantd backtest` from outside: its digest and its report."""

import re
import shlex

import pytest

from tests.support.command_line import answer, quantd, write


@pytest.mark.long
@pytest.mark.requirement("R-171")
def test_a_backtest_a_run_and_a_replay_have_one_digest(ran):
    folder, run = ran
    backtest = answer(quantd(folder, "backtest", "--json"))
    replay = answer(quantd(folder, "replay", run["run"], "--policies", "--json"))
    assert run["digest"] == backtest["digest"] == replay["digest"]
    assert run["fills"] > 0
    same = ("slices", "symbol_bars", "orders", "fills", "refused", "clipped", "alerts", "equity", "cash", "positions")
    assert [run[k] for k in same] == [backtest[k] for k in same] == [replay[k] for k in same]
    assert replay["same"]
    assert replay["compared"] == replay["steps"] > 100
    assert replay["asked"] > 0
    assert replay["policy_differences"] == 0


SPLIT = (
    "--set", 'feed.actions=""', "--set", 'universe.symbols=["AAPL", "SPY"]', "--set", "feed.start=2020-07-01",
    "--set", "feed.end=2020-09-30",
)  # fmt: skip


@pytest.mark.parametrize(
    "command",
    [
        ("backtest",),
        ("sweep", "--over", "broker.commission_bp=0,1"),
        ("study", "rebalance"),
        ("study", "compare", "equal_weight"),
        ("study", "signal", "momentum_21"),
    ],
    ids=" ".join,
)
def test_a_jump_near_a_split_ratio_stops_research_with_symbol_date_prices_ratio_and_remedies(tmp_path, command):
    write(tmp_path)
    done = quantd(tmp_path, *command, *SPLIT)
    assert (done.returncode, done.stdout) == (1, "")
    assert "AAPL opened at 127.67 on 2020-08-31, after 499.23: near a 4:1 split" in done.stderr
    for remedy in ("[feed] adjusted = true", "2020-08-31,AAPL,split,4:1,", '[feed] jumps = "real"'):
        assert remedy in done.stderr
    assert not list(tmp_path.glob("state/looks*")), "no trial was made"


@pytest.mark.long
def test_each_remedy_lets_a_backtest_run(tmp_path):
    write(tmp_path)
    plain = ("backtest", "--json", "--no-compare")
    real = answer(quantd(tmp_path, *plain, *SPLIT, "--set", 'feed.jumps="real"'))
    adjusted = answer(quantd(tmp_path, *plain, *SPLIT, "--set", "feed.adjusted=true"))
    (tmp_path / "actions.csv").write_text("ts,symbol,kind,ratio,cash\n2020-08-31,AAPL,split,4:1,\n")
    listed = answer(quantd(tmp_path, *plain, *SPLIT[2:], "--set", 'feed.actions="actions.csv"'))
    assert real["digest"] == adjusted["digest"] != listed["digest"]


@pytest.mark.long
def test_a_hole_stops_a_backtest_unless_it_is_known(tmp_path):
    write(tmp_path)
    dates = ("--from", "2004-10-01", "--to", "2011-04-29")
    done = quantd(tmp_path, "backtest", *dates)
    assert (done.returncode, done.stdout) == (1, "")
    assert "QQQ has no good bar on 1,588 sessions in a row, 2004-12-01 to 2011-03-22" in done.stderr
    ended = ("--from", "2004-10-01", "--to", "2005-03-31", "--no-compare")
    assert quantd(tmp_path, "backtest", *ended).returncode == 0, "it had no bar again before the end"
    warm = ("--from", "2011-03-28", "--to", "2011-04-29", "--set", "feed.warmup=1700", "--no-compare")
    assert quantd(tmp_path, "backtest", *warm).returncode == 1, "the warm-up is one of the dates"
    holes = ("--set", 'feed.holes="known"')
    bad = quantd(tmp_path, "backtest", *warm, *holes)
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "IWM on 2008-09-19 is out of all proportion to the bars before: open 79.11, high 156.51" in bad.stderr
    for setting in ('feed.spikes="real"', 'feed.spikes="reject"', 'feed.exceptions="data/exceptions.csv"'):
        assert quantd(tmp_path, "backtest", *warm, *holes, "--set", setting).returncode == 0, setting


@pytest.mark.long
def test_a_policy_alone_is_the_same_in_backtest_run_and_replay_and_an_exchanged_one_names_its_share(tmp_path):
    write(tmp_path)
    (tmp_path / "mine.py").write_text("def act(view):\n    return [1.0] + [0.0] * (len(view.prices) - 1)\n")
    kept = quantd(tmp_path, "backtest", "mine.py:act", "--no-compare", "--journal").stdout
    first, *_ = kept.splitlines()
    assert first == "mine.py:act alone has all the capital, without the agents of config.toml and their schedules"
    digest = re.search(r"digest (\w+)", kept)[0]
    ran = quantd(tmp_path, "run", "mine.py:act", "--set", "feed.at_end=stop", "--set", "feed.pace=fast")
    assert digest in ran.stdout
    replay = re.search(r"journal kept: quantd (.*)", kept)[1]
    assert digest in quantd(tmp_path, *shlex.split(replay)).stdout
    exchanged = quantd(tmp_path, "backtest", "--no-compare", "--set", "agents.even.policy=mine.py:act").stdout
    share = "agent even (mine.py:act) has 0.5 of the capital; the others have trend 0.4"
    assert exchanged.startswith(f"{share}: `quantd backtest mine.py:act` tests it alone\n")
    assert digest not in exchanged


def test_a_policy_in_an_empty_folder_is_backtested_on_the_recorded_market(tmp_path):
    (tmp_path / "mine.py").write_text("def act(view):\n    return 0.1 * (view.returns(21).sum(axis=0) > 0)\n")
    words = ("backtest", "mine.py:act", "--json", "--no-compare", "--to", "2019-02-01")
    first = quantd(tmp_path, *words)
    assert answer(first)["fills"] > 0
    assert "wrote config.toml: recorded US markets on paper; mine.py:act trades alone in this backtest" in first.stderr
    assert "wrote" not in quantd(tmp_path, *words).stderr


def test_no_configuration_is_written_for_a_policy_that_is_not_there(tmp_path):
    done = quantd(tmp_path, "backtest", "mine.py:act")
    assert (done.returncode, "`quantd init` writes one" in done.stderr) == (78, True)
    assert not list(tmp_path.glob("*.toml"))
