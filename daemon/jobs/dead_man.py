"""The dead man's switch: requests an address while the daemon is well, so that the other side notices its silence."""

import asyncio
import time
from typing import Final

import structlog

from quantd.adapters.sinks.http_post import HttpPost
from quantd.adapters.sinks.sink import SinkError
from quantd.daemon.runtime.service import Service

log = structlog.get_logger("quantd.dead_man")

TIMEOUT_S: Final = 10.0
"""Longest time of one request."""


def unwell(service: Service) -> str:
    """The reason why no heartbeat is sent; empty while the daemon is ready and bars arrive."""
    state = service.shell.state
    if service.status not in ("running", "ended"):
        return f"the daemon is {service.status}"
    if service.store_error:
        return "the store takes no writes"
    if service.feed_error or "feed" in state.down:
        return "no bars arrive"
    return ""


class DeadMansSwitch:
    """Sends a POST to one address in a fixed interval, unless `unwell` returns a reason for silence."""

    def __init__(self, service: Service, url: str, every_s: float) -> None:
        self._service = service
        self._url = url
        self._every_s = every_s
        self._error = ""
        self.sent = 0

    async def run(self) -> None:
        """Send heartbeats until the service has stopped."""
        posts = HttpPost(min(TIMEOUT_S, self._every_s))
        try:
            while not self._service.over:
                began = time.monotonic()
                await self._once(posts)
                await asyncio.sleep(max(0.0, self._every_s - (time.monotonic() - began)))
        finally:
            await posts.close()

    async def _once(self, posts: HttpPost) -> None:
        """Send one heartbeat if the daemon is well; note the reason if none was sent or it was not accepted."""
        if reason := unwell(self._service):
            self._note(reason)
            return
        try:
            answer = await posts.post(self._url, b"", {})  # no body and no headers
        except SinkError as error:
            self._note(str(error))
            return
        if answer.good:
            self.sent += 1
            self._note("")
        else:
            self._note(f"the receiver answers {answer.status}")

    def _note(self, error: str) -> None:
        """Log each new reason why a heartbeat failed or was not sent, once. The address is a secret of its owner and is
        not in the log."""
        if error and error != self._error:
            log.warning("dead_man.silent", reason=error)
        self._error = error
