"""What can be traded: instruments and the universe that gives each of them a column."""

from collections.abc import Iterable
from functools import cached_property

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

NANO = 1_000_000_000
"""Nano-units in one unit: of a price (currency) or of a size (shares, coins)."""

MICRO = 1_000_000
"""Micro-currency in one unit of the account currency."""

ATTO_PER_MICRO = 1_000_000_000_000
"""A notional is lots x lot_nano x price_nano, exact in atto (1e-18); this many make one micro."""


COIN_LOT_NANO = 10
"""Size of a coin's lot: 1e-8, the least part of a bitcoin."""


def is_pair(symbol: str) -> bool:
    """Whether a symbol's spelling is that of a coin in a currency: BTC/USD, BTC-USD."""
    return "/" in symbol or symbol.endswith(("-USD", "-USDT", "-EUR"))


def usual_lot_nano(symbol: str, calendar: str = "") -> int:
    """Size of the lot of an instrument that names none: a hundred-millionth of a coin, which is a pair or trades round
    the clock, and one whole share of anything else."""
    return COIN_LOT_NANO if calendar == "24/7" or is_pair(symbol) else NANO


def calendar_of(symbol: str) -> str:
    """The calendar that a symbol's spelling suggests: coins trade round the clock, other instruments in New York."""
    return "24/7" if is_pair(symbol) else "XNYS"


class Instrument(Struct, frozen=True):
    """One tradable instrument.

    `lot_nano` is the size of one lot in nano-units (1_000_000_000: one whole share); orders are
    whole lots. `tick_nano` is the price increment in nano-currency. `calendar` is the name of the
    exchange calendar ("XNYS", "24/7"); `sector` is empty when unknown; `asset` names what several
    instruments are claims on (two share classes, a coin and its fund), empty: nothing but itself.
    """

    symbol: str
    lot_nano: int = NANO
    tick_nano: int = NANO // 100
    calendar: str = "XNYS"
    sector: str = ""
    currency: str = "USD"
    asset: str = ""


class Universe(Struct, frozen=True, dict=True):
    """The instruments in column order. Everything columnar in quantd is addressed through it by name."""

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
        """Size of one lot of each column, in nano-units (Python ints: products must not overflow)."""
        return [i.lot_nano for i in self.instruments]

    @cached_property
    def lot_size(self) -> NDArray[np.float64]:
        """float64[N], size of one lot in units; price x lot_size is the value of a lot."""
        sizes = np.array(self.lot_nano, dtype=np.float64) / NANO
        sizes.flags.writeable = False
        return sizes

    @cached_property
    def sectors(self) -> tuple[str, ...]:
        return tuple(i.sector for i in self.instruments)

    @cached_property
    def assets(self) -> tuple[str, ...]:
        """What each column is a claim on: its `asset`, else itself."""
        return tuple(i.asset or i.symbol for i in self.instruments)

    @property
    def size(self) -> int:
        """Number of columns, N."""
        return len(self.instruments)

    def columns(self, symbols: Iterable[str]) -> list[int]:
        """Columns of `symbols`, in their order; KeyError names the first unknown one."""
        return [self.index[s] for s in symbols]
