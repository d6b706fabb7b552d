"""`quantd backtest` from outside: its digest and its report."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from quantd.daemon.assembly.compiler import COMPILING
from tests.support.command_line import answer, environment, quantd, write


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


def test_a_report_is_one_page_that_asks_for_nothing_else(ran):
    folder, _ = ran
    assert quantd(folder, "backtest", "--report", "r.html").returncode == 0
    page = (folder / "r.html").read_text()
    assert page.count("var uPlot=") == 1
    assert "default-src 'none'" in page
    assert "Sharpe" in page
    assert "http:" not in page
    assert "https:" not in page
    assert "src=" not in page


LONG = """
import sys
from quantd.daemon.assembly import compiler
compiler.PAYS_LOADING = compiler.PAYS_COMPILING = 0
from quantd.daemon.cli import main
main(sys.argv[1:])
"""


@pytest.mark.skipif(find_spec("numba") is None, reason="numba is not installed")
def test_a_long_backtest_says_once_that_it_compiles_and_with_json_nothing(tmp_path):
    write(tmp_path)
    digest = answer(quantd(tmp_path, "backtest", "--json", "--no-compare"))["digest"]

    def long(*words):
        command = [sys.executable, "-c", LONG, "backtest", "--no-compare", *words]
        environ = environment() | {"XDG_CACHE_HOME": str(tmp_path / words[0].strip("-"))}
        return subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=180, check=True
        )

    told = long('--set=broker.cash="100000.00"')
    assert told.stderr.splitlines() == [COMPILING]
    assert digest in told.stdout
    silent = long("--json")
    assert silent.stderr == ""
    assert digest in silent.stdout
