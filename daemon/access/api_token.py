"""The API token, created at the first start and readable by its owner alone, and file rights of the state folder.

What can go wrong: another user reads the token or writes the store, and so commands the daemon. So permissions that the
owner does not need are removed. On a path of another user, in a shared folder and on a file system without permission
bits they cannot be removed, and the start is refused.

The token file is created with its final rights, and only where no file exists. So no other user can read it at any
time, and it replaces nothing. An empty file, which an interrupted start may leave, is removed first, because every
request would be refused with an empty token.
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
"""Mode bits that must be off: WRITE is the write right of others; ANY is every right of group and others."""

EMPTY_VOLUME: Final = frozenset({"lost+found"})
"""Names in the root folder of an empty file system."""


class Insecure(Exception):
    """Other users may write the state or read the token, and this process cannot change that."""


def loose(folder: Path, *private: str, write: int = WRITE) -> Iterator[tuple[Path, int]]:
    """Yield (path, excess permission bits) of each path that other users can access more widely than they may.

    The checked paths are the state folder, its store and its files `private`; `write` are the bits of write permission
    to check. A private file may give other users no permission at all.
    """
    shared = ((folder, write), (folder / FILE, write), (folder / HEAD, write))
    for path, bits in (*shared, *((folder / name, ANY) for name in private)):
        with contextlib.suppress(FileNotFoundError):
            # a link has no permissions of its own; of these paths only the state folder is followed
            status = os.stat(path, follow_symlinks=path == folder)
            if not stat.S_ISLNK(status.st_mode) and (excess := stat.S_IMODE(status.st_mode) & bits):
                yield path, excess


def loose_text(path: Path, bits: int) -> str:
    """Return a sentence about the excess permission `bits` of `path`, with the command that removes them."""
    if bits & 0o044:
        return f"other users may read {path}: chmod 600 {path}"
    return f"other users may write {path}: chmod go-w {path}"


def tighten(folder: Path, token: str) -> list[str]:
    """Remove excess permissions of the state folder; return a sentence about each change.

    `token` is the name of the token file.
    Raises Insecure for another user's path, a shared folder, and a file system without mode bits.
    """
    changes = []
    remedy = "choose a private folder with --state or [quantd] state"
    for path, bits in loose(folder, token):
        text = loose_text(path, bits)
        if path.stat().st_mode & stat.S_ISVTX:
            raise Insecure(f"{text}. It is a shared folder (sticky bit): {remedy}")
        if path == folder and (name := _foreign(folder, token)):
            raise Insecure(f"{text}. It is no state folder yet and holds {name}: {remedy}")
        try:
            # `loose` follows a link for the state folder only
            restrict(path.resolve() if path == folder else path, bits)
        except Refused as why:
            raise Insecure(f"{text}. It {why.strerror}: {remedy}") from None
        except OSError as why:
            raise Insecure(f"{text}. quantd cannot change the mode: {why.strerror}") from None
        changes.append(text)
    if remaining := next(loose(folder, token), None):
        raise Insecure(f"{loose_text(*remaining)}. Its file system stores no mode bits: choose another state folder")
    return changes


def _foreign(folder: Path, token: str) -> str:
    """Return the name of the first file in a folder that is no state folder; empty for an empty folder or a state
    folder.

    A folder that users share must not lose its permissions because somebody names it as state folder by mistake. A
    state folder has a file of quantd.
    """
    names = set(os.listdir(folder)) - EMPTY_VOLUME
    return "" if names & {*FILES, *FOLDERS, token, "HALT"} else min(names, default="")


def token_of(folder: Path, name: str = "token") -> str:
    """Return the token in the file `name` of a state folder; created when there is none."""
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
