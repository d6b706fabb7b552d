"""The recorded tables of other programs, by their format."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from quantd.adapters.feeds.table_files.containers import kind_of
from quantd.adapters.feeds.table_files.text_layout import TextTable, text_table

HERE: Final = Path(__file__).parent
FORMATS: Final = HERE / "formats"
EXPECTED: Final = HERE / "expected"
"""Generated random walks on real sessions. `ts` of a day is its date; `ts` of a shorter bar is its open in UTC."""


@dataclass(frozen=True, slots=True)
class Format:
    """An entry of `formats.toml`: a file or folder, where its format is described, and what a reader must find in it.

    `names` are the symbols as the file, its name or an option spells them, in the order of `symbols`.
    """

    name: str
    path: str
    source: str
    shows: str
    confirmed: str
    bars: str
    symbols: list[str]
    names: list[str]
    interval: str = "1d"
    decimals: int = 2
    volume: str = "exact"
    actions: Sequence[str] = ()
    stamps: str = "session"
    options: Sequence[str] = ()


def formats() -> list[Format]:
    """The entries of `formats.toml`. An entry with a missing or an unknown key raises TypeError."""
    entries: list[dict[str, Any]] = tomllib.loads((HERE / "formats.toml").read_text())["format"]
    return [Format(**{"names": entry["symbols"], **entry}) for entry in entries]


ENTRIES: Final = formats()


def files_of(entry: Format) -> list[Path]:
    path = FORMATS / entry.path
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


TEXTS: Final = [
    entry for entry in ENTRIES if len(files_of(entry)) == 1 and kind_of(files_of(entry)[0].read_bytes()) == "text"
]


def bytes_of(entry: Format) -> bytes:
    return files_of(entry)[0].read_bytes()


def layout(entry: Format) -> TextTable:
    return text_table(bytes_of(entry), entry.name, {})
