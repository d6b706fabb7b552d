"""Every key of config.toml: type, default and how a reload may change it, with the comment of the shipped file."""

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from quantd.daemon.config.keys import Key, all_keys
from quantd.daemon.config.values import Section
from scripts.site.pages import ROOT
from scripts.site.reference.tables import cell, code, first_line, table

_LINE: Final = re.compile(r'^(?:# ?)?(?:\[\[?(?P<table>[\w.]+)\]\]?|(?P<key>[\w."]+) = [^#]*?)(?: *# (?P<about>.*))?$')
_RELOADS: Final = {"higher": "higher is looser", "lower": "lower is looser", "fewer": "fewer is looser",
                   "fixed": "at a start only"}  # fmt: skip


def page() -> str:
    """The page of keys."""
    comments = dict(_comments((ROOT / "config.toml").read_text(encoding="utf-8")))
    parts = [
        "# Keys of config.toml\n\nThis page lists every key of the configuration with its bounds, from its schema. "
        "The comments are those of the shipped `config.toml`. A key is also set by an environment variable "
        "(`QUANTD_RISK__MAX_DRAWDOWN=0.2`) or by `--set risk.max_drawdown=0.2`. "
        "`quantd config check` lists every mistake of a file. Limits have a page of "
        "[their own](limits.md).\n"
    ]
    for path, section, many in _sections():
        rows = []
        for name, info in _fields(section):
            key = _keys()[(*path, name)]
            if key.section is not None:
                continue
            reload = _RELOADS[key.reload.looser] if key.reload else ""
            about = comments.get((*(part for part in path if part != "*"), name), "")
            rows.append([code(name), cell(_type(key, info)), code(_default(info)), reload, cell(about)])
        if rows:
            shown = ".".join(part for part in path if part != "*")
            title = f"[[{shown}]]" if many else f"[{shown}]"
            about = first_line(section.__doc__) if section.__doc__ != Section.__doc__ else ""
            parts.append(f"## `{title}`\n\n" + (f"{about}\n\n" if about else ""))
            parts[-1] += table(["key", "value", "default", "reload", "about"], rows)
    return "\n".join(parts)


def names() -> list[str]:
    """Every key as it stands on the page."""
    return [path[-1] for path, key in _keys().items() if key.section is None]


def _keys() -> dict[tuple[str, ...], Key]:
    return all_keys()


def _sections() -> Iterator[tuple[tuple[str, ...], type[Section], bool]]:
    for path, key in _keys().items():
        if key.section is not None:
            yield (*path, "*") if key.many else path, key.section, key.many


def _fields(section: type[Section]) -> Iterator[tuple[str, FieldInfo]]:
    for name, info in section.model_fields.items():
        yield info.alias or name, info


def _type(key: Key, info: FieldInfo) -> str:
    if key.choices:
        return " or ".join(f"`{choice}`" for choice in key.choices)
    return ("list of " if key.many else "") + _name(info.annotation)


def _name(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _name(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{argument}`" for argument in arguments)
    if arguments:
        names = list(dict.fromkeys(_name(argument) for argument in arguments if argument not in (type(None), Ellipsis)))
        return " or ".join(names)
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any value"}
    return plain.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True, validated_data={})
    if value is None or value == () or value == "":
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else ""


def _comments(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Path and comment of each line of the shipped file, lines that are commented out included."""
    section: tuple[str, ...] = ()
    for line in text.splitlines():
        match = _LINE.match(line)
        if match and match["table"]:
            section = tuple(match["table"].split("."))
        elif match and match["key"] and match["about"]:
            yield (*section, match["key"].strip('"')), match["about"]
