"""Searches an archive for names of a machine, of its user and of its folders, and for secrets."""

import getpass
import re
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.recorded_runs.archive import opened
from tests.recorded_runs.replaying import runs_of, snapshots
from tests.support.checkout import ROOT
from tests.support.secrets_in_files import secrets_of

USED = {"localhost", "owner", "quantd", "user"}
"""Words of the product itself, which may be names of a host or a user too."""

SHORT = 4
"""Letters of a name below which it stands in any sequence of bytes; it then counts before or behind an @ only."""


def names() -> list[str]:
    """Expressions of the folders of this checkout, of scratch files and of the user, the host's name and the user's."""
    places = {str(ROOT), str(ROOT.parent), str(Path.home()), tempfile.gettempdir()}
    expressions = [re.escape(place) for place in sorted(places) if len(place) > SHORT]
    for name in {socket.gethostname(), getpass.getuser()} - USED:
        word = re.escape(name)
        expressions.append(rf"\b{word}\b" if len(name) >= SHORT else rf"@{word}\b|\b{word}@")
    return expressions


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """(place, bytes) of each file of an archive, and of each entry and snapshot of its journal, decompressed."""
    with opened(path) as (folder, records):
        for file in sorted(entry for entry in folder.rglob("*") if entry.is_file()):
            # `opened` has written its own folder into the saved configurations
            yield str(file.relative_to(folder)), file.read_bytes().replace(str(folder).encode(), b"")
        for run in runs_of(records):
            for seq, data in records.entries(run, 1):
                yield f"run {run}, step {seq}", data
            for seq, data in snapshots(records, run):
                yield f"run {run}, snapshot after step {seq}", data


def identifiers(path: Path) -> list[str]:
    """Where an archive has one of these names, or what looks like a secret; empty when it has none."""
    expression = re.compile("|".join(names()).encode())
    parts = list(contents(path))
    content = b"\n".join(data for _, data in parts)
    if expression.search(content) is None and not secrets_of(content):
        return []
    wrong = []
    for place, data in parts:
        wrong += [f"{place}: {match.group().decode()}" for match in expression.finditer(data)]
        wrong += [f"{place}: {kind} {text!r}" for kind, text in secrets_of(data)]
    return wrong or ["what looks like a secret, across two parts"]
