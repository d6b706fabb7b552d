"""How often an exchange may be asked: a bucket of turns that refills evenly."""

import asyncio


class Pace:
    """Turns at `per_minute`, up to `burst` of them at once. Whoever has none waits, in order."""

    def __init__(self, per_minute: int, burst: int) -> None:
        self._every_s = 60.0 / per_minute
        self._most = float(burst)
        self._turns = float(burst)
        self._at = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for a turn."""
        async with self._queue:
            loop = asyncio.get_running_loop()
            self._refill(loop.time())
            if self._turns < 1.0:
                await asyncio.sleep((1.0 - self._turns) * self._every_s)
                self._refill(loop.time())
            self._turns -= 1.0

    def _refill(self, now: float) -> None:
        if self._at:
            self._turns = min(self._most, self._turns + (now - self._at) / self._every_s)
        self._at = now
