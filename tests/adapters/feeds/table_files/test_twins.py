"""Twins of text files: each changes what its docstring names, and nothing else."""

import gzip
import io
import zipfile
from typing import Final

import pytest

from tests.adapters.feeds.table_files import twins
from tests.adapters.feeds.table_files.write_formats import FORMATS, formats

HEADED: Final = b"Date,Open,Volume\n2024-03-07,1.5,10\n2024-03-08,1.6,20\n2024-03-11,1.7,30\n"
SUFFIXES: Final = (".csv", ".txt")

FILES: Final = {
    path.relative_to(FORMATS).as_posix(): path.read_bytes()
    for entry in formats()
    for path in sorted((FORMATS / entry.name).rglob("*"))
    if path.is_file() and path.name.endswith(SUFFIXES)
}
"""Each text file of the corpus that has lines."""

each_file = pytest.mark.parametrize("name", FILES)


def separator_of(data: bytes) -> str:
    """The separator that the last line has most often."""
    last = data.decode("latin-1").splitlines()[-1]
    return max(",;\t|", key=last.count)


def test_a_cut_row_has_the_first_half_of_its_line_and_its_neighbours_are_whole() -> None:
    lines = twins.cut_row(HEADED, 1).split(b"\n")
    assert lines == [b"Date,Open,Volume", b"2024-03-07,1.5,10", b"2024-03-", b"2024-03-11,1.7,30", b""]
    with pytest.raises(IndexError):
        twins.cut_row(HEADED, 3)


def test_a_cut_file_ends_within_its_last_line() -> None:
    assert twins.cut_end(HEADED) == HEADED[: -len("11,1.7,30\n")]


def test_the_columns_of_a_reordered_twin_are_reversed_with_their_names() -> None:
    assert twins.reordered(HEADED).startswith(b"Volume,Open,Date\n10,1.5,2024-03-07\n")


def test_a_cell_that_holds_the_other_separator_is_quoted() -> None:
    assert twins.separated(b"day;price\n1;2,5\n", ";", ",") == b'day,price\n1,"2,5"\n'
    assert twins.separated(b'day,price\n1,"2,500"\n', ",", ";") == b"day;price\n1;2,500\n"


def test_every_second_line_of_a_mixed_twin_ends_as_on_windows() -> None:
    assert twins.mixed_ends(b"a\nb\nc\n") == b"a\nb\r\nc\n"
    assert twins.mixed_ends(b"a\r\nb\r\nc") == b"a\nb\r\nc"


def test_a_repeated_row_stands_twice() -> None:
    assert twins.repeated(HEADED, 0).count(b"2024-03-07,1.5,10\n") == 2
    assert len(twins.repeated(HEADED, 0)) == len(HEADED) + len(b"2024-03-07,1.5,10\n")


def test_the_corpus_has_many_text_files() -> None:
    assert len(FILES) > 40


@each_file
def test_a_twin_turned_twice_is_the_file(name: str) -> None:
    data = FILES[name]
    assert twins.turned(data, head=1) != data
    for head in (0, 1, 3):
        assert twins.turned(twins.turned(data, head=head), head=head) == data


@each_file
def test_the_cells_of_a_file_survive_another_order_another_separator_and_quotes(name: str) -> None:
    data = FILES[name].removeprefix(twins.BOM)
    separator = separator_of(data)
    cells = twins.table(data, separator)
    assert len(cells[-1]) >= 6
    assert twins.table(twins.separated(data, separator, "\t"), "\t") == cells
    assert twins.table(twins.quoted(data, separator), separator) == cells
    assert twins.table(twins.reordered(data, separator), separator) == [row[::-1] for row in cells]


@each_file
def test_line_ends_and_marks_are_all_that_changes(name: str) -> None:
    data = FILES[name]
    unix = twins.lf(data)
    for twin in (twins.crlf(data), twins.mixed_ends(data)):
        assert twin != unix
        assert twins.lf(twin) == unix
    assert b"\n" not in twins.crlf(data).replace(b"\r\n", b"")
    assert twins.marked(data) == twins.BOM + data.removeprefix(twins.BOM)
    assert twins.lf(twins.blank_end(data)) == unix.removesuffix(b"\n") + b"\n\n\n"


@each_file
def test_archives_hold_the_file(name: str) -> None:
    data = FILES[name]
    assert gzip.decompress(twins.gzipped(data)) == data
    with zipfile.ZipFile(io.BytesIO(twins.zipped(data, "bars.csv"))) as archive:
        assert archive.namelist() == ["bars.csv"]
        assert archive.read("bars.csv") == data


@each_file
def test_a_cut_row_or_end_makes_the_file_shorter_and_keeps_its_beginning(name: str) -> None:
    data = FILES[name]
    twin = twins.cut_row(data, 4)
    assert len(twin) < len(data)
    assert twin.splitlines()[:5] == data.splitlines()[:5]
    assert twin.splitlines()[6:] == data.splitlines()[6:]
    assert data.startswith(twins.cut_end(data))
