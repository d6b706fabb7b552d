"""Reads a regular file of bounded size without waiting: no pipe, device or lease of another process can block it."""

import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

MIB: Final = 1 << 20


class NotRead(Exception):
    """The file is not read; the text is a predicate: "is not a regular file"."""


class Content(NamedTuple):
    """The content of a file, and its status when it was read."""

    data: bytes
    status: os.stat_result


def read_regular(path: Path, most_bytes: int = MIB, *, links: bool = True) -> Content:
    """A regular file of at most `most_bytes`. Raises FileNotFoundError without one, and NotRead.

    A link is followed where `links` is true.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if links else os.O_NOFOLLOW)
    try:
        handle = os.open(path, flags)
    except FileNotFoundError:
        raise
    except BlockingIOError:
        raise NotRead("is leased by another process for writing") from None
    except (OSError, ValueError) as error:  # a path with a zero byte is a ValueError
        raise _unreadable(error) from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise NotRead("is not a regular file")
        data = bytearray()
        while len(data) <= most_bytes and (part := os.read(handle, most_bytes + 1 - len(data))):
            data += part
    except OSError as error:
        raise _unreadable(error) from None
    finally:
        os.close(handle)
    if len(data) > most_bytes:
        raise NotRead(f"has more than {most_bytes:,} bytes")
    return Content(bytes(data), status)


def _unreadable(error: OSError | ValueError) -> NotRead:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return NotRead(f"cannot be read ({why.lower()})")
