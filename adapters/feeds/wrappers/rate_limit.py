"""No more requests than a vendor allows: a pace for single requests, and a wrapper for sources that keep none."""

from typing import TYPE_CHECKING

from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.source import Source
from quantd.adapters.feeds.wrappers.wrapper import Passing
from quantd.adapters.pace import Pace, Rate

if TYPE_CHECKING:
    pass


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
