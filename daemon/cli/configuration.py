"""Reading the configuration for a command, and saying what this version cannot do before it is tried."""

import os
from collections.abc import Sequence
from pathlib import Path

from quantd.daemon.config import Config, ConfigError, load
from quantd.daemon.known import known_names
from quantd.daemon.protection import unenforced
from quantd.daemon.reaching import mistakes_of
from quantd.daemon.supported import not_yet


def read(config: Path, sets: Sequence[str] = ()) -> Config:
    """The configuration with its overrides. Raises ConfigError with every mistake."""
    found = load(config, known_names(), environ=os.environ, sets=sets)
    mistakes = [*not_yet(found), *mistakes_of(found), *(found.missing_files() or unenforced(found))]
    if mistakes:
        raise ConfigError(mistakes)
    return found
