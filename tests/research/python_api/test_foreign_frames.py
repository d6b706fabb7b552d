"""Files that pandas read, as frames: each is read as its file is, or refused in words with a remedy that works."""

from pathlib import Path

import pandas as pd
import polars as pl
import pytest

import quantd
from quantd.adapters.feeds.table_files.reader import Table
from quantd.research.python_api.bar_frame import DEFAULT_SYMBOL
from tests.adapters.feeds.table_files.reading import differences
from tests.adapters.feeds.table_files.recorded_tables import TEXTS, Format, files_of, layout

ACTIONS = pl.DataFrame(schema=dict.fromkeys(("ts", "symbol", "kind", "ratio", "cash"), pl.String))
READ = 24
"""Fewest text formats whose frame alone says what it is."""


def frame_of(path: Path) -> pd.DataFrame | None:
    try:
        return pd.read_csv(path)
    except (UnicodeDecodeError, pd.errors.ParserError):
        return None


def read_by_pandas(entry: Format) -> Table | None:
    """The bars of the frame of a format; None where a refusal names the path as the remedy, and the path is read."""
    path = files_of(entry)[0]
    frame = frame_of(path)
    if frame is None:
        return None
    said = dict(zip(entry.options[::2], entry.options[1::2], strict=True))
    named = {name.removeprefix("--"): value for name, value in said.items() if name not in ("--stamps", "--symbol")}
    refusal = ""
    try:
        bars = quantd.read_bars(frame, **named)
    except quantd.Error as error:
        refusal = str(error)
    if refusal:
        assert "bars=" in refusal or "quantd.read_bars(" in refusal
        symbol = entry.names[0] if len(entry.names) == 1 else ""
        assert len(quantd.read_bars(path, symbol=symbol, **named).frame)
        return None
    alone = pl.col("symbol").replace({DEFAULT_SYMBOL: entry.names[0]})
    actions = ACTIONS if bars.actions is None else bars.actions
    return Table(bars.frame.with_columns(alone), actions.with_columns(alone), bars.statements, layout(entry).lines)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("entry", TEXTS, ids=[entry.name for entry in TEXTS])
def test_a_frame_of_pandas_has_the_bars_of_its_file(entry: Format) -> None:
    table = read_by_pandas(entry)
    assert table is None or differences(entry, table) == []


@pytest.mark.long
def test_most_frames_say_what_they_are() -> None:
    assert sum(read_by_pandas(entry) is not None for entry in TEXTS) >= READ
