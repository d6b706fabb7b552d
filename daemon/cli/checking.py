"""`quantd config check`: every mistake of a configuration, or what it says in one line."""

from pathlib import Path

from daemon.assembly import policies_of
from daemon.cli.configuration import read
from daemon.cli.failures import CONFIG
from daemon.cli.output import print_json, say
from daemon.config import ConfigError, Mistake, digest
from daemon.policies import PolicyError


def check(config: Path, sets: tuple[str, ...], *, as_json: bool) -> int:
    """Exit code 0 when nothing is wrong, 78 otherwise. Policies are loaded, as a start would."""
    try:
        found = read(config, sets)
        policies_of(found, found.instruments(), found.feed.interval_ns)
    except (ConfigError, PolicyError) as why:
        if not as_json:
            raise
        wrong = why.mistakes if isinstance(why, ConfigError) else [Mistake(str(config), 0, "agents", str(why), "")]
        mistakes = [{"file": m.file, "line": m.line, "path": m.path, "text": m.text, "remedy": m.remedy} for m in wrong]
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
