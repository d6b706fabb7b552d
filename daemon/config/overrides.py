"""Overrides of keys: `QUANTD_RISK__MAX_DRAWDOWN=0.2` in the environment and `--set risk.max_drawdown=0.2`.

Overrides are merged into the document before it is checked, so that the same rules apply to them.
"""

import os
import pathlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cache
from typing import Any, Final
from urllib.parse import quote

from quantd.daemon.config.agent_tables import RESERVED, Agent
from quantd.daemon.config.keys import Key, Pattern, all_keys, pattern_of
from quantd.daemon.config.mistakes import ConfigError, Mistake, nearest
from quantd.daemon.config.scan import Path
from quantd.daemon.config.schema import Document
from quantd.engine_build.recipe import VARIABLES

PREFIX = "QUANTD_"

SECRET_BYTES = 65_536
"""Largest credential, in bytes: a larger file is probably the wrong one."""

Keys = Mapping[Pattern, Key]
"""Pattern of a path -> key, for every key of the file."""

SECRETS = {
    "mqtt_password": "password of the MQTT broker",
    "mqtt_command_key": "key that signs commands over MQTT",
    "store_password": "password of the database",
}
"""Secrets of the daemon itself: files of these names in the systemd credentials directory, or QUANTD_<NAME>.

The secrets of feeds and brokers are in the records of these.
"""

PLAIN = {
    "API_PORT": ("api", "port"),
    "DATA_PATH": ("feed", "path"),
    "LOG_LEVEL": ("log", "level"),
    "MONITOR_INTERVAL": ("risk", "monitor_interval"),
}
"""Short variable -> path of its key. A variable with the prefix takes precedence.

DATA_PATH applies to recorded bars only. MONITOR_INTERVAL is a number of seconds.
"""

OPTIONS = ("QUANTD_CONFIG", "QUANTD_STATE")
"""Variables for the options --config and --state of each command."""


FIXED = frozenset({
    "QUANTD_REQUIRE_SERVICES", "QUANTD_PROGRESS", *OPTIONS, *VARIABLES, *(PREFIX + name.upper() for name in SECRETS),
})  # fmt: skip
"""Variables with the prefix QUANTD_ that are not keys of config.toml, without the secrets of adapters."""


def between(sets: Iterable[str] | None, start: date | None, end: date | None) -> tuple[str, ...]:
    """Return the overrides `sets`, then those for the first and the last day of the feed; a day that is None is left
    out.

    Raises ConfigError for a key with two values.
    """
    bounds = (("start", start), ("end", end))
    overrides = (*(sets or ()), *(f"feed.{key}={day.isoformat()}" for key, day in bounds if day is not None))
    values: dict[str, str] = {}
    for key, _, value in (tuple(part.strip() for part in text.partition("=")) for text in overrides):
        if values.setdefault(key, value) != value:
            text = f"has two values, {values[key]} and {value} (--from and --to set feed.start and feed.end)"
            raise ConfigError([Mistake(f"--set {key}", 0, key, text, "give it once")])
    return overrides


ALONE: Final = "agents"
"""Key of the override `agents=POLICY`, which makes this policy the only agent."""

OF_AGENTS: Final = ("capital", "manual", "portfolios", "promotion")
"""Tables about several agents or their shadows: an agent that is alone has all the capital, and no challenger."""


def alone(policy: str, config: pathlib.Path) -> tuple[str, ...]:
    """Return the override that makes `policy` the only agent of the configuration in the file `config`; none for "".

    A policy's file or folder may be named from the current folder, or from that of the configuration.
    """
    path, mark, function = policy.partition(":")
    if path and ("/" in path or path.endswith(".py")) and pathlib.Path(path).exists():
        policy = os.path.relpath(path, config.parent) + mark + function
        policy = policy if "/" in policy or path.endswith(".py") else f"./{policy}"
    return (f"{ALONE}={policy}",) if policy else ()


def not_keys(secrets: Iterable[str]) -> frozenset[str]:
    """Return all variables with the prefix QUANTD_ that are not keys of config.toml; `secrets` are the adapters'
    secrets."""
    return FIXED | {PREFIX + name.upper() for name in secrets}


def apply(
    document: dict[str, Any],
    environ: Mapping[str, str],
    sets: Iterable[str],
    schema: type[Document],
    secrets: Iterable[str] = (),
) -> tuple[dict[Path, str], list[Mistake]]:
    """Merge overrides into `document`: `agents=POLICY`, the environment, then --set.

    Return (path -> text of its override, mistakes).

    PLAIN are short variables, such as DATA_PATH; FIXED are variables with the prefix QUANTD_ that are no keys.
    Variables of `secrets` are no overrides. `secrets` is iterated only if a variable has the prefix QUANTD_, because
    the iteration may import adapters.
    """
    keys, reserved = all_keys(schema), cache(lambda: not_keys(secrets))
    override_texts: dict[Path, str] = {}
    mistakes: list[Mistake] = []
    overrides = [tuple(part.strip() for part in text.partition("=")) for text in sets]
    for key, _, policy in overrides:
        if key == ALONE and policy and not policy.startswith(("{", "[")):
            _make_alone(document, policy)
            # each key too: a line of the file belongs to an agent that is replaced
            paths = ((ALONE,), (ALONE, 0), *((ALONE, 0, name) for name in Agent.model_fields))
            override_texts |= dict.fromkeys(paths, f"POLICY {policy}")
    for variable, key_path in PLAIN.items():
        if override := _short_variable_text(document, variable, environ):
            mistakes += _merge(document, override_texts, variable, list(key_path), override, reserved, keys)
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in FIXED and variable not in reserved():
            parts = variable.removeprefix(PREFIX).lower().split("__")
            mistakes += _merge(document, override_texts, variable, parts, environ[variable], reserved, keys)
        elif variable[: len(PREFIX)].upper() == PREFIX != variable[: len(PREFIX)] and "__" in variable:
            mistakes.append(Mistake(variable, 0, "", "is not read in lower case", f"write {variable.upper()}"))
    for key, equals, value in overrides:
        if key == ALONE and (ALONE,) in override_texts:
            continue
        option = f"--set {key}"
        if not equals:
            mistakes.append(Mistake(option, 0, "", "has no value", "write --set KEY=VALUE"))
            continue
        mistakes += _merge(document, override_texts, option, key.split("."), value, reserved, keys)
    return override_texts, mistakes


def _make_alone(document: dict[str, Any], policy: str) -> None:
    """Replace the agents of a parsed document by one agent with `policy` and all the capital.

    It has the profile of the account, the smallest `min_trade` of the replaced agents, and decides at each sample:
    schedules of agents go, those of the account stay.
    """
    usual = Agent.model_fields["min_trade"].default
    agents = document.get("agents")
    least = [table.get("min_trade", usual) for table in agents if isinstance(table, dict)] if agents else []
    name = _slug(pathlib.PurePath(policy.partition(":")[0]).stem).lstrip("0123456789_")[:32]
    risk = document.get("risk")
    profile = risk.get("profile") if isinstance(risk, dict) else None
    document[ALONE] = [{
        "name": "own" if not name or name in RESERVED else name, "policy": policy, "capital": 1.0,
        "min_trade": min((value for value in least if isinstance(value, (int, float))), default=usual),
        **({} if profile is None else {"profile": profile}),
    }]  # fmt: skip
    schedules = document.get("schedules")
    if isinstance(schedules, list):
        document["schedules"] = [
            # all money of a deposit is the agent's
            {key: value for key, value in table.items() if key != "agents"} if _is_deposit(table) else table
            for table in schedules
            if _is_deposit(table) or not (isinstance(table, dict) and _is_of_agents(table))
        ]
    for section in OF_AGENTS:
        document.pop(section, None)
    broker = document.get("broker")
    if isinstance(broker, dict) and broker.get("differences") != "fence":
        broker.pop("differences", None)


def _is_deposit(schedule: object) -> bool:
    return isinstance(schedule, dict) and schedule.get("do") == "deposit"


def _is_of_agents(schedule: Mapping[str, Any]) -> bool:
    """Whether a schedule is about the agents of the file, not about the account."""
    return "agents" in schedule or schedule.get("do") in ("rebalance", "retrain", "promote", "reallocate")


def _short_variable_text(document: Mapping[str, Any], variable: str, environ: Mapping[str, str]) -> str:
    """Return the text of a variable of PLAIN (DATA_PATH and others) in its key's notation; "" if unset or not
    applicable."""
    text, path = environ.get(variable, ""), PLAIN[variable]
    feed = document.get("feed", {})
    kind = environ.get("QUANTD_FEED__KIND") or (feed.get("kind", "replay") if isinstance(feed, dict) else "")
    # the long form of a variable has priority, and only a replay has a path of data
    if not text or variable_of(path) in environ or (variable == "DATA_PATH" and kind != "replay"):
        return ""
    match variable:
        case "LOG_LEVEL":
            return text.lower()
        case "MONITOR_INTERVAL" if text.isdigit():
            return f"{text}s"
        case _:
            return text


def of_keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of the environment that override keys of the configuration, without those of secrets."""
    return {name: text for name, text in environ.items() if name in PLAIN or (name[:7] == PREFIX and "__" in name)}


def variable_of(pattern: Pattern) -> str:
    """Return the environment variable that overrides the key with this pattern."""
    return PREFIX + "__".join(pattern).upper().replace("-", "_")


def _merge(
    document: dict[str, Any],
    places: dict[Path, str],
    place: str,
    parts: list[str],
    raw: str,
    reserved: Callable[[], frozenset[str]],
    keys: Keys,
) -> list[Mistake]:
    """Merge one override into `document`, and record it in `places` by its path; return its mistakes.

    `place` names the override in a message: the variable, or --set with the key. `parts` is the path as text, and `raw`
    the value as text.
    """
    # --set only: a variable of one part is no key of quantd
    if len(parts) == 1 and (parts[0],) in keys and not place.startswith(PREFIX):
        many = keys[(parts[0],)].many
        form = f"--set {parts[0]}.{'NAME.' if many else ''}KEY=VALUE"
        new_table = f"; write a new [[{parts[0]}]] into the file" if many else ""
        return [Mistake(place, 0, "", "names a whole table", f"set one key of it, {form}{new_table}")]
    if len(parts) < 2 or (parts[0],) not in keys:
        return [Mistake(place, 0, "", "is not a key of quantd", _nearest_key(place, parts, reserved, keys))]
    return _merge_below(document, places, place, (), parts, raw, keys)


def _merge_below(
    table: dict[str, Any], places: dict[Path, str], place: str, path: Path, parts: list[str], raw: str, keys: Keys
) -> list[Mistake]:
    """Set the value at `parts` below `path`, through tables and, by index or name, through lists of tables.

    `table` is the table at `path`. Missing tables are made. `place` names the override in a message, and `places` maps
    a path to this name. `raw` is the value as text.
    """
    head, remaining = parts[0], parts[1:]
    path = (*path, head)
    key = keys.get(pattern_of(path))
    if not remaining:
        if key is not None and key.section is not None and not raw.startswith(("{", "[")):
            return [Mistake(place, 0, "", "names a whole table", "name one key of it")]
        table[head], places[path] = _read(key, raw), place
        return []
    inner: Any = table.setdefault(head, [] if key is not None and key.many else {})
    if isinstance(inner, list):
        index = _entry_index(inner, remaining[0])
        if index is None:
            return [_no_entry(inner, place, path, remaining[0])]
        inner, path, remaining = inner[index], (*path, index), remaining[1:]
        if not remaining:
            return [Mistake(place, 0, "", "names a whole table", "name one key of it")]
    if not isinstance(inner, dict):
        return [Mistake(place, 0, "", f"goes through {head}, which is not a table")]
    return _merge_below(inner, places, place, path, remaining, raw, keys)


def _entry_names(entries: list[Any]) -> list[str]:
    """Return the name, or symbol, of each table of a list, in the form of a variable; empty for a table without one."""
    return [_slug(t.get("name", t.get("symbol", ""))) if isinstance(t, dict) else "" for t in entries]


def _entry_index(entries: list[Any], chosen: str) -> int | None:
    """Return the index of the table of a list that `chosen` selects, by index or by name; None without one."""
    if chosen.isdigit() and int(chosen) < len(entries):
        return int(chosen)
    names = _entry_names(entries)
    return names.index(_slug(chosen)) if _slug(chosen) in names else None


def _no_entry(entries: list[Any], place: str, path: Path, chosen: str) -> Mistake:
    """Return the mistake of an override whose path, at `chosen`, selects no table of a list."""
    names = _entry_names(entries)
    close_name = nearest(_slug(chosen), names)
    remedy = f"write one of {', '.join(n for n in names if n)}" if any(names) else "there are none"
    text = f"names no entry of [[{'.'.join(map(str, path))}]]"
    return Mistake(place, 0, "", text, f"Did you mean {close_name}?" if close_name else remedy)


def _read(key: Key | None, raw: str) -> Any:
    """Return an override's text as a value of its key: TOML, or plain text for a key whose value is text."""
    value: Any = raw
    if "\n" not in raw:
        try:
            value = tomllib.loads(f"value = {raw}")["value"]
        except tomllib.TOMLDecodeError:
            value = raw
    if key is not None and key.text:
        return value if isinstance(value, str) else raw
    if key is not None and key.many and isinstance(value, str):
        return [element.strip() for element in value.split(",") if element.strip()]
    return value


def _slug(name: object) -> str:
    """Return a name as it can be written in a variable: lower case, with _ for all but letters and digits."""
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")


def _nearest_key(place: str, parts: list[str], reserved: Callable[[], frozenset[str]], keys: Keys) -> str:
    """Return the remedy for an unknown key: the key that was probably meant, as a variable or for --set.

    `place` is the variable, or --set with the key, and `parts` the key of --set. `reserved` returns variables that are
    no keys.
    """
    patterns = [p for p, key in keys.items() if key.section is None]
    if place.startswith(PREFIX):
        close = nearest(place, [variable_of(p) for p in patterns] + sorted(reserved()))
        return f"Did you mean {close}?" if close else "the form is QUANTD_SECTION__KEY"
    names = [".".join(p) for p in patterns]
    close = nearest(".".join(parts), names)
    close = close or " or ".join(
        name for name in names if len(parts) == 1 and name.endswith(f".{parts[0]}") and "*" not in name
    )
    return f"Did you mean {close}?" if close else "the form is section.key"


def secret(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """Return the secret `name`: the systemd credential, else the variable QUANTD_<NAME>; None without both.

    Raises ConfigError for a credential that is not a file of UTF-8 text of at most SECRET_BYTES.
    """
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if folder and (file := pathlib.Path(folder) / name).exists():
        try:
            with file.open("rb") as opened:
                data = opened.read(SECRET_BYTES + 1)
            text = data.decode().strip()
            fault = "is larger than 64 KiB" if len(data) > SECRET_BYTES else "has a zero byte" if "\0" in text else ""
        except (OSError, UnicodeDecodeError) as why:
            text, fault = "", f"cannot be read as text ({type(why).__name__})"
        if fault:
            raise ConfigError([Mistake(str(file), 0, name, fault, "check LoadCredential= of the unit")])
        return text or None
    return environ.get(PREFIX + name.upper()) or None


def store_url(url: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return the database's URL with the secret store_password after its user; unchanged without the secret or a
    user."""
    password = secret("store_password", environ)
    scheme, mark, authority = url.partition("://")
    user, at, host = authority.partition("@")
    if not (password and mark and at and user):
        return url
    return f"{scheme}://{user}:{quote(password, safe='')}@{host}"
