"""A stream that sends a bar again with each change, as one that sends bars when they are over."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.rows import Rows, joined
from quantd.adapters.feeds.source import Stream


class Completed:
    """Gives the newest bar of a symbol when a later one of it has begun, and older ones at once.

    Such a stream does not say when a bar is over, and its last change may be on its way when the bar closes: only a bar
    that has a successor is surely whole. Where nothing trades no successor comes: whoever reads asks the vendor for
    that bar.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream: Final = stream

    async def bars(self) -> AsyncIterator[Rows]:
        changes = self._stream.bars()
        newest: dict[int, Rows] = {}
        try:
            async for rows in changes:
                over: list[Rows] = []
                for k in np.argsort(rows.ts, kind="stable").tolist():
                    bar, column = rows.take(np.array([k])), int(rows.column[k])
                    held = newest.get(column)
                    if held is None or bar.ts[0] >= held.ts[0]:
                        if held is not None and bar.ts[0] > held.ts[0]:
                            over.append(held)
                        newest[column] = bar
                    else:
                        over.append(bar)
                if over:
                    yield joined(over)
        finally:
            if isinstance(changes, AsyncGenerator):
                await changes.aclose()

    async def close(self) -> None:
        await self._stream.close()
