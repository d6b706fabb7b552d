"""Archives and folders: read in memory within limits, and refused by name with the limit that they are beyond."""

import gzip
import io
import re
import struct
import zipfile
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.adapters.feeds.table_files import containers
from quantd.adapters.feeds.table_files.containers import kind_of, parts_of
from quantd.adapters.feeds.table_files.reader import read_tables

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
