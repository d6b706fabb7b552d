"""A wrong reading of bars: what contradicts it, the settings that mend it, and both as lines."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Final, Literal

import numpy as np

from quantd.adapters.calendars import ALWAYS_OPEN, sessions
from quantd.adapters.feeds.bars.rows import NO_STAMP, Rows
from quantd.adapters.feeds.bars.stamps import BarTimes
from quantd.trading.display_text import session_date, some, toml_value
from quantd.trading.instruments import FINEST, Universe
from quantd.trading.market import Bools, Ints
from quantd.trading.sessions import DAY_NS, Sessions

Kind = Literal["interval", "stamps", "zone", "calendar", "day", "unit"]

_KNOWN: Final = '[feed] holes = "known"'

UNDECIDED: Final = (
    "the times are of another clock: [feed] zone (data check: --zone), such as America/Chicago, or Etc/GMT+5 for five "
    "hours behind UTC all year",
    f"the bars outside sessions are padding, to be ignored: {_KNOWN}",
)
"""Remedies beside a calendar that the symbol's spelling does not name: the times alone decide for none of them."""

MOST_LINES: Final = 10
"""Most faults that one message lists."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Evidence that bars are read wrongly: `text` says what contradicts the reading, `remedies` what to change."""

    kind: Kind
    symbols: tuple[str, ...]
    text: str
    remedies: tuple[str, ...]

    @property
    def decided(self) -> bool:
        """Whether the bars leave no doubt about the remedy. If not, `[feed] holes = "known"` is an answer too."""
        return not any(remedy.endswith(_KNOWN) for remedy in self.remedies)


Named = tuple[Kind, str, str, tuple[str, ...]]
"""A misfit of one symbol: kind, symbol, text after the symbol, remedies."""


def evident_misfits(
    rows: Rows, placed: BarTimes, universe: Universe, actual: Mapping[str, Sessions]
) -> Iterator[Named]:
    """Yield the misfits that need no comparison with other readings: prices too small, and weekends left out.

    `placed` has the session of each bar, `actual` the sessions of each calendar by name.
    """
    yield from _coarse_prices(rows, universe)
    yield from _weekdays_only(rows, placed, universe, actual)


def _coarse_prices(rows: Rows, universe: Universe) -> Iterator[Named]:
    """Yield the symbols with two prices or more below FINEST, with the smallest power of ten that raises them above it.

    One such price is a bad print, which another check finds.
    """
    coarse = (rows.close > 0.0) & (rows.close < FINEST) & (rows.ts != NO_STAMP)
    for column in np.flatnonzero(np.bincount(rows.column[coarse], minlength=universe.size) > 1).tolist():
        own = rows.column == column
        prices, last_ns = rows.close[own & coarse], int(rows.ts[own & coarse].max())
        units = 10 ** ceil(log10(FINEST / float(prices.min())))
        remedies = [f"give it in units of {units:,}: in its bars, prices times {units} and volumes divided by {units}"]
        if last_ns < int(rows.ts[own].max()):
            remedies.append(f"leave out its bars up to {session_date(last_ns)}")
        text = f"{len(prices):,} prices below {FINEST:g}, down to {prices.min():.3g}: prices are rounded to 1e-9"
        yield "unit", universe.symbols[column], f"{text}, more than 1 bp of them", tuple(remedies)


def _weekdays_only(rows: Rows, placed: BarTimes, universe: Universe, actual: Mapping[str, Sessions]) -> Iterator[Named]:
    """Yield the symbols of a market that never closes whose bars leave out every Saturday and Sunday, two weekends or
    more.

    No fault: a coin beside shares whose bars all lie on sessions of the shares, as tables that are joined by date have.
    """
    of_shares = [calendar.days for name, calendar in actual.items() if name != ALWAYS_OPEN]
    readable = placed.inside & (rows.ts != NO_STAMP)
    for column, instrument in enumerate(universe.instruments):
        if instrument.calendar != ALWAYS_OPEN:
            continue
        days = np.unique(placed.day[readable & (rows.column == column)])
        if len(days) < 2:
            continue
        between = np.arange(days[0], days[-1], DAY_NS)
        absent = int(np.sum(_at_weekend(between)))
        if absent < 4 or _at_weekend(days).any() or any(np.isin(days, share_days).all() for share_days in of_shares):
            continue
        text = f"no bar is on any of the {absent:,} days of weekends between its first and last bar"
        listed_days = sessions("XNYS", session_date(int(days[0])), session_date(int(days[-1]))).days
        fitting = "XNYS" if np.isin(days, listed_days).all() else "24/5"
        remedies = setting("universe", calendar=fitting), f"the file lacks them, and you accept it: {_KNOWN}"
        yield "calendar", instrument.symbol, text, remedies


def _at_weekend(days: Ints) -> Bools:
    """Return bool[n], True where a date (ns) is a Saturday or Sunday; 1970 began with a Thursday."""
    return (days // DAY_NS + 3) % 7 >= 5


def grouped(symbol_faults: Sequence[Named], universe: Universe) -> Iterator[Misfit]:
    """Yield one Misfit for all symbols with the same text and remedies; a fault is (kind, symbol, text, remedies).

    If only some symbols need another calendar, the remedy is a table for each of them, not [universe] calendar.
    """
    remedies_of = {symbol: set(remedies) for _, symbol, _, remedies in symbol_faults}
    groups: dict[tuple[Kind, str, tuple[str, ...]], list[str]] = {}
    for kind, symbol, text, remedies in symbol_faults:
        groups.setdefault((kind, text, remedies), []).append(symbol)
    for (kind, text, remedies), symbols in groups.items():
        shared_remedies = {
            remedy for remedy in remedies if all(remedy in remedies_of.get(name, ()) for name in universe.symbols)
        }
        changes = [
            remedy
            if remedy in shared_remedies or not remedy.startswith("[universe]")
            else instrument_tables(symbols, remedy.split('"')[1])  # the calendar is in quotes
            for remedy in remedies
        ]
        yield Misfit(kind, tuple(symbols), f"{some(symbols)}: {text}", tuple(changes))


def misfit_lines(readings: Sequence[Misfit]) -> list[str]:
    """Return wrong readings in words, then the settings that mend them."""
    remedies = list(dict.fromkeys(remedy for misfit in readings for remedy in misfit.remedies))
    heading = "the remedy" if len(remedies) == 1 else "the remedies"
    return [
        *listed([misfit.text for misfit in readings]),
        f"  {heading}:",
        *(f"  - {remedy}" for remedy in remedies[:MOST_LINES]),
    ]


def stopped(readings: Sequence[Misfit]) -> tuple[str, str]:
    """Return (fault, remedy) for the error that stops a run because its bars are read wrongly."""
    remedies = dict.fromkeys(remedy for misfit in readings for remedy in misfit.remedies)
    text = "; ".join(remedies)  # a key to write, or a sentence
    remedy = f"Write {text}" if text.startswith("[") else text[:1].upper() + text[1:]
    return "; ".join(listed([misfit.text for misfit in readings])), remedy


def listed(texts: Sequence[str]) -> list[str]:
    """Return the first MOST_LINES texts, then a line with the number of further texts, if any."""
    hidden = len(texts) - MOST_LINES
    return [*texts[:MOST_LINES], *([f"and {hidden:,} more"] if hidden > 0 else [])]


def instrument_tables(symbols: Sequence[str], calendar: str) -> str:
    """Return the setting that gives each of `symbols` the calendar, as it is written in config.toml."""
    tables = [f"{{ symbol = {toml_value(symbol)}, calendar = {toml_value(calendar)} }}" for symbol in symbols]
    return f"[universe] instruments = [{', '.join(tables)}]"


def setting(section: str, **values: str) -> str:
    """Return a text with settings in three forms: for config.toml, as options of `quantd data check`, and for
    Python."""
    toml = " and ".join(f'[{section}] {key} = "{value}"' for key, value in values.items())
    options = " ".join(f"--{key} {value}" for key, value in values.items())
    python = ", ".join(f'"{section}.{key}": "{value}"' for key, value in values.items())
    return f"{toml} (data check: {options}; Python: settings={{{python}}})"
