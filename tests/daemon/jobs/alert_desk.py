"""A stepping service whose alerts go to a sink."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from quantd.adapters.sinks.sink import OpenSink, Selection
from quantd.adapters.sinks.webhook import Webhook, WebhookOptions
from quantd.daemon.jobs.alert_delivery import EVERY, Delivery
from quantd.trading.events import Stopping
from tests.support.mqtt import until
from tests.support.service_kit import Kit, world
from tests.support.sink_servers import KEY, Receiver


def webhook_of(receiver: Receiver) -> OpenSink:
    return Webhook(WebhookOptions(receiver.url, 1.0), {"webhook_key": KEY})


class Desk:
    def __init__(
        self, kit: Kit, sink: OpenSink, name: str = "webhook", selection: Selection = EVERY, group_s: float = 0.0
    ) -> None:
        self.kit = kit
        self.service = kit.service
        self.delivery = Delivery(kit.service, kit.composer, name, sink, selection, group_s=group_s)
        self.counts = kit.service.sinks[name]

    async def raised(self, *texts: str) -> None:
        """Raise alerts and wait for their commit."""
        before = len(self.ids())
        for text in texts:
            self.service.alert(text)
        await until(lambda: len(self.ids()) == before + len(texts))

    def texts(self) -> list[str]:
        with self.kit.store.connection() as driver:
            return [text for (text,) in driver.execute("SELECT text FROM alerts ORDER BY seq, k").fetchall()]

    def ids(self, where: str = "1 = 1") -> list[str]:
        """The ids of the alerts in the store."""
        with self.kit.store.connection() as driver:
            rows = driver.execute(f"SELECT run, seq, k FROM alerts WHERE {where} ORDER BY seq, k").fetchall()
        return ["-".join(map(str, row)) for row in rows]


@asynccontextmanager
async def desk(
    folder: Path, sink: OpenSink, name: str = "webhook", selection: Selection = EVERY, group_s: float = 0.0
) -> AsyncIterator[Desk]:
    alert_desk = Desk(Kit(folder, world()), sink, name, selection, group_s)
    stepping = asyncio.create_task(alert_desk.service.step_forever())
    delivering = asyncio.create_task(alert_desk.delivery.run())
    try:
        yield alert_desk
    finally:
        alert_desk.service.inbox.command(Stopping(alert_desk.service.shell.state.now, False, "test"))
        await asyncio.gather(stepping, delivering)
        await alert_desk.delivery.close()
        alert_desk.kit.store.close()
