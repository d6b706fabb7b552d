"""The files of a cache of bars: a folder for each series; in it, a parquet file and a JSON file (note) for each symbol.

The note names the parquet file, its checksum and the stored time ranges, and is replaced atomically: a parquet file
that no note names is ignored. polars can abort the process on a damaged file, so that only files with the right
checksum are read.
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
"""Time ranges [begin, end) in ns UTC, disjoint and ascending."""

_FORMAT: Final = 1
_KEPT: Final = ("ts", "open", "high", "low", "close", "volume", "open_nano", "close_nano", "source")


class Note(Struct, frozen=True, omit_defaults=True):
    """The record of one symbol's stored bars and actions.

    `file` is the parquet file, `digest` its checksum and `rows` its number of bars. `covered` and `actions_covered` are
    the ranges for which bars and actions are stored. An action is (ex date in ns, kind, numerator, denominator, cash in
    nano-currency).
    """

    symbol: str
    file: str = ""
    digest: str = ""
    rows: int = 0
    covered: Ranges = ()
    actions: tuple[tuple[int, str, int, int, int], ...] = ()
    actions_covered: Ranges = ()
    format: int = _FORMAT


class Shelf:
    """The files of one series: `folder`/<symbol>.json and `folder`/<symbol>-<checksum>.parquet. Its methods block.

    A damaged file is renamed to end in ".bad" and counts as absent; `put_aside` lists such files. Methods raise OSError
    where a file cannot be read or written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.put_aside: Final[list[Path]] = []

    def note(self, symbol: str) -> Note:
        """Return the note of a symbol; an empty note if it is missing or damaged.

        The first line of its file is a checksum (seal) of the remainder.
        """
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
            self._put_aside(path)
            return Note(symbol)
        return note

    def bars(self, note: Note, column: int) -> Rows | None:
        """Return the stored bars that a note names, as bars of `column`; None if their file is missing or damaged."""
        if not note.file:
            return rows_of(())
        path = self.folder / note.file
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        if _digest(data) != note.digest:
            self._put_aside(path)
            return None
        frame = pl.read_parquet(data)
        stored_columns = {name: frame[name].to_numpy().copy() for name in _KEPT}
        return Rows(column=np.full(len(frame), column, dtype=np.int64), **stored_columns)

    def keep(self, note: Note, rows: Rows | None = None) -> Note:
        """Store a note and, unless `rows` is None, its bars, atomically. Returns the stored note.

        The bars are written before the note that names them, and the old file is removed last.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        old_file = note.file
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
        if old_file and old_file != note.file:
            remove(self.folder / old_file, missing_ok=True)
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
                self._put_aside(path)
        return [note for note in notes if note.covered or note.actions_covered]

    def _path(self, symbol: str) -> Path:
        return self.folder / f"{_stem(symbol)}.json"

    def _put_aside(self, path: Path) -> None:
        self.put_aside.append(move(path, path.with_name(path.name + ".bad")))


def merged(ranges: Ranges, added: tuple[int, int]) -> Ranges:
    """Return `ranges` with the range `added`; ranges that touch or overlap are joined."""
    joined_ranges: list[tuple[int, int]] = []
    for begin, end in sorted([*ranges, added]):
        if begin >= end:
            continue
        if joined_ranges and begin <= joined_ranges[-1][1]:
            joined_ranges[-1] = (joined_ranges[-1][0], max(end, joined_ranges[-1][1]))
        else:
            joined_ranges.append((begin, end))
    return tuple(joined_ranges)


def uncovered(ranges: Ranges, start: int, end: int) -> Ranges:
    """Return the parts of [start, end) that no range covers."""
    gaps = []
    for begin, stop in ranges:
        if stop <= start or begin >= end:
            continue
        if begin > start:
            gaps.append((start, begin))
        start = max(start, stop)
    if start < end:
        gaps.append((start, end))
    return tuple(gaps)


def packed(actions: Sequence[ActionRow]) -> tuple[tuple[int, str, int, int, int], ...]:
    return tuple((a.day_ns, a.kind, a.numerator, a.denominator, a.cash_nano) for a in actions)


def unpacked(note: Note, column: int) -> list[ActionRow]:
    """Return the actions of a note, as actions of `column`."""
    return [ActionRow(day_ns, column, *fields) for day_ns, *fields in note.actions]  # type: ignore[arg-type]


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Note)


def _stem(symbol: str) -> str:
    """Return a symbol as a file name: BTC/USD becomes BTC%2FUSD, and a leading dot is escaped."""
    name = quote(symbol, safe="")
    return "%2E" + name[1:] if name.startswith(".") else name


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=32).hexdigest()


def _seal(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()
