"""Twins of a text file: the same bars with a defect or another spelling. Each function takes and returns bytes.

`head` is the number of lines before the first bar: a header, an address before it, or the levels of a frame's columns.
Bytes are read as Latin-1, so that every byte keeps its value whatever the encoding of the file.
"""

import csv
import gzip
import io
import zipfile
from typing import Final

BOM: Final = b"\xef\xbb\xbf"


def parts(data: bytes) -> tuple[list[str], str, bool]:
    """Lines without their ends, the end that the first line has, and whether the last line has one too."""
    text = data.decode("latin-1")
    end = "\r\n" if "\r\n" in text else "\n"
    closed = text.endswith(end)
    return text.removesuffix(end).split(end), end, closed


def joined(lines: list[str], end: str, closed: bool) -> bytes:
    return (end.join(lines) + (end if closed else "")).encode("latin-1")


def table(data: bytes, separator: str) -> list[list[str]]:
    """Cells of each line, without the quotes around them."""
    return list(csv.reader(io.StringIO(data.decode("latin-1"), newline=""), delimiter=separator))


def written(rows: list[list[str]], separator: str, end: str) -> bytes:
    """The file of these cells; a cell that holds the separator or a quote is put in quotes."""
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator, lineterminator=end).writerows(rows)
    return file.getvalue().encode("latin-1")


def cut_row(data: bytes, row: int, *, head: int = 1) -> bytes:
    """A bar's line ends in its middle, and the next line follows: an interrupted write that was continued.

    Raises IndexError where the file has no such row.
    """
    lines, end, closed = parts(data)
    line = lines[head + row]
    lines[head + row] = line[: len(line) // 2]
    return joined(lines, end, closed)


def cut_end(data: bytes) -> bytes:
    """The file ends in the middle of its last line: an interrupted download."""
    lines, end, _ = parts(data)
    lines[-1] = lines[-1][: len(lines[-1]) // 2]
    return joined(lines, end, closed=False)


def reordered(data: bytes, separator: str = ",") -> bytes:
    """The columns stand in the opposite order, also in the header. Only for files whose columns have names."""
    _, end, _ = parts(data)
    return written([row[::-1] for row in table(data.removeprefix(BOM), separator)], separator, end)


def separated(data: bytes, separator: str, other: str) -> bytes:
    _, end, _ = parts(data)
    return written(table(data, separator), other, end)


def turned(data: bytes, *, head: int = 1) -> bytes:
    """The bars stand in the opposite order: newest first where they were newest last, and the other way round."""
    lines, end, closed = parts(data)
    return joined(lines[:head] + lines[head:][::-1], end, closed)


def repeated(data: bytes, row: int, *, head: int = 1) -> bytes:
    """A bar's line stands twice. Raises IndexError where the file has no such row."""
    lines, end, closed = parts(data)
    lines.insert(head + row, lines[head + row])
    return joined(lines, end, closed)


def crlf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def mixed_ends(data: bytes) -> bytes:
    """Every second line ends as on Windows, the others as on Unix: files of two machines put together."""
    lines, _, closed = parts(data)
    text = "".join(line + ("\r\n" if n % 2 else "\n") for n, line in enumerate(lines))
    return (text if closed else text.removesuffix("\n").removesuffix("\r")).encode("latin-1")


def blank_end(data: bytes) -> bytes:
    lines, end, _ = parts(data)
    return joined([*lines, "", ""], end, closed=True)


def marked(data: bytes) -> bytes:
    return BOM + data.removeprefix(BOM)


def gzipped(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def zipped(data: bytes, name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name, (2024, 4, 6, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()
