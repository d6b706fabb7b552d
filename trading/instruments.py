"""Tradable instruments, the meaning of their symbols, and the universe that assigns a column to each.

Suffixes and index symbols follow Yahoo Finance, as most sources do. A symbol without a suffix counts as listed in the
United States.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

NANO = 1_000_000_000
"""Nano-units per unit of a price (currency) or of a size (shares, coins)."""

MICRO = 1_000_000
"""Micro-currency per unit of the account currency."""

ATTO_PER_MICRO = 1_000_000_000_000
"""Atto-currency (1e-18) per micro. A notional is lots x lot_nano x price_nano, exact in atto."""


FINEST: Final = 5e-6
"""Lowest price of which rounding to nano-currency changes at most 1 bp."""

COIN_LOT_NANO = 10
"""Lot size of a coin: 1e-8, the smallest fraction of a bitcoin."""

CENT_NANO: Final = NANO // 100
"""Price increment of a share from a price of 1 on."""

MOST_LOTS: Final = 10**16
"""Most lots of a coin, with its default lot, that the cash may buy at the first price; a fall to a thousandth of that
price still leaves numbers below 2**63."""


Kind = Literal["coin", "index", "currency", "future", "share"]

LARGE_EXCHANGES: Final = {
    ".L": "XLON", ".DE": "XETR", ".PA": "XPAR", ".AS": "XAMS", ".BR": "XBRU", ".LS": "XLIS", ".MI": "XMIL",
    ".MC": "XMAD", ".SW": "XSWX", ".ST": "XSTO", ".CO": "XCSE", ".HE": "XHEL", ".OL": "XOSL", ".VI": "XWBO",
    ".IR": "XDUB", ".WA": "XWAR", ".IS": "XIST", ".T": "XTKS", ".HK": "XHKG", ".SS": "XSHG", ".SZ": "XSHG",
    ".KS": "XKRX", ".TW": "XTAI", ".AX": "XASX", ".NZ": "XNZE", ".SI": "XSES", ".BO": "XBOM", ".NS": "XBOM",
    ".TO": "XTSE", ".SA": "BVMF", ".MX": "XMEX", ".JO": "XJSE", "=X": "24/5", "=F": "CMES",
}  # fmt: skip
"""Suffix -> calendar, for large exchanges. Bars that do not fit their own calendar are tried on these calendars."""

BY_SUFFIX: Final = LARGE_EXCHANGES | {
    ".AT": "ASEX", ".BA": "XBUE", ".BD": "XBUD", ".BE": "XFRA", ".BK": "XBKK", ".BM": "XFRA", ".CBT": "CMES",
    ".CL": "XBOG", ".CME": "CMES", ".CMX": "CMES", ".CN": "XTSE", ".DU": "XDUS", ".F": "XFRA", ".HA": "XHAM",
    ".HM": "XHAM", ".IC": "XICE", ".IL": "XLON", ".JK": "XIDX", ".KL": "XKLS", ".KQ": "XKRX", ".LM": "XLIM",
    ".ME": "XMOS", ".MU": "XFRA", ".NE": "XTSE", ".NYB": "ICEUS", ".NYM": "CMES", ".PR": "XPRA", ".PS": "XPHS",
    ".RG": "XRIS", ".RO": "XBSE", ".SG": "XSTU", ".SN": "XSGO", ".SR": "XSAU", ".TA": "XTAE", ".TI": "XMIL",
    ".TL": "XTAL", ".TWO": "XTAI", ".V": "XTSE", ".VS": "XLIT", ".XC": "XLON",
    ".SH": "XSHG", ".XSHG": "XSHG", ".XSHE": "XSHG",
}  # fmt: skip
"""Suffix -> calendar, for every suffix with one. A regional exchange has the calendar of its country's largest one."""

OTHER_SUFFIXES: Final = frozenset((".AE", ".CA", ".CR", ".KW", ".NX", ".QA", ".VN", ".XA", ".XD"))
"""Suffixes of exchanges without a calendar in the library."""

INDICES: Final = {
    **dict.fromkeys((
        "^GSPC", "^SP500TR", "^SPX", "^OEX", "^MID", "^SP400", "^SP600", "^DJI", "^DJT", "^DJU", "^IXIC", "^NDX",
        "^RUT", "^RUI", "^RUA", "^NYA", "^XAX", "^W5000", "^SOX", "^VIX", "^VIX3M", "^VIX9D", "^VXN", "^VVIX",
        "^SKEW", "^IRX", "^FVX", "^TNX", "^TYX", "^XAU", "^HUI", "^BKX", "^XAL", "^HGX", "^OSX",
    ), "XNYS"),
    "^FTSE": "XLON", "^FTMC": "XLON", "^FTAS": "XLON", "^FTLC": "XLON",
    "^GDAXI": "XETR", "^MDAXI": "XETR", "^SDAXI": "XETR", "^TECDAX": "XETR",
    "^FCHI": "XPAR", "^SBF120": "XPAR", "^N100": "XPAR", "^STOXX50E": "XPAR", "^STOXX": "XPAR", "^AEX": "XAMS",
    "^BFX": "XBRU", "^PSI20": "XLIS", "^IBEX": "XMAD", "^SSMI": "XSWX", "^ATX": "XWBO", "^ISEQ": "XDUB",
    "^OMX": "XSTO", "^OMXS30": "XSTO", "^OMXC25": "XCSE", "^OMXH25": "XHEL", "^OSEAX": "XOSL",
    "^N225": "XTKS", "^HSI": "XHKG", "^HSCE": "XHKG", "^KS11": "XKRX", "^KS200": "XKRX", "^KQ11": "XKRX",
    "^TWII": "XTAI", "^STI": "XSES", "^AXJO": "XASX", "^AORD": "XASX", "^NZ50": "XNZE", "^BSESN": "XBOM",
    "^NSEI": "XBOM", "^NSEBANK": "XBOM", "^CRSLDX": "XBOM", "^JKSE": "XIDX", "^KLSE": "XKLS",
    "^GSPTSE": "XTSE", "^BVSP": "BVMF", "^IBX50": "BVMF", "^MXX": "XMEX", "^MERV": "XBUE", "^SPIPSA": "XSGO",
}  # fmt: skip
"""Index -> calendar of the exchange whose shares it has. Indices of the euro area have the calendar of Euronext."""

_COIN_QUOTES: Final = (
    "-USD", "-USDT", "-USDC", "-EUR", "-GBP", "-JPY", "-CHF", "-CAD", "-AUD", "-KRW", "-BTC", "-ETH",
)  # fmt: skip


_FIAT: Final = frozenset((
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "JPY", "KRW",
    "MXN", "NOK", "NZD", "PHP", "PLN", "RUB", "SEK", "SGD", "THB", "TRY", "TWD", "USD", "ZAR",
))  # fmt: skip

CURRENCIES: Final = {
    **dict.fromkeys((
        "XETR", "XFRA", "XHAM", "XDUS", "XSTU", "XPAR", "XAMS", "XBRU", "XLIS", "XMIL", "XMAD", "XHEL", "XWBO", "XDUB",
        "ASEX", "XTAL", "XRIS", "XLIT",
    ), "EUR"),
    "XLON": "GBX", "XSWX": "CHF", "XSTO": "SEK", "XCSE": "DKK", "XOSL": "NOK", "XWAR": "PLN", "XIST": "TRY",
    "XBUD": "HUF", "XPRA": "CZK", "XBSE": "RON", "XICE": "ISK", "XMOS": "RUB", "XTKS": "JPY", "XHKG": "HKD",
    "XSHG": "CNY", "XKRX": "KRW", "XTAI": "TWD", "XASX": "AUD", "XNZE": "NZD", "XSES": "SGD", "XBOM": "INR",
    "XIDX": "IDR", "XKLS": "MYR", "XBKK": "THB", "XPHS": "PHP", "XSAU": "SAR", "XTAE": "ILA", "XTSE": "CAD",
    "BVMF": "BRL", "XMEX": "MXN", "XBUE": "ARS", "XSGO": "CLP", "XBOG": "COP", "XLIM": "PEN", "XJSE": "ZAC",
}  # fmt: skip
"""Calendar -> currency in which shares of its exchange are quoted. GBX, ZAC and ILA are hundredths of GBP, ZAR, ILS."""


MARK: Final = "SYNTHETIC-"
"""Beginning of the symbols of generated bars."""

SYNTHETIC: Final = "SYNTHETIC: bars of {symbols} are generated; no figure here says anything about a market."


def synthetic_note(symbols: Iterable[str]) -> str:
    """Return the sentence that every report on generated (synthetic) bars carries; empty if no symbol is synthetic."""
    marked = [symbol for symbol in symbols if symbol.startswith(MARK)]
    more = f" and {len(marked) - 3} more" if len(marked) > 3 else ""
    return SYNTHETIC.format(symbols=", ".join(marked[:3]) + more) if marked else ""


def is_pair(symbol: str) -> bool:
    """Whether a symbol is spelled as a crypto pair, a coin in a currency: BTC/USD, BTC-USD."""
    return "/" in symbol or symbol.endswith(("-USD", "-USDT", "-EUR"))


def usual_lot_nano(symbol: str, calendar: str = "", units: int = 0) -> int:
    """Return the default lot size in nano-units: one whole share, or 1e-8 of a coin.

    A coin is a crypto pair, or an instrument with the 24/7 calendar. If the cash buys so many `units` of a coin that
    the lots are more than MOST_LOTS, the lot is the next power of ten.
    """
    if calendar != "24/7" and not is_pair(symbol):
        return NANO
    lots = units * NANO // COIN_LOT_NANO
    return COIN_LOT_NANO * (10 ** len(str((lots - 1) // MOST_LOTS)) if lots > MOST_LOTS else 1)


def usual_tick_nano(symbol: str, calendar: str, price_nano: int = 0) -> int:
    """Return the default price increment in nano-currency: a cent, or less where a cent is coarse.

    It is coarse for a share below 1, and for a coin, a currency or a future below 100. The increment is then a power of
    ten, at most a hundred-thousandth of the price. `price_nano` is the first price, 0 if it is unknown: then a share
    has a cent, and all others have a nano, which a venue rounds to its own increment.
    """
    by_share = calendar != "24/7" and kind_of(symbol) in ("share", "index")
    if price_nano >= (NANO if by_share else 100 * NANO) or (by_share and not price_nano):
        return CENT_NANO
    return 10 ** max(0, len(str(price_nano)) - 6)


def suffix_of(symbol: str) -> str:
    """Return the suffix that names an exchange: ".L", "=X"; empty without one."""
    for separator in ("=", "."):
        stem, _, ending = symbol.rpartition(separator)
        suffix = separator + ending
        if stem and (suffix in BY_SUFFIX or suffix in OTHER_SUFFIXES):
            return suffix
    return ""


def kind_of(symbol: str) -> Kind:
    """Return the kind of instrument that a symbol's spelling shows."""
    if symbol.startswith("^"):
        return "index"
    if "/" in symbol or symbol.endswith(_COIN_QUOTES):
        return "coin"
    suffix = suffix_of(symbol)
    return "currency" if suffix == "=X" else "future" if suffix == "=F" else "share"


def listed_calendar(symbol: str) -> str:
    """Return the calendar that the spelling of a symbol names; empty where it names none."""
    if kind_of(symbol) == "coin":
        return "24/7"
    return BY_SUFFIX.get(suffix_of(symbol), "") or INDICES.get(symbol, "")


def usual_currency(symbol: str) -> str:
    """Return the currency in which a symbol is usually quoted, by its spelling. GBX are pence, as in London."""
    kind = kind_of(symbol)
    quote = symbol.replace("=X", "").replace("/", "-").rpartition("-")[2][-3:]
    if kind in ("coin", "currency"):
        return quote if quote in _FIAT else "USD"
    code = CURRENCIES.get(listed_calendar(symbol), "USD")
    return {"GBX": "GBP", "ZAC": "ZAR", "ILA": "ILS"}.get(code, code) if kind == "index" else code


def house_calendar(calendars: Sequence[str]) -> str:
    """Return the calendar by which a run over instruments of these calendars is scheduled: the most frequent one that
    closes.

    If several are equally frequent, New York's is chosen, else the first. A universe of coins only has the calendar
    24/7, which never closes.
    """
    closing = Counter(name for name in calendars if name != "24/7")
    return max(closing, key=lambda name: (closing[name], name == "XNYS")) if closing else "24/7"


def calendar_of(symbol: str) -> str:
    """Return the default calendar of a symbol: the one that its spelling names, else New York's (XNYS)."""
    return listed_calendar(symbol) or "XNYS"


class Instrument(Struct, frozen=True):
    """One tradable instrument.

    `lot_nano` is the size of one lot in nano-units (1_000_000_000: one whole share); orders are whole lots. `tick_nano`
    is the price increment in nano-currency. `calendar` is the name of the exchange calendar ("XNYS", "24/7"). `sector`
    is empty when unknown. `asset` names the common underlying of several instruments (two share classes, a coin and its
    fund). Empty means the instrument itself.
    """

    symbol: str
    lot_nano: int = NANO
    tick_nano: int = CENT_NANO
    calendar: str = "XNYS"
    sector: str = ""
    currency: str = "USD"
    asset: str = ""


class Universe(Struct, frozen=True, dict=True):
    """The instruments in column order. A column is the index of an instrument in every array of quantd."""

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
        """Lot size of each column (instrument) in nano-units, as Python integers, because products must not
        overflow."""
        return [i.lot_nano for i in self.instruments]

    @cached_property
    def lot_size(self) -> NDArray[np.float64]:
        """Lot size of each column (instrument) in units, float64[N]; price x lot_size is the value of a lot."""
        sizes = np.array(self.lot_nano, dtype=np.float64) / NANO
        sizes.flags.writeable = False
        return sizes

    @cached_property
    def sectors(self) -> tuple[str, ...]:
        """The sectors by column, empty where an instrument has none."""
        return tuple(i.sector for i in self.instruments)

    @cached_property
    def assets(self) -> tuple[str, ...]:
        """The underlying asset of each column (instrument): its `asset`, else its symbol."""
        return tuple(i.asset or i.symbol for i in self.instruments)

    @property
    def size(self) -> int:
        """The number of instruments, N."""
        return len(self.instruments)

    def columns(self, symbols: Iterable[str]) -> list[int]:
        """Return the columns of `symbols`, in their order. Raises KeyError with the first unknown symbol."""
        return [self.index[s] for s in symbols]


LAST_PRICES: Final = (
    "Instruments of several calendars: a row values each at the last price known at its instant. A day that ends "
    "later, such as that of a coin, counts in the next row, and returns look less correlated than they are."
)
"""Printed beside returns where instruments have several calendars."""


def several_calendars(universe: Universe) -> bool:
    """Return whether an instrument has another calendar than the house, the calendar of the whole account."""
    return any(instrument.calendar != universe.calendar for instrument in universe.instruments)


def last_prices_note(universe: Universe) -> str:
    """Return LAST_PRICES for instruments of several calendars, else an empty text."""
    return LAST_PRICES if several_calendars(universe) else ""


class MembershipsOverlap(ValueError):
    """Two memberships of the instrument in one column of the universe overlap."""

    def __init__(self, column: int) -> None:
        super().__init__(f"two memberships of column {column} overlap")
        self.column = column


class Membership:
    """The members of a universe by date.

    `spans` are (column, first date, first date after the membership), dates as ns at 00:00 UTC; an instrument may have
    several spans. Raises ValueError for an empty span, and MembershipsOverlap for two spans of one instrument that
    overlap.
    """

    def __init__(self, spans: Sequence[tuple[int, int, int]]) -> None:
        """Check the spans, and compute the members on each date at which any membership begins or ends."""
        if empty := [column for column, first, last in spans if last <= first]:
            raise ValueError(f"a membership of column {empty[0]} ends before it begins")
        for (column, _, last), (next_column, first, _) in pairwise(sorted(spans)):
            if next_column == column and first < last:
                raise MembershipsOverlap(column)
        self._dates = sorted({date for _, *dates in spans for date in dates})
        self._members = [
            tuple(sorted(column for column, first, last in spans if first <= date < last)) for date in self._dates
        ]

    def at(self, day_ns: int) -> tuple[int, ...]:
        """Return the columns of the members on a date, ascending."""
        row = bisect_right(self._dates, day_ns) - 1
        return self._members[row] if row >= 0 else ()

    def dated_later(self, by_ns: int) -> "Membership":
        """Return the same members with every date moved `by_ns` later, to test whether a policy depends on dates."""
        other = Membership(())
        other._dates, other._members = [date + by_ns for date in self._dates], self._members
        return other
