"""Changes of the text of a configuration: values of keys are set or removed in place, and comments are kept.

The result is parsed again and compared with the intended document. So a text in a form that this module does not know
is refused and never damaged.
"""

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from textwrap import fill
from typing import Any, Final

from quantd.daemon.config.scan import Path, positions
from quantd.trading.display_text import toml_key, toml_value

WIDTH: Final = 100
"""Characters after which a long list is wrapped."""

Tables = dict[str, Any]


class EditError(ValueError):
    """The text has a key in a form that cannot be changed in place; the message names the key."""


def edited(text: str, changes: Mapping[Path, object], instruments: Sequence[Mapping[str, object]] = ()) -> str:
    """Return a configuration's text with new values: `changes` maps a path, ("feed", "path"), to a value or None.

    None removes the key. `instruments` are tables appended as [[universe.instruments]]. After each edit the text must
    parse to the intended document. Raises EditError if it does not, and ValueError for a text that is no TOML.
    """
    intended: Tables = deepcopy(tomllib.loads(text))
    for path, value in changes.items():
        text = _text_with_value(text, path, value)
        _set_in_document(intended, path, value)
        if _parsed(text, path) != intended:
            raise EditError(".".join(map(str, path)))
    for table in instruments:
        text = appended(text, "universe.instruments", table)
        intended.setdefault("universe", {}).setdefault("instruments", []).append(dict(table))
    if _parsed(text, ("universe", "instruments")) != intended:
        raise EditError("universe.instruments")
    return text


def appended(text: str, name: str, table: Mapping[str, object]) -> str:
    """Return the text with one more element of an array of tables at its end."""
    lines = [f"[[{name}]]", *(assignment(key, value) for key, value in table.items())]
    return f"{text.rstrip(chr(10))}\n\n" + "\n".join(lines) + "\n"


def assignment(key: str, value: object) -> str:
    """Return a TOML line KEY = VALUE; a long list is written over several lines."""
    text = f"{toml_key(key)} = {toml_value(value)}"
    is_long_list = isinstance(value, list | tuple) and len(text) > WIDTH
    return (
        fill(text, WIDTH, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)
        if is_long_list
        else text
    )


def _parsed(text: str, path: Path) -> Tables:
    """Return the document of a changed text. Raises EditError with the path of the change for a text that is no
    TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise EditError(".".join(map(str, path))) from None


def _set_in_document(document: Tables, path: Path, value: object) -> None:
    """Set the value at a path in a parsed document, or remove it with None; missing tables are made."""
    *parents, last = path
    table: Any = document
    for key in parents:
        if isinstance(key, str) and value is not None:
            table.setdefault(key, {})
        try:
            table = table[key]
        except (KeyError, IndexError):
            return
    if value is None:
        table.pop(last, None)
    else:
        table[last] = list(value) if isinstance(value, tuple) else value


def _text_with_value(text: str, path: Path, value: object) -> str:
    """Return the text with the value at a path: it replaces the old value, is added to its table, or begins a new
    table."""
    line_of_path, lines, key = positions(text), text.split("\n"), str(path[-1])
    if path in line_of_path:
        first = line_of_path[path] - 1  # lines count from 1
        last = _last_line(lines, first, path)
        replacement = []
        if value is not None:
            head = lines[first].partition("=")[0].rstrip()  # the key as written, indented or dotted
            replacement = (head + assignment(key, value).removeprefix(toml_key(key))).split("\n")
            if comment := _comment(lines[first : last + 1]):
                column = lines[last].rindex(comment) if last == first else 0
                replacement[-1] = f"{replacement[-1]}   ".ljust(column) + comment
        lines[first : last + 1] = replacement
    elif value is not None:
        parent = path[:-1]
        if parent in line_of_path:
            key_lines = [line - 1 for key_path, line in line_of_path.items() if key_path[:-1] == parent]
            key_lines = [line for line in key_lines if not lines[line].lstrip().startswith("[")]  # no headers
            last_line = _last_line(lines, max(key_lines), path) if key_lines else line_of_path[parent] - 1
            lines[last_line + 1 : last_line + 1] = assignment(key, value).split("\n")
        else:
            end = len(lines) - 1 if not lines[-1] else len(lines)  # before the empty text at the end
            lines[end:end] = ["", f"[{'.'.join(map(str, parent))}]", *assignment(key, value).split("\n")]
    return "\n".join(lines)


def _last_line(lines: Sequence[str], first: int, path: Path) -> int:
    """Return the index of the last line of the value that begins on line `first`. Raises EditError without an end.

    The first lines that are valid TOML by themselves are the whole value.
    """
    for last in range(first, len(lines)):
        try:
            tomllib.loads("\n".join(lines[first : last + 1]))
        except tomllib.TOMLDecodeError:
            continue
        return last
    raise EditError(".".join(map(str, path)))


def _comment(lines: Sequence[str]) -> str:
    """Return the TOML comment at the end of a value's lines; empty without one."""
    *earlier_lines, line = lines
    value = tomllib.loads("\n".join(lines))
    for column in (k for k, sign in enumerate(line) if sign == "#"):
        try:
            # a # begins the comment if the value is the same without the text from there on
            if tomllib.loads("\n".join([*earlier_lines, line[:column]])) == value:
                return line[column:]
        except tomllib.TOMLDecodeError:
            continue  # this # is inside a string
    return ""
