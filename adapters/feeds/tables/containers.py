"""The tables of a path: of a file, of a folder with a file for each symbol, of a zip or gzip archive.

An archive is read in memory and nothing is unpacked to disk, so that a member's name cannot place a file anywhere. A
name with ../ is refused all the same, because no program that exports bars writes one. An archive of a megabyte may
hold gigabytes: its members, their size and how far they unpack are limited before and while they are read. The kind of
a file follows from its first bytes, not from its name.
"""

import gzip
import io
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from quantd.adapters.feeds.errors import FeedError
from quantd.adapters.feeds.source import some

MOST_MEMBERS: Final = 10_000
"""Tables of one folder or archive, at most."""

MOST_BYTES: Final = 4 << 30
"""Bytes of one table, and of all members of an archive."""

LARGE: Final = 1 << 17
"""Size in bytes from which a file of text is not read as a whole at once."""

MOST_RATIO: Final = 250
"""How far one member may unpack, beyond RATIO_FREE bytes; text of prices unpacks 3 to 12 times."""

RATIO_FREE: Final = 16 << 20

SUFFIXES: Final = (
    ".csv", ".parquet", ".json", ".zip", ".feather", ".txt", ".tsv", ".prn", ".asc", ".dat", ".pq", ".arrow", ".ipc",
    ".gz",
)  # fmt: skip
"""Ends of the names of files of a folder that may hold bars."""

NO_BARS: Final = (".actions.csv", "exceptions.csv", "_actions.csv")
"""Ends of the names of files beside bars."""


class Part(NamedTuple):
    """The bytes of one table, `path` where it is a file by itself, and its name in messages and for a symbol.

    Of a `partial` one, a large file of text, `data` has the beginning.
    """

    name: str
    stem: str
    data: bytes
    path: Path | None = None
    partial: bool = False

    @property
    def kind(self) -> str:
        """The kind of the file by its first bytes."""
        return kind_of(self.data)


def kind_of(data: bytes) -> str:
    """Return what the first bytes of a file are: "parquet", "feather", "json", "zip", "gzip", "excel" or "text"."""
    for magic, kind in (
        (b"PAR1", "parquet"), (b"ARROW1", "feather"), (b"FEA1", "feather of the old format"), (b"PK\x03\x04", "zip"),
        (b"PK\x05\x06", "zip"), (b"\x1f\x8b", "gzip"), (b"\xd0\xcf\x11\xe0", "excel"), (b"BZh", "bzip2"),
        (b"\xfd7zXZ", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"%PDF", "PDF"), (b"\x89HDF", "HDF"),
        (b"SQLite format 3", "SQLite"), (b"7z\xbc\xaf", "7z"), (b"Rar!", "rar"),
    ):  # fmt: skip
        if data.startswith(magic):
            return kind
    text = data[:64].removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"{", b"["):
        return "json"
    page = text[:1] == b"<" and text[1:6].lower() in (b"!doct", b"html>", b"html ", b"head>", b"?xml ")
    return "html" if page else "text"


def parts_of(path: Path, *, name: str = "") -> Iterator[Part]:
    """Yield the tables of a path, by name. Raises FeedError with the file or member and the limit that it is beyond."""
    if path.is_dir():
        for file in table_files(path):
            yield from parts_of(file, name=f"{path.name}/{file.relative_to(path).as_posix()}")
        return
    if not path.is_file():
        raise FeedError(str(path), "there is no such file", "Check the path")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise FeedError(path.name, f"{size:,} bytes are more than {MOST_BYTES:,}", "Split it by symbol or by year")
    with path.open("rb") as head:
        kind = kind_of(head.read(64))
    shown = name or path.name
    if kind == "zip":
        yield from _of_zip(path, shown)
    elif kind == "gzip":
        yield _of_gzip(path, shown)
    elif kind == "parquet":
        yield Part(shown, path.stem, b"PAR1", path)  # polars maps the file, and a probe needs it
    elif kind == "text" and size > LARGE:
        with path.open("rb") as head:
            yield Part(shown, path.stem, head.read(64), path, partial=True)
    else:
        yield Part(shown, path.stem, path.read_bytes(), path)


def table_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may hold bars, by name; those of its folders where it has none itself.

    Raises FeedError for a folder without such a file, and for more than MOST_MEMBERS files.
    """
    files = _tables_among(folder.iterdir()) or _tables_among(islice(folder.rglob("*"), 10 * MOST_MEMBERS))
    if not files:
        kinds = f"Give it a file for each symbol ({some(SUFFIXES)})"
        raise FeedError(str(folder), "no file of this folder is a table", kinds)
    if len(files) > MOST_MEMBERS:
        raise FeedError(str(folder), f"{len(files):,} files are more than {MOST_MEMBERS:,}", "Split the folder")
    return files


def _tables_among(paths: Iterable[Path]) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.is_file() and path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        and not path.name.lower().endswith(NO_BARS)
    )  # fmt: skip


def _of_gzip(path: Path, shown: str) -> Part:
    try:
        with gzip.open(path) as file:
            data = file.read(_most(path.stat().st_size) + 1)
    except (OSError, EOFError, zlib.error):
        raise FeedError(shown, "it is no whole gzip file", "Download it again") from None
    _require_small(shown, len(data), path.stat().st_size)
    stem = path.name.removesuffix(path.suffix) if path.suffix.lower() in (".gz", ".gzip") else path.name
    return _inner(Part(shown, PurePosixPath(stem).stem, data))


def _of_zip(path: Path, shown: str) -> Iterator[Part]:
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _require_inside(f"{shown}({member.filename})", member)
            members = [
                member for member in archive.infolist() if not member.is_dir() and not _is_byproduct(member.filename)
            ]
            if not members:
                raise FeedError(shown, "the archive has no file", "Download it again")
            if len(members) > MOST_MEMBERS:
                text = f"{len(members):,} members are more than {MOST_MEMBERS:,}"
                raise FeedError(shown, text, "Split the archive")
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise FeedError(shown, f"its members have more than {MOST_BYTES:,} bytes", "Split the archive")
            for member in sorted(members, key=lambda member: member.filename):
                yield _member(archive, member, shown)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, NotImplementedError, UnicodeDecodeError):
        raise FeedError(shown, "it is no whole zip archive", "Download it again") from None


def _require_inside(where: str, member: zipfile.ZipInfo) -> None:
    """Raise FeedError for a member whose name would lie outside the folder that an archive is unpacked to."""
    pure = PurePosixPath(member.filename.replace("\\", "/"))
    if ".." in pure.parts or pure.is_absolute() or ":" in "".join(pure.parts[:1]) or "\0" in member.orig_filename:
        raise FeedError(where, "a member's name leaves the archive", "Use an archive from where it was made")


def _is_byproduct(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name.startswith(".") or "__MACOSX" in path.parts or path.name.lower().endswith(NO_BARS)


def _member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown: str) -> Part:
    name = member.filename
    where = f"{shown}({name})"
    pure = PurePosixPath(name)
    if member.flag_bits & 1:
        raise FeedError(where, "it is encrypted", "Unpack it, and give the file")
    _require_small(where, member.file_size, member.compress_size)
    with archive.open(member) as file:
        data = file.read(member.file_size + 1)
    if len(data) > member.file_size:
        raise FeedError(where, "it has more bytes than the archive says", "Download it again")
    return _inner(Part(where, pure.stem if pure.suffix.lower() != ".gz" else PurePosixPath(pure.stem).stem, data))


def _inner(part: Part) -> Part:
    """Return a member of an archive. Raises FeedError where it is an archive itself."""
    kind = kind_of(part.data)
    if kind == "gzip":
        try:
            with gzip.open(io.BytesIO(part.data)) as file:
                data = file.read(_most(len(part.data)) + 1)
        except (OSError, EOFError, zlib.error):
            raise FeedError(part.name, "it is no whole gzip file", "Download it again") from None
        _require_small(part.name, len(data), len(part.data))
        part = part._replace(data=data)
        kind = kind_of(data)
    if kind in ("zip", "gzip"):
        raise FeedError(part.name, "an archive is inside the archive", "Unpack the outer one")
    return part


def _most(packed: int) -> int:
    """Return the most bytes that a table of `packed` bytes may unpack to: no more is read."""
    return min(MOST_BYTES, max(RATIO_FREE, MOST_RATIO * packed))


def _require_small(where: str, size: int, packed: int) -> None:
    if size > MOST_BYTES:
        raise FeedError(where, f"it unpacks to more than {MOST_BYTES:,} bytes", "Split it by symbol or by year")
    if size > RATIO_FREE and size > MOST_RATIO * max(packed, 1):
        raise FeedError(
            where,
            f"it unpacks {size // max(packed, 1):,} times or more, to {size:,} bytes",
            "Unpack it, and give the file",
        )
