"""Periodic reports of a daemon: the risk of the house in the log, by the clock and between bars too."""

import asyncio
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from quantd.daemon.config import read
from quantd.daemon.monitoring.heartbeat import monitoring
from tests.support.known_names import KNOWN, SMALL
from tests.support.mqtt import until
from tests.support.service_kit import Kit, world


@pytest.mark.requirement("R-155")
async def test_the_risk_of_the_house_is_logged_at_each_interval_without_a_bar(tmp_path: Path) -> None:
    assert read(SMALL, KNOWN).risk.monitor_interval_ns == 300 * 10**9
    kit = Kit(tmp_path, world())
    await kit.run()
    with capture_logs() as lines:
        task = asyncio.create_task(monitoring(kit.service, 0.02))
        await until(lambda: len(lines) >= 3)
        task.cancel()
    state = kit.service.shell.state
    for line in lines:
        assert (line["event"], line["interval_s"], line["equity"]) == ("risk", 0.02, state.equity_micro / 1e6)
        assert line["max_drawdown"] >= 0.0
    kit.store.close()
