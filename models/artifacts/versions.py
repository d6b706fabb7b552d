"""Versions of a model: a folder of complete artifacts, with a file `current` that names one of them.

    models/mine/momentum/2026-10/manifest.json …
    models/mine/momentum/2026-11/manifest.json …
    models/mine/momentum/current        the text 2026-11
    models/mine/momentum/history        every change: when, from, to, digest, why

What can go wrong. A start reads the pointer while it is changed, or a version becomes current that cannot be loaded.
The caller loads a version before `point`, and the pointer is replaced in one step. The change is written to the history
first: where the pointer cannot be replaced, the history has a line too many, never one too few. Links are not followed.
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
    """Return the current version of a folder of versions, or any other folder unchanged.

    Raises ArtifactError where the pointer to the current version is unreadable or names none.
    """
    pointer = folder / CURRENT
    if (folder / MANIFEST).exists() or not (pointer.exists() or pointer.is_symlink()):
        return folder
    return version_in(folder, current(folder))


def current(folder: Path) -> str:
    """Return the name of the current version. Raises ArtifactError where the pointer to it is missing or unreadable."""
    return read_bytes(folder / CURRENT, 80).decode("utf-8", "replace").strip()


def version_in(folder: Path, version: str) -> Path:
    """Return the folder of a version. Raises ArtifactError for an unknown one."""
    path = folder / version
    if not _VERSION.fullmatch(version) or path.is_symlink() or not (path / MANIFEST).is_file():
        there = ", ".join(versions(folder)) or "none"
        raise ArtifactError(f"{folder}: there is no version {version[:64]!r}; there are: {there}")
    return path


def versions(folder: Path) -> list[str]:
    """Return the names of the versions in a folder, in order."""
    if not folder.is_dir():
        return []
    return sorted(
        path.name
        for path in folder.iterdir()
        if _VERSION.fullmatch(path.name) and not path.is_symlink() and (path / MANIFEST).is_file()
    )


def point(folder: Path, version: str, digest: str, when: str, why: str = "") -> str:
    """Make `version` the current one, and record the change. Returns the previous one, "" for none.

    The pointer is replaced atomically. `digest` is that of the version's manifest. The caller has loaded the version.
    Raises ArtifactError for a version that the folder does not have.
    """
    version_in(folder, version)
    try:
        before = current(folder)
    except ArtifactError:
        before = ""
    reason = " ".join(why.split())[:200]
    with (folder / HISTORY).open("a") as log:
        log.write(f"{when} {before or '-'} -> {version} {digest[:16]} {reason}".rstrip() + "\n")
    write_whole(folder / CURRENT, f"{version}\n".encode())
    return before
