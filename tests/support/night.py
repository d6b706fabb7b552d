"""A night between two days of minute bars, with one outside agent: what it sends after the close waits."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from quantd.daemon.engine.state.settings import Execution
from quantd.risk.limits.catalogue import Limits, override
from quantd.trading.events import Proposed
from quantd.trading.instruments import NANO
from quantd.trading.market import MarketSlice
from quantd.trading.orders import THE_DAY, Wish
from tests.support.engine import COLLARED
from tests.support.minutes import SESSION, Minutes, minutes

FREE = override(COLLARED, max_position_weight=None, max_concentration=None, max_gross_exposure=1.0)


class Night(Minutes):
    """Two days of minute bars at 100 and then at `opens`, in which `acts` run after the bars with these numbers. The
    first symbol closes at each price of `moves` from its bar on."""

    def __init__(
        self,
        opens: float = 100.0,
        limits: Limits = FREE,
        gap: int = 0,
        reviewed: bool = False,
        moves: dict[int, float] | None = None,
    ) -> None:
        closes = np.full((2 * SESSION, 2), 100.0)
        closes[SESSION:] = opens
        closes[SESSION : SESSION + gap, 1] = np.nan
        for bar, price in sorted((moves or {}).items()):
            closes[bar:, 0] = price
        super().__init__(minutes(closes), [lambda view: None], Execution(), [], house=limits)
        reviews = {0: 60 * 3_600 * NANO} if reviewed else {}
        self.rules = replace(self.rules, outside=(0,), reviewed=reviews)
        self.shell = self.fresh(self)

    def send(self, *wishes: Wish, whole: bool = True, by_hand: bool = False, expires: int = 0) -> None:
        now = self.shell.state.now
        sent = Proposed(now, "a0", "1", "a test", "me", orders=wishes, whole=whole, by_hand=by_hand, expires=expires)
        self.shell.run(sent)

    def until(self, acts: dict[int, Callable[[], object]]) -> "Night":
        """Run all bars; `acts` maps the number of a bar, from 0, to what follows it and its tick."""
        bars = -1
        for item in [*self.items(), None]:
            if (item is None or isinstance(item, MarketSlice)) and bars in acts:
                acts.pop(bars)()
            if item is not None:
                self.shell.take(item)
            bars += isinstance(item, MarketSlice)
        return self

    @property
    def outcome(self) -> str:
        verdict = self.shell.state.outside["a0"].find("1")
        return "" if verdict is None else verdict.outcome


def buy(lots: int, price: float = 0.0, end: int = THE_DAY, symbol: int = 0) -> Wish:
    return Wish(symbol, lots, round(price * NANO), end)


LAST = SESSION - 1
"""The bar that ends at the close of the first day."""
