"""Ranges of time are kept apart and in order, and symbols become file names that cannot leave their folder."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantd.adapters.feeds.wrappers.cache_files import Note, Ranges, Shelf, merged, uncovered
from tests.support.memory_source import market

spans = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


def instants(ranges: Ranges) -> set[int]:
    return {k for begin, end in ranges for k in range(begin, end)}


@given(spans, st.integers(0, 40), st.integers(0, 40))
def test_what_is_covered_and_what_is_not_are_the_whole_and_never_overlap(
    added: list[tuple[int, int]], start: int, end: int
) -> None:
    ranges: Ranges = ()
    for span in added:
        ranges = merged(ranges, span)
    assert instants(ranges) == instants(tuple(added))
    assert all(range_before[1] < range_after[0] for range_before, range_after in itertools.pairwise(ranges)), (
        "apart and in order"
    )
    gaps = uncovered(ranges, start, end)
    assert instants(gaps) == set(range(start, end)) - instants(ranges)
    assert all(gap_before[1] < gap_after[0] for gap_before, gap_after in itertools.pairwise(gaps))


@pytest.mark.parametrize("symbol", ["BTC/USD", "../up", ".hidden", "BRK.B", "^VIX", "a b", "ÄÖ", "%2F"])
def test_any_symbol_is_found_again_inside_the_folder(tmp_path: Path, symbol: str) -> None:
    shelf = Shelf(tmp_path / "series")
    shelf.keep(Note(symbol, covered=((1, 3),)), market([1, 2], [0, 0]))
    assert shelf.note(symbol).rows == 2
    rows = shelf.bars(shelf.note(symbol), 4)
    assert rows is not None
    assert rows.column.tolist() == [4, 4]
    assert [note.symbol for note in shelf.notes()] == [symbol]
    assert [path.parent for path in tmp_path.rglob("*.json")] == [tmp_path / "series"]


def test_a_newer_file_takes_the_place_of_the_older_one(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    note = shelf.keep(Note("SPY", covered=((1, 2),)), market([1], [0]))
    shelf.keep(note, market([1, 2], [0, 0]))
    assert len(list(tmp_path.iterdir())) == 2, "one note and one parquet file"
