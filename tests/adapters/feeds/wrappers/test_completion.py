"""Bars of a stream that repeats the one in the making: given once they are over, whole."""

import asyncio
from collections.abc import AsyncGenerator
from decimal import Decimal

from quantd.adapters.feeds.bars.rows import Rows, rows_of
from quantd.adapters.feeds.wrappers.completion import Completed
from quantd.trading.instruments import NANO

MINUTE = 60 * NANO


def bar(minute: int, column: int, close: int) -> tuple[object, ...]:
    return minute * MINUTE, column, *map(Decimal, (100, 120, 90, close, 5))


class Said:
    """A stream that says this."""

    def __init__(self, *parts: list[tuple[object, ...]]) -> None:
        self._parts = parts
        self.closed = False

    async def bars(self) -> AsyncGenerator[Rows, None]:
        for part in self._parts:
            yield rows_of(part)  # type: ignore[arg-type]

    async def close(self) -> None:
        self.closed = True


def given(*parts: list[tuple[object, ...]]) -> list[tuple[int, int, float]]:
    async def all_of() -> list[tuple[int, int, float]]:
        return [
            (int(ts) // MINUTE, int(column), float(close))
            async for rows in Completed(Said(*parts)).bars()
            for ts, column, close in zip(rows.ts, rows.column, rows.close, strict=True)
        ]

    return asyncio.run(all_of())


def test_a_bar_comes_once_with_its_last_change_when_its_successor_has_begun() -> None:
    changes = [bar(1, 0, 101)], [bar(1, 0, 102)], [bar(1, 0, 103)], [bar(2, 0, 104)], [bar(2, 0, 105)]
    assert given(*changes) == [(1, 0, 103.0)]


def test_symbols_do_not_end_each_others_bars() -> None:
    assert given([bar(1, 0, 101), bar(1, 1, 102)], [bar(2, 1, 103)], [bar(1, 0, 104)]) == [(1, 1, 102.0)]


def test_several_bars_in_one_message_are_taken_in_order_of_time() -> None:
    assert given([bar(3, 0, 103), bar(1, 0, 101), bar(2, 0, 102)]) == [(1, 0, 101.0), (2, 0, 102.0)]


def test_a_correction_of_an_older_bar_passes_at_once() -> None:
    assert given([bar(1, 0, 101)], [bar(2, 0, 102)], [bar(1, 0, 99)]) == [(1, 0, 101.0), (1, 0, 99.0)]


def test_it_closes_what_it_reads() -> None:
    said = Said()
    asyncio.run(Completed(said).close())
    assert said.closed
