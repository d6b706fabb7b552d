"""`quantd backtest` from outside: its digest and its report."""

from tests.support.command_line import answer, quantd


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


def test_a_report_is_one_page_that_asks_for_nothing_else(ran):
    folder, _ = ran
    assert quantd(folder, "backtest", "--report", "r.html").returncode == 0
    page = (folder / "r.html").read_text()
    assert "<svg" in page
    assert "Sharpe" in page
    assert "http:" not in page
    assert "https:" not in page
    assert "src=" not in page
