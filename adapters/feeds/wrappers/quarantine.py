"""A source whose bad bars are put aside with their reasons before anyone sees them: judge, as a wrapper."""

import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Final

from quantd.adapters.feeds.bars.checks import BadBar, Reason, judge
from quantd.adapters.feeds.bars.merge import bad_bars, place_all, taken, timed
from quantd.adapters.feeds.bars.rows import NO_STAMP, ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.source import Source
from quantd.adapters.feeds.wrappers.wrapper import Passing
from quantd.trading.instruments import Universe
from quantd.trading.sessions import Sessions

MOST_KEPT: Final = 10_000


class Checked(Passing):
    """The good bars of `source`. A bar is judged by the bars before it in the same answer, so ask for some before those that
    you need: the first ones of an answer can hardly be called spikes. `sessions` by calendar name, as wide as what is asked.

    `put_aside` holds the newest MOST_KEPT bad bars and `counts` all of them by reason. Trades outside a session's hours are no
    faults and stay out too.
    """

    def __init__(
        self,
        source: Source,
        universe: Universe,
        sessions: Mapping[str, Sessions],
        interval: str,
        *,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        super().__init__(source)
        self._universe, self._sessions, self._now = universe, sessions, now
        self._length_ns = interval_ns(interval)
        self.put_aside: Final[deque[BadBar]] = deque(maxlen=MOST_KEPT)
        self.counts: Final[Counter[str]] = Counter()

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        """Raises SourceError. The bar that is still being made is not judged good before it has ended."""
        rows = await self._source.bars(start_ns, end_ns)
        listed = [] if self.adjusted else await self._source.actions(start_ns, end_ns)
        good, bad = sieved(rows, listed, self._universe, self._sessions, self.stamps, self._length_ns, self._now())
        self.put_aside.extend(bad)
        self.counts.update(bar.reason for bar in bad)
        return good

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        """As the source's. Raises SourceError."""
        return await self._source.actions(start_ns, end_ns)


def sieved(
    rows: Rows,
    listed: list[ActionRow],
    universe: Universe,
    sessions: Mapping[str, Sessions],
    stamps: Stamps,
    length_ns: int,
    now_ns: int,
) -> tuple[Rows, list[BadBar]]:
    """The good bars, and the bad ones by time. Trades outside a session's hours are neither."""
    placed = place_all(rows, universe, sessions, stamps, length_ns)
    keep = ~placed.extended | (rows.ts == NO_STAMP)
    rows, placed = rows.take(keep), taken(placed, keep)
    reason = judge(rows, placed, length_ns, timed(listed, universe, sessions), now_ns)
    return rows.take(reason == Reason.GOOD), bad_bars(rows, placed, reason, universe)
