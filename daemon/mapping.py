"""How any vendor's answers are read: a mapping in a TOML file of its own."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path

import msgspec

from quantd.adapters.feeds.sources.http import HttpMapping, Signature
from quantd.adapters.pace import Rate


class MappingWrong(ValueError):
    """A mapping that cannot be read; the text names the file, the key and what to write."""


def read_mapping(path: Path) -> HttpMapping:
    """An HttpMapping out of a TOML file. Raises MappingWrong, naming the file, the key and what to write."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MappingWrong(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingWrong(f"{path}: is not TOML: {error}") from None
    for kind, table, where in (
        (HttpMapping, document, ""),
        (Signature, document.get("signature"), "signature."),
        (Rate, document.get("rate"), "rate."),
    ):
        if isinstance(table, dict):
            _known_keys(path, kind, table, where)
    try:
        return msgspec.convert(document, HttpMapping)
    except (msgspec.ValidationError, ValueError) as error:
        raise MappingWrong(f"{path}: {str(error).replace('$.', '')}") from None


def _known_keys(path: Path, kind: type, table: Mapping[str, object], where: str) -> None:
    names = [field.name for field in fields(kind)]
    for key in table:
        if key not in names:
            near = get_close_matches(key, names, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(names)}"
            raise MappingWrong(f"{path}: {where}{key} is not a key of a mapping. {hint}")
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING and field.name not in table:
            raise MappingWrong(f"{path}: {where}{field.name} is missing")
