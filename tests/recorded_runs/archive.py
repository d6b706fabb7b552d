"""The archive of a recorded run: its configuration, its market and its store, packed to the same bytes each time.

An archive has no name of the machine that recorded it; `opened` puts the folder of the unpacked store in its place.
"""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from quantd.adapters.store.handle import read_only
from quantd.adapters.store.journal.records import Records
from quantd.adapters.store.migrations.upgrade import migrate

HERE: Final = Path(__file__).parent
STORES: Final = HERE / "stores"
PLACE: Final = "/recorded"
"""The folder that stands in an archive for that of the recorder."""


def path_of(name: str) -> Path:
    """The archive of a recorded run."""
    return STORES / f"{name}.tar.xz"


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
