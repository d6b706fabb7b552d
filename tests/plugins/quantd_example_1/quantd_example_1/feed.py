"""A vendor whose price rises for a week and then falls back."""

from decimal import Decimal
from typing import Final

from quantd.adapters.feeds.bars.rows import ActionRow, Bar, Rows, rows_of
from quantd.adapters.feeds.bars.stamps import Stamps, interval_ns
from quantd.adapters.feeds.vendor import Request, Vendor
from quantd.adapters.plugins import Option

VENDOR: Final = Vendor(
    "sawtooth",
    source="quantd_example_1.feed:source",
    options=(Option("venue", "--exchange north", 'name its instance, venue = "north"'),),
    secrets={"sawtooth_key": "key of the vendor of the sawtooth"},
)


class SawtoothSource:
    name = "sawtooth"
    stamps: Stamps = "open"
    adjusted = False

    def __init__(self, request: Request) -> None:
        self._size, self._step_ns = request.universe.size, interval_ns(request.interval)

    async def bars(self, start_ns: int, end_ns: int) -> Rows:
        first = -(-start_ns // self._step_ns) * self._step_ns
        stamps = range(first, end_ns, self._step_ns)
        return rows_of([self._bar(ts, column) for ts in stamps for column in range(self._size)])

    def _bar(self, ts: int, column: int) -> Bar:
        price = Decimal(100 + ts // self._step_ns % 7)
        return ts, column, price, price + 1, price - 1, price, Decimal(1000)

    async def actions(self, start_ns: int, end_ns: int) -> list[ActionRow]:
        return []

    async def close(self) -> None:
        pass


def source(request: Request) -> SawtoothSource:
    return SawtoothSource(request)
