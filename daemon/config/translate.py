"""Translates errors of pydantic into messages about config.toml."""

import re
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from quantd.daemon.config.keys import all_keys, keys_of, pattern_of
from quantd.daemon.config.mistakes import Mistake, Source, nearest, shown, suggestion
from quantd.daemon.config.scan import Path
from quantd.daemon.config.schema import Document

SECRET = re.compile(r"passw(or)?d|passphrase|secret|token|credential|api_?key|private_?key", re.IGNORECASE)

_TEXT_AND_REMEDY = {
    "float_type": ("is not a number", ""),
    "int_type": ("is not a whole number", ""),
    "int_from_float": ("is not a whole number", ""),
    "bool_type": ("is not true or false", "write true or false without quotes"),
    "string_type": ("is not text", "put it in quotes"),
    "tuple_type": ("is not a list", 'write it in brackets, ["..."]'),
    "dict_type": ("is not a table", "write { key = value }"),
    "model_type": ("is not a table", "write { key = value }"),
    "model_attributes_type": ("is not a table", "write { key = value }"),
    "finite_number": ("is not a finite number", ""),
}

_EXAMPLES = {
    "cash": 'write cash = "100000.00"',
    "symbols": 'write symbols = ["SPY"]',
    "universe": 'write [universe] and under it symbols = ["SPY"]',
    "broker": 'write [broker] and under it cash = "100000.00"',
    "agents": "write [[agents]] with name, policy and capital",
}


def mistakes_of(errors: list[ErrorDetails], source: Source, schema: type[Document]) -> list[Mistake]:
    """Return the mistakes of pydantic's errors. A misspelled required key is reported once, and not also as missing."""
    misspelled = {
        (*error["loc"][:-1], nearest(str(error["loc"][-1]), _names(error["loc"], schema)))
        for error in errors
        if error["type"] == "extra_forbidden"
    }
    return [_mistake_of(e, source, schema) for e in errors if e["type"] != "missing" or e["loc"] not in misspelled]


def _mistake_of(error: ErrorDetails, source: Source, schema: type[Document]) -> Mistake:
    """Return the mistake about config.toml that one error of pydantic means."""
    path: Path = error["loc"]
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        return unknown_key(path, source, schema)
    if kind == "missing":
        return source.mistake(path, "is missing", _EXAMPLES.get(str(path[-1]), ""))
    if kind == "tuple_type" and isinstance(value, Mapping):
        return source.mistake(path, "must be a list of tables", f"write [[{path[-1]}]]")
    if kind == "wrong":
        text, remedy = error["ctx"]["text"], error["ctx"]["remedy"]
    elif kind == "literal_error":
        key = all_keys(schema).get(pattern_of(tuple(p for p in path if not _element(path, p))))
        text, remedy = "is not a valid value", suggestion(value, key.choices if key else ())
    elif kind.startswith("date"):
        text, remedy = "is not a date", "write it without quotes, 2019-01-02"
    else:
        text, remedy = _TEXT_AND_REMEDY.get(kind, (f"is refused ({error['msg']})", ""))
        if isinstance(value, str) and kind in ("float_type", "int_type"):
            percent = re.fullmatch(r"(-?\d+(?:\.\d+)?) ?%", value) if kind == "float_type" else None
            in_bp = "_bp" in str(next((part for part in reversed(path) if isinstance(part, str)), ""))
            scale = 100 if in_bp else 0.01
            number = f"{float(percent[1]) * scale:g}" if percent else re.sub(r"^(-?)\.", r"\g<1>0.", value)
            is_number = re.fullmatch(r"-?\d+(\.\d+)?", number)
            remedy = f"write {number} without quotes" if is_number else "write a number without quotes"
    return source.mistake(path, f"= {shown(value)} {text}", remedy)


def _element(path: Path, part: str | int) -> bool:
    """Whether `part` is the last part of the path and an index: the value is an element of a list of plain values."""
    return isinstance(part, int) and path[-1] is part


def unknown_key(path: Path, source: Source, schema: type[Document] = Document) -> Mistake:
    """Return the mistake about an unknown key or section, or about a secret in the file."""
    name = str(path[-1])
    if SECRET.search(name):
        text, remedy = "looks like a secret", "Give it as a systemd credential or in the environment"
        return source.mistake(path, f"{text}; secrets do not belong in this file", remedy)
    names = _names(path, schema)
    close_name = nearest(name, names)
    if len(path) == 1:
        return source.mistake(path, "is not a section", f"Did you mean [{close_name}]?" if close_name else "")
    if close_name:
        return source.mistake(path, "is not a key", f"Did you mean {close_name}?")
    tables_with_key = {".".join(p[:-1]).replace(".*", "") for p in all_keys(schema) if p[-1] == name}
    if len(tables_with_key) == 1 and (len(path) == 2 or len(names) > 13):
        return source.mistake(path, "is not a key of this table", f"move it to [{tables_with_key.pop()}]")
    keys = f"the keys of this table are {', '.join(names)}" if len(names) <= 13 else ""
    return source.mistake(path, "is not a key", keys)


def _names(path: Path, schema: type[Document]) -> list[str]:
    """Return the names of the keys of the table that contains the key at `path`."""
    if len(path) == 1:
        return list(keys_of(schema))
    section = all_keys(schema)[pattern_of(path[:-2] if isinstance(path[-2], int) else path[:-1])].section
    return list(keys_of(section)) if section else []


def secrets_in(value: Any, path: Path, source: Source) -> list[Mistake]:
    """Return the mistakes of names inside a free table, such as `params`, that look like names of secrets."""
    mistakes = []
    if isinstance(value, Mapping):
        for name, inner in value.items():
            inner_path = (*path, str(name))
            mistakes += (
                [unknown_key(inner_path, source)] if SECRET.search(str(name)) else secrets_in(inner, inner_path, source)
            )
    return mistakes
