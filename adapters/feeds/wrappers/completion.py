"""Reduces a stream that sends each unfinished bar again with every change to a stream of finished bars."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import numpy as np

from quantd.adapters.feeds.bars.rows import Rows, joined
from quantd.adapters.feeds.source import Stream


class Completed:
    """Emits a symbol's newest bar once a later bar of it has begun, and older bars at once.

    The wrapped stream does not mark the end of a bar, and a bar's last change may arrive after its close: only a bar
    with a successor is certainly complete. If no trade follows, there is no successor; the reader then queries the
    vendor for the bar.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream: Final = stream

    async def bars(self) -> AsyncGenerator[Rows, None]:
        """Yield the wrapped stream's bars, each once a later bar of its symbol has arrived.

        A correction of an earlier bar is sent at once.
        """
        newest: dict[int, Rows] = {}
        async with aclosing(self._stream.bars()) as changes:
            async for rows in changes:
                finished: list[Rows] = []
                for k in np.argsort(rows.ts, kind="stable").tolist():
                    bar, column = rows.take(np.array([k])), int(rows.column[k])
                    previous = newest.get(column)
                    if previous is None or bar.ts[0] >= previous.ts[0]:
                        if previous is not None and bar.ts[0] > previous.ts[0]:
                            finished.append(previous)
                        newest[column] = bar
                    else:
                        finished.append(bar)
                if finished:
                    yield joined(finished)

    async def close(self) -> None:
        await self._stream.close()
