"""A bus that publishes to a broker until its block ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from quantd.adapters.bus.publisher import MqttBus, Outbox
from quantd.adapters.bus.settings import MqttSettings

STATUS = "quantd/paper/status"
ALERTS = "quantd/paper/alerts/WARNING/test"


def settings(port: int, **other: object) -> MqttSettings:
    return MqttSettings("127.0.0.1", port, retry_first_s=0.05, retry_most_s=0.2, connect_s=1.0, **other)


@contextlib.asynccontextmanager
async def running(
    where: int | MqttSettings, outbox: Outbox, stop_s: float = 3.0, **other: object
) -> AsyncIterator[MqttBus]:
    """A bus on a port, whose `other` settings are given, or with settings."""
    place = settings(where, **other) if isinstance(where, int) else where
    bus = MqttBus(place, outbox, STATUS, b"offline")
    bus.status(b"online")
    task = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        bus.stop(b"stopped", stop_s)
        await asyncio.wait_for(task, 60)
