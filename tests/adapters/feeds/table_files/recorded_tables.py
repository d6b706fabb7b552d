"""The recorded tables of other programs, by their format."""

from pathlib import Path
from typing import Final

from quantd.adapters.feeds.table_files.containers import kind_of
from quantd.adapters.feeds.table_files.text_layout import TextTable, text_table
from tests.adapters.feeds.table_files.write_formats import FORMATS, Format, formats

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
    return text_table(bytes_of(entry), entry.name)
