"""The data of a training plan, and the texts about mistakes in a plan. This module imports no torch."""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.bundled import find
from quantd.models.history.panel import MacroSource, SeriesSource
from quantd.trading.exit_codes import CONFIG, ExplainedError

Table = dict[str, Any]
"""A table as parsed from TOML."""

_HEADER: Final = re.compile(r"^\s*\[+\s*([^\]]+?)\s*\]+")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*=")


class PlanError(ExplainedError, ValueError):
    """An invalid plan; the message names file, line, key, value and remedy, one line for each mistake."""

    exit_code = CONFIG


class DataPlan(Struct, frozen=True, forbid_unknown_fields=True):
    """Data files, relative to the working directory or bundled, and their columns in order.

    Raises ValueError for no symbols, and for a name that occurs twice.
    """

    bars: str = "data/us_daily.parquet"
    actions: str = "data/us_actions.csv"
    """Splits and dividends; empty for none."""
    symbols: tuple[str, ...] = ("AAPL", "BAC", "IWM", "QQQ", "SPY")
    macro: tuple[MacroSource, ...] = ()
    """Macro series that the columns of a sight use."""
    series: tuple[SeriesSource, ...] = ()
    """Series per symbol that the columns of a sight use."""

    def __post_init__(self) -> None:
        if not self.symbols or len(set(self.symbols)) != len(self.symbols):
            raise ValueError(f"symbols {list(self.symbols)}: name one or more, each once")
        for key, names in (("macro", [m.name for m in self.macro]), ("series", [s.name for s in self.series])):
            if len(set(names)) != len(names):
                raise ValueError(f"{key} {', '.join(names)}: write each name once")

    @property
    def sources(self) -> tuple[MacroSource, ...]:
        """The series files that the plan uses: macro series, then series per symbol."""
        return (*self.macro, *(source for source in self.series if source.use))

    @property
    def files(self) -> tuple[Path, Path | None]:
        return find(self.bars), find(self.actions) if self.actions else None


def laid(changes: Mapping[str, object], onto: Table | None = None) -> Table:
    """Return a copy of the nested table `onto` with the values of `changes` at dotted keys, {"learner.gamma": 0.95}."""
    table: Table = {key: laid(value) if isinstance(value, dict) else value for key, value in (onto or {}).items()}
    for key, value in changes.items():
        *parents, last = key.split(".")
        inner = table
        for parent in parents:
            if not isinstance(inner.get(parent), dict):
                inner[parent] = {}
            inner = inner[parent]
        if isinstance(value, dict) and isinstance(inner.get(last), dict):
            inner[last] = laid(value, inner[last])
        else:
            inner[last] = value
    return table


def lay(onto: Table, changes: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Set the keys of the table `onto` to the values of the nested `changes`.

    Returns a message for each key that `onto` lacks, and for each value where `onto` has a table.
    """
    mistakes: list[str] = []
    for key, value in changes.items():
        if key not in onto:
            mistakes.append(f"{prefix}{key} is not a key of a plan{meant(key, onto)}")
        elif isinstance(value, dict) and isinstance(onto[key], dict):
            mistakes += lay(onto[key], value, f"{prefix}{key}.")
        elif isinstance(onto[key], dict):
            mistakes.append(f"{prefix}{key} = {value!r}: a table of {', '.join(onto[key])} is expected")
        else:
            onto[key] = value
    return mistakes


def converted(name: str, table: Table, usual: Table, kind: Any, mistakes: list[str]) -> Any:
    """Return the value of `table[name]` converted to `kind`, and append a message for each mistake to `mistakes`.

    A wrong value is replaced by the key's value in `usual`, and the conversion is tried again, so that one mistake does
    not hide the next. Returns None where the values of several keys together break a rule.
    """
    value = table[name]
    while True:
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            mistakes.append(named(name, error, value))
            # the message ends with the place of the mistake, as in "Expected `int` - at `$.key[0]`"
            path = str(error).partition(" - at `$")[2].rstrip("`").partition("[")[0].removeprefix(".")
            key = path.partition(".")[0]
            # no single key is at fault, or its usual value does not fit either: a further try would fail again
            if not isinstance(value, dict) or not key or value[key] == usual[name][key]:
                return None
            value = {**value, key: usual[name][key]}


def decoded(text: str, where: str) -> Table:
    """Parse TOML text; `where` names it in messages. Raises PlanError for text that is no TOML."""
    try:
        table: Table = msgspec.toml.decode(text)
    except msgspec.DecodeError as error:
        raise PlanError(f"{where}: {error}") from None
    return table


def named(name: str, error: msgspec.ValidationError, value: object) -> str:
    """Return the message of a validation error: the full dotted key first, then the fault and the value."""
    fault, _, path = str(error).partition(" - at `$")
    key = name + path.rstrip("`").partition("[")[0]
    for part in key.split(".")[1:]:
        value = value.get(part, "") if isinstance(value, dict) else ""
    value_text = "" if isinstance(value, dict) or value == "" else f" = {value!r}"
    return f"{key}{value_text}: {fault[:1].lower()}{fault[1:]}"


def located(text: str, where: str, mistakes: str) -> str:
    """Return `mistakes`, one a line, each preceded by the file name `where` and the line number of its key in `text`.

    The mistakes are in the order of these line numbers.
    """
    keyed = [(_line_of(text, mistake.split(" ", 1)[0].rstrip(":")), mistake) for mistake in mistakes.splitlines()]
    by_line = sorted(keyed, key=lambda pair: pair[0] or len(text))
    return "\n".join(f"{where}:{line}: {mistake}" if line else f"{where}: {mistake}" for line, mistake in by_line)


def _line_of(text: str, key: str) -> int:
    """Return the line, counted from 1, of the dotted `key` or of its nearest parent in the text; 0 without either."""
    line_numbers: dict[str, int] = {}
    table = ""
    for line_number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = str(header[1]).replace('"', "")
            line_numbers.setdefault(table, line_number)
        elif entry := _KEY.match(line):
            key_here = str(entry[1]).replace('"', "")
            line_numbers.setdefault(f"{table}.{key_here}" if table else key_here, line_number)
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        line_of_name = line_numbers.get(name) or next(
            (n for full_key, n in line_numbers.items() if full_key.startswith(f"{name}.")), 0
        )
        if line_of_name:
            return line_of_name
    return 0


def meant(word: str, words: Mapping[str, object]) -> str:
    """Return ". Did you mean ...?" with the word of `words` that is nearest to `word`; empty when none is near."""
    close = get_close_matches(str(word), list(words), 1)
    return f". Did you mean {close[0]}?" if close else ""
