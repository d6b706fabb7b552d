"""Mistakes in a configuration: place, fault and remedy, all reported at once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any

from quantd.daemon.config.scan import Path
from quantd.trading.exit_codes import CONFIG, ExplainedError

_PASSWORD = re.compile(r"(?<=[^/]):[^@/]*@")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `file` is a file's name or the text of an override; `line` is 0 without a line; `path` is dotted.

    `remedy` begins with a capital when it is a sentence of its own.
    """

    file: str
    line: int
    path: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        joint = "" if not self.remedy else ". " if self.remedy[0].isupper() else "; "
        sentence = f"{self.text}{joint}{self.remedy}"
        return f"{place}: {sentence}{'' if sentence.endswith(('.', '?', '!')) else '.'}"


class ConfigError(ExplainedError):
    """The configuration has mistakes. `str()` is the message for the user; the command line exits with 78."""

    exit_code = CONFIG

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes), key=lambda m: (m.line == 0, m.line, m.file, m.text))
        super().__init__(self.mistakes)

    def __str__(self) -> str:
        count = len(self.mistakes)
        end = f"{count} mistake{'' if count == 1 else 's'}; nothing was started."
        return "\n".join([*map(str, self.mistakes), end])


@dataclass(frozen=True, slots=True)
class Source:
    """The places of the values of one configuration: lines of the file, and overrides with their text."""

    file: str
    folder: FilePath
    lines: Mapping[Path, int] = field(default_factory=dict)
    overrides: Mapping[Path, str] = field(default_factory=dict)
    names: Mapping[Path, str] = field(default_factory=dict)

    def place(self, path: Path) -> tuple[str, int]:
        """(file or override, line) of `path`, or of the nearest enclosing table that has a place."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.overrides:
                return self.overrides[path[:end]], 0
            if path[:end] in self.lines:
                return self.file, self.lines[path[:end]]
        return self.file, 0

    def label(self, path: Path) -> str:
        """`[risk] var.limit`, `[[agents]] "trend" capital`, `[universe] symbols[3]`."""
        head, inner = str(path[0]), path[1:]
        text = f"[{head}]"
        if head in ("agents", "schedules"):
            text, inner = f"[[{head}]]", inner[1:]
            name = self.names.get(path[:2])
            text += f' "{name}"' if name else f" number {int(path[1]) + 1}" if len(path) > 1 else ""
        return f"{text} {dotted(inner)}" if inner else text

    def mistake(self, path: Path, text: str, remedy: str = "") -> Mistake:
        """A mistake about the key at `path`; `text` follows its label."""
        file, line = self.place(path)
        return Mistake(file, line, dotted(path), f"{self.label(path)} {text}", remedy)


def dotted(path: Path) -> str:
    """A path in dotted notation: `universe.symbols[3]`."""
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out


def nearest(word: str, words: Iterable[str]) -> str:
    """The valid name closest to `word`; empty when none is close."""
    by_small = {name.lower(): name for name in words}
    close = get_close_matches(word.lower(), list(by_small), n=1, cutoff=0.6)
    return by_small[close[0]] if close else ""


def suggestion(word: object, words: Sequence[str]) -> str:
    """The remedy for a name that is not one of `words`: the nearest one, else all of them."""
    close = nearest(word, words) if isinstance(word, str) else ""
    if close:
        return f"Did you mean {close}?"
    return f"write one of {', '.join(words)}" if words else ""


def without_password(text: str) -> str:
    """An address with its password removed."""
    return _PASSWORD.sub(":…@", text)


def shown(value: Any) -> str:
    """A value in TOML notation, cut to 60 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = f'"{without_password(value)}"'
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(shown, value))}]"
    elif isinstance(value, Mapping):
        text = "{ " + ", ".join(f"{k} = {shown(v)}" for k, v in value.items()) + " }"
    elif isinstance(value, int) and abs(value) >= 10**60:
        text = "a number of more than 60 digits"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
