"""Secrets that a person types once: read without an echo, and stored as files in the form of systemd credentials."""

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Final, NamedTuple

from quantd.daemon.cli.failures import Failure
from quantd.regular_file import restrict, write_whole
from quantd.trading.exit_codes import USAGE

CREDSTORE: Final = Path("/etc/credstore")
"""Folder from which a unit takes its credentials (systemd.exec(5))."""

FOLDER: Final = Path("credentials")
"""Folder of the credentials of a run that no unit starts. A policy file cannot read a folder of this name."""


class Place(NamedTuple):
    """Where secrets are stored: a folder, and what precedes the name of each file there."""

    folder: Path
    prefix: str = ""

    def store(self, secrets: Mapping[str, str]) -> list[Path]:
        """Write one file for each secret, which only its owner may read. Returns their paths.

        Raises Failure where the folder cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.prefix:
                restrict(self.folder, 0o077)
            files = []
            for name, value in secrets.items():
                files.append(self.folder / f"{self.prefix}{name}")
                write_whole(files[-1], f"{value}\n".encode(), 0o600)
        except OSError as error:
            remedy = "run it as root, or name a folder of yours with --folder"
            raise Failure(f"{error.filename or self.folder}: {error.strerror}; {remedy}", USAGE) from None
        return files

    def environment(self) -> str:
        """Return what precedes a command that reads these secrets; nothing where a unit does."""
        return "" if self.prefix else f"CREDENTIALS_DIRECTORY={quote(str(self.folder))} "


def place_of(folder: Path | None, unit: str) -> Place:
    """Return the place of secrets: that of the unit quantd@UNIT, or a folder. Raises Failure for both."""
    if folder is not None and unit:
        raise Failure("--folder and --unit name two places; write one of them", USAGE)
    return Place(CREDSTORE, f"quantd.{unit}.") if unit else Place(folder or FOLDER)


def asked(name: str, meaning: str, command: str, *, needed: bool = True) -> str:
    """Return a secret: of its variable of the environment, else typed at the terminal without an echo, else a line of
    standard input. Raises Failure for one that is missing, or that is no line of text."""
    variable = f"QUANTD_{name.upper()}"
    optional = "" if needed else " (Enter for none)"
    if given := os.environ.get(variable, ""):
        text = given
    elif sys.stdin.isatty():
        text = getpass.getpass(f"{meaning}{optional}: ")
    else:
        text = sys.stdin.readline()
    text = text.strip()
    if needed and not text:
        raise Failure(f"the {meaning} is missing. Type it at a terminal: {command}; or set {variable}", USAGE)
    if not text.isascii() or not text.isprintable():
        raise Failure(f"the {meaning} has a character that no key has. Copy it again, then: {command}", USAGE)
    return text
