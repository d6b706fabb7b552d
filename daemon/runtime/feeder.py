"""Fills the inbox of a service from a recorded market at its pace, or from a live one."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from itertools import islice

import structlog

from quantd.daemon.runtime.service import Service
from quantd.daemon.runtime.timeline import Item, time_of
from quantd.trading.events import Stopping, Tick
from quantd.trading.market import MarketSlice

log = structlog.get_logger("quantd.loop")


async def feed_recorded(service: Service, instants: Iterator[list[Item]], pace: str, at_end: str) -> None:
    """Fill the inbox from a recorded market at its pace; at its end stop or stay as configured.

    A failure of the feed does not end the daemon: positions and operators still need it.
    """
    try:
        if pace == "fast":
            await _feed_fast(service, instants)
        elif pace == "real":
            await _feed_real(service, instants)
        else:
            await _feed_paced(service, instants, 1.0 / float(pace.removesuffix("/s")))
    except Exception as error:
        log.debug("feed.failed", exc_info=True)  # the watchdog raises the alert
        await service.drained()
        service.feed_error = f"{type(error).__name__}: {error}"[:500]
        return
    if at_end == "stop":
        # after the last bar, not before it as an operator's command would be; False: open orders are not cancelled
        await service.inbox.put([[Stopping(service.shell.unsettled.now, False, "the feed has ended")]])
    else:
        await service.drained()
    service.status = "ended"
    service.notify()


async def _feed_fast(service: Service, instants: Iterator[list[Item]]) -> None:
    while chunk := list(islice(instants, 32)):
        await service.inbox.put(chunk)


async def _feed_paced(service: Service, instants: Iterator[list[Item]], period_s: float) -> None:
    """Feed one sample of the whole account per `period_s`; items between two samples go with the later
    sample."""
    due_s = time.monotonic()
    chunk: list[list[Item]] = []
    for instant in instants:
        chunk.append(instant)
        last = instant[-1]
        if isinstance(last, Tick) and last.sample:
            await service.inbox.put(chunk)
            chunk = []
            if not last.warmup:
                # a feed that is late makes up for at most one second
                due_s = max(due_s + period_s, time.monotonic() - 1.0)
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
    if chunk:
        await service.inbox.put(chunk)


async def _feed_real(service: Service, instants: Iterator[list[Item]]) -> None:
    """Feed at once up to the first tick after the warm-up (history before the start), then at the recorded pace."""
    for instant in instants:
        ts, last = time_of(instant[-1]), instant[-1]
        if service.market_ahead_ns is not None:
            await asyncio.sleep(max(0.0, (ts - service.market_ahead_ns - time.monotonic_ns()) / 1e9))
        elif isinstance(last, Tick) and not last.warmup:
            service.market_ahead_ns = ts - time.monotonic_ns()
        await service.inbox.put([instant])


async def feed_live(service: Service, market: AsyncIterator[list[Item]]) -> None:
    """Fill the inbox from a live market until cancelled."""
    service.market_ahead_ns = time.time_ns() - time.monotonic_ns()
    service.live_since_ns = time.time_ns()
    async for instant in market:
        if isinstance(last := instant[-1], MarketSlice):
            service.measured.bar_lag_s = (time.time_ns() - last.ts_event) / 1e9
        await service.inbox.put([instant])
