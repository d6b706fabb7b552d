"""The keys of a configuration that affect trading, by name, and the differences between two configurations.

Values are text in the notation of the file: `agents.trend.params.lookback` is `126`.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import blake2b
from json import dumps
from typing import Any, Final

from quantd.daemon.config.document import Config, affects_trading
from quantd.daemon.config.keys import keys_of
from quantd.daemon.config.mistakes import notation
from quantd.daemon.config.scan import Path
from quantd.daemon.config.values import Section

NAMES: Final = ("name", "symbol", "agent", "of")
"""Keys that contain the name of a table in a list."""

LONGEST: Final = 200
"""Most characters of a value. A longer value is cut and gets a digest of the whole, so that values stay distinct."""

SHOWN: Final = 60
"""Most characters of a value in a sentence."""

ABSENT: Final = "none"
"""Text of a key without a value."""

_PLAIN: Final = re.compile(r"[\w-]+")
_PART: Final = re.compile(r'"[^"]*"|[^."]+')

Values = Mapping[str, str]
"""Dotted key -> value as text."""


def trading_keys(config: Config) -> dict[str, str]:
    """Return every key that affects trading, defaults included; the value of a list of tables is the list of their
    names."""
    return {name: _value_text(value) for name, value, _ in _walk(config.document, (), "")}


def changed_keys(config: Config) -> dict[str, str]:
    """Return every key that affects trading and whose value is not the default."""
    return {
        name: _value_text(value)
        for name, value, usual in _walk(config.document, (), "", changed=True)
        if value != usual
    }


def differences(there: Values, here: Values, *, joint: str = ", here ") -> list[str]:
    """Return a line for each key that differs between two configurations: "agents.trend.params.lookback 63, here 126".

    `joint` is the text between the two values. The keys of a table that only one configuration has are not listed: a
    line about the table, or its list, says enough.
    """
    return _differences(there, here, joint, (ABSENT, {}))


def changes_beside(there: Values, here: Config) -> list[str]:
    """Return a line for each key that differs between `here` and another configuration, whose `changed_keys` are
    `there`."""
    return _differences(there, changed_keys(here), ", here ", ("default", trading_keys(here)))


def _differences(there: Values, here: Values, joint: str, absent: tuple[str, Values]) -> list[str]:
    """Return a line for each key that differs between the configurations `there` and `here` (dotted key -> text).

    `joint` is the text between the two values. `absent` is (text shown for an absent key, values of further
    keys of the second configuration, such as defaults).
    """
    tables = _optional_tables(there), _optional_tables(here)
    absent_text, values_here = absent
    lines = []
    for name in sorted({*there, *here}):
        text_there, text_here = there.get(name, absent_text), here.get(name, absent_text)
        # a table that only one side has is a line of its own, without lines for its keys
        if text_there == text_here or any(
            (outer in tables[0]) != (outer in tables[1]) for outer in _outer_tables(name)
        ):
            continue
        text_there, text_here = _cut(text_there), _cut(here.get(name, values_here.get(name, absent_text)))
        # long values may be equal once they are cut
        lines.append(f"{name} {text_there}{joint}{text_here}" if text_there != text_here else f"{name} differs")
    return lines


def _outer_tables(name: str) -> list[str]:
    """Return the dotted names of the tables that contain a configuration key, the outermost first."""
    parts = _PART.findall(name)
    return [".".join(parts[:k]) for k in range(1, len(parts))]


def _optional_tables(values: Values) -> set[str]:
    """Return the names of the tables in lists and of the optional tables that a configuration has."""
    tables = set()
    for name in values:
        outer = _outer_tables(name)
        for parent, table in zip(["", *outer], outer, strict=False):
            # a list has its names as its value, and an optional table is "true"
            if parent in values or values.get(table) == "true":
                tables.add(table)
    return tables


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _value_text(value: Any) -> str:
    """Return a configuration value as JSON text of at most LONGEST characters."""
    text = ABSENT if value is None else dumps(value, ensure_ascii=False)
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 20]}... {blake2b(text.encode(), digest_size=8).hexdigest()}"


def _walk(section: Section, path: Path, above: str, *, changed: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, value, default) of each key of a table that affects trading.

    `path` and `above` are the path and the dotted name of the table. With `changed`, keys and whole tables that have
    their default are left out.
    """
    for name, key in keys_of(type(section)).items():
        key_path, dotted_name = (*path, name), f"{above}.{name}" if above else name
        value = getattr(section, key.attribute)
        usual = _default(type(section), key.attribute)
        if changed and value == usual:
            continue
        if key.section is None or value is None:
            if affects_trading(key_path, value):
                yield from _values(key.attribute, dotted_name, value, usual)
        elif key.many:
            names = _names_of(value)
            if affects_trading(key_path, value):
                yield dotted_name, names, []
            for k, (inner, title) in enumerate(zip(value, names, strict=True)):
                row = f"{dotted_name}.{title if _PLAIN.fullmatch(title) else dumps(title)}"
                yield from _walk(inner, (*key_path, k), row, changed=changed)
        else:
            if usual is None and affects_trading(key_path, value):  # the presence of an optional table is a setting
                yield dotted_name, True, None
            yield from _walk(value, key_path, dotted_name, changed=changed)


@cache
def _default(section: type[Section], attribute: str) -> Any:
    """Return the default of a configuration key; cached, because pydantic copies it at each call."""
    return section.model_fields[attribute].get_default(call_default_factory=True)


def _names_of(tables: tuple[Section, ...]) -> list[str]:
    """Return the names of the tables in a list; their numbers, from 1, if a name is missing or occurs twice."""
    names = [next((str(name) for key in NAMES if (name := getattr(table, key, ""))), "") for table in tables]
    return names if len({*names, ""}) > len(names) else [str(k + 1) for k in range(len(tables))]


def _values(attribute: str, dotted_name: str, value: Any, usual: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, value, default) of a key, or of each entry of a free table such as `params`. `usual` is the
    default."""
    if not isinstance(value, Mapping):
        yield dotted_name, notation(attribute, value), notation(attribute, usual)
        return
    for name, inner in value.items():
        yield f"{dotted_name}.{name}", notation("", inner), None
