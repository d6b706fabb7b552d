"""Appends each alert to a file, one JSON document a line."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from quantd.adapters.bus.payloads import Alert
from quantd.adapters.sinks.sink import Sink


class LinesOptions(Struct, frozen=True):
    """The keys of [alerts.sinks.lines]."""

    path: str

    def __post_init__(self) -> None:
        if not self.path.endswith(".jsonl"):
            raise ValueError('path is not a file of JSON lines; write "alerts.jsonl"')


class Lines:
    def __init__(self, path: Path) -> None:
        self._path = path

    async def deliver(self, alert: Alert) -> None:
        await asyncio.to_thread(self._append, msgspec.json.encode(alert) + b"\n")

    def _append(self, line: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    async def close(self) -> None:
        pass


def lines(options: LinesOptions, secrets: Mapping[str, str]) -> Lines:
    return Lines(Path(options.path))


SINK: Final = Sink("lines", LinesOptions, "quantd_example_1.sink:lines")
