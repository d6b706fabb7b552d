"""Text files of people who are no programmers: a lone quote, an apostrophe, a tab or a comma in any field."""

import itertools
import re
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.feeds.bars.rows import PRICES
from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.recorded.bar_files import nanoseconds, table_of
from quantd.adapters.feeds.table_files.reader import read_tables
from quantd.adapters.feeds.table_files.text_layout import text_table
from tests.support.command_line import quantd

HEADERS = {
    "foreign": ["Date", "Symbol", "Name", "Open", "High", "Low", "Close", "Volume"],
    "plain": ["ts", "symbol", "name", "open", "high", "low", "close", "volume"],
}
ROWS = [
    [f"2024-01-{day:02}", "PIPE", "Steel pipe", f"{10 + day / 8:.3f}", f"{12 + day / 8:.3f}", f"{9 + day / 8:.3f}",
     f"{11 + day / 8:.3f}", f"{day}00"]
    for day in range(2, 32)
]  # fmt: skip
MARKS = {'"': "quote", "'": "apostrophe", "\t": "tab", ",": "comma"}
PLACES = ("before", "within", "after", "alone")
SPOILED = 4
"""The row that has the mark, where only one has it."""


def spoiled(field: str, mark: str, place: str) -> str:
    middle = len(field) // 2
    return {
        "before": mark + field, "within": field[:middle] + mark + field[middle:], "after": field + mark, "alone": mark,
    }[place]  # fmt: skip


def bars(path: Path, *, plain: bool) -> pl.DataFrame:
    """The bars of a file by the reader of this layout: times in ns, and numbers."""
    frame = table_of(path, ("ts", "symbol", *PRICES, "volume")) if plain else read_tables(path).frame
    numbers = [pl.col(name).cast(pl.Float64, strict=False) for name in (*PRICES, "volume")]
    return frame.with_columns(pl.Series("ts", nanoseconds(frame["ts"])), pl.col("symbol").cast(pl.String), *numbers)


@pytest.mark.parametrize("layout", HEADERS)
@pytest.mark.parametrize("mark", MARKS, ids=MARKS.values())
def test_a_mark_in_any_column_leaves_the_other_fields_or_is_refused_with_its_line(
    tmp_path: Path, layout: str, mark: str
) -> None:
    header, path = HEADERS[layout], tmp_path / "bars.csv"
    path.write_text("\n".join([",".join(header), *map(",".join, ROWS)]) + "\n")
    clean = bars(path, plain=layout == "plain")
    wrong = []
    for column, place, everywhere in itertools.product(range(len(header)), PLACES, (False, True)):
        rows = [list(row) for row in ROWS]
        for row in rows if everywhere else [rows[SPOILED]]:
            row[column] = spoiled(row[column], mark, place)
        path.write_text("\n".join([",".join(header), *map(",".join, rows)]) + "\n")
        try:
            read = bars(path, plain=layout == "plain")
        except FeedError as error:
            if not re.search(rf":\d+: |column {header[column]}|column ts", str(error)):
                wrong.append((header[column], place, everywhere, str(error)))
            continue
        kept = [name for name in clean.columns if name != header[column].lower().replace("date", "ts")]
        if not read.select(kept).equals(clean.select(kept)):
            wrong.append((header[column], place, everywhere, "another value"))
    assert not wrong


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("layout", HEADERS)
@pytest.mark.parametrize("column", [0, 1, 2, 4, 7])
def test_an_import_of_a_lone_quote_writes_bars_or_names_the_line(tmp_path: Path, layout: str, column: int) -> None:
    rows = [list(row) for row in ROWS]
    rows[SPOILED][column] = spoiled(rows[SPOILED][column], '"', "within")
    path = tmp_path / "bars.csv"
    path.write_text("\n".join([",".join(HEADERS[layout]), *map(",".join, rows)]) + "\n")
    done = quantd(tmp_path, "data", "import", path.name, "--calendar", "24/7")
    assert "fault of quantd" not in done.stderr
    if done.returncode == 78:
        assert f"bars.csv:{SPOILED + 2}" in done.stderr
    else:
        assert re.search(r"\b(29|30) bars", done.stdout)


LANGUAGES = {
    "gb18030": "日期,开盘,最高,最低,收盘,成交量", "big5": "日期,開盤,最高,最低,收盤,成交量",
    "cp932": "日付,始値,高値,安値,終値,出来高", "cp949": "날짜,시가,고가,저가,종가,거래량",
    "cp1251": "Дата,Открытие,Максимум,Минимум,Закрытие,Объем", "cp1252": "Datum,Eröffnung,Hoch,Tief,Schluss,Volumen",
    "cp1254": "Tarih,Açılış,Yüksek,Düşük,Kapanış,Hacim",
}  # fmt: skip


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", LANGUAGES)
def test_names_of_prices_show_the_encoding_of_a_text(tmp_path: Path, encoding: str, separator: str) -> None:
    lines = [LANGUAGES[encoding], *(",".join([row[0], *row[3:]]) for row in ROWS), ""]
    text = "\n".join(lines).replace(",", separator)
    tables = []
    for written in (encoding, "utf-8", "utf-16"):
        path = tmp_path / "AAPL.csv"
        path.write_bytes(text.encode(written))
        tables.append(read_tables(path))
    expected = [[row[0], *row[3:]] for row in ROWS]
    for table in tables:
        rows = table.frame.select(pl.all().exclude("symbol").cast(pl.String)).rows()
        assert [list(row) for row in rows] == expected


@pytest.mark.parametrize(
    ("head", "names", "line"),
    [
        ("SPY US Equity,,,,,\nStart Date,2023-01-03,,,,\n,,,,,\n", "Date,PX_OPEN,PX_HIGH,PX_LOW,PX_LAST,PX_VOLUME", 5),
        ("SPY US Equity,\nStart Date,03/01/2023\n\n", "Dates,PX_LAST", 5),
    ],
)
def test_titles_and_dates_above_the_names_are_remarks(head: str, names: str, line: int) -> None:
    row = "{},1,3,1,2,100\n" if names.count(",") == 5 else "{},2\n"
    table = text_table(
        (head + names + "\n" + "".join(row.format(f"2023-01-{day}") for day in range(10, 20))).encode(), "", {}
    )
    assert table.header[-1] == tuple(names.split(","))
    assert (len(table.frame), table.lines[0]) == (10, line)
