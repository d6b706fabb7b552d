"""JSON Schemas of the payloads, for authors of subscribers: python -m quantd.adapters.bus.schemas docs/schemas"""

import json
import sys
from pathlib import Path
from typing import Final, get_args

import msgspec
from msgspec import Struct

from quantd.adapters.bus.commands import BusAnswer, BusCommand
from quantd.adapters.bus.payloads import Payload, Stamp

TOPICS: Final[dict[str, type[Stamp]]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Payload)}
"""Payload type, also the file name -> struct."""

COMMANDS: Final[dict[str, type[Struct]]] = {"command": BusCommand, "command-answer": BusAnswer}
"""Payloads of the command topic and its answer topic."""


def schema_text(name: str) -> str:
    """Return the JSON Schema (2020-12) of one payload, as in its file."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"quantd {name}"}
    return json.dumps(schema | msgspec.json.schema((TOPICS | COMMANDS)[name]), indent=2) + "\n"


def write(folder: Path) -> None:
    """Write one file per payload."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*TOPICS, *COMMANDS):
        (folder / f"{name}.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m quantd.adapters.bus.schemas FOLDER")
    write(Path(sys.argv[1]))
