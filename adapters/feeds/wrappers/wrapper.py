"""A source over another one: what a wrapper does not change passes through."""

from quantd.adapters.feeds.bars.stamps import Stamps
from quantd.adapters.feeds.source import Source


class Passing:
    """Name, stamps and kind of prices of the source inside; closing closes it."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def name(self) -> str:
        return self._source.name

    @property
    def stamps(self) -> Stamps:
        return self._source.stamps

    @property
    def adjusted(self) -> bool:
        return self._source.adjusted

    async def close(self) -> None:
        await self._source.close()
