"""`quantd portfolio`: what it sends to a running daemon, and what it prints."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from quantd.trading.exit_codes import CHECK_FAILED, TRY_LATER, USAGE
from tests.server.api.routes.portfolio_texts import PORTFOLIOS
from tests.support.api_world import standing_at_the_end
from tests.support.command_line import Done, quantd, write


@pytest.fixture
async def folder(tmp_path: Path) -> AsyncIterator[Path]:
    async with standing_at_the_end(tmp_path, PORTFOLIOS):
        yield tmp_path


async def portfolio(folder: Path, *arguments: str) -> Done:
    return await asyncio.to_thread(quantd, folder, "portfolio", *arguments)


@pytest.mark.long
async def test_a_portfolio_is_opened_shown_rebalanced_and_closed(folder: Path) -> None:
    targets = ("-w", "SPY=0.4", "-w", "IWM=0.3")
    creation = await portfolio(folder, "create", "core", *targets, "--capital", "20000", "-r", "a mandate")
    assert creation.returncode == 0, creation.stderr
    assert creation.stdout.startswith("core is moved to weights by weights at ")
    assert "risk score" in creation.stdout
    assert "quantd why d" in creation.stdout
    listed = await portfolio(folder, "list")
    assert "1 of 2 places are in use" in listed.stdout
    shown = await portfolio(folder, "list", "core")
    assert "by api:owner: a mandate" in shown.stdout
    dry = json.loads(
        (await portfolio(folder, "rebalance", "core", "-w", "QQQ=0.5", "-r", "x", "--dry-run", "--json")).stdout
    )
    as_shown = ("rebalance", "core", "-w", "QQQ=0.5", "-r", "as shown", "--as-planned", dry["plan"])
    done = await portfolio(folder, *as_shown)
    assert (done.returncode, "open orders are cancelled" in done.stdout) == (0, True)
    again = await portfolio(folder, *as_shown)
    assert (again.returncode, "would differ now" in again.stderr) == (CHECK_FAILED, True)
    closed = await portfolio(folder, "close", "core", "flatten", "-r", "the end")
    assert (closed.returncode, closed.stdout.splitlines()[0]) == (0, "core is closing")


def test_a_weight_that_is_no_number_and_a_daemon_that_does_not_run_are_named(tmp_path: Path) -> None:
    write(tmp_path, PORTFOLIOS)
    for words, said in (
        (("-w", "SPY"), "write SYMBOL=WEIGHT, such as SPY=0.4 for 40 %"),
        (("-w", "SPY=40%"), "write SYMBOL=WEIGHT"),
        (("-w", "SPY=nan"), "write SYMBOL=WEIGHT"),
        (("-w", "SPY=0.4", "-w", "SPY=0.2"), "--weight names SPY twice"),
        (("-w", "SPY=0.4", "--dry-run", "--as-planned", "0" * 32), "write one of them"),
    ):
        wrong = quantd(tmp_path, "portfolio", "rebalance", "core", *words, "-r", "x")
        assert (wrong.returncode, said in wrong.stderr) == (USAGE, True), wrong.stderr
    nobody = quantd(tmp_path, "portfolio", "list")
    assert (nobody.returncode, "no daemon runs" in nobody.stderr) == (TRY_LATER, True)
