"""Mistakes in a configuration, each with its line, fault and remedy; all are reported at once."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path as FilePath
from typing import Any

from quantd.daemon.config.scan import Path
from quantd.trading.exit_codes import CONFIG, ExplainedError
from quantd.trading.orders import money_text, price_text
from quantd.trading.sessions import interval_text

_PASSWORD = re.compile(r"(?<=[^/]):[^@/]*@")


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake. `file` is a file's name or the text of an override; `line` is 0 without a line; `path` is dotted.

    `remedy` begins with a capital letter if it is a separate sentence.
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
    """Where each value of one configuration comes from: path -> line of the file, and path -> text of an override.

    `names` maps the path of a table in a list, such as an agent, to its name.
    """

    file: str
    folder: FilePath
    lines: Mapping[Path, int] = field(default_factory=dict)
    overrides: Mapping[Path, str] = field(default_factory=dict)
    names: Mapping[Path, str] = field(default_factory=dict)

    def place(self, path: Path) -> tuple[str, int]:
        """Return (file or override, line) of `path`, or of the nearest enclosing table that has one; line 0 without a
        line."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.overrides:
                return self.overrides[path[:end]], 0
            if path[:end] in self.lines:
                return self.file, self.lines[path[:end]]
        return self.file, 0

    def label(self, path: Path) -> str:
        """Return a key's path for a message: `[risk] var.limit` or `[[agents]] "trend" capital` or `[universe]
        symbols[3]`."""
        head, inner = str(path[0]), path[1:]
        text = f"[{head}]"
        if head in ("agents", "schedules"):
            text, inner = f"[[{head}]]", inner[1:]
            name = self.names.get(path[:2])
            text += f' "{name}"' if name else f" number {int(path[1]) + 1}" if len(path) > 1 else ""
        return f"{text} {dotted(inner)}" if inner else text

    def mistake(self, path: Path, text: str, remedy: str = "") -> Mistake:
        """Return a mistake about the key at `path`; its message is the label of the path, then `text`."""
        file, line = self.place(path)
        return Mistake(file, line, dotted(path), f"{self.label(path)} {text}", remedy)


def dotted(path: Path) -> str:
    """Return the path of a configuration key in dotted notation: `universe.symbols[3]`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def nearest(word: str, words: Iterable[str], least: float = 0.6) -> str:
    """Return the name of `words` that is closest to `word`, in any case; empty if none is close."""
    name_by_lower = {name.lower(): name for name in words}
    close = get_close_matches(word.lower(), list(name_by_lower), n=1, cutoff=least)
    return name_by_lower[close[0]] if close else ""


def suggestion(word: object, words: Sequence[str]) -> str:
    """Return the remedy for a name that is not one of `words`: the nearest of them, else all of them."""
    # of the few values of a key a wrong one is often of another meaning: `never` is no `event`
    close = nearest(word, words, 0.75) if isinstance(word, str) else ""
    if close:
        return f"Did you mean {close}?"
    return f"write one of {', '.join(words)}" if words else ""


def without_password(text: str) -> str:
    """Return a network address with its password removed."""
    return _PASSWORD.sub(":…@", text)


def notation(attribute: str, value: Any) -> Any:
    """Return the value of a key as config.toml would write it.

    The ending of `attribute` names the unit: durations (_ns), money (_micro) and prices (_nano) become text. Dates are
    ISO 8601 text. Passwords are removed from addresses.
    """
    if isinstance(value, int) and attribute.endswith("_ns"):
        # `interval_text` would drop the fraction of a second, and write 0 as "0d"
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


def shown(value: Any) -> str:
    """Return a configuration value in TOML notation, cut to 60 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = f'"{without_password(value)}"'
        text = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
    elif isinstance(value, (list, tuple)):
        text = f"[{', '.join(map(shown, value))}]"
    elif isinstance(value, Mapping):
        text = "{ " + ", ".join(f"{k} = {shown(element)}" for k, element in value.items()) + " }"
    elif isinstance(value, int) and abs(value) >= 10**60:
        text = "a number of more than 60 digits"
    else:
        text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
