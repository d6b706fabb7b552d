"""The C compiler of this machine: how it is found and called, and which package lacks where it is not there."""

import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from quantd.engine_build.recipe import C_FLAGS

FAST: Final = ("-ffast-math", "-Ofast", "-funsafe-math-optimizations", "-fassociative-math")
LINK: Final = {"darwin": ("-bundle", "-undefined", "dynamic_lookup")}
OTHERS: Final = ("cc", "gcc", "clang")
LONGEST: Final = 400
"""Characters of a compiler's message that a line shows."""


class NoBuild(Exception):
    """There is no build. The text is the cause with the remedy, in one line."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """A C compiler that exists: the words of its command, and the folder of Python's headers."""

    words: tuple[str, ...]
    headers: Path

    def identity(self) -> str:
        """Changes when another compiler takes its place."""
        file = Path(shutil.which(self.words[0]) or self.words[0]).resolve()
        status = file.stat()
        return f"{shlex.join(self.words)} {file} {status.st_size} {int(status.st_mtime)}"

    def version(self) -> str:
        """Return the version text that the compiler prints: a wrapper stays the same file when its compiler changes."""
        with suppress(OSError):
            words = [*self.words, "--version"]
            return subprocess.run(
                words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL
            ).stdout
        return ""

    def command(self, level: str) -> list[str]:
        link = LINK.get(sys.platform, ("-shared", "-s"))
        return [*self.words, *link, level, *C_FLAGS, f"-I{self.headers}"]

    def compile(self, source: Path, library: Path, level: str = "-O0") -> None:
        """Make a loadable library from a C file, optimised at `level`. Raises NoBuild where the compiler fails."""
        words = [*self.command(level), str(source), "-o", str(library)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL)
        except OSError as error:
            raise NoBuild(f"{self.words[0]} cannot be run ({error.strerror})") from None
        if done.returncode:
            said = " ".join((done.stderr or done.stdout).split())[:LONGEST] or "it printed nothing"
            raise NoBuild(
                f"{shlex.join(self.words)} failed with exit code {done.returncode} on {source.name}: {said}; "
                f"install a C compiler that works (Debian: apt-get install gcc {headers_package()})"
            )


def find() -> Compiler:
    """Return the compiler that CC names, else the one that built Python, else one of the usual names.

    Raises NoBuild without a compiler, without the headers of Python, and for a CC that changes the bits of results.
    """
    named = os.environ.get("CC", "")
    try:
        command = shlex.split(named or str(sysconfig.get_config_var("CC") or "cc"))
    except ValueError as error:
        raise NoBuild(f"CC = {named}: {error}; name a compiler") from None
    if slack := [word for word in command if word in FAST]:
        raise NoBuild(f"CC = {named}: {slack[0]} changes the bits of results; name the compiler without it")
    choices = [command] if named else [command, *([name] for name in OTHERS)]
    words = next((choice for choice in choices if choice and shutil.which(choice[0])), None)
    if words is None:
        lacking = f"CC = {named}: there is no such compiler" if named else "there is no C compiler"
        raise NoBuild(f"{lacking}; install one (Debian: apt-get install gcc {headers_package()})")
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise NoBuild(f"{headers}/Python.h is not there; install it (Debian: apt-get install {headers_package()})")
    return Compiler(tuple(words), headers)


def headers_package() -> str:
    return f"python{'.'.join(platform.python_version_tuple()[:2])}-dev"
