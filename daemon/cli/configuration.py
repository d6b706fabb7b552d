"""Reading the configuration for a command, and saying what this version cannot do before it is tried."""

import os
from collections.abc import Sequence
from pathlib import Path

from daemon.cli.failures import CONFIG, Failure
from daemon.config import Config, ConfigError, load
from daemon.known import known_names
from daemon.supported import not_yet


def read(config: Path, sets: Sequence[str] = (), *, live: bool = False) -> Config:
    """The configuration with its overrides. Raises ConfigError with every mistake, Failure for live trading; `live`
    says whether that was asked for on the command line too."""
    found = load(config, known_names(), environ=os.environ, sets=sets)
    if found.quantd.mode == "live":
        raise Failure(live_needs(found, live), CONFIG)
    mistakes = [*found.missing_files(), *not_yet(found)]
    if mistakes:
        raise ConfigError(mistakes)
    return found


def live_needs(config: Config, live: bool) -> str:
    """What live trading takes, what of it is there, and that this version cannot do it."""
    needs = (
        (True, 'mode = "live" in [quantd]'),
        (config.quantd.live, "live = true in [quantd]"),
        (live, "--live on this command line"),
        (False, "a green `quantd doctor --live` younger than 24 hours for this account"),
    )
    count = ("none is", "one is", "two are", "three are")[sum(there for there, _ in needs)]
    return "\n".join(
        [
            f"Live trading needs four things; {count} there:",
            *(f"  {'yes' if there else 'no':3}  {what}" for there, what in needs),
            'This version has no live broker yet, so the last one cannot be had. Trade on paper: mode = "paper".',
        ]
    )
