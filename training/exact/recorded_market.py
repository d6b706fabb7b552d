"""A recorded market cut into episodes: the items before an episode are its history, as in a run from that sample on.

What can go wrong. An episode would begin with a longer or shorter history than a run from the same sample on. So each
history has as many samples as precede the first decision of the market. Clock ticks of the history would ask an agent
for weights. So they are marked as warm-up, without schedules, jobs and interest. Deposits of schedules are left out.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import numpy as np
from msgspec.structs import replace

from quantd.daemon.runtime.timeline import Item
from quantd.trading.events import Flow, Tick
from quantd.trading.market import MarketSlice


class RecordedMarket:
    """The `items` of a market in order. Samples are counted from 0 at the beginning of the market.

    `first` is the index of the first sample with a decision, and `last` the index of the last sample. `last_bar` is the
    index of the last bar among the items.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        # a deposit would be a reward
        self.items: Final = [item for item in items if not isinstance(item, Flow)]
        samples = [(k, item) for k, item in enumerate(self.items) if isinstance(item, Tick) and item.sample]
        self._places: Final = [place for place, _ in samples]
        self._keys: Final = [tick.key for _, tick in samples]
        self.first: Final = sum(tick.warmup for _, tick in samples)
        self.last: Final = len(samples) - 1
        self.last_bar: Final = max((k for k, item in enumerate(self.items) if isinstance(item, MarketSlice)), default=0)
        self._before: Final[dict[int, Tick]] = {}

    def sample_from(self, day: object) -> int:
        """The index of the first sample from a date on.

        Raises ValueError where no decision with an outcome follows this date.
        """
        ns = int(np.datetime64(str(day), "ns").astype(np.int64))
        sample = bisect_left(self._keys, ns)
        if not self.first <= sample < self.last:
            raise ValueError(f"start = {day}: the market has no episode from there; name a date after its history")
        return sample

    def place(self, sample: int) -> int:
        """The index of the first item of an episode that begins at a sample: the item after that sample's last tick."""
        return self._places[sample - 1] + 1

    def history(self, sample: int) -> list[Item]:
        """The items before an episode that begins at `sample`, with as many samples as precede the first decision of
        the market.
        """
        begin_index = self._places[sample - self.first - 1] + 1 if sample > self.first else 0
        return [self._warm(index) for index in range(begin_index, self.place(sample))]

    def _warm(self, index: int) -> Item:
        """The item at an index as part of a history: a clock tick is marked as warm-up, so that it asks no agent."""
        item = self.items[index]
        if not isinstance(item, Tick) or item.warmup:
            return item
        if index not in self._before:
            self._before[index] = replace(item, warmup=True, due=(), jobs=(), cash_rate=None)
        return self._before[index]
