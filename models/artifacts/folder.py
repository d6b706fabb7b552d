"""The folder of an artifact: manifest.json, sealed by its digest, and the files in it. No code is executed.

policy.onnx is for trading and weights.safetensors for training. A wheel has weights.parts in place of large weights: it
names the tensors that policy.onnx has too (setup.py writes it). golden.bin has probes (recorded inputs) with their
answers as little-endian float64. card.md is for readers.

What can go wrong, and what prevents it. A file could be changed after it was checked: each file is read once, and the
hashed bytes are the bytes that are used. A file could be so large that reading it ends the process: at most the size in
the manifest is read. A field could be hidden in a manifest: the file is compared with the canonical text of the
manifest. A format could run code when it is read: no such format is used.

What the order of the steps guarantees. The manifest is written last. After an interrupted write the hashes in it do not
match the files, and the artifact is refused.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from quantd.models.artifacts.manifest import MANIFEST, SCHEMA, ArtifactError, FileEntry, Manifest
from quantd.regular_file import open_regular, write_whole
from quantd.trading.market import Floats

MANIFEST_BYTES: Final = 1 << 20
FILE_BYTES: Final = 1 << 28
"""Maximum size of a file of an artifact (256 MiB)."""

PARTS: Final = "weights.parts"
"""Name of the file that stands for weights.safetensors in a wheel."""

_Parts = msgspec.json.Decoder(list[tuple[int, int]])

M = TypeVar("M", bound=Manifest)


def render(manifest: Manifest) -> bytes:
    """Return the canonical text of a manifest; NaN and infinity become null.

    Empty fields that were added in later versions are omitted, so that older manifests keep the bytes that were signed.
    """
    table = msgspec.to_builtins(manifest)
    for *parents, field in manifest.LATER:  # the path of a field that was added later
        holder = table
        for name in parents:
            holder = holder[name]
        if not holder[field]:
            del holder[field]
    return msgspec.json.format(msgspec.json.encode(table, order="sorted"), indent=1) + b"\n"


def first_line(error: Exception) -> str:
    """Return the first line of an exception's text, shortened; its class name where it has none."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def locked(path: Path, fault: Exception) -> Iterator[None]:
    """A context manager that holds an exclusive lock on the file `path`. Raises `fault` where another process holds
    it."""
    with open(open_regular(path, os.O_WRONLY | os.O_CREAT, 0o666), "ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise fault from None
        yield


def digest_of(data: bytes) -> str:
    """Return the hex BLAKE2b-256 of some bytes."""
    return blake2b(data, digest_size=32).hexdigest()


def sealed(manifest: M) -> M:
    """Return the manifest with its digest, computed over the manifest with an empty `digest`."""
    bare = msgspec.structs.replace(manifest, digest="")
    return msgspec.structs.replace(bare, digest=digest_of(render(bare)))


def write(folder: Path, manifest: M, contents: dict[str, bytes]) -> M:
    """Write the files of an artifact, and its manifest with their hashes. Returns the manifest as written."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in manifest.FILES:
        write_whole(folder / name, contents[name], durable=False)
    entries = {name: FileEntry(len(contents[name]), digest_of(contents[name])) for name in manifest.FILES}
    manifest = sealed(msgspec.structs.replace(manifest, files=entries))
    # last: its hashes refuse the files of an interrupted write
    write_whole(folder / MANIFEST, render(manifest), durable=False)
    return manifest


def numbers(*arrays: Floats) -> bytes:
    """Return the bytes of several arrays in sequence, little-endian float64 as in golden.bin."""
    return b"".join(array.astype("<f8").tobytes() for array in arrays)


def read(folder: Path, kind: type[M]) -> tuple[M, dict[str, bytes]]:
    """Read the manifest of `folder` and the content of its files. Raises ArtifactError unless all match the hashes
    in the manifest."""
    manifest = read_manifest(folder / MANIFEST, kind)
    if set(manifest.files) != set(kind.FILES):
        raise ArtifactError(f"{folder / MANIFEST}: files are {sorted(manifest.files)}; {list(kind.FILES)} are expected")
    contents: dict[str, bytes] = {}
    for name in kind.FILES:  # in this order: the graph precedes the weights
        contents[name] = _checked(folder / name, manifest.files[name], contents.get("policy.onnx", b""))
    return manifest, contents


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a regular file of at most `limit` bytes. Raises ArtifactError for a larger file, a link, and a missing
    file."""
    try:
        if path.is_symlink() or not path.is_file():
            raise ArtifactError(f"{path}: no such file (links are not followed)")
        if path.stat().st_size > limit:
            raise ArtifactError(f"{path}: {path.stat().st_size} bytes are too many; at most {limit} are expected")
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise ArtifactError(f"{path}: {error.strerror}") from None


class _Kind(Struct):
    """A manifest of which only the field `kind` is decoded."""

    kind: str = ""


def kind_of(folder: Path) -> str:
    """Return the kind in a manifest, "" for a scorer. The kind is not verified here: it only selects the code that
    verifies the artifact.

    Raises ArtifactError for a manifest that cannot be read.
    """
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(read_bytes(path, MANIFEST_BYTES), type=_Kind).kind
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path}: {error}") from None


def read_manifest(path: Path, kind: type[M]) -> M:
    """Read a manifest. Raises ArtifactError unless its digest shows that it is unchanged."""
    data = read_bytes(path, MANIFEST_BYTES)
    try:
        manifest = msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path}: {error}") from None
    if manifest.schema != SCHEMA:
        raise ArtifactError(f"{path}: schema {manifest.schema}; this quantd reads {SCHEMA}")
    if render(manifest) != data or manifest != sealed(manifest):
        raise ArtifactError(f"{path}: it was changed after it was written (its digest differs)")
    return manifest


def _checked(path: Path, entry: FileEntry, graph: bytes) -> bytes:
    """Return the content of a file. Raises ArtifactError unless size and hash agree with its entry."""
    if not 0 <= entry.size <= FILE_BYTES:
        raise ArtifactError(f"{path}: the manifest lists {entry.size} bytes; at most {FILE_BYTES} are permitted")
    if path.stem == "weights" and not path.exists() and path.with_name(PARTS).exists():
        path = path.with_name(PARTS)
        data = _joined(path, entry.size, graph)
    else:
        data = read_bytes(path, entry.size)
    if len(data) != entry.size:
        raise ArtifactError(f"{path}: {len(data)} bytes; the manifest says {entry.size}")
    if digest_of(data) != entry.blake2b:
        raise ArtifactError(f"{path}: its content is not what the manifest says (BLAKE2b differs)")
    return data


def _joined(path: Path, size: int, graph: bytes) -> bytes:
    """Return the weights of which weights.parts has what `graph` lacks, at most `size` bytes.

    Its first line lists the parts in order, each as (start in the graph, bytes); a part that starts at -1 follows the
    line.
    """
    line, _, rest = read_bytes(path, size + MANIFEST_BYTES).partition(b"\n")
    try:
        parts = _Parts.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path}: {error}") from None
    if not all(start >= -1 and 0 < count <= size for start, count in parts) or sum(n for _, n in parts) != size:
        raise ArtifactError(f"{path}: its parts are not the {size} bytes of the weights")
    joined, at = [], 0
    for start, count in parts:
        joined.append(rest[at : at + count] if start < 0 else graph[start : start + count])
        at += count if start < 0 else 0
    return b"".join(joined)
