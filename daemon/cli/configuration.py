"""Reading the configuration for a command, and saying what this version cannot do before it is tried."""

import os
from collections.abc import Sequence
from pathlib import Path

from daemon.cli.failures import CONFIG, Failure
from daemon.config import Config, ConfigError, Mistake, load
from daemon.known import known_names


def read(config: Path, sets: Sequence[str] = ()) -> Config:
    """The configuration with its overrides; raises ConfigError with every mistake."""
    found = load(config, known_names(), environ=os.environ, sets=sets)
    mistakes = [*found.missing_files(), *unavailable(found)]
    if mistakes:
        raise ConfigError(mistakes)
    return found


def unavailable(config: Config) -> list[Mistake]:
    """What a configuration may say and this version does not do yet."""
    found = []
    if config.feed.kind != "replay" and config.quantd.mode != "live":
        text = f'= "{config.feed.kind}" is not in this version'
        found.append(config.source.mistake(("feed", "kind"), text, 'it trades recorded markets, kind = "replay"'))
    if config.broker.kind != "paper" and config.quantd.mode != "live":
        text = f'= "{config.broker.kind}" is not in this version'
        found.append(config.source.mistake(("broker", "kind"), text, 'it trades on paper, kind = "paper"'))
    return found


def refuse_live(config: Config, live_option: bool) -> None:
    """Raise Failure unless this is no live trading: this version cannot do it, and says what it would take."""
    if config.quantd.mode != "live":
        return
    needs = [
        (True, 'mode = "live" in [quantd]'),
        (config.quantd.live, "live = true in [quantd]"),
        (live_option, "--live on this command line"),
        (False, "a green `quantd doctor --live` younger than 24 hours for this account"),
    ]
    count = ("none is", "one is", "two are", "three are")[sum(there for there, _ in needs)]
    lines = [f"  {'yes' if there else 'no ':3}  {what}" for there, what in needs]
    raise Failure(
        "\n".join(
            [
                f"Live trading needs four things; {count} there:",
                *lines,
                "This version has no live broker yet, so the last one cannot be had: trade on paper.",
            ]
        ),
        CONFIG,
    )
