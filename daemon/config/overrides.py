"""Overrides: `QUANTD_RISK__MAX_DRAWDOWN=0.2` in the environment and `--set risk.max_drawdown=0.2`.

They are merged into the document before it is checked, so that the same rules apply to them.
"""

import os
import pathlib
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from functools import cache
from typing import Any
from urllib.parse import quote

from quantd.daemon.config.keys import Key, Pattern, all_keys, pattern_of
from quantd.daemon.config.mistakes import ConfigError, Mistake, nearest
from quantd.daemon.config.scan import Path
from quantd.daemon.config.schema import Document
from quantd.engine_build.recipe import VARIABLES

PREFIX = "QUANTD_"

SECRET_BYTES = 65_536
"""A larger credential is the wrong file."""

Keys = Mapping[Pattern, Key]
"""Every key of the file."""

SECRETS = {
    "mqtt_password": "password of the MQTT broker",
    "mqtt_command_key": "key that signs commands over MQTT",
    "store_password": "password of the database",
}
"""Secrets of the daemon itself: files of these names in the systemd credentials directory, or QUANTD_<NAME>.

Those of feeds and brokers are in their records.
"""

PLAIN = {
    "API_PORT": ("api", "port"),
    "DATA_PATH": ("feed", "path"),
    "LOG_LEVEL": ("log", "level"),
    "MONITOR_INTERVAL": ("risk", "monitor_interval"),
}
"""Short variables of keys, below those with the prefix. DATA_PATH is for recorded bars; an interval has seconds."""

OPTIONS = ("QUANTD_CONFIG", "QUANTD_STATE")
"""Variables for the options --config and --state of each command."""


FIXED = frozenset({
    "QUANTD_REQUIRE_SERVICES", "QUANTD_PROGRESS", *OPTIONS, *VARIABLES, *(PREFIX + name.upper() for name in SECRETS),
})  # fmt: skip
"""Variables with the prefix QUANTD_ that are not keys of config.toml, whatever adapters are installed."""


def between(sets: Iterable[str] | None, start: date | None, end: date | None) -> tuple[str, ...]:
    """The overrides `sets`, then those of the first and the last day of the feed, where given."""
    bounds = (("start", start), ("end", end))
    return (*(sets or ()), *(f"feed.{key}={day.isoformat()}" for key, day in bounds if day is not None))


def not_keys(secrets: Iterable[str]) -> frozenset[str]:
    """All variables with the prefix QUANTD_ that are not keys of config.toml; `secrets` are those of the adapters."""
    return FIXED | {PREFIX + name.upper() for name in secrets}


def apply(
    document: dict[str, Any],
    environ: Mapping[str, str],
    sets: Iterable[str],
    schema: type[Document],
    secrets: Iterable[str] = (),
) -> tuple[dict[Path, str], list[Mistake]]:
    """Merges overrides into `document`, --set after the environment; returns (path -> its text, mistakes).

    Variables of `secrets` are not overrides. They are read only where a variable has the prefix.
    """
    keys, reserved = all_keys(schema), cache(lambda: not_keys(secrets))
    places: dict[Path, str] = {}
    mistakes: list[Mistake] = []
    for variable, key_path in PLAIN.items():
        if override := _plain(document, variable, environ):
            mistakes += _put(document, places, variable, list(key_path), override, reserved, keys)
    for variable in sorted(environ):
        if variable.startswith(PREFIX) and variable not in FIXED and variable not in reserved():
            parts = variable.removeprefix(PREFIX).lower().split("__")
            mistakes += _put(document, places, variable, parts, environ[variable], reserved, keys)
    for text in sets:
        key, equals, value = text.partition("=")
        place = f"--set {key.strip()}"
        if not equals:
            mistakes.append(Mistake(place, 0, "", "has no value", "write --set KEY=VALUE"))
            continue
        mistakes += _put(document, places, place, key.strip().split("."), value.strip(), reserved, keys)
    return places, mistakes


def _plain(document: Mapping[str, Any], variable: str, environ: Mapping[str, str]) -> str:
    """The text of a short variable as its key takes it; "" where it is unset or does not apply."""
    text, path = environ.get(variable, ""), PLAIN[variable]
    feed = document.get("feed", {})
    kind = environ.get("QUANTD_FEED__KIND") or (feed.get("kind", "replay") if isinstance(feed, dict) else "")
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
    """Return the variables of the environment that replace keys of the configuration; variables of secrets are left
    out.
    """
    return {name: text for name, text in environ.items() if name in PLAIN or (name[:7] == PREFIX and "__" in name)}


def variable_of(pattern: Pattern) -> str:
    """The environment variable of a key."""
    return PREFIX + "__".join(pattern).upper().replace("-", "_")


def _put(
    document: dict[str, Any],
    places: dict[Path, str],
    place: str,
    parts: list[str],
    raw: str,
    reserved: Callable[[], frozenset[str]],
    keys: Keys,
) -> list[Mistake]:
    if len(parts) == 1 and (parts[0],) in keys and not place.startswith(PREFIX):
        many = keys[(parts[0],)].many
        form = f"--set {parts[0]}.{'NAME.' if many else ''}KEY=VALUE"
        more = f"; write a new [[{parts[0]}]] into the file" if many else ""
        return [Mistake(place, 0, "", "names a whole table", f"set one key of it, {form}{more}")]
    if len(parts) < 2 or (parts[0],) not in keys:
        return [Mistake(place, 0, "", "is not a key of quantd", _nearest_key(place, parts, reserved, keys))]
    return _into(document, places, place, (), parts, raw, keys)


def _into(
    table: dict[str, Any], places: dict[Path, str], place: str, path: Path, parts: list[str], raw: str, keys: Keys
) -> list[Mistake]:
    """Follows `parts` below `path`, through tables and, by index or name, through lists of tables."""
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
        index = _entry(inner, remaining[0])
        if index is None:
            return [_no_entry(inner, place, path, remaining[0])]
        inner, path, remaining = inner[index], (*path, index), remaining[1:]
        if not remaining:
            return [Mistake(place, 0, "", "names a whole table", "name one key of it")]
    if not isinstance(inner, dict):
        return [Mistake(place, 0, "", f"goes through {head}, which is not a table")]
    return _into(inner, places, place, path, remaining, raw, keys)


def _names(entries: list[Any]) -> list[str]:
    return [_slug(t.get("name", t.get("symbol", ""))) if isinstance(t, dict) else "" for t in entries]


def _entry(entries: list[Any], chosen: str) -> int | None:
    """The table of a list that `chosen` selects, by index or by name."""
    if chosen.isdigit() and int(chosen) < len(entries):
        return int(chosen)
    names = _names(entries)
    return names.index(_slug(chosen)) if _slug(chosen) in names else None


def _no_entry(entries: list[Any], place: str, path: Path, chosen: str) -> Mistake:
    names = _names(entries)
    near = nearest(_slug(chosen), names)
    here = f"write one of {', '.join(n for n in names if n)}" if any(names) else "there are none"
    text = f"names no entry of [[{'.'.join(map(str, path))}]]"
    return Mistake(place, 0, "", text, f"Did you mean {near}?" if near else here)


def _read(key: Key | None, raw: str) -> Any:
    """An override's text as a value: bare text when the key holds text, else TOML."""
    value: Any = raw
    if "\n" not in raw:
        try:
            value = tomllib.loads(f"value = {raw}")["value"]
        except tomllib.TOMLDecodeError:
            value = raw
    if key is not None and key.text:
        return value if isinstance(value, str) else raw
    if key is not None and key.many and isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _slug(name: object) -> str:
    return re.sub(r"[^a-z0-9]+", "_", str(name).lower()).strip("_")


def _nearest_key(place: str, parts: list[str], reserved: Callable[[], frozenset[str]], keys: Keys) -> str:
    """The override that was probably meant, in the notation of the original."""
    patterns = [p for p, key in keys.items() if key.section is None]
    if place.startswith(PREFIX):
        close = nearest(place, [variable_of(p) for p in patterns] + sorted(reserved()))
        return f"Did you mean {close}?" if close else "the form is QUANTD_SECTION__KEY"
    close = nearest(".".join(parts), [".".join(p) for p in patterns])
    return f"Did you mean {close}?" if close else "the form is section.key"


def secret(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """The secret `name`: a systemd credential first, then QUANTD_<NAME>; None when not given.

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
    """The database's URL with the secret store_password after its user; unchanged when either is missing."""
    password = secret("store_password", environ)
    scheme, mark, authority = url.partition("://")
    user, at, place = authority.partition("@")
    if not (password and mark and at and user):
        return url
    return f"{scheme}://{user}:{quote(password, safe='')}@{place}"
