"""The corpus of market-data files: each entry is whole, has a source, and its files are what its writer writes."""

import gzip
import io
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Final

import pyarrow.feather as feather
import pyarrow.parquet as parquet
import pytest

from tests.adapters.feeds.table_files.expected_bars import EXPECTED, read_table, tables, texts
from tests.adapters.feeds.table_files.write_formats import FORMATS, WRITERS, Format, files, formats

ENTRIES: Final = formats()
KINDS: Final = {"documentation", "sample in a page", "test file of a library", "source code"}
OPTIONS: Final = {"--symbol", "--zone", "--dates", "--scale", "--stamps"}
INTERVALS: Final = {"1m": 60, "5m": 300, "1h": 3600, "1d": 86_400}

each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])


def below(path: Path) -> set[str]:
    """Paths of the files in a folder, or of a file itself, below formats/."""
    paths = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {file.relative_to(FORMATS).as_posix() for file in paths}


def content(name: str, data: bytes) -> object:
    """What a file says, so that files of two releases of a compressor or of pyarrow compare."""
    if name.endswith(".gz"):
        return gzip.decompress(data)
    if name.endswith(".zip"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return {member: archive.read(member) for member in archive.namelist()}
    if name.endswith(".feather"):
        return feather.read_table(io.BytesIO(data))
    if name.endswith(".parquet"):
        return parquet.read_table(io.BytesIO(data))
    return data


def test_names_are_unique_and_each_has_a_writer() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert set(names) == set(WRITERS)


def test_the_corpus_is_wide_and_has_many_sources() -> None:
    assert len(ENTRIES) >= 48
    assert len({entry.source for entry in ENTRIES}) >= 40
    assert {entry.stamps for entry in ENTRIES} == {"session", "open", "close"}
    assert {entry.interval for entry in ENTRIES} == set(INTERVALS)
    assert {entry.bars for entry in ENTRIES} == set(tables())
    assert {option for entry in ENTRIES for option in entry.options[::2]} == OPTIONS


def test_every_file_below_formats_belongs_to_an_entry() -> None:
    stored = below(FORMATS)
    assert stored == {path for entry in ENTRIES for path in below(FORMATS / entry.path)}


@each_entry
def test_an_entry_says_what_the_file_holds(entry: Format) -> None:
    assert entry.path.split("/")[0] == entry.name
    assert below(FORMATS / entry.path)
    assert entry.confirmed in KINDS
    assert entry.source.startswith("http") or len(entry.source.split(" ", 1)) == 2
    assert entry.shows.endswith(".")
    assert len(entry.shows) > 40
    assert entry.volume in {"exact", "rounded", "none"}
    assert entry.stamps in {"session", "open", "close"}
    assert (entry.interval == "1d") == (entry.stamps == "session")
    assert len(entry.options) % 2 == 0
    assert set(entry.options[::2]) <= OPTIONS
    assert ("--stamps" in entry.options) == (entry.stamps == "close")
    assert len(entry.names) == len(entry.symbols) == len(set(entry.symbols))


@each_entry
def test_the_table_of_an_entry_has_its_symbols_and_its_interval(entry: Format) -> None:
    bars = read_table(entry.bars)
    assert set(entry.symbols) <= {bar.symbol for bar in bars}
    stamps = sorted({bar.ts for bar in bars})
    shortest = min((later - earlier).total_seconds() for earlier, later in pairwise(stamps))
    assert shortest == INTERVALS[entry.interval]
    assert 0 <= entry.decimals <= max(-int(bar.close.as_tuple().exponent) for bar in bars)
    days = {bar.day.isoformat() for bar in bars}
    for line in entry.actions:
        day, symbol, kind, ratio, amount = line.split(",")
        assert day in days
        assert symbol in entry.symbols
        assert (kind, bool(ratio), bool(amount)) in {("split", True, False), ("dividend", False, True)}


@each_entry
def test_the_files_of_an_entry_are_what_its_writer_writes(entry: Format) -> None:
    written = files(entry)
    assert set(written) == below(FORMATS / entry.name)
    for path, data in written.items():
        assert content(path, (FORMATS / path).read_bytes()) == content(path, data), path


def test_the_expected_tables_are_their_walks() -> None:
    written = texts(tables())
    assert {path.name: path.read_text() for path in EXPECTED.iterdir()} == written


def test_the_expected_tables_cross_a_change_of_clocks() -> None:
    assert {bar.ts.strftime("%m-%d %H:%M") for bar in read_table("us-minutes")} >= {"03-08 14:30", "03-11 13:30"}
    assert {bar.ts.month * 100 + bar.ts.day for bar in read_table("fx-minutes")} == {329, 331}
    for table in ("us-days", "eu-days", "coin-days"):
        days = {bar.day.isoformat() for bar in read_table(table)}
        assert min(days) < "2024-03-10" < max(days)


def test_every_bar_of_the_expected_tables_is_sound() -> None:
    for name in tables():
        bars = read_table(name)
        assert [(bar.symbol, bar.ts) for bar in bars] == list(dict.fromkeys((bar.symbol, bar.ts) for bar in bars))
        for bar in bars:
            assert 0 < bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high, (name, bar)
            assert bar.volume > 0
