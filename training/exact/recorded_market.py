"""A recorded market cut into episodes: what comes before one is its history, as before a run that begins there.

What can go wrong. An episode begins with other history than a run that begins there. Ticks of the history ask an agent.
The history has as many samples as the first decision of the market has. Its ticks are marked as warm-up, without
schedules, jobs and interest.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import numpy as np
from msgspec.structs import replace

from quantd.daemon.runtime.timeline import Item
from quantd.trading.events import Tick
from quantd.trading.market import MarketSlice


class RecordedMarket:
    """The `items` of a market in order. Samples are counted from its beginning.

    `first` is the number of the first sample with a decision, `last` that of the last sample, and `last_bar` the place
    of the last bar among the items.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: Final = list(items)
        samples = [(k, item) for k, item in enumerate(self.items) if isinstance(item, Tick) and item.sample]
        self._places: Final = [place for place, _ in samples]
        self._keys: Final = [tick.key for _, tick in samples]
        self.first: Final = sum(tick.warmup for _, tick in samples)
        self.last: Final = len(samples) - 1
        self.last_bar: Final = max((k for k, item in enumerate(self.items) if isinstance(item, MarketSlice)), default=0)
        self._before: Final[dict[int, Tick]] = {}

    def sample_from(self, day: object) -> int:
        """The number of the first sample from a date on. Raises ValueError where no decision and outcome follow it."""
        ns = int(np.datetime64(str(day), "ns").astype(np.int64))
        number = bisect_left(self._keys, ns)
        if not self.first <= number < self.last:
            raise ValueError(f"start = {day}: the market has no episode from there; name a date after its history")
        return number

    def place(self, number: int) -> int:
        """The place of the first item of an episode that begins at a sample."""
        return self._places[number - 1] + 1

    def history(self, number: int) -> list[Item]:
        """The items before an episode that begins at a sample: as many samples as before the first decision."""
        begin = self._places[number - self.first - 1] + 1 if number > self.first else 0
        return [self._warm(place) for place in range(begin, self.place(number))]

    def _warm(self, place: int) -> Item:
        """An item of a history: its ticks are of the warm-up, and ask nobody."""
        item = self.items[place]
        if not isinstance(item, Tick) or item.warmup:
            return item
        if place not in self._before:
            self._before[place] = replace(item, warmup=True, due=(), jobs=(), cash_rate=None)
        return self._before[place]
