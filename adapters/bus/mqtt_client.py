"""Extends aiomqtt's client with features of MQTT 5: refusals in acknowledgements, the broker's receive maximum and
largest packet, and the flag of retained messages."""

import asyncio
import math
from collections.abc import Awaitable
from typing import Any, Final, TypeVar

from aiomqtt import Client, MqttError, ProtocolVersion
from paho.mqtt.subscribeoptions import SubscribeOptions

from quantd.adapters.bus.settings import Protocol

T = TypeVar("T")

VERSIONS: Final[dict[Protocol, ProtocolVersion]] = {"3.1.1": ProtocolVersion.V311, "5": ProtocolVersion.V5}

TEMPORARY: Final = frozenset({0x80, 0x83, 0x97})
"""Temporary refusals: no reason given, an implementation-specific error, an exceeded quota. (MQTT 5.0, 3.4.2.1)"""

HEAD_BYTES: Final = 10
"""Maximum size of a PUBLISH packet without its topic, payload and properties."""

REFUSED: Final = 128
"""Lowest code of a failure in the answer to a subscription; lower codes are the granted QoS."""

OTHER_VERSION: Final = "nsupported protocol version"
"""Part of the answer of a broker with another protocol version; its first letter is upper or lower case."""


class Refused(ValueError):
    """The broker refuses this message permanently: no right to the topic, or an invalid topic."""


class BusClient(Client):
    """One connection to an MQTT broker. Besides aiomqtt's errors, `publish` raises Refused for a message that the
    broker refuses permanently, and MqttError for a temporary refusal."""

    def __init__(self, *arguments: Any, protocol: Protocol = "3.1.1", window: int = 32, **settings: Any) -> None:
        super().__init__(*arguments, protocol=VERSIONS[protocol], max_inflight_messages=window, **settings)
        self._window = window
        self._version = VERSIONS[protocol]
        self._refused: dict[int, Any] = {}
        """Id of a published message -> reason code of its refusal."""
        self._packet_bytes = math.inf
        """The broker's Maximum Packet Size (MQTT 5.0, 3.2.2.3.6)."""

    async def _wait_for(self, fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109
        """Wait for an answer of the broker; replaces aiomqtt's wait.

        Before Python 3.12, asyncio.wait_for swallows a cancellation that comes together with the answer. A daemon that
        stopped on a failure would then go on for ever.
        """
        within_s = self.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(None if within_s == math.inf else within_s):
                return await fut
        except TimeoutError:
            raise MqttError("Operation timed out") from None

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason_code: Any, properties: Any = None) -> None:
        receive_maximum = getattr(properties, "ReceiveMaximum", None)
        if receive_maximum:
            client._max_inflight_messages = min(
                self._window, receive_maximum
            )  # its setter accepts values only before the broker has sent one
        self._packet_bytes = getattr(properties, "MaximumPacketSize", math.inf)
        super()._on_connect(client, userdata, flags, reason_code, properties)

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        if getattr(reason_code, "is_failure", False):
            self._refused[mid] = reason_code
        super()._on_publish(client, userdata, mid, reason_code, properties)

    async def hear(self, topic: str) -> bool:
        """Subscribe to a topic. Returns whether this client may read it. Raises MqttError without an answer.

        With MQTT 5 a retained message keeps its flag `retain`. With 3.1.1 the broker removes the flag for subscribers
        that are connected when the message is published.
        """
        if self._version is ProtocolVersion.V5:
            granted = await self.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))
        else:
            granted = await self.subscribe(topic, qos=1)
        return bool(granted) and all(getattr(code, "value", code) < REFUSED for code in granted)

    async def publish(  # type: ignore[override]
        self,
        topic: str,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> None:
        """Publish, and return when the broker has acknowledged the message.

        Raises MqttError without an acknowledgement, Refused for a permanent refusal, and ValueError for an invalid
        message.

        A refusal with a code in TEMPORARY is temporary, and raises MqttError.
        """
        if len(payload) + len(topic.encode()) + HEAD_BYTES > self._packet_bytes:
            raise Refused(
                f"a message on {topic} has {len(payload)} bytes; the broker accepts {self._packet_bytes:g} at most"
            )
        sent = self._client.publish(topic, payload, qos, retain)
        if sent.rc:
            raise MqttError(f"a message on {topic} could not be published: {sent.rc}")
        if not sent.is_published():
            answered = asyncio.Event()
            with self._pending_call(sent.mid, answered, self._pending_publishes):
                await self._wait_for(answered.wait(), timeout=timeout)
        code = self._refused.pop(sent.mid, None)
        if code is None:
            return
        if code.value in TEMPORARY:
            raise MqttError(f"the broker did not take a message on {topic}: {code}")
        raise Refused(f"the broker refuses a message on {topic}: {code}")
