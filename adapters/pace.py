"""Rate limits of requests to a server, the delay that the server asks for, and pauses after failures."""

import asyncio
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from aiolimiter import AsyncLimiter


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `calls` requests in `per_s` seconds. Raises ValueError if either is 0 or less."""

    calls: float
    per_s: float = 60.0

    def __post_init__(self) -> None:
        if not (self.calls > 0 and self.per_s > 0):
            raise ValueError(f"a rate of {self.calls} calls in {self.per_s} s allows nothing; both must be above 0")


def back_off_s(failed: int, first_s: float, longest_s: float) -> float:
    """Return the seconds to wait after `failed` failures in a row (1 or more): exponential back-off with jitter.

    The bound of the wait starts at `first_s` and doubles with each failure up to `longest_s`; the wait is uniformly
    random between half the bound and the bound (Brooker 2015).
    """
    bound = min(longest_s, first_s * 2.0 ** min(failed - 1, 30))
    return random.uniform(bound / 2, bound)


class Pace:
    """Limits requests to a rate, in order of arrival: up to `burst` may go out at once. A burst of 1 spaces them
    evenly."""

    def __init__(self, rate: Rate | None, burst: int = 1) -> None:
        self._limiter = None if rate is None else AsyncLimiter(burst, burst * rate.per_s / rate.calls)
        self._queue = asyncio.Lock()  # the limiter alone lets a newcomer overtake waiting callers

    async def turn(self) -> None:
        """Return when the next request may go out; at once if no rate is set."""
        if self._limiter is not None:
            async with self._queue:
                await self._limiter.acquire()


def retry_after_s(headers: Mapping[str, str], longest_s: float) -> float:
    """Return the seconds to wait by Retry-After (RFC 9110: seconds or a date), else by X-RateLimit-Reset (Unix
    seconds), else 0.

    The names of headers may have any case. The result is at most `longest_s`.
    """
    by_name, now = {name.lower(): value for name, value in headers.items()}, datetime.now(UTC)
    retry_after = by_name.get("retry-after", "").strip()
    try:
        if retry_after:
            wait_s = float(retry_after) if retry_after[0].isdigit() else (_date(retry_after) - now).total_seconds()
        else:
            wait_s = float(by_name.get("x-ratelimit-reset") or 0) - now.timestamp()
    except (ValueError, TypeError, OverflowError):  # a date's offset from UTC may exceed a C integer
        return 0.0
    return 0.0 if math.isnan(wait_s) else min(max(wait_s, 0.0), longest_s)  # a sleep of NaN seconds never ends


def _date(text: str) -> datetime:
    """Return the instant of a date in any form of RFC 9110. Raises ValueError for other text.

    The form of asctime has no zone and is in UTC.
    """
    date = parsedate_to_datetime(text)
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)
