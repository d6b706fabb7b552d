"""Finds the line of each key of a TOML text.

`tomllib` returns values without their lines. This scanner finds the lines in a text that `tomllib` has accepted; it
does not validate.
"""

import re
import tomllib
from bisect import bisect_right
from collections.abc import Callable
from typing import Final

Path = tuple[str | int, ...]
"""Keys and array indices from the root: ("agents", 0, "limits", "var")."""

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"""(?:"{0,2})'
    r"|'''(?:[^']|'{1,2}(?!'))*'''(?:'{0,2})"
    r'|"(?:[^\\"\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)
_SCALAR = re.compile(r"\d{4}-\d\d-\d\d \d\d:[^\s,\]}#]*|[^\s,\]}#]+")  # a date and its time may have a space between

MOST_PARTS: Final = 32
"""Most parts of a dotted key. The time of tomllib grows with the square of their number: 17 s for 20,000 parts."""

_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^\\"\n]|\\.)*+"?|'[^'\n]*+'?)"""
_TOKEN = re.compile(  # a quote without an end matches the rest of the text, so that the time is linear in any text
    r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*+(?:"{3,5})?'
    r"|'''(?:[^']|'{1,2}(?!'))*+(?:'{3,5})?"
    r"|#[^\n]*+"
    rf"|(?P<deep>{_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MOST_PARTS}}})"
    rf"|{_PART}",
    re.DOTALL,
)


def deep_key(source: str) -> int:
    """Return the line (from 1) of the first key with more than MOST_PARTS parts, also in a text that is no TOML; 0
    without one."""
    key = next((token for token in _TOKEN.finditer(source) if token["deep"]), None)
    return 0 if key is None else source.count("\n", 0, key.start()) + 1


def positions(source: str) -> dict[Path, int]:
    """Return the line (from 1) of every key, table and array element of a valid TOML text, by its path.

    A table that is opened several times has the line of its first header.
    """
    scanner = _Scanner(source)
    scanner.document()
    return scanner.lines


class _Scanner:
    """A pass over a TOML text. `at` is the offset of the next character, and `starts` the offsets of the lines."""

    __slots__ = ("at", "elements", "lines", "source", "starts")

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.lines: dict[Path, int] = {}
        self.starts = [0, *(m.end() for m in re.finditer("\n", source))]
        self.elements: dict[Path, int] = {}  # number of tables so far in each [[array of tables]]

    def document(self) -> None:
        table: Path = ()
        while self._skip(_GAP) < len(self.source):
            if self.source.startswith("[[", self.at):
                table = self._header(2)
            elif self.source[self.at] == "[":
                table = self._header(1)
            else:
                self._pair(table)

    def _skip(self, what: re.Pattern[str]) -> int:
        """Go past what the pattern matches at the present offset, if anything; return the new offset."""
        match = what.match(self.source, self.at)
        if match is not None:
            self.at = match.end()
        return self.at

    def _take(self, what: re.Pattern[str]) -> str:
        """Go past what the pattern matches at the present offset, and return it. Raises ValueError without a match."""
        start = self.at
        if self._skip(what) == start:
            raise ValueError(f"not TOML at offset {start}")
        return self.source[start : self.at]

    def _mark(self, path: Path, offset: int) -> None:
        """Record the line of the TOML path at `offset`, unless an earlier line is recorded."""
        self.lines.setdefault(path, bisect_right(self.starts, offset))

    def _header(self, brackets: int) -> Path:
        """Read a header `[table]` (1 bracket) or `[[array of tables]]` (2), and return the path of its table.

        `elements` counts the tables of each array; `_mark` records the line of a path, and `_enter` opens its table.
        """
        offset = self.at
        self.at += brackets
        *parents, last = self._key()
        self.at += brackets
        path: Path = ()
        for part in parents:
            path = self._enter((*path, part), offset)
        if brackets == 1:
            return self._enter((*path, last), offset)
        path = (*path, last)
        self._mark(path, offset)
        self.elements[path] = self.elements.get(path, 0) + 1
        return self._enter(path, offset)

    def _enter(self, path: Path, offset: int) -> Path:
        """Return the path of the table that the header `path` refers to; for an array of tables, its latest element."""
        self._mark(path, offset)
        if path in self.elements:
            path = (*path, self.elements[path] - 1)
            self._mark(path, offset)
        return path

    def _key(self) -> list[str]:
        """Read a key, up to the character behind it, and return its dotted parts."""
        parts = []
        while True:
            self._skip(_BLANK)
            quoted = self.source[self.at] in "\"'"
            text = self._take(_STRING if quoted else _BARE)
            parts.append(tomllib.loads(f"key = {text}")["key"] if quoted else text)
            self._skip(_BLANK)
            if self.source[self.at] != ".":
                return parts
            self.at += 1

    def _pair(self, table: Path) -> None:
        """Read one KEY = VALUE of the TOML table at this path."""
        offset, path = self.at, table
        for part in self._key():
            path = (*path, part)
            self._mark(path, offset)
        self.at += 1  # the equals sign
        self._skip(_BLANK)
        self._value(path)

    def _value(self, path: Path) -> None:
        """Read the value of the key at `path`, up to the character behind it."""
        match self.source[self.at]:
            case "[":
                self._sequence("]", lambda k: self._element((*path, k)))
            case "{":
                self._sequence("}", lambda _: self._pair(path))
            case '"' | "'":
                self._take(_STRING)
            case _:
                self._take(_SCALAR)

    def _element(self, path: Path) -> None:
        self._mark(path, self.at)
        self._value(path)

    def _sequence(self, end: str, item: Callable[[int], None]) -> None:
        """Read the elements of an array or inline table up to `end`; `item` reads the element with this index."""
        self.at += 1
        count = 0
        while self._skip(_GAP) < len(self.source) and self.source[self.at] != end:
            item(count)
            count += 1
            if self.source[self._skip(_GAP)] == ",":
                self.at += 1
        self.at += 1
