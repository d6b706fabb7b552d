"""`quantd config check`: every mistake of a configuration, or what it says in one line."""

from pathlib import Path

from daemon.cli.configuration import read
from daemon.cli.failures import CONFIG
from daemon.cli.output import print_json, say
from daemon.config import ConfigError, digest


def check(config: Path, sets: tuple[str, ...], *, as_json: bool) -> int:
    """Exit code 0 when nothing is wrong, 78 otherwise."""
    try:
        found = read(config, sets)
    except ConfigError as why:
        if not as_json:
            raise
        mistakes = [
            {"file": m.file, "line": m.line, "path": m.path, "text": m.text, "remedy": m.remedy} for m in why.mistakes
        ]
        print_json({"ok": False, "mistakes": mistakes})
        return CONFIG
    if as_json:
        print_json({"ok": True, "mistakes": [], "digest": digest(found)})
        return 0
    say(
        f"{config}: {len(found.agents)} agents, {len(found.universe.symbols)} symbols, {len(found.schedules)} schedules"
    )
    say(f"  digest of what changes trading: {digest(found)}")
    return 0
