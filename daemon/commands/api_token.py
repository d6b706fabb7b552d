"""The token that may change a running daemon: made at the first start, readable by its owner alone. And the rights of
others on the state folder."""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from quantd.adapters.store.handle import FILE, HEAD

WRITE: Final = 0o002
ANY: Final = 0o077
"""Rights that nobody else may have: to write as anybody, or any right as group or anybody."""


class Insecure(Exception):
    """Others may write the state or read the token, and this process may not change that."""


def loose(folder: Path, *private: str, write: int = WRITE) -> Iterator[tuple[Path, int]]:
    """(path, bits) of the state folder, its store and its `private` files where others have rights `bits` that they
    must not have; `write` are those to write."""
    shared = ((folder, write), (folder / FILE, write), (folder / HEAD, write))
    for path, bits in (*shared, *((folder / name, ANY) for name in private)):
        with contextlib.suppress(FileNotFoundError):
            if found := stat.S_IMODE(path.stat().st_mode) & bits:
                yield path, found


def loose_text(path: Path, bits: int) -> str:
    """What others may do, and the command that ends it."""
    if bits & 0o044:
        return f"others may read {path}: chmod 600 {path}"
    return f"others may write {path}: chmod go-w {path}"


def tighten(folder: Path, token: str) -> list[str]:
    """Take such rights from others; what was done, one sentence each. Raises Insecure for what belongs to somebody
    else, or is shared by its nature, as /tmp is."""
    done = []
    for path, bits in loose(folder, token):
        found = path.stat()
        text = loose_text(path, bits)
        if found.st_uid != os.geteuid() or found.st_mode & stat.S_ISVTX:
            owner = "is a folder for everybody" if found.st_mode & stat.S_ISVTX else "belongs to another user"
            raise Insecure(f"{text}. It {owner}: give quantd a folder of its own with --state or [quantd] state")
        try:
            path.chmod(stat.S_IMODE(found.st_mode) & ~bits)
        except OSError as why:
            raise Insecure(f"{text}. quantd cannot do it: {why.strerror}") from None
        done.append(text)
    if left := next(loose(folder, token), None):
        raise Insecure(
            f"{loose_text(*left)}. Its file system keeps no rights: choose another place for the state folder"
        )
    return done


def token_of(folder: Path, name: str = "token") -> str:
    """The token in the file `name` of a state folder, made when there is none."""
    path = folder / name
    with contextlib.suppress(FileNotFoundError):
        if found := path.read_text().strip():
            return found
        path.unlink()  # a start that was cut short left an empty file, which would let nobody in
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    token = secrets.token_urlsafe(32)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(token + "\n")
    return token
