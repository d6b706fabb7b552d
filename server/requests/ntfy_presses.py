"""Buttons under the notifications of the sink `ntfy`: a press publishes its code to the topic `answers`.

What can go wrong: whoever reads the topic of alerts can press, as ntfy names no person. So the journal has the name of
the topic, and a button only takes risk away (`quantd.server.requests.buttons`). A code that is published twice, or by
somebody who guesses, does nothing; a flood of such codes is answered once a minute.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress
from typing import Final

import structlog

from quantd.adapters.sinks.ntfy import Ntfy
from quantd.adapters.sinks.sink import SinkError
from quantd.daemon.edges.edge_records import Edge, EdgeContext, EdgeTask, OpenEdge
from quantd.daemon.runtime.service import Service
from quantd.server.requests.buttons import OVER, Buttons

log = structlog.get_logger("quantd.chat")

MOST: Final = 3
"""Most buttons of a notification of ntfy."""

LONGEST_S: Final = 60.0
"""Longest pause after failures, and the time between two answers about a button that is over."""


class NtfyPresses:
    """Follows the topic of answers of one sink: each press becomes an event of the run, and is answered."""

    def __init__(self, service: Service, sink: Ntfy) -> None:
        self._sink = sink
        self._buttons = Buttons(service)
        self._taken: deque[str] = deque(maxlen=100)
        """Ids of messages that were read: after a lost connection some come again."""
        self._told_s = -LONGEST_S
        sink.buttons = lambda alert: self._buttons.under(alert, MOST)

    async def run(self) -> None:
        """Follow the topic until cancelled. A failure is logged once, and tried again after a growing pause."""
        failures, since_s = 0, int(time.time())
        while True:
            try:
                async for heard in self._sink.heard(since_s):
                    failures, since_s = 0, int(time.time())
                    if heard.event == "message" and heard.id not in self._taken:
                        self._taken.append(heard.id)
                        await self._take(heard.message)
            except SinkError as error:
                if not failures:
                    log.warning("ntfy.unread", error=str(error), then="alerts are sent; buttons wait")
                failures += 1
                if "too long" in str(error):
                    since_s = int(time.time()) + 1  # it is passed over
            await asyncio.sleep(min(2.0**failures, LONGEST_S))

    async def _take(self, code: str) -> None:
        text = await self._buttons.pressed(code.strip(), f"ntfy {self._sink.answers}")
        if text == OVER:
            if time.monotonic() < self._told_s + LONGEST_S:
                return
            self._told_s = time.monotonic()
        with suppress(SinkError):  # the act counts, with or without its answer
            await self._sink.say(text)


def opened(context: EdgeContext) -> OpenEdge | None:
    """The task that follows the topic of answers; None without [alerts.sinks.ntfy] answers."""
    for delivery in context.deliveries:
        if isinstance(delivery.sink, Ntfy) and delivery.sink.answers:
            presses = NtfyPresses(context.service, delivery.sink)
            return OpenEdge((EdgeTask("buttons of ntfy", presses.run),))
    return None


NTFY: Final = Edge("buttons of ntfy", 136, opened)
