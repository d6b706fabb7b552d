"""Bars on disk for a cache: one folder a series, one parquet file a symbol with a note and its checksum beside it.

The note decides: it names the parquet file, its checksum and its time ranges, and is replaced atomically. polars can
abort the process on a damaged file, so it only reads files with the right checksum.
"""

from collections.abc import Sequence
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct

from quantd.adapters.feeds.bars.rows import ActionRow, Rows, rows_of
from quantd.regular_file import move, remove, write_whole

Ranges = tuple[tuple[int, int], ...]
"""Half-open, disjoint, ascending; ns UTC."""

_FORMAT: Final = 1
_KEPT: Final = ("ts", "open", "high", "low", "close", "volume", "open_nano", "close_nano", "source")


class Note(Struct, frozen=True, omit_defaults=True):
    """The stored bars and actions of one symbol."""

    symbol: str
    file: str = ""
    digest: str = ""
    rows: int = 0
    covered: Ranges = ()
    actions: tuple[tuple[int, str, int, int, int], ...] = ()
    actions_covered: Ranges = ()
    format: int = _FORMAT


class Shelf:
    """One series: `folder`/<symbol>.json and `folder`/<symbol>-<checksum>.parquet. Its methods block.

    A damaged file is renamed to end in ".bad" and counts as absent; `put_aside` lists it. Methods raise OSError where a
    file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.put_aside: Final[list[Path]] = []

    def note(self, symbol: str) -> Note:
        """The note of a symbol; an empty one where it is missing or damaged."""
        path = self._path(symbol)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return Note(symbol)
        seal, _, body = data.partition(b"\n")
        try:
            note = _decoder.decode(body) if seal == _seal(body) else None
        except msgspec.DecodeError:
            note = None
        if note is None or note.symbol != symbol or note.format != _FORMAT:
            self._aside(path)
            return Note(symbol)
        return note

    def bars(self, note: Note, column: int) -> Rows | None:
        """Return the stored bars that a note names, with the column number `column`.

        Returns None where their file is missing or damaged.
        """
        if not note.file:
            return rows_of(())
        path = self.folder / note.file
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if _digest(data) != note.digest:
            self._aside(path)
            return None
        frame = pl.read_parquet(data)
        kept = {name: frame[name].to_numpy().copy() for name in _KEPT}
        return Rows(column=np.full(len(frame), column, dtype=np.int64), **kept)

    def keep(self, note: Note, rows: Rows | None = None) -> Note:
        """Store a note and, where given, its bars, atomically. Returns the stored note."""
        self.folder.mkdir(parents=True, exist_ok=True)
        old = note.file
        if rows is not None:
            frame = pl.DataFrame({name: getattr(rows, name) for name in _KEPT})
            memory = BytesIO()
            frame.write_parquet(memory, compression="zstd")
            data = memory.getvalue()
            digest = _digest(data)
            name = f"{_stem(note.symbol)}-{digest[:16]}.parquet"
            note = msgspec.structs.replace(note, file=name, digest=digest, rows=len(rows))
            write_whole(self.folder / name, data, 0o600)
        body = _encoder.encode(note)
        write_whole(self._path(note.symbol), _seal(body) + b"\n" + body, 0o600)
        if old and old != note.file:
            remove(self.folder / old, missing_ok=True)
        return note

    def notes(self) -> list[Note]:
        """Return the notes that cover bars or actions, in the order of their file names.

        A note that cannot be read is renamed to end in ".bad". Raises OSError where a file cannot be read.
        """
        notes = []
        for path in sorted(self.folder.glob("*.json")):
            body = path.read_bytes().partition(b"\n")[2]
            try:
                notes.append(self.note(_decoder.decode(body).symbol))
            except msgspec.DecodeError:
                self._aside(path)
        return [note for note in notes if note.covered or note.actions_covered]

    def _path(self, symbol: str) -> Path:
        return self.folder / f"{_stem(symbol)}.json"

    def _aside(self, path: Path) -> None:
        self.put_aside.append(move(path, path.with_name(path.name + ".bad")))


def merged(ranges: Ranges, more: tuple[int, int]) -> Ranges:
    """`ranges` and one more, with touching ones joined."""
    out: list[tuple[int, int]] = []
    for begin, end in sorted([*ranges, more]):
        if begin >= end:
            continue
        if out and begin <= out[-1][1]:
            out[-1] = (out[-1][0], max(end, out[-1][1]))
        else:
            out.append((begin, end))
    return tuple(out)


def uncovered(ranges: Ranges, start: int, end: int) -> Ranges:
    """The parts of [start, end) that no range covers."""
    out = []
    for begin, stop in ranges:
        if stop <= start or begin >= end:
            continue
        if begin > start:
            out.append((start, begin))
        start = max(start, stop)
    if start < end:
        out.append((start, end))
    return tuple(out)


def packed(actions: Sequence[ActionRow]) -> tuple[tuple[int, str, int, int, int], ...]:
    """Actions in the form of a note."""
    return tuple((a.day_ns, a.kind, a.numerator, a.denominator, a.cash_nano) for a in actions)


def unpacked(note: Note, column: int) -> list[ActionRow]:
    """The actions of a note, as actions of `column`."""
    return [ActionRow(day_ns, column, *fields) for day_ns, *fields in note.actions]  # type: ignore[arg-type]


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Note)


def _stem(symbol: str) -> str:
    """A symbol as a file name: BTC/USD becomes BTC%2FUSD, and a leading dot is escaped."""
    name = quote(symbol, safe="")
    return "%2E" + name[1:] if name.startswith(".") else name


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=32).hexdigest()


def _seal(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()
