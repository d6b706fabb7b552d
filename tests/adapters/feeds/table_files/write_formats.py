"""Writes the corpus: the expected tables, and each format's files from them. Run from the checkout's root:

PYTHONPATH=. .venv/bin/python -P -m tests.adapters.feeds.table_files.write_formats
"""

import shutil
import tomllib
from dataclasses import dataclass
from typing import Any, Final

from tests.adapters.feeds.table_files import coin_formats, intraday_formats, more_stock_formats, stock_formats
from tests.adapters.feeds.table_files.expected_bars import EXPECTED, HERE, read_table, tables, texts
from tests.adapters.feeds.table_files.writing import Files

FORMATS: Final = HERE / "formats"
WRITERS: Final = coin_formats.WRITERS | intraday_formats.WRITERS | stock_formats.WRITERS | more_stock_formats.WRITERS


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
    interval: str
    decimals: int
    volume: str
    adjusted_close: bool
    actions: list[str]
    stamps: str
    options: list[str]


def formats() -> list[Format]:
    """The entries of `formats.toml`. An entry with a missing or a further key raises TypeError."""
    entries: list[dict[str, Any]] = tomllib.loads((HERE / "formats.toml").read_text())["format"]
    return [Format(**entry) for entry in entries]


def files(entry: Format) -> Files:
    """The files of a format, written from its expected bars: path below `formats/` -> content."""
    wanted = set(entry.symbols)
    bars = [bar for bar in read_table(entry.bars) if bar.symbol in wanted]
    return {f"{entry.name}/{path}": content for path, content in WRITERS[entry.name](bars).items()}


def main() -> None:
    EXPECTED.mkdir(exist_ok=True)
    for name, text in texts(tables()).items():
        (EXPECTED / name).write_text(text)
    shutil.rmtree(FORMATS, ignore_errors=True)
    for entry in formats():
        for path, content in files(entry).items():
            file = FORMATS / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)


if __name__ == "__main__":
    main()
