"""The token that may change a running daemon: made at the first start, readable by its owner alone."""

import contextlib
import os
import secrets
from pathlib import Path


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
