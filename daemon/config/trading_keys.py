"""The keys of a configuration that affect trading, under the names of their tables, and how two configurations differ.

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
from quantd.daemon.config.mistakes import without_password
from quantd.daemon.config.scan import Path
from quantd.daemon.config.values import Section
from quantd.trading.orders import money_text, price_text
from quantd.trading.sessions import interval_text

NAMES: Final = ("name", "symbol", "agent", "of")
"""The keys that name a table of a list."""

LONGEST: Final = 200
"""Characters of a value. A longer one is cut, with a digest of the whole, so that other values stay other texts."""

SHOWN: Final = 60
"""Characters of a value in a sentence."""

ABSENT: Final = "none"

_PLAIN: Final = re.compile(r"[\w-]+")
_PART: Final = re.compile(r'"[^"]*"|[^."]+')

Values = Mapping[str, str]
"""Values as text by dotted key."""


def trading_keys(config: Config) -> dict[str, str]:
    """Every key that affects trading, defaults included; the value of a list of tables is the list of their names."""
    return {name: _kept(value) for name, value, _ in _walk(config.document, (), "")}


def changed_keys(config: Config) -> dict[str, str]:
    """The keys that affect trading whose value is not the default."""
    return {name: _kept(value) for name, value, usual in _walk(config.document, (), "", changed=True) if value != usual}


def differences(there: Values, here: Values, *, joint: str = ", here ") -> list[str]:
    """The keys that differ, each with both values: "agents.trend.params.lookback 63, here 126".

    A table that only one of them has is named by its list, without its keys.
    """
    return _differing(there, here, joint, (ABSENT, {}))


def changes_beside(there: Values, here: Config) -> list[str]:
    """The `changed_keys` of a configuration that differ from those of `here`, as `differences` has them."""
    return _differing(there, changed_keys(here), ", here ", ("default", trading_keys(here)))


def _differing(there: Values, here: Values, joint: str, absent: tuple[str, Values]) -> list[str]:
    """The differences; `absent` is the value of an absent key, and the values that `here` has for absent keys."""
    tables = _tables(there), _tables(here)
    text, usual = absent
    out = []
    for name in sorted({*there, *here}):
        one, two = there.get(name, text), here.get(name, text)
        if one == two or any((above in tables[0]) != (above in tables[1]) for above in _above(name)):
            continue
        one, two = _short(one), _short(here.get(name, usual.get(name, text)))
        out.append(f"{name} {one}{joint}{two}" if one != two else f"{name} differs")
    return out


def _above(name: str) -> list[str]:
    """The tables that a key is in, the outermost first."""
    parts = _PART.findall(name)
    return [".".join(parts[:k]) for k in range(1, len(parts))]


def _tables(values: Values) -> set[str]:
    """The names of the tables that a configuration may leave out: tables of lists, and optional tables."""
    tables = set()
    for name in values:
        outer = _above(name)
        for parent, above in zip(["", *outer], outer, strict=False):
            if parent in values or values.get(above) == "true":
                tables.add(above)
    return tables


def _short(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def _kept(value: Any) -> str:
    """A value as text."""
    text = ABSENT if value is None else dumps(value, ensure_ascii=False)
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 20]}... {blake2b(text.encode(), digest_size=8).hexdigest()}"


def _walk(section: Section, path: Path, above: str, *, changed: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted name, value, default) of each key below `path` that affects trading.

    With `changed`, keys and whole tables that have their default are left out.
    """
    for name, key in keys_of(type(section)).items():
        here, dot = (*path, name), f"{above}.{name}" if above else name
        value = getattr(section, key.attribute)
        usual = _default(type(section), key.attribute)
        if changed and value == usual:
            continue
        if key.section is None or value is None:
            if affects_trading(here, value):
                yield from _values(key.attribute, dot, value, usual)
        elif key.many:
            names = _names_of(value)
            if affects_trading(here, value):
                yield dot, names, []
            for k, (inner, title) in enumerate(zip(value, names, strict=True)):
                row = f"{dot}.{title if _PLAIN.fullmatch(title) else dumps(title)}"
                yield from _walk(inner, (*here, k), row, changed=changed)
        else:
            if usual is None and affects_trading(here, value):
                yield dot, True, None
            yield from _walk(value, here, dot, changed=changed)


@cache
def _default(section: type[Section], attribute: str) -> Any:
    """The default of a key. Pydantic copies it at each question."""
    return section.model_fields[attribute].get_default(call_default_factory=True)


def _names_of(tables: tuple[Section, ...]) -> list[str]:
    """The names of the tables of a list, or their numbers from 1 on."""
    names = [next((str(name) for key in NAMES if (name := getattr(table, key, ""))), "") for table in tables]
    return names if len({*names, ""}) > len(names) else [str(k + 1) for k in range(len(tables))]


def _values(attribute: str, dot: str, value: Any, usual: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield a value, or each value of a free table such as `params`."""
    if not isinstance(value, Mapping):
        yield dot, notation(attribute, value), notation(attribute, usual)
        return
    for name, inner in value.items():
        yield f"{dot}.{name}", notation("", inner), None


def notation(attribute: str, value: Any) -> Any:
    """A value in the notation of the file: durations and amounts as text, ISO 8601 dates, no password in an address."""
    if isinstance(value, int) and attribute.endswith("_ns"):
        return f"{value / 1e9:g}s" if value % 1_000_000_000 or not value else interval_text(value)
    if isinstance(value, int) and attribute.endswith("_micro"):
        return money_text(value)
    if isinstance(value, int) and attribute.endswith("_nano"):
        return price_text(value)
    if isinstance(value, str):
        return without_password(value)
    if isinstance(value, Mapping):
        return {str(name): notation("", inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [notation("", inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
