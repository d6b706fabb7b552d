"""Alerts reach a sink at least once and in order, over outages and restarts, and never hold up trading."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from quantd.adapters.bus.messages import GROUPS
from quantd.adapters.bus.outbox import Lanes, StoredAlerts
from quantd.adapters.bus.payloads import Alert
from quantd.adapters.bus.publisher import MqttBus
from quantd.adapters.bus.settings import MqttSettings
from quantd.adapters.sinks.sink import Counts
from quantd.daemon.jobs.alert_delivery import Delivery, GroupTopic, merged
from quantd.risk.switch import HALT
from quantd.trading.events import Operator, Stopping
from tests.daemon.jobs.alert_desk import desk, webhook_of
from tests.support.mqtt import Mosquitto, Subscriber, until
from tests.support.running_server import running_server
from tests.support.service_kit import Kit, world
from tests.support.sink_servers import Receiver

STATUS = "quantd/paper/status"


receiver = running_server(Receiver)


async def test_each_alert_is_delivered_once_in_order_and_leaves_the_queue(tmp_path: Path, receiver: Receiver) -> None:
    async with desk(tmp_path, webhook_of(receiver)) as d:
        await d.raised("one", "two", "three")
        await until(lambda: len(receiver.taken) == 3 and not d.kit.store.waiting("webhook"))
        assert [alert.text for alert in receiver.taken] == d.texts() == ["one", "two", "three"]
        assert receiver.ids == d.ids()
        assert d.kit.store.waiting() == 3, "the queue of the bus is another one"
        assert (d.counts.sent, d.counts.failures, d.counts.error) == (3, 0, "")


@pytest.mark.long
async def test_a_receiver_that_never_answers_does_not_hold_up_commands(tmp_path: Path, receiver: Receiver) -> None:
    receiver.silent = True
    async with desk(tmp_path, webhook_of(receiver)) as d:
        await d.raised("one")
        await until(lambda: receiver.requests)
        assert (d.counts.depth, d.counts.sent) == (1, 0)
        await asyncio.wait_for(d.service.inbox.command(Operator(d.service.shell.state.now, "halt", "test", "me")), 60)
        assert d.service.shell.state.switch.state == HALT
        assert (receiver.taken, d.counts.sent) == ([], 0)
        receiver.silent = False
        await until(lambda: len(receiver.taken) == 2)
        assert [alert.level for alert in receiver.taken] == ["WARNING", "CRITICAL"]


@pytest.mark.long
async def test_an_urgent_alert_is_delivered_before_the_store_has_it_and_not_again_after(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with desk(tmp_path, webhook_of(receiver)) as d:
        await d.raised("one")
        await until(lambda: len(receiver.taken) == 1)
        first = receiver.taken[0]
        number = d.service.journal.seq + 1
        early = replace(first, id=f"run00001-{number}-0")
        d.delivery.urgent(early)
        await until(lambda: len(receiver.taken) == 2)
        await d.raised("two")
        await until(lambda: not d.kit.store.waiting("webhook"))
        assert d.ids()[-1] == early.id
        assert receiver.ids == d.ids()


async def test_a_group_is_one_message_and_a_critical_alert_does_not_wait_for_it(
    tmp_path: Path, receiver: Receiver
) -> None:
    async with desk(tmp_path, webhook_of(receiver), group_s=30.0) as d:
        await d.raised("one", "two", "three")
        await asyncio.sleep(0.2)
        assert receiver.taken == [], "the group is still collected"
        began = time.monotonic()
        await d.service.inbox.command(Operator(d.service.shell.state.now, "halt", "test", "me"))
        await until(lambda: len(receiver.taken) == 2 and not d.kit.store.waiting("webhook"))
        assert time.monotonic() - began < 25.0, "the group waits for 30 s"
        group, critical = receiver.taken
        assert (group.text, group.count, group.level) == ("3 alerts: one; two; three", 3, "WARNING")
        assert group.id == f"{d.ids()[0]}+2"
        assert (critical.level, critical.kind, critical.count) == ("CRITICAL", "switch", 1)


def test_a_group_is_about_what_its_alerts_have_in_common_and_names_the_agents_that_differ() -> None:
    def alert(id: str, symbol: str, agent: str, text: str) -> Alert:
        stamp = {"schema": 1, "run": "r", "name": "paper", "ts_event": 1, "time": "t"}
        return Alert(**stamp, id=id, level="WARNING", kind="protective", text=text, symbol=symbol, agent=agent,
                     value=0.09, bound=0.08)  # fmt: skip

    one, other, third = alert("1", "BAC", "learned", "a"), alert("2", "BAC", "parity", "b"), alert("3", "BAC", "", "c")
    assert merged([one]) is one
    group = merged([one, other, third])
    assert group.text == "3 alerts: learned: a; parity: b; house: c"
    assert (group.id, group.count, group.symbol, group.agent) == ("1+2", 3, "BAC", "")
    assert (group.value, group.bound) == (None, None)
    same = merged([one, replace(one, id="4", symbol="QQQ", text="d")])
    assert (same.text, same.agent, same.symbol) == ("2 alerts: a; d", "learned", "")


@asynccontextmanager
async def over_mqtt(folder: Path, port: int, group_s: float) -> AsyncIterator[tuple[Kit, Counts]]:
    """A stepping service whose alerts go to a broker, each of its own and as groups; its kit and the queue's counts."""
    kit = Kit(folder, world())
    service, composer = kit.service, kit.composer
    lanes = Lanes(StoredAlerts(kit.store, composer), lambda seq, data: ())
    bus = MqttBus(MqttSettings("127.0.0.1", port, retry_first_s=0.05, retry_most_s=0.2), lanes, STATUS, b"offline")
    kit.messages.published = lambda states, entries: bus.wake()
    delivery = Delivery(service, composer, GROUPS, GroupTopic(service, composer, lanes, bus.wake), group_s=group_s)
    tasks = [asyncio.create_task(coroutine) for coroutine in (service.step_forever(), delivery.run(), bus.run())]
    try:
        yield kit, service.sinks[GROUPS]
    finally:
        service.inbox.command(Stopping(service.shell.state.now, False, "test"))
        await tasks[0]
        _, late = await asyncio.wait([tasks[1]], timeout=1.0)
        for task in late:
            task.cancel()
        bus.stop(b"stopped")
        await asyncio.wait_for(tasks[2], 60)
        kit.store.close()


async def test_each_alert_has_its_own_topic_and_a_group_is_one_message_of_the_grouped_topic(tmp_path: Path) -> None:
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker").start()
    try:
        subscriber = broker.subscribe("-q", "1", "-t", "quantd/#")
        async with over_mqtt(tmp_path, broker.port, 0.3) as (kit, counts):
            for text in ("one", "two", "three"):
                kit.service.alert(text)
            await until(lambda: counts.sent == 1 and not kit.store.waiting(GROUPS) and not kit.store.waiting())
        single = [json.loads(text) for topic, text in subscriber.lines() if topic.startswith("quantd/paper/alerts/")]
        assert [alert["text"] for alert in single] == ["one", "two", "three"]
        (group,) = [json.loads(text) for topic, text in subscriber.lines() if topic == "quantd/paper/alert_groups"]
        assert (group["text"], group["count"], group["level"]) == ("3 alerts: one; two; three", 3, "WARNING")
        assert group["id"] == f"{single[0]['id']}+2"
        assert group["kind"] == single[0]["kind"]
    finally:
        Subscriber.close_all()
        broker.stop()
