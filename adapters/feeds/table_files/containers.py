"""The tables at a path: one file, a folder with a file for each symbol, or a zip or gzip archive.

An archive is read in memory and nothing is unpacked to disk, so that a member's name cannot write a file anywhere. A
member name with ../ is refused all the same, because no program that exports bars writes one. An archive of a megabyte
may unpack to gigabytes: the number of members, their sizes and their compression ratio are limited before and while
they are read. The kind of a file is detected from its first bytes, not from its name.
"""

import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from quantd.adapters.feeds.feed_errors import FeedError
from quantd.trading.display_text import some

MOST_MEMBERS: Final = 10_000
"""Most tables of one folder or archive."""

MOST_BYTES: Final = 4 << 30
"""Most bytes of one table, and of all members of an archive together."""

LARGE: Final = 1 << 17
"""A text file above this size in bytes is not read into memory at first, only its beginning."""

MOST_RATIO: Final = 250
"""Largest ratio of unpacked to packed size of one member; text of prices has 3 to 12."""

RATIO_FREE: Final = 16 << 20
"""A member that unpacks to at most so many bytes may have any ratio."""

SUFFIXES: Final = (
    ".csv", ".parquet", ".json", ".zip", ".feather", ".txt", ".tsv", ".prn", ".asc", ".dat", ".pq", ".arrow", ".ipc",
    ".gz", ".jsonl", ".ndjson",
)  # fmt: skip
"""Endings of the names of files in a folder that may have bars."""

UNREAD: Final = (".xlsx", ".xls", ".ods", ".db", ".sqlite", ".h5", ".hdf", ".pkl", ".bz2", ".xz", ".zst", ".7z", ".rar")
"""Endings of the names of files that may have bars in a form that is not read."""

NO_BARS: Final = (".actions.csv", "exceptions.csv", "_actions.csv")
"""Endings of the names of files that are not bars: files of actions and of exceptions beside them."""


class Part(NamedTuple):
    """The bytes of one table. `name` is the table's name in messages, `stem` the file name from which a symbol may be
    read.

    `path` is set if the table is a whole file. `partial` is True for a large text file, of which `data` has only the
    beginning.
    """

    name: str
    stem: str
    data: bytes
    path: Path | None = None
    partial: bool = False

    @property
    def kind(self) -> str:
        """The kind of the file ("parquet", "text" and others), detected from its first bytes."""
        return kind_of(self.data)


def kind_of(data: bytes) -> str:
    """Return the kind of a file by its first bytes: "parquet", "feather", "json", "zip", "gzip", "text" and others.

    Files of these kinds begin with fixed bytes. Text may begin with a byte order mark.
    """
    for magic, kind in (
        (b"PAR1", "parquet"), (b"ARROW1", "feather"), (b"\xff\xff\xff\xff", "arrow stream"),
        (b"FEA1", "feather of the old format"), (b"PK\x03\x04", "zip"),
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
    """Yield the tables at a path, sorted by name.

    Raises FeedError that names the file or archive member, for example if it is too large.

    `name` is the name in messages, empty for the file's own. Of a parquet file and of a large text file only the
    beginning is read here.
    """
    if path.is_dir():
        for file in table_files(path):
            # of KO/2024.csv the folder has the symbol
            in_subfolder = file.parent != path and not re.search(r"[^\W\d]", file.stem)
            for part in parts_of(file, name=f"{path.name}/{file.relative_to(path).as_posix()}"):
                yield part._replace(stem=file.parent.name) if in_subfolder else part
        return
    if not path.is_file():
        raise FeedError(str(path), "there is no such file", "Check the path")
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise FeedError(path.name, f"{size:,} bytes are more than {MOST_BYTES:,}", "Split it by symbol or by year")
    with path.open("rb") as opened:
        kind = kind_of(opened.read(64))
    shown_name = name or path.name
    if kind == "zip":
        yield from _zip_parts(path, shown_name)
    elif kind == "gzip":
        yield _gzip_part(path, shown_name)
    elif kind == "parquet":
        yield Part(shown_name, path.stem, b"PAR1", path)  # polars maps the file, and a probe needs it
    elif kind == "text" and size > LARGE:
        with path.open("rb") as opened:
            yield Part(shown_name, path.stem, opened.read(64), path, partial=True)
    else:
        yield Part(shown_name, path.stem, path.read_bytes(), path)


def table_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may have bars, sorted by name; if it has none, the files of its subfolders.

    Raises FeedError for a folder without such a file, and for more than MOST_MEMBERS files.
    """
    files = _tables_among(folder.iterdir()) or _tables_among(islice(folder.rglob("*"), 10 * MOST_MEMBERS))
    if not files:
        kinds = f"Put a file for each symbol there ({some(SUFFIXES)})"
        raise FeedError(str(folder), "no file of this folder is a table", kinds)
    if len(files) > MOST_MEMBERS:
        raise FeedError(str(folder), f"{len(files):,} files are more than {MOST_MEMBERS:,}", "Split the folder")
    return files


def unread_files(folder: Path, files: Sequence[Path]) -> list[str]:
    """Return the names of files that may have bars too, and are not among the `files` of a folder: in another form, or
    in a subfolder."""
    inside = list(islice(folder.rglob("*"), 10 * MOST_MEMBERS))
    others = {*_tables_among(inside), *_tables_among(inside, UNREAD)} - {*files}
    return sorted(path.relative_to(folder).as_posix() for path in others)


def _tables_among(paths: Iterable[Path], suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    return sorted(
        path
        for path in paths
        if path.is_file() and path.suffix.lower() in suffixes and not path.name.startswith(".")
        and not path.name.lower().endswith(NO_BARS)
    )  # fmt: skip


def _gzip_part(path: Path, shown_name: str) -> Part:
    try:
        with gzip.open(path) as file:
            data = file.read(_most_bytes(path.stat().st_size) + 1)
    except (OSError, EOFError, zlib.error):
        raise FeedError(shown_name, "it is no whole gzip file", "Download it again") from None
    _require_small(shown_name, len(data), path.stat().st_size)
    stem = path.name.removesuffix(path.suffix) if path.suffix.lower() in (".gz", ".gzip") else path.name
    return _unpacked_member(Part(shown_name, PurePosixPath(stem).stem, data))


def _zip_parts(path: Path, shown_name: str) -> Iterator[Part]:
    """Yield the members of a zip archive, sorted by name. Raises FeedError for an empty, large or damaged archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                _require_inside(f"{shown_name}({member.filename})", member)
            members = [
                member for member in archive.infolist() if not member.is_dir() and not _is_byproduct(member.filename)
            ]
            if not members:
                raise FeedError(shown_name, "the archive has no file", "Download it again")
            if len(members) > MOST_MEMBERS:
                text = f"{len(members):,} members are more than {MOST_MEMBERS:,}"
                raise FeedError(shown_name, text, "Split the archive")
            if sum(member.file_size for member in members) > MOST_BYTES:
                raise FeedError(shown_name, f"its members have more than {MOST_BYTES:,} bytes", "Split the archive")
            for member in sorted(members, key=lambda member: member.filename):
                yield _zip_member(archive, member, shown_name)
    except (zipfile.BadZipFile, OSError, EOFError, zlib.error, NotImplementedError, UnicodeDecodeError):
        raise FeedError(shown_name, "it is no whole zip archive", "Download it again") from None


def _require_inside(where: str, member: zipfile.ZipInfo) -> None:
    """Raise FeedError for a member whose name would lie outside the folder that an archive is unpacked to."""
    pure = PurePosixPath(member.filename.replace("\\", "/"))
    if ".." in pure.parts or pure.is_absolute() or ":" in "".join(pure.parts[:1]) or "\0" in member.orig_filename:
        raise FeedError(where, "a member's name leaves the archive", "Use an archive from where it was made")


def _is_byproduct(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name.startswith(".") or "__MACOSX" in path.parts or path.name.lower().endswith(NO_BARS)


def _zip_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, shown_name: str) -> Part:
    """Return one member, unpacked. Raises FeedError for an encrypted member, or one larger than the archive says.

    The symbol is read from the stem, the name without its ending (.csv or .csv.gz).
    """
    name = member.filename
    where = f"{shown_name}({name})"
    pure = PurePosixPath(name)
    if member.flag_bits & 1:
        raise FeedError(where, "it is encrypted", "Unpack it, and give the file")
    _require_small(where, member.file_size, member.compress_size)
    with archive.open(member) as file:
        data = file.read(member.file_size + 1)
    if len(data) > member.file_size:
        raise FeedError(where, "it has more bytes than the archive says", "Download it again")
    return _unpacked_member(
        Part(where, pure.stem if pure.suffix.lower() != ".gz" else PurePosixPath(pure.stem).stem, data)
    )


def _unpacked_member(part: Part) -> Part:
    """Return a member of an archive, unpacked if it is a gzip file. Raises FeedError for an archive inside the
    archive."""
    kind = kind_of(part.data)
    if kind == "gzip":
        try:
            with gzip.open(io.BytesIO(part.data)) as file:
                data = file.read(_most_bytes(len(part.data)) + 1)
        except (OSError, EOFError, zlib.error):
            raise FeedError(part.name, "it is no whole gzip file", "Download it again") from None
        _require_small(part.name, len(data), len(part.data))
        part = part._replace(data=data)
        kind = kind_of(data)
    if kind in ("zip", "gzip"):
        raise FeedError(part.name, "an archive is inside the archive", "Unpack the outer one")
    return part


def _most_bytes(packed_bytes: int) -> int:
    """Return the most bytes that `packed_bytes` may unpack to, which limits how much is read."""
    return min(MOST_BYTES, max(RATIO_FREE, MOST_RATIO * packed_bytes))


def _require_small(where: str, size: int, packed_bytes: int) -> None:
    if size > MOST_BYTES:
        raise FeedError(where, f"it unpacks to more than {MOST_BYTES:,} bytes", "Split it by symbol or by year")
    if size > RATIO_FREE and size > MOST_RATIO * max(packed_bytes, 1):
        raise FeedError(
            where,
            f"it unpacks {size // max(packed_bytes, 1):,} times or more, to {size:,} bytes",
            "Unpack it, and give the file",
        )
