"""Ranges of time are kept apart and in order, and symbols become file names that cannot leave their folder."""

from pathlib import Path

import pytest

from quantd.adapters.feeds.wrappers.cache_files import Note, Shelf
from tests.support.memory_source import market


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
