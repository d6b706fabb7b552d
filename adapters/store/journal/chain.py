"""The hash chain over journal rows, and the head file that records how long the chain must be at least.

The head file is written and synced after each durable commit and before any effect leaves the process. A chain that
contains the recorded row is complete. A shorter chain has lost entries whose effects were carried out.
"""

import os
import sys
import zlib
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from quantd.adapters.store.driver import Queries, insert
from quantd.adapters.store.store_errors import StoreDamaged
from quantd.regular_file import NotRead, open_regular, read_regular

GENESIS: Final = bytes(32)
"""The hash before the first row."""

RAW: Final = 0
DEFLATED: Final = 1
"""Values of the column `packing`: the blob is MessagePack, or MessagePack compressed with zlib."""

_DEFLATE_FROM: Final = 4096  # bytes; below this size zlib saves less than the row's own overhead
_SLOT: Final = 256  # bytes
_MAGIC: Final = "quantd-journal-head-1"
_SYNC: Final = os.fsync if sys.platform == "darwin" else os.fdatasync  # macOS has no fdatasync

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[bytes])


def pack(entries: Sequence[bytes]) -> tuple[int, bytes]:
    """Pack entries into one blob. Returns (packing, blob), deflated when that saves a fifth or more."""
    raw = _encoder.encode(entries)
    if len(raw) >= _DEFLATE_FROM:
        small = zlib.compress(raw, 1)
        if len(small) * 5 <= len(raw) * 4:
            return DEFLATED, small
    return RAW, raw


def unpack(packing: int, blob: bytes) -> list[bytes]:
    """Return the entries of a packed blob. Raises StoreDamaged for a blob that cannot be unpacked."""
    try:
        return _decoder.decode(zlib.decompress(blob) if packing == DEFLATED else blob)
    except (zlib.error, msgspec.DecodeError) as wrong:
        raise StoreDamaged(f"a journal blob cannot be unpacked: {wrong}") from None


class Link(Struct, frozen=True):
    """One journal row: the entries first_seq..last_seq of `run`, chained to the previous row by `prev`.

    `codec` is the version of the entries' encoding, `packing` is RAW or DEFLATED.
    """

    number: int
    run: str
    first_seq: int
    last_seq: int
    count: int
    ts: int
    codec: int
    packing: int
    blob: bytes
    prev: bytes
    hash: bytes


JOURNAL_COLUMNS: Final = Link.__struct_fields__
"""Columns of a journal row."""


def link_of(row: Sequence[Any]) -> Link:
    """Convert a database row to a Link. Raises StoreDamaged for a column of a wrong type."""
    try:
        return msgspec.convert(dict(zip(JOURNAL_COLUMNS, row, strict=True)), Link, builtin_types=(bytes,))
    except msgspec.ValidationError as wrong:
        raise StoreDamaged(f"journal: row {row[0]} cannot be read: {wrong}") from None


def link_hash(prev: bytes, fields: Sequence[object], blob: bytes) -> bytes:
    """Return BLAKE2b-256 over the previous hash, the columns `number` to `packing` of the row, and the blob."""
    head = "".join(f"{field}|" for field in (*fields, len(blob)))
    return blake2b(prev + head.encode() + blob, digest_size=32).digest()


def broken(link: Link, prev: bytes, number: int) -> str:
    """Return why the row `link` does not follow the row `number - 1` with hash `prev`; empty when it does.

    The hash covers the first eight fields of the row and its data (`blob`).
    """
    if link.number != number:
        return f"row {number} is missing (next is {link.number})"
    if link.prev != prev:
        return f"row {number} does not follow the row before it"
    if link.hash != link_hash(link.prev, msgspec.structs.astuple(link)[:8], link.blob):
        return (
            f"row {number} (run {link.run}, entries {link.first_seq} to {link.last_seq}) does not match its hash: it "
            "was changed"
        )
    return ""


def row_digest(*fields: object) -> bytes:
    """Return BLAKE2b-128 over the fields of one row outside the hash chain (runs, snapshots, quarantine, outbox)."""
    digest = blake2b(digest_size=16)
    for field in fields:
        data = field if isinstance(field, bytes) else repr(field).encode()
        digest.update(b"%d:" % len(data))  # without lengths, ("ab", "c") and ("a", "bc") would have one digest
        digest.update(data)
    return digest.digest()


def check_run(row: Sequence[Any]) -> list[Any]:
    """Return a row of the table `runs` without its digest. Raises StoreDamaged for a changed row."""
    *fields, digest = row
    if row_digest(*fields) != bytes(digest):
        raise StoreDamaged(f"runs: the row of run {fields[1]} does not match its digest")
    return fields


def insert_digested(driver: Queries, table: str, rows: Iterable[tuple[object, ...]]) -> None:
    """Insert rows with their digests into a table outside the chain, whose last column is `digest`."""
    from quantd.adapters.store.tables.table_models import columns_of  # readers of the chain do without SQLModel

    insert(driver, table, columns_of(table), [(*row, row_digest(*row)) for row in rows])


class Head(Struct, frozen=True):
    """The number and hash of the newest durable journal row."""

    number: int
    run: str
    seq: int
    hash: bytes


def newest(driver: Queries) -> Head:
    """Return the newest row of the journal; number 0 for an empty journal."""
    row = driver.execute("SELECT number, run, last_seq, hash FROM journal ORDER BY number DESC LIMIT 1").fetchone()
    return Head(0, "", 0, GENESIS) if row is None else Head(row[0], row[1], row[2], bytes(row[3]))


def _slot_of(head: Head) -> bytes:
    """Return the content of a slot: the fields of the head with a checksum, padded to the size of a slot."""
    body = f"{_MAGIC} {head.number} {head.run or '-'} {head.seq} {head.hash.hex()}"
    check = blake2b(body.encode(), digest_size=8).hexdigest()
    return f"{body} {check}".encode().ljust(_SLOT - 1) + b"\n"


def _head_in(slot: bytes) -> Head | None:
    """Return the head in a slot; None for an empty, torn or damaged slot."""
    parts = slot.decode("ascii", "replace").split()
    if len(parts) != 6 or parts[0] != _MAGIC:
        return None
    try:
        head = Head(int(parts[1]), "" if parts[2] == "-" else parts[2], int(parts[3]), bytes.fromhex(parts[4]))
    except ValueError:
        return None
    return head if _slot_of(head) == slot else None


class HeadFile:
    """The head file: two slots, written alternately in place, so that an interrupted write leaves the previous slot
    intact."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = 0

    def read(self) -> Head | None:
        """Return the newest head, None without a file. Raises StoreDamaged when neither slot is valid.

        The file has two slots of equal length; a head is written to the slot with the older one, so that an interrupted
        write damages one slot only.
        """
        try:
            data = read_regular(self.path).data
        except FileNotFoundError:
            return None
        except NotRead as why:
            raise StoreDamaged(f"{self.path}: {why}") from None
        slots = [_head_in(data[k : k + _SLOT]) for k in (0, _SLOT)]
        heads = [(slot_head.number, k, slot_head) for k, slot_head in enumerate(slots) if slot_head is not None]
        if not heads:
            raise StoreDamaged(f"{self.path}: the head of the journal cannot be read")
        _, slot, head = max(heads, key=lambda row: row[0])
        self._next = 1 - slot  # the next write replaces the older head
        return head

    def write(self, head: Head) -> None:
        """Write the head and sync the file. Raises OSError; the other slot stays intact."""
        fresh = False
        try:
            fd = open_regular(self.path, os.O_WRONLY)
        except FileNotFoundError:
            fresh = True
            fd = open_regular(self.path, os.O_WRONLY | os.O_CREAT)
        try:
            data = _slot_of(head)
            if os.pwrite(fd, data, self._next * _SLOT) != len(data):
                raise OSError(28, "short write", str(self.path))  # 28 is ENOSPC
            _SYNC(fd)
        finally:
            os.close(fd)
        self._next = 1 - self._next
        if fresh:
            sync(self.path.parent)


def sync(path: Path) -> None:
    """Sync a file, or a folder, so that a new name in it survives a power loss."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
