"""Parses a text into a Config, or reports every mistake in it."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path as FilePath
from typing import Any, Final

from pydantic import ValidationError

from quantd.bundled import find
from quantd.daemon.config.checks import check
from quantd.daemon.config.document import Config
from quantd.daemon.config.keys import document_of
from quantd.daemon.config.known import Known, tables
from quantd.daemon.config.mistakes import ConfigError, Mistake, Source, shown
from quantd.daemon.config.overrides import apply
from quantd.daemon.config.scan import MOST_PARTS, Path, deep_key, positions
from quantd.daemon.config.schema import Document
from quantd.daemon.config.translate import mistakes_of
from quantd.regular_file import MIB, NotRead, read_regular

FILE_REMEDY: Final = f"name a regular file of at most {MIB:,} bytes"

_MESSAGE_WITH_LINE = re.compile(r"^(.*) \(at (?:line (\d+), column \d+|end of document)\)$", re.DOTALL)


def others(words: str, missing: FilePath) -> str:
    """`words` and the files of the same name in folders beside a missing file, at most three; empty for none."""
    files = sorted(missing.parent.glob(f"*/{missing.name}"))[:3]
    return f"{words} {' or '.join(map(str, files))}" if files else ""


def load(
    path: FilePath | str, registry: Known, *, environ: Mapping[str, str] | None = None, sets: Iterable[str] = ()
) -> Config:
    """Return the configuration in a file, with overrides from `environ` and then from `sets`.

    Raises ConfigError with every mistake, for a missing file, and for one that is not UTF-8 text.
    """
    file = FilePath(path)
    try:
        text = read_regular(file).data.decode()
    except FileNotFoundError as error:
        reason = (error.strerror or "does not exist").lower()
        remedy = f"`quantd init` writes one{others(', or name', file)}"
        raise ConfigError([Mistake(str(path), 0, "", reason, remedy)]) from None
    except NotRead as error:
        raise ConfigError([Mistake(str(path), 0, "", str(error), FILE_REMEDY)]) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError([Mistake(str(path), line, "", "is not UTF-8 text", "save the file as UTF-8")]) from None
    return read(text, registry, file=str(path), folder=file.parent, environ=environ or {}, sets=sets)


def read(
    text: str,
    registry: Known,
    *,
    file: str = "config.toml",
    folder: FilePath = FilePath(),
    environ: Mapping[str, str] | None = None,
    sets: Iterable[str] = (),
    started: bool = False,
) -> Config:
    """Parse a configuration from its text. Raises ConfigError with all its mistakes.

    One with which a run has `started` may have keys without effect, so that each stored run can be read.
    """
    if line := deep_key(text):
        remedy = f"write at most {MOST_PARTS}; no key of quantd has more than a few"
        raise ConfigError([Mistake(file, line, "", f"a key has more than {MOST_PARTS} parts", remedy)])
    try:
        document, lines = _tables(text)
    except RecursionError:
        raise ConfigError([Mistake(file, 0, "", "is nested too deeply")]) from None
    except ValueError as error:  # TOMLDecodeError, or a number with thousands of digits
        raise ConfigError([_toml_mistake(str(error), text, file)]) from None
    document = deepcopy(document)  # the overrides change it, and `_tables` has cached it
    schema = document_of(registry.limits)
    overrides, mistakes = apply(document, environ or {}, sets, schema, registry.secrets)
    mistakes += _expand_symbols(document, Source(file, folder, lines, overrides))
    frozen = _freeze(document)
    names = {
        path: table["name"]
        for section in ("agents", "schedules")
        for path, table in tables(frozen, f"{section}.*")
        if isinstance(table.get("name"), str)
    }
    source = Source(file, folder, lines, overrides, names)
    parsed: Document | None = None
    try:
        parsed = schema.model_validate(frozen)
    except ValidationError as error:
        mistakes += mistakes_of(error.errors(include_url=False), source, schema)
    mistakes += check(frozen, registry, source, started=started)
    if mistakes or parsed is None:
        raise ConfigError(mistakes)
    return Config(parsed, source)


@lru_cache(maxsize=1)
def _tables(text: str) -> tuple[dict[str, Any], dict[Path, int]]:
    """Return (document of a text, path -> line of each key), cached: all points of a sweep have the same text."""
    return tomllib.loads(text), positions(text)


def _toml_mistake(message: str, text: str, file: str) -> Mistake:
    """Return the mistake of a text that is no TOML, from the parser's message with its line."""
    match = _MESSAGE_WITH_LINE.match(message)
    reason, line = (match[1], int(match[2] or text.count("\n") + 1)) if match else (message, 0)
    open_quote = "Unterminated" in reason or "Illegal" in reason
    remedy = "A quote or a bracket may be missing here or above" if open_quote else ""
    return Mistake(file, line, "", f"is not TOML: {reason[:1].lower()}{reason[1:]}", remedy)


def _freeze(value: Any) -> Any:
    """Replace lists by tuples, which the strict types of the schema require and nothing can change later."""
    if isinstance(value, dict):
        return {key: _freeze(inner) for key, inner in value.items()}
    return tuple(map(_freeze, value)) if isinstance(value, list) else value


def _expand_symbols(document: dict[str, Any], source: Source) -> list[Mistake]:
    """Read the symbols from a file if `symbols` is the name of one: one symbol a line, `#` begins a comment.

    Return the mistake of a file that cannot be read.
    """
    universe = document.get("universe")
    if not isinstance(universe, dict) or not isinstance(universe.get("symbols"), str):
        return []
    name = universe["symbols"]
    try:
        rows = read_regular(find(name, source.folder)).data.decode().splitlines()
    except (FileNotFoundError, NotRead, UnicodeDecodeError) as error:
        universe["symbols"] = ["SPY"]  # a valid value, so that the file's fault is the only mistake reported
        match error:
            case NotRead():
                why = str(error)
            case UnicodeDecodeError():
                why = "is not UTF-8 text"
            case _:
                why = "does not exist"
        remedy = f'write ["SPY"], or {FILE_REMEDY} with one symbol a line'
        return [source.mistake(("universe", "symbols"), f"= {shown(name)}: this file {why}", remedy)]
    universe["symbols"] = [row for line in rows if (row := line.partition("#")[0].strip())]
    return []
