"""Libraries that a build takes over from a kept build, because nothing has changed that they are made from.

The manifest of a build records for each library the digest of everything that goes into it, and the digest of its file.
A library whose file has another digest is not taken: it is damaged, or was written in part.
"""

import re
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from hashlib import blake2b
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import Final, NamedTuple

from quantd.engine_build import finder
from quantd.engine_build.c_compiler import Compiler
from quantd.engine_build.declarations import Declared
from quantd.engine_build.recipe import BUFFERS, CYTHON, DIRECTIVES, LIBRARIES, MODULES, VARIANTS

CIMPORT: Final = re.compile(r"^from (\S+) cimport ", re.MULTILINE)
LOCALS: Final = re.compile(r"^ *@cython\.locals\(.*\)$", re.MULTILINE)
"""The types of the locals of a function; they are for its own module only."""


class Record(NamedTuple):
    """A library in a manifest: the digest of what it was made from, and that of its file."""

    origin: str
    file: str


def origins(declared: Declared, kind: str, compiler: Compiler) -> dict[str, str]:
    """Library -> digest of its module's source and declaration, of the declarations that it includes, and of kind,
    settings, Cython, compiler and Python."""
    words = compiler.command(VARIANTS[kind])
    settings = kind, CYTHON, BUFFERS, sorted(DIRECTIVES.items()), words, compiler.identity(), compiler.version()
    common = repr((*settings, sys.version, EXTENSION_SUFFIXES[0]))
    digests = {BUFFERS: blake2b(common.encode(), digest_size=16).hexdigest()}
    for module in MODULES:
        included = sorted(_included(module, declared.declarations) - {module})
        theirs = [(name, LOCALS.sub("", declared.declarations[name])) for name in included]
        text = repr((common, module, declared.sources[module], declared.declarations[module], theirs))
        digests[module] = blake2b(text.encode(), digest_size=16).hexdigest()
    return digests


def _included(module: str, declarations: Mapping[str, str]) -> set[str]:
    """A module, and all whose declarations its own includes, also through others."""
    names, ahead = {module}, [module]
    while ahead:
        more = set(CIMPORT.findall(declarations[ahead.pop()])) - names
        names |= more
        ahead += more
    return names


def records(folder: Path) -> dict[str, Record]:
    """The libraries in the manifest of a build. Raises OSError and ValueError."""
    lines = (folder / finder.MANIFEST).read_text(encoding="utf-8").splitlines()
    words = [line.split() for line in lines if not line.startswith("#")]
    return {line[0]: Record(line[2], line[3]) for line in words if len(line) == 4}


def line_of(module: str, source: str, record: Record | None) -> str:
    """A line of the manifest: module, digest of its source, and the record of its library."""
    return " ".join((module, source, *(record or ())))


def damaged(folder: Path) -> list[str]:
    """The libraries of a build that are not the file that its manifest records. Raises OSError and ValueError."""
    table = records(folder)
    return [
        name for name in LIBRARIES
        if name not in table or _digest(finder.library(folder, name)) != table[name].file
    ]  # fmt: skip


def _digest(file: Path) -> str:
    """The digest of a file; empty where it cannot be read."""
    try:
        return finder.digest(file)
    except OSError:
        return ""


def take(module: str, origin: str, target: Path) -> Record | None:
    """Copy a library that has this origin from a kept build; None where none has a sound one."""
    for manifest in sorted(finder.BUILDS.glob(f"*/{finder.MANIFEST}")):
        folder = manifest.parent
        with suppress(OSError, ValueError):
            record = records(folder).get(module)
            if record is None or record.origin != origin:
                continue
            shutil.copyfile(finder.library(folder, module), target)
            if finder.digest(target) == record.file:
                return record
    target.unlink(missing_ok=True)
    return None
