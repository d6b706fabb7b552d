"""aiomqtt's client with what it passes over in MQTT 5: a broker may refuse a message that it acknowledges, and bounds how many are
on their way to it."""

import asyncio
from typing import Any, Final, Literal

from aiomqtt import Client, MqttError, ProtocolVersion

Protocol = Literal["3.1.1", "5"]

VERSIONS: Final[dict[Protocol, ProtocolVersion]] = {"3.1.1": ProtocolVersion.V311, "5": ProtocolVersion.V5}

PASSING: Final = frozenset({0x80, 0x83, 0x97})
"""Refusals that may pass: no reason given, one of the broker's own, and a quota that is used up. (MQTT 5.0, 3.4.2.1)"""

OTHER_VERSION: Final = "nsupported protocol version"
"""Part of what a broker answers that does not speak ours."""


class Refused(ValueError):
    """The broker will not take this message, however often it is sent: no right to the topic, or a wrong one."""


class BusClient(Client):
    """One connection. `publish` raises Refused too, and MqttError for a refusal that may pass."""

    def __init__(self, *arguments: Any, protocol: Protocol = "3.1.1", window: int = 32, **settings: Any) -> None:
        super().__init__(*arguments, protocol=VERSIONS[protocol], max_inflight_messages=window, **settings)
        self._window = window
        self._refused: dict[int, Any] = {}

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        most = getattr(properties, "ReceiveMaximum", None)
        if most:
            client._max_inflight_messages = min(
                self._window, most
            )  # its setter wants it set before the broker has said it
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if getattr(reason_code, "is_failure", False):
            self._refused[mid] = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)

    async def publish(  # type: ignore[override]
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """Returns when the broker has it. Raises MqttError, Refused, and ValueError for what MQTT cannot carry."""
        sent = self._client.publish(topic, payload, qos, retain)
        if sent.rc:
            raise MqttError(f"could not publish: {sent.rc}")
        if not sent.is_published():
            there = asyncio.Event()
            with self._pending_call(sent.mid, there, self._pending_publishes):
                await self._wait_for(there.wait(), timeout=timeout)
        code = self._refused.pop(sent.mid, None)
        if code is None:
            return
        if code.value in PASSING:
            raise MqttError(f"the broker did not take {topic}: {code}")
        raise Refused(f"the broker refuses {topic}: {code}")
