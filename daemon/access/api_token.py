"""The API token, created at the first start and readable by its owner alone, and file rights of the state folder.

What can go wrong: another user reads the token or writes the store, and so commands the daemon. Excess rights are
removed. A path of another user, a shared folder, and a file system without rights are refused instead,
because there they cannot be removed.

The token is created with its final rights and only where no file is. So no one else can read it at any time, and it
replaces nothing. An interrupted start may leave an empty file. It is removed, because an empty token would refuse every
request.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from quantd.adapters.store.lock import FILE, HEAD
from quantd.regular_file import Refused, open_regular, remove, restrict
from quantd.state_folder import FILES, FOLDERS

WRITE: Final = 0o002
ANY: Final = 0o077
"""Mode bits that must be off: WRITE is write for others; ANY is every right of group and others."""

EMPTY_VOLUME: Final = frozenset({"lost+found"})
"""Names in the root of a file system without files."""


class Insecure(Exception):
    """Other users may write the state or read the token, and this process may not change the rights."""


def loose(folder: Path, *private: str, write: int = WRITE) -> Iterator[tuple[Path, int]]:
    """(path, bits) of each path whose mode has bits that must be off.

    The paths are the state folder, its store and its `private` files; `write` are the write bits to check.
    """
    shared = ((folder, write), (folder / FILE, write), (folder / HEAD, write))
    for path, bits in (*shared, *((folder / name, ANY) for name in private)):
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(path, follow_symlinks=path == folder)
            if not stat.S_ISLNK(status.st_mode) and (excess := stat.S_IMODE(status.st_mode) & bits):
                yield path, excess


def loose_text(path: Path, bits: int) -> str:
    """The excess right, and the command that removes it."""
    if bits & 0o044:
        return f"other users may read {path}: chmod 600 {path}"
    return f"other users may write {path}: chmod go-w {path}"


def tighten(folder: Path, token: str) -> list[str]:
    """Removes excess rights, one sentence per change. Raises Insecure for another user's path or a shared folder."""
    changes = []
    private = "choose a private folder with --state or [quantd] state"
    for path, bits in loose(folder, token):
        text = loose_text(path, bits)
        if path.stat().st_mode & stat.S_ISVTX:
            raise Insecure(f"{text}. It is a shared folder (sticky bit): {private}")
        if path == folder and (name := _foreign(folder, token)):
            raise Insecure(f"{text}. It is no state folder yet and holds {name}: {private}")
        try:
            restrict(path.resolve() if path == folder else path, bits)  # as `loose`, which looks behind a link
        except Refused as why:
            raise Insecure(f"{text}. It {why.strerror}: {private}") from None
        except OSError as why:
            raise Insecure(f"{text}. quantd cannot change the mode: {why.strerror}") from None
        changes.append(text)
    if remaining := next(loose(folder, token), None):
        raise Insecure(f"{loose_text(*remaining)}. Its file system stores no mode bits: choose another state folder")
    return changes


def _foreign(folder: Path, token: str) -> str:
    """The first name in a folder that holds nothing of quantd; empty for an empty folder and for a state folder.

    Whoever shares such a folder with others must not lose them their rights by naming it once.
    """
    names = set(os.listdir(folder)) - EMPTY_VOLUME
    return "" if names & {*FILES, *FOLDERS, token, "HALT"} else min(names, default="")


def token_of(folder: Path, name: str = "token") -> str:
    """The token in the file `name` of a state folder; created when there is none."""
    path = folder / name
    with contextlib.suppress(FileNotFoundError):
        with open(open_regular(path, os.O_RDONLY), errors="surrogateescape") as file:
            if token_text := file.read().strip():
                return token_text
        remove(path)  # an interrupted start left an empty file, with which every request would be refused
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = secrets.token_urlsafe(32)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(token + "\n")
    return token
