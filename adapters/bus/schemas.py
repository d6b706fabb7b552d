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


def write(folder: Path) -> None:
    """Write the JSON Schema (2020-12) of each payload to a file in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, kind in (TOPICS | COMMANDS).items():
        head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"quantd {name}"}
        text = json.dumps(head | msgspec.json.schema(kind), indent=2) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m quantd.adapters.bus.schemas FOLDER")
    write(Path(sys.argv[1]))
