"""A source over another source."""

from quantd.adapters.feeds.bars.rows import ActionRow, Rows
from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.source import Source


class Forwarding:
    """Base class of sources that forward every request to another source, and have its name, stamps and `adjusted`."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name: str = source.name
        self.stamps: Stamps = source.stamps
        self.adjusted: bool = source.adjusted

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        return await self._source.bars(start_ns, end_ns)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        return await self._source.actions(start_ns, end_ns)

    async def close(self) -> None:
        await self._source.close()
