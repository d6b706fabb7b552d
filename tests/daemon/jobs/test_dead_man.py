"""The dead man's switch is heard while the daemon is well, and silent when it is not, or is killed."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from quantd.daemon.jobs.dead_man import DeadMansSwitch, unwell
from quantd.trading.events import Condition, Stopping
from tests.daemon import running_daemon
from tests.support.command_line import CONFIG
from tests.support.mqtt import until
from tests.support.service_kit import Kit, world
from tests.support.sink_servers import Pulse, in_a_thread


async def test_it_is_heard_while_bars_arrive_and_silent_while_the_feed_is_down(tmp_path: Path) -> None:
    pulse = Pulse()
    await pulse.start()
    kit = Kit(tmp_path, world())
    service = kit.service
    assert unwell(service) == "the daemon is starting"
    beating = asyncio.create_task(DeadMansSwitch(service, f"{pulse.url}/ping/1", 0.02).run())
    await asyncio.sleep(0.1)
    assert pulse.taken == []
    stepping = asyncio.create_task(service.step_forever())
    await until(lambda: len(pulse.taken) >= 3)
    await service.inbox.command(Condition(service.shell.state.now, "feed", False, "no bars"))
    await asyncio.sleep(0.1)
    heard = len(pulse.taken)
    await asyncio.sleep(0.2)
    assert len(pulse.taken) == heard
    await service.inbox.command(Condition(service.shell.state.now, "feed", True, "bars"))
    await until(lambda: len(pulse.taken) > heard + 2)
    with capture_logs() as lines:
        pulse.answers = [503, 503, 200]
        await until(lambda: not pulse.answers)
    assert [line["reason"] for line in lines if line["event"] == "dead_man.silent"] == ["the receiver answers 503"]
    assert pulse.url not in str(lines)
    service.inbox.command(Stopping(service.shell.state.now, False, "test"))
    await asyncio.gather(stepping, beating)
    await pulse.stop()
    kit.store.close()


@pytest.mark.long
def test_a_killed_daemon_is_silent(tmp_path: Path) -> None:
    pulse = Pulse()
    with in_a_thread(pulse):
        text = CONFIG + f'\n[alerts.dead_man]\nurl = "{pulse.url}/ping/1"\nevery = "1s"\n'
        # a daemon of the block is killed at its end
        with running_daemon.running(tmp_path, text, "--quiet", "--set", "feed.at_end=wait"):
            running_daemon.until(lambda: len(pulse.taken) >= 2, "nothing was heard")
        heard = len(pulse.taken)
        time.sleep(2.5)
        assert len(pulse.taken) == heard
