"""The configurations a state folder was run with, by digest: what was journalled under one is folded under it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from adapters.store.store import Store
from daemon.config import Config, ConfigError, digest, read
from daemon.known import known_names
from trading.codec import decode
from trading.events import Started


class NotKept(Exception):
    """The configuration of an earlier start cannot be read any more."""


class AsRead(Protocol):
    """How a configuration was read: its file, the `--set` options and the environment."""

    @property
    def config(self) -> Path: ...

    @property
    def sets(self) -> tuple[str, ...]: ...

    @property
    def environ(self) -> Mapping[str, str]: ...


class SavedConfig(Struct, frozen=True):
    """One configuration as text, with its overrides."""

    file: str
    text: str
    sets: tuple[str, ...]
    environ: dict[str, str]


def _path(folder: Path, name: str) -> Path:
    return folder / "configs" / f"{name[:16]}.json"


def save_config(folder: Path, config: Config, read_as: AsRead) -> None:
    """Keep what a start was configured with, before anything is journalled under it. No secrets: of the environment
    only overrides of keys, which have a double underscore, are kept."""
    saved = SavedConfig(
        file=str(read_as.config.resolve()),
        text=read_as.config.read_text(),
        sets=read_as.sets,
        environ={k: v for k, v in read_as.environ.items() if k.startswith("QUANTD_") and "__" in k},
    )
    path = _path(folder, digest(config))
    path.parent.mkdir(exist_ok=True, mode=0o700)
    unfinished = path.with_suffix(".new")
    unfinished.write_bytes(msgspec.json.encode(saved))
    unfinished.replace(path)


def saved_config(folder: Path, name: str) -> Config:
    """The configuration of digest `name`. Raises NotKept."""
    path = _path(folder, name)
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=SavedConfig)
        file = Path(saved.file)
        found = read(
            saved.text, known_names(), file=saved.file, folder=file.parent, environ=saved.environ, sets=saved.sets
        )
    except (OSError, msgspec.MsgspecError, ConfigError) as error:
        raise NotKept(
            f"it was made under another configuration, and {path} cannot be read ({error}); give the configuration it was "
            "made with, or begin anew with --fresh"
        ) from error
    return found


def last_config(store: Store, run: str) -> str:
    """Digest of the configuration of the newest start in the journal; empty when there was none."""
    found = ""
    for _, data in store.entries(run):
        if b"Started" in data and isinstance(event := decode(data).event, Started):
            found = event.config
    return found
