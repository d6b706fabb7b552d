"""The archive of a recorded run: its configuration, its market and its store, packed to the same bytes each time.

An archive has no name of the machine that recorded it. `neutral` removes them, and `opened` puts the folder of the
unpacked store in their place.
"""

import io
import lzma
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from quantd.adapters.store.handle import read_only
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.migrations.upgrade import migrate
from quantd.daemon.recovery.replay import SavedConfig

HERE: Final = Path(__file__).parent
STORES: Final = HERE / "stores"
PLACE: Final = "/recorded"
"""The folder that stands in an archive for that of the recorder."""

KEPT: Final = ("*.toml", "*.csv", "state/quantd.db", "state/journal.head", "state/configs/*.json")
"""What a replay needs. Tokens, locks, caches and addresses are left out."""


class StoreMissing(Exception):
    """There is no archive of this name; the text has the remedy."""


def path_of(name: str) -> Path:
    """The archive of a recorded run. Raises StoreMissing."""
    path = STORES / f"{name}.tar.xz"
    if not path.exists():
        where, folder = path.relative_to(HERE.parent.parent), HERE.relative_to(HERE.parent.parent)
        raise StoreMissing(
            f"{where} is missing: restore it with `git checkout -- {folder}`. "
            f"`python -m tests.recorded_runs {name}` records another run with the present code, which proves less"
        )
    return path


def neutral(folder: Path) -> None:
    """Removes from a stopped run what names its machine: folders of configurations, the lease, its host."""
    for file in (folder / "state" / "configs").iterdir():
        saved = msgspec.json.decode(file.read_bytes(), type=SavedConfig)
        file.write_bytes(msgspec.json.encode(replace(saved, file=f"{PLACE}/{Path(saved.file).name}", environ={})))
    with closing(sqlite3.connect(folder / "state" / "quantd.db", isolation_level=None)) as db:
        db.execute("DELETE FROM lease")
        db.execute("DELETE FROM identities")
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("VACUUM")


def bundle(folder: Path) -> bytes:
    """The files of a neutral run in one; the same files give the same bytes."""
    files = sorted(file for pattern in KEPT for file in folder.glob(pattern))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for file in files:
            entry = tarfile.TarInfo(str(file.relative_to(folder)))
            data = file.read_bytes()
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def pack(folder: Path, path: Path) -> None:
    """Writes the archive of a neutral run."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(lzma.compress(bundle(folder), preset=9 | lzma.PRESET_EXTREME))


def unpack(path: Path, folder: Path) -> None:
    """Unpacks an archive as it is."""
    with tarfile.open(path, mode="r:xz") as archive:
        archive.extractall(folder, filter="data")


def place(folder: Path) -> None:
    """Makes the saved configurations of an unpacked archive name its folder, and gives its store today's tables."""
    migrate(folder / "state")
    for file in (folder / "state" / "configs").iterdir():
        file.write_bytes(file.read_bytes().replace(PLACE.encode(), str(folder).encode()))


@contextmanager
def opened(path: Path) -> Iterator[tuple[Path, Records]]:
    """(folder, its records) of an archive in a temporary folder, or of a folder that was unpacked and placed."""
    if path.is_dir():
        yield path, read_only(path / "state")
        return
    with tempfile.TemporaryDirectory(prefix="quantd-recorded-") as folder:
        unpack(path, Path(folder))
        place(Path(folder))
        yield Path(folder), read_only(Path(folder) / "state")
