"""Archives and folders: read in memory within limits, and refused by name with the limit that they are beyond."""

import gzip
import io
import re
import struct
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files import containers
from quantd.adapters.feeds.table_files.containers import kind_of, parts_of
from quantd.adapters.feeds.table_files.reader import ReadOptions, read_tables
from tests.support.command_line import quantd

BARS = "Date,Open,High,Low,Close,Volume\n2024-01-02,10,11,9,10.5,100\n2024-01-03,10.5,12,10,11,200\n"


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(FeedError) as error:
        list(parts_of(path))
    return str(error.value)


@pytest.mark.parametrize("name", ["../SPY.csv", "a/../../SPY.csv", "/etc/SPY.csv", "C:/SPY.csv", "..\\SPY.csv"])
def test_a_member_whose_name_leaves_the_archive_is_refused(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / "a.zip", {name: BARS.encode()})
    assert "leaves the archive" in refused(path)
    assert sorted(tmp_path.iterdir()) == [path]


def test_nothing_is_unpacked_to_disk(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"x/SPY.csv": BARS.encode(), "x/QQQ.csv": BARS.encode()})
    assert sorted(read_tables(path).frame["symbol"].unique()) == ["QQQ", "SPY"]
    assert sorted(tmp_path.rglob("*")) == [path]


def test_too_many_members_too_many_bytes_and_too_high_a_ratio_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(containers, "MOST_MEMBERS", 3)
    assert "4 members are more than 3" in refused(archive(tmp_path / "a.zip", {f"S{k}.csv": b"" for k in range(4)}))
    monkeypatch.setattr(containers, "MOST_BYTES", 1_000)
    assert "more than 1,000 bytes" in refused(archive(tmp_path / "b.zip", {"S.csv": b"1" * 2_000}))
    (tmp_path / "c.csv.gz").write_bytes(gzip.compress(bytes(2_000)))
    assert "more than 1,000 bytes" in refused(tmp_path / "c.csv.gz")
    monkeypatch.setattr(containers, "MOST_BYTES", 1 << 30)
    bomb = b"0" * (containers.RATIO_FREE + 1)
    assert "it unpacks" in refused(archive(tmp_path / "d.zip", {"S.csv": bomb}))
    (tmp_path / "e.csv.gz").write_bytes(gzip.compress(bomb))
    assert "it unpacks" in refused(tmp_path / "e.csv.gz")


def test_a_member_that_is_longer_than_the_archive_says_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"SPY.csv": BARS.encode() * 50})
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    size = struct.unpack_from("<I", data, at + 24)[0]
    struct.pack_into("<I", data, at + 24, size // 2)
    path.write_bytes(bytes(data))
    assert "bytes than the archive says" in refused(path) or "no whole zip" in refused(path)


def test_an_archive_in_an_archive_and_an_encrypted_one_are_refused(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("SPY.csv", BARS)
    assert "an archive is inside" in refused(archive(tmp_path / "a.zip", {"b.zip": inner.getvalue()}))
    path = archive(tmp_path / "c.zip", {"SPY.csv": BARS.encode()})
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    path.write_bytes(bytes(data))
    assert "encrypted" in refused(path)


@pytest.mark.parametrize("cut", [3, 40, 100])
def test_a_damaged_archive_is_no_traceback(tmp_path: Path, cut: int) -> None:
    path = archive(tmp_path / "a.zip", {"SPY.csv": BARS.encode()})
    path.write_bytes(path.read_bytes()[:-cut])
    assert "no whole zip" in refused(path)
    (tmp_path / "b.gz").write_bytes(gzip.compress(BARS.encode())[: -min(cut, 20)])
    assert "no whole gzip" in refused(tmp_path / "b.gz")


def test_what_is_no_table_is_named_with_what_to_do(tmp_path: Path) -> None:
    for data, says in (
        (b"<!DOCTYPE html><html>", "a page of a site"),
        (b"\xd0\xcf\x11\xe0" + bytes(60), "Save it as CSV"),
        (b"%PDF-1.7", "PDF"),
        (b"FEA1" + bytes(60), "old format"),
        (b"SQLite format 3\0", "SQLite"),
    ):
        path = tmp_path / "SPY.csv"
        path.write_bytes(data)
        with pytest.raises(FeedError, match=says):
            read_tables(path)


def test_the_first_bytes_tell_the_kind_whatever_the_name(tmp_path: Path) -> None:
    assert [kind_of(data) for data in (b"PAR1", b"ARROW1", b"PK\x03\x04", b"\x1f\x8b", b'{"a"', b" [1]", b"a,b")] == [
        "parquet", "feather", "zip", "gzip", "json", "json", "text",
    ]  # fmt: skip
    path = archive(tmp_path / "SPY.csv", {"SPY.txt": BARS.encode()})
    assert len(read_tables(path).frame) == 2


@pytest.mark.long
def test_no_more_is_unpacked_than_the_ratio_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    original = gzip.GzipFile.read

    def counted(file: gzip.GzipFile, size: int = -1) -> bytes:
        read.append(size)
        return original(file, size)

    monkeypatch.setattr(gzip.GzipFile, "read", counted)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(bytes(4 * containers.RATIO_FREE)))
    assert "it unpacks" in refused(tmp_path / "a.csv.gz")
    assert read == [max(containers.RATIO_FREE, containers.MOST_RATIO * (tmp_path / "a.csv.gz").stat().st_size) + 1]


def test_a_stream_of_arrow_is_read_as_a_file_of_feather(tmp_path: Path) -> None:
    frame = pl.DataFrame({"ts": [date(2024, 1, day) for day in (2, 3)], "open": [10.0, 11.0], "high": [12.0, 13.0],
                          "low": [9.0, 10.0], "close": [11.0, 12.0], "volume": [100.0, 200.0]})  # fmt: skip
    frame.write_ipc_stream(tmp_path / "SPY.arrow")
    frame.write_ipc(tmp_path / "QQQ.arrow")
    read = [read_tables(tmp_path / name).frame.drop("symbol") for name in ("SPY.arrow", "QQQ.arrow")]
    assert read[0].equals(read[1])
    (tmp_path / "SPY.arrow").write_bytes(b"\xff\xff\xff\xff" + bytes(200))
    with pytest.raises(FeedError, match="cannot be read as arrow stream"):
        read_tables(tmp_path / "SPY.arrow")


@pytest.mark.parametrize("name", ["README.txt", "AAA_terms.txt", "zz licence.csv"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_text_without_bars_beside_tables_is_left_out_and_named(tmp_path: Path, name: str, packed: bool) -> None:
    members = {
        name: b"Data of the exchange, 2024.\nFor private use; see the terms, section 3.\n",
        "SPY.csv": BARS.encode(),
    }
    path = tmp_path / "bars"
    if packed:
        path = archive(tmp_path / "bars.zip", members)
    else:
        path.mkdir()
        for member, data in members.items():
            (path / member).write_bytes(data)
    table = read_tables(path)
    assert len(table.frame) == 2
    assert re.search(rf"{re.escape(name)}\)? has no bars and is left out", table.statements[0].text())
    (path.unlink if packed else (path / "SPY.csv").unlink)()
    path = archive(tmp_path / "prose.zip", {name: members[name]}) if packed else path
    with pytest.raises(FeedError, match="no line has a time"):
        read_tables(path)


def lean_minutes(folder: Path, day: str, symbol: str, *, unit: int, count: int = 390, kind: str = "trade") -> None:
    """Write the minutes of one day as LEAN does: milliseconds since midnight on the exchange's clock."""
    first = 34_200_000 if unit > 1 else 0
    rows = []
    for k in range(count):
        bar = [base + k / 100 for base in (470.1234, 471, 469, 470.5)]
        prices = [str(round(price * unit)) if unit > 1 else f"{price:.4f}" for price in bar]
        rows.append(",".join([str(first + 60_000 * k), *prices, str(1_000 + k)]))
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{day}_{kind}.zip", "w") as archive:
        archive.writestr(f"{day}_{symbol}_minute_{kind}.csv", "\n".join(rows) + "\n")


def test_the_minutes_of_lean_have_the_date_of_the_members_name(tmp_path: Path) -> None:
    folder = tmp_path / "equity" / "usa" / "minute" / "spy"
    for day in ("20240703", "20240705"):
        lean_minutes(folder, day, "spy", unit=10_000)
        lean_minutes(folder, day, "spy", unit=10_000, kind="quote")
    with pytest.raises(FeedError, match=r"4705000 has two readings: .* 470\.5 in units of 1e-4\. Add --scale"):
        read_tables(folder / "20240703_trade.zip")
    table = read_tables(folder, ReadOptions(scale="1e-4", zone="America/New_York"))
    assert table.frame["symbol"].unique().to_list() == ["SPY"]
    first = table.frame.row(0)
    assert first[0] == datetime(2024, 7, 3, 13, 30, tzinfo=UTC)
    assert [float(value) for value in first[2:]] == [470.1234, 471.0, 469.0, 470.5, 1000.0]
    assert table.frame["ts"].dt.date().unique().sort().to_list() == [date(2024, 7, 3), date(2024, 7, 5)]
    assert "20240703_quote.zip(20240703_spy_minute_quote.csv) has no bars" in table.statements[0].text()
    with pytest.raises(FeedError, match=r"quotes of a day, no bars of trades\. Give 20240703_trade\.zip"):
        read_tables(folder / "20240703_quote.zip")


def test_the_minutes_of_a_coin_of_lean_need_no_option(tmp_path: Path) -> None:
    lean_minutes(tmp_path / "btcusd", "20240703", "btcusd", unit=1, count=1_440)
    done = quantd(tmp_path, "data", "import", "btcusd", "--out", "btc.parquet")
    assert done.returncode == 0, done.stdout
    assert 'calendar = "24/7"' in done.stdout
    assert pl.read_parquet(tmp_path / "btc.parquet")["open"].head(2).to_list() == [470.1234, 470.1334]


@pytest.mark.parametrize("line", ["34260000,1,2,3", "86400000,1,2,3,4,5", "x,1,2,3,4,5", ""])
def test_a_faulty_line_of_leans_minutes_is_named(tmp_path: Path, line: str) -> None:
    with zipfile.ZipFile(tmp_path / "20240703_trade.zip", "w") as archive:
        text = f"34200000,1.5,2.5,1.5,2.5,9\n{line}\n34320000,1.5,2.5,1.5,2.5,9\n"
        archive.writestr("20240703_spy_minute_trade.csv", text)
    with pytest.raises(FeedError, match=r"trade\.csv\):2: .* is not milliseconds since midnight and five numbers"):
        read_tables(tmp_path / "20240703_trade.zip")


def test_tables_of_a_folder_that_are_not_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "KO").mkdir()
    lines = "".join(f"2024-01-0{day},10,12,9,11,100\n" for day in range(2, 6))
    for name in ("AAPL.csv", "MSFT.xlsx", "KO/2024.csv", "mine.py", "AAPL.actions.csv"):
        (tmp_path / name).write_text("Date,Open,High,Low,Close,Volume\n" + lines)
    table = read_tables(tmp_path)
    assert table.frame["symbol"].unique().to_list() == ["AAPL"]
    assert table.statements[0].notes == ("not read, by its form or its subfolder: KO/2024.csv, MSFT.xlsx",)


def test_a_subfolder_has_the_symbol_of_files_that_are_named_by_their_period(tmp_path: Path) -> None:
    for symbol, price in (("AAPL", 10), ("KO", 20)):
        (tmp_path / symbol).mkdir()
        for year in ("2023", "2024-01"):
            lines = "".join(f"{year[:4]}-01-0{day},{price},{price},{price},{price},100\n" for day in range(3, 6))
            (tmp_path / symbol / f"{year}.csv").write_text("Date,Open,High,Low,Close,Volume\n" + lines)
    frame = read_tables(tmp_path).frame.with_columns(pl.col("close").cast(pl.Float64))
    assert frame.group_by("symbol").agg(pl.len(), pl.col("close").mean()).sort("symbol").rows() == [
        ("AAPL", 6, 10.0), ("KO", 6, 20.0)]  # fmt: skip
