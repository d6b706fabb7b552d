"""Versions of one artifact: folders v20190329-1a2b3c in a folder of their own, and in the file `current` the name of the one that is
meant by the folder's."""

import re
from pathlib import Path
from typing import Final

from models.artifacts import MANIFEST, ArtifactError

CURRENT: Final = "current"
DECISIONS: Final = "decisions"
"""Folder of what was found about each version, beside them."""

_NAME: Final = re.compile(r"v[0-9A-Za-z][0-9A-Za-z._-]{0,62}")


def versions(folder: Path) -> list[str]:
    """The names of the versions in `folder`, oldest first by name."""
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if _NAME.fullmatch(p.name) and (p / MANIFEST).is_file())


def current(folder: Path) -> Path | None:
    """The version that `folder` stands for; None where it holds none. ArtifactError for a pointer to nowhere."""
    pointer = folder / CURRENT
    if not pointer.is_file():
        return None
    name = pointer.read_bytes()[:200].decode("ascii", "replace").strip()
    if not _NAME.fullmatch(name) or not (folder / name / MANIFEST).is_file():
        raise ArtifactError(f"{pointer}: names {name!r}; versions there: {', '.join(versions(folder)) or 'none'}")
    return folder / name


def use(folder: Path, version: str) -> None:
    """Let `folder` stand for `version`, from the next start on. ArtifactError for one that is not there."""
    known = versions(folder)
    if version not in known:
        raise ArtifactError(f"{folder}: has no version {version!r}; it has {', '.join(known) or 'none'}")
    unfinished = folder / f".{CURRENT}.new"
    unfinished.write_text(f"{version}\n")
    unfinished.replace(folder / CURRENT)


def resolved(folder: Path) -> Path:
    """`folder`, or the version it stands for. Raises ArtifactError."""
    return current(folder) or folder
