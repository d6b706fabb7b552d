"""The discovery document of Home Assistant: one device with the sensors of one instance. Pure.

Source: Home Assistant's documentation of MQTT discovery, device discovery payload (2024.11 and later).
"""

import re
from hashlib import blake2b
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.adapters.bus.messages import GROUPS
from quantd.adapters.bus.topics import checked_prefix, root


class Sensor(Struct, frozen=True):
    """One sensor of Home Assistant: the topic below the instance's root, the template of its value, and its unit and
    icon."""

    topic: str
    title: str
    template: str
    icon: str
    unit: str = ""
    attributes: bool = False


SENSORS: Final[dict[str, Sensor]] = {
    "switch": Sensor("risk", "Switch", "{{ value_json.switch }}", "mdi:electric-switch"),
    "equity": Sensor("portfolio", "Equity", "{{ value_json.equity }}", "mdi:cash", unit="currency"),
    "cash": Sensor("portfolio", "Cash", "{{ value_json.cash }}", "mdi:cash-multiple", unit="currency"),
    "drawdown": Sensor(
        "risk", "Drawdown", "{{ (100 * value_json.drawdown) | round(2) }}", "mdi:trending-down", unit="%"
    ),
    "alert": Sensor("alerts/+/+", "Last alert", "{{ value_json.text[:255] }}", "mdi:alert", attributes=True),
}
"""Object -> sensor."""


def device_id(prefix: str, name: str) -> str:
    """Return the id of an instance's device, which is also a level of its topic: ASCII letters, digits and underscores.

    Home Assistant ignores a document whose topic level has another character (its TOPIC_MATCHER of MQTT discovery). The
    id ends with a digest where a character is replaced, or where another prefix and name could give the same id.
    """
    text = re.sub(r"[^A-Za-z0-9_]", "_", f"{prefix}_{name}")
    if re.fullmatch(r"[A-Za-z0-9]+", prefix) and re.fullmatch(r"[A-Za-z0-9_]+", name):
        return f"quantd_{text}"
    return f"quantd_{text}_{blake2b(f'{prefix}/{name}'.encode(), digest_size=4).hexdigest()}"


def discovery(
    discovery_prefix: str, prefix: str, name: str, version: str, currency: str, *, grouped: bool = False
) -> tuple[str, bytes]:
    """Return (topic, payload) of the retained discovery document. Raises ValueError for a prefix that is no topic.

    With `grouped`, the sensor of alerts shows groups of alerts instead of single alerts.
    """
    base = root(prefix, name)
    device = device_id(prefix, name)
    sensors: dict[str, dict[str, Any]] = {}
    for key, sensor in SENSORS.items():
        topic = f"{base}/{GROUPS if grouped and key == 'alert' else sensor.topic}"
        about: dict[str, Any] = {
            "platform": "sensor",
            "name": sensor.title,
            "unique_id": f"{device}_{key}",
            "state_topic": topic,
            "value_template": sensor.template,
            "icon": sensor.icon,
        }
        if sensor.unit:
            about["unit_of_measurement"] = currency if sensor.unit == "currency" else sensor.unit
            about["state_class"] = "measurement"
        if sensor.attributes:
            about["json_attributes_topic"] = topic
        sensors[key] = about
    document = {
        "device": {"identifiers": [device], "name": f"quantd {name}", "manufacturer": "quantd", "sw_version": version},
        "origin": {"name": "quantd", "sw_version": version},
        "components": sensors,
        "availability_topic": f"{base}/status",
        "availability_template": "{{ 'online' if value_json.state == 'online' else 'offline' }}",
        "qos": 1,
    }
    topic = f"{checked_prefix(discovery_prefix, '[bus] home_assistant')}/device/{device}/config"
    return topic, msgspec.json.encode(document)
