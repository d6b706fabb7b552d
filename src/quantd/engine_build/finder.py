"""Loads the compiled engine where it was built from the source that is here, and the source everywhere else.

A build is a folder whose name begins with a digest of the listed sources, the recipe and the interface of this Python.
A build of another source has another name, so that it is never found. The digest is computed at the first import of a
listed module; a command that imports none pays for a test of a name only.
"""

import os
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import Final, NamedTuple

from quantd.engine_build.recipe import BUFFERS, CHECKED, LIBRARIES, MODULES, UNCOMPILED

HERE: Final = Path(__file__).resolve().parent
PACKAGE: Final = HERE.parent
CHECKOUT: Final = PACKAGE.parent.parent if (PACKAGE.parent.parent / "pyproject.toml").is_file() else None
"""The checkout that this package is part of; None where a wheel is installed."""

BUILDS: Final = CHECKOUT / "build" / "engine" if CHECKOUT else HERE / "built"
MANIFEST: Final = "manifest"
SHAPING: Final = ("recipe.py", "builder.py", "c_compiler.py", "libraries.py", "declarations")
"""Files of this package whose change makes a build stale."""


class Build(NamedTuple):
    """A folder with a library for each listed module, and the one that they share."""

    folder: Path
    variant: str


def variant() -> str:
    """The kind of build that the environment requests: release, checked (QUANTD_CHECKED), or none."""
    if requested(UNCOMPILED):
        return ""
    return "checked" if requested(CHECKED) else "release"


def requested(variable: str) -> bool:
    """Whether a variable of the environment is set, and not to 0."""
    return os.environ.get(variable, "0") not in ("", "0")


def source(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")


def digest(file: Path) -> str:
    """Return the hex BLAKE2b digest of a file, 16 bytes. Raises OSError for an unreadable file."""
    from hashlib import blake2b

    return blake2b(file.read_bytes(), digest_size=16).hexdigest()


def key(kind: str) -> str:
    """Digest of the listed sources, of the recipe and of this Python: folders of fitting builds begin with it. Raises
    OSError."""
    from hashlib import blake2b

    shaping = [file for name in SHAPING for file in (sorted((HERE / name).glob("*.py")) or [HERE / name])]
    hasher = blake2b(repr((kind, EXTENSION_SUFFIXES[0], MODULES)).encode(), digest_size=12)
    for file in (*shaping, *map(source, MODULES)):
        hasher.update(digest(file).encode())
    return hasher.hexdigest()


def manifest(folder: Path) -> dict[str, str]:
    """Module -> digest of its source, of every source that a build has read. Raises OSError and ValueError."""
    lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    words = (line.split() for line in lines if not line.startswith("#"))
    return {name: source_digest for name, source_digest, *_ in words if name != BUFFERS}


def library(folder: Path, module: str) -> Path:
    return folder / f"{module}{EXTENSION_SUFFIXES[0]}"


def fitting(kind: str) -> Path | None:
    """Return the folder of a build of the present source; None without one. Raises OSError for an unreadable source."""
    for folder in sorted(BUILDS.glob(f"{key(kind)}-*")):
        try:
            digests = manifest(folder)
        except (OSError, ValueError):
            continue
        complete = all(library(folder, name).is_file() for name in LIBRARIES)
        # a key has the listed modules only; others gave types and constants
        if complete and all(
            digest(source(name)) == expected for name, expected in digests.items() if name not in MODULES
        ):
            return folder
    return None


@cache
def loaded() -> Build | None:
    """The build that this process uses; None where it runs uncompiled."""
    kind = variant()
    try:
        folder = fitting(kind) if kind else None
    except OSError:
        return None
    return Build(folder, kind) if folder else None


def spec(name: str) -> ModuleSpec | None:
    """Where a listed module is loaded from: the build, or its source."""
    build = loaded()
    if build is None and name == BUFFERS:
        return None
    if build is None:
        file = str(source(name))
        return spec_from_file_location(name, file, loader=SourceFileLoader(name, file))
    file = str(library(build.folder, name))
    return spec_from_file_location(name, file, loader=ExtensionFileLoader(name, file))
