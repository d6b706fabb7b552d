"""Every format of the corpus is read as what it is: at the first try, or after the remedy that the refusal names.

No rule of the reader may ask which program wrote a file. So the files are read under other names, with their columns in
another order, with other separators and line ends, packed, turned round and cut: the bars stay the same, or the fault
is named with its line.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files.reader import Table, read_tables
from tests.adapters.feeds.table_files import twins
from tests.adapters.feeds.table_files.reading import asked_of, differences
from tests.adapters.feeds.table_files.recorded_tables import (
    ENTRIES,
    FORMATS,
    TEXTS,
    Format,
    bytes_of,
    files_of,
    layout,
)

each_format = pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])


def read_as_told(entry: Format, path: Path | None = None) -> tuple[Table, list[str]]:
    """The table, and the options that the refusals named, each with the answer of a person who knows the file."""
    answers = dict(zip(entry.options[::2], entry.options[1::2], strict=True)) | {"--symbol": entry.names[0]}
    # the clock and the meaning of stamps follow from the sessions, once a calendar is there
    options = [text for name in ("--zone", "--stamps") if name in answers for text in (name, answers[name])]
    remedies: list[str] = []
    for _ in range(4):
        try:
            table = read_tables(path or FORMATS / entry.path, asked_of(options + remedies))
            if "--symbol" in remedies or set(table.frame["symbol"].unique()) & set(entry.names):
                return table, remedies
            remedies += [
                "--symbol",
                entry.names[0],
            ]  # the statement says the symbol, and a person sees that it is another
        except FeedError as error:
            remedy = re.search(r"--(symbol|dates|unit|scale|decimal)\b", error.remedy)
            if remedy is None or remedy[0] in remedies:
                raise
            remedies += [remedy[0], answers[remedy[0]]]
    raise AssertionError(remedies)


@pytest.mark.one_of(3)
@pytest.mark.long
@each_format
def test_the_name_of_a_file_says_at_most_its_symbol(entry: Format, tmp_path: Path) -> None:
    files = files_of(entry)
    if len(files) > 1:
        pytest.skip("a folder, whose files are named by their symbols")
    path = tmp_path / f"{entry.names[0].replace('/', '-')}{files[0].suffix}"
    path.write_bytes(files[0].read_bytes())
    assert differences(entry, read_as_told(entry, path)[0]) == []


each_text = pytest.mark.parametrize("entry", TEXTS, ids=[entry.name for entry in TEXTS])


def head_of(entry: Format) -> int:
    """Lines before the first bar."""
    return int(layout(entry).lines[0]) - 1


def twin(entry: Format, folder: Path, data: bytes, suffix: str = "") -> Table:
    path = folder / (files_of(entry)[0].name + suffix)
    path.write_bytes(data)
    return read_as_told(entry, path)[0]


SPELLINGS: Final[dict[str, Callable[[Format], bytes]]] = {
    "crlf": lambda entry: twins.crlf(bytes_of(entry)),
    "lf": lambda entry: twins.lf(bytes_of(entry)),
    "mixed ends": lambda entry: twins.mixed_ends(bytes_of(entry)),
    "blank lines": lambda entry: twins.blank_end(bytes_of(entry)),
    "mark": lambda entry: twins.marked(bytes_of(entry)),
    "turned": lambda entry: twins.turned(bytes_of(entry), head=head_of(entry)),
    "gzip": lambda entry: twins.gzipped(bytes_of(entry)),
    "zip": lambda entry: twins.zipped(bytes_of(entry), files_of(entry)[0].name),
    "utf-16": lambda entry: bytes_of(entry).decode("utf-8-sig", "replace").encode("utf-16"),
}


@pytest.mark.one_of(5)
@pytest.mark.quick_cases(3)
@each_text
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_has_the_same_bars(entry: Format, spelling: str, tmp_path: Path) -> None:
    if spelling in ("mark", "utf-16") and "Windows-1252" in layout(entry).notes:
        pytest.skip("its bytes are no UTF-8")
    suffix = {"gzip": ".gz", "zip": ".zip"}.get(spelling, "")
    assert differences(entry, twin(entry, tmp_path, SPELLINGS[spelling](entry), suffix)) == []


NAMED: Final = [entry for entry in TEXTS if len(layout(entry).header) == 1 and head_of(entry) == 1]


@pytest.mark.one_of(3)
@pytest.mark.quick_cases(4)
@pytest.mark.parametrize("entry", NAMED, ids=[entry.name for entry in NAMED])
def test_columns_in_another_order_have_the_same_bars(entry: Format, tmp_path: Path) -> None:
    assert differences(entry, twin(entry, tmp_path, twins.reordered(bytes_of(entry), layout(entry).separator))) == []


PLAIN: Final = [entry for entry in TEXTS if b'"' not in bytes_of(entry) and layout(entry).separator != " "]


@pytest.mark.one_of(3)
@pytest.mark.quick_cases(4)
@pytest.mark.parametrize("entry", PLAIN, ids=[entry.name for entry in PLAIN])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_another_separator_has_the_same_bars(entry: Format, separator: str, tmp_path: Path) -> None:
    data = twins.separated(bytes_of(entry), layout(entry).separator, separator)
    assert differences(entry, twin(entry, tmp_path, data)) == []


@each_text
@pytest.mark.parametrize("row", [3, -2])
def test_a_cut_row_is_refused_with_its_line(entry: Format, row: int, tmp_path: Path) -> None:
    table = layout(entry)
    place = range(len(table.lines))[row]
    with pytest.raises(FeedError) as refused:
        twin(entry, tmp_path, twins.cut_row(bytes_of(entry), place, head=head_of(entry)))
    assert f":{table.lines[place]}: " in str(refused.value)


@each_text
def test_an_interrupted_download_is_refused_with_its_last_line(entry: Format, tmp_path: Path) -> None:
    with pytest.raises(FeedError) as refused:
        twin(entry, tmp_path, twins.cut_end(bytes_of(entry)))
    assert f":{layout(entry).lines[-1]}: " in str(refused.value)


@pytest.mark.one_of(3)
@pytest.mark.long
@each_text
def test_a_row_that_stands_twice_is_one_bar(entry: Format, tmp_path: Path) -> None:
    once = twin(entry, tmp_path, bytes_of(entry))
    twice = twin(entry, tmp_path, twins.repeated(bytes_of(entry), 4, head=head_of(entry)))
    assert twice.frame.sort("symbol", "ts").equals(once.frame.sort("symbol", "ts"))
