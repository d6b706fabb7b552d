"""The discovery document of Home Assistant, at a real broker: its topics are published, its templates give values."""

import asyncio
import json
import re
from pathlib import Path

import pytest
from jinja2 import Environment

from quantd.adapters.bus.home_assistant import SENSORS, device_id, discovery
from tests.support.command_line import ALERTING, program, write
from tests.support.mqtt import Mosquitto, Subscriber, until

TOPIC = "homeassistant/device/quantd_quantd_paper/config"


@pytest.mark.long
@pytest.mark.parametrize(("group", "alerts_topic"), [("0s", "alerts/+/+"), ("1m", "alert_groups")])
async def test_each_sensor_of_the_document_has_a_topic_and_a_value(
    tmp_path: Path, group: str, alerts_topic: str
) -> None:
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker").start()
    try:
        everything = broker.subscribe("-t", "quantd/#")
        bus = f'[bus]\nkind = "mqtt"\nurl = "mqtt://127.0.0.1:{broker.port}"\nhome_assistant = "homeassistant"'
        alerts = f'[alerts]\nlevels = ["INFO", "WARNING", "CRITICAL"]\ngroup = "{group}"\n[risk]'
        write(tmp_path, ALERTING.replace("[bus]\nport = 0", bus).replace("[risk]", alerts))
        assert (await asyncio.to_thread(program, tmp_path, "run", "--quiet")).returncode == 0
        later = broker.subscribe("-t", "homeassistant/#")  # what a Home Assistant that starts later gets
        await until(lambda: bool(later.lines()), "the document")
        ((topic, payload),) = later.lines()
        assert topic == TOPIC
        document = json.loads(payload)
        published = dict(everything.lines())
        assert set(document["components"]) == set(SENSORS)
        assert document["components"]["alert"]["state_topic"] == f"quantd/paper/{alerts_topic}"
        values = {}
        for key, sensor in document["components"].items():
            pattern = re.escape(sensor["state_topic"]).replace(r"\+", "[^/]+")
            payloads = [json.loads(text) for topic, text in published.items() if re.fullmatch(pattern, topic)]
            assert payloads, sensor["state_topic"]
            values[key] = Environment().from_string(sensor["value_template"]).render(value_json=payloads[-1])
        assert values["switch"] in ("RUN", "REDUCE", "HALT")
        assert float(values["equity"]) > float(values["cash"]) > 0
        assert 0 <= float(values["drawdown"]) < 100
        assert values["alert"]
        units = {key: sensor.get("unit_of_measurement") for key, sensor in document["components"].items()}
        assert units == {"switch": None, "equity": "USD", "cash": "USD", "drawdown": "%", "alert": None}
        states = [json.loads(text) for topic, text in everything.lines() if topic == document["availability_topic"]]
        shown = [
            Environment().from_string(document["availability_template"]).render(value_json=state) for state in states
        ]
        assert "online" in shown
        assert shown[-1] == "offline", "the run has ended"
    finally:
        Subscriber.close_all()
        broker.stop()


def test_two_instances_are_two_devices_and_a_prefix_with_a_wildcard_is_refused() -> None:
    one, other = (discovery("homeassistant", "quantd", name, "1", "USD")[0] for name in ("paper", "live"))
    assert one != other
    with pytest.raises(ValueError, match=r"\[bus\] home_assistant"):
        discovery("#", "quantd", "paper", "1", "USD")


ACCEPTED = re.compile(r"^(?P<component>\w+)/(?:(?P<node_id>[a-zA-Z0-9_-]+)/)?(?P<object_id>[a-zA-Z0-9_-]+)/config$")
"""The topics below its prefix that Home Assistant reads, by the documentation of MQTT discovery."""

PLACES = [
    ("quantd", "paper"), ("größe", "paper"), ("site/quantd", "paper"), ("site_quantd", "paper"), ("a.b", "c"),
    ("site", "quantd_paper"), ("site", "quantd-paper"), ("site", "quantd.paper"), ("日本", "紙"), ("日本", "株"),
    ("a-b", "c"), ("٣", "x"),
]  # fmt: skip


@pytest.mark.parametrize("discovery_prefix", ["homeassistant", "ha/discovery", "maison-été"])
def test_home_assistant_reads_the_document_of_every_prefix_and_no_two_instances_share_a_device(
    discovery_prefix: str,
) -> None:
    ids = set()
    for prefix, name in PLACES:
        topic, payload = discovery(discovery_prefix, prefix, name, "1", "USD")
        below = topic.removeprefix(f"{discovery_prefix}/")
        assert ACCEPTED.match(below), topic
        document = json.loads(payload)
        assert document["device"]["identifiers"] == [below.split("/")[1]]
        assert all(
            re.fullmatch("[a-zA-Z0-9_-]+", component["unique_id"]) for component in document["components"].values()
        )
        ids.add(below)
    assert len(ids) == len(PLACES)


def test_the_device_of_the_default_configuration_keeps_its_id() -> None:
    assert device_id("quantd", "paper") == "quantd_quantd_paper"
    assert device_id("quantd", "paper_2") == "quantd_quantd_paper_2"
