"""Filters a stream that repeats the unfinished bar with each change down to finished bars."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.rows import Rows, joined
from quantd.adapters.feeds.source import Stream


class Completed:
    """Emits a symbol's newest bar once a later one has begun, and older bars at once.

    Such a stream does not mark the end of a bar, and its last change may still be under way at the close: only a bar
    with a successor is certainly complete. Without trades there is no successor, and the reader queries the vendor for
    that bar.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream: Final = stream

    async def bars(self) -> AsyncGenerator[Rows, None]:
        """Implements `Stream.bars`, but a bar is sent once a later one of its symbol arrives.

        A correction of an earlier bar is sent at once.
        """
        newest: dict[int, Rows] = {}
        async with aclosing(self._stream.bars()) as changes:
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

    async def close(self) -> None:
        await self._stream.close()
