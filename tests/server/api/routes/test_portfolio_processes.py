"""A portfolio in a real daemon that is killed: it is there after the restart, and a replay repeats it."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.server.answering_daemon import started, until
from tests.server.api.routes.portfolio_texts import PORTFOLIOS
from tests.support.command_line import answer, quantd, write

SLOW = PORTFOLIOS.replace('pace = "fast"', 'pace = "4/s"').replace('at_end = "stop"', 'at_end = "wait"')


def portfolio(folder: Path, *arguments: str) -> Any:
    return answer(quantd(folder, "portfolio", *arguments, "--json"))


@pytest.mark.long
def test_a_portfolio_survives_a_kill_and_a_replay_repeats_it(tmp_path: Path) -> None:
    write(tmp_path, SLOW)
    process = started(tmp_path)
    weights = ("-w", "SPY=0.4", "-w", "IWM=0.3", "-r", "a mandate", "--capital", "20000")
    try:
        until(lambda: quantd(tmp_path, "portfolio", "create", "core", *weights).returncode == 0, process)
        until(lambda: any(row["weight"] > 0.2 for row in portfolio(tmp_path, "list", "core")["positions"]), process)
        before = portfolio(tmp_path, "list", "core")
        os.kill(process.pid, signal.SIGKILL)
        process.wait(10)
        process = started(tmp_path)
        until(lambda: quantd(tmp_path, "portfolio", "list", "core").returncode == 0, process)
        after = portfolio(tmp_path, "list", "core")
        same = ("name", "agent", "created", "capital", "proposal", "reason", "basis", "state")
        assert {key: after["portfolio"][key] for key in same} == {key: before["portfolio"][key] for key in same}
        assert {r["symbol"]: r["qty"] for r in after["positions"]} == {
            r["symbol"]: r["qty"] for r in before["positions"]
        }
        shown = portfolio(tmp_path, "rebalance", "core", "-w", "QQQ=0.5", "-r", "drift", "--dry-run")
        assert shown["trades"]["orders"]
        closing = portfolio(tmp_path, "close", "core", "hand_over", "--to", "even", "-r", "the end")
        assert closing["to"] == "even"
        until(lambda: not portfolio(tmp_path, "list")["portfolios"], process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    replayed = quantd(tmp_path, "replay", "--json")
    assert replayed.returncode == 0, replayed.stderr
    assert json.loads(replayed.stdout)
