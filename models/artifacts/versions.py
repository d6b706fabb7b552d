"""Versions of a model: a folder of complete artifacts, with a file `current` that names one of them.

    models/mine/momentum/2026-10/manifest.json …
    models/mine/momentum/2026-11/manifest.json …
    models/mine/momentum/current        the text 2026-11
    models/mine/momentum/history        every change: when, from, to, digest, why

The file `current` is the pointer to the current version.

What can go wrong, and what prevents it. A start could read the pointer while it is changed: the file is replaced in one
step. A version could become current that cannot be loaded: the caller loads a version before it calls `point`. A change
could be missing in the history: the change is written there before the pointer is replaced. If the replacement then
fails, the history has a line too many, never one too few. Symbolic links are not followed.
"""

import re
from pathlib import Path
from typing import Final

from quantd.models.artifacts.folder import read_bytes
from quantd.models.artifacts.manifest import MANIFEST, ArtifactError
from quantd.regular_file import write_whole

CURRENT: Final = "current"
HISTORY: Final = "history"

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def resolved(folder: Path) -> Path:
    """Return the folder of the current version, if `folder` is a folder of versions; any other folder is returned
    unchanged.

    Raises ArtifactError where the pointer to the current version is unreadable or names no version.
    """
    pointer = folder / CURRENT
    if (folder / MANIFEST).exists() or not (pointer.exists() or pointer.is_symlink()):
        return folder
    return version_in(folder, current(folder))


def current(folder: Path) -> str:
    """Return the name of the current version. Raises ArtifactError where the pointer to it is missing or unreadable."""
    return read_bytes(folder / CURRENT, 80).decode("utf-8", "replace").strip()


def version_in(folder: Path, version: str) -> Path:
    """Return the folder of a version. Raises ArtifactError for a version that does not exist."""
    path = folder / version
    if not _VERSION.fullmatch(version) or path.is_symlink() or not (path / MANIFEST).is_file():
        existing = ", ".join(versions(folder)) or "none"
        raise ArtifactError(f"{folder}: there is no version {version[:64]!r}; there are: {existing}")
    return path


def versions(folder: Path) -> list[str]:
    """Return the names of the versions of a model in its folder, sorted."""
    if not folder.is_dir():
        return []
    return sorted(
        path.name
        for path in folder.iterdir()
        if _VERSION.fullmatch(path.name) and not path.is_symlink() and (path / MANIFEST).is_file()
    )


def point(folder: Path, version: str, digest: str, when: str, why: str = "") -> str:
    """Make `version` the current version, and record the change. Returns the previous version, "" for none.

    The pointer, a file with the version's name, is replaced atomically. `digest` is the digest of the version's
    manifest, `when` the time and `why` the reason for the record. The caller has loaded the version. Raises
    ArtifactError for a version that the folder does not have.
    """
    version_in(folder, version)
    try:
        previous = current(folder)
    except ArtifactError:
        previous = ""
    reason = " ".join(why.split())[:200]
    with (folder / HISTORY).open("a") as log:
        log.write(f"{when} {previous or '-'} -> {version} {digest[:16]} {reason}".rstrip() + "\n")
    write_whole(folder / CURRENT, f"{version}\n".encode())
    return previous
