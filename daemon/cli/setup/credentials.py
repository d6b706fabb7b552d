"""Secrets that a person types once: they are read without an echo, and stored as files like systemd credentials."""

import getpass
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Final, NamedTuple

from quantd.daemon.cli.command import CREDENTIALS
from quantd.daemon.cli.failures import Failure, interruptible
from quantd.regular_file import restrict, write_whole
from quantd.trading.exit_codes import USAGE

CREDSTORE: Final = Path("/etc/credstore")
"""Folder from which a unit takes its credentials (systemd.exec(5))."""


class Place(NamedTuple):
    """Where secrets are stored: a folder, and the prefix of the file names there, which is empty without a systemd
    unit. `beside` is True for the folder beside the configuration, which every command reads."""

    folder: Path
    prefix: str = ""
    beside: bool = False

    def store(self, secrets: Mapping[str, str]) -> list[Path]:
        """Write one file for each secret, which only its owner may read. Returns their paths.

        Raises Failure if the folder cannot be written.
        """
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.prefix:  # not the folder of systemd, which is shared by the units
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
        """Return the variable to write before a command that reads these secrets; empty where it finds them itself."""
        return "" if self.prefix or self.beside else f"CREDENTIALS_DIRECTORY={quote(str(self.folder))} "


def place_of(folder: Path | None, unit: str, config: Path) -> Place:
    """Return where the secrets of the unit quantd@UNIT, of a folder, or of a configuration are stored.

    Raises Failure for both a folder and a unit.
    """
    if folder is not None and unit:
        raise Failure("both --folder and --unit were used; write one of them", USAGE)
    if unit:
        return Place(CREDSTORE, f"quantd.{unit}.")
    return Place(folder) if folder else Place(config.parent / CREDENTIALS, beside=True)


def asked(name: str, meaning: str, command: str, *, needed: bool = True) -> str:
    """Return a secret from its environment variable, else typed at the terminal without an echo, else a line of input.

    `meaning` describes the secret in the question. Raises Failure for a missing secret, and for one that is no line of
    ASCII.
    """
    variable = f"QUANTD_{name.upper()}"
    optional = "" if needed else " (Enter for none)"
    if from_variable := os.environ.get(variable, ""):
        text = from_variable
    elif sys.stdin.isatty():
        interruptible()
        text = getpass.getpass(f"{meaning}{optional}: ")
    else:
        text = sys.stdin.readline()
    text = text.strip()
    if needed and not text:
        raise Failure(f"the {meaning} is missing. Type it at a terminal: {command}; or set {variable}", USAGE)
    if not text.isascii() or not text.isprintable():
        raise Failure(f"the {meaning} has a character that no key has. Copy it again, then: {command}", USAGE)
    return text
