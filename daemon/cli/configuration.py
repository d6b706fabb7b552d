"""Reads the configuration for a command, with the mistakes about features that this installation does not support."""

import os
from collections.abc import Sequence
from pathlib import Path

from quantd.daemon.access.protection import unenforced
from quantd.daemon.assembly.names import known_names, mistakes_of
from quantd.daemon.config import Config, ConfigError, load


def read(config: Path, sets: Sequence[str] | None = None) -> Config:
    """Return the configuration with its overrides. Raises ConfigError with every mistake."""
    settings = load(config, known_names(), environ=os.environ, sets=tuple(sets or ()))
    mistakes = [*mistakes_of(settings), *(settings.missing_files() or unenforced(settings))]
    if mistakes:
        raise ConfigError(mistakes)
    return settings
