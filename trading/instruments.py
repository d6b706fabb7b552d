"""Tradable instruments, and the universe that assigns a column to each."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

NANO = 1_000_000_000
"""Nano-units per unit of a price (currency) or of a size (shares, coins)."""

MICRO = 1_000_000
"""Micro-currency per unit of the account currency."""

ATTO_PER_MICRO = 1_000_000_000_000
"""Atto-currency (1e-18) per micro. A notional is lots x lot_nano x price_nano, exact in atto."""


COIN_LOT_NANO = 10
"""Lot size of a coin: 1e-8, the smallest fraction of a bitcoin."""


MARK: Final = "SYNTHETIC-"
"""Beginning of the symbols of generated bars."""

SYNTHETIC: Final = "SYNTHETIC: bars of {symbols} are generated; no figure here says anything about a market."


def synthetic_note(symbols: Iterable[str]) -> str:
    """Return the sentence that every artefact with generated bars carries; empty without any."""
    marked = [symbol for symbol in symbols if symbol.startswith(MARK)]
    more = f" and {len(marked) - 3} more" if len(marked) > 3 else ""
    return SYNTHETIC.format(symbols=", ".join(marked[:3]) + more) if marked else ""


def is_pair(symbol: str) -> bool:
    """Whether a symbol is spelled as a coin in a currency: BTC/USD, BTC-USD."""
    return "/" in symbol or symbol.endswith(("-USD", "-USDT", "-EUR"))


def usual_lot_nano(symbol: str, calendar: str = "") -> int:
    """Return the default lot size in nano-units: 1e-8 for a coin, one whole share otherwise. A coin is a pair, or an
    instrument with the 24/7 calendar."""
    return COIN_LOT_NANO if calendar == "24/7" or is_pair(symbol) else NANO


def calendar_of(symbol: str) -> str:
    """Return the default calendar of a symbol: 24/7 for coins, New York (XNYS) for others."""
    return "24/7" if is_pair(symbol) else "XNYS"


class Instrument(Struct, frozen=True):
    """One tradable instrument.

    `lot_nano` is the size of one lot in nano-units (1_000_000_000: one whole share); orders are whole lots. `tick_nano`
    is the price increment in nano-currency. `calendar` is the name of the exchange calendar ("XNYS", "24/7"). `sector`
    is empty when unknown. `asset` names the common underlying of several instruments (two share classes, a coin and its
    fund). Empty means the instrument itself.
    """

    symbol: str
    lot_nano: int = NANO
    tick_nano: int = NANO // 100
    calendar: str = "XNYS"
    sector: str = ""
    currency: str = "USD"
    asset: str = ""


class Universe(Struct, frozen=True, dict=True):
    """The instruments in column order. It translates between symbols and columns of every array in quantd."""

    instruments: tuple[Instrument, ...]
    currency: str = "USD"
    calendar: str = "XNYS"
    benchmark: str = ""
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(name, symbols) of groups that `group_caps` may cap."""

    @cached_property
    def symbols(self) -> tuple[str, ...]:
        return tuple(i.symbol for i in self.instruments)

    @cached_property
    def index(self) -> dict[str, int]:
        return {s: k for k, s in enumerate(self.symbols)}

    @cached_property
    def lot_nano(self) -> list[int]:
        """Lot size of each column, in nano-units (Python integers, because products must not overflow)."""
        return [i.lot_nano for i in self.instruments]

    @cached_property
    def lot_size(self) -> NDArray[np.float64]:
        """Lot size of each column in units, float64[N]; price x lot_size is the value of a lot."""
        sizes = np.array(self.lot_nano, dtype=np.float64) / NANO
        sizes.flags.writeable = False
        return sizes

    @cached_property
    def sectors(self) -> tuple[str, ...]:
        return tuple(i.sector for i in self.instruments)

    @cached_property
    def assets(self) -> tuple[str, ...]:
        """The underlying of each column: its `asset`, else its symbol."""
        return tuple(i.asset or i.symbol for i in self.instruments)

    @property
    def size(self) -> int:
        """Number of columns, N."""
        return len(self.instruments)

    def columns(self, symbols: Iterable[str]) -> list[int]:
        """Return the columns of `symbols`, in their order; KeyError names the first unknown one."""
        return [self.index[s] for s in symbols]


class Membership:
    """The members of a universe by date.

    A span is (column, first date, first date after it), as ns at 00:00 UTC; an instrument may have several. Raises
    ValueError for an empty span, or two that overlap.
    """

    def __init__(self, spans: Sequence[tuple[int, int, int]]) -> None:
        if empty := [column for column, first, last in spans if last <= first]:
            raise ValueError(f"column {empty[0]} leaves before it joins")
        for (column, _, last), (following, first, _) in pairwise(sorted(spans)):
            if following == column and first < last:
                raise ValueError(f"column {column} joins twice")
        self._dates = sorted({date for _, *dates in spans for date in dates})
        self._members = [
            tuple(sorted(column for column, first, last in spans if first <= date < last)) for date in self._dates
        ]

    def at(self, day_ns: int) -> tuple[int, ...]:
        """Return the columns of the members on a date, ascending."""
        row = bisect_right(self._dates, day_ns) - 1
        return self._members[row] if row >= 0 else ()

    def dated_later(self, by_ns: int) -> "Membership":
        """Return the same members with every date `by_ns` later; to test whether a policy knows dates."""
        other = Membership(())
        other._dates, other._members = [date + by_ns for date in self._dates], self._members
        return other
