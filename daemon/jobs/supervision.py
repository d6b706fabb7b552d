"""Supervises loops beside trading: a loop that fails raises an alert and is restarted after a pause."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from quantd.daemon.runtime.service import Service, reason_of

log = structlog.get_logger("quantd.jobs")

LOOP_PAUSE_S: Final = 1.0
"""Pause before the first restart of a loop; each later pause is twice as long."""

LONGEST_S: Final = 60.0
"""Longest pause before a restart."""


async def kept_up(
    service: Service, name: str, loop: Callable[[], Awaitable[None]], *, clock: Callable[[], float] = time.monotonic
) -> None:
    """Run a loop until it returns; after a failure restart it after a pause, which doubles from failure to failure.

    Only the first failure raises an alert. A stop of the service ends the pause and the loop.
    """
    pause_s = LOOP_PAUSE_S
    while True:
        try:
            await loop()
            return
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as failure:  # a panic of a compiled library is no Exception
            log.exception("loop.failed", loop=name, then=f"begun again in {pause_s:g} s")
            if pause_s == LOOP_PAUSE_S:
                service.alert(f"{name} failed: {reason_of(failure)}; it begins again by itself")
        restart_at = clock() + pause_s
        while clock() < restart_at:
            await service.changed(min(0.5, pause_s))
            if service.over:
                return
        pause_s = min(2.0 * pause_s, LONGEST_S)
