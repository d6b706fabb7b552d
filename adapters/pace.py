"""How often a vendor or an exchange may be asked."""

import asyncio
from dataclasses import dataclass

from aiolimiter import AsyncLimiter


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` requests in `per_s` seconds."""

    calls: float
    per_s: float = 60.0

    def __post_init__(self) -> None:
        if not (self.calls > 0 and self.per_s > 0):
            raise ValueError(f"a rate of {self.calls} calls in {self.per_s} s allows nothing; both must be above 0")


class Pace:
    """Turns at a rate, up to `burst` of them at once, in the order of asking. With a burst of 1 they are
    evenly spaced."""

    def __init__(self, rate: Rate | None, burst: int = 1) -> None:
        self._limiter = None if rate is None else AsyncLimiter(burst, burst * rate.per_s / rate.calls)
        self._queue = asyncio.Lock()  # the limiter alone lets a newcomer pass those who wait

    async def turn(self) -> None:
        """Return when the next request may go out; at once without a rate."""
        if self._limiter is not None:
            async with self._queue:
                await self._limiter.acquire()
