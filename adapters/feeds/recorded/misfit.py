"""A wrong reading of bars: what contradicts it, the settings that mend it, and both as lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from quantd.trading.display_text import toml_value

Kind = Literal["interval", "stamps", "zone", "calendar", "day", "unit"]

MOST_LINES: Final = 10
"""Most faults that one message lists."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """Evidence that bars are read wrongly: `text` says what contradicts the reading, `remedies` what to change."""

    kind: Kind
    symbols: tuple[str, ...]
    text: str
    remedies: tuple[str, ...]


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
    return "; ".join(listed([misfit.text for misfit in readings])), "Write " + "; ".join(remedies)


def listed(texts: Sequence[str]) -> list[str]:
    """Return the first MOST_LINES texts, then a line with the number of further texts, if any."""
    hidden = len(texts) - MOST_LINES
    return [*texts[:MOST_LINES], *([f"and {hidden:,} more"] if hidden > 0 else [])]


def instrument_tables(symbols: Sequence[str], calendar: str) -> str:
    """Return the setting that gives each of `symbols` the calendar, as it is written in config.toml."""
    tables = [f"{{ symbol = {toml_value(symbol)}, calendar = {toml_value(calendar)} }}" for symbol in symbols]
    return f"[universe] instruments = [{', '.join(tables)}]"


def setting(section: str, key: str, value: str) -> str:
    """Return a text with a setting in three forms: for config.toml, as an option of `quantd data check`, and for
    Python."""
    python = f'settings={{"{section}.{key}": "{value}"}}'
    return f'[{section}] {key} = "{value}" (data check: --{key} {value}; Python: {python})'
