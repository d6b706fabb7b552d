"""The names of a store's files in a state folder, and the advisory lock that makes one process its only writer.

The operating system releases the lock when the process ends.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

from quantd.adapters.store.store_errors import StoreLocked
from quantd.regular_file import open_regular

FILE: Final = "quantd.db"
HEAD: Final = "journal.head"
ARCHIVES: Final = "archives"

BACKTESTS: Final = "backtests"
"""Folder of the kept journals of backtests, in a state folder."""


class StateLock:
    """Holds the file `lock` in the state folder until `release` or the end of the process.

    Raises StoreLocked where another process holds the file.
    """

    def __init__(self, folder: Path) -> None:
        """Lock the folder, and write the process id into the file for the message to another process."""
        path = self._path = folder / "lock"
        self._fd = open_regular(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._fd, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._fd)
            raise StoreLocked(
                f"{path}: process {holder} already uses this state folder; stop it, or give another with --state"
            ) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{os.getpid()}\n".encode(), 0)
        stat = os.fstat(self._fd)
        self.seat = f"{boot()}:{stat.st_dev}:{stat.st_ino}"
        """Identifies this lock file on this machine since boot.

        The lock's holder thus knows that an earlier writer with the same seat has ended.
        """

    def release(self) -> None:
        """Release the lock of the state folder; a second call has no effect."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def lost(self) -> str:
        """Return the reason why another process could lock the folder although this one holds the lock; empty if none
        could."""
        locked = os.fstat(self._fd)
        try:
            on_disk = os.stat(self._path, follow_symlinks=False)
        except FileNotFoundError:
            return f"{self._path} was removed"
        except OSError as why:
            return f"{self._path}: {(why.strerror or str(why)).lower()}"
        return (
            "" if (locked.st_dev, locked.st_ino) == (on_disk.st_dev, on_disk.st_ino) else f"{self._path} was replaced"
        )

    @property
    def held(self) -> bool:
        return self._fd >= 0


def holder(folder: Path) -> int | None:
    """Return the process id of the holder of a state folder's lock; None if nobody holds it."""
    try:
        handle = open_regular(folder / "lock", os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else None
    finally:
        os.close(handle)
    return None


def boot() -> str:
    """Return the kernel's identifier of this boot; where the kernel has none, an identifier of this process."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"process {os.getpid()}"
