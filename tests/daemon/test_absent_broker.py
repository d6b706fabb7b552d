"""A whole daemon whose MQTT broker is away: what waits leaves later with the same bytes, ids and order."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from quantd.adapters.bus.entry_messages import EntryComposer
from quantd.adapters.bus.messages import Composer
from quantd.adapters.bus.outbox import StoredAlerts
from quantd.adapters.store.handle import read_only
from quantd.daemon.runtime.committed_folds import sent_by
from quantd.risk.limits.catalogue import REASON_NAMES
from tests.daemon.running_daemon import Running, running, until
from tests.support.command_line import CONFIG
from tests.support.mqtt import Mosquitto, Subscriber

Line = tuple[str, str]
"""Topic and payload."""

TRADES = ("quantd/paper/decisions", "quantd/paper/orders", "quantd/paper/fills")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A broker that is not started, on a port of its own."""
    folder = tmp_path / "broker"
    folder.mkdir()
    mosquitto = Mosquitto(folder)
    yield mosquitto
    Subscriber.close_all()
    mosquitto.stop()


def config(broker: Mosquitto) -> str:
    """A short run that stays up; its limits raise alerts, and thin participation leaves orders unfilled."""
    text = CONFIG.replace('at_end = "stop"', 'at_end = "wait"').replace("[bus]\nport = 0\n", "")
    text = text.replace("max_drawdown = 0.25", "max_drawdown = 0.02").replace(
        "participation = 0", "participation = 0.000001"
    )
    return f'{text}[bus]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\n'


def stored(daemon: Running) -> tuple[list[Line], list[Line]]:
    """The alerts and the trades of the daemon's store, each composed by this process from its row."""
    records = read_only(daemon.folder / "state")
    run = records.run()
    composer = Composer(run.run, "paper", run.universe, run.agents, reasons=REASON_NAMES)
    alerts = [(topic, payload.decode()) for _, topic, payload, _ in StoredAlerts(records, composer).pending(10_000)]  # type: ignore[arg-type]
    trades = EntryComposer(composer, sent_by(records, run.run))
    messages = [message for seq, data in records.entries(run.run) for message in trades.messages(seq, data)]
    return alerts, [(message.topic, message.payload.decode()) for message in messages]


def at_the_end(daemon: Running) -> tuple[list[Line], list[Line]]:
    """Wait until the recorded market has ended; what the store has then."""
    until(lambda: daemon.get("/api/v1/status")["status"] == "ended", "the market did not end")
    alerts, trades = stored(daemon)
    assert len(alerts) > 3
    assert {topic for topic, _ in trades} == set(TRADES)
    assert any('"state":"expired"' in payload for _, payload in trades)
    return alerts, trades


def received(subscriber: Subscriber, topics: str | tuple[str, ...]) -> list[Line]:
    return [line for line in subscriber.lines() if line[0].startswith(topics)]


@pytest.mark.long
@pytest.mark.requirement("R-181")
def test_what_waited_for_a_broker_is_what_the_journal_gives(tmp_path: Path, broker: Mosquitto) -> None:
    with running(tmp_path, config(broker)) as daemon:
        alerts, trades = at_the_end(daemon)
        subscriber = broker.start().subscribe("-t", "quantd/#", "-q", "1")
        until(lambda: len(received(subscriber, TRADES)) >= len(trades), "trades did not arrive")
        assert received(subscriber, TRADES) == trades
        assert received(subscriber, "quantd/paper/alerts/") == alerts


@pytest.mark.long
def test_alerts_are_the_same_after_kill_9(tmp_path: Path, broker: Mosquitto) -> None:
    with running(tmp_path, config(broker)) as daemon:
        alerts, _ = at_the_end(daemon)
        daemon.process.kill()
        daemon.process.wait(10)
    (tmp_path / "state" / "api.json").unlink()
    with running(tmp_path, config(broker)):
        subscriber = broker.start().subscribe("-t", "quantd/#", "-q", "1")
        until(lambda: len(received(subscriber, "quantd/paper/alerts/")) >= len(alerts), "alerts did not arrive")
        assert received(subscriber, "quantd/paper/alerts/")[: len(alerts)] == alerts
