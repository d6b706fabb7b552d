"""A cancellation that comes together with the broker's answer ends the task that waits for that answer."""

import asyncio

import pytest

from quantd.adapters.bus.mqtt_client import BusClient
from tests.support.mqtt import Mosquitto


@pytest.mark.parametrize("turns", range(4))
async def test_an_answer_does_not_swallow_the_cancellation_of_the_task_that_waits_for_it(
    mosquitto: Mosquitto, turns: int
) -> None:
    """`turns` of the loop lie between the answer and the cancellation."""

    async def publishing(client: BusClient) -> None:
        await client.publish("quantd/status", b"online", qos=1, timeout=10.0)

    async with BusClient("127.0.0.1", mosquitto.port, protocol="5", timeout=10.0) as client:
        task = asyncio.create_task(publishing(client))
        while not client._pending_publishes:  # noqa: ASYNC110
            await asyncio.sleep(0)
        (answered,) = client._pending_publishes.values()
        while not answered.is_set():  # noqa: ASYNC110
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled = task.cancel()  # False if the task has ended by now
        (end,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(end, asyncio.CancelledError) is cancelled
    assert cancelled or turns
