"""One writer to a state folder: an advisory lock that ends with its process, however that ends."""

import fcntl
import os
from pathlib import Path

from quantd.adapters.store.errors import StoreLocked


class StateLock:
    """Holds `lock` in the folder until `release` or the end of the process. Raises StoreLocked."""

    def __init__(self, folder: Path) -> None:
        path = folder / "lock"
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
        found = os.fstat(self._fd)
        self.seat = f"{boot()}:{found.st_dev}:{found.st_ino}"
        """Names this lock file on this machine since it was booted: whoever holds the lock knows that whatever wrote
        under the same seat before has ended."""

    def release(self) -> None:
        """Give the folder free; a second call does nothing."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def held(self) -> bool:
        return self._fd >= 0


def boot() -> str:
    """What the kernel calls the time since the machine was switched on; the process's own where it does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"process {os.getpid()}"
