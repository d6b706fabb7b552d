"""Finds the line of a key in a TOML text, for error messages."""

import re
from typing import Final

_HEADER: Final = re.compile(r"^\s*\[+\s*([^\]]+?)\s*\]+")
_KEY: Final = re.compile(r"^\s*([A-Za-z0-9_.\"'-]+)\s*=")


def line_of(text: str, key: str) -> int:
    """Return the line, from 1, of the dotted `key` or of its nearest parent in the text; 0 when there is none."""
    found: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = str(header[1]).replace('"', "")
            found.setdefault(table, number)
        elif entry := _KEY.match(line):
            key_here = str(entry[1]).replace('"', "")
            found.setdefault(f"{table}.{key_here}" if table else key_here, number)
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        at = found.get(name) or next((n for known, n in found.items() if known.startswith(f"{name}.")), 0)
        if at:
            return at
    return 0
