"""Bars on disk for a cache: one folder a series, one parquet file a symbol with a signed note beside it.

The note is what counts: it names the parquet file, its checksum and what of time it covers, and is replaced in one
step. polars can abort the process on a damaged file, so no file is shown to it whose checksum is not right.
"""

import os
import tempfile
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

Ranges = tuple[tuple[int, int], ...]
"""Half-open, apart, in order; ns UTC."""

_FORMAT: Final = 1
_KEPT: Final = ("ts", "open", "high", "low", "close", "volume", "open_nano", "close_nano", "source")


class Note(Struct, frozen=True, omit_defaults=True):
    """What is known of one symbol's bars and actions."""

    symbol: str
    file: str = ""
    digest: str = ""
    rows: int = 0
    covered: Ranges = ()
    actions: tuple[tuple[int, str, int, int, int], ...] = ()
    actions_covered: Ranges = ()
    format: int = _FORMAT


class Shelf:
    """One series: `folder`/<symbol>.json with `folder`/<symbol>-<checksum>.parquet. Blocking; OSError where a disk
    fails.

    What is damaged is renamed to end in ".bad" and counts as absent; `put_aside` lists it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder: Final = folder
        self.put_aside: Final[list[Path]] = []

    def note(self, symbol: str) -> Note:
        """What is kept of a symbol; an empty note where there is nothing, or nothing sound."""
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
        """The bars that a note names, as bars of `column`; None where the file is gone or damaged: ask the
        source anew."""
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
        """Store a note and, where given, the bars that it is about; the note as it is now. Either all of it or
        nothing."""
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
            _write(self.folder / name, data)
        body = _encoder.encode(note)
        _write(self._path(note.symbol), _seal(body) + b"\n" + body)
        if old and old != note.file:
            (self.folder / old).unlink(missing_ok=True)
        return note

    def notes(self) -> list[Note]:
        """Every symbol kept here, by name."""
        found = []
        for path in sorted(self.folder.glob("*.json")):
            body = path.read_bytes().partition(b"\n")[2]
            try:
                found.append(self.note(_decoder.decode(body).symbol))
            except msgspec.DecodeError:
                self._aside(path)
        return [note for note in found if note.covered or note.actions_covered]

    def _path(self, symbol: str) -> Path:
        return self.folder / f"{_stem(symbol)}.json"

    def _aside(self, path: Path) -> None:
        bad = path.with_name(path.name + ".bad")
        path.replace(bad)
        self.put_aside.append(bad)


def merged(ranges: Ranges, more: tuple[int, int]) -> Ranges:
    """`ranges` and one more, those that touch made one."""
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
    """What of [start, end) no range covers."""
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
    """Actions as a note keeps them."""
    return tuple((a.day_ns, a.kind, a.numerator, a.denominator, a.cash_nano) for a in actions)


def unpacked(note: Note, column: int) -> list[ActionRow]:
    """The actions of a note, as actions of `column`."""
    rows = []
    for day_ns, kind, numerator, denominator, cash_nano in note.actions:
        rows.append(ActionRow(day_ns, column, kind, numerator, denominator, cash_nano))  # type: ignore[arg-type]
    return rows


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Note)


def _stem(symbol: str) -> str:
    """A symbol as a file's name, whatever it is made of: BTC/USD is BTC%2FUSD, and nothing begins with a dot."""
    name = quote(symbol, safe="")
    return "%2E" + name[1:] if name.startswith(".") else name


def _digest(data: bytes) -> str:
    return blake2b(data, digest_size=32).hexdigest()


def _seal(body: bytes) -> bytes:
    return blake2b(body, digest_size=16).hexdigest().encode()


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing, on the disk when this returns."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
