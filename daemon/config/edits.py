"""Changes of the text of a configuration: values of keys are set or removed in place, and comments stay.

The result is parsed again and compared with the document that was wanted, so that a text in a form that this module
does not know is refused and never damaged.
"""

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from textwrap import fill
from typing import Any, Final

from quantd.daemon.config.scan import Path, positions
from quantd.trading.display_text import toml_key, toml_value

WIDTH: Final = 100
"""Columns of a list of symbols."""

Tables = dict[str, Any]


class EditError(ValueError):
    """The text has a key in a form that cannot be changed in place; the message names the key."""


def edited(text: str, changes: Mapping[Path, object], instruments: Sequence[Mapping[str, object]] = ()) -> str:
    """Return a configuration's text with the value at each path, ("feed", "path"); None removes the key.

    `instruments` are tables appended as [[universe.instruments]]. Raises EditError, and ValueError for no TOML.
    """
    wanted: Tables = deepcopy(tomllib.loads(text))
    for path, value in changes.items():
        text = _changed(text, path, value)
        _put(wanted, path, value)
        if _parsed(text, path) != wanted:
            raise EditError(".".join(map(str, path)))
    for table in instruments:
        text = appended(text, "universe.instruments", table)
        wanted.setdefault("universe", {}).setdefault("instruments", []).append(dict(table))
    if _parsed(text, ("universe", "instruments")) != wanted:
        raise EditError("universe.instruments")
    return text


def appended(text: str, name: str, table: Mapping[str, object]) -> str:
    """Return the text with one more element of an array of tables at its end."""
    lines = [f"[[{name}]]", *(assignment(key, value) for key, value in table.items())]
    return f"{text.rstrip(chr(10))}\n\n" + "\n".join(lines) + "\n"


def assignment(key: str, value: object) -> str:
    """Return KEY = VALUE in TOML, a long list over several lines."""
    text = f"{toml_key(key)} = {toml_value(value)}"
    many = isinstance(value, list | tuple) and len(text) > WIDTH
    return fill(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False) if many else text


def _parsed(text: str, path: Path) -> Tables:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise EditError(".".join(map(str, path))) from None


def _put(document: Tables, path: Path, value: object) -> None:
    *parents, last = path
    at: Any = document
    for part in parents:
        if isinstance(part, str) and value is not None:
            at.setdefault(part, {})
        try:
            at = at[part]
        except (KeyError, IndexError):
            return
    if value is None:
        at.pop(last, None)
    else:
        at[last] = list(value) if isinstance(value, tuple) else value


def _changed(text: str, path: Path, value: object) -> str:
    at, lines, key = positions(text), text.split("\n"), str(path[-1])
    if path in at:
        first = at[path] - 1
        last = _last_line(lines, first, path)
        replacement = []
        if value is not None:
            head = lines[first].partition("=")[0].rstrip()  # with its indentation, and the dots of feed.path
            replacement = (head + assignment(key, value).removeprefix(toml_key(key))).split("\n")
            if comment := _comment(lines[first : last + 1]):
                column = lines[last].rindex(comment) if last == first else 0
                replacement[-1] = f"{replacement[-1]}   ".ljust(column) + comment
        lines[first : last + 1] = replacement
    elif value is not None:
        parent = path[:-1]
        if parent in at:
            keys = [line - 1 for key_path, line in at.items() if key_path[:-1] == parent]
            keys = [line for line in keys if not lines[line].lstrip().startswith("[")]
            place = _last_line(lines, max(keys), path) if keys else at[parent] - 1
            lines[place + 1 : place + 1] = assignment(key, value).split("\n")
        else:
            end = len(lines) - 1 if not lines[-1] else len(lines)
            lines[end:end] = ["", f"[{'.'.join(map(str, parent))}]", *assignment(key, value).split("\n")]
    return "\n".join(lines)


def _last_line(lines: Sequence[str], first: int, path: Path) -> int:
    """Return the last line of the value that begins on line `first`. Raises EditError where no line ends it."""
    for last in range(first, len(lines)):
        try:
            tomllib.loads("\n".join(lines[first : last + 1]))
        except tomllib.TOMLDecodeError:
            continue
        return last
    raise EditError(".".join(map(str, path)))


def _comment(lines: Sequence[str]) -> str:
    """Return the comment at the end of the lines of a value."""
    *before, line = lines
    value = tomllib.loads("\n".join(lines))
    for place in (k for k, sign in enumerate(line) if sign == "#"):
        try:
            if tomllib.loads("\n".join([*before, line[:place]])) == value:
                return line[place:]
        except tomllib.TOMLDecodeError:
            continue  # the sign is inside a text
    return ""
