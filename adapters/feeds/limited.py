"""No more requests than a vendor allows: a pace for single requests, and a wrapper for sources that keep none."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantd.adapters.feeds.files import ActionRow, Rows
from quantd.adapters.feeds.passing import Passing
from quantd.adapters.feeds.source import Source

if TYPE_CHECKING:
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
    """Turns, evenly spaced: a leaky bucket that may fill would let twice the rate pass in its first period."""

    def __init__(self, rate: Rate | None) -> None:
        self._rate = rate
        self._limiter: AsyncLimiter | None = None

    async def turn(self) -> None:
        """Return when the next request may go out; at once without a rate."""
        if self._rate is None:
            return
        if self._limiter is None:
            from aiolimiter import AsyncLimiter

            self._limiter = AsyncLimiter(1, self._rate.per_s / self._rate.calls)
        await self._limiter.acquire()


class Limited(Passing):
    """A source asked no more often than `rate`. Vendors that page keep the pace for each page themselves."""

    def __init__(self, source: Source, rate: Rate) -> None:
        super().__init__(source)
        self._pace = Pace(rate)

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """As the source's, in its turn. Raises SourceError."""
        await self._pace.turn()
        return await self._source.bars(start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """As the source's, in its turn. Raises SourceError."""
        await self._pace.turn()
        return await self._source.actions(start_ns, end_ns)
